"""Adversarial transferability between two functions: how far, and in which direction.

Of two functions `f1`, `f2` and attacks `d1`, `d2` made on them, one example each, the
*deviations* are `own = f1(x + d1) - f1(x)`, `transferred = f2(x + d1) - f2(x)` and
`white_box = f2(x + d2) - f2(x)`. In the limit of small attacks they are Jacobians times
directions, see `generalized_deviations`. The measures are those of Liang et al.,
"Uncovering the Connections Between Adversarial Transferability and Knowledge
Transferability", 2021.
"""

from jtransfer.adversarial.alphas import alpha1 as alpha1
from jtransfer.adversarial.alphas import alpha2 as alpha2
from jtransfer.adversarial.alphas import alpha2_squared as alpha2_squared
from jtransfer.adversarial.alphas import alpha12 as alpha12
from jtransfer.adversarial.alphas import alpha12_squared as alpha12_squared
from jtransfer.adversarial.alphas import noise_floor as noise_floor
from jtransfer.adversarial.alphas import unbiased_square as unbiased_square
from jtransfer.adversarial.generalized import (
    GeneralizedDeviations as GeneralizedDeviations,
)
from jtransfer.adversarial.generalized import generalized_alpha1 as generalized_alpha1
from jtransfer.adversarial.generalized import generalized_alpha2 as generalized_alpha2
from jtransfer.adversarial.generalized import (
    generalized_deviations as generalized_deviations,
)
