"""The scores of one source, as rows with intervals, chance levels and warnings."""

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from jtransfer import assessment
from jtransfer._internal.errors import SourceError, one_line
from jtransfer.intervals import (
    NUM_BLOCKS,
    DealtLabels,
    Estimate,
    dealt_labels,
    joined_groups,
)
from jtransfer.ranking.estimates import (
    features,
    functions,
    logits,
    moments,
    neighbours,
    ridge,
    transport,
)
from jtransfer.ranking.estimates.batches import BATCH_ROWS
from jtransfer.ranking.row_warnings import reference_warnings, score_warnings
from jtransfer.ranking.rows import Failed, NotComputed, Row, Scored, scored
from jtransfer.ranking.score_table import (
    DECLARED,
    NEEDS_REFERENCE,
    OF_REFERENCE,
    OF_TRANSPORT,
    Score,
)
from jtransfer.zoo import Source, Target, is_number


def source_rows(
    source: Source,
    target: Target,
    scores: Mapping[str, Score],
    *,
    seed: int,
    comparison: functions.Comparison | None = None,
) -> list[Row]:
    """Computes the scores of one source, as rows that are not ranked yet.

    Statistics are summed in float64, whatever the dtype of the features.

    Args:
      source: the source.
      target: the labelled examples.
      scores: some of `ranking.SCORES`.
      seed: decides the blocks and the shuffles, alike for all sources.
      comparison: where the source meets the reference, if the request names one.

    Returns:
      A row a score; a single `Failed` if the source cannot be used at all.
    """
    start = time.perf_counter()
    try:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            rows = list(_rows(source, target, scores, seed, comparison))
    except SourceError as error:
        return [Failed(source=source.name, facts=source.facts, reason=str(error))]
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        reason = f"Not enough memory? {one_line(error)[:200]}"
        return [Failed(source=source.name, facts=source.facts, reason=reason)]
    seconds = round(time.perf_counter() - start, 3)
    return [dataclasses.replace(r, facts=source.facts, seconds=seconds) for r in rows]


LACK = "It needs"
"""How the reason of a score begins that is missing without any fault."""


class _Estimates(NamedTuple):
    """The estimates of a source, and facts that its rows share."""

    estimates: dict[str, Estimate]
    """By score."""
    d: int | None
    num_source_classes: int | None
    transports: dict[str, transport.TransportEstimate]
    """By the needs of `OF_TRANSPORT`."""
    logit_warnings: list[str]
    faults: dict[str, str]
    """Why scores are missing, by their needs."""
    num_copies: int
    groups: np.ndarray | None
    """By which the examples were dealt."""


def _rows(source, target, scores, seed, comparison) -> Iterator[Row]:
    labels = dealt_labels(
        target.labels,
        num_classes=target.num_classes,
        batch_rows=BATCH_ROWS,
        seed=seed,
        groups=target.groups,
    )
    computed = _computed(source, labels, scores, comparison)
    for name, score in scores.items():
        estimate = computed.estimates.get(name)
        why = computed.faults.get(score.needs)
        if comparison is None and score.needs in NEEDS_REFERENCE:
            why = f"{LACK} a reference, the model of the target's task."
        reason = _reason(score, estimate, why)
        if reason:
            yield NotComputed(source=source.name, score=name, reason=reason)
        elif score.needs in OF_REFERENCE:
            n = len(comparison.examples)
            row = scored(
                source.name,
                name,
                estimate,
                n=n,
                num_classes=target.num_classes,
                warnings=reference_warnings(estimate, n),
            )
            if score.less_chance:
                row = dataclasses.replace(row, ordered_by=row.value - row.chance)
            yield row
        else:
            yield _scored(source, name, score, estimate, computed, target)


def _computed(source, labels: DealtLabels, scores, comparison) -> _Estimates:
    """Computes what it can; a fault of logits costs no score of features."""
    estimates: dict[str, Estimate] = {}
    faults: dict[str, str] = {}
    assessed: dict[str, transport.TransportEstimate] = {}
    statistics = num_source_classes = None
    logit_warnings: list[str] = []
    needs = {score.needs for score in scores.values()}
    with _noting(faults, OF_FEATURES):
        if source.features is not None and needs & {*OF_FEATURES}:
            statistics = features.feature_statistics(source.features, labels)
            labels, statistics = _with_copies_together(source, labels, statistics)
    if statistics is not None:
        estimates |= _of_features(statistics, labels, scores)
    students = {
        "transport": None,
        "reference_student": comparison and comparison.student_logits,
        "own_student": source.student_logits,
    }
    for need, student in students.items():
        lacks = statistics is None or source.logits is None or need not in needs
        if lacks or (student is None and need != "transport"):
            continue
        with _noting(faults, (need,)):
            assessed[need] = transport.transport_estimate(
                statistics,
                source.logits,
                labels,
                head=source.head,
                centers=source.centers,
                student=student,
            )
            estimates |= _transported(assessed[need], scores, need)
    with _noting(faults, OF_LOGITS):
        if source.logits is not None and needs & {*OF_LOGITS}:
            of_logits = logits.logit_estimates(
                source.logits, labels, leave_one_out="left_out_probabilities" in needs
            )
            num_source_classes = of_logits.num_source_classes
            logit_warnings = of_logits.warnings
            estimates |= _named(scores, "probabilities", of_logits.leep)
            if of_logits.leave_one_out is not None:
                estimates |= _named(
                    scores, "left_out_probabilities", of_logits.leave_one_out
                )
            estimates |= _named(scores, "source_labels", of_logits.nce)
    with _noting(faults, OF_REFERENCE):
        estimates |= _of_functions(source, scores, comparison)
    if faults and not estimates:
        raise SourceError(next(iter(faults.values())))
    d = None if statistics is None else statistics.rows.shape[1]
    return _Estimates(
        estimates,
        d,
        num_source_classes,
        transports=assessed,
        logit_warnings=logit_warnings,
        faults=faults,
        num_copies=0 if statistics is None else statistics.num_copies,
        groups=labels.groups,
    )


def _with_copies_together(source, labels: DealtLabels, statistics):
    """Deals examples of equal features to one block, and reads the source again.

    Where they are many they are the same for all sources, whose blocks so stay alike.
    """
    groups = features.groups_of_copies(statistics)
    if groups is None:
        return labels, statistics
    if labels.groups is not None:
        groups = joined_groups(labels.groups, groups)
        if groups.max() == labels.groups.max():
            return labels, statistics
    if len(np.unique(groups[labels.labels >= 0])) < NUM_BLOCKS:
        return labels, statistics
    labels = dealt_labels(
        labels.labels,
        num_classes=labels.num_classes,
        batch_rows=BATCH_ROWS,
        seed=labels.seed,
        groups=groups,
    )
    return labels, features.feature_statistics(source.features, labels)


OF_FEATURES = ("moments", "probe", "neighbours", *OF_TRANSPORT)
OF_LOGITS = ("probabilities", "left_out_probabilities", "source_labels")


@contextlib.contextmanager
def _noting(faults: dict[str, str], needs: Iterable[str]) -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        faults |= dict.fromkeys(needs, str(error))


def _of_features(statistics, labels: DealtLabels, scores) -> dict[str, Estimate]:
    functions_of = {k: s.function for k, s in scores.items() if s.needs == "moments"}
    probes = any(score.needs == "probe" for score in scores.values())
    estimates, classifiers = moments.moment_estimates(
        functions_of, statistics, probes=probes
    )
    if probes:
        probe = ridge.probe_estimate(classifiers, statistics, labels)
        estimates |= _named(scores, "probe", probe)
    if any(score.needs == "neighbours" for score in scores.values()):
        vote = neighbours.neighbour_estimate(statistics, labels)
        estimates |= _named(scores, "neighbours", vote)
    return estimates


def _scored(source, name, score, estimate, computed: _Estimates, target) -> Scored:
    n = int((target.labels >= 0).sum())
    warnings = score_warnings(name, score, estimate, computed, target)
    plan = None
    if score.needs in OF_TRANSPORT:
        assessed = computed.transports[score.needs]
        n = assessed.n
        plan = transport.strongest_plan(assessed, source.facts)
        warnings += assessed.warnings
        if not _is_saving(score):
            warnings += assessed.flatness
    if score.needs in OF_LOGITS:
        warnings += computed.logit_warnings
    if score.needs == "neighbours":
        n = min(n, features.MAX_PROBED)
    return scored(
        source.name,
        name,
        estimate,
        n=n,
        num_classes=target.num_classes,
        d=computed.d,
        num_source_classes=computed.num_source_classes,
        plan=plan,
        warnings=warnings,
    )


def _reason(score: Score, estimate, why: str | None) -> str | None:
    """Why a score has no value, or None."""
    of_reference = score.needs in OF_REFERENCE
    if estimate is None:
        need = _LACKS.get(score.needs, score.needs)
        return why or f"{LACK} {need}, which the source or the request lacks."
    if np.isfinite([estimate.value, *estimate.replicates]).all():
        return None
    if of_reference:
        return "It is not finite: neither are outputs or gradients of the functions."
    return "It is not finite: the features are too large; rescale them."


_LACKS = {
    "moments": "features",
    "probe": "features",
    "neighbours": "features",
    "probabilities": "logits",
    "left_out_probabilities": "logits",
    "source_labels": "logits",
    "transport": "features and logits",
    "reference_student": "features, logits and a reference with logits",
    "own_student": "features, logits and student_logits",
    "attacks": "a function",
    "jacobians": "a function",
}


def _of_functions(source, scores, comparison) -> dict[str, Estimate]:
    """The estimates of scores of functions, none if the source has no function."""
    of_reference = {name: s for name, s in scores.items() if s.needs in OF_REFERENCE}
    if not of_reference:
        return {}
    if comparison is None or source.function is None:
        return {}
    return functions.function_estimates(of_reference, source, comparison)


def _transported(assessed, scores, needs: str) -> dict[str, Estimate]:
    """The estimates by the names of the scores with these needs."""
    return {
        name: assessed.saving if _is_saving(score) else assessed.equation_24
        for name, score in scores.items()
        if score.needs == needs
    }


def _is_saving(score: Score) -> bool:
    return score.function is assessment.transport_saving


def _named(scores: dict[str, Score], needs: str, estimate) -> dict:
    return {name: estimate for name, score in scores.items() if score.needs == needs}


def declared_rows(source: Source) -> list[Scored]:
    """Returns a row for each of the numbers of `DECLARED` that a source declares."""
    return [
        Scored(source=source.name, score=name, value=float(source.facts[name]))
        for name in DECLARED
        if is_number(source.facts.get(name))
    ]
