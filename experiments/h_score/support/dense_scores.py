"""H-scores of dense tasks as those of one labelled set, and what chance gives."""

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer import class_moments, empty_moments
from jtransfer.moments import Moments


@jax.jit(static_argnames=("num_levels",))
def dense_moments(
    features: jax.Array, levels: jax.Array, *, num_levels: int
) -> Moments:
    """Moments whose H-score is the mean of the H-scores of all pixels.

    They are those of a data set that holds each image once a pixel, with the class
    `(pixel, level)`. All of its pixels share a covariance, so its H-score is the mean
    over the pixels, and sets of sources can be scored from their joint moments.

    Args:
      features: of the images, `[n, d]`.
      levels: of their pixels, in `[0, num_levels)`, `[n, p]`; a label is one pixel.
      num_levels: number of levels.
    """
    num_pixels = levels.shape[1]
    one = class_moments(features, jnp.zeros(len(features), jnp.int32), num_classes=1)
    centred = features - one.mean[None]

    def of_pixel(levels):
        counts = jax.ops.segment_sum(jnp.ones_like(levels), levels, num_levels)
        return counts, jax.ops.segment_sum(centred, levels, num_levels)

    counts, sums = jax.lax.map(of_pixel, levels.T)
    num_classes = num_pixels * num_levels
    empty = empty_moments(features.shape[1], num_classes=num_classes, dtype=sums.dtype)
    return empty._replace(
        counts=counts.reshape(num_classes),
        mean=one.mean,
        scatter=num_pixels * one.scatter,
        class_sums=sums.reshape(num_classes, -1),
        within=None,
    )


def chance_score(levels: np.ndarray, num_features: int) -> float:
    """Expected mean H-score of features that are independent of the pixels `[n, p]`.

    A share (levels - 1) / (n - 1) of the variance of any feature lies between the
    levels that occur in a pixel.
    """
    occurring = [len(np.unique(pixel)) for pixel in levels.T]
    return num_features * (np.mean(occurring) - 1) / (len(levels) - 1)


def chance_accuracy(levels: np.ndarray, test_levels: np.ndarray) -> float:
    """Accuracy on `[m, p]` of the most frequent level of each pixel of `[n, p]`."""
    modes = np.array([np.bincount(pixel).argmax() for pixel in levels.T])
    return float(np.mean(test_levels == modes))
