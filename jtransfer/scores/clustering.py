"""Classes by their centres: the nearest of them, and their clusters."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul
from jtransfer.scores._leep import label_table


@jax.jit
def nearest_center_logits(features: ArrayLike, centers: ArrayLike) -> jax.Array:
    r"""Computes the logits of the nearest-class-mean classifier.

    .. math:: -\|\phi(x) - e_m\|_2^2.

    Their largest is the nearest centre, with `class_centers` (true) or
    `classifier_centers` (approximate) the classifiers of Table 2. With centres of one
    length it is that of the products :math:`e_m^T \phi(x)`. The cost is one matrix
    product.

    Args:
      features: floating-point features, shape ``[n, d]``.
      centers: centres of the classes, shape ``[C, d]``.

    Returns:
      The logits, shape ``[n, C]``, not above zero.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the arrays are not floating-point.

    Example:
      >>> centers = jnp.array([[0.0, 0.0], [4.0, 0.0]])
      >>> nearest_center_logits(jnp.array([[3.0, 0.0]]), centers).tolist()
      [[-9.0, -1.0]]

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eq. (9) and Table 2.
    """
    features, centers = jnp.asarray(features), jnp.asarray(centers)
    for name, array in (("features", features), ("centers", centers)):
        checks.num_axes(name, array, 2)
        checks.floating(name, array)
    if features.shape[1] != centers.shape[1]:
        raise ValueError(
            f"features and centers must have one number of features, got shapes "
            f"{features.shape} and {centers.shape}."
        )
    # Seen from the middle of the centres, a common offset does not cost precision.
    middle = centers.mean(axis=0, keepdims=True)
    features, centers = features - middle, centers - middle
    products = matmul(features, centers.T)
    squares = jnp.sum(centers**2, axis=1)[None] - 2 * products
    return -jnp.maximum(jnp.sum(features**2, axis=1)[:, None] + squares, 0)


@jax.jit(static_argnames=("num_clusters", "num_starts", "max_steps"))
def k_means_labels(
    points: ArrayLike,
    key: jax.Array,
    *,
    num_clusters: int,
    num_starts: int = 10,
    max_steps: int = 100,
) -> jax.Array:
    """Computes the cluster of each point by K-means, the best of several starts.

    A start draws its centres from the points, each with a probability in proportion
    to the squared distance from those already drawn; Lloyd's steps follow until no
    point changes its cluster. A cluster that runs empty keeps its centre.

    Args:
      points: floating-point points, shape ``[n, d]``.
      key: a key of `jax.random.key`.
      num_clusters: number of clusters; static.
      num_starts: number of starts, of which the one with the least sum of squared
        distances counts; static.
      max_steps: the most steps of each; static.

    Returns:
      The clusters in ``[0, num_clusters)``, integers, shape ``[n]``.

    Raises:
      ValueError: if `points` is not a matrix with a row, or a number is below one.
      TypeError: if the points are not floating-point.

    Example:
      >>> points = jnp.array([[0.0], [9.0], [0.1], [9.1]])
      >>> labels = k_means_labels(points, jax.random.key(0), num_clusters=2)
      >>> bool(labels[0] == labels[2]), bool(labels[0] == labels[1])
      (True, False)

    References:
      Lloyd, "Least Squares Quantization in PCM", 1982; Arthur and Vassilvitskii,
      "k-means++: The Advantages of Careful Seeding", 2007.
    """
    points = jnp.asarray(points)
    checks.num_axes("points", points, 2)
    checks.floating("points", points)
    for name, value in (
        ("the number of points", len(points)),
        ("num_clusters", num_clusters),
        ("num_starts", num_starts),
        ("max_steps", max_steps),
    ):
        checks.positive(name, value)
    run = functools.partial(_lloyd, num_clusters=num_clusters, max_steps=max_steps)
    keys = jax.random.split(key, num_starts)
    labels, inertias = jax.vmap(run, in_axes=(None, 0))(points, keys)
    return labels[jnp.argmin(inertias)]


@jax.jit(static_argnames=("num_labels", "num_others"))
def normalized_mutual_information(
    labels: ArrayLike, others: ArrayLike, *, num_labels: int, num_others: int
) -> jax.Array:
    r"""Computes the agreement of two partitions, whatever their labels are called.

    .. math:: \frac{2 I(A; B)}{H(A) + H(B)}.

    It lies in ``[0, 1]``: 1 for the same partition, 0 for independent ones. It is
    not corrected for chance, and grows with the number of clusters.

    Args:
      labels: integers in ``[0, num_labels)``, shape ``[n]``.
      others: integers in ``[0, num_others)``, shape ``[n]``; a pair with either out
        of range is left out.
      num_labels: number of labels of the first partition; static.
      num_others: number of labels of the second; static.

    Returns:
      The agreement, shape ``[]``; 1 if neither partition splits anything.

    Raises:
      ValueError: if the lengths differ.
      TypeError: if the labels are not integers.

    Example:
      >>> a, b = jnp.array([0, 0, 1, 2]), jnp.array([1, 1, 0, 2])
      >>> float(normalized_mutual_information(a, b, num_labels=3, num_others=3))
      1.0

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Table 9.
    """
    labels, others = jnp.asarray(labels), jnp.asarray(others)
    for name, array in (("labels", labels), ("others", others)):
        checks.num_axes(name, array, 1)
        checks.integer(name, array)
    checks.same_length(labels=labels, others=others)
    counts = label_table(
        others, labels, num_source_classes=num_others, num_classes=num_labels
    ).astype(jnp.result_type(float))
    joint = counts / jnp.maximum(counts.sum(), 1)
    first, second = _entropy(joint.sum(axis=1)), _entropy(joint.sum(axis=0))
    information = jnp.maximum(first + second - _entropy(joint), 0)
    split = first + second > 0
    agreement = 2 * information / jnp.where(split, first + second, 1)
    return jnp.where(split, jnp.minimum(agreement, 1), 1)


def _lloyd(points, key, *, num_clusters, max_steps):
    """Returns the clusters of one start `[n]` and their sum of squared distances."""

    def unfinished(carry):
        _, _, step, changed = carry
        return changed & (step < max_steps)

    def improved(carry):
        centers, labels, step, _ = carry
        new = jnp.argmin(_squares(points, centers), axis=1).astype(jnp.int32)
        members = jax.nn.one_hot(new, num_clusters, dtype=points.dtype)
        counts = members.sum(axis=0)[:, None]
        sums = matmul(members.T, points)
        centers = jnp.where(counts > 0, sums / jnp.maximum(counts, 1), centers)
        return centers, new, step + 1, jnp.any(new != labels)

    start = (
        _starting_centers(points, key, num_clusters),
        jnp.full(len(points), -1, jnp.int32),
        0,
        True,
    )
    centers, labels, _, _ = jax.lax.while_loop(unfinished, improved, start)
    return labels, jnp.sum(jnp.min(_squares(points, centers), axis=1))


def _starting_centers(points, key, num_clusters):
    def drawn(squares, key):
        # Where all points are drawn already, any of them will do.
        weights = jnp.where(jnp.any(squares > 0), squares, 1)
        center = points[jax.random.categorical(key, jnp.log(weights))]
        nearest = jnp.minimum(squares, _squares(points, center[None])[:, 0])
        return nearest, center

    keys = jax.random.split(key, num_clusters)
    # The first draw is uniform: all points are equally far from no centre.
    everywhere = jnp.full(len(points), jnp.finfo(points.dtype).max)
    return jax.lax.scan(drawn, everywhere, keys)[1]


def _squares(points, centers):
    return jnp.sum((points[:, None, :] - centers[None, :, :]) ** 2, axis=2)


def _entropy(probs):
    return -jnp.sum(
        jnp.where(probs > 0, probs * jnp.log(jnp.where(probs > 0, probs, 1)), 0)
    )
