"""Reading a source in batches that are dealt to blocks."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from jtransfer._internal.errors import SourceError
from jtransfer.intervals import DealtLabels
from jtransfer.zoo import pieces, source_errors

Rows = np.ndarray | Iterable | Callable
BATCH_ROWS = 4000
"""Examples read at a time, at most: a multiple of `intervals.NUM_BLOCKS`."""


def dealt_rows(
    batches: Rows, target: DealtLabels, what: str, *, masked: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields rows by block, `[NUM_BLOCKS, m, d]` float64, and their positions.

    Args:
      batches: a callable that returns the rows, or the rows: an array or an iterable
        of arrays.
      target: the labels and how they are dealt.
      what: what messages call the rows.
      masked: whether entries may be minus infinity, but not all of a row.

    Raises:
      SourceError: if the rows are too few, too many, ragged or not finite.
    """
    start, size = 0, target.batch_size
    for rows, indices in zip(
        _batches(batches, len(target.labels), size, what, masked),
        target.order,
        strict=True,
    ):
        placed = rows[np.maximum(indices - start, 0)]
        placed[indices < 0] = 0
        yield placed, indices
        start += size


def dealt_logits(
    batches: Rows, target: DealtLabels, notes: list[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields logits as `dealt_rows` does; probabilities are taken as such.

    Args:
      batches: as of `dealt_rows`; minus infinity masks a class.
      target: the labels and how they are dealt.
      notes: gets a line if the rows are probabilities or percentages.

    Raises:
      SourceError: as `dealt_rows`, or if some rows are probabilities and others not.
    """
    total = None
    for rows, indices in dealt_rows(batches, target, "logits", masked=True):
        used = indices >= 0
        if total is None:
            total = _probability_total(rows[used])
            if total:
                name = {1: "probabilities", 100: "percentages"}[total]
                notes.append(
                    f"The logits are {name} (rows without negative numbers, of sum "
                    f"{total}) and taken as such."
                )
        if not total:
            yield rows, indices
            continue
        if _probability_total(rows[used]) != total:
            raise SourceError(
                f"logits are no negative numbers of sum {total} in some rows only: "
                "save logits, or probabilities, of all examples."
            )
        with np.errstate(divide="ignore"):
            logs = np.log(np.maximum(rows, 0))
        yield np.where(used[..., None], logs, 0), indices


def _probability_total(rows: np.ndarray) -> int | None:
    """1 of probabilities, 100 of percentages, None of anything else."""
    if rows.shape[-1] < 2 or not rows.size or rows.min() < -1e-6:
        return None
    sums = rows.sum(axis=-1)
    fits = (total for total in (1, 100) if np.allclose(sums, total, rtol=1e-2, atol=0))
    return next(fits, None)


def _batches(
    batches: Rows, n: int, size: int, what: str, masked: bool
) -> Iterator[np.ndarray]:
    """Yields float64 rows, checked, in batches of one size but for the last."""
    pending, seen = [], 0
    for piece in _bounded(pieces(batches), size):
        with source_errors():  # Objects may be anything.
            piece = np.asarray(piece, np.float64)
        if piece.ndim != 2 or not piece.shape[1]:
            raise SourceError(f"{what} must be [n, d], got shape {list(piece.shape)}.")
        if pending and pending[0].shape[1] != piece.shape[1]:
            raise SourceError(f"{what} have rows of different lengths.")
        finite = np.isfinite(piece)
        if masked:
            sound = (finite | (piece == -np.inf)).all(axis=1) & finite.any(axis=1)
        else:
            sound = finite.all(axis=1)
        if not sound.all():
            row = seen + int(np.argmin(sound))
            raise SourceError(
                f"{what} hold NaN or infinite values, first in row {row}."
            )
        seen += len(piece)
        if seen > n:
            raise SourceError(f"{what} have more rows than the target's {n} labels.")
        pending.append(piece)
        if sum(map(len, pending)) >= size:
            rows = pending[0] if len(pending) == 1 else np.concatenate(pending)
            full = len(rows) - len(rows) % size
            yield from rows[:full].reshape(-1, size, rows.shape[1])
            pending = [rows[full:]]
    if seen != n:
        raise SourceError(f"{what} have {seen} rows, the target has {n} labels.")
    rest = np.concatenate(pending)
    if len(rest):
        yield rest


def _bounded(arrays: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Yields views of at most `size` rows: only so many are copied as float64."""
    for array in arrays:
        if array.ndim == 0 or len(array) <= size:
            yield array
            continue
        for start in range(0, len(array), size):
            yield array[start : start + size]
