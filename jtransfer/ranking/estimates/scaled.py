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
    matrix: np.ndarray
    """Correlations `[v, v]` of the varying features times `n`, or the products of the
    rows `[n, n]`; empty if nothing varies."""
    right: np.ndarray
    """Products of the features and targets `[v, g C]`, or targets `[n, g C]`."""
    units: np.ndarray
    """What the varying features are multiplied by, `[v]`."""
    rows: np.ndarray | None
    """Scaled, `[n, v]`, where the rows are kept."""

    @functools.cached_property
    def forms(self) -> Tridiagonal:
        """The matrix in tridiagonal form."""
        return Tridiagonal(self.matrix, self.right)


class Classifier(NamedTuple):
    """Weights `[d, C]` and bias `[C]` of a linear classifier."""

    weights: np.ndarray
    bias: np.ndarray


def scaled_features(subset: Subset, targets: Targets) -> Scaled:
    """Scales the features of a subset to unit variance; constant ones are left out."""
    varies = subset.varies
    if not varies.any() or not np.isfinite(subset.spreads).all():
        nothing = np.zeros((0, 0))
        return Scaled(subset, targets, nothing, nothing, np.zeros(0), None)
    units = (subset.spreads[varies] / max(subset.n, 1)) ** -0.5
    if subset.centred is None:
        scatter = subset.sums.scatter
        scatter = scatter if varies.all() else scatter[np.ix_(varies, varies)]
        matrix = scatter * units
        matrix *= units[:, None]
        right = (targets.products()[:, varies] * units).T
        return Scaled(subset, targets, matrix, right, units, None)
    rows = subset.centred[:, varies] * units
    return Scaled(subset, targets, rows @ rows.T, targets.columns(), units, rows)


def h_scores(system: Scaled, *, reduced: bool) -> np.ndarray:
    """Returns the H-score of each set of targets, `[g]`.

    Args:
      system: the features, scaled.
      reduced: whether to go by the tridiagonal form, which other scores need as well;
        without it two Cholesky factorisations are cheaper.
    """
    subset, counts = system.subset, system.targets.counts
    if not len(system.matrix) or subset.n < 2:
        return np.zeros(len(counts))
    # Of more rows than features all axes vary, of no more all but one; or fewer do.
    size = len(system.matrix)
    missing = 0 if system.rows is None else 1
    exact = _least_is_real(system, missing, reduced=reduced)
    if exact and size - missing == subset.n - 1:
        return ((counts > 0).sum(axis=1) - 1).astype(float)
    if exact and system.rows is None:
        if reduced:
            solved = system.forms.solution(0.0)
            return explained(np.sum(system.forms.right * solved, axis=0), counts)
        factor, _ = lapack.dpotrf(system.matrix.T, lower=1)
        along = lapack.dtrtrs(factor, system.right, lower=1)[0]
        return explained(np.einsum("mk,mk->k", along, along), counts)
    return _by_spectrum(system)


def _least_is_real(system: Scaled, missing: int, *, reduced: bool) -> bool:
    """Whether all eigenvalues but those missing are far above rounding."""
    matrix, size = system.matrix, len(system.matrix)
    cut = 1e3 * system.subset.tolerance
    if missing >= size:
        return False
    if reduced:
        forms = system.forms
        return forms.eigenvalue(missing) > cut * forms.eigenvalue(-1)
    # All lie above a shift exactly if what is left without it has a factor. The axis
    # that centring takes from the rows is that of ones: it is filled up.
    filled = np.trace(matrix) / size**2 if missing else 0.0
    shifted = matrix + filled
    shifted[np.diag_indices(size)] -= cut * np.linalg.norm(matrix)
    return lapack.dpotrf(shifted.T, lower=1, overwrite_a=1)[1] == 0


def _by_spectrum(system: Scaled) -> np.ndarray:
    subset = system.subset
    values, axes = np.linalg.eigh(system.matrix)
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
    if not len(system.matrix):
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
