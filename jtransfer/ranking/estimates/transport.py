"""The Sinkhorn scores of a source: value, jackknife, chance level and transport plan.

Approximation II of "Selective Cross-Task Distillation", see
`assessment.fictitious_assessment`: a linear classifier on the source's features stands
for the student, the columns of the source's own last layer for the centres of its
classes, mean features for those of the target.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.special import softmax

from jtransfer._internal.errors import SourceError
from jtransfer._internal.memory import memory_fault
from jtransfer.assessment import (
    DEFAULT_ASSESSMENT,
    fictitious_assessment,
    student_assessment,
)
from jtransfer.intervals import NUM_BLOCKS, DealtLabels, Estimate
from jtransfer.ranking.estimates.batches import dealt_logits
from jtransfer.ranking.estimates.features import FeatureStatistics
from jtransfer.ranking.rows import Plan
from jtransfer.zoo import source_errors

MAX_ASSESSED = 1000
"""Examples that are assessed, at most: drawn from those that the probe keeps."""
NUM_TRANSPORT_SHUFFLES = 5
"""Shuffles of the labels: each costs as much as the score itself."""
MAX_PLAN_ROWS = 40
"""Classes of the source whose part of the plan is kept: those of most mass."""
_CLASSES = 16  # The source's classes are filled up to a multiple, to compile less.


class TransportEstimate(NamedTuple):
    """The Sinkhorn scores by one student, with their reasons."""

    saving: Estimate
    """What the labels save of the transport, see `assessment.transport_saving`."""
    equation_24: Estimate
    plan: np.ndarray
    """Mean plan from the source's classes to the target's, `[Z, C]`, of sum one."""
    n: int
    """Examples assessed."""
    warnings: list[str]
    """Of both scores."""
    flatness: list[str]
    """Of Eq. (24) alone."""


def transport_estimate(
    statistics: FeatureStatistics,
    logits: Callable[[], Iterable],
    target: DealtLabels,
    *,
    head: Callable[[], np.ndarray] | None,
    centers: Callable[[], np.ndarray | None] | None = None,
    student: Callable[[], Iterable] | None = None,
) -> TransportEstimate:
    """Assesses a source as the teacher of a student of the target.

    The student is fitted, and the centres computed, on the very examples assessed, as
    in the paper: once for the score, again without each block, and again for each
    shuffle of the labels. A student that is given stays what it is.

    Args:
      statistics: what one pass over the source's features has left.
      logits: returns the source's logits `[n, Z]`, as an array or in pieces.
      target: the labels.
      head: returns the weights `[d, Z]` of the source's last layer; without it they
        are the linear map from features to logits.
      centers: returns the centres `[Z, d]` of the source's classes, or None for `head`.
      student: returns the logits `[n, C]` of a trained student; None fits one.

    Returns:
      The score and its reasons.

    Raises:
      SourceError: if the logits are too few, too many or not finite, if the weights do
        not fit, or if the plans cannot fit in the memory.
    """
    kept = _assessed(len(statistics.rows), target.seed)
    features, indices = statistics.rows[kept], statistics.row_indices[kept]
    notes: list[str] = []
    outputs = _rows_at(logits, indices, target, notes)
    weights, warnings = _centers(centers, features, outputs)
    if weights is None:
        weights, warnings = _weights(head, features, outputs)
    answers = None
    if student is not None:
        answers = _rows_at(student, indices, target, notes).astype(np.float32)
        if answers.shape[1] != target.num_classes or not np.isfinite(answers).all():
            raise SourceError(
                f"The student's logits must be finite, {target.num_classes} a row as "
                f"the target has classes, got {answers.shape[1]} columns."
            )
    warnings = [*notes, *warnings]
    labels, shuffled = (
        target.labels[indices],
        target.shuffled[:NUM_TRANSPORT_SHUFFLES, indices],
    )
    _check_memory(len(labels), outputs.shape[1], target.num_classes)
    blocks = np.arange(NUM_BLOCKS)[:, None] == statistics.row_blocks[kept][None]
    variants = [labels[None], np.where(blocks, -1, labels[None]), shuffled]
    unused = ((0, 0), (0, -outputs.shape[1] % _CLASSES))
    assessed = _assessments(
        features.astype(np.float32),
        np.pad(outputs, unused, constant_values=-np.inf).astype(np.float32),
        np.pad(weights, unused).T.astype(np.float32),
        np.concatenate(variants).astype(np.int32),
        # A class that is masked everywhere has no centre either.
        np.pad(~np.isneginf(outputs).all(axis=0), unused[1]).astype(np.float32),
        answers,
        num_classes=target.num_classes,
    )
    scores, transports, converged, plan = (np.asarray(x, np.float64) for x in assessed)
    if converged.min() < 1:
        warnings.append(
            f"Sinkhorn's algorithm did not converge for {1 - converged.min():.1%} of "
            "the examples: the value is not exact."
        )
    whole, without, by_shuffle = np.split(transports, [1, 1 + NUM_BLOCKS])
    chance = by_shuffle.mean()
    saving = Estimate(chance - whole[0], chance - without, chance - by_shuffle)
    whole, without, by_shuffle = np.split(scores, [1, 1 + NUM_BLOCKS])
    equation_24 = Estimate(whole[0], without, by_shuffle)
    return TransportEstimate(
        saving=saving,
        equation_24=equation_24,
        plan=plan[: outputs.shape[1]],
        n=len(labels),
        warnings=warnings,
        flatness=_flatness(outputs),
    )


def _check_memory(n: int, num_source: int, num_classes: int) -> None:
    """The plans of all examples, and what they are made of."""
    size = 3 * np.dtype(np.float32).itemsize * n * num_source * num_classes
    fault = memory_fault(size)
    if fault is not None:
        raise SourceError(
            f"It {fault}: plans of {n} examples between {num_source} and {num_classes} "
            "classes; leave the Sinkhorn score out."
        )


def strongest_plan(assessed: TransportEstimate, facts: Mapping[str, Any]) -> Plan:
    """Returns the strongest rows of a plan, with the names of the source's classes.

    Args:
      assessed: the estimate.
      facts: of the source; `source_classes` or `class_names` are names of its classes.
    """
    names = facts.get("source_classes") or facts.get("class_names") or ()
    if len(names) != len(assessed.plan):
        names = range(len(assessed.plan))
    masses = assessed.plan.sum(axis=1)
    strongest = np.argsort(-masses, kind="stable")[:MAX_PLAN_ROWS]
    return Plan(
        source_classes=[str(names[i]) for i in strongest],
        masses=[[float(f"{x:.3g}") for x in assessed.plan[i]] for i in strongest],
        left_out=float(f"{masses.sum() - masses[strongest].sum():.3g}"),
    )


def _assessed(num_rows: int, seed: int) -> np.ndarray:
    if num_rows <= MAX_ASSESSED:
        return np.arange(num_rows)
    rng = np.random.default_rng([seed, 3])
    return np.sort(rng.choice(num_rows, MAX_ASSESSED, replace=False))


def _rows_at(
    batches, indices: np.ndarray, target: DealtLabels, notes: list[str]
) -> np.ndarray:
    """Returns the rows at some positions, in their order, from one pass."""
    place = np.full(len(target.labels), -1)
    place[indices] = np.arange(len(indices))
    kept = None
    for rows, positions in dealt_logits(batches, target, notes):
        chosen = (positions >= 0) & (place[positions] >= 0)
        if kept is None:
            kept = np.zeros((len(indices), rows.shape[-1]))
        kept[place[positions[chosen]]] = rows[chosen]
    return kept


def _centers(centers, features, outputs) -> tuple[np.ndarray | None, list[str]]:
    """Returns the true centres as columns `[d, Z]`, or None, and no warning."""
    if centers is None:
        return None, []
    with source_errors():
        held = centers()
        held = None if held is None else np.asarray(held, np.float64)
    expected = (outputs.shape[1], features.shape[1])
    if held is not None and (held.shape != expected or not np.isfinite(held).all()):
        raise SourceError(
            f"class_centers must be finite and of shape {list(expected)}, got "
            f"{list(held.shape)}."
        )
    return (None if held is None else held.T), []


def _weights(head, features, outputs) -> tuple[np.ndarray, list[str]]:
    """Returns the weights `[d, Z]` of the last layer, and warnings about them."""
    expected = (features.shape[1], outputs.shape[1])
    if head is not None:
        with source_errors():
            weights = np.asarray(head(), np.float64)
        if weights.shape != expected or not np.isfinite(weights).all():
            raise SourceError(
                f"classifier must be finite and of shape {list(expected)}, got "
                f"{list(weights.shape)}."
            )
        return weights, []
    masked = np.isneginf(outputs)
    if (masked.any(axis=0) & ~masked.all(axis=0)).any():
        raise SourceError(
            "logits mask a class in some rows only, so that they do not determine the "
            "source's last layer; give its weights as the array classifier."
        )
    # A class that is masked everywhere has no mass, wherever its centre lies.
    outputs = np.where(masked, 0, outputs)
    centred, targets = features - features.mean(axis=0), outputs - outputs.mean(axis=0)
    weights = np.linalg.lstsq(centred, targets, rcond=None)[0]
    residual = targets - centred @ weights
    missed = np.sum(residual**2) / max(np.sum(targets**2), 1e-300)
    if len(features) <= expected[0]:
        return weights, [
            f"n = {len(features)} <= d = {expected[0]}: the features do not determine "
            "the source's last layer; give its weights as the array classifier."
        ]
    if missed > 1e-3:
        return weights, [
            "The logits are no linear function of the features: it explains "
            f"{1 - missed:.1%} of them, and gives the centres of the source's classes."
        ]
    return weights, []


def _flatness(outputs: np.ndarray) -> list[str]:
    """Warns of predictions whose entropy alone makes a plan cheap."""
    temperature = DEFAULT_ASSESSMENT.temperature
    probs = softmax(outputs / temperature, axis=1)
    logs = np.log(np.maximum(probs, 1e-300))
    entropy, largest = -np.mean(np.sum(probs * logs, axis=1)), np.log(probs.shape[1])
    if probs.shape[1] < 2 or entropy < 0.95 * largest:
        return []
    return [
        f"At temperature {temperature:g} the source's predictions are almost uniform "
        f"({entropy:.2f} of {largest:.2f} nats), which alone makes this score high."
    ]


@jax.jit(static_argnames=("num_classes",))
def _assessments(features, logits, centers, labels, counts, student, *, num_classes):
    """Scores, transports, converged shares by row of labels, and the first plan.

    The centres are of the source's classes, those with a count.
    """

    def assessment(labels):
        if student is not None:
            return student_assessment(
                features,
                logits,
                centers,
                labels,
                student,
                teacher_counts=counts,
                settings=DEFAULT_ASSESSMENT,
            )
        return fictitious_assessment(
            features,
            logits,
            centers,
            labels,
            num_classes=num_classes,
            teacher_counts=counts,
            settings=DEFAULT_ASSESSMENT,
        )

    assessed = jax.lax.map(assessment, labels)
    return (
        assessed.score,
        assessed.transport,
        assessed.converged,
        assessed.plan[0],
    )
