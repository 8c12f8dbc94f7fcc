"""The scores of one source, as rows with intervals, chance levels and warnings."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
import scipy.stats

from jtransfer.ranking import (
    _estimates,
    _logit_estimates,
    dealing,
    pair_estimates,
    transport_estimates,
)
from jtransfer.zoo import Source, SourceError, Target, is_number, one_line

STATIC = ("parameters", "source_accuracy")
"""Facts that a source may declare, ranked beside the scores as baselines."""
T_95 = float(scipy.stats.t.ppf(0.975, dealing.NUM_BLOCKS - 1))
"""Half the width of a 95% interval, in standard errors."""


class Score(NamedTuple):
    """One entry of the table of scores."""

    function: Callable
    """The score."""
    needs: str
    """What it is computed from. `moments`: the function is called with `Moments` of the
    source's features. `probe`, `probabilities`, `source_labels`: the ridge probe, LEEP
    and NCE, which `_estimates` and `_logit_estimates` compute from streams.
    `transport`: the Sinkhorn score, which `transport_estimates` computes. `attacks`,
    `jacobians`: the function is called with `pairs.AttackSums`, `pairs.Grams` of the
    source's function and the reference's. Anything else is a reason in a row."""
    reference: str
    """Where it was published."""


ON_REQUEST = ("transport",)
"""Needs whose scores are computed only by name: they take many times longer."""
OF_REFERENCE = ("attacks", "jacobians")
"""Needs that only a request with a reference meets."""


def source_rows(
    source: Source,
    target: Target,
    scores: dict[str, Score],
    *,
    seed: int,
    comparison: pair_estimates.Comparison | None = None,
) -> list[dict]:
    """Computes the scores of one source, as rows that are not ranked yet.

    Statistics are summed in float64, whatever the dtype of the features.

    Args:
      source: the source.
      target: the labelled examples.
      scores: some of `ranking.SCORES`.
      seed: decides the blocks and the shuffles, alike for all sources.
      comparison: where the source meets the reference, if the request names one.

    Returns:
      A dict a score, with what `ranked` needs; one dict with a `reason` if the source
      cannot be used at all.
    """
    start = time.perf_counter()
    facts = {"source": source.name, "facts": source.facts}
    try:
        with jax.enable_x64(True):
            rows = list(_scored(source, target, scores, seed, comparison))
    except SourceError as error:
        return [{**facts, "reason": str(error)}]
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        return [{**facts, "reason": f"Not enough memory? {one_line(error)[:200]}"}]
    seconds = round(time.perf_counter() - start, 3)
    return [{**facts, **row, "seconds": seconds} for row in rows]


def estimate_row(estimate: _estimates.Estimate) -> dict:
    """Returns a value with its interval, its chance level and its replicates."""
    value, replicates = float(estimate.value), estimate.replicates
    error = standard_error(replicates)
    return {
        "value": value,
        "standard_error": error,
        "low": value - T_95 * error,
        "high": value + T_95 * error,
        "chance": float(estimate.shuffled.mean()),
        "chance_high": float(estimate.shuffled.max()),
        "replicates": [float(replicate) for replicate in replicates],
    }


def standard_error(replicates: np.ndarray) -> float:
    """Returns the jackknife's: replicates that miss one of g blocks vary too little."""
    g = len(replicates)
    return float(np.sqrt((g - 1) / g * np.sum((replicates - replicates.mean()) ** 2)))


def _scored(source, target, scores, seed, comparison) -> Iterator[dict]:
    labels = dealing.dealt_labels(
        target.labels, num_classes=target.num_classes, seed=seed
    )
    n = int((target.labels >= 0).sum())
    facts = {"n": n, "num_classes": target.num_classes}
    found: dict[str, _estimates.Estimate] = {}
    transport = None
    needs = {score.needs for score in scores.values()}
    if source.features is not None and needs & {"moments", "probe", "transport"}:
        statistics = _estimates.feature_statistics(source.features(), labels)
        facts["d"] = statistics.rows.shape[1]
        of_moments = {k: s.function for k, s in scores.items() if s.needs == "moments"}
        estimates = _estimates.moment_estimates(tuple(of_moments.values()), statistics)
        found |= dict(zip(of_moments, estimates, strict=True))
        if "probe" in needs:
            found |= _named(
                scores, "probe", _estimates.probe_estimate(statistics, labels)
            )
        if "transport" in needs and source.logits is not None:
            transport = transport_estimates.transport_estimate(
                statistics, source.logits, labels, head=source.head
            )
            found |= _named(scores, "transport", transport.estimate)
    if source.logits is not None and needs & {"probabilities", "source_labels"}:
        estimates = _logit_estimates.logit_estimates(source.logits, labels)
        facts["num_source_classes"] = estimates.num_source_classes
        found |= _named(scores, "probabilities", estimates.leep)
        found |= _named(scores, "source_labels", estimates.nce)
    of_functions, why = _of_functions(source, scores, comparison)
    found |= of_functions
    for name, score in scores.items():
        estimate = found.get(name)
        reason = _reason(score, estimate, why)
        if reason:
            yield {"score": name, "reason": reason}
        elif score.needs in OF_REFERENCE:
            own = {"n": len(comparison.images), "num_classes": target.num_classes}
            warnings = _pair_warnings(estimate, own["n"])
            yield {"score": name, **estimate_row(estimate), **own, "warnings": warnings}
        else:
            warnings = _warnings(name, score, estimate, target, facts)
            row = {**estimate_row(estimate), **facts}
            if score.needs == "transport":
                warnings += transport.warnings
                row |= transport_estimates.plan_facts(transport, source.facts)
            yield {"score": name, **row, "warnings": warnings}


def _reason(score: Score, estimate, why: str | None) -> str | None:
    """Why a score has no value, or None."""
    of_reference = score.needs in OF_REFERENCE
    if estimate is None:
        need = _LACKS.get(score.needs, score.needs)
        reason = f"It needs {need}, which the source or the request lacks."
        return why if of_reference and why else reason
    if np.isfinite([estimate.value, *estimate.replicates]).all():
        return None
    if of_reference:
        return "It is not finite: neither are outputs or gradients of the functions."
    return "It is not finite: the features are too large; rescale them."


_LACKS = {
    "moments": "features",
    "probe": "features",
    "probabilities": "logits",
    "source_labels": "logits",
    "transport": "features and logits",
    "attacks": "a function",
    "jacobians": "a function",
}


def _of_functions(source, scores, comparison) -> tuple[dict, str | None]:
    """The estimates of scores of functions, or none and why."""
    wanted = {name: s for name, s in scores.items() if s.needs in OF_REFERENCE}
    if not wanted:
        return {}, None
    if comparison is None:
        return {}, "It needs --reference, the model of the target's task."
    if source.function is None:
        return {}, None
    try:
        return pair_estimates.function_estimates(wanted, source, comparison), None
    except SourceError as error:
        return {}, str(error)


def _named(scores: dict[str, Score], needs: str, estimate) -> dict:
    return {name: estimate for name, score in scores.items() if score.needs == needs}


def static_rows(source: Source) -> list[dict]:
    """Returns a row for each of the facts in `STATIC` that a source declares."""
    empty = dict.fromkeys(("standard_error", "low", "high", "chance", "chance_high"))
    return [
        {
            "source": source.name,
            "score": name,
            "value": float(source.facts[name]),
            **empty,
            "warnings": [],
        }
        for name in STATIC
        if is_number(source.facts.get(name))
    ]


def _pair_warnings(estimate, n: int) -> list[str]:
    warnings = []
    if estimate.value <= estimate.shuffled.max():
        warnings.append("Not above what examples that are paired wrongly give.")
    if n < 3 * dealing.NUM_BLOCKS:
        warnings.append(_FEW.format(n=n))
    return warnings


_FEW = "n = {n}: too few examples for a sound interval."


def _warnings(
    name: str, score: Score, estimate, target: Target, facts: dict
) -> list[str]:
    n, d, warnings = facts["n"], facts.get("d"), []
    if name == "h_score" and n <= d:
        warnings.append(
            "n <= d: the plain H-score is at its maximum for any features, even noise; "
            "read regularized_h_score."
        )
    elif name == "h_score" and n < 10 * d:
        warnings.append(
            "n < 10 d: chance alone gives the plain H-score about (C - 1) d / n; "
            "compare it with the chance level."
        )
    source_classes = facts.get("num_source_classes")
    if score.needs in ("probabilities", "source_labels") and (
        source_classes * target.num_classes > n
    ):
        warnings.append(
            f"{source_classes} source classes x {target.num_classes} classes > n = "
            f"{n}: {name} flatters sources with many classes."
        )
    if estimate.value <= estimate.shuffled.max():
        warnings.append("Not above what shuffled labels give.")
    counts = np.bincount(
        target.labels[target.labels >= 0], minlength=target.num_classes
    )
    single = int((counts == 1).sum())
    if single:
        warnings.append(f"{single} of the classes have a single example.")
    if n < 3 * dealing.NUM_BLOCKS:
        warnings.append(_FEW.format(n=n))
    return warnings
