"""A subset's features as they are, made ready for LogME and the regularised H-score.

All examples share one decomposition with their many shuffles; what is left without a
block has its scatter reduced to tridiagonal form, or, where the rows are kept, goes by
the axes of all of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jtransfer.ranking.estimates import problems
from jtransfer.ranking.estimates.deletion import Deletion
from jtransfer.ranking.estimates.shifted import EPS
from jtransfer.ranking.estimates.subsets import Subset, Targets

_LOST = EPS**0.6  # As in `scores.graded_spectrum`.


class Raw(NamedTuple):
    """A subset's features as they are, with targets, ready for any shift."""

    subset: Subset
    targets: Targets
    problem: problems.Problem
    quadratic: Callable[[float], np.ndarray]
    """From a shift of the scatter to the products' forms with its inverse, `[g C]`."""
    needs_definition: bool
    """Whether a wide feature hides others, which takes other ways."""
    least: float = 0.0
    """The least shift of the scatter at which this way is exact."""


class Axes(NamedTuple):
    """Eigenvalues, ascending, and axes of a subset's scatter or products of rows."""

    values: np.ndarray  # [m]
    axes: np.ndarray  # [m, m]


def primal(subset: Subset, targets: Targets) -> Raw:
    """Reduces the scatter of a subset's features to tridiagonal form."""
    sums, n = subset.sums, max(subset.n, 1)
    problem = problems.Primal(
        sums.scatter, sums.mean, targets.products(), targets.means, targets.squares, n
    )

    def quadratic(ridge):
        return problem.forms.forms(ridge / problem.unit**2)[0][:-1]

    hides = _hides_features(subset, problem.forms.largest * problem.unit**2)
    return Raw(subset, targets, problem, quadratic, hides)


def deleted(subset: Subset, targets: Targets, whole: Axes) -> Raw:
    """Makes ready what is left without a block, from the axes of all rows."""
    mean, n = subset.sums.mean, max(subset.n, 1)
    length = float(mean @ mean)
    square = subset.powers[0] / n + length or 1.0
    along = (subset.centred @ mean)[:, None] / square
    along -= along.mean()  # The rows are centred but for rounding.
    right = np.concatenate([targets.columns(), along], axis=1)
    forms = Deletion(whole.values / square, whole.axes, subset.left_out, right)
    problem = problems.Dual(
        forms, length, targets.means, targets.squares, n, square**0.5
    )

    def quadratic(ridge):
        ridge = ridge / square
        return targets.squares - ridge * forms.forms(ridge)[0][:-1]

    hides = _hides_features(subset, forms.largest * square)
    return Raw(subset, targets, problem, quadratic, hides, forms.noise * square)


def axes_of(subset: Subset) -> Axes:
    """Decomposes a subset's features as they are."""
    matrix = subset.sums.scatter if subset.centred is None else subset.gram
    return Axes(*np.linalg.eigh(matrix))


def spectral(subset: Subset, targets: Targets, axes: Axes) -> Raw:
    """Takes the axes themselves: for many targets, or where nothing else is exact."""
    sums, n = subset.sums, max(subset.n, 1)
    values = axes.values
    if subset.centred is None:
        kept = _kept(values, subset)
        mean, products = sums.mean @ axes.axes, targets.products() @ axes.axes
        problem = problems.Spectral(
            values, kept, mean, products, targets.means, targets.squares, n
        )

        def quadratic(ridge):
            return products**2 @ (1 / (np.maximum(values, 0) + ridge))

        hides = _hides_features(subset, problem.largest * problem.unit**2)
        return Raw(subset, targets, problem, quadratic, hides)
    columns = targets.columns()
    forms = (axes.axes.T @ columns) ** 2

    def quadratic(ridge):
        weights = ridge / (np.maximum(values, 0) + ridge)
        return targets.squares - weights @ forms

    graded = _graded(subset, values, axes.axes)
    problem = _dual_problem(subset, targets, columns, graded)
    return Raw(subset, targets, problem, quadratic, needs_definition=False)


def _kept(values: np.ndarray, subset: Subset) -> np.ndarray:
    """Which of ascending eigenvalues are more than rounding, `[m]`."""
    largest = max(values[-1], 0)
    inside = np.arange(len(values)) >= len(values) - (subset.n - 1)
    return (values > subset.tolerance * largest) & (values > 0) & inside


class _Graded(NamedTuple):
    values: np.ndarray  # Eigenvalues within the rank, [m].
    of_rows: np.ndarray  # Axes of the products of rows, [n, m].
    of_features: np.ndarray | None  # Axes of the scatter, [m, d], if they are known.

    def along(self, mean: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns the mean along each axis of the features, `[m]`."""
        if self.of_features is not None:
            return self.of_features @ mean
        return self.of_rows.T @ (rows @ mean) / np.sqrt(self.values)

    def together(self, along: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns the vector that has these parts along the axes, `[d]`."""
        if self.of_features is not None:
            return along @ self.of_features
        return (self.of_rows @ (along / np.sqrt(self.values))) @ rows


def _graded(subset: Subset, values: np.ndarray, axes: np.ndarray) -> _Graded:
    """Returns the axes within the rank, also those that a wide feature hides.

    As in `scores.graded_spectrum`: axes of the rows whose images lean by rounding
    towards the dominant ones are set right, and what is left is decomposed by itself.
    """
    kept = _kept(values, subset)
    if not _hides_features(subset, max(values[-1], 0)):
        return _Graded(values[kept], axes[:, kept], None)
    top = values > _LOST * values[-1]
    images = axes.T @ subset.centred
    first, rest = images[top], images[~top]
    lean = rest @ first.T / values[top]
    rest = rest - lean @ first
    others = axes[:, ~top] - axes[:, top] @ lean.T
    lower, turned = np.linalg.eigh(rest @ rest.T)
    real = (lower > subset.tolerance * max(lower[-1], 0)) & (lower > 0)
    real &= np.arange(len(lower)) >= len(lower) - (subset.n - 1 - top.sum())
    lower, turned = lower[real], turned[:, real]
    return _Graded(
        np.concatenate([lower, values[top]]),
        np.concatenate([others @ turned, axes[:, top]], axis=1),
        np.concatenate(
            [
                (turned / np.sqrt(lower)).T @ rest,
                first / np.sqrt(values[top])[:, None],
            ]
        ),
    )


def _dual_problem(subset, targets, columns, axes: _Graded) -> problems.Spectral:
    mean, rows = subset.sums.mean, subset.centred
    along = axes.along(mean, rows)
    outside = mean - axes.together(along, rows)
    outside -= axes.together(axes.along(outside, rows), rows)
    products = (axes.of_rows.T @ columns).T * np.sqrt(axes.values)
    return problems.Spectral(
        np.append(axes.values, 0.0),
        np.append(np.ones(len(axes.values), bool), False),
        np.append(along, np.linalg.norm(outside)),
        np.pad(products, ((0, 0), (0, 1))),
        targets.means,
        targets.squares,
        max(subset.n, 1),
    )


def _hides_features(subset: Subset, largest: float) -> bool:
    """Whether a feature is lost to rounding beside the largest eigenvalue."""
    return bool((subset.spreads[subset.varies] < _LOST * largest).any())
