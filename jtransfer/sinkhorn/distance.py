"""The Sinkhorn distance between a teacher's and a student's predictions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.sinkhorn._log_kernel import log_kernels, log_sums, positive_probs
from jtransfer.sinkhorn._solvers import batch_potentials, ott_potentials, rounding


class SinkhornResult(NamedTuple):
    """Distance and plan of a pair of predictions; of a batch, with a first axis."""

    distance: jax.Array
    """Eq. (5), `[]`: the only part with a gradient."""
    plan: jax.Array
    """The transport plan, `[Ct, Cs]`; its rows sum to `teacher_probs`."""
    converged: jax.Array
    """Whether the plan's columns sum to `student_probs`: a boolean, `[]`."""
    num_iterations: jax.Array
    """Iterations made, an integer, `[]`."""


@jax.jit(static_argnames=("max_iterations",))
def sinkhorn_distance(
    teacher_probs: ArrayLike,
    student_probs: ArrayLike,
    cost: ArrayLike,
    *,
    epsilon: float = 0.1,
    threshold: float = 1e-3,
    max_iterations: int = 2000,
) -> SinkhornResult:
    r"""Computes the Sinkhorn distance of one pair of predictions, in the log domain.

    .. math:: S_\epsilon(p_T, p_S) = \min_T \langle T, M \rangle
              + \epsilon \sum_{mn} T_{mn} (\log T_{mn} - 1)

    over the plans with row sums :math:`p_T` and column sums :math:`p_S`. It may be
    negative and is not zero for equal predictions. ott-jax runs Algorithm 3; for a
    batch with one cost, `sinkhorn_distances` takes the same steps and is faster.

    The value is that of the dual problem, whose error is of second order in that of
    the marginals (and never positive). Its gradient is Danskin's, exact at
    convergence: the potentials :math:`\beta` for the student, so

    .. math:: \frac{\partial S_\epsilon}{\partial z} = \frac1\tau
              (\beta - \langle \beta, p_S \rangle) \odot p_S, \quad
              p_S = \operatorname{softmax}(z / \tau),

    :math:`\alpha` for the teacher and the plan for the cost. It is finite where
    probabilities are zero, which count as the smallest normal number inside a
    logarithm. There are first derivatives only: potentials and plan are constants.

    Args:
      teacher_probs: probabilities of the teacher's classes, shape ``[Ct]``.
      student_probs: probabilities of the student's classes, shape ``[Cs]``. Where
        the sums of the two differ there is no plan, and nothing converges.
      cost: finite costs :math:`M` between classes, shape ``[Ct, Cs]``.
      epsilon: strength of the entropy, positive.
      threshold: largest sum of absolute errors of the column sums that counts as
        converged. Nothing converges below what rounding leaves, in float32 about
        ``5e-7 (10 + max(cost) / epsilon)``.
      max_iterations: the most iterations; static. The number needed grows with
        ``max(cost) / epsilon``: for random costs of 100 x 100 classes some 30 at 20,
        80 at 50 and 350 at 200, and four times that for the hardest pairs.

    Returns:
      The distance, plan, convergence and number of iterations.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the arrays are not floating-point.

    Example:
      >>> same, other = jnp.array([0.9, 0.1]), jnp.array([0.1, 0.9])
      >>> cost = 1 - jnp.eye(2)
      >>> near = sinkhorn_distance(same, same, cost)
      >>> round(float(near.distance), 2), bool(near.converged)
      (-0.13, True)
      >>> round(float(sinkhorn_distance(same, other, cost).distance), 2)
      0.64

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eqs. (5) and (13),
      Algorithm 3, Proposition 4.2 (whose Eq. (15) lacks the factor ``1 / tau``).
    """
    teacher_probs, student_probs, cost, epsilon = _checked(
        teacher_probs, student_probs, cost, epsilon, max_iterations, probs_rank=1
    )
    margin = rounding(cost / epsilon)
    arrays = (teacher_probs, student_probs, cost, epsilon, threshold - 2 * margin)
    potentials, num_iterations = ott_potentials(
        *jax.lax.stop_gradient(arrays), max_iterations
    )
    result = _result(
        (teacher_probs[None], student_probs[None]),
        log_kernels(cost / epsilon),
        potentials[None],
        epsilon,
        threshold - margin,
        num_iterations[None],
    )
    return jax.tree.map(lambda leaf: leaf[0], result)


@jax.jit(static_argnames=("max_iterations",))
def sinkhorn_distances(
    teacher_probs: ArrayLike,
    student_probs: ArrayLike,
    cost: ArrayLike,
    *,
    epsilon: float = 0.1,
    threshold: float = 1e-3,
    max_iterations: int = 2000,
    gradient_threshold: float | None = None,
) -> SinkhornResult:
    """Computes the Sinkhorn distances of a batch of predictions with one shared cost.

    Each pair is solved as by `sinkhorn_distance`, with the same steps, and stops when
    it has converged: its result depends on the others by rounding only. An iteration
    is two matrix products with ``exp(-cost / epsilon)``. For pairs where a bound does
    not show that these are right to rounding, the sums are written out in the log
    domain; that is decided inside jit, each time. The products always do up to
    ``max(cost) / epsilon`` of about 100 in float32, and often far beyond.

    Args:
      teacher_probs: probabilities of the teacher's classes, shape ``[n, Ct]``.
      student_probs: probabilities of the student's classes, shape ``[n, Cs]``.
      cost: finite costs between classes, shape ``[Ct, Cs]``.
      epsilon: strength of the entropy, positive.
      threshold: largest sum of absolute errors of the column sums that counts as
        converged; see `sinkhorn_distance`.
      max_iterations: the most iterations; static.
      gradient_threshold: where it is given, a pair stops, and has `converged`, once an
        iteration changes the gradient by the student's logits (at temperature 1) by
        no more, as a sum of absolute values; `threshold` then decides nothing. An
        iteration changes that gradient by about epsilon times the error of the
        marginals, so that it saves no iteration: it is ``epsilon * threshold`` in the
        units of the gradient.

    Returns:
      The results of all pairs, each field with a first axis of length ``n``. A plan
      that the caller does not use takes no memory inside the caller's jit.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the arrays are not floating-point.

    Example:
      >>> probs = jnp.array([[0.9, 0.1], [0.1, 0.9]])
      >>> result = sinkhorn_distances(probs, probs[::-1], 1 - jnp.eye(2))
      >>> [round(float(distance), 2) for distance in result.distance]
      [0.64, 0.64]
      >>> result.plan.shape
      (2, 2, 2)

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eqs. (5) and (20),
      Algorithm 3, section 4.2.2 on the stop by the gradient.
    """
    teacher_probs, student_probs, cost, epsilon = _checked(
        teacher_probs, student_probs, cost, epsilon, max_iterations, probs_rank=2
    )
    checks.same_length(teacher_probs=teacher_probs, student_probs=student_probs)
    probs, kernels = (teacher_probs, student_probs), log_kernels(cost / epsilon)
    margin = rounding(cost / epsilon)
    tolerances = threshold - 2 * margin, None
    if gradient_threshold is not None:
        tolerances = None, gradient_threshold / epsilon
    fixed = jax.lax.stop_gradient((probs, kernels, *tolerances))
    potentials, num_iterations, met = batch_potentials(
        *fixed[:3], max_iterations, gradient_tolerance=fixed[3]
    )
    tolerance = threshold - margin
    result = _result(probs, kernels, potentials, epsilon, tolerance, num_iterations)
    return result if gradient_threshold is None else result._replace(converged=met)


def _result(probs, kernels, potentials, epsilon, tolerance, num_iterations):
    """Returns the results `[n, ...]` that belong to the students' potentials.

    As a function of one potential alone, the other maximised out, the dual is
    stationary in it at the optimum, so it may be a constant for differentiation, and
    the derivatives by all else are those of the formula as it stands.
    """
    (teacher_probs, student_probs), (by_row, by_column) = probs, kernels
    positive_teacher, positive_student = jax.lax.stop_gradient(
        (positive_probs(teacher_probs), positive_probs(student_probs))
    )
    teacher_potentials = jnp.log(positive_teacher) - log_sums(potentials, by_row)
    distances = epsilon * (
        jnp.sum(teacher_probs * teacher_potentials, axis=1)
        + jnp.sum(student_probs * potentials, axis=1)
        - 1
    )
    teacher_potentials, by_row, by_column = jax.lax.stop_gradient(
        (teacher_potentials, by_row, by_column)
    )
    # The columns of the plan sum to the student's probabilities times exp(excess).
    excess = potentials + log_sums(teacher_potentials, by_column)
    excess -= jnp.log(positive_student)
    errors = positive_student * jnp.abs(jnp.expm1(excess))
    return SinkhornResult(
        distance=distances,
        plan=jnp.exp(
            (teacher_potentials[:, :, None] + potentials[:, None, :])
            - by_row.scores[None]
        ),
        converged=errors.sum(axis=1) <= tolerance,
        num_iterations=num_iterations,
    )


def _checked(
    teacher_probs, student_probs, cost, epsilon, max_iterations, *, probs_rank
):
    """Returns the arrays and epsilon in one dtype, or raises."""
    teacher_probs, student_probs = map(jnp.asarray, (teacher_probs, student_probs))
    cost = jnp.asarray(cost)
    for name, array, expected in (
        ("teacher_probs", teacher_probs, probs_rank),
        ("student_probs", student_probs, probs_rank),
        ("cost", cost, 2),
    ):
        checks.num_axes(name, array, expected)
        checks.floating(name, array)
    expected = (teacher_probs.shape[-1], student_probs.shape[-1])
    if cost.shape != expected:
        raise ValueError(
            "cost must have a row for each class of the teacher and a column for each "
            f"of the student, shape {expected}, got {cost.shape}."
        )
    checks.positive("max_iterations", max_iterations)
    dtype = jnp.result_type(teacher_probs, student_probs, cost)
    arrays = (teacher_probs, student_probs, cost, epsilon)
    return tuple(jnp.asarray(array, dtype) for array in arrays)
