"""Whole Jacobians at the price of a few outputs: unbiased, by random projections."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jtransfer._internal import checks
from jtransfer.distillation import gradients, jacobians


def random_projection(
    key: jax.Array,
    *,
    num_projections: int,
    num_outputs: int,
    dtype: DTypeLike = float,
) -> jax.Array:
    r"""Draws a random projection of a network's outputs.

    .. math:: P \in \{\pm s^{-1/2}\}^{s \times k}, \quad E[P^T P] = I,
              \quad\text{so that}\quad E\|P J\|_F^2 = \|J\|_F^2.

    Independent signs of equal weight. Teacher and student get the same projection, each
    example its own.

    Args:
      key: randomness.
      num_projections: number ``s`` of rows, of backward passes later on; static. The
        variance falls with its inverse.
      num_outputs: number ``k`` of outputs; static.
      dtype: floating-point type of the projection; static.

    Returns:
      The projection, shape ``[s, k]``.

    Raises:
      ValueError: if a size is less than 1.

    Example:
      >>> key = jax.random.key(0)
      >>> projection = random_projection(key, num_projections=4, num_outputs=3)
      >>> jnp.abs(projection).tolist()[0]
      [0.5, 0.5, 0.5]

    References:
      Hutchinson, "A stochastic estimator of the trace of the influence matrix", 1990.
    """
    checks.positive("num_projections", num_projections)
    checks.positive("num_outputs", num_outputs)
    shape = (num_projections, num_outputs)
    return jax.random.rademacher(key, shape, dtype) / math.sqrt(num_projections)


def projected_jacobian(f: Callable, x: ArrayLike, projection: ArrayLike) -> jax.Array:
    r"""Computes the product of a projection and the Jacobian of `f` at one example.

    .. math:: P J(x), \quad J(x) = \nabla f(x)^T,

    by one backward pass a row, without the Jacobian itself. This is one example; for a
    batch use ``jax.vmap``.

    Args:
      f: function of one example with outputs ``[k]``; a network in evaluation mode.
      x: one example, of any shape.
      projection: ``P``, shape ``[s, k]``.

    Returns:
      The product, shape ``[s, x.size]``.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if `x` or the outputs are not floating-point.

    Example:
      >>> f = lambda x: jnp.stack([x[0] * x[1], x[0] ** 2])
      >>> projection = jnp.array([[1.0, -1.0]])
      >>> projected_jacobian(f, jnp.array([3.0, 5.0]), projection).tolist()
      [[-1.0, 3.0]]

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, 4.1, on
      what the whole Jacobian costs.
    """
    projection = jnp.asarray(projection)
    outputs, pull = gradients.pullback(f, x)
    if projection.ndim != 2 or projection.shape[1] != outputs.size:
        raise ValueError(
            f"projection must have shape {('s', outputs.size)}, got {projection.shape}."
        )
    return jax.vmap(pull)(projection.astype(outputs.dtype))


def stochastic_match_jacobians(
    teacher_fn: Callable,
    student_fn: Callable,
    x: ArrayLike,
    key: jax.Array,
    *,
    num_projections: int,
) -> jax.Array:
    r"""Estimates `match_jacobians` over all outputs from a few random projections.

    .. math:: \frac1n \sum_x \|P_x (J_T(x) - J_S(x))\|_F^2,

    whose expectation over the projections is the loss with the whole Jacobians, and
    whose gradient's is its gradient. The cost is that of `num_projections` outputs.

    Args:
      teacher_fn: function of one example with outputs ``[k]``.
      student_fn: function of one example with outputs ``[k]``.
      x: examples, shape ``[n, ...]``.
      key: randomness of the projections, one an example.
      num_projections: rows of each projection; static.

    Returns:
      The estimate, shape ``[]``.

    Raises:
      ValueError: if the outputs do not agree or `num_projections` is less than 1.
      TypeError: if `x` or the outputs are not floating-point.

    Example:
      >>> teacher, student = (lambda x: 2 * x), (lambda x: x)
      >>> float(stochastic_match_jacobians(
      ...     teacher, student, jnp.ones((5, 3)), jax.random.key(0), num_projections=4))
      3.0

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018,
      Proposition 1 and section 4.1.
    """
    x = jnp.asarray(x)
    projections = _projections(student_fn, x, key, num_projections)
    project = jax.vmap(projected_jacobian, in_axes=(None, 0, 0))
    return jacobians.match_jacobians(
        project(teacher_fn, x, projections), project(student_fn, x, projections)
    )


def stochastic_jacobian_norm(
    f: Callable, x: ArrayLike, key: jax.Array, *, num_projections: int
) -> jax.Array:
    r"""Estimates `jacobian_norm` over all outputs from a few random projections.

    .. math:: \frac1n \sum_x \|P_x J(x)\|_F^2,

    whose expectation over the projections is the penalty with the whole Jacobian.

    Args:
      f: function of one example with outputs ``[k]``.
      x: examples, shape ``[n, ...]``.
      key: randomness of the projections, one an example.
      num_projections: rows of each projection; static.

    Returns:
      The estimate, shape ``[]``.

    Raises:
      ValueError: if the outputs are not ``[k]`` or `num_projections` is less than 1.
      TypeError: if `x` or the outputs are not floating-point.

    Example:
      >>> float(stochastic_jacobian_norm(
      ...     lambda x: 2 * x, jnp.ones((5, 3)), jax.random.key(0), num_projections=4))
      12.0

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018,
      Proposition 2 and section 4.1.
    """
    x = jnp.asarray(x)
    projections = _projections(f, x, key, num_projections)
    project = jax.vmap(projected_jacobian, in_axes=(None, 0, 0))
    return jacobians.jacobian_norm(project(f, x, projections))


def _projections(f, x, key, num_projections) -> jax.Array:
    """One projection an example, `[n, num_projections, k]`."""
    outputs = jax.eval_shape(f, jax.ShapeDtypeStruct(x.shape[1:], x.dtype))
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) != 1:
        raise ValueError(f"f must return outputs of shape [k], got {outputs}.")

    def draw(key):
        return random_projection(
            key,
            num_projections=num_projections,
            num_outputs=shape[0],
            dtype=outputs.dtype,
        )

    return jax.vmap(draw)(jax.random.split(key, len(x)))
