"""One pass over a source: every score's value, its jackknife and its chance level.

Examples fall at random into ten blocks alike in size and classes. Statistics of the
blocks give the score without each block in turn, whose spread is the standard error;
sums by twenty shuffles of the labels, gathered in the same pass, give the level of
chance.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from jtransfer._internal.errors import SourceError
from jtransfer._internal.memory import memory_fault
from jtransfer.intervals import NUM_BLOCKS, NUM_SHUFFLES, DealtLabels, copies
from jtransfer.ranking.estimates.accumulator import Accumulator
from jtransfer.ranking.estimates.batches import BATCH_ROWS, dealt_rows
from jtransfer.ranking.estimates.subsets import KeptRows
from jtransfer.ranking.estimates.sums import Sums, exact_mean, membership

_TILE = 256
MAX_PROBED = 5000
"""Examples on which the probe is tested, at most; they are kept in memory."""


class ShuffledSums(NamedTuple):
    """Sums of the features by class, under each shuffle of the labels."""

    shift: np.ndarray
    """What they are about, `[d]`."""
    sums: np.ndarray
    """`[NUM_SHUFFLES, C, d]`."""
    squares: np.ndarray
    """`[NUM_SHUFFLES, C, d]`."""
    first_sums: np.ndarray
    """Of the first block alone, `[NUM_SHUFFLES, C, d]`."""
    first_counts: np.ndarray
    """Of the first block, `[NUM_SHUFFLES, C]`."""


class FeatureStatistics(NamedTuple):
    """Statistics of a source's features, from one pass over them."""

    blocks: list[Sums]
    """Statistics of each block."""
    shuffled: ShuffledSums
    """Sums under shuffled labels."""
    kept: KeptRows | None
    """All examples, where there are no more of them than features; the statistics of
    the blocks then have no scatter."""
    rows: np.ndarray
    """Features of the probed examples, `[p, d]`."""
    row_indices: np.ndarray
    """Their positions in the target, `[p]`."""
    row_blocks: np.ndarray
    """Their blocks, `[p]`."""
    hashes: np.ndarray
    """64 bits of the features of each example, `[n]`: equal rows have equal ones."""

    @property
    def num_copies(self) -> int:
        """Examples whose features another one has already."""
        return len(self.hashes) - len(np.unique(self.hashes))


def feature_statistics(batches: Iterable, target: DealtLabels) -> FeatureStatistics:
    """Reads a source's features once.

    Args:
      batches: features `[n, d]`, an array or an iterable of arrays.
      target: the labels.

    Returns:
      The statistics; the memory is that of `NUM_BLOCKS` scatter matrices, of
      `NUM_SHUFFLES` sets of class sums and of one batch, whatever `n`; for no more
      examples than features that of the features.

    Raises:
      SourceError: if the features are too few, too many or not finite, or if the
        statistics cannot fit in the memory.
    """
    is_probed = _probed(target)
    kept = []
    hashes = np.zeros(len(target.labels), np.uint64)
    blocks, shuffled = None, None
    num_used, num_classes = int((target.labels >= 0).sum()), target.num_classes
    for rows, indices in dealt_rows(batches, target, "features"):
        used = (indices >= 0) & (target.labels[indices] >= 0)
        d = rows.shape[-1]
        if blocks is None:
            _check_memory(d, target)
            scattered = num_used > d
            blocks = [
                Accumulator(d, num_classes, scattered=scattered)
                for _ in range(NUM_BLOCKS)
            ]
            about = exact_mean(rows[used]) if used.any() else np.zeros(d)
            shuffled = _no_shuffled_sums(about, target)
        with np.errstate(over="ignore", invalid="ignore"):  # It is seen in the result.
            for b in range(NUM_BLOCKS):
                blocks[b].add(rows[b][used[b]], target.labels[indices[b][used[b]]])
            _add_shuffled(shuffled, rows, indices, used, target)
        for b in range(NUM_BLOCKS):
            valid = indices[b] >= 0
            at = indices[b][valid]
            hashes[at] = _row_hashes(rows[b][valid])
            chosen = used[b] if not scattered else used[b] & is_probed[indices[b]]
            kept.append((rows[b][chosen], indices[b][chosen], b))
    with np.errstate(over="ignore", invalid="ignore"):
        sums = [block.sums() for block in blocks]
    return _statistics(sums, shuffled, kept, is_probed, hashes, target, scattered)


def _statistics(blocks, shuffled, kept, is_probed, hashes, target, scattered):
    rows, indices, numbers = zip(*kept, strict=True)
    rows, positions = np.concatenate(rows), np.concatenate(indices)
    numbers = np.repeat(numbers, list(map(len, indices)))
    all_rows = None
    if not scattered:
        labels, orders = target.labels[positions], target.shuffled[:, positions]
        all_rows = KeptRows(rows, labels, orders, numbers)
        chosen = is_probed[positions]
        rows, positions, numbers = rows[chosen], positions[chosen], numbers[chosen]
    return FeatureStatistics(
        blocks, shuffled, all_rows, rows, positions, numbers, hashes
    )


def groups_of_copies(statistics: FeatureStatistics) -> np.ndarray | None:
    """Returns groups `[n]` of examples whose features are equal; None if few are.

    Rows made of a few values, such as indicators of classes, are equal without being
    copies of an example: None of those either.
    """
    groups = copies(statistics.hashes)
    if groups is None:
        return None
    distinct = len(np.unique(groups[statistics.row_indices]))
    return groups if len(np.unique(statistics.rows)) >= distinct else None


def statistics_bytes(d: int, num_classes: int, n: int) -> int:
    """Returns the memory that the statistics and scores take at their peak, in bytes.

    Args:
      d: features.
      num_classes: classes of the target.
      n: examples with a label.
    """
    sums = 6 * NUM_SHUFFLES * num_classes * d
    # The rows, a subset of them as it is and scaled, and their products; or the blocks,
    # their sums from one on, and what one subset is made into.
    of_rows, of_blocks = 5 * n**2 + 4 * n * d, (2 * NUM_BLOCKS + 4) * d**2
    squares = of_rows if n <= d else of_blocks
    rows = (4 * min(n, BATCH_ROWS) + 2 * min(n, MAX_PROBED)) * d
    return np.dtype(float).itemsize * (squares + sums + rows)


def _check_memory(d: int, target: DealtLabels) -> None:
    used = int((target.labels >= 0).sum())
    fault = memory_fault(statistics_bytes(d, target.num_classes, used))
    if fault is not None:
        raise SourceError(
            f"It {fault}: {d} features and {target.num_classes} classes; pool or "
            "project the features first."
        )


def _row_hashes(rows: np.ndarray) -> np.ndarray:
    """64 bits `[n]` of each row of float64 `[n, d]`: equal rows have equal ones."""
    bits = (rows + 0.0).view(np.uint64)  # Minus zero becomes zero.
    multipliers = np.random.default_rng(0).integers(
        2**63, size=rows.shape[1], dtype=np.uint64
    )
    # The low bits of most numbers are zero, and a product keeps them so.
    bits ^= bits >> np.uint64(32)
    return bits @ (2 * multipliers + 1)


def _probed(target: DealtLabels) -> np.ndarray:
    used = np.flatnonzero(target.labels >= 0)
    rng = np.random.default_rng([target.seed, 2])
    probed = rng.choice(used, size=min(MAX_PROBED, len(used)), replace=False)
    return np.isin(np.arange(len(target.labels)), probed)


def _no_shuffled_sums(shift: np.ndarray, target: DealtLabels) -> ShuffledSums:
    shape = (len(target.shuffled), target.num_classes, len(shift))
    sums, squares, first_sums = (np.zeros(shape) for _ in range(3))
    return ShuffledSums(shift, sums, squares, first_sums, np.zeros(shape[:2], int))


def _add_shuffled(shuffled: ShuffledSums, rows, indices, used, target) -> None:
    """Adds a batch, in place: products with sparse one-hot labels."""
    shape, c = shuffled.sums.shape, target.num_classes
    first = used.copy()
    first[1:] = False
    labels = target.shuffled[:, indices[used]]
    members = sparse.vstack([membership(row, c) for row in labels], format="csr")
    of_first = members[:, np.flatnonzero(first[used])]
    shuffled.first_counts[:] += of_first.sum(axis=1).astype(int).reshape(shape[:2])
    sums, squares, first_sums = (
        array.reshape(-1, shape[-1])
        for array in (shuffled.sums, shuffled.squares, shuffled.first_sums)
    )
    # So few features at a time that all examples stay in the processor's cache.
    for start in range(0, shape[-1], _TILE):
        tile = slice(start, start + _TILE)
        shift = shuffled.shift[tile]
        centred = rows[used, tile] - shift
        sums[:, tile] += members @ centred
        first_sums[:, tile] += of_first @ (rows[first, tile] - shift)
        squares[:, tile] += members @ np.square(centred, out=centred)
