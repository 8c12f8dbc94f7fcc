"""The labels of a target, dealt to blocks and shuffled once for all sources."""

import math
from typing import NamedTuple

import numpy as np

from jtransfer.intervals._dealing import order_by_class
from jtransfer.intervals._groups import dealt_groups, permuted_by_group
from jtransfer.intervals._numbers import NUM_BLOCKS, NUM_SHUFFLES


class DealtLabels(NamedTuple):
    """The labels of a target and how they are dealt and shuffled, for all sources."""

    labels: np.ndarray
    """`[n]`, -1 for an example withheld."""
    shuffled: np.ndarray
    """`[NUM_SHUFFLES, n]`, permutations of the labels. Where every block has every
    class they stay within the blocks, which so keep their classes: a classifier tested
    on a block with fewer of a class than it was trained on falls below chance. Labels
    of groups move with their groups."""
    order: np.ndarray
    """Positions of the examples by batch, block and row, `[b, NUM_BLOCKS, m]`; -1 pads
    the last batch, and with groups all."""
    num_classes: int
    seed: int
    batch_size: int
    """Examples read at a time."""
    groups: np.ndarray | None = None
    """The group of each example, `[n]`, which is in one block."""


def dealt_labels(
    labels: np.ndarray,
    *,
    num_classes: int,
    batch_rows: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> DealtLabels:
    """Deals the examples of a target to blocks and batches and shuffles their labels.

    Args:
      labels: `[n]`, -1 for an example withheld.
      num_classes: number of classes.
      batch_rows: examples read at a time, at most: a multiple of `NUM_BLOCKS`.
      seed: of the deal and the shuffles.
      groups: of the examples, `[n]`, which stay in one block; None if each is alone.
    """
    n = len(labels)
    size = min(batch_rows, NUM_BLOCKS * math.ceil(n / NUM_BLOCKS))
    rng = np.random.default_rng([seed, 1])
    if groups is None:
        order = _order_of_examples(labels, size, rng)
    else:
        order = _order_of_groups(labels, groups, size, rng)
    used = [_used(order[:, block], labels) for block in range(NUM_BLOCKS)]
    if groups is not None or any(
        len(np.unique(labels[part])) < num_classes for part in used
    ):
        used = [_used(order, labels)]
    shuffled = np.tile(labels.astype(np.int32), (NUM_SHUFFLES, 1))
    for part in used:
        for row in shuffled:
            if groups is None:
                row[part] = row[rng.permutation(part)]
            else:
                to, origin = permuted_by_group(part, groups, rng)
                row[to] = row[origin]
    return DealtLabels(
        labels.astype(np.int32), shuffled, order, num_classes, seed, size, groups
    )


def _order_of_examples(labels, size: int, rng) -> np.ndarray:
    n = len(labels)
    order = np.full((math.ceil(n / size), size), -1)
    for batch, start in zip(order, range(0, n, size), strict=True):
        part = labels[start : start + size]
        # Dealing in turn gives each block its share of each class.
        batch[: len(part)] = start + order_by_class(part, rng)
    return order.reshape(len(order), -1, NUM_BLOCKS).swapaxes(1, 2)


def _order_of_groups(labels, groups, size: int, rng) -> np.ndarray:
    n, used = len(labels), labels >= 0
    blocks = np.arange(n) % NUM_BLOCKS
    blocks[used] = dealt_groups(groups[used], labels[used], NUM_BLOCKS, rng)
    parts = [
        [
            start + np.flatnonzero(blocks[start : start + size] == block)
            for block in range(NUM_BLOCKS)
        ]
        for start in range(0, n, size)
    ]
    longest = max(len(part) for batch in parts for part in batch)
    order = np.full((len(parts), NUM_BLOCKS, longest), -1)
    for rows, batch in zip(order, parts, strict=True):
        for row, part in zip(rows, batch, strict=True):
            row[: len(part)] = part
    return order


def _used(positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    positions = positions[positions >= 0]
    return positions[labels[positions] >= 0]
