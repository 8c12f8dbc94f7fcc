"""Uncertainty of numbers: blocks of examples, jackknife, Student's t, Wilson.

Examples fall at random into ten blocks alike in size and classes. The spread of what a
statistic is without each block in turn gives its standard error; the same blocks for
two sources give that of their difference. Everything random comes from a generator or
a seed of NumPy, on the host.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.stats

NUM_BLOCKS = 10
NUM_SHUFFLES = 20
T_95 = float(scipy.stats.t.ppf(0.975, NUM_BLOCKS - 1))
"""Half the width of a 95% interval by the jackknife, in standard errors."""


class Estimate(NamedTuple):
    """A statistic with its replicates and its values by chance."""

    value: np.ndarray
    """The statistic of all examples, `[]`."""
    replicates: np.ndarray
    """The statistic without each block, `[NUM_BLOCKS]`."""
    shuffled: np.ndarray
    """The statistic by chance, under shuffled labels or wrong pairings, `[s]`."""


class Interval(NamedTuple):
    """A number with its 95% interval; None where it cannot be told."""

    value: float
    low: float | None
    high: float | None


def standard_error(replicates: np.ndarray) -> float:
    r"""Returns the standard error by the delete-one-block jackknife.

    .. math:: \sqrt{\tfrac{g-1}{g} \sum_b (\theta_{(b)} - \bar\theta)^2}

    with `g` blocks: replicates that miss one of them vary too little by themselves.

    Example:
      >>> round(standard_error(np.array([1.0, 2.0, 3.0])), 6)
      1.154701

    References:
      Efron and Stein, "The Jackknife Estimate of Variance", 1981.
    """
    g = len(replicates)
    return float(np.sqrt((g - 1) / g * np.sum((replicates - replicates.mean()) ** 2)))


def jackknife_interval(estimate: Estimate) -> Interval:
    """Returns the value with its 95% interval by Student's t.

    Args:
      estimate: with `NUM_BLOCKS` replicates.
    """
    value, half = float(estimate.value), T_95 * standard_error(estimate.replicates)
    return Interval(value, value - half, value + half)


def mean_interval(values: np.ndarray) -> Interval:
    """Returns the mean of numbers with its 95% interval by Student's t.

    Args:
      values: one number a unit, `[n]`; of a single one the interval is not known.

    Example:
      >>> mean_interval(np.array([2.0]))
      Interval(value=2.0, low=None, high=None)
    """
    n, value = len(values), float(np.mean(values, dtype=float))
    if n < 2:
        return Interval(value, None, None)
    spread = np.std(values, ddof=1, dtype=float)
    half = float(scipy.stats.t.ppf(0.975, n - 1) * spread / n**0.5)
    return Interval(value, value - half, value + half)


def proportion_interval(count: int, n: int) -> Interval:
    """Returns a proportion with its 95% interval after Wilson.

    Args:
      count: how many of the examples, such as those classified correctly.
      n: how many examples, at least 1.

    Example:
      >>> proportion_interval(0, 10).low
      0.0

    References:
      Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
      1927.
    """
    test = scipy.stats.binomtest(int(count), int(n))
    interval = test.proportion_ci(method="wilson")
    return Interval(count / n, float(interval.low), float(interval.high))


def order_by_class(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns positions of examples by class, in random order within each.

    Every tenth of them is a part with its share of each class.
    """
    return np.lexsort((rng.random(len(labels)), labels))


def dealt_blocks(labels: np.ndarray | None, n: int, *, seed: int) -> np.ndarray:
    """Deals examples at random to blocks alike in size and classes.

    Args:
      labels: classes of the examples, `[n]`; None for examples of one kind.
      n: number of examples.
      seed: of the deal.

    Returns:
      The block of each example, `[n]`, integers in `[0, NUM_BLOCKS)`.
    """
    labels = np.zeros(n, int) if labels is None else labels
    blocks = np.empty(n, int)
    order = order_by_class(labels, np.random.default_rng([seed, 7]))
    blocks[order] = np.arange(n) % NUM_BLOCKS
    return blocks


def drawn_examples(n: int, num_drawn: int, *, seed: int) -> np.ndarray:
    """Returns positions of at most `num_drawn` of `n` examples, in random order."""
    return np.random.default_rng([seed, 6]).permutation(n)[:num_drawn]


def positions_by_class(
    labels: np.ndarray, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """Returns the positions of each class that occurs, in random order."""
    return {
        int(label): rng.permutation(np.flatnonzero(labels == label))
        for label in np.unique(labels)
    }


def stratified_part(
    labels: np.ndarray, size_of: Callable[[int], int], rng: np.random.Generator
) -> np.ndarray:
    """Draws a part of each class.

    Args:
      labels: classes of the examples, `[n]`; negative ones are of no class.
      size_of: how many examples of a class to draw, from how many it has.
      rng: of the draw.

    Returns:
      Positions, class after class.
    """
    members = positions_by_class(labels, rng)
    parts = [
        positions[: size_of(len(positions))]
        for label, positions in members.items()
        if label >= 0
    ]
    return np.concatenate([np.zeros(0, int), *parts])


class DealtLabels(NamedTuple):
    """The labels of a target and how they are dealt and shuffled, for all sources."""

    labels: np.ndarray
    """`[n]`, -1 for an example withheld."""
    shuffled: np.ndarray
    """`[NUM_SHUFFLES, n]`, permutations of the labels. Where every block has every
    class they stay within the blocks, which so keep their classes: a classifier tested
    on a block with fewer of a class than it was trained on falls below chance."""
    order: np.ndarray
    """Positions of the examples by batch, block and row, `[b, NUM_BLOCKS, m]`; -1 pads
    the last batch."""
    num_classes: int
    seed: int


def dealt_labels(
    labels: np.ndarray, *, num_classes: int, batch_rows: int, seed: int
) -> DealtLabels:
    """Deals the examples of a target to blocks and batches and shuffles their labels.

    Args:
      labels: `[n]`, -1 for an example withheld.
      num_classes: number of classes.
      batch_rows: examples read at a time, at most: a multiple of `NUM_BLOCKS`.
      seed: of the deal and the shuffles.
    """
    n = len(labels)
    size = min(batch_rows, NUM_BLOCKS * math.ceil(n / NUM_BLOCKS))
    rng = np.random.default_rng([seed, 1])
    order = np.full((math.ceil(n / size), size), -1)
    for batch, start in zip(order, range(0, n, size), strict=True):
        part = labels[start : start + size]
        # Dealing in turn gives each block its share of each class.
        batch[: len(part)] = start + order_by_class(part, rng)
    order = order.reshape(len(order), -1, NUM_BLOCKS).swapaxes(1, 2)
    shuffled = np.tile(labels.astype(np.int32), (NUM_SHUFFLES, 1))
    groups = [_used(order[:, block], labels) for block in range(NUM_BLOCKS)]
    if any(len(np.unique(labels[used])) < num_classes for used in groups):
        groups = [_used(order, labels)]
    for used in groups:
        for row in shuffled:
            row[used] = row[rng.permutation(used)]
    return DealtLabels(labels.astype(np.int32), shuffled, order, num_classes, seed)


def _used(positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    positions = positions[positions >= 0]
    return positions[labels[positions] >= 0]
