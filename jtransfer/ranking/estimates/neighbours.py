"""The nearest-neighbour vote of a source, with its jackknife and chance level."""

import numpy as np

from jtransfer.intervals import NUM_BLOCKS, DealtLabels, Estimate
from jtransfer.ranking.estimates.features import FeatureStatistics

NUM_NEIGHBORS = 5
_KEPT = 8 * NUM_NEIGHBORS
"""Neighbours of an example that are kept: enough without a block, but for copies."""
_BLOCK_SIZE = 2**22
"""Distances that are in memory at once, 32 MiB."""


def neighbour_estimate(statistics: FeatureStatistics, target: DealtLabels) -> Estimate:
    """Evaluates `scores.knn_probe_accuracy` on the probed examples.

    Examples of one group are no neighbours of each other: copies of an example would
    vote for themselves. From one pass over the distances follow the vote without each
    block, by the neighbours that are left, and that under shuffled labels.

    Args:
      statistics: of the features, with the probed rows.
      target: the labels.
    """
    indices, blocks = statistics.row_indices, statistics.row_blocks
    labels, shuffled = target.labels[indices], target.shuffled[:, indices]
    groups = indices if target.groups is None else target.groups[indices]
    rows = _in_units(statistics.rows)
    nearest = nearest_others(rows, groups, count=_KEPT)

    def hits(labels, neighbours) -> np.ndarray:
        return _votes(labels, neighbours) == labels

    of_all = hits(labels, nearest[:, :NUM_NEIGHBORS])
    without = []
    for block in range(NUM_BLOCKS):
        left = np.flatnonzero(blocks != block)
        kept = _without_block(rows, groups, nearest, blocks, block, left)
        own = _votes(labels, kept) == labels[left]
        without.append(own.mean() if len(left) else 0.0)
    chance = [hits(order, nearest[:, :NUM_NEIGHBORS]).mean() for order in shuffled]
    return Estimate(np.asarray(of_all.mean()), np.array(without), np.array(chance))


def nearest_others(rows: np.ndarray, groups: np.ndarray, *, count: int) -> np.ndarray:
    """Positions of the nearest rows of other groups, `[n, count]`, the nearest first.

    Args:
      rows: features about their mean, `[n, d]`.
      groups: of each row, `[n]`.
      count: how many; -1 stands for those that there are not.
    """
    n, squares = len(rows), np.sum(rows**2, axis=1)
    kept = min(count, n)
    nearest_of = np.full((n, count), -1)
    block = max(1, _BLOCK_SIZE // max(n, 1))
    for start in range(0, n, block):
        part = slice(start, start + block)
        gaps = squares[part, None] + squares - 2 * rows[part] @ rows.T
        gaps = np.maximum(gaps, 0)
        gaps[groups[part, None] == groups] = np.inf
        # The few nearest, then in order, of equal distances the lower index first.
        few = np.sort(np.argpartition(gaps, kept - 1, axis=1)[:, :kept], axis=1)
        near = np.take_along_axis(gaps, few, axis=1)
        order = np.argsort(near, axis=1, kind="stable")
        few = np.take_along_axis(few, order, axis=1)
        near = np.take_along_axis(near, order, axis=1)
        nearest_of[part, :kept] = np.where(np.isfinite(near), few, -1)
    return nearest_of


def _without_block(rows, groups, nearest, blocks, block, left) -> np.ndarray:
    """The nearest neighbours of the rows `left` that lie outside a block."""
    neighbours = nearest[left]
    outside = (neighbours >= 0) & (blocks[neighbours] != block)
    # Those outside first, in their order.
    order = np.argsort(~outside, axis=1, kind="stable")[:, :NUM_NEIGHBORS]
    kept = np.take_along_axis(neighbours, order, axis=1)
    is_outside = np.take_along_axis(outside, order, axis=1)
    kept = np.where(is_outside, kept, -1)
    short = ~is_outside.all(axis=1) & (neighbours >= 0).all(axis=1)
    if short.any():
        of_left = nearest_others(rows[left], groups[left], count=NUM_NEIGHBORS)
        exact = np.where(of_left >= 0, left[of_left], -1)
        kept[short] = exact[short]
    return kept


def _votes(labels: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """The class with most votes, of equals that of the nearest; -1 without any."""
    votes = np.where(neighbours >= 0, labels[neighbours], -1)
    alike = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    first = np.where(votes >= 0, alike, 0).argmax(axis=1)
    return votes[np.arange(len(votes)), first]


def _in_units(rows: np.ndarray) -> np.ndarray:
    """Rows about their mean, in units of the largest number: squares stay finite."""
    centred = rows - rows.mean(axis=0)
    peak = np.abs(centred).max(initial=0)
    return centred / peak if peak > 0 else centred
