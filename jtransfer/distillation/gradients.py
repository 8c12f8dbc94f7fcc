"""Gradients of a few outputs of a network, in place of its whole Jacobian."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.distillation import _vectors


class SelectedGradient(NamedTuple):
    """Gradients of selected outputs by the input, and which outputs they are."""

    gradient: jax.Array
    """Of one output ``[x.size]``, of several ``[num_outputs, x.size]``."""
    index: jax.Array
    """The selected outputs, ``[]`` or ``[num_outputs]``; for use with a student."""


def selected_output_gradient(f: Callable, x: ArrayLike, index: ArrayLike) -> jax.Array:
    r"""Computes the gradient of one output by the input.

    .. math:: \nabla_x f^i(x),

    one row of the Jacobian, for the price of one backward pass whatever the number of
    outputs. With the label as index it is the paper's approximation of the whole
    Jacobian by the correct class. This is one example; for a batch use ``jax.vmap``.

    Args:
      f: function of one example with outputs ``[m]``; a network in evaluation mode.
      x: one example, of any shape.
      index: integer ``i`` in ``[0, m)``, shape ``[]``; the gradient is zero if it lies
        outside.

    Returns:
      The gradient, shape ``[x.size]``.

    Raises:
      ValueError: if the outputs are not ``[m]`` or `index` is not a scalar.
      TypeError: if `x` or the outputs are not floating-point or `index` no integer.

    Example:
      >>> f = lambda x: jnp.stack([x[0] * x[1], x[0] ** 2])
      >>> selected_output_gradient(f, jnp.array([3.0, 5.0]), 1).tolist()
      [6.0, 0.0]

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, 4.1.
    """
    index = jnp.asarray(index)
    checks.num_axes("index", index, 0)
    return selected_output_gradients(f, x, index[None])[0]


def selected_output_gradients(
    f: Callable, x: ArrayLike, indices: ArrayLike
) -> jax.Array:
    r"""Computes the gradients of several outputs by the input.

    .. math:: (\nabla_x f^{i_1}(x), \dots, \nabla_x f^{i_s}(x)),

    from one forward pass: such as those of a student for the outputs that
    `top_output_gradients` found with the teacher. This is one example; for a batch use
    ``jax.vmap``.

    Args:
      f: function of one example with outputs ``[m]``; a network in evaluation mode.
      x: one example, of any shape.
      indices: integers in ``[0, m)``, shape ``[s]``; outside there the gradient is
        zero.

    Returns:
      The gradients, shape ``[s, x.size]``.

    Raises:
      ValueError: if the outputs are not ``[m]`` or the indices not ``[s]``.
      TypeError: if `x` or the outputs are not floating-point, or `indices` not
        integers.

    Example:
      >>> f = lambda x: jnp.stack([x[0] * x[1], x[0] ** 2])
      >>> indices = jnp.array([1, 0])
      >>> selected_output_gradients(f, jnp.array([3.0, 5.0]), indices).tolist()
      [[6.0, 0.0], [5.0, 3.0]]

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, 4.1.
    """
    indices = jnp.asarray(indices)
    checks.num_axes("indices", indices, 1)
    checks.integer("indices", indices)
    outputs, pull = pullback(f, x)
    return jax.vmap(pull)(_vectors.one_hot(indices, outputs.size, outputs.dtype))


def largest_output_gradient(f: Callable, x: ArrayLike) -> SelectedGradient:
    r"""Computes the gradient of the largest output by the input.

    .. math:: \nabla_x f^c(x), \quad c = \arg\max_i f^i(x),

    for use without labels: in a good teacher the largest output is that of the right
    class. The largest *value* counts, since a strongly negative logit speaks for a
    wrong class. For the student use `selected_output_gradient` with the teacher's
    index. This is one example; for a batch use ``jax.vmap``.

    Args:
      f: function of one example with outputs ``[m]``; a network in evaluation mode.
      x: one example, of any shape.

    Returns:
      The gradient ``[x.size]`` and the index ``[]``, the first of equal ones.

    Raises:
      ValueError: if the outputs are not ``[m]``.
      TypeError: if `x` or the outputs are not floating-point.

    Example:
      >>> f = lambda x: jnp.stack([x[0] * x[1], x[0] ** 2])
      >>> gradient, index = largest_output_gradient(f, jnp.array([3.0, 5.0]))
      >>> gradient.tolist(), int(index)
      ([5.0, 3.0], 0)

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, 4.1.
    """
    gradients, indices = top_output_gradients(f, x, num_outputs=1)
    return SelectedGradient(gradients[0], indices[0])


def top_output_gradients(
    f: Callable, x: ArrayLike, *, num_outputs: int
) -> SelectedGradient:
    r"""Computes the gradients of the largest outputs by the input.

    Between the one output of `largest_output_gradient` and the whole Jacobian. For the
    student use `selected_output_gradients` with the teacher's indices. This is one
    example; for a batch use ``jax.vmap``.

    Args:
      f: function of one example with outputs ``[m]``; a network in evaluation mode.
      x: one example, of any shape.
      num_outputs: how many outputs; static.

    Returns:
      The gradients ``[num_outputs, x.size]`` and the indices ``[num_outputs]``, the
      largest output first.

    Raises:
      ValueError: if the outputs are not ``[m]`` or `num_outputs` not in ``[1, m]``.
      TypeError: if `x` or the outputs are not floating-point.

    Example:
      >>> f = lambda x: jnp.stack([x[0], 2 * x[0], 3 * x[0]])
      >>> gradients, indices = top_output_gradients(f, jnp.ones(1), num_outputs=2)
      >>> gradients.tolist(), indices.tolist()
      ([[3.0], [2.0]], [2, 1])

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, 4.1.
    """
    checks.positive("num_outputs", num_outputs)
    outputs, pull = pullback(f, x)
    if num_outputs > outputs.size:
        raise ValueError(
            f"num_outputs must be at most {outputs.size}, got {num_outputs}."
        )
    _, indices = jax.lax.top_k(outputs, num_outputs)
    cotangents = _vectors.one_hot(indices, outputs.size, outputs.dtype)
    return SelectedGradient(jax.vmap(pull)(cotangents), indices)


def pullback(f: Callable, x: ArrayLike) -> tuple[jax.Array, Callable]:
    """Returns the outputs of `f` at one example and the way back from them.

    Args:
      f: function of one example with outputs `[m]`.
      x: one example, of any shape.

    Returns:
      Outputs `[m]` and a linear function of `[m]` that returns `[x.size]`.

    Raises:
      ValueError: if the outputs are not `[m]`.
      TypeError: if `x` or the outputs are not floating-point.
    """
    x = jnp.asarray(x)
    checks.floating("x", x)
    outputs, pull = jax.vjp(f, x)
    if getattr(outputs, "ndim", None) != 1:
        raise ValueError(
            "f must take one example and return outputs of shape [m], got "
            f"{jax.tree.map(jnp.shape, outputs)}; for a batch use jax.vmap."
        )
    checks.floating("the outputs of f", outputs)
    return outputs, lambda cotangent: pull(cotangent)[0].ravel()
