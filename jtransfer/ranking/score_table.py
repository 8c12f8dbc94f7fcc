"""The table of scores: needs, meaning, range and caveat of each.

A new score is one function and one entry here.
"""

import difflib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from jtransfer import assessment, pairs, scores


class Score(NamedTuple):
    """One entry of the table of scores."""

    function: Callable
    """The score."""
    needs: str
    """What it is computed from. `moments`: the function is called with `Moments` of the
    source's features. `neighbours`: the vote of the nearest ones, of
    `estimates.neighbours`. `probe`, `probabilities`, `left_out_probabilities`,
    `source_labels`: the ridge probe, LEEP, the same without each example, and NCE,
    which `estimates.features` and `estimates.logits` compute from streams.
    `transport`, `reference_student`, `own_student`: the Sinkhorn scores of
    `estimates.transport`, by three students. `attacks`, `jacobians`:
    the function is called with `pairs.AttackSums`, `pairs.Grams` of the source's
    function and the reference's. Anything else is a reason in a row."""
    reference: str
    """Where it was published."""
    title: str = ""
    """What tables and charts call it."""
    meaning: str = ""
    range: str = ""
    """The values that it can have."""
    caveat: str = ""
    """When not to trust it."""
    less_chance: bool = False
    """Whether sources are ordered by the value less its chance level."""


class Declared(NamedTuple):
    """A number that a source may declare, ranked beside the scores as a baseline."""

    title: str
    meaning: str
    range: str
    caveat: str


OF_TRANSPORT = ("transport", "reference_student", "own_student")
"""Needs of the Sinkhorn scores, by whose student they assess."""
ON_REQUEST = (*OF_TRANSPORT, "left_out_probabilities", "neighbours")
"""Needs whose scores are computed only by name: they take longer, or came later."""
ALL = "all"
"""In place of a name: all scores that the request allows."""
OF_REFERENCE = ("attacks", "jacobians")
"""Needs of functions, which only a request with a reference meets."""
NEEDS_REFERENCE = (*OF_REFERENCE, "reference_student")
"""All needs that only such a request meets."""
SCORES = {
    "logme": Score(
        scores.logme,
        needs="moments",
        reference="You et al., 2021",
        title="LogME",
        meaning="Log evidence per example of the labels under a Bayesian linear model "
        "of the features.",
        range="Any real number.",
        caveat="Right with fewer examples than features; blind to what is not linear "
        "in the features, and not invariant to their scales.",
    ),
    "regularized_h_score": Score(
        scores.regularized_h_score,
        needs="moments",
        reference="Ibrahim et al., 2021",
        title="Regularised H-score",
        meaning="Share of the features' variance that the classes explain, summed over "
        "directions, with shrinkage.",
        range="0 to min(d, classes − 1).",
        caveat="Strong shrinkage (few examples) draws all sources together.",
    ),
    "h_score": Score(
        scores.h_score,
        needs="moments",
        reference="Bao et al., 2019",
        title="H-score",
        meaning="The same without shrinkage.",
        range="0 to min(d, classes − 1).",
        caveat="With no more examples than features it is near its maximum whatever "
        "the features: do not trust it.",
    ),
    "bhattacharyya": Score(
        scores.bhattacharyya,
        needs="moments",
        reference="Pándy et al., 2022",
        title="Bhattacharyya",
        meaning="Minus the log overlap of the classes, as Gaussians of diagonal "
        "covariance.",
        range="Any real number.",
        caveat="Few examples per class, correlated or silent features mislead it.",
    ),
    "leep": Score(
        scores.leep,
        needs="probabilities",
        reference="Nguyen et al., 2020",
        title="LEEP",
        meaning="Log probability of the labels given the source's own outputs.",
        range="At most 0.",
        caveat="Sees only these outputs; few examples and many source classes make it "
        "too high.",
    ),
    "leave_one_out_leep": Score(
        scores.leave_one_out_leep,
        needs="left_out_probabilities",
        reference="after Nguyen et al., 2020",
        title="Leave-one-out LEEP",
        meaning="The same, with each example left out of what predicts it.",
        range="At most 0.",
        caveat="Sees only these outputs; on noise it is at chance for any number of "
        "source classes, where LEEP is not.",
    ),
    "nce": Score(
        scores.nce,
        needs="source_labels",
        reference="Tran et al., 2019",
        title="NCE",
        meaning="Minus the entropy of the labels given the class that the source "
        "predicts, in nats.",
        range="At most 0.",
        caveat="Few examples and many source classes make it too high.",
    ),
    "ridge_probe": Score(
        scores.ridge_probe_accuracy,
        needs="probe",
        reference="baseline: accuracy on held-out blocks",
        title="Ridge probe",
        meaning="Baseline: held-out accuracy of a linear classifier, in closed form.",
        range="0 to 1.",
        caveat="Few examples: look at its interval. Where a score disagrees with it, "
        "look twice.",
    ),
    "knn_probe": Score(
        scores.knn_probe_accuracy,
        needs="neighbours",
        reference="Cover and Hart, 1967",
        title="Neighbours",
        meaning="Accuracy of the vote of the 5 nearest neighbours, each example left "
        "out of its own.",
        range="0 to 1.",
        caveat="It changes with the scales of single features, and sees at most 5000 "
        "examples.",
    ),
    "sinkhorn": Score(
        assessment.transport_saving,
        needs="transport",
        reference="after Lu et al., 2022",
        title="Sinkhorn",
        meaning="What the labels save of the cost of carrying the teacher's class "
        "probabilities to a linear student's, against shuffled labels.",
        range="0 is chance, at most 2.",
        caveat="The mean of 5 shuffles is a part of it, and it sees at most 1000 "
        "examples. Eq. (24) of the paper is sinkhorn_approximation_2.",
    ),
    "sinkhorn_approximation_2": Score(
        assessment.sinkhorn_score,
        needs="transport",
        reference="Lu et al., 2022",
        title="Sinkhorn, Eq. (24)",
        meaning="Minus the cost of carrying the teacher's class probabilities to a "
        "linear student's, with its entropy.",
        range="No fixed range.",
        caveat="Flat predictions and few classes of the source raise it, so read it "
        "beside its chance level (of 5 shuffles here, and at most 1000 examples); an "
        "untrained network comes tenth of twelve on the demo.",
    ),
    "sinkhorn_approximation_1": Score(
        assessment.student_assessment,
        needs="reference_student",
        reference="Lu et al., 2022",
        title="Sinkhorn, Approximation I",
        meaning="Eq. (24) with one student for all sources, which has learnt from "
        "labels alone: the reference.",
        range="No fixed range.",
        caveat="Those of sinkhorn_approximation_2. The reference must know the "
        "target's classes, in their order.",
    ),
    "sinkhorn_exact": Score(
        assessment.student_assessment,
        needs="own_student",
        reference="Lu et al., 2022",
        title="Sinkhorn, exact",
        meaning="Eq. (24) with the student that this source has taught.",
        range="No fixed range.",
        caveat="It needs what a choice is to save: a student of each source, whose "
        "logits an .npz file holds as student_logits.",
    ),
    "alpha2": Score(
        pairs.alpha2_of_sums,
        needs="attacks",
        reference="Liang et al., 2021",
        title="Alpha 2",
        meaning="How alike attacks move the outputs of two models.",
        range="0 to 1.",
        caveat="Chance alone gives 1 over the root of n: compare at equal n only. An "
        "untrained network comes tenth of twelve on the demo.",
    ),
    "alpha1": Score(
        pairs.alpha1_of_sums,
        needs="attacks",
        reference="Liang et al., 2021",
        title="Alpha 1",
        meaning="How far attacks on one model move the other, against its own attacks.",
        range="0 to about 1, more where its own attacks were too weak.",
        caveat="Other attacks or another reference do not compare. By its value an "
        "untrained network comes second of twelve on the demo; the order is by the "
        "value less chance, where it is seventh.",
        less_chance=True,
    ),
    "alpha12": Score(
        pairs.alpha12_of_sums,
        needs="attacks",
        reference="Liang et al., 2021",
        title="Alpha 1 and 2",
        meaning="Both at once, weighted example by example.",
        range="0 to 1.",
        caveat="The limits of both; an untrained network comes seventh of twelve on "
        "the demo.",
    ),
    "gradient_matching": Score(
        pairs.gradient_matching,
        needs="jacobians",
        reference="Liang et al., 2021",
        title="Gradient matching",
        meaning="Minus the distance between gradients after the best affine map.",
        range="At most 0.",
        caveat="Noisy with few examples; another reference does not compare.",
    ),
}
DECLARED = {
    "parameters": Declared(
        title="Parameters",
        meaning="Baseline: the size of the model.",
        range="",
        caveat="Knows nothing of the target.",
    ),
    "source_accuracy": Declared(
        title="Source accuracy",
        meaning="Baseline: accuracy on the source's own task.",
        range="0 to 1.",
        caveat="Knows nothing of the target.",
    ),
}
ALWAYS = ("logme", "regularized_h_score", "ridge_probe")
"""Computed whatever is asked for: right for n < d, and the baseline to beat."""


def score_names(
    requested: Iterable[str] = (), *, with_reference: bool = False
) -> list[str]:
    """Returns the scores to compute: the requested ones first, then `ALWAYS`.

    Args:
      requested: names of `SCORES`; none stands for all but `ON_REQUEST`, and `ALL`
        for those too.
      with_reference: whether that includes those that need a reference; they take
        gradients of every network at every image.

    Returns:
      The names, each once.
    """
    left_out = ON_REQUEST if with_reference else (*ON_REQUEST, *OF_REFERENCE)
    usual = [name for name, score in SCORES.items() if score.needs not in left_out]
    unmet = () if with_reference else NEEDS_REFERENCE
    every = [name for name, score in SCORES.items() if score.needs not in unmet]
    requested = [name for one in requested for name in (every if one == ALL else [one])]
    return list(dict.fromkeys([*(requested or usual), *ALWAYS]))


def unknown_score(name: str) -> str:
    """Returns a line about a name that is none of `SCORES`, with the nearest ones."""
    near = difflib.get_close_matches(name, SCORES, n=3, cutoff=0.4) or list(SCORES)
    return f"There is no score {name!r}; did you mean {' or '.join(near)}?"
