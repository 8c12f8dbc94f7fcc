"""Modes of dependence from samples by alternating conditional expectations."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul, root
from jtransfer.hgr.joint import joint_distribution, quotient, samples
from jtransfer.hgr.maximal_correlation import Modes, as_modes, check_num_modes

NUM_GUARDS = 4
"""Modes beyond those asked for that an iteration carries along."""


@jax.jit(static_argnames=("num_x", "num_y", "num_modes", "num_steps"))
def ace(
    x: ArrayLike,
    y: ArrayLike,
    key: jax.Array,
    *,
    num_x: int,
    num_y: int,
    num_modes: int,
    num_steps: int,
) -> Modes:
    r"""Computes the modes of samples by alternating conditional expectations.

    .. math:: f(x) \leftarrow E[g(Y) \mid X = x], \quad
              g(y) \leftarrow E[f(X) \mid Y = y],

    each made orthonormal by Gram-Schmidt, until ``E[f(X)^T g(Y)]`` stops growing. A
    rotation of ``f`` and ``g`` within their spans, after which that sum is what it is
    with the published inverse square root, separates the modes. They converge to those
    of `modes` on the samples' joint distribution: a few guard modes are carried along,
    so that the error of mode ``i`` falls by ``(sigma_{k+5} / sigma_i)^2`` a step.

    A step costs ``O(n k)``, and ``O(X Y k)`` where that is less. Unlike the matrix it
    serves alphabets whose table is far larger than the samples.

    Args:
      x: integer symbol of each example, shape ``[n]``.
      y: integer label of each example, shape ``[n]``. An example with a symbol or
        label out of range is left out.
      key: random key of the first ``g``.
      num_x: number of symbols; static.
      num_y: number of labels; static.
      num_modes: number ``k`` of modes, at most ``min(X, Y) - 1``; static.
      num_steps: largest number of steps; static.

    Returns:
      The modes, the strongest first, in the default floating-point type.

    Raises:
      ValueError: if the shapes do not agree or `num_modes` is too large.
      TypeError: if the symbols or labels are not integers.

    Example:
      >>> x, y = jnp.arange(60) % 5, jnp.arange(60) % 3
      >>> options = dict(num_x=5, num_y=3, num_modes=1, num_steps=50)
      >>> ace(x, (x + y) // 3, jax.random.key(0), **options).correlations.shape
      (1,)

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Algorithm 1.
      Breiman and Friedman, "Estimating optimal transformations for multiple
      regression and correlation", 1985.
    """
    x, y = samples(x, y, num_x, num_y)
    check_num_modes(num_modes, num_y, num_x)
    checks.positive("num_steps", num_steps)
    width = min(num_modes + NUM_GUARDS, min(num_x, num_y) - 1)
    small = num_x * num_y <= x.size
    expectations = _table_expectations if small else _sample_expectations
    root_x, root_y, given_x, given_y = expectations(x, y, num_x, num_y)

    def step(state):
        count, psi, *_, correlations = state
        phi, _ = _orthonormal(root_x, given_x(quotient(psi, root_y[:, None])))
        psi, triangle = _orthonormal(root_y, given_y(quotient(phi, root_x[:, None])))
        left, singular, right = jnp.linalg.svd(triangle)
        phi, psi = matmul(phi, right.T), matmul(psi, left)
        return count + 1, psi, phi, correlations, singular

    def grows(state):
        count, *_, before, correlations = state
        total, last = correlations[:num_modes].sum(), before[:num_modes].sum()
        return (count < num_steps) & (total > last)

    g = jax.random.normal(key, (num_y, width))
    none = jnp.zeros((num_x, width)), -jnp.ones(width), jnp.zeros(width)
    end = jax.lax.while_loop(grows, step, (jnp.zeros((), jnp.int32), g, *none))
    _, psi, phi, _, correlations = end
    psi, phi = psi[:, :num_modes], phi[:, :num_modes]
    return as_modes(correlations[:num_modes], phi, psi, root_x, root_y)


def _table_expectations(x, y, num_x: int, num_y: int):
    """Returns roots of the margins, g -> E[g(Y)|x] and f -> E[f(X)|y]."""
    joint = joint_distribution(x, y, num_x=num_x, num_y=num_y)
    p_x, p_y = joint.sum(axis=0), joint.sum(axis=1)
    by_x, by_y = quotient(joint, p_x[None]).T, quotient(joint, p_y[:, None])
    functions = (lambda g: matmul(by_x, g)), (lambda f: matmul(by_y, f))
    return root(p_x), root(p_y), *functions


def _sample_expectations(x, y, num_x: int, num_y: int):
    """Returns the same as `_table_expectations` in memory `O(n)`."""
    dtype, ones = jnp.zeros(()).dtype, jnp.ones_like(x)
    n_x = jax.ops.segment_sum(ones, x, num_x).astype(dtype)
    n_y = jax.ops.segment_sum(ones, y, num_y).astype(dtype)

    def mean(values, of, given, counts):
        chosen = jnp.take(values, of, axis=0, mode="clip")
        total = jax.ops.segment_sum(chosen, given, len(counts))
        return quotient(total, counts[:, None])

    n = jnp.maximum(n_x.sum(), 1)
    functions = (lambda g: mean(g, y, x, n_x)), (lambda f: mean(f, x, y, n_y))
    return root(n_x / n), root(n_y / n), *functions


def _orthonormal(constant: jax.Array, functions: jax.Array):
    """Returns orthonormal vectors `[., k]` of centred functions, and the triangle."""
    # A function that is orthogonal to the constant one has zero mean.
    constant = constant[:, None]
    vectors = jnp.concatenate([constant, constant * functions], axis=1)
    basis, triangle = jnp.linalg.qr(vectors)
    return basis[:, 1:], triangle[1:, 1:]
