"""Minus the mean Sinkhorn distance between teacher and student, exact."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer.sinkhorn import sinkhorn_distances


class Assessment(NamedTuple):
    """A teacher's score for a student, and the mean plan that gives it."""

    score: jax.Array
    """Minus Eq. (24), `[]`; higher is better."""
    plan: jax.Array
    """Mean transport plan between classes, `[Ct, Cs]`; its entries sum to one."""
    converged: jax.Array
    """The share of the examples whose plan converged, in `[0, 1]`, `[]`."""
    transport: jax.Array
    """Mean cost of the plans, `<T, M>`, without the entropy, `[]`; lower is better."""


@jax.jit(static_argnames=("max_iterations",))
def sinkhorn_score(
    teacher_probs: ArrayLike,
    student_probs: ArrayLike,
    cost: ArrayLike,
    *,
    epsilon: float = 0.1,
    threshold: float = 1e-3,
    max_iterations: int = 2000,
) -> jax.Array:
    r"""Computes minus the mean Sinkhorn distance between teacher and student.

    .. math:: Q = -\frac1n \sum_i S_\epsilon(p_T(x_i), p_S(x_i)).

    It lies in ``[epsilon - max(cost), epsilon (1 + log(Ct Cs)) - min(cost)]``, and
    compares teachers only at one epsilon, one temperature and costs of one scale.
    Without convergence it errs upwards; `sinkhorn_assessment` tells.

    Args:
      teacher_probs: probabilities of the teacher's classes, shape ``[n, Ct]``.
      student_probs: probabilities of the student's classes, shape ``[n, Cs]``.
      cost: finite costs between classes, shape ``[Ct, Cs]``.
      epsilon: strength of the entropy, positive.
      threshold: largest sum of absolute errors of a plan's column sums that counts
        as converged.
      max_iterations: the most iterations; static.

    Returns:
      The score, shape ``[]``; 0 for no example.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the arrays are not floating-point.

    Example:
      >>> probs, cost = jnp.array([[0.9, 0.1], [0.2, 0.8]]), 1 - jnp.eye(2)
      >>> fits = sinkhorn_score(probs, probs, cost)
      >>> bool(fits > sinkhorn_score(probs, probs[::-1], cost))
      True

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eq. (24).
    """
    return sinkhorn_assessment(
        teacher_probs,
        student_probs,
        cost,
        epsilon=epsilon,
        threshold=threshold,
        max_iterations=max_iterations,
    ).score


@jax.jit(static_argnames=("max_iterations",))
def sinkhorn_assessment(
    teacher_probs: ArrayLike,
    student_probs: ArrayLike,
    cost: ArrayLike,
    *,
    epsilon: float = 0.1,
    threshold: float = 1e-3,
    max_iterations: int = 2000,
) -> Assessment:
    """Computes the score of a teacher with the mean plan between the classes.

    The plan says which of the teacher's classes stands for which of the student's.
    Memory is that of the probabilities: no plan of a single example is kept.

    Args:
      teacher_probs: probabilities of the teacher's classes, shape ``[n, Ct]``.
      student_probs: probabilities of the student's classes, shape ``[n, Cs]``.
      cost: finite costs between classes, shape ``[Ct, Cs]``.
      epsilon: strength of the entropy, positive.
      threshold: largest sum of absolute errors of a plan's column sums that counts
        as converged.
      max_iterations: the most iterations; static.

    Returns:
      The score, the plan and the share of converged examples; zeros for no example.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the arrays are not floating-point.

    Example:
      >>> probs, cost = jnp.array([[0.9, 0.1], [0.3, 0.7]]), 1 - jnp.eye(2)
      >>> assessment = sinkhorn_assessment(probs, probs, cost)
      >>> [round(float(mass), 2) for mass in assessment.plan.ravel()]
      [0.6, 0.0, 0.0, 0.4]
      >>> float(assessment.converged)
      1.0

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eq. (24) and Figure 2.
    """
    result = sinkhorn_distances(
        teacher_probs,
        student_probs,
        cost,
        epsilon=epsilon,
        threshold=threshold,
        max_iterations=max_iterations,
    )
    n = max(len(result.distance), 1)
    plan = jnp.sum(result.plan, axis=0) / n
    return Assessment(
        score=-jnp.sum(result.distance) / n,
        plan=plan,
        converged=jnp.sum(result.converged.astype(result.distance.dtype)) / n,
        transport=jnp.sum(plan * jnp.asarray(cost)),
    )
