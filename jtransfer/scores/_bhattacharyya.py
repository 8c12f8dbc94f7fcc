"""Bhattacharyya class separability."""

import jax
import jax.numpy as jnp

from jtransfer.moments import Moments
from jtransfer.scores import _linalg


@jax.jit
def bhattacharyya(moments: Moments) -> jax.Array:
    r"""Computes how far apart the classes lie, seen as diagonal Gaussians.

    .. math:: B(f) = -\log \sum_{i \neq j} \exp(-D_{ij}), \quad
              D_{ij} = \sum_k \frac{(\mu_{ik} - \mu_{jk})^2}{8 v_{ijk}}
              + \frac12 \log \frac{v_{ijk}}{\sqrt{v_{ik} v_{jk}}}, \quad
              v_{ijk} = \frac{v_{ik} + v_{jk}}{2},

    over ordered pairs of the classes that occur, with population variances
    :math:`v`. The score as published is ``-exp(-B)``, which has the same order and
    underflows to 0 for separated classes. It ranges from ``-log(C (C - 1))``, all
    classes alike, upwards without bound; it does not change when single features are
    scaled or shifted, and does when they are mixed. Distances add up over features,
    so values for different ``d`` do not compare well.

    A class's variance is taken to be at least ``1e-6`` of the feature's variance over
    all examples, so that one example (or a unit that is silent in a class) gives a
    large finite distance; features that are constant over all examples are left out.
    The cost is ``O(C^2 d)`` in ``O(C d)`` memory.

    Args:
      moments: statistics of the features ``[n, d]``.

    Returns:
      The score, in nats, shape ``[]``; 0 for fewer than two classes.

    Example:
      >>> from jtransfer import class_moments
      >>> features = jnp.array([[0.0], [2.0], [4.0], [6.0]])
      >>> moments = class_moments(features, jnp.array([0, 0, 1, 1]), num_classes=2)
      >>> float(bhattacharyya(moments) + jnp.log(2))
      2.0

    References:
      Pándy et al., "Transferability Estimation using Bhattacharyya Class
      Separability", 2022, section 3.
    """
    counts = moments.counts
    n_class = jnp.maximum(counts, 1).astype(moments.mean.dtype)[:, None]
    scale = _linalg.standardization(moments)[None]
    means = moments.class_sums / n_class * scale
    variances = moments.class_squares / n_class * scale**2
    variances = jnp.where(scale > 0, jnp.maximum(variances, 1e-6), 1)
    logs = jnp.log(variances).sum(axis=1)

    def distances(mean, variance, log):
        average = (variances + variance[None]) / 2
        gaps = jnp.sum((means - mean[None]) ** 2 / average, axis=1) / 8
        return gaps + (jnp.log(average).sum(axis=1) - (logs + log) / 2) / 2

    pairs = jax.lax.map(lambda row: distances(*row), (means, variances, logs))
    occurs = counts > 0
    differs = ~jnp.eye(len(counts), dtype=bool) & occurs[:, None] & occurs[None]
    # The maximum goes before the sum; the inner `where` keeps its gradient finite.
    return _negative_log_sum_exp(jnp.where(differs, pairs, 0), differs)


def _negative_log_sum_exp(distances: jax.Array, where: jax.Array) -> jax.Array:
    largest = jnp.finfo(distances.dtype).max
    nearest = jax.lax.stop_gradient(jnp.min(distances, initial=largest, where=where))
    nearest = jnp.where(where.any(), nearest, 0)
    total = jnp.sum(jnp.where(where, jnp.exp(nearest - distances), 0))
    return jnp.where(where.any(), nearest - jnp.log(jnp.maximum(total, 1)), 0)
