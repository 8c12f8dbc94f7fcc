"""What a student minimises that learns by optimal transport."""

import jax
import jax.numpy as jnp

from jtransfer import distillation
from jtransfer.students._objectives import Batch, Parts, Student, total


def sinkhorn_loss(
    student: Student,
    batch: Batch,
    *,
    alpha: float,
    beta: float,
    temperature: float,
    epsilon: float,
    max_iterations: int,
) -> tuple[jax.Array, Parts]:
    """See `students.sinkhorn`."""
    matches = [
        distillation.sinkhorn_matches(
            batch[teacher_name(i)],
            student.logits,
            cost,
            temperature=temperature,
            epsilon=epsilon,
            max_iterations=max_iterations,
        )
        for i, cost in enumerate(batch["costs"] if beta else ())
    ]

    def transport():
        distances = jnp.stack([jnp.mean(found.distance) for found in matches])
        return jnp.sum(batch["weights"] * distances)

    value, parts = total(student, batch, alpha, {"sinkhorn": (beta, transport)})
    if matches:
        converged = jnp.stack([found.converged for found in matches])
        parts["converged"] = jnp.mean(converged.astype(value.dtype))
    return value, parts


def teacher_name(i: int) -> str:
    """Returns the name of the logits of the i-th teacher in a batch."""
    return f"teacher_logits_{i + 1}" if i else "teacher_logits"
