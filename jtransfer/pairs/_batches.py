"""Stored images in batches, for functions of one image."""

from collections.abc import Callable

import jax
import numpy as np

from jtransfer._internal.batches import equal_batches

BATCH_SIZE = 64
MIN_EXAMPLES = 10
NUM_PAIRINGS = 5
"""Wrong pairings of examples that tell what chance gives."""
BatchAdvance = Callable[[int], None]
"""Called with the number of examples of each finished batch."""


def no_advance(count: int) -> None:
    """Shows nothing."""


def pixels(images: np.ndarray) -> np.ndarray:
    """Returns stored images as float32 in [0, 1]."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    return images.astype(np.float32)


def pytree(function: Callable) -> Callable:
    """Returns a function as a pytree with its weights as leaves, for jit."""
    is_partial = isinstance(function, jax.tree_util.Partial)
    return function if is_partial else jax.tree_util.Partial(function)


def num_outputs(function: Callable, images: np.ndarray) -> int:
    """Checks that a function takes these images, and returns how many outputs it has.

    Args:
      function: of one image in [0, 1].
      images: shape `[n, ...]`.

    Returns:
      The number of outputs.

    Raises:
      ValueError: if there are fewer than `MIN_EXAMPLES` images, the function does not
        take such images, or its outputs are not of shape `[m]`.
    """
    n = len(images)
    if n < MIN_EXAMPLES:
        raise ValueError(f"A pair takes at least {MIN_EXAMPLES} images, got {n}.")
    outputs = jax.eval_shape(function, pixels(images[:1])[0])
    if getattr(outputs, "ndim", None) != 1:
        raise ValueError(f"A function must return outputs of shape [m], got {outputs}.")
    return outputs.size


def batched_values(
    function: Callable, images: np.ndarray, *, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """Returns the values of a function of one image at each of many images.

    Args:
      function: of one image in [0, 1], with one array as value; a
        `jax.tree_util.Partial` of its weights compiles once for all weights.
      images: uint8, or floats in [0, 1], shape `[n, ...]`, n at least 1.
      batch_size: images at a time.

    Returns:
      The values on the host, shape `[n, ...]`.

    Example:
      >>> images = np.array([0, 51, 255], np.uint8)[:, None]
      >>> print(batched_values(lambda x: 2 * x, images, batch_size=2).ravel())
      [0.  0.4 2. ]
    """
    n, function = len(images), pytree(function)
    return np.concatenate(
        [
            np.asarray(_values(function, pixels(images[indices])))[:valid]
            for indices, valid in equal_batches(n, min(batch_size, n))
        ]
    )


@jax.jit
def _values(function, x):
    return jax.vmap(function)(x)
