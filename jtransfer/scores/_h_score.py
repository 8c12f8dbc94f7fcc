"""H-score, plain, with shrinkage and per pixel."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul
from jtransfer.moments import Moments, class_moments
from jtransfer.scores import _linalg


@jax.jit
def h_score(moments: Moments) -> jax.Array:
    r"""Computes the H-score of features for a classification task.

    .. math:: H(f) = \operatorname{tr}(\operatorname{cov}(f)^{+}
              \operatorname{cov}(E[f \mid Y])).

    It is the share of the features' variance, in their own whitened space, that the
    classes explain: 0 when all class means coincide, and at most
    ``min(d, C - 1)``. An invertible affine map of the features does not change it.
    **With n <= d it sits at its maximum whatever the features are**; use
    `regularized_h_score` there.

    Constant and duplicated features, classes without examples and gaps in the
    labels change nothing. Directions whose variance, with all features scaled to
    unit variance, is below ``max(sqrt(d) eps, 1e-13)`` of the largest, both within
    the classes and between them, count as absent. The cost is one symmetric
    eigendecomposition, ``O(d^3)``.

    In float32 the score is right to about 1e-3, also where classes lie some thousand
    deviations apart in one direction: what varies within them is summed about the
    classes' means. Moments without `within` lose what lies below 1e-7 of the largest
    variance.

    Args:
      moments: statistics of the features ``[n, d]``.

    Returns:
      The H-score, dimensionless, shape ``[]``; 0 for fewer than two classes.

    Example:
      >>> from jtransfer import class_moments
      >>> features = jnp.array([[0.0], [0.0], [1.0], [1.0]])
      >>> moments = class_moments(features, jnp.array([0, 0, 1, 1]), num_classes=2)
      >>> round(float(h_score(moments)), 4)
      1.0

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Definition 2.
    """
    between = _linalg.weighted_class_sums(moments)
    if moments.within is None:
        return _linalg.explained_trace(moments, between)
    return _linalg.separated_trace(moments, between)


@jax.jit
def regularized_h_score(moments: Moments) -> jax.Array:
    r"""Computes the H-score with a shrunk covariance, right for n <= d too.

    .. math:: H_\alpha(f) = (1 - \alpha) \operatorname{tr}(\Sigma_\alpha^{-1}
              \operatorname{cov}(E[f \mid Y])), \quad
              \Sigma_\alpha = (1 - \alpha) \operatorname{cov}(f)
              + \alpha \frac{\operatorname{tr} \operatorname{cov}(f)}{d} I,

    with the shrinkage :math:`\alpha \in [0, 1]` of Ledoit and Wolf. It lies in
    ``[0, min(d, C - 1)]``, and does not change when all features are rotated, shifted
    or multiplied by one factor; unlike the plain score it does change when single
    features are scaled. Features that are one constant give 0. The cost is one
    Cholesky factorisation, ``O(d^3 / 3)``.

    Args:
      moments: statistics of the features ``[n, d]``.

    Returns:
      The score, dimensionless, shape ``[]``.

    Example:
      >>> from jtransfer import class_moments
      >>> features = jax.random.normal(jax.random.key(0), (20, 50))
      >>> moments = class_moments(features, jnp.arange(20) % 4, num_classes=4)
      >>> bool(regularized_h_score(moments) < 1 < h_score(moments))
      True

    References:
      Ibrahim, Ponomareva and Mazumder, "Newer is not always better", 2021, Eq. (4).
      Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance
      matrices", 2004.
    """
    n = _linalg.num_examples(moments)
    unit, varies = _unit(moments)
    scatter = moments.scatter / unit
    between = _linalg.weighted_class_sums(moments) / jnp.sqrt(unit)
    d = scatter.shape[0]
    norm = jnp.where(varies, jnp.sum(scatter**2), 1)
    shrinkage = ledoit_wolf_shrinkage(moments)
    # Shrinkage vanishes as n grows: keep the factorisation of a singular covariance
    # above the rounding of its largest eigenvalue.
    floor = 4 * jnp.finfo(scatter.dtype).eps * jnp.sqrt(norm)
    ridge = jnp.maximum(shrinkage * jnp.trace(scatter) / d, floor)
    factor = jnp.linalg.cholesky(
        (1 - shrinkage) * scatter + ridge * jnp.eye(d, dtype=norm.dtype)
    )
    solved = jax.scipy.linalg.solve_triangular(factor, between.T, lower=True)
    return jnp.where(varies & (n > 1), (1 - shrinkage) * jnp.sum(solved**2), 0)


@jax.jit
def ledoit_wolf_shrinkage(moments: Moments) -> jax.Array:
    r"""Computes the weight of the identity in the Ledoit-Wolf covariance.

    .. math:: \alpha = \min\left(1, \frac{\frac1n \left(\frac1n \sum_i |f_i - \bar f|^4
              - \|S\|_F^2\right)}{\|S\|_F^2 - \frac1d (\operatorname{tr} S)^2}\right),
              \quad S = \operatorname{cov}(f).

    Args:
      moments: statistics of the features ``[n, d]``.

    Returns:
      The shrinkage in ``[0, 1]``, shape ``[]``; 0 where the covariance already is a
      multiple of the identity (so always for ``d = 1``).

    Example:
      >>> from jtransfer import class_moments
      >>> features = jax.random.normal(jax.random.key(0), (20, 50))
      >>> moments = class_moments(features, jnp.zeros(20, int), num_classes=1)
      >>> bool(0.5 < ledoit_wolf_shrinkage(moments) <= 1)
      True

    References:
      Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance
      matrices", 2004, Lemmas 3.2 to 3.4.
    """
    n = _linalg.num_examples(moments)
    unit, varies = _unit(moments)
    scatter = moments.scatter / unit
    squared_trace = jnp.trace(scatter) ** 2
    norm = jnp.sum(scatter**2)
    spread = (moments.quartic * squared_trace / n - norm) / n
    distance = norm - squared_trace / scatter.shape[0]
    positive = distance > 4 * jnp.finfo(distance.dtype).eps
    ratio = spread / jnp.where(positive, distance, 1)
    return jnp.where(positive & varies, jnp.clip(ratio, 0, 1), 0)


def _unit(moments: Moments) -> tuple[jax.Array, jax.Array]:
    """The trace of the scatter as a unit, and whether there is any spread.

    In this unit no scale of the features under- or overflows. The scores do not depend
    on it, so that it is a constant for differentiation.
    """
    trace = jax.lax.stop_gradient(jnp.trace(moments.scatter))
    varies = trace > 0
    return jnp.where(varies, trace, 1), varies


@jax.jit(static_argnames=("num_levels",))
def dense_h_score(
    features: ArrayLike, label_maps: ArrayLike, *, num_levels: int
) -> jax.Array:
    """Computes one H-score a pixel of a dense task, from one factorisation.

    Each pixel is a classification task of its own, its classes the levels to which
    the label images were quantised. The cost is that of one `h_score` and of the
    products ``O(n h w num_levels d)`` that sum the features by pixel and level.

    Args:
      features: floating-point features of the images, shape ``[n, d]``.
      label_maps: integer level of each pixel, shape ``[n, h, w]``; an image in whose
        pixel the level lies outside ``[0, num_levels)`` counts for no class there, but
        for the covariance, which all pixels share. One without any level in range is
        left out altogether, its features may even be NaN.
      num_levels: number of levels; static.

    Returns:
      The H-scores, shape ``[h, w]``, each in ``[0, min(d, num_levels - 1)]``.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the features are not floating-point or the levels not integers.

    Example:
      >>> features = jnp.array([[0.0], [0.0], [1.0], [1.0]])
      >>> maps = jnp.array([[[0, 0]], [[0, 1]], [[1, 0]], [[1, 1]]])
      >>> dense_h_score(features, maps, num_levels=2).round(3).tolist()
      [[1.0, 0.0]]

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, section 5.2.
    """
    features, label_maps = jnp.asarray(features), jnp.asarray(label_maps)
    checks.num_axes("label_maps", label_maps, 3)
    checks.integer("label_maps", label_maps)
    checks.positive("num_levels", num_levels)
    checks.same_length(features=features, label_maps=label_maps)
    label_maps = checks.class_labels(label_maps, num_levels)
    used = jnp.any(label_maps >= 0, axis=(1, 2))
    moments = class_moments(features, jnp.where(used, 0, -1), num_classes=1)
    centred = jnp.where(used[:, None], features - moments.mean[None], 0)

    def by_level(levels):
        membership = jax.nn.one_hot(levels, num_levels, dtype=features.dtype)
        counts = jnp.maximum(membership.sum(axis=0), 1)
        sums = matmul(jnp.moveaxis(membership, 0, 2), centred)
        return sums / jnp.sqrt(counts)[..., None]

    between = jax.lax.map(by_level, jnp.moveaxis(label_maps, 1, 0))
    score = jax.vmap(_linalg.explained_trace, in_axes=(None, 0))
    return jax.vmap(score, in_axes=(None, 0))(moments, between)
