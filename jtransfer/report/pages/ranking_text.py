"""What the report page says: a ranking in sentences, and a note on each score."""

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jtransfer.report.pages.charts import escape, finite, number

# A score's title, what it means, its range, when not to trust it.
_NOTES = """
logme: LogME. Log evidence per example of the labels under a Bayesian linear model of
the features. Any real number. Right with fewer examples than features; blind to what
is not linear in the features.
regularized_h_score: Regularised H-score. Share of the features' variance that the
classes explain, summed over directions, with shrinkage. 0 to classes - 1. Strong
shrinkage (few examples) draws all sources together.
h_score: H-score. The same without shrinkage. 0 to min(d, classes - 1). With no more
examples than features it is near its maximum whatever the features: do not trust it.
leep: LEEP. Log probability of the labels given the source's own outputs. At most 0.
Sees only these outputs; few examples and many source classes make it too high.
nce: NCE. Minus the entropy of the labels given the class that the source predicts, in
nats. At most 0. Few examples and many source classes make it too high.
bhattacharyya: Bhattacharyya. Minus the log overlap of the classes, as Gaussians of
diagonal covariance. Any real number. Few examples per class or correlated features
mislead it.
alpha1: Alpha 1. How far attacks on one model move the other, against its own attacks. 0
to about 1, more where its own attacks were too weak. Different attacks do not compare.
alpha2: Alpha 2. How alike attacks move the outputs of two models. 0 to 1. Chance alone
gives 1 over the root of n: compare at equal n only.
alpha12: Alpha 1 and 2. Both at once, weighted example by example; the limits of both.
sinkhorn: Sinkhorn. Minus the cost of carrying the teacher's class probabilities to a
linear student's. No fixed range. Flat predictions alone raise it, so read it beside its
chance level (of 5 shuffles here, and at most 1000 examples).
gradient_matching: Gradient matching. Minus the distance between gradients after the
best affine map. At most 0. Noisy with few examples.
function_matching: Function matching. Minus the distance between outputs after the best
affine map. At most 0. With few examples and many outputs the map fits anything.
ridge_probe: Ridge probe. Baseline: held-out accuracy of a linear classifier, in closed
form. 0 to 1. Where a score disagrees with it, look twice.
source_accuracy: Source accuracy. Baseline: accuracy on the source's own task. 0 to 1.
Knows nothing of the target.
parameters: Parameters. Baseline: the size of the model. Knows nothing of the target.
"""
_KNOWN = {
    name: (title, " ".join(note.split()).replace(" - ", " \N{MINUS SIGN} "))
    for name, title, note in re.findall(
        r"^([a-z_0-9]+): (.+?)\. (.+?)(?=^[a-z_0-9]+: |\Z)", _NOTES, re.M | re.S
    )
}
METHOD = """Intervals are at 95%: a jackknife that leaves out one of 10 blocks of
examples at a time, Student t with 9 degrees of freedom. Chance is what the same
features give for shuffled labels, over 20 permutations: its mean (dashed) and its high
end (shaded). For attacks and gradients it is what those of other examples give, over 5
pairings. Sources of one group cannot be told apart on that score. All this covers
the draw of the labelled examples, not that of a model's training. Higher is better for
every score; units differ from score to score."""
_BASELINES = {
    "ridge_probe": "the ridge probe",
    "source_accuracy": "the source accuracy",
    "parameters": "the number of parameters",
}


_PAIRED = ("alpha1", "alpha2", "alpha12", "gradient_matching")
"""Scores of two functions on the same examples."""


def chance_words(score: str) -> str:
    """Returns where the chance level of a score comes from."""
    return "examples paired wrongly" if score in _PAIRED else "shuffled labels"


class RankingView(NamedTuple):
    """The rows by source and score; `sources` follow the first score."""

    rows: Sequence[Mapping]
    scores: Sequence[str]
    sources: Sequence[str]
    cells: Mapping[tuple[str, str], Mapping]
    failed: Mapping[str, str]

    def ranked(self, score: str) -> list[Mapping]:
        """Returns the rows of a score that have a value, best first."""
        rows = [self.cells.get((source, score), {}) for source in self.sources]
        kept = [row for row in rows if finite(row.get("value")) is not None]
        return sorted(kept, key=lambda row: (_rank(row), -row["value"]))

    def fact(self, source: str, name: str) -> object:
        """Returns what a source declared under a name, or None."""
        rows = [self.cells.get((source, score), {}) for score in self.scores]
        facts = [row.get("facts") or {} for row in rows]
        return next((f[name] for f in facts if f.get(name) is not None), None)

    def accuracies(self) -> dict[str, float]:
        """Returns the accuracies after transfer that are known."""
        found = {s: finite(self.fact(s, "accuracy")) for s in self.sources}
        return {s: accuracy for s, accuracy in found.items() if accuracy is not None}


def _rank(row: Mapping) -> float:
    rank = finite(row.get("rank"))
    return math.inf if rank is None else rank


def ranking_view(rows: Iterable[Mapping]) -> RankingView:
    """Returns the rows of `ranking.jsonl` in the order of the first score."""
    rows = [{**row, "source": str(row.get("source"))} for row in rows]
    scored = [row for row in rows if row.get("score") is not None]
    cells = {(row["source"], str(row["score"])): row for row in scored}
    sources = list(dict.fromkeys(source for source, _ in cells))
    scores = list(dict.fromkeys(score for _, score in cells))
    failed = {r["source"]: str(r.get("reason")) for r in rows if r.get("score") is None}
    failed = {name: why for name, why in failed.items() if name not in sources}
    found = RankingView(rows, scores, sources, cells, failed)
    first = [row["source"] for row in found.ranked(scores[0])] if scores else []
    return found._replace(sources=list(dict.fromkeys([*first, *sources])))


def note(score: str) -> tuple[str, str]:
    """Returns the title of a score and what to know of it."""
    names = [score, score.removesuffix("_distance"), score.removesuffix("_accuracy")]
    unknown = (score, "Not among the scores that this page can explain.")
    return next((_KNOWN[name] for name in names if name in _KNOWN), unknown)


def listed(names: Iterable[str], limit: int = 4) -> str:
    """Returns names as markup: a, b, c and 3 more."""
    names = list(names)
    kept = len(names) if len(names) <= limit + 1 else limit
    shown = [f"<b>{escape(name)}</b>" for name in names[:kept]]
    shown += [f"{len(names) - kept} more"] * (len(names) > kept)
    return " and ".join([", ".join(shown[:-1])] * (len(shown) > 1) + shown[-1:])


def _first(rows: Sequence[Mapping]) -> list[str]:
    """Returns the sources that cannot be told from the first."""
    group, value = rows[0].get("group"), rows[0]["value"]
    return [
        row["source"]
        for row in rows
        if row["value"] == value or (group is not None and row.get("group") == group)
    ]


def _odds(row: Mapping, other: Mapping) -> str:
    chance = finite(row.get("beats_next"))
    if chance is None:
        return f"comes before {listed([other['source']])}"
    text = "over 0.99" if chance > 0.99 else number(chance, 2)
    return f"beats {listed([other['source']])} with probability {text}"


def ranking_verdict(ranking: RankingView) -> list[str]:
    """Returns sentences as markup, the most important first."""
    rows = ranking.ranked(ranking.scores[0]) if ranking.scores else []
    failed = [f"Failed: {listed(ranking.failed)}."] if ranking.failed else []
    if not rows:
        return ["No source could be ranked.", *failed]
    first, title = rows[0], escape(note(ranking.scores[0])[0])
    ties, name = _first(rows), listed([first["source"]])
    if len(rows) == 1:
        said = [f"Only {name} has a score: there is nothing to compare it with."]
    elif len(ties) > 1:
        said = [f"{listed(ties)} cannot be told apart by {title}."]
        said += [f"Any of them is a sound choice; {name} {_odds(first, rows[1])}."]
    else:
        said = [f"Transfer from {name}. By {title} it {_odds(first, rows[1])}."]
    low, high = finite(first.get("low")), finite(first.get("chance_high"))
    if high is not None and (first["value"] if low is None else low) <= high:
        said.append(
            f"Beware: {name} is not above what {chance_words(ranking.scores[0])} give, "
            "so this ranking may mean nothing."
        )
    return [*said, *_baselines(ranking, ties), *_truth(ranking, ties[0]), *failed]


def _baselines(ranking: RankingView, ties: Sequence[str]) -> list[str]:
    agree, said = [], []
    for score, name in _BASELINES.items():
        rows = ranking.ranked(score)
        if rows and score != ranking.scores[0]:
            best = _first(rows)
            if len(best) > max(len(rows) / 2, 1):
                said.append(f"{name} does not decide")
            elif set(best).isdisjoint(ties):
                said.append(f"{name} would pick {listed(best, 2)}")
            else:
                agree.append(name)
    if agree:
        verb = "agrees" if len(agree) == 1 else "agree"
        said.insert(0, f"{' and '.join(agree)} {verb}")
    return [f"Of the baselines, {'; '.join(said)}."] if said else []


def _truth(ranking: RankingView, chosen: str) -> list[str]:
    truth = ranking.accuracies()
    if chosen not in truth:
        return []
    best, reached = max(truth, key=truth.get), number(truth[chosen], 3)
    lost = number(truth[best] - truth[chosen], 3)
    lost = "level with" if lost == "0.000" else f"{lost} below"
    lost = "the best of all" if best == chosen else f"{lost} the best, {listed([best])}"
    return [f"After transfer {listed([chosen])} reached {reached}, {lost}."]


def concerns(found: Iterable[tuple[object, str, str]], ranking: RankingView) -> str:
    """Returns each text of (text, score, source) once, with whom it concerns."""
    where = {}
    for text, score, source in filter(operator.itemgetter(0), found):
        scores, sources = where.setdefault(str(text), ({}, {}))
        scores[escape(note(score)[0])] = sources[source] = None
    items = []
    for text, (scores, sources) in where.items():
        every = len(sources) == len(ranking.sources) > 1
        names = "every source" if every else listed(sources, 8)
        place = f"<small>{', '.join(scores)}: {names}</small>"
        items.append(f"<li>{escape(text)} {place}</li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""
