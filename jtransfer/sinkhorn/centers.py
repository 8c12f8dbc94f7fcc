"""Centres of classes in the space of a network's features.

Features of the teacher give them by `class_centers` (Eq. 6 of the paper), its
classifier by `classifier_centers` (Eq. 8), and for the ablations of Table 8 features of
a network that was never trained, or of a shallower one. What becomes of their mean and
length before distances are taken is said in `costs`.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import unit
from jtransfer.moments import class_moments


@jax.jit(static_argnames=("num_classes",))
def class_centers(
    features: ArrayLike, labels: ArrayLike, *, num_classes: int
) -> jax.Array:
    r"""Computes the mean feature of each class.

    .. math:: e_n = \frac{1}{|D^n|} \sum_{x \in D^n} \phi(x).

    Args:
      features: floating-point features, shape ``[n, d]``.
      labels: integer classes, shape ``[n]``; an example with a label outside
        ``[0, num_classes)`` is left out.
      num_classes: number ``C`` of classes; static.

    Returns:
      The centres, shape ``[C, d]``; that of a class without examples is the mean of
      all features.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if features are not floating-point or labels not integers.

    Example:
      >>> features = jnp.array([[0.0, 1.0], [2.0, 1.0], [5.0, 0.0]])
      >>> class_centers(features, jnp.array([0, 0, 1]), num_classes=2).tolist()
      [[1.0, 1.0], [5.0, 0.0]]

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eq. (6).
    """
    moments = class_moments(features, labels, num_classes=num_classes)
    counts = jnp.maximum(moments.counts, 1).astype(moments.mean.dtype)
    return moments.mean[None] + moments.class_sums / counts[:, None]


@jax.jit
def classifier_centers(weights: ArrayLike) -> jax.Array:
    r"""Computes class centres from the weights of a teacher's last layer.

    .. math:: e_m = W_{:, m} / \|W_{:, m}\|_2.

    They stand in for the centres of data that is not at hand, of length one.

    Args:
      weights: floating-point weights of the last linear layer, shape ``[d, C]``.

    Returns:
      The centres, shape ``[C, d]``; zero for a column of zeros.

    Raises:
      ValueError: if `weights` is not a matrix.
      TypeError: if it is not floating-point.

    Example:
      >>> classifier_centers(jnp.array([[3.0, 0.0], [4.0, 2.0]])).round(3).tolist()
      [[0.6..., 0.8...], [0.0, 1.0]]

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eq. (8).
    """
    weights = jnp.asarray(weights)
    checks.num_axes("weights", weights, 2)
    return normalized_centers(weights.T)


@jax.jit
def normalized_centers(centers: ArrayLike) -> jax.Array:
    """Scales class centres to length one.

    Args:
      centers: floating-point centres, shape ``[C, d]``.

    Returns:
      The scaled centres, shape ``[C, d]``; a zero stays zero, with gradient zero.

    Raises:
      ValueError: if `centers` is not a matrix.
      TypeError: if it is not floating-point.

    Example:
      >>> normalized_centers(jnp.array([[0.0, 5.0], [0.0, 0.0]])).tolist()
      [[0.0, 1.0], [0.0, 0.0]]
    """
    centers = jnp.asarray(centers)
    checks.num_axes("centers", centers, 2)
    checks.floating("centers", centers)
    return unit(centers)


@jax.jit
def centred_centers(
    centers: ArrayLike, *, counts: ArrayLike | None = None
) -> jax.Array:
    r"""Subtracts the mean of the class centres, then scales them to length one.

    .. math:: \bar e_m = \frac{e_m - \mu}{\|e_m - \mu\|_2}, \quad
              \mu = \frac1C \sum_m e_m.

    A network's answers stay the same if a vector is added to all its features, for the
    bias takes it back, and if one is added to all columns of its last layer, for
    softmax does; so do these centres, which the printed ones do not. After a ReLU all
    class means share one large mean: scaled alone they lie on top of each other, and a
    cost cannot tell the classes apart.

    Args:
      centers: floating-point centres, shape ``[C, d]``.
      counts: examples of each class, shape ``[C]``: classes without any take no part
        in the mean, whose classes weigh alike. All take part if None.

    Returns:
      The centres, shape ``[C, d]``; zero where a centre is the mean, and for classes
      without examples.

    Raises:
      ValueError: if `centers` is not a matrix, or `counts` not one a class.
      TypeError: if it is not floating-point.

    Example:
      >>> centers = jnp.array([[101.0, 0.0], [99.0, 0.0]])
      >>> centred_centers(centers).tolist(), normalized_centers(centers).tolist()
      ([[1.0, 0.0], [-1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]])
    """
    centers = jnp.asarray(centers)
    checks.num_axes("centers", centers, 2)
    checks.floating("centers", centers)
    occurs = occurring_classes(counts, len(centers))
    weights = occurs.astype(centers.dtype)[:, None]
    mean = jnp.sum(centers * weights, axis=0) / jnp.maximum(jnp.sum(weights), 1)
    return unit((centers - mean[None]) * weights)


def occurring_classes(counts: ArrayLike | None, num_classes: int) -> jax.Array:
    """Returns whether classes have examples, shape ``[C]``; all if `counts` is None.

    Raises:
      ValueError: if `counts` is not one a class.
    """
    if counts is None:
        return jnp.ones(num_classes, bool)
    counts = jnp.asarray(counts)
    if counts.shape != (num_classes,):
        raise ValueError(
            f"counts must be one a class, [{num_classes}], got {counts.shape}."
        )
    return counts > 0
