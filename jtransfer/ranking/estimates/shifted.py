"""Solutions of `(A + t) x = r` and `log det(A + t)` for many shifts `t`.

`A = Q T Q^T` with a tridiagonal `T` costs a third of an eigendecomposition, and serves
every shift in `O(m k)` for `k` right sides. By LAPACK, on the host, in float64: a
compiled program would have to be compiled again for each number of features.
"""

import functools

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal, lapack

EPS = float(np.finfo(float).eps)


class Tridiagonal:
    """A symmetric positive semidefinite matrix `[m, m]` and right sides `[m, k]`."""

    def __init__(
        self, matrix: np.ndarray, right: np.ndarray, *, overwrite: bool = False
    ):
        """Reduces the matrix, in `4/3 m^3 + 2 m^2 k` operations.

        Args:
          matrix: `[m, m]`, in C order.
          right: `[m, k]`.
          overwrite: whether the matrix may be changed.
        """
        m = len(matrix)
        if m == 1:
            self.diagonal, self.beside = np.array(matrix[0]), np.zeros(0)
            self.right = np.array(right, order="F")
            return
        # The lower half of a matrix in C order is the upper one in Fortran's.
        reduced, self.diagonal, self.beside, self._taus, _ = lapack.dsytrd(
            matrix.T, lower=1, lwork=64 * m, overwrite_a=overwrite
        )
        # Below its diagonal lie the reflectors, which leave the first entry alone. As
        # columns of length m, begun one entry later, they end with an entry of the row
        # above all of them: with zeros there no copy is needed, and the first entry of
        # what they turn is put last.
        reduced[0, 1:] = 0
        flat = reduced.reshape(-1, order="F")
        self._reflectors = flat[1 : 1 + m * (m - 1)].reshape(m, m - 1, order="F")
        self.right = self._rotated(right, "T")

    def _rotated(self, right: np.ndarray, transpose: str) -> np.ndarray:
        lwork = 64 * max(right.shape)
        last = np.empty(right.shape, order="F")
        last[:-1], last[-1] = right[1:], right[0]
        turned = lapack.dormqr(
            "L", transpose, self._reflectors, self._taus, last, lwork, overwrite_c=1
        )[0]
        first = np.empty(right.shape, order="F")
        first[1:], first[0] = turned[:-1], turned[-1]
        return first

    @functools.cached_property
    def largest(self) -> float:
        """The largest eigenvalue."""
        return max(self.eigenvalue(-1), 0.0)

    @property
    def noise(self) -> float:
        """The least shift that is more than the rounding of the matrix."""
        return 64 * EPS * len(self.diagonal) ** 0.5 * self.largest

    def eigenvalues(self) -> np.ndarray:
        """Returns all eigenvalues, ascending, `[m]`."""
        if not len(self.beside):
            return self.diagonal
        return eigvalsh_tridiagonal(self.diagonal, self.beside)

    def eigenvalue(self, index: int) -> float:
        """Returns one eigenvalue, by its place in ascending order."""
        if not len(self.beside):
            return float(self.diagonal[0])
        index %= len(self.diagonal)
        try:
            one = eigvalsh_tridiagonal(
                self.diagonal, self.beside, select="i", select_range=(index, index)
            )
        except np.linalg.LinAlgError:  # Bisection fails where many are the same.
            return float(self.eigenvalues()[index])
        return float(one[0])

    def solution(self, shift: float, columns: slice = slice(None)) -> np.ndarray:
        """Returns `(T + t)^-1 Q^T r` for the right sides chosen, `[m, k]`.

        Raises:
          np.linalg.LinAlgError: if the shifted matrix is not positive definite.
        """
        return self._solved(shift, self.right[:, columns])[0]

    def solution_outside(self, shift: float, columns: slice) -> np.ndarray:
        """Returns `(A + t)^-1 r` for the right sides chosen, `[m, k]`."""
        solved = self.solution(shift, columns)
        return self._rotated(solved, "N") if len(self.beside) else solved

    def forms(self, shift: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Returns `r.x` and `last r.x` of each right side, and `log det(T + t)`."""
        solved, pivots = self._solved(shift, self.right)
        quadratic = np.einsum("mk,mk->k", self.right, solved)
        return quadratic, self.right[:, -1] @ solved, float(np.log(pivots).sum())

    def inverse_trace(self, shift: float) -> float:
        """Returns the trace of `(T + t)^-1`."""
        down, up = self._pivots(shift), self._pivots(shift, backwards=True)
        return float(np.sum(1 / (down + up - self.diagonal - shift)))

    def _pivots(self, shift: float, *, backwards: bool = False) -> np.ndarray:
        step = -1 if backwards else 1
        shifted = (self.diagonal + shift)[::step]
        return self._factor(shifted, self.beside[::step])[0][::step]

    def _factor(self, diagonal: np.ndarray, beside: np.ndarray):
        if not len(beside):
            pivots, ratios, bad = diagonal, beside, diagonal[0] <= 0
        else:
            pivots, ratios, bad = lapack.dpttrf(diagonal, beside)
        if bad:
            raise np.linalg.LinAlgError("The matrix is not positive definite.")
        return pivots, ratios

    def _solved(self, shift: float, right: np.ndarray):
        pivots, ratios = self._factor(self.diagonal + shift, self.beside)
        if not len(ratios):
            return right / pivots, pivots
        return lapack.dpttrs(pivots, ratios, right)[0], pivots
