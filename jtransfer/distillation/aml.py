"""Asymmetric metric learning: the student's queries among the teacher's examples."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal.linalg import matmul
from jtransfer.distillation import _vectors


@jax.jit
def aml_loss(
    teacher_embeddings: ArrayLike,
    student_embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    margin: ArrayLike,
) -> jax.Array:
    r"""Computes the contrastive loss of the student's examples among the teacher's.

    .. math:: \frac1n \sum_a \Bigl( \operatorname{mean}_{x \in N(a)} [s(a, x) - m]_+
              - \operatorname{mean}_{x \in P(a)} s(a, x) \Bigr), \quad
              s(a, x) = \frac{\langle f(a), g(x) \rangle}{\|f(a)\|_2 \|g(x)\|_2},

    with the student's embedding ``f`` of the anchor ``a`` and the teacher's embedding
    ``g`` of any example ``x`` of the batch. ``N(a)`` are the examples of other classes,
    ``P(a)`` those of its class, the anchor itself among them: its own teacher is a
    positive, as in the variants that the paper marks with a plus.

    The form is recalled from the paper, which sums over both sets. The weights of the
    two sums are ours: means, so that the value does not depend on the size of the
    batch, and 0 for a set without members. Released code instead squares distances:
    half of them for positives, half of their lack to the margin for negatives.

    Args:
      teacher_embeddings: embeddings of the teacher, shape ``[n, d]``.
      student_embeddings: embeddings of the student, of the same length, so through a
        trained projection if need be, shape ``[n, d]``.
      labels: integer classes, shape ``[n]``.
      margin: ``m``, the similarity up to which a negative costs nothing, in
        ``[-1, 1]``.

    Returns:
      The loss, shape ``[]``, from -1, where student and teacher agree and the classes
      lie apart. An embedding of zeros has similarity zero, with gradient zero.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if the labels are not integers or the others not floating-point.

    Example:
      >>> teacher, labels = jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([0, 1])
      >>> float(aml_loss(teacher, 3 * teacher, labels, margin=0.5))
      -1.0
      >>> float(aml_loss(teacher, teacher[::-1], labels, margin=0.5))
      0.5

    References:
      Budnik and Avrithis, "Asymmetric metric learning for knowledge transfer", 2021,
      the contrastive loss.
    """
    teacher, student = _vectors.matched(
        2, teacher_embeddings=teacher_embeddings, student_embeddings=student_embeddings
    )
    _, labels = _vectors.checked_labelled(student, labels)
    teacher, student = map(_vectors.unit_directions, (teacher, student))
    similarities = matmul(student, teacher.T)
    positives = labels[:, None] == labels[None]
    excesses = jax.nn.relu(similarities - margin)
    return jnp.mean(_means(excesses, ~positives) - _means(similarities, positives))


@jax.jit
def asymmetric_regression(
    teacher_embeddings: ArrayLike, student_embeddings: ArrayLike
) -> jax.Array:
    r"""Computes the regression of the student's directions on the teacher's.

    .. math:: \frac1n \sum_a \Bigl( 1 - \frac{\langle f(a), g(a) \rangle}{\|f(a)\|_2
              \|g(a)\|_2} \Bigr).

    There are no labels. In the paper this simple loss does best where the student's
    queries meet the teacher's database.

    Args:
      teacher_embeddings: embeddings ``g`` of the teacher, shape ``[n, d]``.
      student_embeddings: embeddings ``f`` of the student, shape ``[n, d]``.

    Returns:
      The loss, shape ``[]``, in ``[0, 2]``. An embedding of zeros has cosine zero, with
      gradient zero.

    Raises:
      ValueError: if the shapes differ or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> teacher = jnp.array([[1.0, 0.0], [0.0, 2.0]])
      >>> student = jnp.array([[5.0, 0.0], [4.0, 3.0]])
      >>> round(float(asymmetric_regression(teacher, student)), 3)  # (0 + 0.4) / 2
      0.2

    References:
      Budnik and Avrithis, "Asymmetric metric learning for knowledge transfer", 2021,
      the regression loss, a mean for the sum and 1 added.
    """
    teacher, student = _vectors.matched(
        2, teacher_embeddings=teacher_embeddings, student_embeddings=student_embeddings
    )
    teacher, student = map(_vectors.unit_directions, (teacher, student))
    return 1 - jnp.mean(jnp.sum(teacher * student, axis=1))


def _means(values, members):
    """Returns the means `[n]` of each row over its members; 0 where it has none."""
    numbers = jnp.maximum(jnp.sum(members, axis=1), 1).astype(values.dtype)
    return jnp.sum(jnp.where(members, values, 0), axis=1) / numbers
