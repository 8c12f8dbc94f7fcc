"""The table of scores: what each is computed from and where it was published."""

import difflib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from jtransfer import assessment, pairs, scores

STATIC = ("parameters", "source_accuracy")
"""Facts that a source may declare, ranked beside the scores as baselines."""


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


SCORES = {
    "logme": Score(scores.logme, "moments", "You et al., 2021"),
    "regularized_h_score": Score(
        scores.regularized_h_score, "moments", "Ibrahim et al., 2021"
    ),
    "h_score": Score(scores.h_score, "moments", "Bao et al., 2019"),
    "bhattacharyya": Score(scores.bhattacharyya, "moments", "Pándy et al., 2022"),
    "leep": Score(scores.leep, "probabilities", "Nguyen et al., 2020"),
    "nce": Score(scores.nce, "source_labels", "Tran et al., 2019"),
    "ridge_probe": Score(
        scores.ridge_probe_accuracy, "probe", "baseline: accuracy on held-out blocks"
    ),
    "sinkhorn": Score(assessment.sinkhorn_score, "transport", "Lu et al., 2022"),
    "alpha1": Score(pairs.alpha1_of_sums, "attacks", "Liang et al., 2021"),
    "alpha2": Score(pairs.alpha2_of_sums, "attacks", "Liang et al., 2021"),
    "alpha12": Score(pairs.alpha12_of_sums, "attacks", "Liang et al., 2021"),
    "gradient_matching": Score(
        pairs.gradient_matching, "jacobians", "Liang et al., 2021"
    ),
}


ALWAYS = ("logme", "regularized_h_score", "ridge_probe")
"""Computed whatever is asked for: right for n < d, and the baseline to beat."""


def score_names(
    requested: Iterable[str] = (), *, with_reference: bool = False
) -> list[str]:
    """Returns the scores to compute: the requested ones first, then `ALWAYS`.

    Args:
      requested: names of `SCORES`; none stands for all but the slowest, `ON_REQUEST`.
      with_reference: whether that includes those that need a reference; they take
        gradients of every network at every image.

    Returns:
      The names, each once.
    """
    left_out = ON_REQUEST if with_reference else (*ON_REQUEST, *OF_REFERENCE)
    usual = [name for name, score in SCORES.items() if score.needs not in left_out]
    return list(dict.fromkeys([*(requested or usual), *ALWAYS]))


def unknown_score(name: str) -> str:
    """Returns a line about a name that is none of `SCORES`, with the nearest ones."""
    near = difflib.get_close_matches(name, SCORES, n=3, cutoff=0.4) or list(SCORES)
    return f"There is no score {name!r}; did you mean {' or '.join(near)}?"
