"""ReFilled: a teacher's comparisons, first of examples, then with its class centres.

The two stages are trained one after the other: the embedding by `match_triplets`, then
the classifier on it by the cross-entropy and `match_local_classifiers`.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul
from jtransfer.distillation import _vectors
from jtransfer.distillation.relations import pairwise_differences
from jtransfer.sinkhorn import normalized_centers


@jax.jit
def match_triplets(
    teacher_embeddings: ArrayLike,
    student_embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    temperature: ArrayLike = 4.0,
    margin: ArrayLike = 0.2,
) -> jax.Array:
    r"""Compares how much farther than its own class another is, in semi-hard triplets.

    .. math:: \operatorname{mean}_{(a,p,m)} \operatorname{KL}\Bigl(\sigma\Bigl(
              \frac{D^T_{am} - D^T_{ap}}{\tau}\Bigr) \,\Big\|\, \sigma\Bigl(
              \frac{D^S_{am} - D^S_{ap}}{\tau}\Bigr)\Bigr)

    between Bernoulli distributions, with the distances :math:`D` of embeddings scaled
    to length one. The triplets are those of an anchor ``a``, another example ``p`` of
    its class and one ``m`` of another class that are semi-hard to the *student*:
    :math:`0 < D^S_{am} - D^S_{ap} \le` `margin`. Which they are is no matter of
    differentiation. The memory is that of ``n^3`` numbers.

    Released code takes half of this: it joins the two probabilities of a triplet along
    the axis of the triplets and divides by twice their number.

    Args:
      teacher_embeddings: embeddings of the teacher, shape ``[n, d]``.
      student_embeddings: embeddings of the student, shape ``[n, e]``.
      labels: integer classes, shape ``[n]``.
      temperature: ``tau``, positive.
      margin: the largest difference of a semi-hard triplet.

    Returns:
      The loss in nats, shape ``[]``; 0 without triplets. Its weight is 1000 in released
      code. Equal rows have gradients of zero by their distance.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if the labels are not integers or the others not floating-point.

    Example:
      >>> angles = jnp.array([0.0, 0.2, 0.3, 1.5])
      >>> student = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
      >>> teacher = student.at[2].set(jnp.array([0.0, 1.0]))
      >>> labels = jnp.array([0, 0, 1, 1])
      >>> round(1e3 * float(match_triplets(teacher, student, labels)), 3)
      9.131

    References:
      Ye, Lu and Zhan, "Distilling Cross-Task Knowledge via Relationship Matching",
      2020, the first stage.
    """
    teacher, student = _vectors.checked_vectors(
        2, teacher_embeddings=teacher_embeddings, student_embeddings=student_embeddings
    )
    _, labels = _vectors.checked_labelled(student, labels)
    checks.same_length(teacher_embeddings=teacher, student_embeddings=student)
    teacher, student = _excesses(teacher), _excesses(student)
    chosen = _triplets(labels) & (student > 0) & (student <= margin)
    divergences = _bernoulli_divergences(teacher / temperature, student / temperature)
    number = jnp.maximum(chosen.sum(), 1).astype(student.dtype)
    return jnp.sum(jnp.where(chosen, divergences, 0)) / number


@jax.jit
def match_local_classifiers(
    teacher_embeddings: ArrayLike,
    teacher_centers: ArrayLike,
    student_logits: ArrayLike,
    labels: ArrayLike,
    *,
    temperature: ArrayLike = 2.0,
) -> jax.Array:
    r"""Compares predictions among the classes of a batch, the teacher's by its centres.

    .. math:: \frac1n \sum_x \operatorname{KL}\bigl(\rho_\tau(\langle c_k, \phi_T(x)
              \rangle)_{k \in B} \,\|\, \rho_\tau(S^k(x))_{k \in B}\bigr),

    over the classes ``B`` that occur among `labels`, with the teacher's embedding
    :math:`\phi_T` as it is and its centres :math:`c_k` of the student's classes scaled
    to length one.

    Args:
      teacher_embeddings: embeddings of the teacher, shape ``[n, d]``.
      teacher_centers: mean embeddings of the student's classes, shape ``[C, d]``; see
        `jtransfer.sinkhorn.class_centers`. Their length does not matter.
      student_logits: outputs of the student, shape ``[n, C]``.
      labels: integer labels in ``[0, C)``, shape ``[n]``.
      temperature: ``tau``, positive.

    Returns:
      The loss in nats, shape ``[]``. Its weight is 100 in released code, beside a
      cross-entropy of weight one.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if the labels are not integers or the others not floating-point.

    Example:
      >>> centers, labels = 9 * jnp.eye(3), jnp.array([0, 2])
      >>> embeddings = jnp.array([[4.0, 0.0, 1.0], [0.0, 7.0, 4.0]])
      >>> logits = jnp.array([[4.0, 99.0, 1.0], [1.0, 99.0, 1.0]])
      >>> loss = match_local_classifiers(embeddings, centers, logits, labels)
      >>> round(float(loss), 3)  # of the second example: class 1 does not occur
      0.164

    References:
      Ye, Lu and Zhan, "Distilling Cross-Task Knowledge via Relationship Matching",
      2020, the second stage.
    """
    (embeddings,) = _vectors.checked_vectors(2, teacher_embeddings=teacher_embeddings)
    logits, labels = _vectors.checked_labelled(student_logits, labels)
    centers = normalized_centers(teacher_centers)
    checks.same_length(teacher_embeddings=embeddings, student_logits=logits)
    expected = (logits.shape[1], embeddings.shape[1])
    if centers.shape != expected:
        raise ValueError(
            f"teacher_centers must have shape {expected}, got {centers.shape}."
        )
    occurs = jnp.any(_vectors.one_hot(labels, logits.shape[1], bool), axis=0)
    products = matmul(embeddings, centers.T)
    teacher = _log_probs(products, occurs, temperature)
    student = _log_probs(logits, occurs, temperature)
    return jnp.mean(_vectors.divergences(teacher, student))


def _excesses(embeddings):
    """Returns by how much `m` is farther from `a` than `p` is, `[a, p, m]`."""
    distances = _vectors.norms(
        pairwise_differences(_vectors.unit_directions(embeddings))
    )
    return distances[:, None, :] - distances[:, :, None]


def _triplets(labels):
    """Returns where `p` is a second example of the class of `a` and `m` of another."""
    same = labels[:, None] == labels[None]
    friends = same & ~jnp.eye(len(labels), dtype=bool)
    return friends[:, :, None] & ~same[:, None, :]


def _bernoulli_divergences(teacher, student):
    """KL of the distributions with these logits, without a probability that rounds."""
    log_sigmoid = jax.nn.log_sigmoid
    nearer = log_sigmoid(teacher) - log_sigmoid(student)
    farther = log_sigmoid(-teacher) - log_sigmoid(-student)
    return jax.nn.sigmoid(teacher) * nearer + jax.nn.sigmoid(-teacher) * farther


def _log_probs(logits, occurs, temperature):
    # What does not occur gets a finite logarithm of a probability that is zero, at
    # every temperature.
    least = float(jnp.finfo(logits.dtype).min) / 8
    logits = _vectors.tempered(jnp.where(occurs[None], logits, least), temperature)
    return jax.nn.log_softmax(jnp.where(occurs[None], logits, least))
