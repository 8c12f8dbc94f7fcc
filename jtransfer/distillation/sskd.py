"""SSKD: a teacher's predictions on rotated images, and what it takes them for.

The teacher's head is trained first, by `rotations.contrastive_loss` with the teacher
fixed. The student is then trained on all four views, with a head of its own.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.distillation import _vectors
from jtransfer.distillation.rotations import (
    NUM_VIEWS,
    checked_views,
    contrastive_logits,
    own_images,
    rotated_rows,
)


@jax.jit
def kept_views(
    teacher_scores: ArrayLike, truths: ArrayLike, *, fraction: ArrayLike
) -> jax.Array:
    """Returns which views a student learns from: those that the teacher gets right.

    Of the others the best are kept, those where the truth has the least rank among the
    teacher's scores: `fraction` of their number, rounded down. Of equal scores the one
    of the lower index ranks first, and of equal ranks the earlier view. Released code
    sorts with an unstable sort, so that ties fall by chance.

    Args:
      teacher_scores: scores of the teacher, shape ``[m, k]``.
      truths: the index of the truth of each view, integers in ``[0, k)``, shape
        ``[m]``; one that lies outside ranks last and counts as wrong.
      fraction: share of the wrong views to keep, in ``[0, 1]``.

    Returns:
      A mask of the views, shape ``[m]``.

    Raises:
      ValueError: if the shapes do not agree or there is no view.
      TypeError: if the scores are not floating-point or the truths not integers.

    Example:
      >>> scores = jnp.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
      >>> kept_views(scores, jnp.array([0, 0, 2]), fraction=0.5).tolist()
      [True, False, True]

    References:
      Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020, the ranking by
      the level of the error.
    """
    scores, truths = _vectors.checked_labelled(teacher_scores, truths)
    num_scores = scores.shape[1]
    truths = checks.class_labels(truths, num_scores)[:, None]
    own = jnp.take_along_axis(scores, jnp.maximum(truths, 0), axis=1)
    before = jnp.arange(num_scores, dtype=jnp.int32)[None] < truths
    ahead = (scores > own) | ((scores == own) & before)
    ranks = jnp.where(truths[:, 0] < 0, num_scores, jnp.sum(ahead, axis=1))
    num_wrong = jnp.sum(ranks > 0)
    share = jnp.asarray(fraction, scores.dtype) * num_wrong.astype(scores.dtype)
    num_kept = len(scores) - num_wrong + jnp.floor(share).astype(num_wrong.dtype)
    places = jnp.argsort(jnp.argsort(ranks, stable=True))
    return places < num_kept


@jax.jit
def match_rotated_predictions(
    teacher_logits: ArrayLike,
    student_logits: ArrayLike,
    labels: ArrayLike,
    *,
    temperature: ArrayLike = 4.0,
    fraction: ArrayLike = 1.0,
) -> jax.Array:
    r"""Compares the predictions of teacher and student on the rotated views.

    .. math:: \operatorname{mean}_{v \in K} \operatorname{KL}(\rho_\tau(T(v)) \,\|\,
              \rho_\tau(S(v))), \quad \rho_\tau(z) = \operatorname{softmax}(z / \tau),

    over the rotated views :math:`K` that `kept_views` keeps; the images as they are
    play no part. There is no factor :math:`\tau^2`. Released code sums 0.1 of the
    cross-entropy and 0.9 of `soft_targets` at temperature 4, both of the images as they
    are, 2.7 of this and 10 of `match_similarities`, each of the last three with its
    factor :math:`\tau^2`: here the weights are 0.1, 14.4, 43.2 and 2.5.

    Args:
      teacher_logits: outputs of the teacher for the views, shape ``[n, 4, C]``.
      student_logits: outputs of the student, shape ``[n, 4, C]``.
      labels: integer labels of the images in ``[0, C)``, shape ``[n]``.
      temperature: ``tau``, positive.
      fraction: share of the views to keep that the teacher gets wrong, in ``[0, 1]``.

    Returns:
      The loss in nats, shape ``[]``; 0 if no view is kept.

    Raises:
      ValueError: if the shapes do not agree, there is no image or another number of
        views than 4.
      TypeError: if the labels are not integers or the others not floating-point.

    Example:
      >>> teacher = jnp.tile(jnp.array([3.0, 0.0]), (1, 4, 1))
      >>> student = jnp.zeros((1, 4, 2))
      >>> loss = match_rotated_predictions(teacher, student, jnp.array([0]))
      >>> round(float(loss), 4)
      0.0657

    References:
      Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020.
    """
    teacher, student = checked_views(
        3, teacher_logits=teacher_logits, student_logits=student_logits
    )
    checks.same_shape(teacher_logits=teacher, student_logits=student)
    _, labels = _vectors.checked_labelled(teacher[:, 0], labels)
    truths = jnp.repeat(labels, NUM_VIEWS - 1)
    return _match_kept(
        rotated_rows(teacher), rotated_rows(student), truths, temperature, fraction
    )


@jax.jit
def match_similarities(
    teacher_projections: ArrayLike,
    student_projections: ArrayLike,
    *,
    temperature: ArrayLike = 0.5,
    fraction: ArrayLike = 0.75,
) -> jax.Array:
    r"""Compares which images the rotated views look like to teacher and student.

    .. math:: \operatorname{mean}_{v \in K} \operatorname{KL}(\rho_\tau(A^T_v) \,\|\,
              \rho_\tau(A^S_v))

    with the rows of `contrastive_logits` and the views :math:`K` that `kept_views`
    keeps, a view's own image being the truth. There is no factor :math:`\tau^2`, which
    is 0.25 in released code; see `match_rotated_predictions` for the weights.

    Args:
      teacher_projections: projections of the teacher's head, shape ``[n, 4, d]``.
      student_projections: projections of the student's head, shape ``[n, 4, e]``.
      temperature: ``tau``, positive.
      fraction: share of the views to keep that the teacher gets wrong, in ``[0, 1]``.

    Returns:
      The loss in nats, shape ``[]``; 0 if no view is kept, and 0 for one image.

    Raises:
      ValueError: if the shapes do not agree, there is no image or another number of
        views than 4.
      TypeError: if the projections are not floating-point.

    Example:
      >>> views = jnp.tile(jnp.eye(2)[:, None], (1, 4, 1))
      >>> round(float(match_similarities(views, jnp.ones((2, 4, 3)))), 4)
      0.3278

    References:
      Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020.
    """
    teacher = contrastive_logits(teacher_projections)
    student = contrastive_logits(student_projections)
    checks.same_length(teacher_projections=teacher, student_projections=student)
    truths = own_images(teacher.shape[1])
    return _match_kept(teacher, student, truths, temperature, fraction)


def _match_kept(teacher, student, truths, temperature, fraction):
    kept = kept_views(teacher, truths, fraction=fraction)
    rows = (
        jax.nn.log_softmax(_vectors.tempered(logits, temperature))
        for logits in (teacher, student)
    )
    number = jnp.maximum(jnp.sum(kept), 1).astype(student.dtype)
    return jnp.sum(jnp.where(kept, _vectors.divergences(*rows), 0)) / number
