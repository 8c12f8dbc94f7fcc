"""SEED: similarities to a queue of examples, the teacher's and the student's."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul
from jtransfer.distillation import _vectors


def seed_queue(
    key: jax.Array, *, length: int, dim: int, dtype: DTypeLike = float
) -> jax.Array:
    """Draws a first queue: random directions, which embeddings replace one by one.

    Args:
      key: randomness.
      length: number ``K`` of rows; static. 65536 in the paper.
      dim: length ``d`` of the embeddings; static.
      dtype: floating-point type of the queue; static.

    Returns:
      The queue, shape ``[K, d]``, rows of length one.

    Raises:
      ValueError: if a size is less than 1.

    Example:
      >>> queue = seed_queue(jax.random.key(0), length=4, dim=3)
      >>> jnp.sum(queue**2, axis=1).round(5).tolist()
      [1.0, 1.0, 1.0, 1.0]

    References:
      Fang et al., "SEED: Self-supervised Distillation for Visual Representation", 2021,
      released code.
    """
    checks.positive("length", length)
    checks.positive("dim", dim)
    return _vectors.unit_directions(jax.random.normal(key, (length, dim), dtype))


@jax.jit
def seed_loss(
    teacher_embeddings: ArrayLike,
    student_embeddings: ArrayLike,
    queue: ArrayLike,
    *,
    teacher_temperature: ArrayLike = 1e-4,
    student_temperature: ArrayLike = 0.2,
) -> jax.Array:
    r"""Computes the cross-entropy of similarities to a queue; labels play no part.

    .. math:: -\frac1n \sum_x \sum_{j=0}^K p_j \log q_j, \quad
              p = \operatorname{softmax}_j \frac{\langle t, d_j \rangle}{\tau_T},
              \quad q = \operatorname{softmax}_j \frac{\langle s, d_j \rangle}{\tau_S},

    with the embeddings :math:`t` and :math:`s` of an example scaled to length one,
    :math:`d_0 = t`, and the rows :math:`d_1, \ldots, d_K` of the queue. With the
    default temperature of the teacher almost all of its weight is on :math:`d_0`. An
    embedding of zeros stays as it is, with gradient zero.

    Args:
      teacher_embeddings: embeddings of the teacher, shape ``[n, d]``.
      student_embeddings: embeddings of the student, of the same length, so through a
        trained projection if need be, shape ``[n, d]``.
      queue: rows of length one, shape ``[K, d]``: earlier embeddings of the teacher.
      teacher_temperature: positive; the default is that of released code.
      student_temperature: positive.

    Returns:
      The loss in nats, shape ``[]``, at least the entropy of the teacher's weights.

    Raises:
      ValueError: if the shapes do not agree, or there is no example or row.
      TypeError: if an array is not floating-point.

    Example:
      >>> queue, teacher = jnp.array([[0.0, 1.0]]), jnp.array([[3.0, 0.0]])
      >>> round(float(seed_loss(teacher, teacher, queue)), 4)  # log(1 + exp(-5))
      0.0067
      >>> round(float(seed_loss(teacher, queue, queue)), 4)
      5.0067

    References:
      Fang et al., "SEED: Self-supervised Distillation for Visual Representation", 2021,
      with the default temperatures of released code.
    """
    teacher, student = _vectors.matched(
        2, teacher_embeddings=teacher_embeddings, student_embeddings=student_embeddings
    )
    queue = _checked_queue(queue, teacher)
    teacher, student = map(_vectors.unit_directions, (teacher, student))
    probs = jax.nn.softmax(
        _vectors.tempered(_similarities(teacher, teacher, queue), teacher_temperature)
    )
    log_probs = jax.nn.log_softmax(
        _vectors.tempered(_similarities(student, teacher, queue), student_temperature)
    )
    return -jnp.mean(jnp.sum(probs * log_probs, axis=1))


@jax.jit
def renewed_queue(queue: ArrayLike, teacher_embeddings: ArrayLike) -> jax.Array:
    """Returns the queue with a batch at its end, and as many of the oldest rows gone.

    First in, first out: row 0 is the oldest, the last row the newest, and the batch
    keeps its order. Of a batch longer than the queue its last rows stay. A batch joins
    after its own loss, as in released code, where a pointer moves instead of the rows.

    Args:
      queue: rows of length one, shape ``[K, d]``.
      teacher_embeddings: embeddings of the teacher, shape ``[n, d]``; they are scaled
        to length one.

    Returns:
      The queue, shape ``[K, d]``.

    Raises:
      ValueError: if the shapes do not agree, or there is no example or row.
      TypeError: if an array is not floating-point.

    Example:
      >>> queue = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
      >>> renewed_queue(queue, jnp.array([[-5.0, 0.0]])).tolist()
      [[0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]]

    References:
      Fang et al., "SEED: Self-supervised Distillation for Visual Representation", 2021.
    """
    (teacher,) = _vectors.checked_vectors(2, teacher_embeddings=teacher_embeddings)
    queue = _checked_queue(queue, teacher)
    return jnp.concatenate([queue, _vectors.unit_directions(teacher)])[-len(queue) :]


def _checked_queue(queue, embeddings):
    (queue,) = _vectors.checked_vectors(2, queue=queue)
    if queue.shape[1] != embeddings.shape[1]:
        raise ValueError(
            f"The queue's rows must be of length {embeddings.shape[1]}, as the "
            f"embeddings, got {queue.shape[1]}."
        )
    return queue


def _similarities(rows, teacher, queue):
    """Returns those to the example's own teacher and to the queue, `[n, 1 + K]`."""
    own = jnp.sum(rows * teacher, axis=1, keepdims=True)
    return jnp.concatenate([own, matmul(rows, queue.T)], axis=1)
