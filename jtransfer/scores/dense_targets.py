"""Dense and continuous targets as classes: palettes of colours, quantiles of numbers.

The H-score is one of classes. A label image becomes classes by the nearest of a few
colours, pixel by pixel, for `dense_h_score`; a number by its quantile; a vector by its
cluster, see `jtransfer.scores.clustering.k_means_labels`.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.scores.clustering import k_means_labels


@jax.jit(static_argnames=("num_levels", "num_pixels"))
def palette(
    images: ArrayLike,
    key: jax.Array,
    *,
    num_levels: int = 16,
    num_pixels: int = 20_000,
) -> jax.Array:
    """Finds the colours that stand for those of label images best, by K-means.

    The same key gives the same colours. ``palette(...)[palette_levels(...)]`` rebuilds
    the images from them.

    Args:
      images: floating-point label images, shape ``[n, h, w, c]``.
      key: random key of the pixels drawn and of the clusters.
      num_levels: number ``L`` of colours, 16 in the paper; static.
      num_pixels: pixels on which the colours are found, drawn with replacement where
        there are more; static.

    Returns:
      The colours, from dark to light, shape ``[L, c]``. Where the images have fewer,
      some are repeated, and no pixel has the later ones.

    Raises:
      ValueError: if `images` has not four axes, or a number is below one.
      TypeError: if the images are not floating-point.

    Example:
      >>> images = jnp.array([0.0, 0.1, 0.9, 1.0]).reshape(1, 2, 2, 1)
      >>> colors = palette(images, jax.random.key(0), num_levels=2)
      >>> print(colors.round(2).ravel())
      [0.05 0.95]
      >>> palette_levels(images, colors).tolist()
      [[[0, 0], [1, 1]]]

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, section 5.2 and appendix G.2.
    """
    images = jnp.asarray(images)
    _check_images(images)
    checks.positive("num_pixels", num_pixels)
    pixels = images.reshape(-1, images.shape[-1])
    draw_key, cluster_key = jax.random.split(key)
    if len(pixels) > num_pixels:
        pixels = pixels[jax.random.randint(draw_key, (num_pixels,), 0, len(pixels))]
    clusters = k_means_labels(pixels, cluster_key, num_clusters=num_levels)
    counts = jnp.bincount(clusters, length=num_levels)[:, None].astype(pixels.dtype)
    sums = jax.ops.segment_sum(pixels, clusters, num_levels)
    colors = jnp.where(counts > 0, sums / jnp.maximum(counts, 1), jnp.inf)
    colors = colors[jnp.argsort(colors.mean(axis=1))]
    return jnp.where(jnp.isfinite(colors), colors, colors[:1])


@jax.jit
def palette_levels(images: ArrayLike, colors: ArrayLike) -> jax.Array:
    """Returns the nearest colour of each pixel.

    Args:
      images: floating-point label images, shape ``[n, h, w, c]``.
      colors: a palette, shape ``[L, c]``.

    Returns:
      Its number in ``[0, L)``, the first of equal ones, int32, shape ``[n, h, w]``.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the images are not floating-point.

    Example:
      >>> images = jnp.array([[[[0.2], [0.7]]]])
      >>> palette_levels(images, jnp.array([[0.0], [1.0]])).tolist()
      [[[0, 1]]]
    """
    images, colors = jnp.asarray(images), jnp.asarray(colors)
    _check_images(images)
    checks.num_axes("colors", colors, 2)
    if images.shape[-1] != colors.shape[-1]:
        raise ValueError(
            f"images and colors must have one number of channels, got shapes "
            f"{images.shape} and {colors.shape}."
        )

    def nearest(image):
        squares = jnp.sum((image[:, :, None] - colors[None, None]) ** 2, axis=3)
        return jnp.argmin(squares, axis=2).astype(jnp.int32)

    return jax.lax.map(nearest, images)


@jax.jit(static_argnames=("block",))
def block_middles(maps: ArrayLike, *, block: int) -> jax.Array:
    """Keeps one pixel of each square block: neighbours say much the same.

    Levels have no mean, and so it is the pixel in the middle.

    Args:
      maps: label maps ``[n, h, w]`` or label images ``[n, h, w, c]``.
      block: edge of a block; 1 keeps every pixel; static.

    Returns:
      The pixels, shape ``[n, h // block, w // block, ...]``.

    Raises:
      ValueError: if there are fewer than three axes, or no whole block.

    Example:
      >>> block_middles(jnp.arange(16).reshape(1, 4, 4), block=2).tolist()
      [[[5, 7], [13, 15]]]
    """
    maps = jnp.asarray(maps)
    checks.positive("block", block)
    if maps.ndim < 3 or min(maps.shape[1:3]) < block:
        raise ValueError(
            f"maps must be [n, h, w] with blocks of {block}, got shape {maps.shape}."
        )
    height, width = (side // block * block for side in maps.shape[1:3])
    return maps[:, block // 2 : height : block, block // 2 : width : block]


@jax.jit(static_argnames=("num_levels",))
def quantile_levels(values: ArrayLike, *, num_levels: int) -> jax.Array:
    """Divides numbers into levels of equal size, by their quantiles.

    Equal numbers have one level, so that some levels stay empty where there are many;
    H-scores of a number rise with the levels, and compare at one number of levels.

    Args:
      values: finite floating-point numbers, shape ``[n]``, n at least 1.
      num_levels: number of levels; static.

    Returns:
      The levels in ``[0, num_levels)``, ascending with the values, int32, ``[n]``.

    Raises:
      ValueError: if `values` is not a list with an element, or there is no level.
      TypeError: if the values are not floating-point.

    Example:
      >>> quantile_levels(jnp.array([0.1, 5.0, 0.2, 90.0]), num_levels=2).tolist()
      [0, 1, 0, 1]
    """
    values = jnp.asarray(values)
    checks.num_axes("values", values, 1)
    checks.floating("values", values)
    checks.positive("the number of values", len(values))
    checks.positive("num_levels", num_levels)
    edges = jnp.quantile(values, jnp.arange(1, num_levels) / num_levels)
    return jnp.searchsorted(edges, values, side="right").astype(jnp.int32)


def _check_images(images: jax.Array) -> None:
    checks.num_axes("images", images, 4)
    checks.floating("images", images)
