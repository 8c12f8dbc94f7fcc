"""Stored images in batches, for functions of one image."""

from collections.abc import Callable

import jax
import numpy as np

BATCH_SIZE = 64
MIN_EXAMPLES = 10
NUM_PAIRINGS = 5
"""Wrong pairings of examples that tell what chance gives."""


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
