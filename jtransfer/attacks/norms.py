"""The norms that bound attacks."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Norm(NamedTuple):
    """A norm that bounds attacks, as the three functions that they need of it."""

    uniform: Callable
    """`uniform(key, x, epsilon)`: uniform in the ball, in the shape of `x`."""
    steepest: Callable
    """`steepest(gradient)`: the step of length one along which a loss rises most."""
    project: Callable
    """`project(delta, epsilon)`: the nearest point of the ball."""


def _linf_uniform(key, x, epsilon):
    return jax.random.uniform(key, x.shape, x.dtype, -epsilon, epsilon)


def _linf_project(delta, epsilon):
    return jnp.clip(delta, -epsilon, epsilon)


def _l2_uniform(key, x, epsilon):
    direction_key, radius_key = jax.random.split(key)
    direction = _l2_steepest(jax.random.normal(direction_key, x.shape, x.dtype))
    # A share r^d of a ball's volume lies within a share r of its radius.
    radius = jax.random.uniform(radius_key, (), x.dtype) ** (1 / max(x.size, 1))
    return epsilon * radius * direction


def _l2_steepest(gradient):
    peak = divisor(jnp.max(jnp.abs(gradient)))
    scaled = gradient / peak
    return scaled / divisor(jnp.sqrt(jnp.sum(scaled**2)))


def _l2_project(delta, epsilon):
    # The squares of a small delta would underflow.
    peak = divisor(jnp.max(jnp.abs(delta)))
    length = peak * jnp.sqrt(jnp.sum((delta / peak) ** 2))
    return jnp.where(length > epsilon, delta * (epsilon / divisor(length)), delta)


LINF = Norm(_linf_uniform, jnp.sign, _linf_project)
"""The largest change of any entry."""
L2 = Norm(_l2_uniform, _l2_steepest, _l2_project)
"""The Euclidean length of the change."""


def divisor(value: jax.Array) -> jax.Array:
    """Returns the value, or 1 for zero and what a backend may flush to zero."""
    return jnp.where(value < jnp.finfo(value.dtype).tiny, 1, value)
