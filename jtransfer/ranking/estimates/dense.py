"""H-scores of many tasks of the same examples, one a pixel, on the host."""

from collections.abc import Iterator

import numpy as np

from jtransfer.intervals import NUM_BLOCKS
from jtransfer.ranking.estimates.accumulator import Accumulator
from jtransfer.ranking.estimates.scaled import h_scores, scaled_features
from jtransfer.ranking.estimates.subsets import Subset, Targets
from jtransfer.ranking.estimates.sums import (
    Sums,
    empty_sums,
    exact_mean,
    membership,
    union,
    without_each,
)

_ENTRIES = 2**23  # Of the sums by pixel and level that are made at once.


def dense_h_scores(
    features: np.ndarray, levels: np.ndarray, blocks: np.ndarray, *, num_levels: int
) -> np.ndarray:
    """Returns `scores.dense_h_score` of all examples and without each block.

    One factorisation of min(n, d) a set of examples serves all pixels; each costs
    `n d` for its sums and `num_levels d^2` for its forms.

    Args:
      features: float64, `[n, d]`.
      levels: of each pixel, `[n, p]`; negative where there is none. An example without
        any is left out.
      blocks: of each example, `[n]`.
      num_levels: number of levels.

    Returns:
      The scores, `[1 + NUM_BLOCKS, p]`.
    """
    used = (levels >= 0).any(axis=1)
    features, levels, blocks = features[used], levels[used], blocks[used]
    num_pixels, d = levels.shape[1], features.shape[1]
    step = max(_ENTRIES // (num_levels * max(min(d, len(features)), 1)), 1)
    values = np.zeros((1 + NUM_BLOCKS, num_pixels))
    with np.errstate(over="ignore", invalid="ignore"):
        subsets = _subsets(features, blocks)
        for left_out, subset in zip(range(-1, NUM_BLOCKS), subsets, strict=True):
            kept = blocks != left_out
            rows = features[kept] - subset.sums.mean
            for start in range(0, num_pixels, step):
                part = slice(start, start + step)
                targets = _targets(rows, levels[kept, part], num_levels, subset)
                system = scaled_features(subset, targets)
                values[left_out + 1, part] = h_scores(system, reduced=False)
    return values


def _subsets(features: np.ndarray, blocks: np.ndarray) -> Iterator[Subset]:
    """Yields all examples, then all but each block, with the mean, and the scatter."""
    n, d = features.shape
    if n > d:
        parts = []
        for block in range(NUM_BLOCKS):
            own = features[blocks == block]
            sums = Accumulator(d, 1, scattered=True)
            sums.add(own, np.zeros(len(own), int))
            parts.append(sums.sums())
        yield Subset(union(parts))
        yield from map(Subset, without_each(parts))
        return
    for left_out in range(-1, NUM_BLOCKS):
        rows = features[blocks != left_out]
        mean = exact_mean(rows) if len(rows) else np.zeros(d)
        yield Subset(_plain_sums(len(rows), mean), rows - mean)


def _plain_sums(n: int, mean: np.ndarray) -> Sums:
    return empty_sums(len(mean), 1)._replace(counts=np.array([n]), mean=mean)


def _targets(rows, levels, num_levels: int, subset: Subset) -> Targets:
    """Each pixel's levels as classes of their own."""
    num_pixels = levels.shape[1]
    # One level after another of each pixel in turn; without a level it is in none.
    numbered = np.where(levels >= 0, levels + num_levels * np.arange(num_pixels), -1)
    counts = np.bincount(
        numbered[numbered >= 0], minlength=num_levels * num_pixels
    ).reshape(num_pixels, num_levels)
    if subset.centred is not None:
        return Targets(counts, None, levels.T)
    members = sum(membership(column, counts.size) for column in numbered.T)
    sums = members @ rows
    return Targets(counts, sums.reshape(num_pixels, num_levels, -1))
