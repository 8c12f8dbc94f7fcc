"""Trace-time checks of shapes and dtypes; they cost nothing inside jit."""

import jax
import jax.numpy as jnp


def num_axes(name: str, array: jax.Array, expected: int) -> None:
    """Raises ValueError unless `array` has `expected` axes."""
    if array.ndim != expected:
        raise ValueError(f"{name} must have {expected} axes, got shape {array.shape}.")


def same_length(**arrays: jax.Array) -> None:
    """Raises ValueError unless all arrays agree on their first axis."""
    lengths = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"Arrays must have equal length, got {lengths}.")


def same_shape(**arrays: jax.Array) -> None:
    """Raises ValueError unless all arrays have one shape."""
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"Arrays must have equal shapes, got {shapes}.")


def integer(name: str, array: jax.Array) -> None:
    """Raises TypeError unless `array` holds integers."""
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{name} must hold integers, got {array.dtype}.")


def floating(name: str, array: jax.Array) -> None:
    """Raises TypeError unless `array` holds float32 or float64 numbers.

    Sums of half-precision numbers would lose what the scores are made of.
    """
    if array.dtype not in (jnp.float32, jnp.float64):
        raise TypeError(
            f"{name} must hold float32 or float64 numbers, got {array.dtype}; "
            f"cast with {name}.astype('float32')."
        )


def positive(name: str, value: int) -> None:
    """Raises ValueError unless the static `value` is at least one."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}.")


def labelled(features: jax.Array, labels: jax.Array, num_classes: int) -> None:
    """Raises unless these are features `[n, d]` with integer labels `[n]`."""
    num_axes("features", features, 2)
    floating("features", features)
    num_axes("labels", labels, 1)
    integer("labels", labels)
    same_length(features=features, labels=labels)
    positive("num_classes", num_classes)
    if features.shape[1] < 1:
        raise ValueError(f"features must have columns, got shape {features.shape}.")


def class_labels(labels: jax.Array, num_classes: int) -> jax.Array:
    """Returns labels as int32, -1 where they lie outside `[0, num_classes)`.

    Labels of 8 bits wrap as soon as one computes with them, those of 64 when cast.
    """
    if labels.dtype.itemsize < 4:
        labels = labels.astype(jnp.int32)
    valid = (labels >= 0) & (labels < num_classes)
    return jnp.where(valid, jnp.where(valid, labels, 0).astype(jnp.int32), -1)
