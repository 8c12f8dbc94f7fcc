"""Normalisation and augmentation of image batches, on the device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jtransfer._internal.errors import DataError


class ChannelStatistics(NamedTuple):
    """Mean and standard deviation of each channel, of pixels scaled to [0, 1].

    Attributes:
      mean: float32, shape ``[c]``.
      std: float32, shape ``[c]``.
    """

    mean: np.ndarray
    std: np.ndarray


def channel_statistics(images: np.ndarray) -> ChannelStatistics:
    """Computes the statistics that `normalized` takes, from the training images.

    Sums are exact integers on the host, so the result depends neither on the order
    of the images nor on the dtype of the caller.

    Args:
      images: uint8, shape ``[n, h, w, c]``.

    Returns:
      Mean and standard deviation over images and pixels.

    Raises:
      TypeError: if the images are not uint8.
      ValueError: if the rank is not 4 or there is no pixel.

    Example:
      >>> images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
      >>> channel_statistics(images)
      ChannelStatistics(mean=array([0.5], dtype=float32), std=array([0.5], \
dtype=float32))
    """
    images = np.asarray(images)
    _check_images(images)
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}.")
    if images.size == 0:
        raise DataError(f"images of shape {list(images.shape)} hold no pixel.")
    total, squares = 0, 0
    for block in np.array_split(images, len(images) // 1024 + 1):
        wide = block.astype(np.uint32)
        total = total + wide.sum(axis=(0, 1, 2), dtype=np.uint64)
        squares = squares + (wide * wide).sum(axis=(0, 1, 2), dtype=np.uint64)
    count = images.size // images.shape[-1]
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0)
    return ChannelStatistics(
        (mean / 255).astype(np.float32), (np.sqrt(variance) / 255).astype(np.float32)
    )


@jax.jit
def normalized(images: ArrayLike, *, mean: ArrayLike, std: ArrayLike) -> jax.Array:
    r"""Scales images to [0, 1], subtracts the mean and divides by the deviation.

    .. math:: \hat x = (x / 255 - \mu_c) / \sigma_c

    A channel with :math:`\sigma_c = 0` is only centred.

    Args:
      images: uint8, shape ``[n, h, w, c]``.
      mean: of each channel in [0, 1], shape ``[c]``; see `channel_statistics`.
      std: of each channel, shape ``[c]``.

    Returns:
      Images in the dtype of `mean`, shape ``[n, h, w, c]``.

    Raises:
      TypeError: if the images are not uint8 (scaled twice, they would all be grey).
      ValueError: if the ranks or the numbers of channels disagree.

    Example:
      >>> images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
      >>> normalized(images, mean=np.array([0.5]), std=np.array([0.5])).ravel().round(3)
      Array([-1.,  1.], dtype=float32)
    """
    images, mean, std = jnp.asarray(images), jnp.asarray(mean), jnp.asarray(std)
    _check_images(images)
    if images.dtype != jnp.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}.")
    for name, array in (("mean", mean), ("std", std)):
        if array.shape != images.shape[-1:]:
            raise ValueError(
                f"{name} must have shape {list(images.shape[-1:])}, one value a "
                f"channel, got {list(array.shape)}."
            )
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"{name} must be floating-point, got {array.dtype}.")
    scale = jnp.where(std > 0, std, 1).astype(mean.dtype)
    centred = images.astype(mean.dtype) / 255 - mean[None, None, None, :]
    return centred / scale[None, None, None, :]


@jax.jit(static_argnames=("padding",))
def augmented(key: jax.Array, images: ArrayLike, *, padding: int = 4) -> jax.Array:
    """Shifts every image at random and mirrors every second one.

    The recipe of the CIFAR experiments: pad each side with zeros, cut out a window
    of the original size at a random place, mirror left and right with probability
    1/2. Zeros are black before `normalized` and the mean colour after it; either
    order is in use, and the dtype is kept.

    Args:
      key: a random key; fold the step into it to resume at any step.
      images: a batch of any dtype, shape ``[n, h, w, c]``.
      padding: pixels added to each side, and the largest shift; static.

    Returns:
      The new images, shape and dtype of `images`.

    Raises:
      ValueError: if the rank is not 4 or `padding` is negative.

    Example:
      >>> images = jnp.ones((2, 8, 8, 3), jnp.uint8)
      >>> key = jax.random.fold_in(jax.random.key(0), 17)
      >>> augmented(key, images, padding=2).shape
      (2, 8, 8, 3)

    References:
      He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, 4.2.
    """
    images = jnp.asarray(images)
    _check_images(images)
    if padding < 0:
        raise ValueError(f"padding must not be negative, got {padding}.")
    n, height, width, _ = images.shape
    shift_key, mirror_key = jax.random.split(key)
    shifts = jax.random.randint(shift_key, (n, 2), 0, 2 * padding + 1)
    mirrored = jax.random.bernoulli(mirror_key, 0.5, (n, 1))

    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(images, sides)
    # One gather does shift and mirror: row and column of each pixel in its source.
    column = jnp.arange(width)[None, :]
    columns = jnp.where(mirrored, width - 1 - column, column) + shifts[:, 1:]
    rows = jnp.arange(height)[None, :] + shifts[:, :1]
    example = jnp.arange(n)[:, None, None]
    return padded[example, rows[:, :, None], columns[:, None, :]]


def _check_images(images) -> None:
    if images.ndim != 4:
        raise ValueError(
            f"images must have shape [n, h, w, c], got {list(images.shape)}."
        )
