"""Batches of numbers: their checks, and lengths with gradients at zero."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks, linalg


def checked_vectors(num_axes: int, **arrays: ArrayLike) -> list[jax.Array]:
    """Returns the arrays as batches of `num_axes` axes.

    Args:
      num_axes: number of axes, that of the examples included.
      **arrays: what the messages name each array.

    Returns:
      The arrays in order.

    Raises:
      ValueError: if an array has another number of axes or no example.
      TypeError: if an array is not floating-point.
    """
    arrays = {name: jnp.asarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        checks.num_axes(name, array, num_axes)
        checks.floating(name, array)
        if array.shape[0] < 1:
            raise ValueError(f"{name} must hold examples, got shape {array.shape}.")
    return list(arrays.values())


def matched(num_axes: int, **arrays: ArrayLike) -> list[jax.Array]:
    """Returns the arrays as batches of one shape; see `checked_vectors`."""
    checked = checked_vectors(num_axes, **arrays)
    checks.same_shape(**dict(zip(arrays, checked, strict=True)))
    return checked


def checked_labelled(logits: ArrayLike, labels: ArrayLike) -> list[jax.Array]:
    """Returns logits `[n, k]` and integer labels `[n]` after checking that they are."""
    (logits,) = checked_vectors(2, logits=logits)
    labels = jnp.asarray(labels)
    checks.integer("labels", labels)
    checks.num_axes("labels", labels, 1)
    checks.same_length(logits=logits, labels=labels)
    return [logits, labels]


def one_hot(labels: jax.Array, num_classes: int, dtype) -> jax.Array:
    """Returns a new last axis with a 1 at the label, zeros if it is out of range."""
    labels = checks.class_labels(labels, num_classes)
    return jax.nn.one_hot(labels, num_classes, dtype=dtype)


def tempered(logits: jax.Array, temperature: ArrayLike) -> jax.Array:
    """Divides logits `[n, k]` by a temperature, moved so that the largest is 0.

    The softmax does not see the shift. Its own comes too late: a compiler may fuse the
    division into it, and the largest of huge logits is then rounded away from 0.
    """
    peak = jax.lax.stop_gradient(jnp.max(logits, axis=1, keepdims=True))
    return (logits - peak) / temperature


def divergences(teacher: jax.Array, student: jax.Array) -> jax.Array:
    """Returns the KL divergences `[n]` of the student's from the teacher's rows.

    Args:
      teacher: logarithms of the teacher's probabilities, `[n, k]`; minus infinity is a
        class without probability, which adds nothing.
      student: those of the student, `[n, k]`.
    """
    import optax

    masked = jnp.isneginf(teacher)
    teacher, student = (jnp.where(masked, 0, x) for x in (teacher, student))
    return optax.losses.kl_divergence_with_log_targets(student, teacher)


def unit_directions(vectors: jax.Array) -> jax.Array:
    """Scales vectors `[..., p]` to length one; the zero vector stays, gradient 0."""
    return linalg.unit(vectors, resolution=linalg.shortest(vectors.dtype))


def norms(vectors: jax.Array, *, resolution: float = 0.0) -> jax.Array:
    """Returns the lengths `[...]` of vectors `[..., p]`, with gradient 0 at zero.

    Args:
      vectors: the vectors.
      resolution: a vector none of whose entries is larger counts as zero.
    """
    resolution = max(resolution, linalg.shortest(vectors.dtype))
    return linalg.lengths(vectors, resolution=resolution)
