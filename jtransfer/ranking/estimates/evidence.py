"""The maximum evidence of LogME from forms at many shifts, on the host.

The value is that of `scores.logme`: the same grid of ratios, of equal values the
largest, and the exact maximum around it. A problem says what the evidence depends on at
a ratio; three ways to know it are below.
"""

from typing import NamedTuple, Protocol

import numpy as np

from jtransfer.ranking.estimates.shifted import EPS, Tridiagonal

_NODES = 12
_NOISELESS = 1e-9


class Terms(NamedTuple):
    """The terms of the evidence of `t` targets at `g` ratios."""

    unexplained: np.ndarray  # squares that no axis explains, [g, t]
    along_mean: np.ndarray  # z.(S + ratio)^-1 p, [g, t]
    mean_length: np.ndarray  # z.(S + ratio)^-1 z, [g]
    log_det: np.ndarray  # log det(1 + S / ratio), [g]


class Problem(Protocol):
    """Targets whose evidence is asked for."""

    n: int
    target_means: np.ndarray  # [t]
    target_squares: np.ndarray  # about the mean, [t]
    log_least: float  # Below it, ratios are not to be told from zero.
    log_unit: float  # Of the largest eigenvalue or the mean, whatever is larger.

    def terms(self, ratios: np.ndarray) -> Terms:
        """Returns the terms at some ratios."""


def maximum_evidence(problem: Problem, *, noiseless: bool = False) -> np.ndarray | None:
    """Returns the maximum of the log evidence per example, `[t]`.

    Args:
      problem: the targets.
      noiseless: whether fits that leave no noise are taken all the same.

    Returns:
      The maxima; None where one of them is made of rounding, because the fit leaves
      no noise or the best ratio is too small for the problem's forms.
    """
    low, high = problem.log_least, problem.log_unit + 25
    grid = np.linspace(low, high, 1 + int(np.ceil((high - low) / 0.45)))
    values = _evidence(problem, grid)
    rounding = 16 * EPS * (1 + np.abs(values))
    ties = values >= np.max(values - rounding, axis=0)
    best = len(grid) - 1 - np.argmax(ties[::-1], axis=0)
    if not noiseless and not is_exact(problem, grid, best):
        return None
    return _refined(problem, grid, best)


def is_exact(problem: Problem, grid: np.ndarray, best: np.ndarray) -> bool:
    """Whether the maxima are no limits of small ratios, nor fits without noise."""
    if isinstance(problem, Spectral) and problem.spans:
        return True
    at_best = problem.terms(np.exp(grid[np.unique(best)])).unexplained
    squares = problem.target_squares + problem.n * problem.target_means**2
    noisy = (at_best.min(axis=0) > _NOISELESS * squares) | (squares == 0)
    bounded = isinstance(problem, Spectral) or best.min() > 1
    return bool(bounded and noisy.all())


def _evidence(problem: Problem, log_ratios: np.ndarray) -> np.ndarray:
    """The log evidence per example at each ratio, `[g, t]`."""
    terms, n = problem.terms(np.exp(log_ratios)), problem.n
    denominator = (1 + n * terms.mean_length)[:, None]
    gap = problem.target_means - terms.along_mean
    residual = terms.unexplained + n * gap**2 / denominator
    log_det = (terms.log_det + np.log(denominator[:, 0]))[:, None]
    with np.errstate(divide="ignore"):
        return -(np.log(2 * np.pi * residual / n) + 1 + log_det / n) / 2


def _refined(problem: Problem, grid: np.ndarray, best: np.ndarray) -> np.ndarray:
    """The maxima around points of the grid, by interpolation: they are analytic."""
    step = grid[1] - grid[0]
    angles = np.pi * (np.arange(_NODES) + 0.5) / _NODES
    nodes = np.cos(angles)
    weights = (-1.0) ** np.arange(_NODES) * np.sin(angles)
    fine = np.linspace(-1, 1, 2002)
    kernel = weights / (fine[:, None] - nodes)
    kernel /= kernel.sum(axis=1, keepdims=True)
    maxima = np.empty(len(best))
    for point in np.unique(best):
        (chosen,) = np.nonzero(best == point)
        values = _evidence(problem, grid[point] + step * nodes)[:, chosen]
        curve = kernel @ values
        top = np.clip(curve.argmax(axis=0), 1, len(fine) - 2)
        left, middle, right = (
            curve[top + i, np.arange(len(chosen))] for i in (-1, 0, 1)
        )
        bend = left - 2 * middle + right
        gain = np.where(
            bend < 0, (left - right) ** 2 / -np.where(bend < 0, bend, -1), 0
        )
        maxima[chosen] = np.maximum(middle + gain / 8, np.maximum(left, right))
    return maxima


class Primal:
    """By the scatter `S` and the products `p` of features and targets."""

    def __init__(self, scatter, mean, products, target_means, target_squares, n: int):
        """Reduces the scatter `[d, d]`; products are `[t, d]`."""
        self.n, self.target_means, self.target_squares = n, target_means, target_squares
        unit = (np.trace(scatter) / n + mean @ mean) ** 0.5 or 1.0
        right = np.concatenate([products, mean[None]]).T / unit
        self.forms = Tridiagonal(scatter / unit**2, right)
        self._size = len(mean)
        self.largest, self.log_least, self.log_unit = _range(self.forms, mean / unit, n)
        self.unit = unit

    def terms(self, ratios: np.ndarray) -> Terms:
        """Returns the terms at some ratios."""
        squares, along, log_dets = _at(self.forms, ratios)
        floor = EPS * (self.target_squares + self.n * self.target_means**2)
        return Terms(
            np.maximum(self.target_squares - squares[:, :-1], floor),
            along[:, :-1],
            along[:, -1],
            log_dets - self._size * np.log(ratios),
        )


class Dual:
    """By the products `K` of the centred rows, for no more rows than features."""

    def __init__(self, gram, along_mean, length, targets, target_means, n: int):
        """Reduces the products `[n, n]`.

        Args:
          gram: products of the centred rows.
          along_mean: products of the centred rows with the mean, `[n]`.
          length: squared length of the mean.
          targets: centred, `[n, t]`.
          target_means: `[t]`.
          n: number of rows.
        """
        self.n, self.target_means = n, target_means
        self.target_squares = np.sum(targets**2, axis=0)
        unit = (np.trace(gram) / n + length) ** 0.5 or 1.0
        right = np.concatenate([targets, along_mean[:, None] / unit**2], axis=1)
        self.forms = Tridiagonal(gram / unit**2, right)
        self._length = length / unit**2
        mean = np.array([self._length**0.5])
        self.largest, self.log_least, self.log_unit = _range(self.forms, mean, n)
        self.unit = unit

    def terms(self, ratios: np.ndarray) -> Terms:
        """Returns the terms at some ratios."""
        squares, along, log_dets = _at(self.forms, ratios)
        return Terms(
            ratios[:, None] * squares[:, :-1],
            along[:, :-1],
            (self._length - along[:, -1]) / ratios,
            log_dets - self.n * np.log(ratios),
        )


class Spectral:
    """By eigenvalues and what lies along their axes: exact in every case."""

    def __init__(self, values, kept, mean, products, target_means, target_squares, n):
        """Takes them as `scores.logme` does.

        Args:
          values: eigenvalues, `[m]`.
          kept: which of them are real, `[m]`.
          mean: along each axis, `[m]`.
          products: of features and targets along each axis, `[t, m]`.
          target_means: `[t]`.
          target_squares: about the mean, `[t]`.
          n: number of examples.
        """
        self.n, self.target_means, self.target_squares = n, target_means, target_squares
        unit = (values[kept].sum() / n + mean @ mean) ** 0.5 or 1.0
        self._values = np.where(kept, values, 0) / unit**2
        self._mean = mean / unit
        self._products = np.where(kept, products / unit, 0)
        self._shares = self._products**2 / np.where(kept, self._values, 1)
        residual = target_squares - self._shares.sum(axis=1)
        floor = EPS * (target_squares + n * target_means**2)
        # Features that span all examples leave no residual at all.
        self.spans = bool(kept.sum() >= n - 1)
        self._residual = 0 * floor if self.spans else np.maximum(residual, floor)
        self._residual += 16 * n * np.finfo(float).tiny
        self.largest = self._values.max(initial=0)
        top = max(self.largest, n * self._mean @ self._mean)
        self.log_unit = float(np.log(top)) if top > 0 else 0.0
        least = self._values[kept].min() if kept.any() else np.inf
        depth = np.log(least) - self.log_unit - 15 if kept.any() else 0
        self.log_least = self.log_unit + max(min(-35, depth), 0.9 * np.log(1e-307))
        self.unit = unit

    def terms(self, ratios: np.ndarray) -> Terms:
        """Returns the terms at some ratios."""
        inverse = 1 / (self._values[None] + ratios[:, None])
        return Terms(
            self._residual + (ratios[:, None] * inverse) @ self._shares.T,
            (inverse * self._mean) @ self._products.T,
            inverse @ self._mean**2,
            np.log1p(self._values[None] / ratios[:, None]).sum(axis=1),
        )


def _range(forms: Tridiagonal, mean: np.ndarray, n: int) -> tuple[float, float, float]:
    """The largest eigenvalue; logs of the least ratio to tell from 0 and of a unit."""
    largest = max(forms.eigenvalue(-1), 0.0)
    top = max(largest, n * float(mean @ mean))
    unit = float(np.log(top)) if top > 0 else 0.0
    noise = 64 * EPS * len(forms.diagonal) ** 0.5 * largest
    # Nor need it reach below the grid of the definition.
    return largest, max(np.log(noise) if noise > 0 else unit - 35, unit - 80), unit


def _at(forms: Tridiagonal, ratios: np.ndarray):
    each = [forms.forms(ratio) for ratio in ratios]
    return tuple(map(np.array, zip(*each, strict=True)))
