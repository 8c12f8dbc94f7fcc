"""Higher-order transfer: H-scores of several sources' features taken together.

All come from the moments of all sources' features side by side, which one pass of
`class_moments` makes and `merge` unites. The features are not needed again.
"""

from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.moments import Moments
from jtransfer.scores import _factors


def source_subsets(num_sources: int, *, order: int) -> np.ndarray:
    """Lists all sets of a given number of sources.

    Args:
      num_sources: number of sources.
      order: sources in a set: 1 for single ones, 2 for pairs, 3 for triples.

    Returns:
      Indices in ascending order, NumPy int32, shape ``[binomial, order]``.

    Raises:
      ValueError: unless ``1 <= order <= num_sources``.

    Example:
      >>> source_subsets(3, order=2).tolist()
      [[0, 1], [0, 2], [1, 2]]
    """
    _check_order(order, num_sources)
    return np.array(list(combinations(range(num_sources), order)), np.int32)


@jax.jit(static_argnames=("sizes",))
def subset_h_scores(
    moments: Moments, subsets: ArrayLike, *, sizes: tuple[int, ...]
) -> jax.Array:
    r"""Computes the H-score of the concatenated features of each set of sources.

    .. math:: H(f_a, f_b) = H(f_a) + \|(B_b - B_a K) L^{-T}\|_F^2, \quad
              L L^T = I - K^T K,

    with ``K`` the covariance and ``B`` the weighted class means of the features, each
    source whitened on its own: one factorisation a source, and one a set of what its
    first source leaves of the others.

    Each score is that which `h_score` gives for the set's own moments without `within`,
    with the same rule of which directions count as absent. Where one comes close to
    that, as when two sources share a feature, the set's own eigendecomposition decides,
    which takes longer. As with `h_score`, **a set of at least n features is at its
    maximum whatever they are**.

    The scores are constants for differentiation.

    Args:
      moments: statistics of all sources' features side by side, shape ``[n, D]``.
      subsets: indices of the sources of each set, integers in ``[0, S)``, shape
        ``[m, order]``, for instance of `source_subsets`.
      sizes: numbers of features of the ``S`` sources, in their order in the
        concatenation; static. The cost is that of sources as large as the largest.

    Returns:
      The H-scores, dimensionless, shape ``[m]``.

    Raises:
      ValueError: if the sizes do not sum to ``D`` or `subsets` is not a matrix.
      TypeError: if `subsets` does not hold integers.

    Example:
      >>> from jtransfer import class_moments
      >>> labels = jnp.arange(8) % 4
      >>> a, b = labels % 2, labels // 2
      >>> features = jnp.stack([a, b, a], axis=1).astype(float)
      >>> moments = class_moments(features, labels, num_classes=4)
      >>> pairs = source_subsets(3, order=2)
      >>> subset_h_scores(moments, pairs, sizes=(1, 1, 1)).round(4).tolist()
      [2.0, 1.0, 2.0]

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, section 5.2, Higher Order Transfer.
    """
    subsets = jnp.asarray(subsets)
    checks.num_axes("subsets", subsets, 2)
    checks.integer("subsets", subsets)
    _check_subset_sizes(moments, sizes)
    return _factors.subset_scores(_factors.factorised(moments, sizes), subsets)


class SourceSelection(NamedTuple):
    """Sources chosen for their features taken together."""

    sources: jax.Array
    """Indices of the sources, integers, ``[order]``."""
    score: jax.Array
    """H-score of their concatenated features, ``[]``."""


@jax.jit(static_argnames=("sizes", "order"))
def best_sources(
    moments: Moments, *, sizes: tuple[int, ...], order: int = 2
) -> SourceSelection:
    """Finds the set of sources, of a given number, with the highest H-score together.

    Args:
      moments: statistics of all sources' features side by side, shape ``[n, D]``.
      sizes: numbers of features of the sources, see `subset_h_scores`; static.
      order: number of sources to choose, 2 for a pair; static.

    Returns:
      The sources in ascending order and their score; the first of equal sets.

    Raises:
      ValueError: if the sizes do not sum to ``D`` or there are fewer sources than
        `order`.

    Example:
      >>> from jtransfer import class_moments
      >>> labels = jnp.arange(8) % 4
      >>> a, b = labels % 2, labels // 2
      >>> features = jnp.stack([a, a, b], axis=1).astype(float)
      >>> moments = class_moments(features, labels, num_classes=4)
      >>> best_sources(moments, sizes=(1, 1, 1)).sources.tolist()
      [0, 2]

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, section 5.2, Higher Order Transfer.
    """
    _check_subset_sizes(moments, sizes)
    subsets = jnp.asarray(source_subsets(len(sizes), order=order))
    scores = _factors.subset_scores(_factors.factorised(moments, sizes), subsets)
    best = jnp.argmax(scores)
    return SourceSelection(subsets[best], scores[best])


@jax.jit(static_argnames=("sizes", "order"))
def greedy_sources(
    moments: Moments, *, sizes: tuple[int, ...], order: int = 2
) -> SourceSelection:
    """Finds sources one by one, each the best beside those already chosen.

    It looks at no more than `order` times as many sets as there are sources, not at
    all sets. The score is at most that of `best_sources`, and can be less: a source
    that says nothing alone may say much beside another.

    Args:
      moments: statistics of all sources' features side by side, shape ``[n, D]``.
      sizes: numbers of features of the sources, see `subset_h_scores`; static.
      order: number of sources to choose, 2 for a pair; static.

    Returns:
      The sources in the order of choice and their score.

    Raises:
      ValueError: if the sizes do not sum to ``D`` or there are fewer sources than
        `order`.

    Example:
      >>> from jtransfer import class_moments
      >>> labels = jnp.arange(8) % 4
      >>> a, b = labels % 2, labels // 2
      >>> features = jnp.stack([a, 1 - a, b], axis=1).astype(float)
      >>> moments = class_moments(features, labels, num_classes=4)
      >>> selection = greedy_sources(moments, sizes=(1, 1, 1))
      >>> selection.sources.tolist(), round(float(selection.score), 3)
      ([0, 2], 2.0)

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, section 5.2, Higher Order Transfer.
    """
    _check_subset_sizes(moments, sizes)
    _check_order(order, len(sizes))
    sources = _factors.factorised(moments, sizes)
    chosen = jnp.zeros(0, jnp.int32)
    for size in range(order):
        taken = jnp.zeros(len(sizes), jnp.int32).at[chosen].set(1)
        others = jnp.argsort(taken, stable=True)[: len(sizes) - size, None]
        before = jnp.broadcast_to(chosen[None], (len(others), size))
        subsets = jnp.concatenate([before, others.astype(jnp.int32)], axis=1)
        scores = _factors.subset_scores(sources, subsets)
        chosen = subsets[jnp.argmax(scores)]
    return SourceSelection(chosen, scores.max())


def _check_subset_sizes(moments: Moments, sizes: tuple[int, ...]) -> None:
    """Raises ValueError unless the sizes are those of the features' parts."""
    for size in sizes:
        checks.positive("sizes", size)
    d = moments.mean.shape[0]
    if sum(sizes) != d:
        raise ValueError(f"sizes must sum to the {d} features, got {sizes}.")


def _check_order(order: int, num_sources: int) -> None:
    """Raises ValueError unless `order` sources can be chosen."""
    checks.positive("order", order)
    if order > num_sources:
        raise ValueError(f"order must be at most {num_sources}, got {order}.")
