"""Matching of predictions over different classes, by optimal transport."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer.distillation import _vectors
from jtransfer.sinkhorn import (
    SinkhornResult,
    sinkhorn_distances,
    transported_probs,
)


@jax.jit(static_argnames=("max_iterations",))
def sinkhorn_matching(
    teacher_logits: ArrayLike,
    student_logits: ArrayLike,
    cost: ArrayLike,
    *,
    temperature: ArrayLike,
    epsilon: ArrayLike,
    max_iterations: int,
    threshold: float = 1e-3,
    gradient_threshold: float | None = None,
) -> jax.Array:
    r"""Computes the mean Sinkhorn distance between the teacher's predictions and ours.

    .. math:: \frac1n \sum_x S_\epsilon(\rho_\tau(T(x)), \rho_\tau(S(x))), \quad
              \rho_\tau(z) = \operatorname{softmax}(z / \tau).

    The teacher may know other classes than the student: the cost says which of them
    are near. The gradient of one distance by the student's logits is

    .. math:: \frac1\tau (\beta - \langle \beta, p_S \rangle) \odot p_S

    with the optimal potentials :math:`\beta`, exact at convergence; the paper prints it
    without the factor :math:`1 / \tau`. It is finite whatever the logits are. Where
    `max_iterations` ends a problem early, value and gradient are those of its last
    potentials: `sinkhorn_matches` tells for which examples.

    Args:
      teacher_logits: outputs of the teacher, shape ``[n, Ct]``.
      student_logits: outputs of the student, shape ``[n, Cs]``.
      cost: finite costs between classes, shape ``[Ct, Cs]``; see
        `jtransfer.sinkhorn`.
      temperature: ``tau``, positive; 3 in the paper.
      epsilon: strength of the entropy, positive; 0.1 in the paper.
      max_iterations: the most iterations for one example; static. The number needed
        grows with ``max(cost) / epsilon``.
      threshold: largest sum of absolute errors of a plan's column sums that counts as
        converged.
      gradient_threshold: stops by the gradient instead; see
        `jtransfer.sinkhorn.sinkhorn_distances`.

    Returns:
      The loss, shape ``[]``; it may be negative.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> teacher = jnp.array([[4.0, 0.0]])  # knows dogs and cars
      >>> cost = jnp.array([[0.1, 1.0], [1.0, 0.9]])  # the student: wolves and birds
      >>> wolf, bird = jnp.array([[4.0, 0.0]]), jnp.array([[0.0, 4.0]])
      >>> settings = {"temperature": 1.0, "epsilon": 0.1, "max_iterations": 99}
      >>> round(float(sinkhorn_matching(teacher, wolf, cost, **settings)), 2)
      0.01
      >>> round(float(sinkhorn_matching(teacher, bird, cost, **settings)), 2)
      0.86

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eqs. (10) to (12) and
      Proposition 4.2.
    """
    return jnp.mean(
        sinkhorn_matches(
            teacher_logits,
            student_logits,
            cost,
            temperature=temperature,
            epsilon=epsilon,
            max_iterations=max_iterations,
            threshold=threshold,
            gradient_threshold=gradient_threshold,
        ).distance
    )


@jax.jit(static_argnames=("max_iterations",))
def sinkhorn_matches(
    teacher_logits: ArrayLike,
    student_logits: ArrayLike,
    cost: ArrayLike,
    *,
    temperature: ArrayLike,
    epsilon: ArrayLike,
    max_iterations: int,
    threshold: float = 1e-3,
    gradient_threshold: float | None = None,
) -> SinkhornResult:
    """Computes the distances of `sinkhorn_matching` one by one, with their convergence.

    Args:
      teacher_logits: outputs of the teacher, shape ``[n, Ct]``.
      student_logits: outputs of the student, shape ``[n, Cs]``.
      cost: finite costs between classes, shape ``[Ct, Cs]``.
      temperature: ``tau``, positive.
      epsilon: strength of the entropy, positive.
      max_iterations: the most iterations for one example; static.
      threshold: see `sinkhorn_matching`.
      gradient_threshold: likewise.

    Returns:
      Distances, plans, convergence and iterations, each with a first axis of length
      ``n``.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> logits, cost = jnp.zeros((2, 3)), 1 - jnp.eye(3)
      >>> matches = sinkhorn_matches(
      ...     logits, logits, cost, temperature=3.0, epsilon=0.1, max_iterations=9
      ... )
      >>> matches.converged.tolist(), matches.plan.shape
      ([True, True], (2, 3, 3))

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eq. (12).
    """
    (teacher,) = _vectors.checked_vectors(2, teacher_logits=teacher_logits)
    (student,) = _vectors.checked_vectors(2, student_logits=student_logits)
    return sinkhorn_distances(
        jax.nn.softmax(_vectors.tempered(teacher, temperature)),
        jax.nn.softmax(_vectors.tempered(student, temperature)),
        cost,
        epsilon=epsilon,
        threshold=threshold,
        max_iterations=max_iterations,
        gradient_threshold=gradient_threshold,
    )


@jax.jit
def transported_targets(
    teacher_logits: ArrayLike,
    student_logits: ArrayLike,
    cost: ArrayLike,
    *,
    temperature: ArrayLike,
    epsilon: ArrayLike,
) -> jax.Array:
    r"""Computes soft targets for classes that the teacher does not know.

    .. math:: \frac1n \sum_x \mathrm{KL}(P^T \rho_\tau(T(x)) \,\|\,
              \rho_\tau(S(x))), \quad P_{mn} \propto e^{-M_{mn} / \epsilon}
              \text{ over each row.}

    The target is where a Sinkhorn distance of the same cost would lead the student, in
    closed form: no iterations, and the pull of soft targets, which is stronger than
    that of the distance while the student is unsure.

    Args:
      teacher_logits: outputs of the teacher, shape ``[n, Ct]``.
      student_logits: outputs of the student, shape ``[n, Cs]``.
      cost: costs between classes, shape ``[Ct, Cs]``; see `jtransfer.sinkhorn`.
      temperature: ``tau``, positive.
      epsilon: strength of the entropy, positive.

    Returns:
      The loss, shape ``[]``, at least 0.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> teacher = jnp.array([[9.0, 0.0]])
      >>> cost = jnp.array([[0.0, 9.0, 9.0], [9.0, 0.0, 9.0]])
      >>> settings = {"temperature": 1.0, "epsilon": 0.1}
      >>> near, far = jnp.array([[9.0, 0.0, 0.0]]), jnp.array([[0.0, 0.0, 9.0]])
      >>> round(float(transported_targets(teacher, near, cost, **settings)), 3)
      0.0
      >>> round(float(transported_targets(teacher, far, cost, **settings)), 1)
      9.0

    References:
      Ours, from the optimum of Lu, Ye and Zhan, "Selective Cross-Task Distillation",
      Eq. (11), by the student's probabilities.
    """
    (teacher,) = _vectors.checked_vectors(2, teacher_logits=teacher_logits)
    (student,) = _vectors.checked_vectors(2, student_logits=student_logits)
    targets = transported_probs(
        jax.nn.softmax(_vectors.tempered(teacher, temperature)), cost, epsilon=epsilon
    )
    if targets.shape != student.shape:
        raise ValueError(
            f"student_logits must be {targets.shape} for these teacher_logits and "
            f"cost, got {student.shape}."
        )
    log_student = jax.nn.log_softmax(_vectors.tempered(student, temperature))
    terms = jax.scipy.special.xlogy(targets, targets) - targets * log_student
    return jnp.mean(jnp.sum(terms, axis=1))
