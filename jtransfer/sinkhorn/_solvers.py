"""Sinkhorn's algorithm: for one pair by ott-jax, for a batch with one cost by us.

Both make the steps of Algorithm 3 of "Selective Cross-Task Distillation" from the same
start, so they need as many of them.
"""

import jax
import jax.numpy as jnp

from jtransfer.sinkhorn._log_kernel import (
    log_sums,
    positive_probs,
    written_out_log_sums,
)


def ott_potentials(
    teacher_probs, student_probs, cost, epsilon, tolerance, max_iterations
):
    """Returns the student's potentials over epsilon, `[Cs]`, and the iterations."""
    from ott.geometry.geometry import Geometry
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn

    solver = Sinkhorn(
        threshold=tolerance,
        inner_iterations=1,
        max_iterations=max_iterations,
        implicit_diff=None,
    )
    # ott ends an iteration with its first argument: the student, as Algorithm 3 does.
    problem = LinearProblem(
        Geometry(cost_matrix=cost.T, epsilon=epsilon),
        a=positive_probs(student_probs),
        b=positive_probs(teacher_probs),
    )
    # ott relies on both.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        output = solver(problem)
    return output.f / epsilon, output.n_iters.astype(jnp.int32)


def batch_potentials(
    probs, kernels, tolerance, max_iterations, gradient_tolerance=None
):
    """Returns the students' potentials over epsilon, `[n, Cs]`, and the iterations.

    Args:
      probs: of teacher and student.
      kernels: by row and by column.
      tolerance: of the errors of a plan's row sums.
      max_iterations: the most iterations.
      gradient_tolerance: of the change of the student's gradient over epsilon; where it
        is given it decides in place of `tolerance`.

    Returns:
      Potentials, iterations, and whether a pair has met what decides, `[n]`.
    """
    teacher_probs, student_probs = map(positive_probs, probs)
    log_teacher, log_student = jnp.log(teacher_probs), jnp.log(student_probs)
    by_row, by_column = kernels

    def unfinished(carry):
        return jnp.any(carry[-2])

    def gradients(potentials):
        means = jnp.sum(potentials * student_probs, axis=1, keepdims=True)
        return (potentials - means) * student_probs

    def improved(carry):
        potentials, logs, num_iterations, active, met = carry
        new = log_student - log_sums(log_teacher - logs, by_column, active)
        new_logs = log_sums(new, by_row, active)
        if gradient_tolerance is None:
            # The rows of the plan between the updates sum to p_T exp(new_logs - logs).
            errors = teacher_probs * jnp.abs(jnp.expm1(new_logs - logs))
            now_met = errors.sum(axis=1) <= tolerance
        else:
            changes = jnp.abs(gradients(new) - gradients(potentials))
            now_met = changes.sum(axis=1) <= gradient_tolerance
        potentials = jnp.where(active[:, None], new, potentials)
        logs = jnp.where(active[:, None], new_logs, logs)
        num_iterations = num_iterations + active.astype(jnp.int32)
        met |= active & now_met
        active &= ~now_met & (num_iterations < max_iterations)
        return potentials, logs, num_iterations, active, met

    zeros, n = jnp.zeros_like(log_student), len(log_student)
    logs = written_out_log_sums(jnp.zeros((1, zeros.shape[1]), zeros.dtype), by_row)
    logs = jnp.broadcast_to(logs, log_teacher.shape)
    start = (
        *(zeros, logs, jnp.zeros(n, jnp.int32)),
        *(jnp.ones(n, bool), jnp.zeros(n, bool)),
    )
    potentials, _, num_iterations, _, met = jax.lax.while_loop(
        unfinished, improved, start
    )
    return potentials, num_iterations, met


def rounding(scores):
    """Returns by how much the measured error of a plan may be wrong, `[]`.

    A plan has converged if its error is below the threshold by this much: a fixed
    point of rounding is no convergence. The solvers stop when it is by twice that, so
    that none of them misses it at the end.
    """
    return 2 * jnp.finfo(scores.dtype).eps * (10 + jnp.max(scores) - jnp.min(scores))
