"""The share of a gradient that attacks explain."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal.linalg import matmul, scaled, unit
from jtransfer.jacobians import singular_attacks, weighted_outputs
from jtransfer.matching._least_squares import (
    checked_functions,
    pseudo_inverse,
    root_mean_square,
    stacked_rows,
)


@jax.jit
def explained_gradient(
    reference: ArrayLike,
    source: ArrayLike,
    *,
    reference_hessian: ArrayLike | None = None,
    source_hessian: ArrayLike | None = None,
) -> jax.Array:
    r"""Computes the share of the reference's gradient that attacks explain.

    .. math:: \frac{E_{x_1, x_2}[v(x_1)^T A_2(x_1, x_2)\, v(x_2)] \, \|J^+\|_{H_\circ}}
              {E_x \|J_*(x)\|_{H_*}^2}, \quad
              v^{(i)} = \sigma_\circ^{(1)} \sigma_*^{(i)} A_1^{(i)}, \quad
              J = E[J_\circ J_\circ^T],

    over all pairs, an example with itself included. By Theorem 3.1 the squared
    `gradient_matching_distance` is one minus this share of the mean squared norm of
    the Jacobian. This is the long way through A1 and A2, ``O(n^2 r^2 (m + k))``, to
    see the theorem at work.

    Args:
      reference: Jacobians of the reference, shape ``[n, m, p]``.
      source: Jacobians of the source, shape ``[n, k, p]``.
      reference_hessian: metric of the outputs of the reference, shape ``[m, m]``.
      source_hessian: metric of the outputs of the source, shape ``[k, k]``. It must be
        positive definite, and then cancels.

    Returns:
      The share in ``[0, 1]``, shape ``[]``, a constant for differentiation; 0 where the
      reference has no gradient.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> jacobians = jax.random.normal(jax.random.key(0), (4, 2, 3))
      >>> round(float(explained_gradient(jacobians[:, :1], jacobians)), 4)
      1.0

    References:
      Liang et al., 2021, Theorem 3.1 and Proposition 3.1.
    """
    reference, source = checked_functions(reference, source, 3)
    # The share has no unit: values of order one keep all powers finite.
    reference, source = (
        jax.lax.stop_gradient(scaled(f.ravel())[0]).reshape(f.shape)
        for f in (reference, source)
    )
    n, rows = len(source), stacked_rows(source)
    metric = weighted_outputs("reference_hessian", reference, reference_hessian, axis=1)
    attacks = jax.vmap(singular_attacks)(metric).attacks
    own, moved = (matmul(attacks, jnp.swapaxes(f, 1, 2)) for f in (metric, source))
    transferred = weighted_outputs("source_hessian", moved, source_hessian, axis=2)
    # The norms of J^+ and the sigma of the source, over which A1 and A2 are, cancel.
    v = jnp.linalg.norm(own, axis=2) * jnp.linalg.norm(transferred, axis=2)
    inverse = pseudo_inverse(matmul(rows.T, rows) / n)
    explained = _mean_over_pairs(unit(own), unit(moved, transferred), inverse, v)
    total = root_mean_square(metric, n)
    zero = total == 0
    share = explained / jnp.where(zero, 1, total) ** 2
    return jnp.where(zero, 0, jnp.clip(share, 0, 1))


def _mean_over_pairs(first, second, inverse, v) -> jax.Array:
    """The mean of `v^T A2 v` over all pairs, A2 of one example against all at a time.

    From unit deviations of the reference `[n, r, m]` and of the source `[n, r, k]`, the
    metric of the latter `[k, k]` and `v` `[n, r]`.
    """
    all_first, all_second = (f.reshape(v.size, -1).T for f in (first, second))

    def against_all(example):
        first, second, v_example = example
        a2 = matmul(first, all_first) * matmul(matmul(second, inverse), all_second)
        return v_example @ matmul(a2, v.ravel())

    return jnp.sum(jax.lax.map(against_all, (first, second, v))) / len(v) ** 2
