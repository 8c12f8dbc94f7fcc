"""Forms without a block of examples, from the axes of all of them.

With the products of all centred rows `K = U diag(s) U^T` and `M = K + t`, the inverse
of `M` among the rows that are left is a Schur complement,

    M_RR^-1 = [M^-1]_RR - [M^-1]_RB ([M^-1]_BB)^-1 [M^-1]_BR,
    det M_RR = det M det [M^-1]_BB,

so that a block of `n_b` rows costs `n n_b^2` a shift, where a reduction of its own
costs `4/3 n^3` once. `K` is about the mean of all rows. About the mean of those left it
is `H K_RR H`, with `H = I - 1 1^T / n_R`: within the vectors of sum zero

    (H K_RR H + t)^-1 r = M_RR^-1 r - M_RR^-1 1 (1^T M_RR^-1 r) / (1^T M_RR^-1 1),
    det(H K_RR H + t) = t det M_RR (1^T M_RR^-1 1) / n_R.
"""

import numpy as np
from scipy.linalg import lapack

_RESOLVED = 1e-7


class Deletion:
    """The products `[m, m]` of the rows that are left, about their own mean."""

    def __init__(self, values, axes, left_out: np.ndarray, right: np.ndarray):
        """Turns the right sides to the axes of all rows: `n m k` operations.

        Args:
          values: eigenvalues of the products of all rows, ascending, `[n]`.
          axes: their axes, `[n, n]`.
          left_out: which rows are left out, `[n]`.
          right: right sides `[m, k]`, the sums of the columns zero.
        """
        self._values = np.maximum(values, 0)
        self._left_out = axes[left_out]
        ones = np.ones((len(right), 1))
        self._right = axes[~left_out].T @ np.concatenate([right, ones], axis=1)
        self._n = len(right)

    @property
    def largest(self) -> float:
        """A bound of the largest eigenvalue."""
        return float(self._values[-1])

    @property
    def noise(self) -> float:
        """The least shift at which the forms are exact: they are differences."""
        return _RESOLVED * self.largest

    def forms(self, shift: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Returns `r.x` and `last r.x` of each right side, and the log determinant.

        Raises:
          np.linalg.LinAlgError: if the shift is lost in rounding.
        """
        weights = 1 / (self._values + shift)
        along = self._left_out * np.sqrt(weights)
        weighted = weights[:, None] * self._right
        factor, bad = lapack.dpotrf((along @ along.T).T, lower=1)
        if bad:
            raise np.linalg.LinAlgError("The matrix is not positive definite.")
        lost = self._left_out @ weighted
        if len(lost):  # Of no row LAPACK complains, on the user's screen.
            lost = lapack.dtrtrs(factor, lost, lower=1)[0]
        last, ones = self._right[:, -2:].T @ weighted - lost[:, -2:].T @ lost
        squares = np.einsum("mk,mk->k", self._right, weighted)
        squares -= np.einsum("mk,mk->k", lost, lost)
        total = ones[-1]
        log_det = np.log(np.diagonal(factor)).sum() * 2 - np.log(weights).sum()
        log_det += np.log(total / self._n * shift)
        lengths = squares - ones**2 / total
        return lengths[:-1], (last - ones * ones[-2] / total)[:-1], float(log_det)
