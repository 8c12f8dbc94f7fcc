"""Bounds of one distance by another."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.jacobians import singular_attacks, weighted_outputs
from jtransfer.matching._least_squares import checked_functions, root_mean_square
from jtransfer.matching.distances import (
    function_matching_distance,
    function_matching_map,
)


class Bounds(NamedTuple):
    """An interval that holds a distance."""

    lower: jax.Array
    """`[]`, not negative."""
    upper: jax.Array
    """`[]`."""


@jax.jit
def knowledge_transfer_bounds(
    reference: ArrayLike,
    source: ArrayLike,
    targets: ArrayLike,
    *,
    hessian: ArrayLike | None = None,
) -> Bounds:
    r"""Bounds the knowledge transfer distance by the error of the reference model.

    .. math:: |d(y, f_S) - d(f_T, f_S)| \le \sqrt{\tfrac1n \sum_x \|f_T(x) - y\|_H^2}

    with ``d`` the `function_matching_distance`.

    Args:
      reference: outputs of the target's reference model ``f_T``, shape ``[n, m]``.
      source: outputs of the source ``f_S``, shape ``[n, k]``.
      targets: what the reference was trained for, ``y``, shape ``[n, m]``.
      hessian: metric of the outputs of the reference, shape ``[m, m]``.

    Returns:
      Bounds of ``function_matching_distance(targets, source)``.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> x = jnp.array([[-1.0], [1.0]])
      >>> [float(bound) for bound in knowledge_transfer_bounds(x, x, x + 2)]
      [0.0, 2.0]

    References:
      Liang et al., 2021, Theorem 3.3.
    """
    reference, source = checked_functions(reference, source, 2)
    targets = jnp.asarray(targets)
    checks.same_shape(reference=reference, targets=targets)
    error = weighted_outputs("hessian", reference - targets, hessian, axis=1)
    error = root_mean_square(error, len(reference))
    distance = function_matching_distance(reference, source, hessian=hessian)
    return Bounds(jnp.maximum(distance - error, 0), distance + error)


@jax.jit
def reverse_matching_bound(
    reference: ArrayLike, source: ArrayLike, *, hessian: ArrayLike | None = None
) -> jax.Array:
    r"""Bounds the distance of the source from the reference by the opposite one.

    .. math:: d_H(f_\circ, f_*) \le
              \sqrt{\|(W^T W)^{-1}\|_F \|H\|_F}\; d_I(f_*, f_\circ)

    with ``d`` the `function_matching_distance` and ``W`` the matrix of
    `function_matching_map`, which must be injective: it takes a source with at most as
    many outputs as the reference. Loose, most of all where an output of the source
    hardly shows in the reference.

    Args:
      reference: outputs of the reference, shape ``[n, m]``.
      source: outputs of the source, shape ``[n, k]`` with ``k <= m``.
      hessian: metric of the outputs of the **source**, shape ``[k, k]``; the identity
        by default.

    Returns:
      A bound of ``function_matching_distance(source, reference, hessian=hessian)``,
      shape ``[]``, a constant for differentiation; infinite if ``W`` is not injective.

    Raises:
      ValueError: if the shapes do not agree or the source has more outputs.
      TypeError: if an array is not floating-point.

    Example:
      >>> x = jnp.array([[-1.0], [1.0]])
      >>> print(reverse_matching_bound(x * x, x), reverse_matching_bound(4 * x, x))
      inf 0.0

    References:
      Liang et al., 2021, Theorem B.1.
    """
    reference, source = checked_functions(reference, source, 2)
    k = source.shape[1]
    if k > reference.shape[1]:
        raise ValueError(
            f"source must not have more outputs than reference, got {source.shape} "
            f"and {reference.shape}."
        )
    metric = jnp.eye(k, dtype=source.dtype) if hessian is None else jnp.asarray(hessian)
    if metric.shape != (k, k):
        raise ValueError(f"hessian must have shape {(k, k)}, got {metric.shape}.")
    matrix = function_matching_map(reference, source).matrix
    values = singular_attacks(matrix).values
    # Each factor on its own: the fourth power of a small value is nothing.
    ratios = values[-1] / jnp.where(values == 0, 1, values)
    inverse = jnp.sqrt(jnp.sqrt(jnp.sum(ratios**4))) / values[-1]
    length = jnp.sqrt(jnp.linalg.norm(metric))
    bound = inverse * length * function_matching_distance(reference, source)
    bound = jnp.where(values[-1] == 0, jnp.inf, bound).astype(bound.dtype)
    return jax.lax.stop_gradient(bound)
