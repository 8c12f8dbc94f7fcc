"""A subset's features scaled to unit variance: the H-score and the ridge probe."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from jtransfer.ranking.estimates.scores_of_sums import explained
from jtransfer.ranking.estimates.shifted import EPS, Tridiagonal
from jtransfer.ranking.estimates.subsets import Subset, Targets

_PENALTIES = np.logspace(-5, 4, 37)


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A subset's features, centred, in units of their spreads; with targets."""

    subset: Subset
    targets: Targets
    units: np.ndarray
    """What the varying features are multiplied by, `[v]`."""
    right: np.ndarray
    """Products of the features and targets `[v, g C]`, or targets `[n, g C]`."""
    rows: np.ndarray | None
    """Scaled, `[n, v]`, where the rows are kept."""

    def matrix(self) -> np.ndarray:
        """Returns the scatter `[v, v]`, or the products of the rows `[n, n]`."""
        if self.rows is not None:
            return self.rows @ self.rows.T
        scatter, varies = self.subset.sums.scatter, self.subset.varies
        scatter = scatter if varies.all() else scatter[np.ix_(varies, varies)]
        matrix = scatter * self.units
        matrix *= self.units[:, None]
        return matrix

    @functools.cached_property
    def forms(self) -> Tridiagonal:
        """The matrix in tridiagonal form."""
        return Tridiagonal(self.matrix(), self.right, overwrite=True)


class Classifier(NamedTuple):
    """Weights `[d, C]` and bias `[C]` of a linear classifier."""

    weights: np.ndarray
    bias: np.ndarray


def scaled_features(subset: Subset, targets: Targets) -> Scaled:
    """Scales the features of a subset to unit variance; constant ones are left out."""
    varies = subset.varies
    if not varies.any() or not np.isfinite(subset.spreads).all():
        return Scaled(subset, targets, np.zeros(0), np.zeros((0, 0)), None)
    units = (subset.spreads[varies] / max(subset.n, 1)) ** -0.5
    if subset.centred is None:
        right = (targets.products()[:, varies] * units).T
        return Scaled(subset, targets, units, right, None)
    rows = subset.centred[:, varies] * units
    return Scaled(subset, targets, units, targets.columns(), rows)


def h_scores(system: Scaled, *, reduced: bool) -> np.ndarray:
    """Returns the H-score of each set of targets, `[g]`.

    Args:
      system: the features, scaled.
      reduced: whether to go by the tridiagonal form, which other scores need as well;
        without it two Cholesky factorisations are cheaper.
    """
    subset, counts = system.subset, system.targets.counts
    if not len(system.units) or subset.n < 2:
        return np.zeros(len(counts))
    # Of more rows than features all axes vary, of no more all but one; or fewer do.
    size, missing = len(system.right), 0 if system.rows is None else 1
    cut = 1e3 * subset.tolerance
    if missing >= size:
        exact = False
    elif reduced:
        forms = system.forms
        exact = forms.eigenvalue(missing) > cut * forms.largest
    else:
        matrix = system.matrix()
        exact = _exceeds(matrix, cut * np.linalg.norm(matrix), missing)
    if exact and size - missing == subset.n - 1:
        # Every column is explained; of one without some examples, less of its mean.
        return (counts > 0).sum(axis=1) - counts.sum(axis=1) / subset.n
    if not exact or system.rows is not None:
        return _by_spectrum(system)
    if reduced:
        solved = system.forms.solution(0.0)
        return explained(np.einsum("mk,mk->k", system.forms.right, solved), counts)
    factor, _ = lapack.dpotrf(matrix.T, lower=1, overwrite_a=1)
    along = lapack.dtrtrs(factor, system.right, lower=1)[0]
    return explained(np.einsum("mk,mk->k", along, along), counts)


def _exceeds(matrix: np.ndarray, least: float, missing: int) -> bool:
    """Whether all eigenvalues but the one that centring takes are above a value.

    They are exactly if the matrix without it has a Cholesky factor. The axis that
    centring takes from products of rows is that of ones: it is filled up.
    """
    size = len(matrix)
    shifted = matrix + (np.trace(matrix) / size**2 if missing else 0.0)
    shifted[np.diag_indices(size)] -= least
    return lapack.dpotrf(shifted.T, lower=1, overwrite_a=1)[1] == 0


def _by_spectrum(system: Scaled) -> np.ndarray:
    subset = system.subset
    values, axes = np.linalg.eigh(system.matrix())
    kept = (values > subset.tolerance * values[-1]) & (values > 0)
    kept &= np.arange(len(values)) >= len(values) - (subset.n - 1)
    along = axes[:, kept].T @ system.right
    inverse = 1 / values[kept] if system.rows is None else np.ones(kept.sum())
    return explained(inverse @ along**2, system.targets.counts)


def ridge_classifiers(system: Scaled) -> list[Classifier]:
    """Returns the ridge classifier of each set of targets.

    That of `scores.ridge_classifier`, the penalty by generalised cross-validation.
    """
    targets, d = system.targets, len(system.subset.sums.mean)
    num_classes = targets.counts.shape[1]
    size, n = targets.counts.size, max(system.subset.n, 1)
    if not len(system.units):
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
