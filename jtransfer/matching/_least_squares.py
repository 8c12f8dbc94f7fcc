"""Least-squares maps of examples in rows, and what all of matching checks."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul, root, scaled


def least_squares(reference: jax.Array, source: jax.Array) -> jax.Array:
    """Returns the least-squares map `[k, m]` of rows of `source`, entries at most 1."""
    reference, source = jax.lax.stop_gradient((reference, source))
    gram = matmul(source.T, source)
    spread = jnp.sqrt(jnp.diagonal(gram))
    spread = jnp.where(spread == 0, 1, spread)
    spread = spread[:, None] * spread[None]
    inverse = pseudo_inverse(gram / spread) / spread
    fit = matmul(inverse, matmul(source.T, reference))
    # Once more on the residual: what rounding took from the first fit comes back.
    residual = reference - matmul(source, fit)
    return fit + matmul(inverse, matmul(source.T, residual))


def pseudo_inverse(gram: jax.Array) -> jax.Array:
    """Returns the pseudo-inverse of a positive semi-definite matrix.

    Its rank is that which rounding leaves.
    """
    values, axes = jnp.linalg.eigh(gram)
    null = values <= len(values) ** 0.5 * jnp.finfo(values.dtype).eps * values[-1]
    inverse = jnp.where(null, 0, 1 / jnp.where(null, 1, values))
    return matmul(axes * inverse[None], axes.T)


def root_mean_square(outputs: jax.Array, n: int) -> jax.Array:
    """Returns the root of the sum of squares over `n`."""
    flat, peak = scaled(outputs.ravel())
    return root(jnp.sum(flat**2) / n) * peak[0]


def stacked_rows(jacobians: jax.Array) -> jax.Array:
    """Returns one row for each example and input, `[n p, m]`, of `[n, m, p]`."""
    return jnp.swapaxes(jacobians, 1, 2).reshape(-1, jacobians.shape[1])


def checked_functions(reference: ArrayLike, source: ArrayLike, num_axes: int):
    """Returns reference and source as arrays that agree but for the outputs."""
    reference, source = jnp.asarray(reference), jnp.asarray(source)
    for name, array in {"reference": reference, "source": source}.items():
        checks.num_axes(name, array, num_axes)
        checks.floating(name, array)
    checks.same_length(reference=reference, source=source)
    checks.positive("the number of examples", len(reference))
    if reference.shape[2:] != source.shape[2:]:
        raise ValueError(
            "reference and source must have equal numbers of inputs, got "
            f"{reference.shape} and {source.shape}."
        )
    return reference, source
