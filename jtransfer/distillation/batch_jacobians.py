"""Derivatives by the inputs, of a whole batch of independent examples at once.

`f` maps a batch ``[n, ...]`` to outputs ``[n, k]``, each example for itself: a network
in evaluation mode. The gradient of a sum over the batch then holds the gradients of its
examples, from one backward pass and without a batch axis that is mapped over.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.distillation import attention, jacobians


def selected_jacobians(
    f: Callable, x: ArrayLike, indices: ArrayLike, *, chunk_size: int
) -> tuple[jax.Array, jax.Array]:
    """Computes the outputs and the gradients of selected outputs by the inputs.

    Args:
      f: see the module.
      x: examples, shape ``[n, ...]``.
      indices: integers in ``[0, k)``, shape ``[n, s]``; outside the gradient is zero.
      chunk_size: backward passes that run side by side, the others one after another.

    Returns:
      The outputs ``[n, k]`` and the gradients ``[n, s, p]``.

    Example:
      >>> squares = lambda x: jnp.stack([x[:, 0] ** 2, x[:, 0] * x[:, 1]], axis=1)
      >>> x, indices = jnp.array([[3.0, 5.0]]), jnp.array([[1]])
      >>> selected_jacobians(squares, x, indices, chunk_size=1)[1].tolist()
      [[[5.0, 3.0]]]
    """
    outputs, pull = jax.vjp(f, x)
    rows, before = [], None
    for hot in _one_hot_chunks(indices, outputs, chunk_size):
        rows.append(_rows(pull, _after(before, hot)))
        before = rows[-1]
    return outputs, jnp.concatenate(rows, axis=1)


def jacobian_error(
    f: Callable,
    x: ArrayLike,
    indices: ArrayLike,
    teacher_jacobians: ArrayLike,
    *,
    chunk_size: int,
) -> jax.Array:
    r"""Computes `distillation.match_jacobians` for selected outputs of a student.

    .. math:: \frac1n \sum_x \sum_{j=1}^s \|g_j(x) - \nabla_x S^{i_j}(x)\|_2^2

    Its derivative by what `f` closes over takes memory for one chunk of gradients and
    not for all `s`: being a sum, it is added up chunk by chunk beside the value. With
    more than one chunk there is no second derivative.

    Args:
      f: see the module.
      x: examples, shape ``[n, ...]``.
      indices: the selected outputs, shape ``[n, s]``.
      teacher_jacobians: ``g``, shape ``[n, s, p]``.
      chunk_size: backward passes that run side by side.

    Returns:
      The loss, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree.

    Example:
      >>> x, indices = jnp.ones((2, 3)), jnp.array([[0, 2], [1, 0]])
      >>> teacher = jnp.zeros((2, 2, 3))
      >>> float(jacobian_error(lambda x: 2 * x, x, indices, teacher, chunk_size=1))
      8.0
    """
    indices, teacher = jnp.asarray(indices), jnp.asarray(teacher_jacobians)
    if indices.shape != teacher.shape[:2]:
        raise ValueError(
            f"teacher_jacobians {teacher.shape} must have a row for each of the "
            f"indices {indices.shape}."
        )
    outputs, pull = jax.vjp(f, x)

    def error(pull, hot, teacher):
        return jacobians.match_jacobians(teacher, _rows(pull, hot))

    chunks = _one_hot_chunks(indices, outputs, chunk_size)
    if len(chunks) == 1:
        return error(pull, chunks[0], teacher)
    leaves, rebuilt = _floating_leaves(pull)
    constants = jax.lax.stop_gradient(leaves)
    differentiated = jax.value_and_grad(
        lambda leaves, *arrays: error(rebuilt(leaves), *arrays)
    )
    total, gradient, start = 0, None, 0
    for hot in chunks:
        rows = teacher[:, start : start + hot.shape[1]]
        start += hot.shape[1]
        value, part = differentiated(constants, _after(gradient, hot), rows)
        total += value
        gradient = part if gradient is None else jax.tree.map(jnp.add, gradient, part)
    return _with_gradient(total, leaves, gradient)


@jax.custom_vjp
def _with_gradient(value, at, gradient):
    """Returns the value; its derivative by `at` is known to be `gradient`."""
    del at, gradient
    return value


_with_gradient.defvjp(
    lambda value, at, gradient: (value, gradient),
    lambda gradient, cotangent: (
        None,
        jax.tree.map(lambda leaf: cotangent * leaf, gradient),
        None,
    ),
)


def _floating_leaves(tree):
    """Returns the leaves that are floating-point, and the way back to the tree."""
    leaves, structure = jax.tree.flatten(tree)
    places = [
        i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]

    def rebuilt(floating):
        changed = dict(zip(places, floating, strict=True))
        return structure.unflatten(changed.get(i, old) for i, old in enumerate(leaves))

    return [leaves[i] for i in places], rebuilt


def _one_hot_chunks(indices, outputs, chunk_size) -> list[jax.Array]:
    """Cotangents `[n, c, k]` of the selected outputs, `chunk_size` at most in one.

    The chunks are spelt out in a Python loop: within a compiled loop convolutions are
    twenty times slower on a CPU.
    """
    checks.positive("chunk_size", chunk_size)
    hot = jax.nn.one_hot(jnp.asarray(indices), outputs.shape[1], dtype=outputs.dtype)
    return [hot[:, i : i + chunk_size] for i in range(0, hot.shape[1], chunk_size)]


def _after(results, hot):
    """Returns `hot`, which exists only when `results` do.

    Otherwise a compiler would run all chunks at once and keep all their memory. (It
    removes barriers, but does not know that zero times a number is zero.)
    """
    firsts = [leaf.ravel()[0] for leaf in jax.tree.leaves(results)]
    return hot + 0 * sum(firsts).astype(hot.dtype) if firsts else hot


def _rows(pull, hot):
    """Gradients `[n, c, p]` of the outputs that `hot` `[n, c, k]` selects."""
    n, count, _ = hot.shape
    if count == 1:
        return pull(hot[:, 0])[0].reshape(n, 1, -1)
    (rows,) = jax.vmap(pull, in_axes=1, out_axes=1)(hot)
    return rows.reshape(n, count, -1)


def peak_gradients(
    features_fn: Callable, x: ArrayLike, *, window: int, indices: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Computes `distillation.attention_peak_gradient` of a whole batch.

    Args:
      features_fn: maps a batch to feature maps ``[n, h, w, c]``, each example for
        itself.
      x: examples, shape ``[n, ...]``.
      window: side of the windows of `distillation.pooled_attention_map`.
      indices: places in the flattened pooled maps, shape ``[n]``; None takes the
        largest of each.

    Returns:
      The feature maps ``[n, h, w, c]``, the gradients ``[n, p]`` and the places
      ``[n]``.

    Example:
      >>> x = jnp.array([[[1.0, 3.0], [2.0, 0.0]]])
      >>> _, gradients, places = peak_gradients(
      ...     lambda x: x[..., None], x, window=1, indices=None
      ... )
      >>> gradients.tolist(), places.tolist()
      ([[0.0, 6.0, 0.0, 0.0]], [1])
    """

    def pooled(x):
        features = features_fn(x)
        maps = jax.vmap(
            lambda z: attention.pooled_attention_map(z, window=window).ravel()
        )
        return maps(features), features

    values, pull, features = jax.vjp(pooled, x, has_aux=True)
    indices = jnp.argmax(values, axis=1) if indices is None else jnp.asarray(indices)
    hot = jax.nn.one_hot(indices, values.shape[1], dtype=values.dtype)
    (gradients,) = pull(hot)
    return features, gradients.reshape(len(gradients), -1), indices
