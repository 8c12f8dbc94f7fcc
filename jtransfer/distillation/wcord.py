"""WCoRD: Wasserstein distances between embeddings, of all examples and of a batch.

No official code was available. Written from memory of the paper: the two losses, their
weights and the cost; ours are the critic's layers, where its positives come from, the
means, and that the memory is renewed after the loss, as in released code of CRD.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul
from jtransfer.distillation import _vectors
from jtransfer.distillation.pair_memory import (
    Memory,
    Projections,
    check_memory,
    checked_indices,
    other_side,
    unit_outputs,
)
from jtransfer.sinkhorn import sinkhorn_distance


@jax.jit
def wcord_global_loss(
    params: Projections,
    memory: Memory,
    teacher_embeddings: ArrayLike,
    student_embeddings: ArrayLike,
    negatives: ArrayLike,
) -> jax.Array:
    r"""Computes minus the Wasserstein-1 distance that a critic sees: pairs, strangers.

    .. math:: -\frac1n \sum_i \Bigl( 2 g(t_i, s_i) - \frac1K \sum_k g(v^T_{ik}, s_i)
              - \frac1K \sum_k g(t_i, v^S_{ik}) \Bigr), \quad
              g(t, s) = \frac{w}{\|w\|_2} \cdot \operatorname{ReLU}\Bigl(
              \frac{W}{\|W\|_2} [t; s] + b \Bigr),

    with the heads' outputs ``t`` and ``s``, scaled to length one, and the rows ``v`` of
    the memory that `negatives` names. For the best ``g`` that changes by no more than
    its arguments, the difference of expectations is the Wasserstein-1 distance between
    the pairs and the product of their marginals, which is zero for networks that have
    nothing in common. Heads, critic and student are trained to minimise the loss. The
    spectral norm of ``W`` is estimated from the memory's direction and never too large,
    so ``g`` may change by more until the power iteration of `renewed_memory` converges.

    From memory of the paper. Ours are: the two layers of the critic, means over the
    negatives, and that a pair is that of the batch, where CRD takes one side of it from
    the memory.

    Args:
      params: heads and critic.
      memory: the memory, a constant for differentiation.
      teacher_embeddings: embeddings of the teacher, shape ``[n, dt]``.
      student_embeddings: embeddings of the student, shape ``[n, ds]``.
      negatives: other examples for each, integers in ``[0, N)``, shape ``[n, K]``; see
        `drawn_negatives`.

    Returns:
      The loss, shape ``[]``, in ``[-4, 4]`` once the power iteration has converged. Its
      weight is 0.8 in the paper.

    Raises:
      ValueError: if the shapes do not agree or there is no example or negative.
      TypeError: if the negatives are not integers or the others not floating-point.

    Example:
      >>> from jtransfer.distillation import (
      ...     drawn_negatives, wcord_memory, wcord_parameters
      ... )
      >>> params = wcord_parameters(
      ...     jax.random.key(0), teacher_dim=2, student_dim=2, dim=3
      ... )
      >>> memory = wcord_memory(jax.random.key(1), num_examples=4, dim=3)
      >>> negatives = drawn_negatives(
      ...     jax.random.key(2), np.array([3, 1]), num_examples=4, num_negatives=5
      ... )
      >>> loss = wcord_global_loss(params, memory, jnp.eye(2), jnp.eye(2), negatives)
      >>> bool(abs(loss) < 4)
      True

    References:
      Chen et al., "Wasserstein Contrastive Representation Distillation", 2021, global
      contrastive knowledge transfer.
    """
    teacher, student = unit_outputs(params, teacher_embeddings, student_embeddings)
    check_memory(params, memory)
    negatives = checked_indices("negatives", negatives, 2)
    checks.same_length(embeddings=teacher, negatives=negatives)
    checks.positive("the number of negatives", negatives.shape[1])
    memory = jax.lax.stop_gradient(memory)
    from_teacher, from_student, bias, output = _critic(params, memory.direction)

    def critic(teacher, student):
        hidden = matmul(teacher, from_teacher) + matmul(student, from_student)
        return matmul(jax.nn.relu(hidden + bias[None, None]), output)

    teacher, student = teacher[:, None], student[:, None]
    return (
        jnp.mean(critic(memory.teacher[negatives], student))
        + jnp.mean(critic(teacher, memory.student[negatives]))
        - 2 * jnp.mean(critic(teacher, student))
    )


@jax.jit(static_argnames=("max_iterations",))
def wcord_local_loss(
    params: Projections,
    teacher_embeddings: ArrayLike,
    student_embeddings: ArrayLike,
    *,
    epsilon: ArrayLike,
    max_iterations: int,
    threshold: ArrayLike = 1e-3,
) -> jax.Array:
    r"""Computes the cost of transport between a batch's embeddings, teacher to student.

    .. math:: \langle T, C \rangle, \quad C_{ij} = 1 - \langle t_i, s_j \rangle, \quad
              T = \arg\min_T \langle T, C \rangle + \epsilon \sum_{ij} T_{ij}
              (\log T_{ij} - 1)

    over the plans whose rows and columns all sum to ``1 / n``, with the heads' outputs
    scaled to length one. Which example is which plays no part. The plan is a constant
    for differentiation, so the gradient is that of the regularised problem's minimum,
    not of this value, which differ little for a small `epsilon`.

    From memory of the paper, which takes a few steps of another solver, as far as we
    remember; the entropy is that of `jtransfer.sinkhorn`.

    Args:
      params: heads; the critic plays no part.
      teacher_embeddings: embeddings of the teacher, shape ``[n, dt]``.
      student_embeddings: embeddings of the student, shape ``[n, ds]``.
      epsilon: strength of the entropy, positive.
      max_iterations: the most iterations; static. The number needed grows with
        ``2 / epsilon``.
      threshold: see `jtransfer.sinkhorn.sinkhorn_distance`.

    Returns:
      The loss, shape ``[]``, in ``[0, 2]`` up to `threshold`; for equal outputs at most
      ``epsilon * log(n)``. Its weight is 0.05 in the paper.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> from jtransfer.distillation import LinearHead
      >>> head = LinearHead(jnp.eye(2), jnp.zeros(2))
      >>> params = Projections(head, head, head, jnp.zeros(2))
      >>> settings = {"epsilon": 0.05, "max_iterations": 99}
      >>> rows = jnp.array([[1.0, 0.0], [0.0, 2.0]])
      >>> round(float(wcord_local_loss(params, rows, rows[::-1], **settings)), 3)
      0.0
      >>> round(float(wcord_local_loss(params, rows, -rows, **settings)), 3)
      1.0

    References:
      Chen et al., "Wasserstein Contrastive Representation Distillation", 2021, local
      contrastive knowledge transfer.
    """
    teacher, student = unit_outputs(params, teacher_embeddings, student_embeddings)
    cost = 1 - matmul(teacher, student.T)
    weights = jnp.full(len(cost), 1 / len(cost), cost.dtype)
    plan = sinkhorn_distance(
        weights,
        weights,
        cost,
        epsilon=epsilon,
        threshold=threshold,
        max_iterations=max_iterations,
    ).plan
    return jnp.sum(jax.lax.stop_gradient(plan) * cost)


def _critic(params, direction):
    """Returns the critic's layers over their norms, the first in two halves."""
    kernel, bias = params.critic
    inputs = other_side(jax.lax.stop_gradient(kernel), direction)
    norm = _vectors.norms(matmul(inputs, kernel))
    kernel = kernel / jnp.where(norm > 0, norm, 1)
    first, second = jnp.split(kernel, 2)
    return first, second, bias, _vectors.unit_directions(params.critic_output)
