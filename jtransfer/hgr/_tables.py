"""Checks and arithmetic that the functions of joint tables share."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer import _checks


def samples(x: ArrayLike, y: ArrayLike, num_x: int, num_y: int):
    """Returns int32 arrays in which what is out of range stands at the upper end."""
    x, y = jnp.asarray(x), jnp.asarray(y)
    for name, array in (("x", x), ("y", y)):
        _checks.rank(name, array, 1)
        _checks.integer(name, array)
    _checks.same_length(x=x, y=y)
    _checks.positive("num_x", num_x)
    _checks.positive("num_y", num_y)
    x, y = _checks.class_labels(x, num_x), _checks.class_labels(y, num_y)
    valid = (x >= 0) & (y >= 0)
    return jnp.where(valid, x, num_x), jnp.where(valid, y, num_y)


def roots(joint: ArrayLike):
    """Returns the normalised table and the roots of its margins, 0 at 0."""
    joint = jnp.asarray(joint)
    _checks.rank("joint", joint, 2)
    _checks.floating("joint", joint)
    total = joint.sum()
    joint = joint / jnp.where(total > 0, total, 1)
    return joint, root(joint.sum(axis=1)), root(joint.sum(axis=0))


def root(probs: jax.Array) -> jax.Array:
    """Returns the square root, with a derivative of 0 at 0."""
    positive = probs > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, probs, 1)), 0)


def quotient(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns `a / b`, 0 where `b` is 0."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns `a @ b` in the full precision of the dtype on every backend."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
