"""Statistics of the ten blocks of a source, and their union without one of them.

On the host, in float64: the sums of `jtransfer.moments`, by LAPACK's symmetric updates
and sparse products, whatever the number of features, without anything to compile.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import blas

from jtransfer.intervals import NUM_BLOCKS
from jtransfer.moments import Moments


class Sums(NamedTuple):
    """Statistics of a set of examples, those of `Moments` in plain units."""

    counts: np.ndarray  # [C]
    mean: np.ndarray  # [d]
    scatter: np.ndarray | None  # [d, d]; None where the rows are kept instead
    class_sums: np.ndarray  # sum of f - mean by class, [C, d]
    class_squares: np.ndarray  # squared deviations from the class's mean, [C, d]
    cubic: np.ndarray  # sum of |z|^2 z, z = f - mean, [d]
    quartic: float  # sum of |z|^4

    @property
    def n(self) -> int:
        """The number of examples."""
        return int(self.counts.sum())


def empty_sums(num_features: int, num_classes: int) -> Sums:
    """Returns the statistics of no example, without a scatter."""
    by_class = np.zeros((num_classes, num_features))
    zeros = np.zeros(num_features)
    return Sums(np.zeros(num_classes, int), zeros, None, by_class, by_class, zeros, 0.0)


def exact_mean(rows: np.ndarray) -> np.ndarray:
    """Returns the mean of rows, of a constant column exactly its value, `[d]`."""
    return rows[0] + (rows - rows[0]).mean(axis=0)


def membership(labels: np.ndarray, num_classes: int) -> sparse.csr_array:
    """Returns the one-hot labels, transposed: `[C, n]`; a label outside is of none."""
    (used,) = np.nonzero((labels >= 0) & (labels < num_classes))
    ones = np.ones(len(used))
    return sparse.csr_array((ones, (labels[used], used)), (num_classes, len(labels)))


def union(parts: list[Sums], scatter: np.ndarray | None = None) -> Sums:
    """Unites the statistics of disjoint sets.

    Args:
      parts: of the sets.
      scatter: the sum of their scatters, if it is known already; it is changed.

    Returns:
      The statistics of all.

    References:
      Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", 1983.
    """
    parts = [part for part in parts if part.n] or parts[:1]
    sizes = np.array([part.n for part in parts], float)
    n = max(sizes.sum(), 1)
    # Weights of differences leave a column that is constant in all exactly so.
    first = parts[0].mean
    mean = first + sum(
        (part.mean - first) * (size / n)
        for part, size in zip(parts, sizes, strict=True)
    )
    shifts = np.stack([part.mean - mean for part in parts])
    total = sum(part.counts for part in parts)
    class_sums = sum(map(_moved, parts, shifts))
    class_means = class_sums / np.maximum(total, 1)[:, None]
    class_squares = np.zeros_like(class_sums)
    for part, shift in zip(parts, shifts, strict=True):
        sizes_of = np.maximum(part.counts, 1)[:, None]
        gap = _moved(part, shift) / sizes_of - class_means
        class_squares += part.class_squares + part.counts[:, None] * gap**2
    cubic, quartic = np.zeros_like(mean), 0.0
    for part, shift in zip(parts, shifts, strict=True):
        own_cubic, own_quartic = _shifted(part, shift)
        cubic, quartic = cubic + own_cubic, quartic + own_quartic
    if parts[0].scatter is not None:
        if scatter is None:
            scatter = sum(part.scatter for part in parts)
        weighted = (np.sqrt(sizes)[:, None] * shifts).T
        scatter = blas.dgemm(
            1.0, weighted, weighted, 1.0, scatter.T, trans_b=1, overwrite_c=1
        ).T
    return Sums(total, mean, scatter, class_sums, class_squares, cubic, quartic)


def _moved(part: Sums, shift: np.ndarray) -> np.ndarray:
    """Class sums about a mean that lies `shift` below the own one, `[C, d]`."""
    return part.class_sums + part.counts[:, None] * shift


def _shifted(part: Sums, shift: np.ndarray) -> tuple[np.ndarray, float]:
    """Sums of `|z|^2 z` and `|z|^4` about a mean that lies `shift` below the own one.

    With `S`, `t`, `q` the second to fourth moments and `u` the shift,
    `t' = t + 2 S u + tr(S) u + n |u|^2 u` and
    `q' = q + 4 u.t + 4 u^T S u + 2 |u|^2 tr(S) + n |u|^4`.
    """
    if part.scatter is None:  # Then fourth powers come from the rows.
        return part.cubic, part.quartic
    projected, trace = part.scatter @ shift, np.trace(part.scatter)
    length = shift @ shift
    quartic = part.quartic + 4 * shift @ part.cubic + 4 * shift @ projected
    quartic += 2 * length * trace + part.n * length**2
    cubic = part.cubic + 2 * projected + (trace + part.n * length) * shift
    return cubic, float(quartic)


def without_each(blocks: list[Sums]) -> Iterator[Sums]:
    """Yields the union of the blocks without each of them in turn.

    Sums of scatters before and after a block are kept, so that all unions cost little
    more than one; none is a difference, in which a feature that varies in one block
    only would leave rounding where nothing is.
    """
    after = [None] * (NUM_BLOCKS + 1)
    for b in reversed(range(1, NUM_BLOCKS)):
        after[b] = _sum(after[b + 1], blocks[b].scatter, in_place=False)
    before = None
    for b in range(NUM_BLOCKS):
        rest, after[b + 1] = _sum(after[b + 1], before), None
        yield union([*blocks[:b], *blocks[b + 1 :]], rest)
        if b + 1 < NUM_BLOCKS:  # The last union has what came before for itself.
            before = _sum(before, blocks[b].scatter, in_place=before is not None)


def _sum(
    a: np.ndarray | None, b: np.ndarray | None, *, in_place: bool = True
) -> np.ndarray | None:
    """Returns the sum, in the memory of the first or in new one; None is nothing."""
    if a is None or b is None:
        only = a if b is None else b
        return only if in_place or only is None else only.copy()
    return np.add(a, b, out=a) if in_place else a + b


def moments(sums: Sums) -> Moments:
    """Returns the same as `Moments`, what the scores are defined on."""
    trace, n = np.trace(sums.scatter), max(sums.n, 1)
    scale = np.sqrt(trace / n) if trace > 0 else 1.0
    return Moments(
        sums.counts.astype(np.int32),
        sums.mean,
        sums.scatter,
        sums.class_sums,
        sums.class_squares,
        sums.cubic / scale**3,
        sums.quartic / scale**4,
    )
