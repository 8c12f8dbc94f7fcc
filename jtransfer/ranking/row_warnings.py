"""Warnings in the rows of a ranking: where a number is not what it seems."""

import numpy as np

from jtransfer.intervals import FEW_COPIES, NUM_BLOCKS, Estimate
from jtransfer.ranking.score_table import Score
from jtransfer.zoo import Target


def reference_warnings(estimate: Estimate, n: int) -> list[str]:
    """Returns the warnings of a score against the reference, on `n` images."""
    warnings = []
    if estimate.value <= estimate.shuffled.max():
        warnings.append("Not above what examples that are paired wrongly give.")
    if n < 3 * NUM_BLOCKS:
        warnings.append(_FEW.format(n=n))
    return warnings


_FEW = "n = {n}: too few examples for a sound interval."


def score_warnings(
    name: str, score: Score, estimate: Estimate, computed, target: Target
) -> list[str]:
    """Returns the warnings of a score.

    Args:
      name: of the score.
      score: the score.
      estimate: its estimate.
      computed: the estimates of the source and what they share.
      target: the labelled examples.
    """
    n, d, warnings = int((target.labels >= 0).sum()), computed.d, []
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
    source_classes = computed.num_source_classes
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
    if n < 3 * NUM_BLOCKS:
        warnings.append(_FEW.format(n=n))
    return warnings + _group_warnings(computed, target.labels)


def _group_warnings(computed, labels: np.ndarray) -> list[str]:
    warnings, copied, n = [], computed.num_copies, int((labels >= 0).sum())
    if computed.groups is not None:
        count = len(np.unique(computed.groups[labels >= 0]))
        if count < 3 * NUM_BLOCKS:
            warnings.append(f"{count} groups: too few for a sound interval.")
    if copied > FEW_COPIES * n:
        apart = "lie in held-out blocks too, so that noise can win and intervals are"
        kept = "stay in one block, but scores that hold nothing out count each: all are"
        warnings.append(
            f"{copied} of {n} examples repeat the features of another: copies "
            f"{apart if computed.groups is None else kept} "
            f"{'too narrow' if computed.groups is None else 'flattered'}; give each "
            "example once."
        )
    return warnings
