"""A set of examples of a source, and targets whose scores it has."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jtransfer._internal.linalg import rank_tolerance
from jtransfer.ranking.estimates.shifted import EPS
from jtransfer.ranking.estimates.sums import (
    Sums,
    membership,
    moments,
    union,
    without_each,
)


class KeptRows(NamedTuple):
    """Examples kept as they are, for no more of them than features."""

    features: np.ndarray  # [n, d]
    labels: np.ndarray  # [n]
    shuffled: np.ndarray  # [s, n]
    blocks: np.ndarray  # [n]


def _square(matrix: np.ndarray, unit: float) -> float:
    """The sum of the squares of all entries in a unit, without a second matrix."""
    rows = (row / unit for row in matrix)
    return float(sum(row @ row for row in rows))


@dataclasses.dataclass(frozen=True)
class Products:
    """Products of all rows kept, about their mean: those of each subset lie in them."""

    gram: np.ndarray  # [n, n]

    @functools.cached_property
    def trace(self) -> float:
        """Of all rows."""
        return float(np.trace(self.gram))

    @functools.cached_property
    def square(self) -> float:
        """The sum of the squares of all products over the square of their trace."""
        return _square(self.gram, self.trace) if self.trace > 0 else 0.0

    def among(self, kept: np.ndarray) -> np.ndarray:
        """Returns the products of some rows about their own mean, `[m, m]`."""
        products = self.gram[np.ix_(kept, kept)]
        if len(kept):
            products -= products.mean(axis=0)
            products -= products.mean(axis=1, keepdims=True)
        return products

    def diagonal_and_square(self, left_out: np.ndarray) -> tuple[np.ndarray, float]:
        """Returns the diagonal of the products without some rows, and their squares.

        With `H` what takes the mean from the `m` rows left and `r` the sums of their
        products `K`, the diagonal of `H K H` is `K_ii - 2 r_i / m + sum r / m^2`, and
        `|H K H|^2 = |K|^2 - 2 |r|^2 / m + (sum r)^2 / m^2`, here over `trace^2`.
        """
        kept, n = ~left_out, max(np.count_nonzero(~left_out), 1)
        lost = self.gram[:, left_out]
        sums = -lost[kept].sum(axis=1)  # Of all rows they are zero.
        total = sums.sum() / n
        diagonal = np.diagonal(self.gram)[kept] - (2 * sums - total) / n
        scale = self.trace or 1.0
        lost, sums, total = lost / scale, sums / scale, total / scale
        square = self.square - 2 * np.sum(lost**2) + np.sum(lost[left_out] ** 2)
        return diagonal, float(square - 2 * sums @ sums / n + total**2)


@dataclasses.dataclass(frozen=True)
class Subset:
    """All examples of a source, or all but one block."""

    sums: Sums
    centred: np.ndarray | None = None
    """Rows less their mean, `[n, d]`, where the rows are kept; the sums then have no
    scatter."""
    labels: np.ndarray | None = None
    """`[n]`."""
    left_out: np.ndarray | None = None
    """Which of all rows are not among these."""
    products: Products | None = None
    """Of all rows."""

    @functools.cached_property
    def gram(self) -> np.ndarray:
        """Products of the centred rows, `[n, n]`."""
        if not self.left_out.any():
            return self.products.gram
        return self.products.among(np.flatnonzero(~self.left_out))

    @functools.cached_property
    def powers(self) -> tuple[float, float, float]:
        """The trace of the scatter, its squares and fourth powers over the trace's.

        The squares are those of the entries, the fourth powers those of the lengths of
        the centred rows, both over the square of the trace.
        """
        if self.centred is None:
            trace = float(np.trace(self.sums.scatter))
            scale = trace if trace > 0 else 1.0
            square = _square(self.sums.scatter, scale)
            return trace, square, self.sums.quartic / scale**2
        diagonal, square = self.products.diagonal_and_square(self.left_out)
        trace = float(diagonal.sum())
        scale = trace if trace > 0 else 1.0
        fourth = float(np.sum((diagonal / scale) ** 2))
        return trace, square * (self.products.trace / scale) ** 2, fourth

    @property
    def n(self) -> int:
        """The number of examples."""
        return self.sums.n

    @functools.cached_property
    def spreads(self) -> np.ndarray:
        """Sums of squares of the features about their means, `[d]`."""
        if self.centred is None:
            return np.diagonal(self.sums.scatter)
        return np.einsum("nd,nd->d", self.centred, self.centred)

    @functools.cached_property
    def varies(self) -> np.ndarray:
        """Which features are more than the rounding of their mean, `[d]`."""
        variances = self.spreads / max(self.n, 1)
        return (variances > (EPS * self.sums.mean) ** 2) & (variances > 0)

    @property
    def tolerance(self) -> float:
        """Share of the largest eigenvalue below which one counts as zero."""
        return rank_tolerance(len(self.sums.mean), np.float64)

    def moments(self):
        """Returns the statistics that the scores are defined on."""
        if self.centred is None:
            return moments(self.sums)
        scatter = self.centred.T @ self.centred
        quartic = self.powers[2] * self.powers[0] ** 2
        return moments(self.sums._replace(scatter=scatter, quartic=quartic))


class Targets(NamedTuple):
    """Sets of classes of the same examples: the labels, and shuffles of them."""

    counts: np.ndarray
    """`[g, C]`."""
    class_sums: np.ndarray | None
    """About the mean, `[g, C, d]`; None where the rows are kept."""
    labels: np.ndarray | None = None
    """`[g, n]`, where the rows are kept."""

    @property
    def means(self) -> np.ndarray:
        """Shares of the classes, `[g C]`."""
        sizes = np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        return (self.counts / sizes).ravel()

    @property
    def squares(self) -> np.ndarray:
        """Squares of the one-hot columns about their means, `[g C]`."""
        return self.counts.ravel() * (1 - self.means)

    def products(self) -> np.ndarray:
        """Returns products of features and columns, `[g C, d]`."""
        return self.class_sums.reshape(-1, self.class_sums.shape[-1])

    def columns(self) -> np.ndarray:
        """Returns the one-hot columns about their means, `[n, g C]`."""
        num_classes = self.counts.shape[1]
        one_hot = [membership(row, num_classes).toarray().T for row in self.labels]
        return np.concatenate(one_hot, axis=1) - self.means


def own_target(subset: Subset) -> Targets:
    """Returns the labels themselves."""
    sums = subset.sums
    if subset.centred is None:
        return Targets(sums.counts[None], sums.class_sums[None])
    return Targets(sums.counts[None], None, subset.labels[None])


def joined_targets(first: Targets, second: Targets) -> Targets:
    """Returns the sets of both."""
    return Targets(
        *(
            None if a is None else np.concatenate([a, b])
            for a, b in zip(first, second, strict=True)
        )
    )


def subsets(blocks: list[Sums], rows: KeptRows | None) -> Iterator[Subset]:
    """Yields all examples, then all but each block in turn."""
    if rows is None:
        yield Subset(union(blocks))
        yield from map(Subset, without_each(blocks))
        return
    # Each centre is the subset's own; about this one the products are small.
    about = rows.features - union(blocks).mean
    products = Products(about @ about.T)
    for left_out in (-1, *range(len(blocks))):
        without = rows.blocks == left_out
        sums = union([block for b, block in enumerate(blocks) if b != left_out])
        centred = rows.features[~without]
        centred -= sums.mean
        yield Subset(sums, centred, rows.labels[~without], without, products)
