"""Eigenvalues of a scatter whose features are on scales far apart."""

import jax
import jax.numpy as jnp

from jtransfer._internal.linalg import matmul, rank_tolerance
from jtransfer.scores._linalg import scaled_spectrum


def graded_spectrum(scatter: jax.Array, scale: jax.Array, rank: jax.Array):
    r"""Returns eigenvalues `[d]` and axes `[d, d]` of a scatter, and which are real.

    An eigendecomposition is right to rounding of the *largest* eigenvalue: one feature
    a hundred million times as wide as the others, such as a time stamp, leaves nothing
    of them. The entries of the scatter are each right to rounding of the two spreads.
    Where a feature would be lost, the correlations, `V diag(c) V^T`, give a factor
    `D V c^{1/2}` of the scatter that is right in each row; its part orthogonal to the
    dominant axes holds the small eigenvalues, and is decomposed by itself.

    Args:
      scatter: `[d, d]`.
      scale: factors that give it a unit diagonal, 0 for a constant feature, `[d]`.
      rank: the largest rank that so many examples have.

    Returns:
      The eigenvalues in ascending order; the axes, one a column; a mask `[d]` of those
      within the rank. The cost is one eigendecomposition, or three where a feature
      varies less than `eps^0.6` of the largest eigenvalue.
    """
    values, axes = jnp.linalg.eigh(scatter)
    d = len(values)
    kept = values > rank_tolerance(d, values.dtype) * values[-1]
    kept &= (values > 0) & (jnp.arange(d) >= d - rank)
    bound = _share(values.dtype) * values[-1]
    lost = jnp.any((scale > 0) & (jnp.diagonal(scatter) < bound))
    return jax.lax.cond(
        lost,
        lambda: _split_spectrum(scatter, scale, rank, values, axes),
        lambda: (values, axes, kept),
    )


def _share(dtype) -> float:
    return float(jnp.finfo(dtype).eps) ** 0.6


def _split_spectrum(scatter, scale, rank, values, axes):
    d = len(values)
    dominant = values > _share(values.dtype) * values[-1]
    squares, directions, real = scaled_spectrum(scatter, scale, rank)
    spreads = jnp.where(scale > 0, 1 / jnp.where(scale > 0, scale, 1), 0)
    factor = spreads[:, None] * directions * jnp.sqrt(squares)[None]
    rows = matmul(axes.T, factor)
    first = jnp.where(dominant[:, None], rows, 0)
    rest = rows - first
    # The other axes lean by rounding towards the dominant ones, whose rows are much
    # longer; rows of different axes are orthogonal, which tells by how much.
    lean = matmul(rest, first.T) / jnp.where(dominant, values, jnp.inf)[None]
    axes -= matmul(axes, lean.T)
    rest -= matmul(lean, first)
    inner = matmul(rest, rest.T)
    # The dominant axes take no part, and stay last and in order.
    above = jnp.trace(inner) * (2 + jnp.arange(d, dtype=values.dtype) / d) + 1
    lower, turned = jnp.linalg.eigh(inner + jnp.diag(jnp.where(dominant, above, 0)))
    largest = jnp.max(jnp.where(dominant, 0, lower))
    kept = lower > rank_tolerance(d, values.dtype) * largest
    # Features that are combinations of others leave axes of rounding alone, which may
    # be larger than the true ones below a wide feature: the correlations have the rank.
    num_real = jnp.minimum(rank, jnp.sum(real))
    kept &= (lower > 0) & (jnp.arange(d) >= d - num_real)
    axes = matmul(axes, turned)
    # Nor are those that combine wide features below the rounding of these: a class may
    # lean on such an axis by more than its variance allows, and would be explained.
    rounding = jnp.finfo(values.dtype).eps * (spreads @ jnp.abs(axes)) ** 2
    kept &= lower > 4 * rounding
    return jnp.where(dominant, values, lower), axes, dominant | kept
