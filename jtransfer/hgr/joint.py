"""Joint distributions of two variables, and their distance from independence."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer.hgr import _tables


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
    x, y = _tables.samples(x, y, num_x, num_y)
    # Integers: float32 would stop counting at 2^24.
    cell = jnp.where(x < num_x, y * num_x + x, num_x * num_y)
    counts = jax.ops.segment_sum(jnp.ones_like(cell), cell, num_x * num_y)
    total = jnp.maximum(counts.sum(), 1)
    return (counts / total).reshape(num_y, num_x)


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
    joint, root_y, root_x = _tables.roots(joint)
    trivial = root_y[:, None] * root_x[None]
    positive = trivial > 0
    return jnp.where(positive, joint / jnp.where(positive, trivial, 1) - trivial, 0)
