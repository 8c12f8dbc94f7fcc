"""How the examples of a target are dealt to blocks and batches, and shuffled."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer.zoo import SourceError, pieces

NUM_BLOCKS = 10
NUM_SHUFFLES = 20
BATCH_ROWS = 4000
"""Examples read at a time, at most: a multiple of `NUM_BLOCKS`."""


class Labels(NamedTuple):
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


def dealt_labels(labels: np.ndarray, *, num_classes: int, seed: int) -> Labels:
    """Deals the examples of a target to the blocks and shuffles their labels."""
    n = len(labels)
    size = min(BATCH_ROWS, NUM_BLOCKS * math.ceil(n / NUM_BLOCKS))
    rng = np.random.default_rng([seed, 1])
    order = np.full((math.ceil(n / size), size), -1)
    for batch, start in zip(order, range(0, n, size), strict=True):
        part = labels[start : start + size]
        # By class, at random within it: dealing in turn gives each block its share.
        batch[: len(part)] = start + np.lexsort((rng.random(len(part)), part))
    order = order.reshape(len(order), -1, NUM_BLOCKS).swapaxes(1, 2)
    shuffled = np.tile(labels.astype(np.int32), (NUM_SHUFFLES, 1))
    groups = [_used(order[:, block], labels) for block in range(NUM_BLOCKS)]
    if any(len(np.unique(labels[used])) < num_classes for used in groups):
        groups = [_used(order, labels)]
    for used in groups:
        for row in shuffled:
            row[used] = row[rng.permutation(used)]
    return Labels(labels.astype(np.int32), shuffled, order, num_classes, seed)


def _used(positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    positions = positions[positions >= 0]
    return positions[labels[positions] >= 0]


def dealt_rows(batches: Iterable, target: Labels, what: str) -> Iterator:
    """Yields rows by block, `[NUM_BLOCKS, m, d]` float64, and their positions."""
    start, size = 0, target.order[0].size
    for rows, indices in zip(
        _batches(batches, len(target.labels), size, what), target.order, strict=True
    ):
        placed = rows[np.maximum(indices - start, 0)]
        yield np.where(indices[..., None] < 0, 0, placed), indices
        start += size


def labels_at(indices: np.ndarray, target: Labels) -> tuple[jax.Array, jax.Array]:
    """Returns the labels and the shuffles at positions, -1 at the position -1."""
    labels = np.where(indices < 0, -1, target.labels[indices])
    shuffled = np.where(indices < 0, -1, target.shuffled[:, indices])
    return jnp.asarray(labels), jnp.asarray(shuffled)


def _batches(batches: Iterable, n: int, size: int, what: str) -> Iterator[np.ndarray]:
    """Yields float64 rows, checked, in batches of one size but for the last."""
    pending, seen = [], 0
    for piece in pieces(batches):
        piece = np.asarray(piece, np.float64)
        if piece.ndim != 2 or not piece.shape[1]:
            raise SourceError(f"{what} must be [n, d], got shape {list(piece.shape)}.")
        if pending and pending[0].shape[1] != piece.shape[1]:
            raise SourceError(f"{what} have rows of different lengths.")
        finite = np.isfinite(piece).all(axis=1)
        if not finite.all():
            row = seen + int(np.argmin(finite))
            raise SourceError(
                f"{what} hold NaN or infinite values, first in row {row}."
            )
        seen += len(piece)
        if seen > n:
            raise SourceError(f"{what} have more rows than the target's {n} labels.")
        pending.append(piece)
        if sum(map(len, pending)) >= size:
            rows = np.concatenate(pending)
            full = len(rows) - len(rows) % size
            yield from rows[:full].reshape(-1, size, rows.shape[1])
            pending = [rows[full:]]
    if seen != n:
        raise SourceError(f"{what} have {seen} rows, the target has {n} labels.")
    rest = np.concatenate(pending)
    if len(rest):
        yield rest
