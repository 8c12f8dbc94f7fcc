"""Reading a source in batches that are dealt to blocks."""

from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer._internal.errors import SourceError
from jtransfer.intervals import DealtLabels
from jtransfer.zoo import pieces

BATCH_ROWS = 4000
"""Examples read at a time, at most: a multiple of `intervals.NUM_BLOCKS`."""


def dealt_rows(batches: Iterable, target: DealtLabels, what: str) -> Iterator:
    """Yields rows by block, `[NUM_BLOCKS, m, d]` float64, and their positions."""
    start, size = 0, target.order[0].size
    for rows, indices in zip(
        _batches(batches, len(target.labels), size, what), target.order, strict=True
    ):
        placed = rows[np.maximum(indices - start, 0)]
        yield np.where(indices[..., None] < 0, 0, placed), indices
        start += size


def labels_at(indices: np.ndarray, target: DealtLabels) -> tuple[jax.Array, jax.Array]:
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
