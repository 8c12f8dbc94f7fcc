"""Factorisations of single sources, and the H-scores of sets of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer._internal import linalg
from jtransfer._internal.linalg import rank_tolerance
from jtransfer.moments import Moments, empty_moments
from jtransfer.scores import _linalg


class Sources(NamedTuple):
    """Moments and factors of `[S]` sources, padded to the `d` features of the largest.

    The correlations of a source are its scatter with its features scaled to unit
    length. Where one is constant they are those of a feature unrelated to any other.
    """

    counts: jax.Array  # [C]
    mean: jax.Array  # [S, d]
    scatter: jax.Array  # [S, d, S, d]
    class_sums: jax.Array  # [C, S, d]
    scale: jax.Array  # [S, d], 0 where constant
    correlation: jax.Array  # [S, d, d]
    inverse: jax.Array  # [S, d, d], of the factor of the correlations
    ratio: jax.Array  # [S], least to largest eigenvalue; not a number if singular


def factorised(moments: Moments, sizes: tuple[int, ...]) -> Sources:
    """Returns the sources, constants for differentiation.

    Args:
      moments: statistics of all sources' features side by side, `[n, D]`.
      sizes: numbers of features of the sources.
    """
    moments = jax.lax.stop_gradient(moments)
    n = _linalg.num_examples(moments)
    scatter = _blocks(_blocks(moments.scatter, 1, sizes), 0, sizes)
    scale = _blocks(_linalg.standardization(moments) / jnp.sqrt(n), 0, sizes)

    def factor(part):
        scatter, own = part
        correlation = own[:, None] * scatter * own[None]
        correlation += jnp.diag(jnp.where(own > 0, 0, 1).astype(own.dtype))
        inverse, least = _inverse_factor(correlation)
        # The Frobenius norm is at least the largest eigenvalue.
        return correlation, inverse, least / jnp.sqrt(jnp.sum(correlation**2))

    own = jnp.stack([scatter[s, :, s] for s in range(len(sizes))])
    return Sources(
        moments.counts,
        _blocks(moments.mean, 0, sizes),
        scatter,
        _blocks(moments.class_sums, 1, sizes),
        scale,
        *jax.lax.map(factor, (own, scale)),
    )


def _blocks(array: jax.Array, axis: int, sizes: tuple[int, ...]) -> jax.Array:
    """Splits an axis into `[S, d]`, with zeros where padded."""
    if len(set(sizes)) == 1:  # Needs no copy.
        shape = (*array.shape[:axis], len(sizes), sizes[0], *array.shape[axis + 1 :])
        return array.reshape(shape)
    parts, start = [], 0
    for size in sizes:
        part = jax.lax.slice_in_dim(array, start, start + size, axis=axis)
        widths = np.zeros((array.ndim, 2), int)
        widths[axis, 1] = max(sizes) - size
        parts.append(jnp.pad(part, widths))
        start += size
    return jnp.stack(parts, axis=axis)


def _inverse_factor(matrix: jax.Array):
    """Returns `L^-1` for `L L^T = matrix`, and an estimate of the least eigenvalue.

    The estimate is that of inverse iteration, and not a number if `L` does not exist.
    It starts where the inverse matrix has its largest diagonal element, and so is at
    most `d` times too large even in theory.
    """
    factor = _cholesky(matrix)
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    inverse = jax.scipy.linalg.solve_triangular(factor, identity, lower=True)
    vector = identity[jnp.argmax(jnp.sum(inverse**2, axis=0))]
    for _ in range(4):
        vector = linalg.matmul(inverse.T, linalg.matmul(inverse, vector))
        growth = jnp.sqrt(jnp.sum(vector**2))
        vector /= growth
    return inverse, 1 / growth


def _cholesky(matrix: jax.Array) -> jax.Array:
    # The matrices are symmetric already.
    return jax.lax.linalg.cholesky(matrix, symmetrize_input=False)


def subset_scores(sources: Sources, subsets: jax.Array) -> jax.Array:
    """Returns the H-score of each set `[m, order]` of sources."""

    def score(subset):
        value, certain = _triangular_score(sources, subset)
        return jax.lax.cond(
            certain, lambda: value, lambda: _spectral_score(sources, subset)
        )

    return jax.lax.map(score, subsets)


def _triangular_score(sources: Sources, subset: jax.Array):
    """Returns the H-score of a set, and whether nothing is close to the rank's cut."""
    order, d = len(subset), sources.scale.shape[1]
    # Eigenvalues of what a source leaves of another, in units of its correlations,
    # times the ratios of the sources are those of all correlations over their
    # largest, up to a small factor, for which the tolerance leaves room.
    tolerance = 4 * rank_tolerance(order * d, sources.scale.dtype)
    ratio = sources.ratio[subset].min()
    certain = ratio > tolerance
    certain &= (sources.scale[subset] > 0).sum() < sources.counts.sum()

    counts = jnp.maximum(sources.counts, 1).astype(ratio.dtype)
    between = sources.class_sums[:, subset] * sources.scale[subset][None]
    between /= jnp.sqrt(counts)[:, None, None]
    inverse = sources.inverse[subset[0]]
    first = linalg.matmul(between[:, 0], inverse.T)
    score = jnp.sum(first**2)
    if order == 1:
        return score, certain

    cross = jnp.concatenate([_correlation(sources, s, subset[0]) for s in subset[1:]])
    cross = linalg.matmul(cross, inverse.T)
    own, rest = _correlations(sources, subset[1:])
    rest -= linalg.matmul(cross, cross.T)
    others = between[:, 1:].reshape(len(counts), -1) - linalg.matmul(first, cross.T)
    solved = jax.scipy.linalg.solve_triangular(_cholesky(rest), others.T, lower=True)
    # No other matrix has a factor; there is no number in it then.
    above = jnp.isfinite(_cholesky(rest - tolerance / ratio * own)[-1, -1])
    return score + jnp.sum(solved**2), certain & above


def _correlation(sources: Sources, a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the correlations of the features of two sources, 0 where constant."""
    scatter = sources.scatter[a, :, b]
    return sources.scale[a][:, None] * scatter * sources.scale[b][None]


def _correlations(sources: Sources, subset: jax.Array):
    """Returns the correlations within the sources of a set, and all of them."""
    own = [sources.correlation[s] for s in subset]
    blocks = [
        [
            own[i] if i == j else _correlation(sources, a, b)
            for j, b in enumerate(subset)
        ]
        for i, a in enumerate(subset)
    ]
    return jax.scipy.linalg.block_diag(*own), jnp.block(blocks)


def _spectral_score(sources: Sources, subset: jax.Array) -> jax.Array:
    """Returns the H-score of a set by its own eigendecomposition."""
    mean = sources.mean[subset].ravel()
    m, num_classes = len(mean), len(sources.counts)
    part = empty_moments(m, num_classes=num_classes, dtype=mean.dtype)._replace(
        counts=sources.counts,
        mean=mean,
        scatter=sources.scatter[subset][:, :, subset].reshape(m, m),
        class_sums=sources.class_sums[:, subset].reshape(num_classes, m),
    )
    return _linalg.explained_trace(part, _linalg.weighted_class_sums(part))
