"""Relational distillation: distances and angles among the examples of a batch."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul
from jtransfer.distillation import _vectors


@jax.jit
def match_distances(
    teacher_embeddings: ArrayLike, student_embeddings: ArrayLike
) -> jax.Array:
    r"""Compares the distances among examples, in units of their mean.

    .. math:: \frac{1}{n^2} \sum_{i,j} \ell\Bigl(\frac{\|t_i - t_j\|_2}{\mu_T} -
              \frac{\|s_i - s_j\|_2}{\mu_S}\Bigr), \quad
              \ell(r) = \begin{cases} r^2 / 2 & |r| \le 1 \\ |r| - 1/2 &
              \text{else,} \end{cases}

    with the mean distance :math:`\mu` of all pairs of two different examples.
    Embeddings of teacher and student may differ in length. Equal rows are at distance
    zero with gradient zero; where all are equal, all distances count as zero.

    Args:
      teacher_embeddings: embeddings of the teacher, shape ``[n, d]``.
      student_embeddings: embeddings of the student, shape ``[n, e]``.

    Returns:
      The loss, shape ``[]``. Its weight is 1 in the paper, 25 in much code.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> square = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
      >>> bool(match_distances(square, 7 * square + 3) < 1e-9)
      True
      >>> round(float(match_distances(square, square.at[2].set(5.0))), 3)
      0.192

    References:
      Park et al., "Relational Knowledge Distillation", 2019, Eqs. (5) to (8), with a
      mean for the sum as in released code.
    """
    teacher, student = _pair(teacher_embeddings, student_embeddings)
    return jnp.mean(_huber(_relative_distances(teacher) - _relative_distances(student)))


@jax.jit
def match_angles(
    teacher_embeddings: ArrayLike, student_embeddings: ArrayLike
) -> jax.Array:
    r"""Compares the angles of all triangles among examples.

    .. math:: \frac{1}{n^3} \sum_{i,j,k} \ell\bigl(\langle t_{ij}, t_{ik} \rangle -
              \langle s_{ij}, s_{ik} \rangle\bigr), \quad
              t_{ij} = \frac{t_i - t_j}{\|t_i - t_j\|_2},

    with :math:`\ell` of `match_distances`; the cosine at example ``i``. A side between
    equal rows has direction zero and gradient zero. The memory is that of ``n^3`` and
    ``n^2 d`` numbers.

    Args:
      teacher_embeddings: embeddings of the teacher, shape ``[n, d]``.
      student_embeddings: embeddings of the student, shape ``[n, e]``.

    Returns:
      The loss, shape ``[]``. Its weight is 2 in the paper, 50 in much code.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> bent, flat = jnp.array([[0.0], [1.0], [3.0]]), jnp.eye(3)
      >>> round(float(match_angles(bent, flat)), 3)
      0.093

    References:
      Park et al., "Relational Knowledge Distillation", 2019, Eqs. (9) and (10), with a
      mean for the sum as in released code.
    """
    teacher, student = _pair(teacher_embeddings, student_embeddings)
    return jnp.mean(_huber(_cosines(teacher) - _cosines(student)))


def pairwise_differences(embeddings: jax.Array) -> jax.Array:
    """Returns the differences `[n, n, d]` of all pairs of rows, the first less."""
    return embeddings[:, None, :] - embeddings[None, :, :]


def _pair(teacher_embeddings, student_embeddings):
    teacher, student = _vectors.checked_vectors(
        2, teacher_embeddings=teacher_embeddings, student_embeddings=student_embeddings
    )
    checks.same_length(teacher_embeddings=teacher, student_embeddings=student)
    return teacher, student


def _relative_distances(embeddings):
    n = len(embeddings)
    distances = _vectors.norms(pairwise_differences(embeddings))
    mean = jnp.sum(distances) / max(n * (n - 1), 1)
    return jnp.where(mean > 0, distances / jnp.where(mean > 0, mean, 1), 0)


def _cosines(embeddings):
    directions = _vectors.unit_directions(pairwise_differences(embeddings))
    return matmul(directions, jnp.swapaxes(directions, 1, 2))


def _huber(errors):
    sizes = jnp.abs(errors)
    return jnp.where(sizes < 1, errors**2 / 2, sizes - 0.5)
