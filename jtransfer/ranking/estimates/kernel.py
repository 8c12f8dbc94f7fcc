"""The forms of `shifted.Tridiagonal` as one pure function, for accelerators.

On a CPU the ranking calls LAPACK, which needs nothing compiled. Where a compiled
program pays, on GPU and TPU or for many matrices of one shape, this is the same in JAX,
inside jit and vmap; the tests hold it against LAPACK.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jtransfer._internal.linalg import matmul


class ShiftedForms(NamedTuple):
    """Forms of the solutions `x = (A + t)^-1 r` at `g` shifts `t`."""

    squares: jax.Array
    """`r.x` of each right side `r`, `[g, k]`."""
    along: jax.Array
    """Of the last right side and each `x`, `[g, k]`."""
    log_det: jax.Array
    """`log det(A + t)`, `[g]`."""


@jax.jit
def shifted_forms(
    matrix: jax.Array, right: jax.Array, shifts: jax.Array
) -> ShiftedForms:
    """Solves a symmetric positive semidefinite system at many shifts of its diagonal.

    With `A = Q T Q^T`, `T` tridiagonal, of which Householder's reflections take
    `4/3 m^3` operations, each shift costs `O(m k)`; pivots `p_1 = a_1 + t`,
    `p_i = a_i + t - b_(i-1)^2 / p_(i-1)` of `T + t = L diag(p) L^T` give the
    determinant. On TPU, which has no such reduction, the axes of `A` serve.

    Args:
      matrix: `[m, m]`; entries above the diagonal are not read.
      right: right sides, `[m, k]`.
      shifts: positive, far above the rounding of the largest eigenvalue, `[g]`.

    Returns:
      The forms, in the dtype of the matrix.

    References:
      Golub and Van Loan, "Matrix Computations", 4th edition, 2013, 4.3.6 and 8.3.1.

    >>> matrix = jnp.diag(jnp.array([1.0, 3]))
    >>> forms = shifted_forms(matrix, jnp.ones((2, 1)), jnp.ones(1))
    >>> forms.squares[0], forms.log_det[0].round(4)  # 1/2 + 1/4 and log(2 * 4)
    (Array([0.75], dtype=float32), Array(2.0794, dtype=float32))
    """
    if len(matrix) < 3:  # Nothing is left to reduce.
        return _by_axes(matrix, right, shifts)
    return jax.lax.platform_dependent(
        matrix, right, shifts, tpu=_by_axes, default=_by_reflections
    )


def _by_reflections(matrix, right, shifts) -> ShiftedForms:
    packed, diagonal, beside, scales = jax.lax.linalg.tridiagonal(matrix, lower=True)
    turned = jax.lax.linalg.ormqr(
        packed[1:, :-1], scales, right[1:], left=True, transpose=True
    )
    right = right.at[1:].set(turned)
    below, above = jnp.pad(beside, (1, 0)), jnp.pad(beside, (0, 1))

    def at(shift):
        def pivot(last, entries):
            own, before = entries
            own = own + shift - before**2 / last
            return own, jnp.log(own)

        first = diagonal[0] + shift
        logs = jax.lax.scan(pivot, first, (diagonal[1:], beside))[1]
        solved = jax.lax.linalg.tridiagonal_solve(below, diagonal + shift, above, right)
        squares = jnp.sum(right * solved, axis=0)
        along = matmul(right[:, -1], solved)
        return ShiftedForms(squares, along, jnp.log(first) + jnp.sum(logs))

    return jax.lax.map(at, shifts)


def _by_axes(matrix, right, shifts) -> ShiftedForms:
    lower = jnp.tril(matrix)
    values, axes = jnp.linalg.eigh(lower + jnp.tril(matrix, -1).T)
    right = matmul(axes.T, right)
    shifted = values[None] + shifts[:, None]
    return ShiftedForms(
        matmul(1 / shifted, right**2),
        matmul(1 / shifted, right * right[:, -1:]),
        jnp.sum(jnp.log(shifted), axis=1),
    )
