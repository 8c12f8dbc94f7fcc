"""Variational information distillation: the teacher's maps, predicted with a spread."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jtransfer._internal import checks
from jtransfer.distillation import _maps

_LEAST_VARIANCE = 1e-5
_FIRST_VARIANCE = 5.0


class Predictor(NamedTuple):
    """A normal density of the teacher's map at one stage, trained with the student."""

    kernels: tuple[jax.Array, jax.Array, jax.Array]
    """Weights of the mean's three layers: `[cs, ct]`, `[ct, ct]` and `[ct, ct]`."""
    spread: jax.Array
    """Softplus of it, plus a little, is the variance of each channel, `[ct]`."""


def vid_predictors(
    key: jax.Array,
    *,
    teacher_channels: Sequence[int],
    student_channels: Sequence[int],
    dtype: DTypeLike = float,
) -> tuple[Predictor, ...]:
    """Draws the densities of the teacher's maps, one a stage.

    Args:
      key: randomness.
      teacher_channels: numbers of channels of the teacher's maps.
      student_channels: numbers of channels of the student's maps, as many.
      dtype: floating-point type of the parameters; static.

    Returns:
      The parameters: kernels of variance ``2 / fan-in``, all variances 5.

    Raises:
      ValueError: if the numbers of stages differ or are zero.

    Example:
      >>> predictors = vid_predictors(
      ...     jax.random.key(0), teacher_channels=(4, 8), student_channels=(2, 2)
      ... )
      >>> [predictor.kernels[0].shape for predictor in predictors]
      [(2, 4), (2, 8)]

    References:
      Ahn et al., "Variational Information Distillation for Knowledge Transfer", 2019,
      section 2.2.
    """
    if len(teacher_channels) != len(student_channels):
        raise ValueError(
            "Teacher and student must have one number of stages, got "
            f"{len(teacher_channels)} and {len(student_channels)}."
        )
    checks.positive("the number of stages", len(teacher_channels))
    keys = jax.random.split(key, len(teacher_channels))
    channels = zip(keys, student_channels, teacher_channels, strict=True)
    return tuple(_predictor(*stage, dtype) for stage in channels)


@jax.jit
def vid_loss(
    predictors: Sequence[Predictor],
    teacher_maps: Sequence[ArrayLike],
    student_maps: Sequence[ArrayLike],
) -> jax.Array:
    r"""Computes the negative log-likelihood of the teacher's maps, given the student's.

    .. math:: \sum_j \frac12 \operatorname{mean}\Bigl[
              \frac{(Z_T^{(j)} - \mu_j(Z_S^{(j)}))^2}{v_j} + \log v_j \Bigr],

    the mean over examples, pixels and channels, the variance :math:`v_j` one a channel
    and never below 1e-5, :math:`\mu_j` three layers of 1 x 1 convolutions without bias.
    Minus this bounds the information that the two share from below, up to a constant.
    Of maps of two sizes the larger is averaged to the smaller.

    Args:
      predictors: the parameters, one a stage.
      teacher_maps: feature maps of the teacher, one a stage, shapes ``[n, h, w, ct]``.
      student_maps: feature maps of the student, shapes ``[n, h', w', cs]``.

    Returns:
      The loss, shape ``[]``; its weight is 1 in much code. It may be negative.

    Raises:
      ValueError: if the shapes do not agree or there is no stage or example.
      TypeError: if a map is not floating-point.

    Example:
      >>> predictors = vid_predictors(
      ...     jax.random.key(0), teacher_channels=(3,), student_channels=(2,)
      ... )
      >>> teacher, student = jnp.ones((2, 4, 4, 3)), jnp.zeros((2, 4, 4, 2))
      >>> round(float(vid_loss(predictors, [teacher], [student])), 4)
      0.9047

    References:
      Ahn et al., "Variational Information Distillation for Knowledge Transfer", 2019,
      Eqs. (4) to (6), with means for sums as in released code.
    """
    pairs = _maps.stages(teacher_maps, student_maps)
    if len(predictors) != len(pairs):
        raise ValueError(f"There are {len(pairs)} stages, not {len(predictors)}.")
    return sum(map(_stage_loss, predictors, pairs))


def _predictor(key, student_channels, teacher_channels, dtype):
    he_normal = jax.nn.initializers.he_normal()
    keys = jax.random.split(key, 3)
    inputs = (student_channels, teacher_channels, teacher_channels)
    start = math.log(math.expm1(_FIRST_VARIANCE - _LEAST_VARIANCE))
    return Predictor(
        kernels=tuple(
            he_normal(key, (channels, teacher_channels), dtype)
            for key, channels in zip(keys, inputs, strict=True)
        ),
        spread=jnp.full(teacher_channels, start, dtype),
    )


def _stage_loss(predictor, maps):
    teacher, student = maps
    first, second, third = predictor.kernels
    expected = (student.shape[3], teacher.shape[3])
    if first.shape != expected:
        raise ValueError(
            f"A predictor for these maps leads from and to {expected} channels, this "
            f"one {first.shape}."
        )
    teacher, student = _maps.of_one_size(teacher, student)
    mean = jax.nn.relu(jax.nn.relu(student @ first) @ second) @ third
    variance = jax.nn.softplus(predictor.spread) + _LEAST_VARIANCE
    squares = (mean - teacher) ** 2
    return 0.5 * (
        jnp.mean(jnp.mean(squares, axis=(0, 1, 2)) / variance)
        + jnp.mean(jnp.log(variance))
    )
