"""Jacobian terms that go with a cross-entropy, printed and exact."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal.linalg import matmul
from jtransfer.distillation import _vectors


@jax.jit
def printed_cross_entropy_match_jacobians(
    teacher_logits: ArrayLike,
    student_logits: ArrayLike,
    teacher_jacobians: ArrayLike,
    student_jacobians: ArrayLike,
    *,
    temperature: ArrayLike = 1.0,
) -> jax.Array:
    r"""Computes the Jacobian term of soft targets as the paper prints it.

    .. math:: -\frac1n \sum_x \sum_i \frac{\langle \nabla_x T_s^i(x),
              \nabla_x S_s^i(x) \rangle}{S_s^i(x)}, \quad
              T_s = \operatorname{softmax}(T / \tau), \;
              S_s = \operatorname{softmax}(S / \tau).

    It rewards a large student Jacobian without limit, and the paper finds it unstable.
    **It is only a part of what noise adds**: the exact second-order term has besides
    :math:`-\frac12 \sum_i [\Delta T_s^i \log S_s^i + T_s^i \Delta \log S_s^i]`, which
    does not vanish for linear logits either.

    No quotient of small numbers occurs: :math:`\nabla S_s^i / S_s^i` is computed as
    the gradient of the logarithm, from the Jacobians of the logits.

    Args:
      teacher_logits: logits of the teacher, shape ``[n, k]``.
      student_logits: logits of the student, shape ``[n, k]``.
      teacher_jacobians: derivatives of the teacher's *logits* by the inputs, shape
        ``[n, k, p]``.
      student_jacobians: those of the student, shape ``[n, k, p]``.
      temperature: ``tau``, positive.

    Returns:
      The term, without its weight :math:`\sigma^2`, shape ``[]``; of either sign.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> logits, jacobians = jnp.zeros((1, 2)), jnp.array([[[2.0], [0.0]]])
      >>> float(printed_cross_entropy_match_jacobians(
      ...     logits, logits, jacobians, jacobians))
      -1.0

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, Eq. (2).
    """
    teacher_logits, student_logits = _vectors.matched(
        2, teacher_logits=teacher_logits, student_logits=student_logits
    )
    _vectors.matched(
        3, teacher_jacobians=teacher_jacobians, student_jacobians=student_jacobians
    )
    probs, teacher = _log_gradients(teacher_logits, teacher_jacobians, temperature)
    _, student = _log_gradients(student_logits, student_jacobians, temperature)
    products = jnp.sum(teacher * student, axis=2)
    return -jnp.mean(jnp.sum(probs * products, axis=1))


@jax.jit
def printed_cross_entropy_jacobian_norm(
    logits: ArrayLike, jacobians: ArrayLike, labels: ArrayLike
) -> jax.Array:
    r"""Computes the Jacobian penalty of a cross-entropy as the paper prints it.

    .. math:: \frac1n \sum_{x, y} \frac{\|\nabla_x S_s^y(x)\|_2^2}{S_s^y(x)^2}, \quad
              S_s = \operatorname{softmax}(S).

    **As the effect of noise it is twice too large and lacks a term**: exact is
    :math:`\frac{\sigma^2}{2} [\|\nabla S_s^y\|^2 / (S_s^y)^2 - \Delta S_s^y / S_s^y]`,
    for locally linear logits half of `jacobian_covariance`.

    Args:
      logits: logits of the network, shape ``[n, k]``.
      jacobians: derivatives of the *logits* by the inputs, shape ``[n, k, p]``.
      labels: integer labels in ``[0, k)``, shape ``[n]``; one that lies outside
        contributes 0.

    Returns:
      The penalty, without its weight :math:`\sigma^2`, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if the labels are not integers or the others not floating-point.

    Example:
      >>> logits, jacobians = jnp.zeros((1, 2)), jnp.array([[[2.0], [0.0]]])
      >>> float(printed_cross_entropy_jacobian_norm(logits, jacobians, jnp.array([0])))
      1.0

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, Eq. (3).
    """
    logits, labels = _vectors.checked_labelled(logits, labels)
    _, gradients = _log_gradients(logits, jacobians, 1)
    chosen = _vectors.one_hot(labels, logits.shape[1], logits.dtype)
    return jnp.mean(jnp.sum(chosen * jnp.sum(gradients**2, axis=2), axis=1))


@jax.jit
def jacobian_covariance(logits: ArrayLike, jacobians: ArrayLike) -> jax.Array:
    r"""Computes the spread of the classes' Jacobians under the network's own softmax.

    .. math:: \frac1n \sum_x \operatorname{tr} \operatorname{Cov}_{S_s}(J)
              = \frac1n \sum_x \sum_c S_s^c \|J_c - \bar J\|_2^2, \quad
              \bar J = \sum_c S_s^c J_c.

    With the weight :math:`\sigma^2 / 2` this is exactly what Gaussian noise adds in
    second order to the cross-entropy where the logits are locally linear, whatever the
    labels are. It is never negative and needs no division, unlike the printed form.

    Args:
      logits: logits of the network, shape ``[n, k]``.
      jacobians: derivatives ``J`` of the *logits* by the inputs, shape ``[n, k, p]``.

    Returns:
      The penalty, without its weight, shape ``[]``; 0 where one class is certain.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> logits, jacobians = jnp.zeros((1, 2)), jnp.array([[[2.0], [0.0]]])
      >>> float(jacobian_covariance(logits, jacobians))
      1.0

    References:
      The second-order term in place of the one printed as Eq. (3) by Srinivas and
      Fleuret, "Knowledge Transfer with Jacobian Matching", 2018.
    """
    probs, gradients = _log_gradients(logits, jacobians, 1)
    return jnp.mean(jnp.sum(probs * jnp.sum(gradients**2, axis=2), axis=1))


def _log_gradients(logits, jacobians, temperature) -> tuple[jax.Array, jax.Array]:
    """The softmax `[n, k]`, and the gradients `[n, k, p]` of its logarithm."""
    (logits,) = _vectors.checked_vectors(2, logits=logits)
    (jacobians,) = _vectors.checked_vectors(3, jacobians=jacobians)
    if jacobians.shape[:2] != logits.shape:
        raise ValueError(
            f"jacobians must have shape {(*logits.shape, 'p')}, got {jacobians.shape}."
        )
    probs = jax.nn.softmax(_vectors.tempered(logits, temperature))
    # d log softmax(z)_i = dz_i - sum_c softmax(z)_c dz_c.
    mean = matmul(probs[:, None], jacobians)
    return probs, (jacobians - mean) / temperature
