"""The order of the sources, who beats whom, and which scores agree."""

from collections.abc import Iterable

import numpy as np
import scipy.stats

from jtransfer.agreement import pearson, spearman, top_k_regret, weighted_kendall
from jtransfer.ranking.dealing import NUM_BLOCKS
from jtransfer.ranking.scoring import STATIC, T_95, standard_error
from jtransfer.zoo import is_number


def ranked(rows: list[dict], names: Iterable[str]) -> list[dict]:
    """Orders the rows of all sources: ranks, groups, and who beats the next.

    Two sources of one group cannot be told apart: the 95% interval of the paired
    difference of the first of the group and the other, over the same blocks, holds 0.

    Args:
      rows: rows of `source_rows`.
      names: the scores; the first decides the order of the sources.

    Returns:
      The rows by score and rank, then those that could not be computed.
    """
    result = []
    for name in dict.fromkeys([*names, *STATIC]):
        scored = [row for row in rows if row.get("score") == name and "value" in row]
        scored.sort(key=lambda row: -row["value"])
        leader, group = None, 0
        for position, row in enumerate(scored):
            if leader is None or _beats(leader, row)[1]:
                leader, group = row, group + 1
            following = scored[position + 1] if position + 1 < len(scored) else None
            beats_next = None if following is None else _beats(row, following)[0]
            rank = 1 + sum(_exceeds(other["value"], row["value"]) for other in scored)
            result.append(
                {**row, "rank": rank, "group": group, "beats_next": beats_next}
            )
    return result + [row for row in rows if "value" not in row]


def agreement(rows: list[dict], *, accuracy: str = "accuracy") -> list[dict]:
    """Compares every score with the accuracy that its sources reached on the target.

    Args:
      rows: rows with a `value` and `facts` that hold the accuracy.
      accuracy: the name of that fact.

    Returns:
      A dict a score: correlations, regrets and the number of sources; none for scores
      with fewer than three sources of known accuracy.
    """
    result = []
    for name in dict.fromkeys(row.get("score") for row in rows if "value" in row):
        pairs = [
            (row["value"], row["facts"][accuracy])
            for row in rows
            if row.get("score") == name
            and "value" in row
            and is_number(row["facts"].get(accuracy))
        ]
        if len(pairs) < 3:
            continue
        values, accuracies = zip(*pairs, strict=True)
        result.append(
            {
                "score": name,
                "pearson": pearson(values, accuracies),
                "spearman": spearman(values, accuracies),
                "weighted_kendall": weighted_kendall(values, accuracies),
                "regret_1": top_k_regret(values, accuracies, k=1),
                "regret_3": top_k_regret(values, accuracies, k=3),
                "n_sources": len(pairs),
            }
        )
    return result


def rank_correlation(rows: list[dict]) -> dict:
    """Compares the orders that the scores give.

    Args:
      rows: rows with a `value`.

    Returns:
      `scores`, their names, and `matrix`, the Spearman correlation of each two over
      the sources that have both (None where fewer than three have).
    """
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        if "value" in row:
            values.setdefault(row["score"], {})[row["source"]] = row["value"]

    def correlation(a, b):
        shared = [name for name in a if name in b]
        if len(shared) < 3:
            return None
        return spearman([a[name] for name in shared], [b[name] for name in shared])

    matrix = [[correlation(a, b) for b in values.values()] for a in values.values()]
    return {"scores": list(values), "matrix": matrix}


def _exceeds(a: float, b: float) -> bool:
    """Whether a is more than b and not only by rounding."""
    return a - b > 1e-12 * max(abs(a), abs(b))


def _beats(a: dict, b: dict) -> tuple[float, bool]:
    """The probability that a is better than b, and whether that is significant."""
    if "replicates" not in a or "replicates" not in b:
        exceeds = _exceeds(a["value"], b["value"])
        return (1.0 if exceeds else 0.5), exceeds
    error = standard_error(np.subtract(a["replicates"], b["replicates"]))
    difference = a["value"] - b["value"]
    # Rounding is no evidence: two identical sources differ by nothing.
    error = max(error, 1e-12 * max(abs(a["value"]), abs(b["value"]), 1e-300))
    probability = scipy.stats.t.cdf(difference / error, NUM_BLOCKS - 1)
    return float(probability), bool(difference > T_95 * error)
