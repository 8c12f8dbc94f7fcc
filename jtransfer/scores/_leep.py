"""Scores of the labels that a source's classifier gives: LEEP and NCE."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul


@jax.jit(static_argnames=("num_classes",))
def leep(source_probs: ArrayLike, labels: ArrayLike, *, num_classes: int) -> jax.Array:
    r"""Computes the log expected empirical prediction of a source's classifier.

    With :math:`\theta_{iz}` the source's probability of its class z for example i,

    .. math:: L = \frac1n \sum_i \log \sum_z \hat P(y_i \mid z)\, \theta_{iz}, \quad
              \hat P(y, z) = \frac1n \sum_{i: y_i = y} \theta_{iz}.

    It lies in ``(-inf, 0]``, at 0 when the source's classes tell the target's apart
    without error, at about ``-H(Y)`` when they tell nothing; the more source classes
    and the fewer examples, the more it flatters. Source classes without any mass take
    no part. The cost is ``O(n Z)``.

    Args:
      source_probs: probabilities of the source's classes, shape ``[n, Z]``, rows that
        sum to one (softmax outputs, not logits).
      labels: integer target class of each example, shape ``[n]``; an example with a
        label outside ``[0, num_classes)`` is left out.
      num_classes: number of target classes; static.

    Returns:
      The score in nats, shape ``[]``; 0 for no example.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the probabilities are not floating-point or the labels not
        integers.

    Example:
      >>> probs = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
      >>> float(leep(probs, jnp.array([1, 0]), num_classes=2))
      0.0

    References:
      Nguyen et al., "LEEP: A New Measure to Evaluate Transferability of Learned
      Representations", 2020, Eq. (2).
    """
    source_probs, labels = jnp.asarray(source_probs), jnp.asarray(labels)
    checks.labelled(source_probs, labels, num_classes)
    labels = checks.class_labels(labels, num_classes)
    table = probability_table(source_probs, labels, num_classes=num_classes)
    values = log_expected_predictions(table, source_probs, labels)
    valid = labels >= 0
    return jnp.sum(values) / jnp.maximum(valid.sum(), 1).astype(values.dtype)


@jax.jit(static_argnames=("num_classes",))
def probability_table(
    source_probs: ArrayLike, labels: ArrayLike, *, num_classes: int
) -> jax.Array:
    """Computes the mass of each source class on each target class, a sum.

    Tables of disjoint sets of examples add up to that of their union.

    Args:
      source_probs: probabilities of the source's classes, shape ``[n, Z]``.
      labels: integer target class of each example, shape ``[n]``; an example with a
        label outside ``[0, num_classes)`` is left out.
      num_classes: number ``C`` of target classes; static.

    Returns:
      The sums, shape ``[C, Z]``.

    Example:
      >>> probs = jnp.array([[0.75, 0.25], [0.5, 0.5]])
      >>> probability_table(probs, jnp.array([1, 1]), num_classes=2).tolist()
      [[0.0, 0.0], [1.25, 0.75]]
    """
    source_probs, labels = jnp.asarray(source_probs), jnp.asarray(labels)
    checks.labelled(source_probs, labels, num_classes)
    labels = checks.class_labels(labels, num_classes)
    valid = labels >= 0
    source_probs = jnp.where(valid[:, None], source_probs, 0)
    membership = jax.nn.one_hot(labels, num_classes, dtype=source_probs.dtype)
    return matmul(membership.T, source_probs)


@jax.jit
def log_expected_predictions(
    table: ArrayLike, source_probs: ArrayLike, labels: ArrayLike
) -> jax.Array:
    """Computes the terms of LEEP's mean, from a table of the same or other examples.

    Args:
      table: sums of `probability_table`, shape ``[C, Z]``.
      source_probs: probabilities of the source's classes, shape ``[n, Z]``.
      labels: integer target class of each example, shape ``[n]``.

    Returns:
      The logarithms in nats, shape ``[n]``, not below that of the smallest normal
      number (which stands for an example all of whose source classes never met its
      target class in the table); 0 for a label outside ``[0, C)``.

    Example:
      >>> table = jnp.array([[1.0, 0.0], [1.0, 2.0]])
      >>> probs = jnp.array([[1.0, 0.0]])
      >>> round(float(log_expected_predictions(table, probs, jnp.array([0]))[0]), 4)
      -0.6931
    """
    table, source_probs = jnp.asarray(table), jnp.asarray(source_probs)
    labels = jnp.asarray(labels)
    mass = table.sum(axis=0)
    tiny = jnp.finfo(table.dtype).tiny
    # In units of the mass itself: a slope of 1 / mass^2 would overflow where a softmax
    # has all but underflowed.
    unit = jax.lax.stop_gradient(jnp.where(mass >= tiny, mass, 1))
    conditional = table / unit[None] / jnp.where(mass >= tiny, mass / unit, 1)[None]
    conditional = jnp.where(mass[None] >= tiny, conditional, 0)
    labels = checks.class_labels(labels, len(table))
    valid = labels >= 0
    rows = conditional[jnp.where(valid, labels, 0)]
    expected = jnp.sum(jnp.where(valid[:, None], source_probs * rows, 0), axis=1)
    tiny = jnp.finfo(expected.dtype).tiny
    return jnp.log(jnp.where(valid, jnp.maximum(expected, tiny), 1))


@jax.jit(static_argnames=("num_source_classes", "num_classes"))
def nce(
    source_labels: ArrayLike,
    labels: ArrayLike,
    *,
    num_source_classes: int,
    num_classes: int,
) -> jax.Array:
    r"""Computes the negative conditional entropy of target given source labels.

    .. math:: -H(Y \mid Z) = \sum_{y, z} \hat P(y, z) \log \hat P(y \mid z).

    It lies in ``[-H(Y), 0]``, at 0 when the source's label decides the target's. With
    many source classes and few examples it flatters: a source class that occurs once
    looks decisive. The cost is ``O(n + C Z)``; counts are exact integers.

    Args:
      source_labels: label that the source gives each example, integers, ``[n]``.
      labels: target class of each example, integers, ``[n]``. An example with either
        label out of range is left out.
      num_source_classes: number ``Z`` of source classes; static.
      num_classes: number ``C`` of target classes; static.

    Returns:
      The score in nats, shape ``[]``; 0 for no example.

    Raises:
      ValueError: if the lengths differ.
      TypeError: if labels are not integers.

    Example:
      >>> source, target = jnp.array([0, 0, 1, 2]), jnp.array([0, 1, 1, 0])
      >>> score = nce(source, target, num_source_classes=3, num_classes=2)
      >>> round(float(score), 4)
      -0.3466

    References:
      Tran, Nguyen and Hassner, "Transferability and Hardness of Supervised
      Classification Tasks", 2019, section 4.
    """
    counts = label_table(
        source_labels,
        labels,
        num_source_classes=num_source_classes,
        num_classes=num_classes,
    )
    return negative_conditional_entropy(counts)


@jax.jit(static_argnames=("num_source_classes", "num_classes"))
def label_table(
    source_labels: ArrayLike,
    labels: ArrayLike,
    *,
    num_source_classes: int,
    num_classes: int,
) -> jax.Array:
    """Counts the examples with each pair of target and source labels.

    Tables of disjoint sets of examples add up to that of their union.

    Args:
      source_labels: label that the source gives each example, integers, ``[n]``.
      labels: target class of each example, integers, ``[n]``. An example with either
        label out of range is left out.
      num_source_classes: number ``Z`` of source classes; static.
      num_classes: number ``C`` of target classes; static.

    Returns:
      The counts, int32, shape ``[C, Z]``.

    Raises:
      ValueError: if the lengths differ.
      TypeError: if labels are not integers.

    Example:
      >>> pairs = jnp.array([0, 1, 1]), jnp.array([1, 1, 1])
      >>> label_table(*pairs, num_source_classes=2, num_classes=2).tolist()
      [[0, 0], [1, 2]]
    """
    source_labels, labels = jnp.asarray(source_labels), jnp.asarray(labels)
    for name, array in (("source_labels", source_labels), ("labels", labels)):
        checks.num_axes(name, array, 1)
        checks.integer(name, array)
    checks.same_length(source_labels=source_labels, labels=labels)
    checks.positive("num_source_classes", num_source_classes)
    checks.positive("num_classes", num_classes)
    labels = checks.class_labels(labels, num_classes)
    source_labels = checks.class_labels(source_labels, num_source_classes)
    valid = (labels >= 0) & (source_labels >= 0)
    cells = num_classes * num_source_classes
    # One more cell, dropped at the end, takes the pairs that do not count.
    index = jnp.where(valid, labels * num_source_classes + source_labels, cells)
    counts = jnp.zeros(cells + 1, jnp.int32).at[index].add(1)[:cells]
    return counts.reshape(num_classes, num_source_classes)


@jax.jit
def negative_conditional_entropy(table: ArrayLike) -> jax.Array:
    """Computes the negative conditional entropy of a table of counts or masses.

    Args:
      table: counts of `label_table` or sums of `probability_table`, not negative, shape
        ``[C, Z]``.

    Returns:
      Minus the entropy of the target class given the source's, in nats, shape ``[]``;
      0 for a table of zeros.

    Example:
      >>> float(negative_conditional_entropy(jnp.array([[2, 0], [0, 5]])))
      0.0
    """
    table = jnp.asarray(table)
    if jnp.issubdtype(table.dtype, jnp.integer):
        table = table.astype(jnp.result_type(float))
    mass = table.sum(axis=0, keepdims=True)
    occurs = table >= jnp.finfo(table.dtype).tiny
    # A ratio of the two could underflow.
    logs = jnp.log(jnp.where(occurs, table, 1)) - jnp.log(jnp.where(occurs, mass, 1))
    total = table.sum()
    return jnp.sum(table * logs) / jnp.where(total > 0, total, 1)
