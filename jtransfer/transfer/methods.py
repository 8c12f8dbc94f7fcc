"""Students: networks that learn from another network, whatever its architecture.

A `Method` is what the teacher is asked about each image and what the student then
minimises; one function makes each. Teacher and student get the same inputs: images of
the teacher's size, normalised by the teacher's statistics, augmented only where a
recipe says so, and then for both. Jacobians are by these inputs, so that they mean the
same for both.
"""

import functools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

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
    _check_weights(
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
    _check_weights(
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
    _check_weights(label_weight=label_weight, logits_weight=logits_weight)
    loss = losses.SecondHeadLoss(label_weight=label_weight, logits_weight=logits_weight)
    return Method(teacher_outputs.logits, loss, second_head=True)


def sinkhorn_method(
    costs: Sequence[ArrayLike],
    *,
    teacher_weights: Sequence[float] = (1.0,),
    other_logits: Sequence[np.ndarray] = (),
    label_weight: float = 1.0,
    transport_weight: float = 10.0,
    temperature: float = 3.0,
    epsilon: float = 0.1,
    max_iterations: int = 200,
) -> Method:
    r"""Returns distillation by optimal transport, for a student of any classes.

    .. math:: \alpha\, \text{cross-entropy}(S, y) + \beta\, \frac1n \sum_x \sum_k w_k
              S_\epsilon(\rho_\tau(T_k(x)), \rho_\tau(S(x)); M_k).

    The log tells the share of images whose problem `converged`. Further teachers go
    beyond the paper. Equal settings give the same loss, so that `fit` compiles it once.

    Args:
      costs: between the classes of each teacher and the student's, ``[Ct, Cs]`` each,
        see `class_cost`; computed once, before the training, as in the paper.
      teacher_weights: one for each teacher, :math:`w_k`.
      other_logits: what all teachers but the first say about the training images,
        ``[n, Ct]`` each.
      label_weight: weight of the cross-entropy; 0 leaves a term and its cost out.
      transport_weight: weight of the Sinkhorn distances; the paper's is 10 (CUB: 100).
      temperature: of both softmax functions.
      epsilon: strength of the entropy.
      max_iterations: the most iterations for an image.

    Returns:
      The method.

    Raises:
      ValueError: if weights are negative or all zero, temperature or epsilon not
        positive, or the numbers of teachers do not agree.

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Algorithm 2 and section 7.
    """
    _check_weights(label_weight=label_weight, transport_weight=transport_weight)
    if not (temperature > 0 and epsilon > 0):
        raise ValueError(
            f"temperature and epsilon must be positive, got {temperature}, {epsilon}."
        )
    if not all(weight >= 0 for weight in teacher_weights) or not any(teacher_weights):
        raise ValueError(
            "teacher_weights must not be negative, nor all zero, got "
            f"{teacher_weights}."
        )
    if not len(costs) == len(teacher_weights) == 1 + len(other_logits):
        raise ValueError(
            f"Each teacher has a cost and a weight, and all but the first logits; got "
            f"{len(costs)}, {len(teacher_weights)} and {len(other_logits)}."
        )
    loss = losses.TransportLoss(
        label_weight=label_weight,
        transport_weight=transport_weight,
        temperature=temperature,
        epsilon=epsilon,
        max_iterations=max_iterations,
    )
    constants = {
        "costs": tuple(map(jnp.asarray, costs)),
        "weights": jnp.asarray(teacher_weights, jnp.result_type(float)),
    }
    names = [losses.teacher_name(i) for i in range(1, len(costs))]
    arrays = dict(zip(names, other_logits, strict=True))
    return Method(teacher_outputs.logits, loss, constants=constants, arrays=arrays)


def _check_weights(**weights: float) -> None:
    if min(weights.values()) < 0 or not any(weights.values()):
        raise ValueError(
            f"{', '.join(weights)} must not be negative and not all zero, got "
            f"{', '.join(f'{weight:g}' for weight in weights.values())}."
        )
