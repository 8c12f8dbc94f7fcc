"""Which channels of a teacher go with which of a student, as MGD assigns them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jtransfer._internal import checks, linalg
from jtransfer.distillation import _maps, _vectors

_LARGEST_COST = 4.0


class MatchingState(NamedTuple):
    """Costs of channels since the last assignment, and that assignment, by stage."""

    cost_sums: tuple[jax.Array, ...]
    """Sums of the costs of batches, `[cs, ct]` each."""
    count: jax.Array
    """Number of batches in the sums, int32, `[]`."""
    assignments: tuple[jax.Array, ...]
    """The student channel of each teacher channel, int32, `[ct]` each."""


@jax.jit
def channel_costs(teacher_map: ArrayLike, student_map: ArrayLike) -> jax.Array:
    r"""Computes how far each channel of a student is from each of a teacher.

    .. math:: C_{ij} = \frac1n \sum_x \Bigl\|\frac{S_i(x)}{\|S_i(x)\|_2} -
              \frac{T_j(x)}{\|T_j(x)\|_2}\Bigr\|_2^2 = 2 - \frac2n \sum_x
              \cos(S_i(x), T_j(x))

    with a channel's pixels as one vector. One without length is at distance 2 from all.
    Of maps of two sizes the larger is averaged to the smaller.

    Args:
      teacher_map: a map of the teacher before the ReLU, shape ``[n, h, w, ct]``.
      student_map: a map of the student before the ReLU, shape ``[n, h', w', cs]``.

    Returns:
      The costs, shape ``[cs, ct]``, from 0 to 4.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if a map is not floating-point.

    Example:
      >>> maps = jnp.array([[[[1.0, 0.0], [0.0, 1.0]]]])
      >>> channel_costs(maps, -maps[..., :1]).tolist()
      [[4.0, 2.0]]

    References:
      Yue, Deng and Zhou, "Matching Guided Distillation", 2020; the form of released
      code.
    """
    maps = _maps.of_one_size(*_maps.same_stage_maps(teacher_map, student_map))
    teacher, student = (
        _vectors.unit_directions(jnp.moveaxis(m, 3, 1).reshape(len(m), m.shape[3], -1))
        for m in maps
    )
    return 2 - 2 * jnp.mean(linalg.matmul(student, jnp.swapaxes(teacher, 1, 2)), axis=0)


@jax.jit
def channel_assignment(costs: ArrayLike) -> jax.Array:
    r"""Computes the student channel of each teacher channel with the least total cost.

    .. math:: \min_{a} \sum_{j=1}^{c_T} C_{a(j) j}, \quad
              |a^{-1}(i)| \le \lceil c_T / c_S \rceil.

    A student channel has at most its share of the teacher's. Of more student than
    teacher channels the rest have none. Released code takes ``ct // cs`` teacher
    channels for each student channel and leaves out the remainder; it rounds costs to
    1e-5, so ties may fall otherwise. The time grows like the cube of the channels.

    Args:
      costs: costs as of `channel_costs`, shape ``[cs, ct]``; one that is not finite
        counts as 4.

    Returns:
      A student channel for each teacher channel, int32, shape ``[ct]``.

    Raises:
      ValueError: if there is no channel or not two axes.
      TypeError: if the costs are not floating-point.

    Example:
      >>> costs = jnp.array([[1.0, 0.0, 4.0, 4.0], [0.0, 4.0, 4.0, 3.0]])
      >>> channel_assignment(costs).tolist()
      [1, 0, 0, 1]

    References:
      Yue, Deng and Zhou, "Matching Guided Distillation", 2020; Kuhn, "The Hungarian
      Method for the Assignment Problem", 1955.
    """
    import optax

    (costs,) = _vectors.checked_vectors(2, costs=costs)
    checks.positive("the number of teacher channels", costs.shape[1])
    num_students, num_teachers = costs.shape
    copies = -(-num_teachers // num_students)
    # The search would not end on a NaN; its own numbers are of the default type.
    costs = jnp.where(jnp.isfinite(costs), costs, _LARGEST_COST).astype(float)
    rows, columns = optax.assignment.hungarian_algorithm(jnp.tile(costs, (copies, 1)))
    students = (rows % num_students).astype(jnp.int32)
    return jnp.zeros(num_teachers, jnp.int32).at[columns].set(students)


def matching_state(
    *,
    teacher_channels: Sequence[int],
    student_channels: Sequence[int],
    dtype: DTypeLike = float,
) -> MatchingState:
    """Returns the state before the first batch: no costs, channels dealt in turn.

    Teacher channel ``j`` has student channel ``j % cs`` until the first solution. The
    paper solves before it trains: renew the state over some batches first.

    Args:
      teacher_channels: numbers of channels of the teacher's maps.
      student_channels: numbers of channels of the student's maps, as many.
      dtype: floating-point type of the sums; static.

    Returns:
      The state.

    Raises:
      ValueError: if the numbers of stages differ or are zero.

    Example:
      >>> state = matching_state(teacher_channels=(4,), student_channels=(3,))
      >>> state.assignments[0].tolist(), state.cost_sums[0].shape
      ([0, 1, 2, 0], (3, 4))

    References:
      Yue, Deng and Zhou, "Matching Guided Distillation", 2020.
    """
    channels = _stage_channels(teacher_channels, student_channels)
    return MatchingState(
        cost_sums=tuple(jnp.zeros((s, t), dtype) for t, s in channels),
        count=jnp.zeros((), jnp.int32),
        assignments=tuple(jnp.arange(t, dtype=jnp.int32) % s for t, s in channels),
    )


@jax.jit
def renewed_matching(
    state: MatchingState, costs: Sequence[ArrayLike], *, period: ArrayLike
) -> MatchingState:
    """Returns the state after one more batch, with new assignments when they are due.

    Every `period` batches the assignments are solved anew from the mean costs since the
    last time, and the sums start again from zero. Released code does so on the host,
    every two epochs; here it is a branch of the compiled program. Under `jax.vmap` both
    branches run.

    Args:
      state: the state before.
      costs: costs of this batch, one of `channel_costs` a stage.
      period: number of batches from one solution to the next, positive.

    Returns:
      The state after the batch. Nothing is differentiated.

    Raises:
      ValueError: if the shapes do not agree with the state.
      TypeError: if the costs are not floating-point.

    Example:
      >>> state = matching_state(teacher_channels=(2,), student_channels=(2,))
      >>> costs = [jnp.array([[3.0, 1.0], [1.0, 3.0]])]
      >>> state = renewed_matching(state, costs, period=2)
      >>> state.count.tolist(), state.assignments[0].tolist()
      (1, [0, 1])
      >>> state = renewed_matching(state, costs, period=2)
      >>> state.count.tolist(), state.assignments[0].tolist()
      (0, [1, 0])

    References:
      Yue, Deng and Zhou, "Matching Guided Distillation", 2020.
    """
    costs = [jax.lax.stop_gradient(jnp.asarray(stage)) for stage in costs]
    expected = [sums.shape for sums in state.cost_sums]
    if [stage.shape for stage in costs] != expected:
        raise ValueError(f"costs must have shapes {expected}, one a stage.")
    for stage in costs:
        checks.floating("costs", stage)
    sums = tuple(
        sums + stage.astype(sums.dtype)
        for sums, stage in zip(state.cost_sums, costs, strict=True)
    )
    state = state._replace(cost_sums=sums, count=state.count + 1)
    return jax.lax.cond(state.count >= period, _solved, lambda state: state, state)


def _stage_channels(teacher_channels, student_channels):
    if len(teacher_channels) != len(student_channels):
        raise ValueError(
            "Teacher and student must have one number of stages, got "
            f"{len(teacher_channels)} and {len(student_channels)}."
        )
    checks.positive("the number of stages", len(teacher_channels))
    return list(zip(teacher_channels, student_channels, strict=True))


def _solved(state):
    means = (sums / state.count.astype(sums.dtype) for sums in state.cost_sums)
    return MatchingState(
        cost_sums=tuple(map(jnp.zeros_like, state.cost_sums)),
        count=jnp.zeros_like(state.count),
        assignments=tuple(map(channel_assignment, means)),
    )
