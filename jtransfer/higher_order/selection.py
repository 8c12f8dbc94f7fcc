"""Sources chosen for their features taken together."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jtransfer.higher_order import _factors
from jtransfer.higher_order.subsets import check_order, check_sizes, source_subsets
from jtransfer.moments import Moments


class Selection(NamedTuple):
    """Sources chosen for their features taken together."""

    sources: jax.Array
    """Indices of the sources, integers, ``[order]``."""
    score: jax.Array
    """H-score of their concatenated features, ``[]``."""


@jax.jit(static_argnames=("sizes", "order"))
def best_sources(
    moments: Moments, *, sizes: tuple[int, ...], order: int = 2
) -> Selection:
    """Finds the sources with the highest H-score together among all sets of so many.

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
    check_sizes(moments, sizes)
    subsets = jnp.asarray(source_subsets(len(sizes), order=order))
    scores = _factors.scores(_factors.factorised(moments, sizes), subsets)
    best = jnp.argmax(scores)
    return Selection(subsets[best], scores[best])


@jax.jit(static_argnames=("sizes", "order"))
def greedy_sources(
    moments: Moments, *, sizes: tuple[int, ...], order: int = 2
) -> Selection:
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
      >>> found = greedy_sources(moments, sizes=(1, 1, 1))
      >>> found.sources.tolist(), round(float(found.score), 3)
      ([0, 2], 2.0)

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, section 5.2, Higher Order Transfer.
    """
    check_sizes(moments, sizes)
    check_order(order, len(sizes))
    sources = _factors.factorised(moments, sizes)
    chosen = jnp.zeros(0, jnp.int32)
    for size in range(order):
        taken = jnp.zeros(len(sizes), jnp.int32).at[chosen].set(1)
        others = jnp.argsort(taken, stable=True)[: len(sizes) - size, None]
        before = jnp.broadcast_to(chosen[None], (len(others), size))
        subsets = jnp.concatenate([before, others.astype(jnp.int32)], axis=1)
        scores = _factors.scores(sources, subsets)
        chosen = subsets[jnp.argmax(scores)]
    return Selection(chosen, scores.max())
