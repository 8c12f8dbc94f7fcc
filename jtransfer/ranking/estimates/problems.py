"""What LogME's evidence depends on at a ratio, and three ways to know it."""

from typing import NamedTuple, Protocol

import numpy as np

from jtransfer.ranking.estimates.shifted import EPS, Tridiagonal


class Terms(NamedTuple):
    """The terms of the evidence of `t` targets at `g` ratios."""

    unexplained: np.ndarray  # squares that no axis explains, [g, t]
    along_mean: np.ndarray  # z.(S + ratio)^-1 p, [g, t]
    mean_length: np.ndarray  # z.(S + ratio)^-1 z, [g]
    log_det: np.ndarray  # log det(1 + S / ratio), [g]


class Forms(Protocol):
    """A matrix with right sides, ready for any shift."""

    @property
    def largest(self) -> float:
        """The largest eigenvalue, or a bound of it."""

    @property
    def noise(self) -> float:
        """The least shift at which the forms are exact."""

    def forms(self, shift: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Returns `r.x` and `last r.x` of each right side, and the log determinant."""


class Problem(Protocol):
    """Targets whose evidence is asked for."""

    n: int
    target_means: np.ndarray  # [t]
    target_squares: np.ndarray  # about the mean, [t]
    log_least: float  # Below it, ratios are not to be told from zero.
    log_unit: float  # Of the largest eigenvalue or the mean, whatever is larger.

    def terms(self, ratios: np.ndarray) -> Terms:
        """Returns the terms at some ratios."""


class Primal:
    """By the scatter `S` and the products `p` of features and targets."""

    def __init__(self, scatter, mean, products, target_means, target_squares, n: int):
        """Reduces the scatter `[d, d]`; products are `[t, d]`."""
        self.n, self.target_means, self.target_squares = n, target_means, target_squares
        unit = (np.trace(scatter) / n + mean @ mean) ** 0.5 or 1.0
        right = np.concatenate([products, mean[None]]).T / unit
        self.forms = Tridiagonal(scatter / unit**2, right, overwrite=True)
        self._size = len(mean)
        top = n * float(mean @ mean) / unit**2
        self.log_least, self.log_unit = _range(self.forms, top)
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

    def __init__(self, forms, length, target_means, target_squares, n, unit):
        """Takes the products as they are ready for any shift.

        Args:
          forms: of the products, with the centred targets as right sides and the
            products of the centred rows with the mean as the last one; all of features
            in units of `unit`.
          length: squared length of the mean.
          target_means: `[t]`.
          target_squares: about the mean, `[t]`.
          n: number of rows.
          unit: of the features.
        """
        self.n, self.target_means, self.target_squares = n, target_means, target_squares
        self.forms, self.unit = forms, unit
        self._length = length / unit**2
        self.log_least, self.log_unit = _range(forms, n * self._length)

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


def _range(forms: Forms, top: float) -> tuple[float, float]:
    """Logs of the least ratio to tell from 0, and of a unit: all, or the mean alone."""
    top = max(forms.largest, top)
    unit = float(np.log(top)) if top > 0 else 0.0
    noise = forms.noise
    # Nor need it reach below the grid of the definition.
    return max(np.log(noise) if noise > 0 else unit - 35, unit - 80), unit


def _at(forms: Forms, ratios: np.ndarray):
    each = [forms.forms(ratio) for ratio in ratios]
    return tuple(map(np.array, zip(*each, strict=True)))
