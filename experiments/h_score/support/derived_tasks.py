"""Tasks on common inputs, derived from photographs: what Taskonomy does for rooms.

The input of every task is a grey image, blurred to one of four degrees, with noise. The
answers are made of the photograph as it was: where its edges and corners are, what
colour it has, how bright it is without the noise, how much it was blurred, and what its
data set says it shows.
"""

from typing import NamedTuple

import jax
import numpy as np
from scipy import ndimage

from jtransfer import data
from jtransfer.scores import dense_targets

BLURS = (0.0, 0.7, 1.4, 2.1)
"""Standard deviations of the Gaussians, in pixels."""
NOISE = 0.1
"""Standard deviation, black being 0 and white 1."""
PIXEL_TASKS = ("edges", "corners", "colour", "denoising")
CLASS_TASKS = {"blur": len(BLURS), "object": 10, "scene": 15}
"""Tasks with one label an image, and how many labels there are."""
TASKS = (*PIXEL_TASKS, *CLASS_TASKS)
DEPTH = "denoising"
"""The task that stands in for depth: one brightness a pixel."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Pool(NamedTuple):
    """Images with the answers of all tasks."""

    inputs: np.ndarray
    """Grey, blurred and noisy, in about [0, 1], `[n, h, w, 1]`."""
    maps: dict[str, np.ndarray]
    """Answers of the pixel tasks before quantisation, `[n, h', w', channels]`."""
    labels: dict[str, np.ndarray]
    """Of the class tasks, `[n]`, -1 where a data set has none."""


def grey(images: np.ndarray) -> np.ndarray:
    """Luma in [0, 1] of bytes `[n, h, w, 3]`."""
    return images.astype(np.float32) / 255 @ LUMA


def edge_map(images: np.ndarray) -> np.ndarray:
    """Length of the gradient of grey images `[n, h, w]` by Sobel's filter.

    A vertical or horizontal step of height 1 has length 1/2 on both of its sides.
    """
    return np.hypot(*_gradient(images))


def corner_map(images: np.ndarray, *, window: float = 1.0) -> np.ndarray:
    """Least length of the gradient in any direction, about each pixel `[n, h, w]`.

    The root of the smaller eigenvalue of the structure tensor under a Gaussian window,
    after Shi and Tomasi: 0 along a straight edge, high where edges meet.
    """
    dy, dx = _gradient(images)
    yy, xx, xy = (blurred(product, window) for product in (dy * dy, dx * dx, dy * dx))
    middle, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    return np.sqrt(np.maximum(middle - apart, 0))


def colour_map(images: np.ndarray) -> np.ndarray:
    """Red less green and yellow less blue of bytes `[n, h, w, 3]`; grey is 0, 0."""
    red, green, blue = np.moveaxis(images.astype(np.float32) / 255, -1, 0)
    return np.stack([red - green, (red + green) / 2 - blue], axis=-1)


def blurred(images: np.ndarray, deviation: float) -> np.ndarray:
    """Each of `[n, h, w]` under a Gaussian; the border pixels go on outside."""
    sigma = (0, deviation, deviation)
    return ndimage.gaussian_filter(images, sigma, mode="nearest")


def corrupted(images: np.ndarray, levels: np.ndarray, rng) -> np.ndarray:
    """Grey images `[n, h, w]`, each blurred to its level, with noise."""
    blurry = np.empty_like(images)
    for level, deviation in enumerate(BLURS):
        blurry[levels == level] = blurred(images[levels == level], deviation)
    return blurry + NOISE * rng.standard_normal(images.shape, np.float32)


def pool(objects: data.Images, scenes: data.Images, *, block: int, seed: int) -> Pool:
    """One pool of two data sets; maps keep the middle of each block of pixels."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(objects.labels) + len(scenes.labels))
    clean = np.concatenate([grey(objects.images), grey(scenes.images)])[order]
    levels = rng.integers(len(BLURS), size=len(order)).astype(np.int32)
    colour = np.concatenate([colour_map(part.images) for part in (objects, scenes)])
    none = [np.full_like(part.labels, -1) for part in (scenes, objects)]
    maps = {
        "edges": edge_map(clean)[..., None],
        "corners": corner_map(clean)[..., None],
        "colour": colour[order],
        "denoising": clean[..., None],
    }
    labels = {
        "blur": levels,
        "object": np.concatenate([objects.labels, none[0]])[order],
        "scene": np.concatenate([none[1], scenes.labels])[order],
    }
    maps = {
        task: np.asarray(dense_targets.block_middles(answer, block=block))
        for task, answer in maps.items()
    }
    return Pool(corrupted(clean, levels, rng)[..., None], maps, labels)


def palettes(of: Pool, *, num_levels: int, seed: int) -> dict[str, np.ndarray]:
    """Colours of each pixel task by k-means, `[levels, channels]`."""
    key = jax.random.key(seed)
    return {
        task: np.asarray(dense_targets.palette(answer, key, num_levels=num_levels))
        for task, answer in of.maps.items()
    }


def answers(of: Pool, colours: dict[str, np.ndarray], task: str):
    """Which images of a pool a task has, booleans, and their labels or label maps."""
    if task in CLASS_TASKS:
        has = of.labels[task] >= 0
        return has, of.labels[task][has]
    # Pictures without colour would tell a network where they come from, no more.
    has = (
        of.labels["object"] >= 0 if task == "colour" else np.ones(len(of.inputs), bool)
    )
    levels = dense_targets.palette_levels(of.maps[task][has], colours[task])
    return has, np.asarray(levels)


def num_answers(task: str, num_levels: int) -> int:
    """The number of labels, or levels a pixel, of a task."""
    return CLASS_TASKS.get(task, num_levels)


def _gradient(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives down and across by Sobel's filter, in brightness a pixel."""

    def along(axis, other):
        slope = ndimage.correlate1d(images, [-0.5, 0, 0.5], axis, mode="nearest")
        return ndimage.correlate1d(slope, [0.25, 0.5, 0.25], other, mode="nearest")

    return along(1, 2), along(2, 1)
