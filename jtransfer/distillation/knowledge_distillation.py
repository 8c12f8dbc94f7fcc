"""The first two baselines: soft labels of a larger network, and of one's own kind."""

import jax
from jax.typing import ArrayLike

from jtransfer.distillation import activations


@jax.jit
def kd_loss(
    teacher_logits: ArrayLike,
    student_logits: ArrayLike,
    labels: ArrayLike,
    *,
    temperature: ArrayLike,
    label_weight: ArrayLike = 1.0,
    matching_weight: ArrayLike = 1.0,
) -> jax.Array:
    r"""Computes the loss of a student of hard labels and of a teacher's soft ones.

    .. math:: \alpha\, \text{cross-entropy}(S, y) + \lambda\, \frac1n \sum_x
              \operatorname{KL}(\rho_\tau(T(x)) \,\|\, \rho_\tau(S(x))).

    There is no hidden factor :math:`\tau^2`. The form with it, which keeps the gradient
    of one size over temperatures, has the weights 0.1 and ``0.9 * temperature**2`` in
    much released code.

    Args:
      teacher_logits: outputs of the teacher, shape ``[n, C]``.
      student_logits: outputs of the student, shape ``[n, C]``.
      labels: integer labels in ``[0, C)``, shape ``[n]``.
      temperature: ``tau``, positive; 3 in the second reference, 4 in much code.
      label_weight: ``alpha``.
      matching_weight: ``lambda``.

    Returns:
      The loss, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if the labels are not integers or the others not floating-point.

    Example:
      >>> import jax.numpy as jnp
      >>> teacher, student = jnp.array([[3.0, 0.0]]), jnp.array([[0.0, 0.0]])
      >>> round(float(kd_loss(teacher, student, jnp.array([0]), temperature=3.0)), 4)
      0.8041

    References:
      Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eq. (2).
    """
    hard = activations.cross_entropy(student_logits, labels)
    soft = activations.soft_targets(
        teacher_logits, student_logits, temperature=temperature
    )
    return label_weight * hard + matching_weight * soft


@jax.jit
def ban_loss(
    teacher_logits: ArrayLike, student_logits: ArrayLike, labels: ArrayLike
) -> jax.Array:
    r"""Computes the loss of a network that learns from the one before it.

    .. math:: \text{cross-entropy}(S, y) + \frac1n \sum_x
              \operatorname{KL}(\rho_1(T(x)) \,\|\, \rho_1(S(x))),

    `kd_loss` at temperature one with a teacher of the student's own architecture,
    trained before it in the same way: the form of born-again networks that keeps the
    labels.

    Args:
      teacher_logits: outputs of the generation before, shape ``[n, C]``.
      student_logits: outputs of this one, shape ``[n, C]``.
      labels: integer labels in ``[0, C)``, shape ``[n]``.

    Returns:
      The loss, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if the labels are not integers or the others not floating-point.

    Example:
      >>> import jax.numpy as jnp
      >>> same = jnp.array([[2.0, 0.0]])
      >>> round(float(ban_loss(same, same, jnp.array([0]))), 4)
      0.1269

    References:
      Furlanello et al., "Born-Again Neural Networks", 2018.
    """
    return kd_loss(teacher_logits, student_logits, labels, temperature=1.0)
