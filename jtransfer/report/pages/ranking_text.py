"""A ranking in sentences: the verdict, warnings, and where the numbers come from."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from jtransfer.ranking import NotComputed, Scored
from jtransfer.ranking.rows import ACCURACY
from jtransfer.report.pages.formats import finite, number
from jtransfer.report.pages.ranking_view import RankingView
from jtransfer.report.pages.score_notes import ACCURACY_TITLE, note

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


def listed(names: Iterable[str], limit: int = 4) -> Markup:
    """Returns names in bold: a, b, c and 3 more."""
    names = list(names)
    kept = len(names) if len(names) <= limit + 1 else limit
    shown = [Markup("<b>{}</b>").format(name) for name in names[:kept]]
    if len(names) > kept:
        shown.append(Markup("{} more").format(len(names) - kept))
    if len(shown) < 2:
        return Markup().join(shown)
    return Markup("{} and {}").format(Markup(", ").join(shown[:-1]), shown[-1])


def ranking_verdict(ranking: RankingView) -> list[Markup]:
    """Returns sentences with names in bold, the most important first."""
    rows = ranking.ranked_rows(ranking.scores[0]) if ranking.scores else []
    failed = _failures(ranking)
    if not rows:
        return [Markup("No source could be ranked."), *failed]
    ties = _inseparable_from_first(rows)
    return [
        *_choice(rows, ties),
        *_doubts(rows[0]),
        *_baselines(ranking, ties),
        *_reached(ranking, ties[0]),
        *failed,
    ]


def _failures(ranking: RankingView) -> list[Markup]:
    if not ranking.failed:
        return []
    return [Markup("Failed: {}.").format(listed(ranking.failed))]


def _choice(rows: Sequence[Scored], ties: Sequence[str]) -> list[Markup]:
    first, name, title = rows[0], listed([rows[0].source]), note(rows[0].score).title
    if len(rows) == 1:
        alone = Markup("Only {} has a score: there is nothing to compare it with.")
        return [alone.format(name)]
    odds = _odds(first, rows[1])
    if len(ties) == 1:
        clear = Markup("Transfer from {}. By {} it {}.")
        return [clear.format(name, title, odds)]
    return [
        Markup("{} cannot be told apart by {}.").format(listed(ties), title),
        Markup("Any of them is a sound choice; {} {}.").format(name, odds),
    ]


def _doubts(first: Scored) -> list[Markup]:
    low, high = finite(first.low), finite(first.chance_high)
    if high is None or (first.value if low is None else low) > high:
        return []
    beware = Markup(
        "Beware: {} is not above what {} give, so this ranking may mean nothing."
    )
    return [beware.format(listed([first.source]), chance_words(first.score))]


def _inseparable_from_first(rows: Sequence[Scored]) -> list[str]:
    """The names of the sources that cannot be told from the first, it among them."""
    first = rows[0]
    return [
        row.source
        for row in rows
        if row.order == first.order
        or (first.group is not None and row.group == first.group)
    ]


def _odds(row: Scored, other: Scored) -> Markup:
    name, chance = listed([other.source]), finite(row.beats_next)
    if chance is None:
        return Markup("comes before {}").format(name)
    text = "over 0.99" if chance > 0.99 else number(chance, 2)
    return Markup("beats {} with probability {}").format(name, text)


def _baselines(ranking: RankingView, ties: Sequence[str]) -> list[Markup]:
    agreeing, parts = [], []
    for score, name in _BASELINES.items():
        rows = ranking.ranked_rows(score)
        if not rows or score == ranking.scores[0]:
            continue
        best = _inseparable_from_first(rows)
        if len(best) > max(len(rows) / 2, 1):
            parts.append(Markup("{} does not decide").format(name))
        elif set(best).isdisjoint(ties):
            parts.append(Markup("{} would pick {}").format(name, listed(best, 2)))
        else:
            agreeing.append(name)
    if agreeing:
        verb = "agrees" if len(agreeing) == 1 else "agree"
        parts.insert(0, Markup("{} {}").format(" and ".join(agreeing), verb))
    if not parts:
        return []
    return [Markup("Of the baselines, {}.").format(Markup("; ").join(parts))]


def _reached(ranking: RankingView, chosen: str) -> list[Markup]:
    accuracies = ranking.accuracies()
    if chosen not in accuracies:
        return []
    best = max(accuracies, key=accuracies.get)
    lost = number(accuracies[best] - accuracies[chosen], 3)
    if best == chosen:
        place = Markup("the best of all")
    elif lost == "0.000":
        place = Markup("level with the best, {}").format(listed([best]))
    else:
        place = Markup("{} below the best, {}").format(lost, listed([best]))
    sentence = Markup("After transfer {} reached {}, {}.")
    reached = number(accuracies[chosen], 3)
    return [sentence.format(listed([chosen]), reached, place)]


class Concern(NamedTuple):
    """A text about some scores of some sources."""

    text: str
    titles: Sequence[str]
    """Of the scores."""
    sources: Markup


def warning_concerns(ranking: RankingView) -> list[Concern]:
    """Returns each warning once, with the scores and sources that it concerns."""
    lines = [(text, row) for row in ranking.scored for text in row.warnings]
    return _concerns(lines, ranking)


def missing_concerns(ranking: RankingView) -> list[Concern]:
    """Returns each reason why there is no score, with the sources it concerns."""
    rows = ranking.cells.values()
    lines = [(row.reason, row) for row in rows if isinstance(row, NotComputed)]
    return _concerns(lines, ranking)


def _concerns(
    lines: Iterable[tuple[str, Scored | NotComputed]], ranking: RankingView
) -> list[Concern]:
    places: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for text, row in lines:
        titles, sources = places.setdefault(str(text), ({}, {}))
        title = ACCURACY_TITLE if row.score == ACCURACY else note(row.score).title
        titles[title] = sources[row.source] = None
    return [
        Concern(text, list(titles), _whom(list(sources), ranking))
        for text, (titles, sources) in places.items()
        if text
    ]


def _whom(sources: Sequence[str], ranking: RankingView) -> Markup:
    if len(sources) == len(ranking.sources) > 1:
        return Markup("every source")
    return listed(sources, 8)
