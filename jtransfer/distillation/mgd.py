"""Matching guided distillation: a student's maps and the teacher's channels for them.

`channel_matching` decides which channel goes with which. Formulas are from released
code where it was at hand; each function says what differs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jtransfer._internal import checks, linalg
from jtransfer.distillation import _maps, _vectors

_FRACTION_DEPTH = 40


class ChannelNorm(NamedTuple):
    """Scale and shift after the normalisation of a student's map, trained with it."""

    scale: jax.Array
    """Factor of each channel, `[cs]`."""
    shift: jax.Array
    """Term of each channel, `[cs]`."""


@jax.jit
def margins(mean: ArrayLike, std: ArrayLike) -> jax.Array:
    r"""Computes the mean of the negative values of a normal variable.

    .. math:: m = E[x \mid x < 0] = \mu - \sigma\, \frac{\varphi(\mu / \sigma)}
              {\Phi(-\mu / \sigma)}, \quad x \sim N(\mu, \sigma^2).

    A teacher's map before the ReLU is about so distributed, with the shift of its batch
    normalisation as mean and the absolute scale as deviation. Released code returns
    ``-3 * std`` where a negative value is less likely than 0.001; this is the exact
    value, which tends to ``-std**2 / mean`` there.

    Args:
      mean: means, shape ``[c]``.
      std: standard deviations, at least 0, shape ``[c]``; where 0, the result is
        ``min(mean, 0)``.

    Returns:
      The margins, shape ``[c]``, at most 0.

    Raises:
      ValueError: if the shapes differ or there is no channel.
      TypeError: if an array is not floating-point.

    Example:
      >>> values = margins(jnp.array([0.0, 40.0, -40.0]), jnp.ones(3))
      >>> [round(value, 4) for value in values.tolist()]
      [-0.7979, -0.025, -40.0]

    References:
      Heo et al., "A Comprehensive Overhaul of Feature Distillation", 2019, the margin
      ReLU.
    """
    mean, std = _vectors.matched(1, mean=mean, std=std)
    least = linalg.shortest(mean.dtype)
    narrow = std <= least * jnp.maximum(jnp.abs(mean), 1)
    ratio = jnp.where(narrow, 0, mean) / jnp.where(narrow, 1, std)
    # Two forms, for where the mean is positive the difference would cancel.
    far = ratio > 3
    near, tail = jnp.where(far, 0, jnp.maximum(ratio, -40)), jnp.where(far, ratio, 3)
    density = jax.scipy.stats.norm.logpdf(near)
    hazard = jnp.exp(density - jax.scipy.special.log_ndtr(-near))
    result = jnp.where(far, -std * _tail_excess(tail), mean - std * hazard)
    return jnp.where(narrow, jnp.minimum(mean, 0), result)


def mgd_norms(
    *, student_channels: Sequence[int], dtype: DTypeLike = float
) -> tuple[ChannelNorm, ...]:
    """Returns the parameters of the student's normalisations, scale one and shift zero.

    Args:
      student_channels: numbers of channels of the student's maps, one a stage.
      dtype: floating-point type of the parameters; static.

    Returns:
      The parameters, one a stage.

    Raises:
      ValueError: if there is no stage.

    Example:
      >>> [norm.scale.shape for norm in mgd_norms(student_channels=(2, 4))]
      [(2,), (4,)]

    References:
      Yue, Deng and Zhou, "Matching Guided Distillation", 2020.
    """
    checks.positive("the number of stages", len(student_channels))
    return tuple(
        ChannelNorm(scale=jnp.ones(c, dtype), shift=jnp.zeros(c, dtype))
        for c in student_channels
    )


@jax.jit
def mgd_loss(
    norms: Sequence[ChannelNorm],
    teacher_maps: Sequence[ArrayLike],
    student_maps: Sequence[ArrayLike],
    assignments: Sequence[ArrayLike],
    teacher_margins: Sequence[ArrayLike],
) -> jax.Array:
    r"""Computes the partial squared error of a student's maps to assigned channels.

    .. math:: \sum_{l=1}^L 2^{l - L} \operatorname{mean}\bigl[(s - t)^2\,
              1[s > t \text{ or } t > 0]\bigr], \quad
              t_i = \operatorname{absmax}_{j:\, a(j) = i} \max(T_j, m_j),

    the mean over examples, pixels and those channels ``i`` of the student that have
    one of the teacher. Maps are those before the ReLU; :math:`s` is the student's after
    batch normalisation by the statistics of this batch, so there is no state; absmax is
    the entry of largest absolute value, of equal ones the first. Of maps of two sizes
    the larger is averaged to the smaller.

    Released code sums over channels and pixels and divides by 1e4, for 224-px images:
    a mean does not depend on the size of the images. It also reduces before it applies
    the mean of the margins, and takes the largest entry, not by absolute value, in the
    copy at hand. Both orders agree for one teacher channel to a student channel.

    Args:
      norms: the parameters, one a stage; see `mgd_norms`.
      teacher_maps: maps of the teacher, one a stage, shapes ``[n, h, w, ct]``.
      student_maps: maps of the student, shapes ``[n, h', w', cs]``.
      assignments: a student channel for each teacher channel, integers ``[ct]`` a
        stage; a teacher channel with one outside ``[0, cs)`` is left out.
      teacher_margins: the margins, ``[ct]`` a stage; see `margins`.

    Returns:
      The loss, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or there is no stage or example.
      TypeError: if the assignments are not integers or the others not floating-point.

    Example:
      >>> norms = mgd_norms(student_channels=(1,))
      >>> teacher = jnp.array([[[[1.0, -3.0]]]])
      >>> assigned, low = [jnp.array([0, 0])], [jnp.array([-1.0, -2.0])]
      >>> float(mgd_loss(norms, [teacher], [jnp.ones((1, 1, 1, 1))], assigned, low))
      4.0

    References:
      Yue, Deng and Zhou, "Matching Guided Distillation", 2020, and Heo et al., "A
      Comprehensive Overhaul of Feature Distillation", 2019, the partial distance.
    """
    pairs = _maps.stages(teacher_maps, student_maps)
    others = (norms, assignments, teacher_margins)
    if any(len(other) != len(pairs) for other in others):
        raise ValueError(
            f"There are {len(pairs)} stages, not {[len(other) for other in others]}."
        )
    losses = map(_stage_loss, pairs, *others)
    return sum(
        loss / 2 ** (len(pairs) - 1 - stage) for stage, loss in enumerate(losses)
    )


def _tail_excess(ratio):
    """Returns `E[z - ratio | z > ratio]` of a normal `z`, a continued fraction."""
    fraction = jnp.zeros_like(ratio)
    for k in range(_FRACTION_DEPTH, 0, -1):
        fraction = k / (ratio + fraction)
    return fraction


def _stage_loss(maps, norm, assignment, margin):
    teacher, student = _maps.of_one_size(*maps)
    assignment, margin = jnp.asarray(assignment), jnp.asarray(margin)
    checks.integer("assignments", assignment)
    checks.floating("teacher_margins", margin)
    channels, expected = student.shape[3:], teacher.shape[3:]
    if assignment.shape != expected or margin.shape != expected:
        raise ValueError(
            f"assignments and teacher_margins must have shape {expected} for this map, "
            f"got {assignment.shape} and {margin.shape}."
        )
    if norm.scale.shape != channels or norm.shift.shape != channels:
        raise ValueError(f"The norm of this map must have {channels[0]} channels.")
    student = _maps.batch_normalized(student) * norm.scale[None, None, None]
    student = student + norm.shift[None, None, None]
    targets, assigned = _reduced(
        jnp.maximum(teacher, margin[None, None, None]), assignment, channels[0]
    )
    assigned = jnp.broadcast_to(assigned[None, None, None], student.shape)
    # So written a NaN counts.
    counted = assigned & ~((student <= targets) & (targets <= 0))
    total = jnp.sum(jnp.where(counted, student - targets, 0) ** 2)
    return total / jnp.maximum(jnp.sum(assigned), 1).astype(student.dtype)


def _reduced(targets, assignment, num_students):
    """Returns the entries of largest absolute value by group, and which groups have."""
    assignment = checks.class_labels(assignment, num_students)
    members = jnp.where(assignment < 0, num_students, assignment)
    sizes = jnp.moveaxis(jax.lax.stop_gradient(jnp.abs(targets)), 3, 0)
    number = num_students + 1
    peaks = jax.ops.segment_max(sizes, members, num_segments=number)
    order = jnp.arange(len(assignment), dtype=jnp.int32).reshape(-1, 1, 1, 1)
    # Where all are NaN the order lies outside, and NaN is what is taken there.
    order = jnp.where(sizes == peaks[members], order, len(assignment))
    first = jax.ops.segment_min(order, members, num_segments=number)[:num_students]
    assigned = jnp.any(_vectors.one_hot(assignment, num_students, bool), axis=0)
    first = jnp.where(assigned[:, None, None, None], first, 0)
    chosen = jnp.take_along_axis(targets, jnp.moveaxis(first, 0, 3), axis=3)
    return jnp.where(assigned[None, None, None], chosen, 0), assigned
