"""Joint distributions of two variables, and their distance from independence."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import root


@jax.jit(static_argnames=("num_x", "num_y"))
def joint_distribution(
    x: ArrayLike, y: ArrayLike, *, num_x: int, num_y: int
) -> jax.Array:
    """Computes the share of the examples in each pair of symbols.

    Args:
      x: integer symbol of each example, shape ``[n]``.
      y: integer label of each example, shape ``[n]``. An example with a symbol
        outside ``[0, num_x)`` or a label outside ``[0, num_y)`` is left out.
      num_x: number of symbols; static.
      num_y: number of labels; static.

    Returns:
      The table, shape ``[Y, X]``, in the default floating-point type; zeros where no
      example is left.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the symbols or labels are not integers.

    Example:
      >>> x, y = jnp.array([0, 1, 1, 1]), jnp.array([0, 0, 1, 1])
      >>> joint_distribution(x, y, num_x=2, num_y=2).tolist()
      [[0.25, 0.25], [0.0, 0.5]]
    """
    x, y = samples(x, y, num_x, num_y)
    # Integers: float32 would stop counting at 2^24.
    cell = jnp.where(x < num_x, y * num_x + x, num_x * num_y)
    counts = jax.ops.segment_sum(jnp.ones_like(cell), cell, num_x * num_y)
    total = jnp.maximum(counts.sum(), 1)
    dtype = jnp.result_type(float)
    return (counts.astype(dtype) / total.astype(dtype)).reshape(num_y, num_x)


@jax.jit
def divergence_transition_matrix(joint: ArrayLike) -> jax.Array:
    r"""Computes how far a joint distribution is from independence, cell by cell.

    .. math:: \tilde B(y, x) = \frac{P(y, x) - P(y) P(x)}{\sqrt{P(y) P(x)}}.

    Its singular values are at most 1, and the smallest is 0.

    Args:
      joint: probabilities or counts, floating-point, shape ``[Y, X]``.

    Returns:
      The matrix, shape ``[Y, X]``; zeros in a row or column without mass.

    Raises:
      ValueError: if `joint` is not a matrix.
      TypeError: if it does not hold floating-point numbers.

    Example:
      >>> divergence_transition_matrix(jnp.eye(2)).round(4).tolist()
      [[0.5, -0.5], [-0.5, 0.5]]

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Definition 1.
    """
    joint, root_y, root_x = roots(joint)
    trivial = root_y[:, None] * root_x[None]
    positive = trivial > 0
    return jnp.where(positive, joint / jnp.where(positive, trivial, 1) - trivial, 0)


def samples(x: ArrayLike, y: ArrayLike, num_x: int, num_y: int):
    """Returns symbols and labels as int32, pairs out of range at the upper end."""
    x, y = jnp.asarray(x), jnp.asarray(y)
    for name, array in (("x", x), ("y", y)):
        checks.num_axes(name, array, 1)
        checks.integer(name, array)
    checks.same_length(x=x, y=y)
    checks.positive("num_x", num_x)
    checks.positive("num_y", num_y)
    x, y = checks.class_labels(x, num_x), checks.class_labels(y, num_y)
    valid = (x >= 0) & (y >= 0)
    return jnp.where(valid, x, num_x), jnp.where(valid, y, num_y)


def roots(joint: ArrayLike):
    """Returns the normalised table and the roots of its margins, 0 at 0."""
    joint = jnp.asarray(joint)
    checks.num_axes("joint", joint, 2)
    checks.floating("joint", joint)
    total = joint.sum()
    joint = joint / jnp.where(total > 0, total, 1)
    return joint, root(joint.sum(axis=1)), root(joint.sum(axis=0))


def quotient(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns `a / b`, 0 where `b` is 0."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)


@jax.jit
def mutual_information(joint: ArrayLike) -> jax.Array:
    r"""Computes the mutual information of a joint distribution.

    .. math:: I(X; Y) = \sum_{y, x} P(y, x) \log \frac{P(y, x)}{P(y) P(x)}.

    Args:
      joint: probabilities or counts, floating-point, shape ``[Y, X]``.

    Returns:
      The information in nats, shape ``[]``, never negative.

    Raises:
      ValueError: if `joint` is not a matrix.
      TypeError: if it does not hold floating-point numbers.

    Example:
      >>> round(float(mutual_information(jnp.eye(2))), 4)
      0.6931
    """
    joint, root_y, root_x = roots(joint)
    product = root_y[:, None] ** 2 * root_x[None] ** 2
    # With P = Q (1 + t) and sum Q t = 0 it is sum Q ((1 + t) log(1 + t) - t), whose
    # terms are small near independence and do not cancel; 0 log 0 = 0.
    excess = quotient(joint - product, product)
    positive = joint > 0
    log = jnp.log1p(jnp.where(positive, excess, 0))
    terms = jnp.where(positive, (1 + excess) * log - excess, 1)
    return jnp.maximum(jnp.sum(product * terms), 0)


@jax.jit
def local_mutual_information(joint: ArrayLike) -> jax.Array:
    r"""Computes the mutual information to second order about independence.

    .. math:: I(X; Y) \approx \tfrac12 \|\tilde B\|_F^2.

    It is half the largest H-score, right to second order in the distance from
    independence. **Away from it neither bounds the other**: where the label is one of
    6 classes in equal parts, and a function of the input, this is 2.5 and the
    information 1.79.

    Args:
      joint: probabilities or counts, floating-point, shape ``[Y, X]``.

    Returns:
      The approximation in nats, shape ``[]``.

    Raises:
      ValueError: if `joint` is not a matrix.
      TypeError: if it does not hold floating-point numbers.

    Example:
      >>> float(local_mutual_information(jnp.eye(6)).round(4))
      2.5

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Proposition 1.
    """
    return jnp.sum(divergence_transition_matrix(joint) ** 2) / 2
