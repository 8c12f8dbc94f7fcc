"""A linear model on a teacher's features that stands for its student."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul
from jtransfer.scores import softmax_classifier


def _usual_penalty(features: jax.Array) -> jax.Array:
    """The mean variance of a feature over n, positive also for constant features."""
    centred = features - jnp.mean(features, axis=0, keepdims=True)
    return jnp.maximum(jnp.mean(centred**2), 1e-30) / max(len(features), 1)


@jax.jit(static_argnames=("num_classes", "max_steps"))
def fictitious_student(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    num_classes: int,
    weight_decay: float | None = None,
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
      weight_decay: the weight :math:`\lambda` of the penalty, positive; None is the
        mean variance of a feature over ``n``, as in `AssessmentSettings`.
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
    if weight_decay is None:
        weight_decay = _usual_penalty(features)
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
