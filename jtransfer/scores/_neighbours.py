"""A vote of the nearest neighbours, each example left out of its own."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul

_BLOCK_SIZE = 2**22
"""Distances that are in memory at once, 16 MiB in float32."""


@functools.partial(jax.jit, static_argnames=("num_classes", "num_neighbors"))
def knn_probe_accuracy(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    num_classes: int,
    num_neighbors: int = 5,
) -> jax.Array:
    r"""Computes the leave-one-out accuracy of a k-nearest-neighbour vote.

    .. math:: \frac1n \sum_i \left[\operatorname{vote}\{y_j : j \text{ among the } k
              \text{ nearest to } i,\ j \ne i\} = y_i\right]

    by the Euclidean distance of the features as they are: it changes with the scales of
    single features, not with a rotation, an offset or a common factor. Of equal
    distances the lower index is nearer; of classes with equally many votes the one of
    the nearest neighbour among them wins. Distances are taken about the mean, in blocks
    of rows: ``O(n^2 d)`` time, memory beside the features ``O(n)``.

    Args:
      features: floating-point features, shape ``[n, d]``.
      labels: integer classes, shape ``[n]``; an example with a label outside
        ``[0, num_classes)`` is left out, whatever its features.
      num_classes: number of classes; static.
      num_neighbors: :math:`k`; static. With no more than k others all of them vote.

    Returns:
      The share of examples classified rightly, in ``[0, 1]``, shape ``[]``; 0 for fewer
      than two classes that occur. Its gradient is zero.

    Raises:
      ValueError: if the shapes do not agree or `num_neighbors` is less than 1.
      TypeError: if features are not floating-point or labels not integers.

    Example:
      >>> x = jnp.array([[0.0], [0.1], [5.0], [5.1]])
      >>> labels = jnp.array([0, 0, 1, 1])
      >>> float(knn_probe_accuracy(x, labels, num_classes=2, num_neighbors=1))
      1.0

    References:
      Cover and Hart, "Nearest Neighbor Pattern Classification", 1967; as a score of
      transferability it did best of 23 in Sorkhei et al., arXiv 2503.18528, 2025.
    """
    features, labels = jnp.asarray(features), jnp.asarray(labels)
    checks.labelled(features, labels, num_classes)
    checks.positive("num_neighbors", num_neighbors)
    labels = checks.class_labels(labels, num_classes)
    n, valid = len(labels), labels >= 0
    count = jnp.maximum(valid.sum(), 1).astype(features.dtype)
    if n < 2:
        return jnp.zeros((), features.dtype)
    x = jnp.where(valid[:, None], jax.lax.stop_gradient(features), 0)
    mean = jnp.sum(x, axis=0) / count
    x = jnp.where(valid[:, None], x - mean[None], 0)
    # Squares of huge features would overflow.
    peak = jnp.max(jnp.abs(x))
    x = x / jnp.where(peak > 0, peak, 1)
    squares = jnp.sum(x**2, axis=1)
    nearest = min(num_neighbors, n - 1)

    def is_right(index):
        """Whether the neighbours of some examples vote for their classes."""
        rows = x[index]
        gaps = squares[index][:, None] + squares[None] - 2 * matmul(rows, x.T)
        taken = valid[None] & (index[:, None] != jnp.arange(n)[None])
        gaps = jnp.where(taken, jnp.maximum(gaps, 0), jnp.inf)
        closeness, neighbours = jax.lax.top_k(-gaps, nearest)
        votes = jnp.where(jnp.isfinite(closeness), labels[neighbours], -1)
        # As many as vote alike, for each neighbour; the first of the most decides.
        alike = votes[:, :, None] == votes[:, None, :]
        alike = jnp.where(votes >= 0, jnp.sum(alike, axis=2), 0)
        first = jnp.argmax(alike, axis=1)
        return jnp.take_along_axis(votes, first[:, None], axis=1)[:, 0] == labels[index]

    block = max(1, min(n, _BLOCK_SIZE // n))
    indices = jnp.arange(-(-n // block) * block).reshape(-1, block)
    hits = jax.lax.map(lambda i: is_right(jnp.minimum(i, n - 1)), indices)
    hits = hits.reshape(-1)[:n] & valid
    occurs = jnp.any(valid & (labels != jnp.max(labels)))
    return jnp.where(occurs, jnp.sum(hits).astype(features.dtype) / count, 0)
