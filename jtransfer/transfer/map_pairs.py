"""Feature maps of two architectures that have one size."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jtransfer import networks
from jtransfer.networks import Architecture


class SharedMap(NamedTuple):
    """Two layers whose feature maps have the same size."""

    teacher_layer: int
    student_layer: int
    size: int


def shared_maps(teacher: Architecture, student: Architecture) -> list[SharedMap]:
    """Returns the pairs of feature maps of teacher and student that have one size.

    Args:
      teacher: with the size of the images.
      student: any architecture.

    Returns:
      Places in their `feature_maps`: large maps first, and of one size the deepest,
      the end of a block.

    Example:
      >>> teacher = Architecture(model="resnet18", num_classes=10, base_width=1)
      >>> student = Architecture(model="vgg4", num_classes=5, base_width=1)
      >>> shared_maps(teacher, student)[0]
      SharedMap(teacher_layer=1, student_layer=0, size=16)
    """
    sizes, others = (_map_sizes(a, teacher.image_size) for a in (teacher, student))
    pairs = [
        SharedMap(i, j, size)
        for i, size in enumerate(sizes)
        for j, other in enumerate(others)
        if size == other
    ]
    return sorted(pairs, key=_depth, reverse=True)


def _depth(pair: SharedMap) -> tuple[int, int, int]:
    return pair.size, pair.teacher_layer, pair.student_layer


def _map_sizes(architecture: Architecture, side: int) -> list[int]:
    """Side of each feature map for images of a side; none where there are no maps."""
    apply_fn, variables, flat = networks.abstract(architecture)
    if flat:
        return []
    x = jax.ShapeDtypeStruct((1, side, side, architecture.num_channels), jnp.float32)
    maps = jax.eval_shape(apply_fn, variables, x)[1]["feature_maps"]
    return [feature_map.shape[1] for feature_map in maps]
