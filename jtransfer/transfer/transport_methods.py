"""Students of other classes, to which a cost carries a teacher's predictions over."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jtransfer import distillation
from jtransfer.training._objectives import Batch, Parts
from jtransfer.transfer import teacher_outputs
from jtransfer.transfer.losses import (
    Method,
    Student,
    check_term_weights,
    weighted_loss,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransportLoss:
    """The loss of `sinkhorn_method`."""

    label_weight: float
    transport_weight: float
    temperature: float
    epsilon: float
    max_iterations: int

    def __call__(self, student: Student, batch: Batch) -> tuple[jax.Array, Parts]:
        """Returns the value and its parts, the share of solved problems among them."""
        matches = [
            distillation.sinkhorn_matches(
                batch[teacher_name(i)],
                student.logits,
                cost,
                temperature=self.temperature,
                epsilon=self.epsilon,
                max_iterations=self.max_iterations,
            )
            for i, cost in enumerate(batch["costs"] if self.transport_weight else ())
        ]

        def transport():
            distances = jnp.stack([jnp.mean(match.distance) for match in matches])
            return jnp.sum(batch["weights"] * distances)

        terms = {"sinkhorn": (self.transport_weight, transport)}
        value, parts = weighted_loss(student, batch, self.label_weight, terms)
        if matches:
            converged = jnp.stack([match.converged for match in matches])
            parts["converged"] = jnp.mean(converged.astype(value.dtype))
        return value, parts


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransportedTargetsLoss:
    """The loss of `transported_targets_method`."""

    label_weight: float
    targets_weight: float
    temperature: float
    epsilon: float

    def __call__(self, student: Student, batch: Batch) -> tuple[jax.Array, Parts]:
        """Returns the value and its parts."""

        def targets():
            return distillation.transported_targets(
                batch["teacher_logits"],
                student.logits,
                batch["cost"],
                temperature=self.temperature,
                epsilon=self.epsilon,
            )

        terms = {"transported_targets": (self.targets_weight, targets)}
        return weighted_loss(student, batch, self.label_weight, terms)


def check_costs(costs: Sequence[ArrayLike]) -> None:
    """Raises ValueError unless costs are finite matrices."""
    for cost in costs:
        cost = np.asarray(cost)
        if cost.ndim != 2 or not np.isfinite(cost).all():
            raise ValueError(
                "A cost must be finite, with a row for each class of the teacher and a "
                f"column for each of the student, got shape {cost.shape}"
                f"{'' if np.isfinite(cost).all() else ' with NaN or infinity'}."
            )


def teacher_name(i: int) -> str:
    """Returns the name of the logits of the i-th teacher in a batch."""
    return f"teacher_logits_{i + 1}" if i else "teacher_logits"


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
        positive, a cost no finite matrix, or the numbers of teachers do not agree.

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Algorithm 2 and section 7.
    """
    check_term_weights(label_weight=label_weight, transport_weight=transport_weight)
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
    check_costs(costs)
    loss = TransportLoss(
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
    names = [teacher_name(i) for i in range(1, len(costs))]
    arrays = dict(zip(names, other_logits, strict=True))
    return Method(teacher_outputs.logits, loss, constants=constants, arrays=arrays)


def transported_targets_method(
    cost: ArrayLike,
    *,
    label_weight: float = 1.0,
    targets_weight: float = 10.0,
    temperature: float = 3.0,
    epsilon: float = 0.1,
) -> Method:
    r"""Returns distillation by soft targets that a cost carries over to other classes.

    .. math:: \alpha\, \text{cross-entropy}(S, y) + \beta\, \frac1n \sum_x
              \mathrm{KL}(P^T \rho_\tau(T(x)) \,\|\, \rho_\tau(S(x)))

    with `distillation.transported_targets`: where the Sinkhorn distance would lead the
    student, without its iterations.

    Args:
      cost: between the classes of the teacher and the student's, ``[Ct, Cs]``, see
        `class_cost`.
      label_weight: weight of the cross-entropy; 0 leaves a term and its cost out.
      targets_weight: weight of the soft targets.
      temperature: of both softmax functions.
      epsilon: strength of the entropy.

    Returns:
      The method.

    Raises:
      ValueError: if weights are negative or all zero, temperature or epsilon not
        positive, or the cost no finite matrix.

    References:
      Ours; see `distillation.transported_targets`.
    """
    check_term_weights(label_weight=label_weight, targets_weight=targets_weight)
    if not (temperature > 0 and epsilon > 0):
        raise ValueError(
            f"temperature and epsilon must be positive, got {temperature}, {epsilon}."
        )
    check_costs([cost])
    loss = TransportedTargetsLoss(
        label_weight=label_weight,
        targets_weight=targets_weight,
        temperature=temperature,
        epsilon=epsilon,
    )
    constants = {"cost": jnp.asarray(cost)}
    return Method(teacher_outputs.logits, loss, constants=constants)
