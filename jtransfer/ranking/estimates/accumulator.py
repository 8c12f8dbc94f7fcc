"""Statistics of a block of examples, gathered batch by batch in one place.

What is added lies about the mean of the block's first examples, and is moved to the
mean of all at the end. A feature that is constant in the block leaves exactly zero, and
what that mean is off by is no more than the features' own spread times the root of the
number of batches, so that little is lost to rounding.
"""

import numpy as np
from scipy.linalg import blas

from jtransfer.ranking.estimates.sums import Sums, exact_mean, membership

_TILE = 256


class Accumulator:
    """The sums of a block; its scatter is changed in place, by its lower half."""

    def __init__(self, num_features: int, num_classes: int, *, scattered: bool):
        """Starts with no example.

        Args:
          num_features: `d`.
          num_classes: `C`.
          scattered: whether the scatter is gathered, in `8 d^2` bytes.
        """
        d, by_class = num_features, (num_classes, num_features)
        self._num_classes = num_classes
        self._about = None
        self._counts = np.zeros(num_classes, int)
        self._total = np.zeros(d)
        self._class_sums, self._class_squares = np.zeros(by_class), np.zeros(by_class)
        self._cubic, self._quartic = np.zeros(d), 0.0
        self._squares = np.zeros((d, d), order="F") if scattered else None

    def add(self, rows: np.ndarray, labels: np.ndarray) -> None:
        """Adds rows `[m, d]` with labels `[m]`, all in range: `m d^2` operations."""
        if not len(rows):
            return
        if self._about is None:
            self._about = exact_mean(rows)
        centred = rows - self._about
        members = membership(labels, self._num_classes)
        self._counts += np.bincount(labels, minlength=self._num_classes)
        self._total += centred.sum(axis=0)
        self._class_sums += members @ centred
        squares = centred**2
        self._class_squares += members @ squares
        if self._squares is None:  # Then fourth powers come from the rows.
            return
        norms = squares.sum(axis=1)
        self._cubic += norms @ centred
        self._quartic += float(norms @ norms)
        self._squares = blas.dsyrk(
            1.0, centred.T, beta=1.0, c=self._squares, lower=1, overwrite_c=1
        )

    def sums(self) -> Sums:
        """Returns the statistics of all examples; the accumulator is used up."""
        n, shift = max(self._counts.sum(), 1), self._total / max(self._counts.sum(), 1)
        mean = shift if self._about is None else self._about + shift
        own = self._class_sums**2 / np.maximum(self._counts, 1)[:, None]
        class_squares = np.maximum(self._class_squares - own, 0)
        class_sums = self._class_sums - self._counts[:, None] * shift
        if self._squares is None:
            cubic, quartic, scatter = self._cubic, self._quartic, None
        else:
            cubic, quartic = self._powers(n, shift)
            scatter = _symmetric(
                blas.dsyr(-n, shift, lower=1, a=self._squares, overwrite_a=1)
            )
        return Sums(
            self._counts, mean, scatter, class_sums, class_squares, cubic, quartic
        )

    def _powers(self, n: int, shift: np.ndarray) -> tuple[np.ndarray, float]:
        """Sums of `|z|^2 z` and `|z|^4` about the mean, `z = w - u` with the shift `u`.

        With `S`, `t`, `q` the sums of `w w^T`, `|w|^2 w`, `|w|^4`, `n u` that of `w`,
        `t' = t - 2 S u - tr(S) u + 2 n |u|^2 u` and
        `q' = q - 4 u.t + 4 u^T S u + 2 |u|^2 tr(S) - 3 n |u|^4`.
        """
        projected = blas.dsymv(1.0, self._squares, shift, lower=1)
        trace, length = np.trace(self._squares), shift @ shift
        cubic = self._cubic - 2 * projected + (2 * n * length - trace) * shift
        quartic = self._quartic - 4 * shift @ self._cubic + 4 * shift @ projected
        return cubic, float(quartic + 2 * length * trace - 3 * n * length**2)


def _symmetric(lower: np.ndarray) -> np.ndarray:
    """Fills the upper half of a matrix in place, a tile at a time."""
    for start in range(0, len(lower), _TILE):
        end = start + _TILE
        corner = lower[start:end, start:end]
        corner += np.tril(corner, -1).T - np.triu(corner, 1)
        lower[start:end, end:] = lower[end:, start:end].T
    return lower.T
