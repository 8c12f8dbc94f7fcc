"""A set of examples of a source, and targets whose scores it has."""

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


class Subset(NamedTuple):
    """All examples of a source, or all but one block."""

    sums: Sums
    centred: np.ndarray | None = None
    """Rows less their mean, `[n, d]`, where the rows are kept; the sums then have no
    scatter."""
    gram: np.ndarray | None = None
    """Products of these, `[n, n]`."""
    labels: np.ndarray | None = None
    """`[n]`."""

    @property
    def n(self) -> int:
        """The number of examples."""
        return self.sums.n

    @property
    def spreads(self) -> np.ndarray:
        """Sums of squares of the features about their means, `[d]`."""
        if self.centred is None:
            return np.diagonal(self.sums.scatter)
        return np.einsum("nd,nd->d", self.centred, self.centred)

    @property
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
        return moments(self.sums._replace(scatter=scatter))


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
    gram = about @ about.T
    for left_out in (-1, *range(len(blocks))):
        (kept,) = np.nonzero(rows.blocks != left_out)
        sums = union([block for b, block in enumerate(blocks) if b != left_out])
        products = gram[np.ix_(kept, kept)]
        if len(kept):
            products -= products.mean(axis=0)
            products -= products.mean(axis=1, keepdims=True)
        norms = np.diagonal(products)
        sums = sums._replace(quartic=float(norms @ norms))
        centred = rows.features[kept]
        centred -= sums.mean
        yield Subset(sums, centred, products, rows.labels[kept])
