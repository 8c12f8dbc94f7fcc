"""Feature maps of two networks: their checks, and one size for both."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.distillation import _vectors


def stages(
    teacher_maps: Sequence[ArrayLike], student_maps: Sequence[ArrayLike]
) -> list[tuple[jax.Array, jax.Array]]:
    """Returns the maps of teacher and student in pairs, after checking that they are.

    Raises:
      ValueError: if there is no stage, the numbers of stages differ, or two maps do
        not hold the same number of examples.
      TypeError: if a map is not floating-point.
    """
    if len(teacher_maps) != len(student_maps) or not teacher_maps:
        raise ValueError(
            "Teacher and student must have one number of stages, at least 1, got "
            f"{len(teacher_maps)} and {len(student_maps)}."
        )
    return [
        same_stage_maps(*maps) for maps in zip(teacher_maps, student_maps, strict=True)
    ]


def same_stage_maps(
    teacher: ArrayLike, student: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """Returns two maps `[n, h, w, c]` of one number of examples, or raises."""
    teacher, student = _vectors.checked_vectors(4, teacher=teacher, student=student)
    checks.same_length(teacher=teacher, student=student)
    return teacher, student


def of_one_size(teacher: jax.Array, student: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the maps, along each axis the larger pooled to the size of the smaller.

    A pixel of the result is the mean of those that it covers at least in part, so the
    windows overlap where the sizes have no whole ratio.
    """
    size = [min(teacher.shape[axis], student.shape[axis]) for axis in (1, 2)]
    return _pooled(teacher, size), _pooled(student, size)


def batch_normalized(maps: jax.Array) -> jax.Array:
    """Returns maps `[n, h, w, c]` whose channels have mean 0 and variance 1 here.

    There is no state: what is trained beside a student is thrown away after it.
    """
    axes = (0, 1, 2)
    maps = maps - jnp.mean(maps, axis=axes, keepdims=True)
    return maps * jax.lax.rsqrt(jnp.mean(maps**2, axis=axes, keepdims=True) + 1e-5)


def _pooled(maps, size):
    for axis, new in zip((1, 2), size, strict=True):
        if maps.shape[axis] != new:
            windows = jnp.asarray(_windows(maps.shape[axis], new), maps.dtype)
            moved = jnp.tensordot(
                maps, windows, axes=(axis, 1), precision=jax.lax.Precision.HIGHEST
            )
            maps = jnp.moveaxis(moved, -1, axis)
    return maps


def _windows(old, new):
    """Returns the weights `[new, old]` of the means; each row sums to one."""
    pixels, edges = np.arange(old)[None], np.arange(new + 1) * old / new
    covered = (pixels >= np.floor(edges[:-1, None])) & (
        pixels < np.ceil(edges[1:, None])
    )
    return covered / covered.sum(axis=1, keepdims=True)
