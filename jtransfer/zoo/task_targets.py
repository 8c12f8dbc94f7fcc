"""Targets of `jtransfer tasks`: classes, numbers and label images as levels."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer._internal.errors import DataError, RequestError
from jtransfer._internal.files import printable_name
from jtransfer.data import npz_arrays, npz_headers
from jtransfer.scores import clustering, dense_targets
from jtransfer.zoo._targets import checked_groups

TASK_ARRAYS = {
    "labels": "classes",
    "values": "numbers",
    "label_maps": "classes by pixel",
    "label_images": "images",
}
"""Arrays of which a target's file holds one, and what it then is."""
MAX_LEVELS = 1024


class TaskTarget(NamedTuple):
    """One task: a level for each example and pixel."""

    name: str
    what: str
    """What it was before: one of `KINDS`."""
    levels: np.ndarray
    """int32, `[n, h, w]`, of one pixel unless it is dense; -1 where there is none."""
    num_levels: int
    groups: np.ndarray | None = None
    """Which examples belong together, `[n]`, as those of `zoo.Target`."""


def task_target(path: Path, *, num_levels: int, side: int, seed: int) -> TaskTarget:
    """Reads a target and quantises it.

    Args:
      path: an `.npz` file with one of: `labels [n]`, integers; `values [n]` or
        `[n, t]`, numbers; `label_maps [n, h, w]`, integers; `label_images
        [n, h, w, c]`, uint8 or floating-point; and optionally `groups [n]`, numbers
        or texts that examples which belong together have in common.
      num_levels: levels of numbers (quantiles; clusters of vectors) and of images (a
        palette). Integers are classes as they are; a negative one is no label.
      side: pixels to an edge, at most; one pixel of each block is kept.
      seed: of the clusters.

    Returns:
      The target.

    Raises:
      RequestError: if the file cannot be read or its content cannot be used.
    """
    try:
        held = [name for name in TASK_ARRAYS if name in npz_headers(path)]
        if len(held) != 1:
            raise DataError(
                f"it must hold one of {', '.join(TASK_ARRAYS)}, not {held}."
            )
        arrays = npz_arrays(path, required=held, optional=["groups"])
        array, groups = arrays[held[0]], arrays.get("groups")
        if groups is not None:
            groups = checked_groups(groups, len(array))
        levels = _LEVELS[held[0]](array, num_levels, side, jax.random.key(seed))
    except (DataError, ValueError, TypeError) as error:
        raise RequestError(f"{path}: {error}") from error
    levels = np.asarray(levels).reshape(len(levels), *np.shape(levels)[1:3] or (1, 1))
    count = int(levels.max()) + 1
    if count < 2 or count > MAX_LEVELS:
        raise RequestError(
            f"{path}: it has {count} levels; 2 to {MAX_LEVELS} can be used."
        )
    name, what = printable_name(path.stem), TASK_ARRAYS[held[0]]
    return TaskTarget(name, what, levels.astype(np.int32), count, groups)


def _classes(array):
    """Numbers the classes that occur from 0 on."""
    if not np.issubdtype(array.dtype, np.integer) or not array.size:
        raise DataError(f"classes must be integers, got {array.dtype}.")
    levels = np.full(array.shape, -1)
    levels[array >= 0] = np.unique(array[array >= 0], return_inverse=True)[1]
    return levels


def _labels(array, *_):
    if array.ndim != 1:
        raise DataError(f"labels must be [n], got shape {list(array.shape)}.")
    return _classes(array)


def _label_maps(array, num_levels, side, key):
    if array.ndim != 3:
        raise DataError(f"label_maps must be [n, h, w], got {list(array.shape)}.")
    # Numbered first, for those of 64 bits lose half of theirs when thinned.
    return _classes(_thinned(_classes(array), side))


def _values(array, num_levels, side, key):
    values = jnp.asarray(_finite(array))
    if values.ndim == 1:
        levels = dense_targets.quantile_levels(values, num_levels=num_levels)
    else:
        levels = clustering.k_means_labels(values, key, num_clusters=num_levels)
    return _classes(np.asarray(levels))


def _label_images(array, num_levels, side, key):
    scale = 255 if array.dtype == np.uint8 else 1
    if array.ndim != 4:
        raise DataError(f"label_images must be [n, h, w, c], got {list(array.shape)}.")
    images = jnp.asarray(_finite(_thinned(array, side)) / scale)
    colors = dense_targets.palette(images, key, num_levels=num_levels)
    return _classes(np.asarray(dense_targets.palette_levels(images, colors)))


_LEVELS = {
    "labels": _labels,
    "values": _values,
    "label_maps": _label_maps,
    "label_images": _label_images,
}


def _thinned(array: np.ndarray, side: int) -> np.ndarray:
    block = -(-max(array.shape[1:3]) // side)
    return np.asarray(dense_targets.block_middles(array, block=block))


def _finite(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
        raise DataError("it holds NaN or infinite numbers.")
    return array
