"""The Sinkhorn distance as a score of teachers: which one teaches a student most.

The exact score and its two approximations are one function, `sinkhorn_score`, of three
students: that distilled from this very teacher (exact), one trained without a teacher
(Approximation I), or `fictitious_student` (Approximation II, the one to use: it needs
no training of networks). Their probabilities, and the teacher's, are softmax outputs
at the temperature of distillation, 3 in the paper.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul
from jtransfer.scores import softmax_classifier
from jtransfer.sinkhorn import sinkhorn_distances


class Assessment(NamedTuple):
    """A teacher's score for a student, and the mean plan that gives it."""

    score: jax.Array
    """Minus Eq. (24), `[]`; higher is better."""
    plan: jax.Array
    """Mean transport plan between classes, `[Ct, Cs]`; its entries sum to one."""
    converged: jax.Array
    """The share of the examples whose plan converged, in `[0, 1]`, `[]`."""


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
    return Assessment(
        score=-jnp.sum(result.distance) / n,
        plan=jnp.sum(result.plan, axis=0) / n,
        converged=jnp.sum(result.converged.astype(result.distance.dtype)) / n,
    )


@jax.jit(static_argnames=("num_classes", "max_steps"))
def fictitious_student(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    num_classes: int,
    weight_decay: float,
    max_steps: int = 1000,
) -> jax.Array:
    r"""Computes the logits of a linear model on a teacher's features.

    .. math:: \min_{W, b} \frac1n \sum_i -\log \operatorname{softmax}(W^T f_i
              + b)_{y_i} + \frac{\lambda}{2} \|W\|_F^2,

    fitted to convergence: the student that the teacher's own features would give. The
    cost is that of some hundred steps of L-BFGS, ``O(n d C)`` each. It has no reverse
    derivative.

    Args:
      features: floating-point features of the teacher, shape ``[n, d]``, of any offset
        and scale.
      labels: integer classes of the student, shape ``[n]``; an example with a label
        outside ``[0, num_classes)`` is left out of the fit, not of the result.
      num_classes: number ``C`` of the student's classes; static.
      weight_decay: the weight :math:`\lambda` of the penalty, positive.
      max_steps: the most steps of the solver; static.

    Returns:
      The logits, shape ``[n, C]``. A class that does not occur is left out of the fit;
      its logit is 30 below the least of the example's others.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if features are not floating-point or labels not integers.

    Example:
      >>> x, y = jnp.array([[-1.0], [0.5], [2.0]]), jnp.array([0, 2, 2])
      >>> logits = fictitious_student(x, y, num_classes=3, weight_decay=1e-2)
      >>> logits.argmax(axis=1).tolist(), logits.shape
      ([0, 2, 2], (3, 3))

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", section 5, Approximation
      II, and Algorithm 4.
    """
    features, labels = jnp.asarray(features), jnp.asarray(labels)
    checks.labelled(features, labels, num_classes)
    features, square = _scaled(features, (labels >= 0) & (labels < num_classes))
    head = softmax_classifier(
        features,
        labels,
        num_classes=num_classes,
        weight_decay=weight_decay / square,
        max_steps=max_steps,
    )
    occurs = jnp.isfinite(head.bias)[None]
    logits = matmul(features, head.weights)
    logits = jnp.where(occurs, logits + jnp.where(occurs, head.bias[None], 0), 0)
    least = jnp.min(jnp.where(occurs, logits, jnp.inf), axis=1, keepdims=True)
    return jnp.where(occurs, logits, jnp.where(jnp.any(occurs), least, 0) - 30)


def _scaled(features, valid):
    """Returns features that L-BFGS likes, and the square of the unit they are in.

    With a free bias the offset changes nothing, and a common unit changes the penalty
    by its square. The fewest steps are needed when the largest eigenvalue of the
    covariance is about one: it lies between the mean and the sum of all.
    """
    valid = valid[:, None]
    n = jnp.maximum(valid.sum(), 1).astype(features.dtype)

    def mean(array):
        return jnp.sum(jnp.where(valid, array, 0), axis=0, keepdims=True) / n

    offset = mean(features)
    features = features - offset
    features = features - mean(features)  # what rounding left of the offset
    variances = mean(features**2)
    # A spread below the rounding of the offset is that of a constant.
    varies = variances > (jnp.finfo(features.dtype).eps * offset) ** 2
    square = jnp.sum(jnp.where(varies, variances, 0)) / features.shape[1] ** 0.5
    square = jnp.where(square > 0, square, 1)
    return jnp.where(varies, features, 0) / jnp.sqrt(square), square
