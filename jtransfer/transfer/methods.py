"""Students: networks that learn from another network, whatever its architecture.

A `Method` is what the teacher is asked about each image and what the student then
minimises; one function makes each. Teacher and student get the same inputs: images of
the teacher's size, normalised by the teacher's statistics, augmented only where a
recipe says so, and then for both. Jacobians are by these inputs, so that they mean the
same for both.
"""

import functools
from collections.abc import Callable

from jtransfer.transfer import losses, teacher_outputs
from jtransfer.transfer.class_costs import class_cost as class_cost
from jtransfer.transfer.distil import distil_student as distil_student
from jtransfer.transfer.losses import Method as Method
from jtransfer.transfer.losses import Student as Student
from jtransfer.transfer.losses import student_objective as student_objective
from jtransfer.transfer.map_pairs import SharedMap as SharedMap
from jtransfer.transfer.map_pairs import shared_maps as shared_maps
from jtransfer.transfer.student_recipes import STUDENT_PRESETS as STUDENT_PRESETS
from jtransfer.transfer.student_recipes import StudentRecipe as StudentRecipe


def activations_and_jacobians_method(
    *,
    label_weight: float = 1.0,
    logits_weight: float = 1.0,
    jacobian_weight: float = 1.0,
    outputs: Callable[..., teacher_outputs.Outputs] = teacher_outputs.label_jacobian,
    chunk_size: int = 10,
) -> Method:
    r"""Returns distillation with Jacobian matching, for a student of the same classes.

    .. math:: \alpha\, \text{cross-entropy}(S, y)
              + \beta\, \frac1n \sum_x \|T(x) - S(x)\|_2^2
              + \gamma\, \frac1n \sum_x \sum_{j} \|\nabla_x T^{i_j}(x) -
              \nabla_x S^{i_j}(x)\|_2^2,

    sums over outputs, over the selected outputs :math:`i_j` and over pixels, means over
    images. Equal arguments give the same loss, so that `fit` compiles it once.

    Args:
      label_weight: weight of the cross-entropy; 0 leaves a term and its cost out.
      logits_weight: weight of the logits' squared error.
      jacobian_weight: weight of the Jacobians' squared error.
      outputs: which outputs are selected: `teacher_outputs.label_jacobian`,
        `largest_jacobian` or `full_jacobian`. Not asked if `jacobian_weight` is 0.
      chunk_size: outputs whose gradients are made side by side. The memory of a step
        grows with it and not with the number of outputs.

    Returns:
      The method.

    Raises:
      ValueError: if a weight is negative or all are zero.

    Example:
      >>> activations_and_jacobians_method(jacobian_weight=0).outputs.__name__
      'logits'

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, section
      4.1, Proposition 1 and supplement, "Loss function", where the weights are 1 or 0.
    """
    losses.check_term_weights(
        label_weight=label_weight,
        logits_weight=logits_weight,
        jacobian_weight=jacobian_weight,
    )
    loss = losses.ActivationsAndJacobiansLoss(
        label_weight=label_weight,
        logits_weight=logits_weight,
        jacobian_weight=jacobian_weight,
        chunk_size=chunk_size,
    )
    outputs = outputs if jacobian_weight else teacher_outputs.logits
    return Method(outputs, loss, same_classes=True)


def attention_and_jacobians_method(
    *,
    label_weight: float = 1.0,
    logits_weight: float = 1.0,
    attention_weight: float = 1.0,
    jacobian_weight: float = 1.0,
    teacher_layer: int,
    student_layer: int,
    window: int,
) -> Method:
    r"""Returns transfer with attention maps and their Jacobians, for other classes.

    .. math:: \alpha\, \text{cross-entropy}(S_1, y)
              + \beta\, \frac1{nZ} \sum_x \|T(x) - S_2(x)\|_2^2
              + \delta\, \text{Eq. (9)} + \gamma\, \text{Eq. (10)}.

    The student has a second head :math:`S_2` for the teacher's ``Z`` classes, which
    training needs and the finished student has not; see `lwf` for the mean over them.
    Eq. (9) is the distance of the normalised attention maps of two layers of equal
    size, *not* squared. Eq. (10) is the squared distance of two directions: what moves
    the largest pixel of the teacher's pooled map and what moves the same pixel of the
    student's. Equal arguments give the same loss.

    Args:
      label_weight: weight of the cross-entropy; 0 leaves a term and its cost out.
      logits_weight: weight of the logits' squared error.
      attention_weight: weight of the attention maps' distance, which the paper does not
        state.
      jacobian_weight: weight of the Jacobians' distance.
      teacher_layer: which of the teacher's `feature_maps`.
      student_layer: which of the student's; see `shared_maps`.
      window: side of the windows over which a map is averaged; the paper takes a
        fifth of the map's side.

    Returns:
      The method.

    Raises:
      ValueError: if a weight is negative or all are zero.

    Example:
      >>> layers = {"teacher_layer": 1, "student_layer": 0}
      >>> method = attention_and_jacobians_method(**layers, window=3)
      >>> method.outputs.keywords
      {'layer': 1, 'window': 3}

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, sections
      5.2.1 and 6.3, supplement, "Loss function", where the weights are 10 or 0.
    """
    losses.check_term_weights(
        label_weight=label_weight,
        logits_weight=logits_weight,
        attention_weight=attention_weight,
        jacobian_weight=jacobian_weight,
    )
    loss = losses.AttentionAndJacobiansLoss(
        label_weight=label_weight,
        logits_weight=logits_weight,
        attention_weight=attention_weight,
        jacobian_weight=jacobian_weight,
        layer=student_layer,
        window=window,
    )
    asked = functools.partial(
        teacher_outputs.attention_peak, layer=teacher_layer, window=window
    )
    outputs = asked if attention_weight or jacobian_weight else teacher_outputs.logits
    return Method(outputs, loss, second_head=True)


def lwf_method(*, label_weight: float = 1.0, logits_weight: float = 1.0) -> Method:
    r"""Returns learning without forgetting, for a student of other classes.

    .. math:: \alpha\, \text{cross-entropy}(S_1, y)
              + \beta\, \frac1{nZ} \sum_x \|T(x) - S_2(x)\|_2^2

    with a second head :math:`S_2` for the teacher's ``Z`` classes, on the student's
    images. It is a mean over classes: beside the sum over a hundred of them the student
    learns nothing from the labels
    (``experiments/jacobian_matching/table3_transfer.py``).

    Args:
      label_weight: weight of the cross-entropy; 0 leaves a term and its cost out.
      logits_weight: weight of the logits' squared error.

    Returns:
      The method.

    Raises:
      ValueError: if a weight is negative or all are zero.

    Example:
      >>> lwf_method(label_weight=10, logits_weight=10).second_head
      True

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, section
      5. Li and Hoiem, "Learning without Forgetting", 2016.
    """
    losses.check_term_weights(label_weight=label_weight, logits_weight=logits_weight)
    loss = losses.SecondHeadLoss(label_weight=label_weight, logits_weight=logits_weight)
    return Method(teacher_outputs.logits, loss, second_head=True)
