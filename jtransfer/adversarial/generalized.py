"""Adversarial transferability in all directions: generalised attacks, A1 and A2."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul, unit
from jtransfer.adversarial.alphas import ratios
from jtransfer.jacobians import singular_attacks, weighted_outputs


class GeneralizedDeviations(NamedTuple):
    """First-order deviations of two functions by all attacks on the first."""

    own: jax.Array
    """Of `f1`, `[r, m]`."""
    transferred: jax.Array
    """Of `f2`, `[r, k]`."""


@jax.jit
def generalized_deviations(
    jacobian_1: ArrayLike, jacobian_2: ArrayLike, *, hessian: ArrayLike | None = None
) -> GeneralizedDeviations:
    r"""Computes deviations of two functions by each generalised attack on the first.

    .. math:: \Delta_{11}^{(i)} = J_1 \delta_1^{(i)}, \quad
              \Delta_{12}^{(i)} = J_2 \delta_1^{(i)}.

    Row ``i - 1`` of many examples are the deviations that `alpha1` and `alpha2` take in
    the limit of small attacks. This is one example; use ``jax.vmap``.

    Args:
      jacobian_1: Jacobian of ``f1``, shape ``[m, n]``.
      jacobian_2: Jacobian of ``f2`` at the same example, shape ``[k, n]``.
      hessian: metric of the outputs of ``f1``, shape ``[m, m]``.

    Returns:
      The deviations, ``r = min(m, n)`` rows each; zero beyond the rank.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if an array is not floating-point.

    Example:
      >>> identity, stretch = jnp.eye(2), jnp.array([[0.0, 2.0]])
      >>> jnp.abs(generalized_deviations(stretch, identity).transferred).tolist()
      [[0.0, 1.0]]

    References:
      Liang et al., 2021, Eq. (10).
    """
    jacobian_1, jacobian_2 = _jacobians(jacobian_1, jacobian_2, 2, "")
    attacks = singular_attacks(jacobian_1, hessian=hessian).attacks
    return GeneralizedDeviations(
        own=matmul(attacks, jacobian_1.T), transferred=matmul(attacks, jacobian_2.T)
    )


@jax.jit
def generalized_alpha1(
    jacobian_1: ArrayLike,
    jacobian_2: ArrayLike,
    *,
    hessian_1: ArrayLike | None = None,
    hessian_2: ArrayLike | None = None,
) -> jax.Array:
    r"""Computes the generalised first transferability A1 of one example.

    .. math:: A_1^{(i)} = \frac{\|J_2 \delta_1^{(i)}\|_{H_2}}{\sigma_2^{(1)}}.

    The denominator is the spectral norm for every ``i``, the deviation by the strongest
    attack on ``f2``; a Frobenius norm there, as the notation of the paper reads, would
    contradict its Theorem 3.1. All entries lie in ``[0, 1]``, and are 0 beyond the
    rank of the first Jacobian and for ``0 / 0``. This is one example; use ``jax.vmap``.

    Args:
      jacobian_1: Jacobian of ``f1``, shape ``[m, n]``.
      jacobian_2: Jacobian of ``f2`` at the same example, shape ``[k, n]``.
      hessian_1: metric of the outputs of ``f1``, shape ``[m, m]``.
      hessian_2: metric of the outputs of ``f2``, shape ``[k, k]``.

    Returns:
      A1, shape ``[r]`` with ``r = min(m, n)``.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if an array is not floating-point.

    Example:
      >>> print(generalized_alpha1(jnp.diag(jnp.array([2.0, 1.0])), jnp.diag(
      ...     jnp.array([1.0, 4.0]))))
      [0.25 1.  ]

    References:
      Liang et al., 2021, Eq. (11).
    """
    jacobian_1, jacobian_2 = _jacobians(jacobian_1, jacobian_2, 2, "")
    first = weighted_outputs("hessian_1", jacobian_1, hessian_1, axis=0)
    second = weighted_outputs("hessian_2", jacobian_2, hessian_2, axis=0)
    strongest = singular_attacks(second).attacks[0]
    transferred = generalized_deviations(first, second).transferred
    return ratios(transferred, matmul(second, strongest)[None])


@jax.jit
def generalized_alpha2(
    jacobians_1: ArrayLike,
    jacobians_2: ArrayLike,
    pseudo_inverse: ArrayLike,
    *,
    hessian_1: ArrayLike | None = None,
    hessian_2: ArrayLike | None = None,
) -> jax.Array:
    r"""Computes the generalised second transferability A2 of a pair of examples.

    .. math:: A_2^{(i,j)} =
              \langle \hat\Delta_{11}^{(i)}(x_1), \hat\Delta_{11}^{(j)}(x_2)
              \rangle_{H_1}
              \langle \hat\Delta_{12}^{(i)}(x_1), \hat\Delta_{12}^{(j)}(x_2)
              \rangle_{J^+ / \|J^+\|_{H_2}}

    with deviations of unit length in the metric of their own outputs, a zero vector
    where that length is zero, and :math:`\|W\|_H^2 = \operatorname{tr}(W^T H W)`.

    Args:
      jacobians_1: Jacobians of ``f1`` at both examples, shape ``[2, m, n]``.
      jacobians_2: Jacobians of ``f2`` at both examples, shape ``[2, k, n]``.
      pseudo_inverse: that of the mean of ``J2 J2^T``, of any scale, shape ``[k, k]``.
      hessian_1: metric of the outputs of ``f1``, shape ``[m, m]``.
      hessian_2: metric of the outputs of ``f2``, positive definite, shape ``[k, k]``.

    Returns:
      A2, shape ``[r, r]`` with ``r = min(m, n)``.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if an array is not floating-point.

    Example:
      >>> jacobians = jnp.ones((2, 1, 3)) * jnp.array([1.0, -2.0])[:, None, None]
      >>> generalized_alpha2(jacobians, jacobians, jnp.ones((1, 1))).round(4).tolist()
      [[1.0]]

    References:
      Liang et al., 2021, Theorem 3.1.
    """
    jacobians_1, jacobians_2 = _jacobians(jacobians_1, jacobians_2, 3, "s")
    if jacobians_1.shape[0] != 2:
        raise ValueError(f"jacobians_1 must be [2, m, n], got {jacobians_1.shape}.")
    pseudo_inverse = jnp.asarray(pseudo_inverse)
    k = jacobians_2.shape[1]
    if pseudo_inverse.shape != (k, k):
        raise ValueError(
            f"pseudo_inverse must have shape {(k, k)}, got {pseudo_inverse.shape}."
        )
    weighted = weighted_outputs("hessian_1", jacobians_1, hessian_1, axis=1)
    own, transferred = jax.vmap(generalized_deviations)(weighted, jacobians_2)
    lengths = weighted_outputs("hessian_2", transferred, hessian_2, axis=2)
    first, second = unit(own), unit(transferred, lengths)
    inverse = weighted_outputs("hessian_2", pseudo_inverse, hessian_2, axis=0)
    metric = unit(pseudo_inverse.ravel(), inverse.ravel()).reshape(k, k)
    return matmul(first[0], first[1].T) * matmul(matmul(second[0], metric), second[1].T)


def _jacobians(first: ArrayLike, second: ArrayLike, num_axes: int, plural: str):
    """Returns Jacobians as arrays that agree but for the number of outputs."""
    arrays = jnp.asarray(first), jnp.asarray(second)
    for number, array in enumerate(arrays, 1):
        checks.num_axes(f"jacobian{plural}_{number}", array, num_axes)
        checks.floating(f"jacobian{plural}_{number}", array)
    shapes = [array.shape[:-2] + array.shape[-1:] for array in arrays]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"jacobian{plural}_1 and jacobian{plural}_2 must agree but for the number "
            f"of outputs, got {arrays[0].shape} and {arrays[1].shape}."
        )
    return arrays
