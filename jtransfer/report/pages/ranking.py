"""The rows of a ranking -> one self-contained HTML page."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from jtransfer.pairs.results import PairSummary
from jtransfer.ranking import Agreement, RankCorrelation, Row, Scored
from jtransfer.ranking.chosen import Selection
from jtransfer.report.pages import charts
from jtransfer.report.pages.correlation_map import correlation_map
from jtransfer.report.pages.document import document
from jtransfer.report.pages.formats import finite, number
from jtransfer.report.pages.pair import pair_view
from jtransfer.report.pages.plan_map import plan_view
from jtransfer.report.pages.provenance import ranking_provenance
from jtransfer.report.pages.ranking_text import (
    chance_words,
    missing_concerns,
    ranking_verdict,
    warning_concerns,
)
from jtransfer.report.pages.ranking_view import RankingView, ranking_view
from jtransfer.report.pages.score_notes import Note, note
from jtransfer.report.pages.score_table import score_table
from jtransfer.report.pages.selection import selection_view


def ranking_html(
    rows: Iterable[Row],
    agreements: Sequence[Agreement] = (),
    correlation: RankCorrelation | None = None,
    pair: PairSummary | None = None,
    *,
    selection: Selection | None = None,
) -> str:
    """Returns a ranking as one HTML page that needs no other file.

    Args:
      rows: the rows; the first score orders the page.
      agreements: how well scores predict the accuracy after transfer.
      correlation: how alike the orders by the scores are.
      pair: a pair of networks, shown below the ranking; or None.
      selection: the teachers that were chosen and their student; or None.

    Returns:
      The page. The texts in the rows are escaped: they can bring in no markup.
    """
    ranking = ranking_view(rows)
    plots = _score_plots(ranking, agreements)
    return document(
        "ranking.html",
        target=ranking.target,
        counts=_counts(ranking),
        created=max((run.created for run in ranking.runs), default=""),
        verdict=ranking_verdict(ranking),
        warnings=warning_concerns(ranking),
        panels=_panels(ranking),
        selection=selection and selection_view(selection),
        table=score_table(ranking),
        missing=missing_concerns(ranking),
        plots=plots,
        least_correlation=_least_correlation(plots),
        correlations=_correlation_chart(correlation),
        plan=plan_view(ranking),
        pair=None if pair is None else pair_view(pair),
        notes=[note(score) for score in ranking.scores],
        provenance=ranking_provenance(ranking),
    )


class Count(NamedTuple):
    """A number of things, in the line below the title of a page."""

    value: float
    things: str


def _counts(ranking: RankingView) -> list[Count]:
    examples = max((finite(row.n) or 0 for row in ranking.scored), default=0)
    classes = max((finite(row.num_classes) or 0 for row in ranking.scored), default=0)
    counts = [
        Count(examples, "labelled examples"),
        Count(classes, "classes"),
        Count(len(ranking.sources) + len(ranking.failed), "sources"),
    ]
    return [count for count in counts if count.value]


class LegendEntry(NamedTuple):
    """A sign in a chart and its meaning."""

    style: str
    meaning: str


class ScorePanel(NamedTuple):
    """The chart of one score, with its explanation."""

    note: Note
    legend: list[LegendEntry]
    chart: Markup


def _panels(ranking: RankingView) -> list[ScorePanel]:
    panels = []
    for score in filter(ranking.ranked_rows, ranking.scores):
        places, title = ranking.places(score), note(score).title
        marks = [_mark(ranking, row, places) for row in ranking.ranked_rows(score)]
        chart = charts.interval_chart(
            marks, label=f"{title} of each source", places=places
        )
        panels.append(ScorePanel(note(score), _legend(marks, score), chart))
    return panels


def _mark(ranking: RankingView, row: Scored, places: int) -> charts.Mark:
    low, high, odds = map(finite, (row.low, row.high, row.beats_next))
    chance, chance_high = map(finite, (row.chance, row.chance_high))
    parts = [f"{row.source}: {number(row.value, places)}"]
    if low is not None and high is not None:
        parts.append(f"95% {number(low, places)} to {number(high, places)}")
    if chance is not None:
        parts.append(f"chance {number(chance, places)}")
    if odds is not None:
        parts.append(f"beats the next: {number(odds, 2)}")
    return charts.Mark(
        index=ranking.sources.index(row.source),
        name=row.source,
        title="; ".join(parts),
        rank=row.rank,
        group=row.group,
        value=row.value,
        low=low,
        high=high,
        chance=chance,
        chance_high=chance_high,
    )


def _legend(marks: Sequence[charts.Mark], score: str) -> list[LegendEntry]:
    groups = [mark.group for mark in marks if mark.group is not None]
    entries = []
    if any(mark.low is not None for mark in marks):
        entries.append(LegendEntry("interval", "value and 95% interval"))
    if any(map(charts.at_chance, marks)):
        entries.append(LegendEntry("hollow", "not above chance"))
    if any(mark.chance_high is not None for mark in marks):
        entries.append(LegendEntry("shade", chance_words(score)))
    if len(set(groups)) < len(groups):
        entries.append(LegendEntry("tie", "cannot be told apart"))
    return entries


class ScorePlot(NamedTuple):
    """A score against the accuracy after transfer."""

    title: str
    chart: Markup
    agreement: Agreement
    num_sources: int


def _score_plots(
    ranking: RankingView, agreements: Sequence[Agreement]
) -> list[ScorePlot]:
    accuracies, plots = ranking.accuracies(), []
    up = charts.axis(list(accuracies.values()))
    for agreement in agreements:
        rows = ranking.ranked_rows(agreement.score)
        rows = [row for row in rows if row.source in accuracies]
        if not rows:
            continue
        title = note(agreement.score).title
        points = [_point(ranking, row, accuracies[row.source]) for row in rows]
        across = charts.axis([row.order for row in rows])
        chart = charts.scatter(points, across, up, label=f"{title} against accuracy")
        plots.append(ScorePlot(title, chart, agreement, len(rows)))
    return plots


def _point(ranking: RankingView, row: Scored, accuracy: float) -> charts.Point:
    return charts.Point(
        index=ranking.sources.index(row.source),
        title=f"{row.source}: {number(row.order)}, accuracy {number(accuracy, 3)}",
        score=row.order,
        accuracy=accuracy,
    )


def _least_correlation(plots: Sequence[ScorePlot]) -> str:
    """The least correlation that is some evidence, at 95% after Fisher."""
    size = max((plot.num_sources for plot in plots), default=0)
    return f"{math.tanh(1.96 / math.sqrt(size - 3)):.2f}" if size > 3 else "1"


def _correlation_chart(correlation: RankCorrelation | None) -> Markup | None:
    if correlation is None or len(correlation.scores) < 2:
        return None
    titles = [note(score).title for score in correlation.scores]
    return correlation_map(titles, correlation.matrix, label="Agreement between scores")
