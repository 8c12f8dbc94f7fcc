"""Matching and penalising of Jacobians, in the squared-error form."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer.distillation import _vectors


@jax.jit
def match_jacobians(teacher: ArrayLike, student: ArrayLike) -> jax.Array:
    r"""Computes the squared error between the Jacobians of teacher and student.

    .. math:: \frac1n \sum_x \sum_{i=1}^k \|\nabla_x T^i(x) - \nabla_x S^i(x)\|_2^2.

    The paper adds it to `match_activations` with the weight :math:`\sigma^2`, as the
    effect of Gaussian noise of deviation :math:`\sigma` on the inputs of both networks.
    **That is exact for networks that are linear wherever the noise reaches, not in
    general.** The exact second-order term is

    .. math:: \sigma^2 \sum_i \left[\|\nabla_x T^i - \nabla_x S^i\|_2^2
              + (T^i - S^i) (\Delta T^i - \Delta S^i)\right]

    with the Laplacian :math:`\Delta`, and where noise crosses the kinks of a piecewise
    linear network the error is of the order :math:`\sigma`, not zero as printed.

    Args:
      teacher: derivatives of the teacher's outputs by the inputs, shape
        ``[n, k, p]``; ``k`` is 1 or a few where only selected outputs are matched.
      student: those of the student, shape ``[n, k, p]``.

    Returns:
      The loss, shape ``[]``.

    Raises:
      ValueError: if the shapes differ or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> teacher, student = jnp.array([[[1.0, 2.0]]]), jnp.array([[[1.0, 0.0]]])
      >>> float(match_jacobians(teacher, student))
      4.0

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018,
      Proposition 1.
    """
    teacher, student = _vectors.matched(3, teacher=teacher, student=student)
    return jnp.mean(jnp.sum((teacher - student) ** 2, axis=(1, 2)))


@jax.jit
def match_normalized_jacobians(teacher: ArrayLike, student: ArrayLike) -> jax.Array:
    r"""Computes the squared distance between the directions of two gradients.

    .. math:: \frac1n \sum_x \left\|\frac{\nabla_x f(x)}{\|\nabla_x f(x)\|_2} -
              \frac{\nabla_x g(x)}{\|\nabla_x g(x)\|_2}\right\|_2^2.

    It lies in ``[0, 4]`` and does not change with the scale of either network. The
    direction of a zero gradient is the zero vector, and it passes on no gradient.

    For linear scalar functions this is exactly the mean squared difference of their
    responses to one noise, scaled for each function by :math:`\sigma` over the length
    of its own gradient, divided by :math:`\sigma^2`; each response alone then has the
    mean square :math:`\sigma^2` (section 5.2.2).

    Args:
      teacher: gradients of one scalar of the teacher by the inputs, shape ``[n, p]``.
      student: those of the student, shape ``[n, p]``.

    Returns:
      The loss, shape ``[]``.

    Raises:
      ValueError: if the shapes differ or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> teacher, student = jnp.array([[5.0, 0.0]]), jnp.array([[0.0, 0.1]])
      >>> float(match_normalized_jacobians(teacher, student))
      2.0

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, Eq. (10).
    """
    teacher, student = _vectors.matched(2, teacher=teacher, student=student)
    difference = _vectors.unit_directions(teacher) - _vectors.unit_directions(student)
    return jnp.mean(jnp.sum(difference**2, axis=1))


@jax.jit
def jacobian_norm(jacobians: ArrayLike) -> jax.Array:
    r"""Computes the squared norm of Jacobians, a penalty against noisy inputs.

    .. math:: \frac1n \sum_x \sum_{i=1}^k \|\nabla_x S^i(x)\|_2^2.

    With the weight :math:`\sigma^2` it stands for Gaussian noise on the student's
    inputs under a squared error to fixed targets ``y``. **That is exact for networks
    that are linear wherever the noise reaches, not in general**: the printed expansion
    lacks :math:`-\sigma^2 \sum_i (y^i - S^i) \Delta S^i`.

    Args:
      jacobians: derivatives of the outputs by the inputs, shape ``[n, k, p]``.

    Returns:
      The penalty, shape ``[]``.

    Raises:
      ValueError: if there are not three axes or there is no example.
      TypeError: if the array is not floating-point.

    Example:
      >>> float(jacobian_norm(jnp.ones((5, 2, 3))))
      6.0

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018,
      Proposition 2. Drucker and Le Cun, "Improving generalization performance using
      double backpropagation", 1992.
    """
    (jacobians,) = _vectors.checked_vectors(3, jacobians=jacobians)
    return jnp.mean(jnp.sum(jacobians**2, axis=(1, 2)))
