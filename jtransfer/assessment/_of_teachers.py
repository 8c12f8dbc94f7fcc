"""Assessments of a teacher: by a fictitious student, by one that has been trained."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.assessment._scores import Assessment
from jtransfer.assessment._student import fictitious_student
from jtransfer.sinkhorn import centred_cost, class_centers, sinkhorn_distances


class AssessmentSettings(NamedTuple):
    """Settings of Approximation II of a teacher's score."""

    temperature: float = 3.0
    """Of both softmax functions; the paper's, section 6.1.2."""
    epsilon: float = 0.1
    """Strength of the entropy; the paper's, section 6.1.2."""
    weight_decay: float | None = None
    """Penalty of the fictitious student, on which the paper is silent. None is the
    mean variance of a feature over n: that of scikit-learn's logistic regression, in
    units of the features."""


DEFAULT_ASSESSMENT = AssessmentSettings()
"""The settings of the Sinkhorn score of a ranking."""


@jax.jit(static_argnames=("num_classes",))
def fictitious_assessment(
    features: ArrayLike,
    teacher_logits: ArrayLike,
    teacher_centers: ArrayLike,
    labels: ArrayLike,
    *,
    num_classes: int,
    teacher_counts: ArrayLike | None = None,
    settings: AssessmentSettings = DEFAULT_ASSESSMENT,
) -> Assessment:
    r"""Assesses a teacher by its own outputs, without any training of networks.

    .. math:: Q = -\frac1n \sum_i S_\epsilon(\rho_\tau(t_i), \rho_\tau(s_i); M)

    with the teacher's logits :math:`t`, those :math:`s` of `fictitious_student` and the
    distances :math:`M` between the teacher's class centres and the mean features of the
    student's classes. Both are centred, then scaled to length one, see
    `sinkhorn.centred_cost`; the paper leaves the mean features as they are.

    Args:
      features: floating-point features of the teacher, shape ``[n, d]``.
      teacher_logits: its logits for the same examples, shape ``[n, Ct]``; one of minus
        infinity is a class without probability.
      teacher_centers: centres of the teacher's classes, shape ``[Ct, d]``: the columns
        of its last layer, or mean features.
      teacher_counts: which of the teacher's classes have a centre, where it is
        positive, shape ``[Ct]``; all if None.
      labels: integer classes of the student, shape ``[n]``; an example with a label
        outside ``[0, num_classes)`` is left out of centres, fit and mean.
      num_classes: number ``Cs`` of the student's classes; static.
      settings: temperature, entropy and penalty.

    Returns:
      The score, the mean plan ``[Ct, Cs]`` and the share of converged examples; zeros
      where no example is left.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if features are not floating-point or labels not integers.

    Example:
      >>> features = jnp.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
      >>> labels, centers = jnp.array([0, 0, 1, 1]), jnp.eye(2)
      >>> def score(logits):
      ...     return fictitious_assessment(
      ...         features, logits, centers, labels, num_classes=2
      ...     ).score
      >>> bool(score(9 * features) > score(-9 * features))
      True

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", section 5, Approximation
      II, Eqs. (6) to (8) and (24).
    """
    features, labels = jnp.asarray(features), jnp.asarray(labels)
    checks.labelled(features, labels, num_classes)
    student_logits = fictitious_student(
        features, labels, num_classes=num_classes, weight_decay=settings.weight_decay
    )
    return student_assessment(
        features,
        teacher_logits,
        teacher_centers,
        labels,
        student_logits,
        teacher_counts=teacher_counts,
        settings=settings,
    )


@jax.jit
def student_assessment(
    features: ArrayLike,
    teacher_logits: ArrayLike,
    teacher_centers: ArrayLike,
    labels: ArrayLike,
    student_logits: ArrayLike,
    *,
    teacher_counts: ArrayLike | None = None,
    settings: AssessmentSettings = DEFAULT_ASSESSMENT,
) -> Assessment:
    """Assesses a teacher by the outputs of a student that has been trained.

    With the student of this teacher it is the exact assessment, with one that has
    learnt from labels alone, the same for all teachers, Approximation I. All else is
    as in `fictitious_assessment`.

    Args:
      features: floating-point features of the teacher, shape ``[n, d]``.
      teacher_logits: its logits for the same examples, shape ``[n, Ct]``.
      teacher_centers: centres of the teacher's classes, shape ``[Ct, d]``.
      labels: integer classes of the student, shape ``[n]``; an example with a label
        outside ``[0, Cs)`` is left out of centres and mean.
      student_logits: the student's logits for the examples, shape ``[n, Cs]``.
      teacher_counts: which of the teacher's classes have a centre, where it is
        positive, shape ``[Ct]``; all if None.
      settings: temperature and entropy; the penalty is not used.

    Returns:
      The score, the mean plan ``[Ct, Cs]`` and the share of converged examples; zeros
      where no example is left.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if features are not floating-point or labels not integers.

    Example:
      >>> features = jnp.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
      >>> labels, centers = jnp.array([0, 0, 1, 1]), jnp.eye(2)
      >>> def score(student_logits):
      ...     return student_assessment(
      ...         features, 9 * features, centers, labels, student_logits
      ...     ).score
      >>> bool(score(9 * features) > score(-9 * features))
      True

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", section 5, Eq. (24) and
      Approximation I.
    """
    features, labels = jnp.asarray(features), jnp.asarray(labels)
    student_logits = jnp.asarray(student_logits, features.dtype)
    num_classes = student_logits.shape[1]
    checks.labelled(features, labels, num_classes)
    checks.same_length(features=features, student_logits=student_logits)
    teacher_logits = jnp.asarray(teacher_logits, features.dtype)
    used = ((labels >= 0) & (labels < num_classes)).astype(features.dtype)
    cost = centred_cost(
        jnp.asarray(teacher_centers, features.dtype),
        class_centers(features, labels, num_classes=num_classes),
        teacher_counts=teacher_counts,
        student_counts=used @ jax.nn.one_hot(labels, num_classes, dtype=used.dtype),
    )
    result = sinkhorn_distances(
        jax.nn.softmax(teacher_logits / settings.temperature),
        jax.nn.softmax(student_logits / settings.temperature),
        cost,
        epsilon=settings.epsilon,
    )
    n = jnp.maximum(used.sum(), 1)
    plan = jnp.sum(result.plan * used[:, None, None], axis=0) / n
    return Assessment(
        score=-jnp.sum(result.distance * used) / n,
        plan=plan,
        converged=jnp.sum(jnp.where(result.converged, used, 0)) / n,
        transport=jnp.sum(plan * cost),
    )


@jax.jit(static_argnames=("num_classes",))
def transport_saving(
    features: ArrayLike,
    teacher_logits: ArrayLike,
    teacher_centers: ArrayLike,
    labels: ArrayLike,
    shuffled_labels: ArrayLike,
    *,
    num_classes: int,
    settings: AssessmentSettings = DEFAULT_ASSESSMENT,
) -> jax.Array:
    r"""Computes what the labels save of the transport that shuffled labels cost.

    .. math:: \frac1K \sum_k \langle T_k, M_k \rangle - \langle T, M \rangle

    with the mean plans :math:`T` and costs :math:`M` of `fictitious_assessment`, for
    the labels and for :math:`K` shuffles of them. Unlike Eq. (24) it compares teachers
    of unlike classes: what depends on their number, on how sure a teacher is and on the
    entropy of its predictions is in both terms.

    Args:
      features: floating-point features of the teacher, shape ``[n, d]``.
      teacher_logits: its logits for the same examples, shape ``[n, Ct]``.
      teacher_centers: centres of the teacher's classes, shape ``[Ct, d]``.
      labels: integer classes of the student, shape ``[n]``.
      shuffled_labels: the same in other orders, shape ``[K, n]``.
      num_classes: number ``Cs`` of the student's classes; static.
      settings: temperature, entropy and penalty.

    Returns:
      The saving, shape ``[]``: higher is better, 0 is chance, and it is below 2.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if features are not floating-point or labels not integers.

    Example:
      >>> features = jnp.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
      >>> labels = jnp.array([0, 0, 1, 1])
      >>> shuffled = jnp.array([[0, 1, 0, 1], [1, 0, 0, 1]])
      >>> saving = transport_saving(
      ...     features, 9 * features, jnp.eye(2), labels, shuffled, num_classes=2
      ... )
      >>> bool(saving > 0)
      True

    References:
      Ours, from Lu, Ye and Zhan, "Selective Cross-Task Distillation", section 5.
    """

    def transport(labels):
        return fictitious_assessment(
            features,
            teacher_logits,
            teacher_centers,
            labels,
            num_classes=num_classes,
            settings=settings,
        ).transport

    shuffled = jax.lax.map(transport, jnp.asarray(shuffled_labels))
    return jnp.mean(shuffled) - transport(jnp.asarray(labels))
