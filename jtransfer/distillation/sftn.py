"""SFTN: a teacher trained with branches of its student, to be easy to follow."""

from collections.abc import Sequence

import jax
from jax.typing import ArrayLike

from jtransfer.distillation import activations


@jax.jit
def sftn_loss(
    teacher_logits: ArrayLike,
    branch_logits: Sequence[ArrayLike],
    labels: ArrayLike,
    *,
    branch_weight: ArrayLike = 1.0,
    match_weight: ArrayLike = 3.0,
    temperature: ArrayLike = 1.0,
) -> jax.Array:
    r"""Computes the loss by which a teacher is trained together with student branches.

    .. math:: \text{cross-entropy}(T, y) + \sum_i \bigl[\alpha\,
              \text{cross-entropy}(R_i, y) + \lambda\, \frac1n \sum_x
              \operatorname{KL}(\rho_\tau(T(x)) \,\|\, \rho_\tau(R_i(x)))\bigr].

    A branch :math:`R_i` is the end of the student on top of a middle map of the
    teacher; see `jtransfer.models.Branched`. The teacher is *not* held fixed in the
    divergences: their gradient makes it easy to follow. The branches are thrown away,
    and the student is then distilled by any other loss of this package.

    The form and the weights 1 and 3 are recalled from the paper and not checked against
    code; we are not sure of the temperature. There is no factor :math:`\tau^2`.

    Args:
      teacher_logits: outputs of the teacher, shape ``[n, C]``.
      branch_logits: outputs of the branches, one or more, shapes ``[n, C]``.
      labels: integer labels in ``[0, C)``, shape ``[n]``.
      branch_weight: ``alpha``, of the branches' cross-entropies.
      match_weight: ``lambda``, of the divergences.
      temperature: ``tau``, positive.

    Returns:
      The loss in nats, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree, or there is no branch or example.
      TypeError: if the labels are not integers or the others not floating-point.

    Example:
      >>> import jax.numpy as jnp
      >>> teacher, branch = jnp.array([[3.0, 0.0]]), jnp.array([[0.0, 0.0]])
      >>> round(float(sftn_loss(teacher, [branch], jnp.array([0]))), 4)
      2.2486

    References:
      Park et al., "Learning Student-Friendly Teacher Networks for Knowledge
      Distillation", 2021.
    """
    if len(branch_logits) < 1:
        raise ValueError("branch_logits must hold one branch or more.")
    loss = activations.cross_entropy(teacher_logits, labels)
    for logits in branch_logits:
        hard = activations.cross_entropy(logits, labels)
        soft = activations.soft_targets(teacher_logits, logits, temperature=temperature)
        loss = loss + branch_weight * hard + match_weight * soft
    return loss
