"""FitNet: a regressor leads from a map of the student to one of the teacher."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jtransfer.distillation import _maps


class Regressor(NamedTuple):
    """A regressor of FitNet, trained with the student: convolution, normalisation."""

    kernel: jax.Array
    """Weights of the convolution, `[kh, kw, cs, ct]`."""
    scale: jax.Array
    """Factor of each channel after the normalisation, `[ct]`."""
    shift: jax.Array
    """Term of each channel after the normalisation, `[ct]`."""


def fitnet_regressor(
    key: jax.Array,
    *,
    teacher_shape: tuple[int, int, int],
    student_shape: tuple[int, int, int],
    dtype: DTypeLike = float,
) -> Regressor:
    """Draws the regressor from a student's map to a teacher's.

    A student's map twice as large goes through a convolution of 3 x 3 with stride 2,
    one half as large through a transposed convolution of 4 x 4, any other that is not
    smaller through the convolution without padding that leaves the teacher's size.

    Args:
      key: randomness.
      teacher_shape: height, width and channels of the teacher's map.
      student_shape: height, width and channels of the student's map.
      dtype: floating-point type of the parameters; static.

    Returns:
      The parameters: the kernel of variance ``2 / fan-in``, scale one and shift zero.

    Raises:
      ValueError: if the student's map is smaller than the teacher's and not half as
        large.

    Example:
      >>> regressor = fitnet_regressor(
      ...     jax.random.key(0), teacher_shape=(8, 8, 32), student_shape=(16, 16, 4)
      ... )
      >>> regressor.kernel.shape
      (3, 3, 4, 32)

    References:
      Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, section 2.2.
    """
    size = [_geometry(teacher_shape[axis], student_shape[axis])[0] for axis in (0, 1)]
    shape = (*size, student_shape[2], teacher_shape[2])
    return Regressor(
        kernel=jax.nn.initializers.he_normal()(key, shape, dtype),
        scale=jnp.ones(teacher_shape[2], dtype),
        shift=jnp.zeros(teacher_shape[2], dtype),
    )


@jax.jit
def fitnet_loss(
    regressor: Regressor, teacher: ArrayLike, student: ArrayLike
) -> jax.Array:
    r"""Computes the squared error of a teacher's map regressed on the student's.

    .. math:: \frac{1}{n h w c} \sum_x \|r(Z_S(x)) - Z_T(x)\|_F^2, \quad
              r = \operatorname{ReLU} \circ \operatorname{BN} \circ
              \operatorname{conv}.

    The normalisation is by the statistics of this batch, so there is no state: the
    regressor is of no use after training. Released code trains it together with the
    student, with the weight 100 beside a cross-entropy of weight one; the paper trains
    in two stages.

    Args:
      regressor: the parameters.
      teacher: a map of the teacher, shape ``[n, h, w, ct]``.
      student: a map of the student, shape ``[n, h', w', cs]``.

    Returns:
      The loss, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree with each other or with the regressor.
      TypeError: if a map is not floating-point.

    Example:
      >>> regressor = fitnet_regressor(
      ...     jax.random.key(0), teacher_shape=(4, 4, 3), student_shape=(4, 4, 2)
      ... )
      >>> teacher, student = jnp.full((2, 4, 4, 3), 3.0), jnp.ones((2, 4, 4, 2))
      >>> round(float(fitnet_loss(regressor, teacher, student)), 2)  # r is zero
      9.0

    References:
      Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, Eq. (3).
    """
    teacher, student = _maps.same_stage_maps(teacher, student)
    size, strides, padding, dilation = zip(
        *(_geometry(teacher.shape[axis], student.shape[axis]) for axis in (1, 2)),
        strict=True,
    )
    expected = (*size, student.shape[3], teacher.shape[3])
    if regressor.kernel.shape != expected:
        raise ValueError(
            f"The regressor's kernel must have shape {expected} for these maps, got "
            f"{regressor.kernel.shape}."
        )
    hidden = jax.lax.conv_general_dilated(
        student,
        regressor.kernel,
        window_strides=strides,
        padding=padding,
        lhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    scale, shift = regressor.scale[None, None, None], regressor.shift[None, None, None]
    hidden = jax.nn.relu(_maps.batch_normalized(hidden) * scale + shift)
    return jnp.mean((hidden - teacher) ** 2)


def _geometry(teacher_side, student_side):
    """Returns size, stride, padding and input dilation of the convolution on a side."""
    if student_side == 2 * teacher_side:
        return 3, 2, (1, 1), 1
    if 2 * student_side == teacher_side:
        return 4, 1, (2, 2), 2
    if student_side >= teacher_side:
        return 1 + student_side - teacher_side, 1, (0, 0), 1
    raise ValueError(
        f"A student's map of side {student_side} is too small for one of the teacher "
        f"of side {teacher_side}: it must be half as large, or not smaller."
    )
