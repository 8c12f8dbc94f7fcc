"""LogME: the maximum evidence of a linear model on the features."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks, linalg
from jtransfer.moments import Moments, class_moments
from jtransfer.scores import _linalg
from jtransfer.scores._graded import graded_spectrum


@jax.jit
def logme(moments: Moments) -> jax.Array:
    r"""Computes the log of maximum evidence of features for a classification task.

    The one-hot column ``y`` of a class is modelled as ``F w + noise`` with
    ``w ~ N(0, I / alpha)`` and noise ``N(0, I / beta)``:

    .. math:: \max_{\alpha, \beta} \frac1n \log \mathcal N\left(y;\, 0,\,
              \beta^{-1} I + \alpha^{-1} F F^T\right),

    averaged over the classes that occur. The features are neither centred nor given
    a bias, as published. The value is a log density in nats per example and class, of
    either sign, without a fixed range: compare it only between sources on the same
    examples. It is right for n < d, where the evidence of unused directions must
    be counted. Rotating the features changes nothing, nor does one factor for all of
    them; scaling single features or shifting them does.

    The maximum is found to rounding, over at least 26 orders of magnitude of
    ``alpha / beta``. A residual below the rounding of the dtype counts as that
    rounding, so a perfect fit is finite. The cost is one symmetric eigendecomposition,
    ``O(d^3)``, of the *centred* scatter; the mean enters as an exact rank-one term,
    so that a large offset of the features does not drown the rest in float32. Where
    one feature is so much wider than another that it would, two further ones (see
    `graded_spectrum`) keep the other to rounding.

    Args:
      moments: statistics of the features ``[n, d]``.

    Returns:
      The score, shape ``[]``; 0 for no example.

    Example:
      >>> from jtransfer import class_moments
      >>> labels = jnp.arange(40) % 2
      >>> noise = jax.random.normal(jax.random.key(0), (40, 8))
      >>> useful = noise.at[:, 0].add(4.0 * labels)
      >>> a, b = (
      ...     logme(class_moments(features, labels, num_classes=2))
      ...     for features in (useful, noise)
      ... )
      >>> bool(a > b)
      True

    References:
      You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer
      Learning", 2021, Eq. (2) and Algorithm 1.
    """
    dtype = moments.mean.dtype
    n = _linalg.num_examples(moments)
    counts = moments.counts.astype(dtype)
    problem = _Regression(
        scatter=moments.scatter,
        mean=moments.mean,
        products=moments.class_sums,
        target_means=counts / n,
        target_squares=counts * (1 - counts / n),
        scale=_linalg.standardization(moments) / jnp.sqrt(n),
    )
    occurs = moments.counts > 0
    evidence = _maximum_log_evidence(_in_units(problem, n), moments.counts.sum())
    num_classes = jnp.maximum(occurs.sum(), 1).astype(dtype)
    return jnp.sum(jnp.where(occurs, evidence, 0)) / num_classes


@jax.jit
def logme_regression(features: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Computes the log of maximum evidence of features for real-valued targets.

    The score of `logme`, averaged over the columns of `targets` in place of the
    one-hot columns of the classes. Multiplying the targets by c lowers it by log c.
    As the model has no intercept, an offset of the targets changes it: centre them
    unless their zero means something. A column that does not vary, which an offset of
    the features would fit without an error, is left out.

    Args:
      features: floating-point features, shape ``[n, d]``.
      targets: real-valued targets, shape ``[n, t]``.

    Returns:
      The score in nats per example and target, shape ``[]``; 0 if no column varies.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the features or targets are not floating-point.

    Example:
      >>> features = jax.random.normal(jax.random.key(0), (40, 3))
      >>> exact, noisy = features @ jnp.ones((3, 1)), features[:, :1] ** 2
      >>> bool(logme_regression(features, exact) > logme_regression(features, noisy))
      True

    References:
      You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer
      Learning", 2021, Eq. (2).
    """
    features, targets = jnp.asarray(features), jnp.asarray(targets)
    checks.num_axes("targets", targets, 2)
    checks.floating("targets", targets)
    checks.same_length(features=features, targets=targets)
    one_class = jnp.zeros(features.shape[:1], jnp.int32)
    moments = class_moments(features, one_class, num_classes=1)
    n = _linalg.num_examples(moments)
    # A column that does not vary would have the evidence of a perfect fit.
    varies = jnp.any(targets != targets[:1], axis=0)
    target_means = jnp.where(varies, targets.mean(axis=0), 0)
    centred = jnp.where(varies[None], targets - target_means[None], 0)
    problem = _Regression(
        scatter=moments.scatter,
        mean=moments.mean,
        products=linalg.matmul(centred.T, features - moments.mean[None]),
        target_means=target_means,
        target_squares=jnp.where(varies, jnp.sum(centred**2, axis=0), 1),
        scale=_linalg.standardization(moments) / jnp.sqrt(n),
    )
    problem = _in_units(problem, n)
    evidence = _maximum_log_evidence(problem, moments.counts.sum())
    count = jnp.maximum(varies.sum(), 1).astype(evidence.dtype)
    return jnp.sum(jnp.where(varies, evidence, 0)) / count


class _Regression(NamedTuple):
    """Centred second moments of features and `t` targets."""

    scatter: jax.Array  # [d, d]
    mean: jax.Array  # [d]
    products: jax.Array  # sum of (y - mean y)(f - mean f), [t, d]
    target_means: jax.Array  # [t]
    target_squares: jax.Array  # sum of (y - mean y)^2, [t]
    scale: jax.Array  # factors that give the scatter a unit diagonal, [d]


class _Spectral(NamedTuple):
    """A `_Regression` in the axes of its scatter."""

    n: jax.Array
    values: jax.Array  # eigenvalues s of the scatter, [d]
    axes: jax.Array  # [d, d]
    mean: jax.Array  # z, [d]
    products: jax.Array  # w, zero outside the range of the scatter, [t, d]
    shares: jax.Array  # w^2 / s, the squares that each axis explains, [t, d]
    residual: jax.Array  # squares that no axis explains, [t]
    target_means: jax.Array  # [t]


def _in_units(problem: _Regression, n: jax.Array) -> _Regression:
    """Features in units of their root mean square, on which nothing depends."""
    square = jnp.trace(problem.scatter) / n + jnp.sum(problem.mean**2)
    unit = jnp.sqrt(jax.lax.stop_gradient(jnp.where(square > 0, square, 1)))
    return problem._replace(
        scatter=problem.scatter / unit / unit,
        mean=problem.mean / unit,
        products=problem.products / unit,
        scale=problem.scale * unit,
    )


@jax.custom_jvp
def _maximum_log_evidence(problem: _Regression, count: jax.Array) -> jax.Array:
    """Maximum over alpha and beta of the log evidence per example, `[t]`."""
    spectral = _spectral(problem, count)
    log_ratio = _best_log_ratio(spectral)
    return jax.vmap(_log_evidence, in_axes=(_BY_TARGET, 0))(spectral, log_ratio)


@_maximum_log_evidence.defjvp
def _maximum_log_evidence_jvp(primals, tangents):
    # At the maximum only the explicit dependence on the statistics counts, and the
    # posterior mean m minimises the residual: no derivative of eigenvectors is needed.
    problem, d_problem = primals[0], tangents[0]
    spectral = _spectral(*primals)
    log_ratio = _best_log_ratio(spectral)
    value = jax.vmap(_log_evidence, in_axes=(_BY_TARGET, 0))(spectral, log_ratio)
    # In the limit of a noiseless fit the residual's slope is a difference of equals;
    # a ratio of sqrt(eps) of the least eigenvalue is wrong by as little as it rounds.
    least = jnp.min(jnp.where(spectral.values > 0, spectral.values, jnp.inf))
    floor = 0.5 * jnp.log(jnp.finfo(least.dtype).eps) + jnp.log(least)
    log_ratio = jnp.where(jnp.isfinite(floor), jnp.maximum(log_ratio, floor), log_ratio)
    over_targets = jax.vmap(_posterior, in_axes=(_BY_TARGET, 0))
    _, residual, weights, v, denominator = over_targets(spectral, log_ratio)
    n, axes = spectral.n, spectral.axes
    weights = linalg.matmul(weights, axes.T)
    misfit = n * (weights @ problem.mean - problem.target_means)
    curvature = jnp.sum(linalg.matmul(weights, d_problem.scatter) * weights, axis=1)
    d_residual = (
        d_problem.target_squares
        - 2 * jnp.sum(weights * d_problem.products, axis=1)
        + curvature
        + 2 * misfit * (weights @ d_problem.mean - d_problem.target_means)
    )
    d_scatter = linalg.matmul(linalg.matmul(axes.T, d_problem.scatter), axes)
    # An axis v without variance keeps none to first order: F v = 0, so v^T dS v = 0.
    shifted = spectral.values[None] + jnp.exp(log_ratio)[:, None]
    inverse = jnp.where(spectral.values[None] > 0, 1 / shifted, 0)
    along_mean = jnp.sum(linalg.matmul(v, d_scatter) * v, axis=1)
    along_mean -= 2 * linalg.matmul(v, axes.T) @ d_problem.mean
    d_log_det = inverse @ jnp.diagonal(d_scatter) - n * along_mean / denominator
    return value, -(d_residual / residual + d_log_det / n) / 2


_BY_TARGET = _Spectral(None, None, None, None, 0, 0, 0, 0)


def _spectral(problem: _Regression, count: jax.Array) -> _Spectral:
    values, axes, kept = graded_spectrum(problem.scatter, problem.scale, count - 1)
    products = jnp.where(kept[None], linalg.matmul(problem.products, axes), 0)
    shares = products**2 / jnp.where(kept, values, 1)[None]
    n = jnp.maximum(count, 1).astype(values.dtype)
    squares = problem.target_squares + n * problem.target_means**2
    info = jnp.finfo(values.dtype)
    residual = problem.target_squares - shares.sum(axis=1)
    residual = jnp.maximum(residual, info.eps * squares)
    # Features that span all examples leave no residual at all: no floor to climb over.
    residual = jnp.where(kept.sum() >= count - 1, 0, residual) + 16 * n * info.tiny
    return _Spectral(
        n=n,
        values=jnp.where(kept, values, 0),
        axes=axes,
        mean=linalg.matmul(problem.mean, axes),
        products=products,
        shares=shares,
        residual=residual,
        target_means=problem.target_means,
    )


def _posterior(spectral: _Spectral, log_ratio: jax.Array):
    """Evidence of one target at one ratio `alpha / beta`, and what its slope needs.

    With `G = S + n z z^T` and `t` the ratio, Sherman and Morrison give
    `(G + t)^-1 = (S + t)^-1 - n v v^T / D`, `v = (S + t)^-1 z`, `D = 1 + n z.v`; beta
    has the closed form `n / R` with `R = min_m |F m - y|^2 + t |m|^2`.
    """
    n, ratio = spectral.n, jnp.exp(log_ratio)
    shifted = spectral.values + ratio
    v = spectral.mean / shifted
    denominator = 1 + n * v @ spectral.mean
    gap = spectral.target_means - v @ spectral.products
    unexplained = spectral.shares @ (ratio / shifted)
    residual = spectral.residual + unexplained + n * gap**2 / denominator
    log_det = jnp.sum(jnp.log1p(spectral.values / ratio)) + jnp.log(denominator)
    value = -(jnp.log(2 * jnp.pi * residual / n) + 1 + log_det / n) / 2
    weights = spectral.products / shifted + v * (n * gap / denominator)
    return value, residual, weights, v, denominator


def _log_evidence(spectral: _Spectral, log_ratio: jax.Array) -> jax.Array:
    return _posterior(spectral, log_ratio)[0]


def _best_log_ratio(spectral: _Spectral) -> jax.Array:
    """The log of `alpha / beta` at the maximum, `[t]`: a grid, then golden sections."""
    unit = jnp.maximum(spectral.values[-1], spectral.n * jnp.sum(spectral.mean**2))
    unit = jnp.log(jnp.where(unit > 0, unit, 1))
    # Beside a feature of a large offset or spread the ratios of others are far down.
    least = jnp.min(jnp.where(spectral.values > 0, spectral.values, jnp.inf))
    low = jnp.minimum(-35, jnp.log(least) - unit - 15)
    low = jnp.maximum(low, 0.9 * jnp.log(jnp.finfo(unit.dtype).tiny))
    step = (25 - low) / 150
    grid = unit + low + step * jnp.arange(151, dtype=unit.dtype)
    over_targets = jax.vmap(_log_evidence, in_axes=(_BY_TARGET, None))
    on_grid = jax.lax.map(lambda t: over_targets(spectral, t), grid)
    # A noiseless fit has its maximum in the limit of small ratios: of ratios that
    # rounding cannot tell apart, take the largest.
    rounding = 16 * jnp.finfo(grid.dtype).eps * (1 + jnp.abs(on_grid))
    ties = on_grid >= jnp.max(on_grid - rounding, axis=0, keepdims=True)
    best = grid[len(grid) - 1 - jnp.argmax(ties[::-1], axis=0)]
    evidence = jax.vmap(_log_evidence, in_axes=(_BY_TARGET, 0))

    def narrower(_, interval):
        low, high = interval
        inner = low + 0.381966011250105 * (high - low)
        outer = high - 0.381966011250105 * (high - low)
        better = evidence(spectral, inner) > evidence(spectral, outer)
        return jnp.where(better, low, inner), jnp.where(better, outer, high)

    low, high = jax.lax.fori_loop(0, 40, narrower, (best - step, best + step))
    return (low + high) / 2
