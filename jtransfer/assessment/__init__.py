"""The Sinkhorn distance as a score of teachers: which one teaches a student most.

The exact score and its two approximations are one function, `sinkhorn_score`, of three
students: that distilled from this very teacher (exact), one trained without a teacher
(Approximation I; `student_assessment` is all of both), or `fictitious_student`
(Approximation II, the one to use: it needs no training of networks, and
`fictitious_assessment` is all of it). Their probabilities, and the teacher's, are
softmax outputs at the temperature of distillation, 3 in the paper.
"""

from jtransfer.assessment._of_teachers import DEFAULT_ASSESSMENT as DEFAULT_ASSESSMENT
from jtransfer.assessment._of_teachers import AssessmentSettings as AssessmentSettings
from jtransfer.assessment._of_teachers import (
    fictitious_assessment as fictitious_assessment,
)
from jtransfer.assessment._of_teachers import student_assessment as student_assessment
from jtransfer.assessment._of_teachers import transport_saving as transport_saving
from jtransfer.assessment._scores import Assessment as Assessment
from jtransfer.assessment._scores import sinkhorn_assessment as sinkhorn_assessment
from jtransfer.assessment._scores import sinkhorn_score as sinkhorn_score
from jtransfer.assessment._student import fictitious_student as fictitious_student
