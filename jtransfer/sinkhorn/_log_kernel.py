"""Sums of exponentials with one shared matrix, as a matrix product where that is right.

An iteration of Sinkhorn's algorithm for a batch needs `log sum_k exp(p_k - S_rk)`.
With the exponential of `S` at hand that is one matrix product, tens of times faster
than the sum written out, but what is too small for the dtype is lost. Here the product
comes with a bound on that loss, and the sum is written out where it may matter.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jtransfer._internal.linalg import matmul


class LogKernel(NamedTuple):
    """A matrix `S` `[r, k]`, prepared for sums over its columns."""

    scores: jax.Array
    """`S`, `[r, k]`."""
    kernel: jax.Array
    """Exponential of minus the reduced matrix, times `exp(headroom)`, `[k, r]`."""
    rows: jax.Array
    """What the reduction took from each row of `S`, `[r]`."""
    columns: jax.Array
    """What the reduction took from each column of `S`, `[k]`."""


def log_kernels(scores: jax.Array) -> tuple[LogKernel, LogKernel]:
    """Returns the kernels of `scores` `[r, k]` and of its transpose.

    The reduction by middle values leaves the least range to the exponential: for
    class centres, the part of the distance that only their norms decide is gone.
    """
    rows = _middle(scores, axis=1)
    columns = _middle(scores - rows[:, None], axis=0)
    rest = jax.lax.stop_gradient(scores - rows[:, None] - columns[None])
    rows = rows + jnp.min(rest)
    reduced = scores - rows[:, None] - columns[None]
    kernel = _raised_exp(-reduced, _headroom(scores.dtype))
    return (
        LogKernel(scores, kernel.T, rows, columns),
        LogKernel(scores.T, kernel, columns, rows),
    )


def log_sums(
    potentials: jax.Array, kernel: LogKernel, needed: jax.Array | None = None
) -> jax.Array:
    r"""Returns `log sum_k exp(p_k - S_rk)` of each row of `potentials`.

    With `h` the headroom, the factors of the product are at most `exp(h)`; what is
    below the smallest normal number counts as zero. A sum of `k` terms thereby loses
    at most `k tiny (2 exp(h) + 1)`, so it is right to rounding if it is at least
    `1 / eps` times that. The sums of a row with one that is not are written out.
    (Under `jax.vmap` with a batch of matrices, those of all rows are.)

    Args:
      potentials: `p`, shape `[n, k]`, finite.
      kernel: the prepared matrix.
      needed: the rows of which the caller uses the result, booleans, shape `[n]`; all
        by default.

    Returns:
      The logarithms, shape `[n, r]`.
    """
    limits, headroom = jnp.finfo(potentials.dtype), _headroom(potentials.dtype)
    shifted = potentials - kernel.columns[None]
    top = jax.lax.stop_gradient(jnp.max(shifted, axis=1, keepdims=True))
    sums = matmul(_raised_exp(shifted - top, headroom), kernel.kernel)
    lost = potentials.shape[1] * float(limits.tiny) * (2 * math.exp(headroom) + 1)
    least, most = lost / float(limits.eps), float(limits.max)
    right = jnp.all((sums >= least) & (sums <= most), axis=1)
    logs = _lowered_log(jnp.where(right[:, None], sums, 1), 2 * headroom)
    logs = logs + top - kernel.rows[None]
    wrong = ~right if needed is None else ~right & needed
    return _corrected(logs, wrong, potentials, kernel)


def _corrected(logs, wrong, potentials, kernel):
    """Writes out the rows that are wrong, in room for none, some, many or all."""
    n = len(logs)

    def with_room_for(size):
        def written(_):
            rows = jnp.nonzero(wrong, size=size, fill_value=n)[0]
            sums = written_out_log_sums(potentials.at[rows].get(mode="clip"), kernel)
            return logs.at[rows].set(sums, mode="drop")

        return written

    def with_room_for_all(_):
        return jnp.where(wrong[:, None], written_out_log_sums(potentials, kernel), logs)

    # Rooms for a part of few rows would take longer to compile than they save.
    sizes = [-(-n // 16), -(-n // 4)] if n > 16 else []
    room = sum((wrong.sum() > size).astype(jnp.int32) for size in (0, *sizes))
    branches = [lambda _: logs, *map(with_room_for, sizes), with_room_for_all]
    return jax.lax.switch(room, branches, None)


def positive_probs(probs: jax.Array) -> jax.Array:
    """Returns probabilities, a zero taken as the least normal number.

    So all potentials are finite, and the mass that it adds is far below rounding.
    """
    return jnp.maximum(probs, jnp.finfo(probs.dtype).tiny)


def written_out_log_sums(potentials: jax.Array, kernel: LogKernel) -> jax.Array:
    """Returns the logarithms of `log_sums` without the product, right at any range."""
    terms = potentials[:, None, :] - kernel.scores[None]
    top = jax.lax.stop_gradient(jnp.max(terms, axis=2))
    return jnp.log(jnp.sum(jnp.exp(terms - top[:, :, None]), axis=2)) + top


def _headroom(dtype) -> float:
    """Returns the `h` of `log_sums`: `exp(2 h)`, and thousands of it, are finite."""
    return 0.45 * math.log(float(jnp.finfo(dtype).max))


def _raised_exp(x, h):
    """Returns `exp(x + h)`, for `x > -h` without the rounding of that sum."""
    small = x < -h
    return jnp.exp(jnp.where(small, x + h, x)) * jnp.where(small, 1, math.exp(h))


def _lowered_log(x, h):
    """Returns `log(x) - h`, for `x > 1` without the rounding of that difference."""
    small = x < 1
    return jnp.log(x * jnp.where(small, 1, math.exp(-h))) - jnp.where(small, h, 0)


def _middle(array, axis):
    array = jax.lax.stop_gradient(array)
    return (jnp.max(array, axis=axis) + jnp.min(array, axis=axis)) / 2
