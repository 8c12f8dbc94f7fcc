"""LEEP without its flattery: each example is predicted from all others."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.scores._leep import probability_table


@jax.jit(static_argnames=("num_classes",))
def leave_one_out_leep(
    source_probs: ArrayLike,
    labels: ArrayLike,
    *,
    num_classes: int,
    concentration: ArrayLike = 1.0,
) -> jax.Array:
    r"""Computes LEEP with each example left out of the table that predicts it.

    With :math:`\theta_{iz}` the source's probability of its class z for example i, the
    sums :math:`J_{yz}` of `probability_table`, :math:`m_z = \sum_y J_{yz}` and the
    shares :math:`p_y` of the classes,

    .. math:: L = \frac1n \sum_i \log \sum_z \theta_{iz}
              \frac{J_{y_i z} - \theta_{iz} + \alpha p_{y_i}}
              {m_z - \theta_{iz} + \alpha}.

    It lies in ``(-inf, 0]``. Where the source tells nothing it is about ``-H(Y)``, the
    level of chance, for any number Z of its classes, where LEEP rises with Z / n: so
    sources of different Z can be compared. The cost is ``O(n Z)``.

    Args:
      source_probs: probabilities of the source's classes, shape ``[n, Z]``, rows that
        sum to one (softmax outputs, not logits).
      labels: integer target class of each example, shape ``[n]``; an example with a
        label outside ``[0, num_classes)`` is left out.
      num_classes: number of target classes; static.
      concentration: weight :math:`\alpha` of the classes' shares against the examples
        of a source class, in examples; positive.

    Returns:
      The score in nats, shape ``[]``; 0 for no example, or for one class.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the probabilities are not floating-point or the labels not
        integers.

    Example:
      >>> probs = jnp.eye(3)[jnp.array([0, 0, 1, 1])]
      >>> labels = jnp.array([0, 0, 1, 1])
      >>> round(float(leave_one_out_leep(probs, labels, num_classes=2)), 4)
      -0.2877

    References:
      Not published; after Nguyen et al., "LEEP: A New Measure to Evaluate
      Transferability of Learned Representations", 2020, Eq. (2), with the estimate of
      a class given a source class from the other examples, smoothed as in a
      Dirichlet-multinomial model.
    """
    source_probs, labels = jnp.asarray(source_probs), jnp.asarray(labels)
    checks.labelled(source_probs, labels, num_classes)
    labels = checks.class_labels(labels, num_classes)
    table = probability_table(source_probs, labels, num_classes=num_classes)
    valid = labels >= 0
    count = jnp.maximum(valid.sum(), 1).astype(table.dtype)
    own = jnp.where(valid, labels, 0)
    members = jax.nn.one_hot(labels, num_classes, dtype=table.dtype)
    prior = concentration * (members.sum(axis=0) / count)[own][:, None]
    probs = jnp.where(valid[:, None], source_probs, 0)
    # Rounding must not make a mass negative that was this example's alone.
    others = jnp.maximum(table[own] - probs, 0)
    mass = jnp.maximum(table.sum(axis=0)[None] - probs, others)
    expected = jnp.sum(probs * (others + prior) / (mass + concentration), axis=1)
    tiny = jnp.finfo(table.dtype).tiny
    terms = jnp.log(jnp.where(valid, jnp.maximum(expected, tiny), 1))
    return jnp.sum(terms) / count
