"""A subset's features scaled to unit variance: the H-score and the ridge probe."""

from typing import NamedTuple

import numpy as np

from jtransfer.ranking.estimates.scores_of_sums import explained
from jtransfer.ranking.estimates.shifted import EPS, Tridiagonal
from jtransfer.ranking.estimates.subsets import Subset, Targets

_PENALTIES = np.logspace(-5, 4, 37)


class Scaled(NamedTuple):
    """A subset's features, centred, in units of their spreads; with targets."""

    subset: Subset
    targets: Targets
    forms: Tridiagonal | None
    """Of the correlations, or of the products of the rows; None if nothing varies."""
    units: np.ndarray
    """What the varying features are multiplied by, `[v]`."""
    rows: np.ndarray | None
    """Scaled, `[n, v]`, where the rows are kept."""


class Classifier(NamedTuple):
    """Weights `[d, C]` and bias `[C]` of a linear classifier."""

    weights: np.ndarray
    bias: np.ndarray


def scaled_features(subset: Subset, targets: Targets) -> Scaled:
    """Reduces the scaled features to tridiagonal form; constant ones are left out."""
    varies = subset.varies
    if not varies.any() or not np.isfinite(subset.spreads).all():
        return Scaled(subset, targets, None, np.zeros(0), None)
    units = (subset.spreads[varies] / max(subset.n, 1)) ** -0.5
    if subset.centred is None:
        scatter = subset.sums.scatter
        scatter = scatter if varies.all() else scatter[np.ix_(varies, varies)]
        matrix = scatter * units * units[:, None]
        right = (targets.products()[:, varies] * units).T
        return Scaled(subset, targets, Tridiagonal(matrix, right), units, None)
    rows = subset.centred[:, varies] * units
    forms = Tridiagonal(rows @ rows.T, targets.columns())
    return Scaled(subset, targets, forms, units, rows)


def h_scores(system: Scaled) -> np.ndarray:
    """Returns the H-score of each set of targets, `[g]`."""
    subset, counts = system.subset, system.targets.counts
    if system.forms is None or subset.n < 2:
        return np.zeros(len(counts))
    # Of more rows than features all axes vary, of no more all but one; or fewer do.
    size = len(system.forms.diagonal)
    missing = 0 if system.rows is None else 1
    cut = subset.tolerance * system.forms.eigenvalue(-1)
    varies = missing < size and system.forms.eigenvalue(missing) > 1e3 * cut
    if varies and size - missing == subset.n - 1:
        return ((counts > 0).sum(axis=1) - 1).astype(float)
    if varies and system.rows is None:
        solved = system.forms.solution(0.0)
        return explained(np.sum(system.forms.right * solved, axis=0), counts)
    return _by_spectrum(system)


def _by_spectrum(system: Scaled) -> np.ndarray:
    subset, targets = system.subset, system.targets
    if system.rows is None:
        varies = subset.varies
        matrix = subset.sums.scatter[np.ix_(varies, varies)]
        matrix = matrix * system.units * system.units[:, None]
        right = (targets.products()[:, varies] * system.units).T
    else:
        matrix, right = system.rows @ system.rows.T, targets.columns()
    values, axes = np.linalg.eigh(matrix)
    kept = (values > subset.tolerance * values[-1]) & (values > 0)
    kept &= np.arange(len(values)) >= len(values) - (subset.n - 1)
    along = axes[:, kept].T @ right
    inverse = 1 / values[kept] if system.rows is None else np.ones(kept.sum())
    return explained(inverse @ along**2, targets.counts)


def ridge_classifiers(system: Scaled) -> list[Classifier]:
    """Returns the ridge classifier of each set of targets.

    That of `scores.ridge_classifier`, the penalty by generalised cross-validation.
    """
    targets, d = system.targets, len(system.subset.sums.mean)
    num_classes = targets.counts.shape[1]
    size, n = targets.counts.size, max(system.subset.n, 1)
    if system.forms is None:
        zeros = np.zeros((d, num_classes))
        return [_classifier(zeros, counts, system, n) for counts in targets.counts]
    penalties = np.maximum(n * _PENALTIES, 1e-30)  # In units of the mean eigenvalue.
    chosen = _chosen(system, penalties, n)
    weights = np.zeros((d, size))
    varies = system.subset.varies
    for index in np.unique(chosen):
        for g in np.flatnonzero(chosen == index):
            columns = slice(g * num_classes, (g + 1) * num_classes)
            solved = system.forms.solution_outside(penalties[index], columns)
            if system.rows is not None:
                solved = system.rows.T @ solved
            weights[varies, columns] = solved * system.units[:, None]
    parts = np.split(weights, len(targets.counts), axis=1)
    return [
        _classifier(part, counts, system, n)
        for part, counts in zip(parts, targets.counts, strict=True)
    ]


def _classifier(weights, counts, system: Scaled, n: int) -> Classifier:
    bias = counts / n - system.subset.sums.mean @ weights
    return Classifier(weights, np.where(counts > 0, bias, -np.inf))


def _chosen(system: Scaled, penalties: np.ndarray, n: int) -> np.ndarray:
    """Positions of the penalties of least generalised cross-validation error, `[g]`."""
    targets, forms = system.targets, system.forms
    errors = []
    for penalty in penalties:
        solved = forms.solution(penalty)
        squares = np.einsum("mk,mk->k", solved, solved)
        if system.rows is None:
            explains = np.einsum("mk,mk->k", forms.right, solved)
            residual = targets.squares - explains - penalty * squares
        else:
            residual = penalty**2 * squares
        residual = residual.reshape(targets.counts.shape).sum(axis=1) / n
        freedom = n - 1 - len(forms.diagonal) + penalty * forms.inverse_trace(penalty)
        errors.append(np.maximum(residual, 0) / max(freedom / n, EPS) ** 2)
    return np.argmin(errors, axis=0)
