"""The order of the sources, who beats whom, and which scores agree."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from jtransfer.intervals import NUM_BLOCKS, T_95, standard_error
from jtransfer.ranking.correlations import (
    pearson,
    spearman,
    top_k_regret,
    weighted_kendall,
)
from jtransfer.ranking.rows import ACCURACY, Row, Scored
from jtransfer.ranking.score_table import DECLARED
from jtransfer.zoo import is_number


def ranked(rows: Sequence[Row], names: Iterable[str]) -> list[Row]:
    """Orders the rows of all sources: ranks, groups, and who beats the next.

    Two sources of one group cannot be told apart: the 95% interval of the paired
    difference of the first of the group and the other, over the same blocks, holds 0.
    Where a score is ordered less chance, chance counts as known: it is no part of the
    blocks.

    Args:
      rows: rows of `source_rows`.
      names: the scores; the first decides the order of the sources.

    Returns:
      The rows by score and rank, then those that could not be computed.
    """
    result: list[Row] = []
    for name in dict.fromkeys([*names, *DECLARED]):
        scored = [r for r in rows if isinstance(r, Scored) and r.score == name]
        scored.sort(key=lambda row: -row.order)
        leader, group = None, 0
        for position, row in enumerate(scored):
            if leader is None or _beats(leader, row)[1]:
                leader, group = row, group + 1
            following = scored[position + 1] if position + 1 < len(scored) else None
            result.append(
                dataclasses.replace(
                    row,
                    rank=1 + sum(_exceeds(other.order, row.order) for other in scored),
                    group=group,
                    beats_next=None if following is None else _beats(row, following)[0],
                )
            )
    return result + [row for row in rows if not isinstance(row, Scored)]


class Agreement(NamedTuple):
    """Agreement of a score with the accuracy after transfer."""

    score: str
    pearson: float
    spearman: float
    weighted_kendall: float
    regret_1: float
    """Accuracy lost by choosing the first."""
    regret_3: float
    """Accuracy lost by choosing the best of the first three."""
    n_sources: int


def agreements(rows: Iterable[Row], *, accuracy: str = ACCURACY) -> list[Agreement]:
    """Compares every score with the accuracy that its sources reached on the target.

    Args:
      rows: rows whose `facts` hold the accuracy.
      accuracy: the name of that fact.

    Returns:
      One a score; none for scores with fewer than three sources of known accuracy.
    """
    return _by_score(
        (row.score, row.order, row.facts.get(accuracy))
        for row in rows
        if isinstance(row, Scored)
    )


def agreement(rows: Iterable[dict], *, accuracy: str = ACCURACY) -> list[dict]:
    """Compares scores with accuracies as `agreements` does, in dicts.

    Args:
      rows: rows of `ranking.jsonl`.
      accuracy: the name of the fact.

    Returns:
      A dict a score, with the fields of `Agreement`.
    """
    by_score = _by_score(
        (
            row["score"],
            row.get("ordered_by", row["value"]),
            row["facts"].get(accuracy),
        )
        for row in rows
        if "value" in row
    )
    return [one._asdict() for one in by_score]


def _by_score(values: Iterable[tuple[str, float, object]]) -> list[Agreement]:
    known: dict[str, list[tuple[float, float]]] = {}
    for score, value, accuracy in values:
        pairs = known.setdefault(score, [])
        if is_number(accuracy):
            pairs.append((value, accuracy))
    result = []
    for score, pairs in known.items():
        if len(pairs) < 3:
            continue
        values, accuracies = zip(*pairs, strict=True)
        result.append(
            Agreement(
                score=score,
                pearson=pearson(values, accuracies),
                spearman=spearman(values, accuracies),
                weighted_kendall=weighted_kendall(values, accuracies),
                regret_1=top_k_regret(values, accuracies, k=1),
                regret_3=top_k_regret(values, accuracies, k=3),
                n_sources=len(pairs),
            )
        )
    return result


class RankCorrelation(NamedTuple):
    """Rank correlations of each two scores."""

    scores: list[str]
    matrix: list[list[float | None]]
    """Spearman correlation of each two scores over the sources that have both; None
    where fewer than three have."""


def rank_correlation(rows: Iterable[Row]) -> RankCorrelation:
    """Returns the rank correlation of each two scores."""
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        if isinstance(row, Scored):
            values.setdefault(row.score, {})[row.source] = row.order

    def correlation(a, b):
        shared = [name for name in a if name in b]
        if len(shared) < 3:
            return None
        return spearman([a[name] for name in shared], [b[name] for name in shared])

    matrix = [[correlation(a, b) for b in values.values()] for a in values.values()]
    return RankCorrelation(list(values), matrix)


def _exceeds(a: float, b: float) -> bool:
    """Whether a is more than b and not only by rounding."""
    return a - b > 1e-12 * max(abs(a), abs(b))


def _beats(a: Scored, b: Scored) -> tuple[float, bool]:
    """The probability that a is better than b, and whether that is significant."""
    if a.replicates is None or b.replicates is None:
        exceeds = _exceeds(a.order, b.order)
        return (1.0 if exceeds else 0.5), exceeds
    error = standard_error(np.subtract(a.replicates, b.replicates))
    difference = a.order - b.order
    # Rounding is no evidence: two identical sources differ by nothing.
    error = max(error, 1e-12 * max(abs(a.order), abs(b.order), 1e-300))
    probability = special.stdtr(NUM_BLOCKS - 1, difference / error)
    return float(probability), bool(difference > T_95 * error)
