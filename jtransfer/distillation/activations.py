"""Matching of a network's outputs: to labels, to logits, to soft targets."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.distillation import _vectors


@jax.jit
def match_activations(
    teacher_logits: ArrayLike, student_logits: ArrayLike
) -> jax.Array:
    r"""Computes the squared error between the logits of teacher and student.

    .. math:: \frac1n \sum_x \sum_{i=1}^k (T^i(x) - S^i(x))^2,

    a sum over the outputs, before any softmax.

    Args:
      teacher_logits: outputs of the teacher, shape ``[n, k]``.
      student_logits: outputs of the student, shape ``[n, k]``.

    Returns:
      The loss, shape ``[]``.

    Raises:
      ValueError: if the shapes differ or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> float(match_activations(jnp.zeros((2, 3)), jnp.ones((2, 3))))
      3.0

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018,
      Proposition 1.
    """
    teacher, student = _vectors.matched(
        2, teacher_logits=teacher_logits, student_logits=student_logits
    )
    return jnp.mean(jnp.sum((teacher - student) ** 2, axis=1))


@jax.jit
def soft_targets(
    teacher_logits: ArrayLike, student_logits: ArrayLike, *, temperature: ArrayLike
) -> jax.Array:
    r"""Computes the divergence of the student's probabilities from the teacher's.

    .. math:: \frac1n \sum_x \operatorname{KL}(\rho_\tau(T(x)) \,\|\,
              \rho_\tau(S(x))), \quad \rho_\tau(z) = \operatorname{softmax}(z / \tau).

    There is no factor :math:`\tau^2`: the weight of the loss absorbs it. The student's
    gradient is that of the cross-entropy with the teacher's probabilities.

    Args:
      teacher_logits: outputs of the teacher, shape ``[n, k]``; minus infinity masks a
        class, which then adds nothing.
      student_logits: outputs of the student, shape ``[n, k]``.
      temperature: ``tau``, positive.

    Returns:
      The loss in nats, shape ``[]``; at least 0, and 0 for equal logits.

    Raises:
      ValueError: if the shapes differ or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> teacher, student = jnp.array([[3.0, 0.0]]), jnp.array([[0.0, 0.0]])
      >>> round(float(soft_targets(teacher, student, temperature=3.0)), 4)
      0.1109

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eq. (2).
    """
    teacher, student = _vectors.matched(
        2, teacher_logits=teacher_logits, student_logits=student_logits
    )
    teacher = jax.nn.log_softmax(_vectors.tempered(teacher, temperature))
    student = jax.nn.log_softmax(_vectors.tempered(student, temperature))
    return jnp.mean(_vectors.divergences(teacher, student))


@jax.jit
def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> jax.Array:
    r"""Computes the cross-entropy of logits with hard labels.

    .. math:: -\frac1n \sum_{x, y} \log \operatorname{softmax}(S(x))_y.

    Args:
      logits: outputs of a network, shape ``[n, C]``.
      labels: integer labels in ``[0, C)``, shape ``[n]``; one that lies outside
        contributes 0 to the sum and still counts in ``n``.

    Returns:
      The loss in nats, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if the logits are not floating-point or the labels not integers.

    Example:
      >>> round(float(cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3]))), 4)
      1.3863

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018,
      supplement, "Loss function": the term of weight alpha.
    """
    import optax

    logits, labels = _vectors.checked_labelled(logits, labels)
    labels = checks.class_labels(labels, logits.shape[1])
    valid = labels >= 0
    # optax subtracts the normaliser as it is: beside a large offset of the logits, as
    # 1e8 in float32, nothing would be left of the loss.
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(
        _vectors.tempered(logits, 1), jnp.where(valid, labels, 0)
    )
    return jnp.mean(jnp.where(valid, losses, 0))
