"""The scores of a subset, equal to those of `jtransfer.scores` to rounding.

Two matrices carry them all: the scatter of the features as they are (LogME, the
regularised H-score) and scaled to unit variance (the H-score, the ridge probe). For no
more examples than features it is the products of the rows in place of the scatter.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jtransfer.ranking.estimates import evidence
from jtransfer.ranking.estimates.shifted import EPS
from jtransfer.ranking.estimates.subsets import Subset, Targets

_LOST = EPS**0.6  # As in `scores.graded_spectrum`.


class Raw(NamedTuple):
    """A subset's features as they are, with targets, ready for any shift."""

    subset: Subset
    targets: Targets
    problem: evidence.Problem
    quadratic: Callable[[float], np.ndarray]
    """From a shift of the scatter to the products' forms with its inverse, `[g C]`."""
    needs_definition: bool
    """Whether a wide feature hides others, which takes other ways."""


def logme_scores(raw: Raw, *, noiseless: bool = False) -> np.ndarray | None:
    """Returns LogME of each set of targets, `[g]`; None where another way is needed.

    Args:
      raw: the subset.
      noiseless: whether a fit that leaves no noise, whose evidence is made of rounding,
        is taken all the same.
    """
    if raw.needs_definition:
        return None
    try:
        maxima = evidence.maximum_evidence(raw.problem, noiseless=noiseless)
    except np.linalg.LinAlgError:
        return None
    if maxima is None:
        return None
    return mean_over_classes(maxima, raw.targets.counts)


def _hides_features(subset: Subset, largest: float) -> bool:
    """Whether a feature is lost to rounding beside the largest eigenvalue."""
    return bool((subset.spreads[subset.varies] < _LOST * largest).any())


def mean_over_classes(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the mean over the classes that occur, `[g]`."""
    occurs = counts > 0
    values = np.where(occurs, values.reshape(counts.shape), 0)
    return values.sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)


def shrinkage(subset: Subset) -> tuple[float, float]:
    """Returns the Ledoit-Wolf weight, and the ridge beside the scatter that it means.

    The latter is in units of the scatter, and not below its rounding.
    """
    n, d = max(subset.n, 1), len(subset.sums.mean)
    matrix = subset.gram if subset.centred is not None else subset.sums.scatter
    trace = float(np.trace(matrix))
    if trace <= 0:
        return 0.0, 0.0
    norm = float(np.sum((matrix / trace) ** 2))
    distance = norm - 1 / d
    weight = 0.0
    if distance > 4 * EPS:
        spread = (subset.sums.quartic / trace**2 * n - norm) / n
        spread = spread if np.isfinite(spread) else np.nan
        weight = float(np.clip(spread / distance, 0, 1))
    return weight, trace * max(weight / d, 4 * EPS * norm**0.5)


def regularized_h_scores(raw: Raw) -> np.ndarray:
    """Returns the regularised H-score of each set of targets, `[g]`."""
    weight, ridge = shrinkage(raw.subset)
    counts = raw.targets.counts
    if not np.isfinite(weight):
        return np.full(len(counts), np.nan)
    if weight >= 1 or ridge <= 0 or raw.subset.n <= 1:
        return np.zeros(len(counts))
    forms = raw.quadratic(ridge / (1 - weight))
    return explained(forms, counts)


def explained(forms: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns forms `[g C]` over the sizes of the classes, summed, `[g]`."""
    return np.sum(forms.reshape(counts.shape) / np.maximum(counts, 1), axis=1)


def raw(subset: Subset, targets: Targets) -> Raw:
    """Reduces a subset's features as they are to tridiagonal form."""
    sums, n = subset.sums, max(subset.n, 1)
    if subset.centred is None:
        products = targets.products()
        problem = evidence.Primal(
            sums.scatter, sums.mean, products, targets.means, targets.squares, n
        )

        def quadratic(ridge):
            return problem.forms.forms(ridge / problem.unit**2)[0][:-1]

        return _raw(subset, targets, problem, quadratic)
    along = subset.centred @ sums.mean
    length = float(sums.mean @ sums.mean)
    columns = targets.columns()
    problem = evidence.Dual(subset.gram, along, length, columns, targets.means, n)

    def quadratic(ridge):
        ridge = ridge / problem.unit**2
        return targets.squares - ridge * problem.forms.forms(ridge)[0][:-1]

    return _raw(subset, targets, problem, quadratic)


def _raw(subset, targets, problem, quadratic) -> Raw:
    hides = _hides_features(subset, problem.largest * problem.unit**2)
    return Raw(subset, targets, problem, quadratic, hides)


def spectral(subset: Subset, targets: Targets) -> Raw:
    """Decomposes a subset's features as they are: for many targets, or exactly."""
    sums, n = subset.sums, max(subset.n, 1)
    if subset.centred is None:
        values, axes = np.linalg.eigh(sums.scatter)
        kept = _kept(values, subset)
        mean, products = sums.mean @ axes, targets.products() @ axes
        problem = evidence.Spectral(
            values, kept, mean, products, targets.means, targets.squares, n
        )

        def quadratic(ridge):
            return products**2 @ (1 / (np.maximum(values, 0) + ridge))

        return _raw(subset, targets, problem, quadratic)
    values, axes = np.linalg.eigh(subset.gram)
    columns = targets.columns()
    forms = (axes.T @ columns) ** 2

    def quadratic(ridge):
        weights = ridge / (np.maximum(values, 0) + ridge)
        return targets.squares - weights @ forms

    problem = _dual_problem(subset, targets, columns, _graded(subset, values, axes))
    return Raw(subset, targets, problem, quadratic, needs_definition=False)


def _kept(values: np.ndarray, subset: Subset) -> np.ndarray:
    """Which of ascending eigenvalues are more than rounding, `[m]`."""
    largest = max(values[-1], 0)
    inside = np.arange(len(values)) >= len(values) - (subset.n - 1)
    return (values > subset.tolerance * largest) & (values > 0) & inside


class _Axes(NamedTuple):
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


def _graded(subset: Subset, values: np.ndarray, axes: np.ndarray) -> _Axes:
    """Returns the axes within the rank, also those that a wide feature hides.

    As in `scores.graded_spectrum`: axes of the rows whose images lean by rounding
    towards the dominant ones are set right, and what is left is decomposed by itself.
    """
    kept = _kept(values, subset)
    if not _hides_features(subset, max(values[-1], 0)):
        return _Axes(values[kept], axes[:, kept], None)
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
    return _Axes(
        np.concatenate([lower, values[top]]),
        np.concatenate([others @ turned, axes[:, top]], axis=1),
        np.concatenate(
            [
                (turned / np.sqrt(lower)).T @ rest,
                first / np.sqrt(values[top])[:, None],
            ]
        ),
    )


def _dual_problem(subset, targets, columns, axes: _Axes) -> evidence.Spectral:
    mean, rows = subset.sums.mean, subset.centred
    along = axes.along(mean, rows)
    outside = mean - axes.together(along, rows)
    outside -= axes.together(axes.along(outside, rows), rows)
    products = (axes.of_rows.T @ columns).T * np.sqrt(axes.values)
    return evidence.Spectral(
        np.append(axes.values, 0.0),
        np.append(np.ones(len(axes.values), bool), False),
        np.append(along, np.linalg.norm(outside)),
        np.pad(products, ((0, 0), (0, 1))),
        targets.means,
        targets.squares,
        max(subset.n, 1),
    )
