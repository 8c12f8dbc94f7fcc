"""Mutual information, exact and close to independence."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer.hgr import _tables
from jtransfer.hgr.joint import divergence_transition_matrix


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
    joint, root_y, root_x = _tables.roots(joint)
    product = root_y[:, None] ** 2 * root_x[None] ** 2
    # With P = Q (1 + t) and sum Q t = 0 it is sum Q ((1 + t) log(1 + t) - t), whose
    # terms are small near independence and do not cancel; 0 log 0 = 0.
    excess = _tables.quotient(joint - product, product)
    positive = joint > 0
    log = jnp.log1p(jnp.where(positive, excess, 0))
    terms = jnp.where(positive, (1 + excess) * log - excess, 1)
    return jnp.maximum(jnp.sum(product * terms), 0)


@jax.jit
def local_mutual_information(joint: ArrayLike) -> jax.Array:
    r"""Computes what the mutual information is close to independence.

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
