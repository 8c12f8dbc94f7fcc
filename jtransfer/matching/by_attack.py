"""Theorem 3.1 attack by attack: shares of the explained gradient, A1 and A2."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal.linalg import lengths, matmul, scaled, unit
from jtransfer.jacobians import singular_attacks, weighted_outputs
from jtransfer.matching._least_squares import (
    checked_functions,
    pseudo_inverse,
    stacked_rows,
)


class AttackShares(NamedTuple):
    """Shares of a gradient that attacks explain, and their A1 and A2, in order."""

    shares: jax.Array
    """Of the explained gradient by attacks 1 to `i`, `[r]`; the last is 1."""
    alpha1: jax.Array
    """Mean A1 of attack `i`, `[r]`, in [0, 1]."""
    alpha2: jax.Array
    """Mean A2 of attack `i` with itself, `[r]`, in [0, 1]."""


@jax.jit
def attack_shares(
    reference: ArrayLike,
    source: ArrayLike,
    *,
    reference_hessian: ArrayLike | None = None,
    source_hessian: ArrayLike | None = None,
) -> AttackShares:
    r"""Computes the shares of the explained gradient that the first attacks give.

    .. math:: s_i = \frac{E_{x_1, x_2}\Big[\sum_{a, b \le i} v^{(a)}(x_1)
              A_2^{(a, b)}(x_1, x_2)\, v^{(b)}(x_2)\Big]}
              {E_{x_1, x_2}[v(x_1)^T A_2(x_1, x_2)\, v(x_2)]}, \quad
              v^{(a)} = \sigma_\circ^{(1)} \sigma_*^{(a)} A_1^{(a)},

    over all pairs, an example with itself included, as in `explained_gradient`, whose
    value times the shares gives those of the whole gradient. It takes
    ``O(n r m k)`` and no pairs, for

    .. math:: v^{(a)} v^{(b)} A_2^{(a, b)} = \Big\langle
              \Delta_{**}^{(a)} \otimes \Delta_{*\circ}^{(a)}(x_1),
              \Delta_{**}^{(b)} \otimes \Delta_{*\circ}^{(b)}(x_2)
              \Big\rangle_{H_* \otimes J^+}\, /\, \|J^+\|_{H_\circ}.

    **The shares need not rise.** They do for a single example. Over several, attack
    ``i`` at one may point where a stronger attack at another did and take some of its
    share away; a share may then be more than 1.

    The means of A1 and A2 are over the examples, and pairs of them, that have an attack
    ``i`` and where the deviations have a direction.

    Args:
      reference: Jacobians of the reference, shape ``[n, m, p]``.
      source: Jacobians of the source, shape ``[n, k, p]``.
      reference_hessian: metric of the outputs of the reference, shape ``[m, m]``.
      source_hessian: metric of the outputs of the source, shape ``[k, k]``, positive
        definite. It cancels in the shares.

    Returns:
      Shares and means, ``r = min(m, p)``, constants for differentiation. NaN where they
      are not defined: shares where nothing is explained (no more than rounding leaves),
      A1 and A2 of an attack that no example has, or that a source without gradient
      meets.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> reference = jnp.diag(jnp.array([2.0, 1.0]))[None]
      >>> shares, alpha1, alpha2 = attack_shares(reference, jnp.eye(2)[None])
      >>> [[round(float(x), 4) for x in part] for part in (shares, alpha1, alpha2)]
      [[0.8, 1.0], [1.0, 1.0], [0.7071, 0.7071]]

    References:
      Liang et al., 2021, Theorem 3.1 and Eq. (11).
    """
    reference, source = checked_functions(reference, source, 3)
    # None of the numbers has a unit: values of order one keep all powers finite.
    reference, source = (
        jax.lax.stop_gradient(scaled(f.ravel())[0]).reshape(f.shape)
        for f in (reference, source)
    )
    n, rows = len(source), stacked_rows(source)
    metric = weighted_outputs("reference_hessian", reference, reference_hessian, axis=1)
    weighted = weighted_outputs("source_hessian", source, source_hessian, axis=1)
    attacks, values = jax.vmap(singular_attacks)(metric)
    strongest = jax.vmap(singular_attacks)(weighted).values[:, :1]
    own, moved, transferred = (
        matmul(attacks, jnp.swapaxes(f, 1, 2)) for f in (metric, source, weighted)
    )
    inverse = pseudo_inverse(matmul(rows.T, rows) / n)
    norm = weighted_outputs("source_hessian", inverse, source_hessian, axis=0)
    explained = _squares(jnp.cumsum(_means(own, moved, n), axis=0), inverse)
    least = 10 * jnp.finfo(metric.dtype).eps * jnp.sum(metric**2) / n
    exists = (values > 0) & (strongest > 0)
    turning = exists & jnp.any(transferred != 0, axis=2)
    turns = _means(unit(own), unit(moved, transferred), n)
    ratio = lengths(transferred) / jnp.where(strongest > 0, strongest, 1)
    return AttackShares(
        shares=_fraction(explained, explained[-1], least),
        alpha1=_fraction(
            jnp.sum(jnp.where(exists, jnp.clip(ratio, 0, 1), 0), axis=0),
            jnp.sum(exists, axis=0).astype(ratio.dtype),
        ),
        alpha2=_fraction(
            _squares(turns, inverse) * n**2,
            jnp.sum(turning, axis=0).astype(ratio.dtype) ** 2 * lengths(norm.ravel()),
        ),
    )


def _means(first: jax.Array, second: jax.Array, n: int) -> jax.Array:
    """Of the outer products of `[n, r, m]` and `[n, r, k]`, `[r, m, k]`."""
    return jnp.einsum(
        "nri,nrj->rij", first, second, precision=jax.lax.Precision.HIGHEST
    ) / float(n)


def _squares(matrices: jax.Array, metric: jax.Array) -> jax.Array:
    """Squared norms of matrices `[r, m, k]` in a metric `[k, k]`, `[r]`."""
    return jnp.sum(matmul(matrices, metric) * matrices, axis=(1, 2))


def _fraction(numbers: jax.Array, whole: jax.Array, least: float = 0) -> jax.Array:
    """The numbers over the whole, NaN where that is not more than `least`."""
    defined = whole > least
    return jnp.where(defined, numbers / jnp.where(defined, whole, 1), jnp.nan)
