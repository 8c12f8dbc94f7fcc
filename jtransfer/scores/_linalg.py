"""Linear algebra that several scores share."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jtransfer._internal.linalg import matmul, rank_tolerance
from jtransfer.moments import Moments


def num_examples(moments: Moments) -> jax.Array:
    """Returns the number of examples, at least one, as a floating-point scalar."""
    return jnp.maximum(moments.counts.sum(), 1).astype(moments.mean.dtype)


def standardization(moments: Moments) -> jax.Array:
    """Returns the factors that give the scatter a unit diagonal, `[d]`; 0 if constant.

    A spread below the rounding of the mean cannot be told from a constant.
    """
    return unit_diagonal(moments.scatter, moments.mean, num_examples(moments))


def unit_diagonal(scatter: jax.Array, mean: jax.Array, n: jax.Array) -> jax.Array:
    """Returns the same of a scatter `[d, d]` and a mean `[d]` of `n` examples."""
    variances = jnp.diagonal(scatter) / n
    rounding = (jnp.finfo(variances.dtype).eps * mean) ** 2
    varies = jax.lax.stop_gradient((variances > rounding) & (variances > 0))
    return jnp.where(varies, 1 / jnp.sqrt(jnp.where(varies, variances, 1)), 0)


def weighted_class_sums(moments: Moments) -> jax.Array:
    """Returns `B` `[C, d]` such that `B^T B` is the scatter of the class means."""
    counts = jnp.maximum(moments.counts, 1).astype(moments.mean.dtype)
    return moments.class_sums / jnp.sqrt(counts)[:, None]


def spectrum(moments: Moments, scale: jax.Array):
    """Returns eigenvalues `[d]` and axes `[d, d]` of the scaled scatter, and ranks.

    Args:
      moments: statistics of the features.
      scale: factor of each feature, `[d]`.

    Returns:
      The eigenvalues in ascending order, zero beyond the rank; the axes, one a
      column; and a mask `[d]` of the directions within the rank, of which `n`
      centred examples leave at most `n - 1`.
    """
    return scaled_spectrum(moments.scatter, scale, moments.counts.sum() - 1)


def scaled_spectrum(scatter: jax.Array, scale: jax.Array, rank: jax.Array):
    """Returns the same of a scatter `[d, d]` and its largest possible rank."""
    values, axes = jnp.linalg.eigh(scatter * scale[:, None] * scale[None])
    d = values.shape[0]
    kept = values > rank_tolerance(d, values.dtype) * values[-1]
    kept &= jnp.arange(d) >= d - rank
    kept &= values > 0
    return jnp.where(kept, values, 0), axes, kept


@jax.custom_jvp
def explained_trace(moments: Moments, between: jax.Array) -> jax.Array:
    """Returns `tr(S^+ B^T B)` of the scatter `S` and a factor `B` `[C, d]`.

    The pseudo-inverse is that of the scatter scaled to a unit diagonal: within the
    range of `S`, where the rows of `B` lie, the scale cancels.
    """
    scale = standardization(moments)
    values, axes, kept = spectrum(moments, scale)
    projections = matmul(between * scale[None], axes)
    precision = jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)
    return jnp.sum(projections**2 * precision[None])


@explained_trace.defjvp
def _explained_trace_jvp(primals, tangents):
    # Derivatives of eigenvectors are infinite at repeated eigenvalues; this one is
    # not: d tr(S^+ B^T B) = 2 <B S^+, dB> - <B S^+ dS, B S^+> at constant rank.
    moments, between = primals
    scale = standardization(moments)
    values, axes, kept = spectrum(moments, scale)
    precision = jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)
    projections = matmul(between * scale[None], axes)
    solved = matmul(projections * precision[None], axes.T) * scale[None]
    d_scatter, d_between = tangents[0].scatter, tangents[1]
    value = jnp.sum(projections**2 * precision[None])
    tangent = 2 * jnp.sum(solved * d_between)
    return value, tangent - jnp.sum(matmul(solved, d_scatter) * solved)


@jax.custom_jvp
def separated_trace(moments: Moments, between: jax.Array) -> jax.Array:
    r"""Returns `tr(S^+ B^T B)` of `S = W + B^T B`, from the scatter `W` within classes.

    The sum `S` itself would lose in rounding what `W` holds beside the largest rows of
    `B`. With the eigenvalues `w` of `W`, `P` and `P_0` the parts of `B` within its
    range and outside of it, and the projection `N` on what is orthogonal to the columns
    of `P_0`, of rank `r`,

    .. math:: \operatorname{tr}(S^+ B^T B) = r + \operatorname{tr}(M (1 + M)^{-1}),
              \quad M = N P w^{-1} P^T N:

    the limit of a `W` whose null eigenvalues tend to zero.
    """
    return _separation(moments, between).trace


@separated_trace.defjvp
def _separated_trace_jvp(primals, tangents):
    # As for `explained_trace`, with B S^+ from the same limit and dS = dW + d(B^T B).
    moments, between = primals
    parts = _separation(moments, between)
    d_within, d_between = tangents[0].within, tangents[1]
    product = matmul(parts.solved, between.T)
    tangent = 2 * jnp.sum(parts.solved * d_between)
    tangent -= jnp.sum(matmul(parts.solved, d_within) * parts.solved)
    # <B S^+ d(B^T B), B S^+> = 2 <B S^+ B^T B S^+, dB>, a product of C x C matrices.
    tangent -= 2 * jnp.sum(matmul(product, parts.solved) * d_between)
    return parts.trace, tangent


class _Separation(NamedTuple):
    trace: jax.Array  # tr(S^+ B^T B)
    solved: jax.Array  # B S^+, [C, d]


def _separation(moments: Moments, between: jax.Array) -> _Separation:
    scale = standardization(moments)
    present = jnp.sum(moments.counts > 0)
    values, axes, kept = scaled_spectrum(
        moments.within, scale, moments.counts.sum() - present
    )
    # Deviations from class means are right to rounding of the features: less than that
    # is nothing within the classes, as where these features are names of the classes.
    total = jnp.sum(jnp.diagonal(moments.scatter) * scale**2)
    kept &= values > (4 * jnp.finfo(values.dtype).eps) ** 2 * total
    projections = _balanced(matmul(between * scale[None], axes), moments.counts)
    # Of factors and not of their squares: half of the digits would be lost.
    outside = jnp.where(kept[None], 0, projections)
    sides, spread, across = jnp.linalg.svd(outside, full_matrices=False)
    c, d = between.shape
    share = max(10 * d**0.5 * float(jnp.finfo(between.dtype).eps), 1e-13**0.5)
    real = spread > share * jnp.sqrt(jnp.sum(projections**2))
    # A null eigenvalue of W may be as large as the tolerance: what is less between the
    # classes, as along the difference of two near copies, does not separate them.
    real &= spread**2 > rank_tolerance(d, values.dtype) * values[-1]
    sides = jnp.where(real[None], sides, 0)
    inverse = jnp.where(real, 1 / jnp.where(real, spread, 1), 0)
    roots = jnp.where(kept, 1 / jnp.sqrt(jnp.where(kept, values, 1)), 0)
    factor = projections * roots[None]
    left, ratios, right = jnp.linalg.svd(
        factor - matmul(sides, matmul(sides.T, factor)), full_matrices=False
    )
    trace = jnp.sum(real.astype(ratios.dtype)) + jnp.sum(ratios**2 / (1 + ratios**2))
    solved = matmul(left * (ratios / (1 + ratios**2))[None], right)
    pseudo = matmul(inverse[:, None] * across, axes.T)
    first = sides - matmul(solved, matmul(factor.T, sides))
    solved = matmul(first, pseudo) + matmul(solved * roots[None], axes.T)
    return _Separation(trace, solved * scale[None])


def _balanced(rows: jax.Array, counts: jax.Array) -> jax.Array:
    """Takes from class means times `sqrt(n_c)` the part by which rounding moved all.

    Weighted by `sqrt(n_c)` they sum to zero.
    """
    weights = jnp.sqrt(counts.astype(rows.dtype))
    total = jnp.maximum(counts.sum(), 1).astype(rows.dtype)
    return rows - jnp.outer(weights, matmul(weights, rows) / total)
