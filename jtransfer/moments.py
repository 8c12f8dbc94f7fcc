"""One-pass, mergeable statistics of labelled features.

`Moments` is all that most scores need: `O(d^2 + C d)` numbers whatever the number
of examples. Batches, shards, devices and hosts each make their own with
`class_moments`, and `merge` unites them exactly.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul


class Moments(NamedTuple):
    """Statistics of `n` features `[n, d]` with labels in `C` classes.

    All sums run over the examples whose label lies in `[0, C)`, and every one is
    centred, so that a large common offset of the features costs no precision.
    """

    counts: jax.Array
    """Examples of each class, integers, `[C]`."""
    mean: jax.Array
    """Mean of all features, `[d]`."""
    scatter: jax.Array
    """Sum of `(f - mean)(f - mean)^T`, `[d, d]`."""
    class_sums: jax.Array
    """Sum of `f - mean` over each class, `[C, d]`."""
    class_squares: jax.Array
    """Sum of the squared deviations from the mean of the class, `[C, d]`."""
    cubic: jax.Array
    """Sum of `|z|^2 z`, `[d]`, with `z = (f - mean) / s`, `s^2 = tr(scatter) / n`."""
    quartic: jax.Array
    """Sum of `|z|^4`, `[]`; in units of `s`, for fourth powers overflow float32."""
    within: jax.Array | None = None
    """Sum of `(f - m)(f - m)^T`, `[d, d]`, with `m` the mean of the example's class:
    what `scatter` loses to rounding beside classes that lie far apart. None where it
    is not kept; the H-score then has the accuracy of `scatter`."""


def empty_moments(num_features: int, *, num_classes: int, dtype) -> Moments:
    """Returns the moments of no example, the neutral element of `merge`.

    Args:
      num_features: number `d` of features.
      num_classes: number `C` of classes.
      dtype: floating-point type of the statistics.

    Returns:
      Moments of zeros.

    Example:
      >>> int(empty_moments(2, num_classes=3, dtype="float32").counts.sum())
      0
    """
    checks.positive("num_features", num_features)
    checks.positive("num_classes", num_classes)
    by_class = jnp.zeros((num_classes, num_features), dtype)
    return Moments(
        counts=jnp.zeros(num_classes, jnp.int32),
        mean=by_class[0],
        scatter=jnp.zeros((num_features, num_features), dtype),
        class_sums=by_class,
        class_squares=by_class,
        cubic=by_class[0],
        quartic=by_class[0, 0],
        within=jnp.zeros((num_features, num_features), dtype),
    )


@jax.jit(static_argnames=("num_classes",))
def class_moments(
    features: ArrayLike, labels: ArrayLike, *, num_classes: int
) -> Moments:
    """Computes the moments of one batch of labelled features.

    The cost is that of `features.T @ features`, of the same for the smaller of batch
    and class sums, and of two products with the one-hot labels, `O(n d (d + C))`; the
    batch is held in memory a few times over, so feed large data in batches and `merge`
    them.

    Args:
      features: floating-point features, shape `[n, d]`, of any offset and scale
        (in float32 from about `1e-15` to `1e15`).
      labels: integer class of each example, shape `[n]`. An example with a label
        outside `[0, num_classes)` is left out of every statistic, its features may
        even be NaN: use -1 to pad batches to one shape.
      num_classes: number of classes; static. A class may be empty.

    Returns:
      The moments, in the dtype of `features`.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the features are not floating-point or the labels not integers.

    Example:
      >>> features = jnp.array([[0.0], [2.0], [7.0]])
      >>> moments = class_moments(features, jnp.array([0, 0, 1]), num_classes=2)
      >>> float(moments.mean[0]), moments.class_sums.ravel().tolist()
      (3.0, [-4.0, 4.0])

    References:
      Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", 1983.
    """
    features, labels = jnp.asarray(features), jnp.asarray(labels)
    checks.labelled(features, labels, num_classes)
    if not len(features):
        return empty_moments(
            features.shape[1], num_classes=num_classes, dtype=features.dtype
        )
    labels = checks.class_labels(labels, num_classes)
    valid = labels >= 0
    n = _floored(valid.sum(dtype=jnp.int32), features.dtype)
    # Differences from one example are exact in a constant column, and small against
    # the offset in any other: the mean is right to the spread of the features.
    first = jnp.where(valid.any(), features[jnp.argmax(valid)], 0)
    mean = first + _rows(valid, features - first[None]).sum(axis=0) / n
    centred = _rows(valid, features - mean[None])
    membership = jax.nn.one_hot(labels, num_classes, dtype=features.dtype)
    counts = membership.sum(axis=0, dtype=jnp.int32)
    class_sums = matmul(membership.T, centred)
    class_means = class_sums / _floored(counts, features.dtype)[:, None]
    deviations = _rows(valid, centred - class_means[labels])
    within = _gram(deviations)
    if num_classes < len(features):
        roots = jnp.sqrt(counts.astype(features.dtype))
        scatter = within + _gram(class_means * roots[:, None])
    else:
        scatter = _gram(centred)

    scale = _scale(scatter, n)
    norms = jnp.sum((centred / scale) ** 2, axis=1)
    return Moments(
        counts=counts,
        mean=mean,
        scatter=scatter,
        class_sums=class_sums,
        class_squares=matmul(membership.T, deviations**2),
        cubic=matmul(norms, centred) / scale,
        quartic=jnp.sum(norms**2),
        within=within,
    )


@jax.jit
def merge(a: Moments, b: Moments) -> Moments:
    """Unites the moments of two disjoint sets of examples exactly.

    Associative and commutative up to rounding; `empty_moments` is neutral. It costs
    `O(C d^2)`, without `within` `O(d^2 + C d)`, and works inside `jit`, `scan`, `vmap`
    and collectives.

    Args:
      a: moments of one set.
      b: moments of another, with the same `d` and `C`.

    Returns:
      The moments of the union.

    Raises:
      ValueError: if `a` and `b` differ in their number of features or classes.

    Example:
      >>> features, labels = jnp.arange(8.0).reshape(4, 2), jnp.array([0, 1, 1, 0])
      >>> halves = [
      ...     class_moments(features[i : i + 2], labels[i : i + 2], num_classes=2)
      ...     for i in (0, 2)
      ... ]
      >>> float(merge(*halves).scatter[0, 0])
      20.0

    References:
      Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", 1983.
    """
    checks.same_shape(a=a.class_sums, b=b.class_sums)
    dtype = a.mean.dtype
    n_a, n_b = a.counts.sum(), b.counts.sum()
    n = _floored(n_a + n_b, dtype)
    n_a, n_b = n_a.astype(dtype), n_b.astype(dtype)
    # Weights that sum to one leave a column that is constant in both exactly so.
    mean = a.mean + (b.mean - a.mean) * (n_b / n)
    difference = b.mean - a.mean
    scatter = a.scatter + b.scatter
    scatter += jnp.outer(difference, difference) * (n_a * n_b / n)
    gap = _weighted_gap(a, b)
    kept = a.within is not None and b.within is not None
    within = a.within + b.within + _gram(gap) if kept else None
    scale = _scale(scatter, n)
    cubic_a, quartic_a = _recentred(a, n_a, mean, scale)
    cubic_b, quartic_b = _recentred(b, n_b, mean, scale)
    return Moments(
        counts=a.counts + b.counts,
        mean=mean,
        scatter=scatter,
        class_sums=_shifted_sums(a, mean) + _shifted_sums(b, mean),
        class_squares=a.class_squares + b.class_squares + gap**2,
        cubic=cubic_a + cubic_b,
        quartic=quartic_a + quartic_b,
        within=within,
    )


def _shifted_sums(part: Moments, mean: jax.Array) -> jax.Array:
    counts = part.counts.astype(mean.dtype)[:, None]
    return part.class_sums + counts * (part.mean - mean)[None]


def _weighted_gap(a: Moments, b: Moments) -> jax.Array:
    """Deviations that the union adds within each class, `[C, d]`."""
    dtype = a.mean.dtype
    n_a, n_b = _floored(a.counts, dtype)[:, None], _floored(b.counts, dtype)[:, None]
    gap = (b.mean - a.mean)[None] + b.class_sums / n_b - a.class_sums / n_a
    present = ((a.counts > 0) & (b.counts > 0))[:, None]
    return jnp.where(present, jnp.sqrt(n_a * n_b / (n_a + n_b)), 0) * gap


def _recentred(part: Moments, n: jax.Array, mean: jax.Array, scale: jax.Array):
    """Sums of `|z|^2 z` and `|z|^4` about another mean, in another unit.

    With `u` the shift and `S`, `t`, `q` the second to fourth moments of a part,
    `t' = t + 2 S u + tr(S) u + n |u|^2 u` and
    `q' = q + 4 u.t + 4 u^T S u + 2 |u|^2 tr(S) + n |u|^4`.
    """
    shift = (part.mean - mean) / scale
    ratio = _scale(part.scatter, jnp.maximum(n, 1)) / scale
    cubic, quartic = part.cubic * ratio**3, part.quartic * ratio**4
    projected = matmul(part.scatter, shift / scale) / scale
    trace = jnp.trace(part.scatter) / scale / scale
    length = jnp.sum(shift**2)
    quartic += 4 * shift @ cubic + 4 * shift @ projected + 2 * length * trace
    cubic += 2 * projected + trace * shift + n * length * shift
    empty = n == 0
    return jnp.where(empty, 0, cubic), jnp.where(empty, 0, quartic + n * length**2)


def _scale(scatter: jax.Array, n: jax.Array) -> jax.Array:
    """Root mean squared distance from the mean; one where all examples coincide."""
    variance = jnp.trace(scatter) / n
    positive = variance > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1)), 1)


def _rows(valid: jax.Array, array: jax.Array) -> jax.Array:
    return jnp.where(valid[:, None], array, 0)


def _floored(counts: jax.Array, dtype) -> jax.Array:
    return jnp.maximum(counts, 1).astype(dtype)


def _gram(x: jax.Array, *, block: int = 512) -> jax.Array:
    """`x^T x` of `[n, d]`: the blocks on and above the diagonal, and their mirror."""
    starts = range(0, x.shape[1], block)
    above = [matmul(x[:, i : i + block].T, x[:, i:]) for i in starts]
    rows = []
    for i, row in zip(starts, above, strict=True):
        mirrored = [
            above[j // block][:, i - j : i - j + block].T for j in range(0, i, block)
        ]
        rows.append(jnp.concatenate([*mirrored, row], axis=1))
    return jnp.concatenate(rows) if len(rows) > 1 else above[0]
