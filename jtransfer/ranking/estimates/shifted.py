"""Solutions of `(A + t) x = r` and `log det(A + t)` for many shifts `t`.

`A = Q T Q^T` with a tridiagonal `T` costs a third of an eigendecomposition, and serves
every shift in `O(m k)` for `k` right sides. By LAPACK, on the host, in float64: a
compiled program would have to be compiled again for each number of features.
"""

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal, lapack

EPS = float(np.finfo(float).eps)


class Tridiagonal:
    """A symmetric positive semidefinite matrix `[m, m]` and right sides `[m, k]`."""

    def __init__(self, matrix: np.ndarray, right: np.ndarray):
        """Reduces the matrix, in `4/3 m^3 + 2 m^2 k` operations."""
        m = len(matrix)
        self.right = np.array(right, order="F")
        if m == 1:
            self.diagonal, self.beside = np.array(matrix[0]), np.zeros(0)
            return
        # The lower half of a matrix in C order is the upper one in Fortran's.
        reduced, self.diagonal, self.beside, self._taus, _ = lapack.dsytrd(
            matrix.T, lower=1, lwork=64 * m
        )
        self._reflectors = np.asfortranarray(reduced[1:, :-1])
        self.right[1:] = self._rotated(self.right[1:], "T")

    def _rotated(self, right: np.ndarray, transpose: str) -> np.ndarray:
        lwork = 64 * max(right.shape)
        return lapack.dormqr(
            "L", transpose, self._reflectors, self._taus, right, lwork
        )[0]

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
        solved = np.array(self.solution(shift, columns), order="F")
        if len(self.beside):
            solved[1:] = self._rotated(solved[1:], "N")
        return solved

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
