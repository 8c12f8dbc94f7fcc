"""The table of all scores and facts on the report page."""

from collections.abc import Sequence
from typing import NamedTuple

from jtransfer.ranking import NotComputed, Scored
from jtransfer.ranking.rows import ACCURACY
from jtransfer.report.pages.formats import finite, number
from jtransfer.report.pages.ranking_view import RankingView, shown_decimals
from jtransfer.report.pages.score_notes import ACCURACY_TITLE, note
from jtransfer.report.pages.tables import (
    NO_CELL,
    Cell,
    Head,
    fact_cell,
    name_cell,
    number_cell,
)


class FailedLine(NamedTuple):
    """A source without any score, as a line of the table."""

    source: Cell
    reason: str


class ScoreTable(NamedTuple):
    """Every number of every source."""

    heads: list[Head]
    rows: list[list[Cell]]
    """In the order of the sources."""
    failed: list[FailedLine]
    span: int
    """Columns behind the names of the sources."""


class _Column(NamedTuple):
    name: str
    cells: Sequence[Cell]


def score_table(ranking: RankingView) -> ScoreTable:
    """Returns the scores of all sources and the facts beside them, as a table."""
    columns = [_score_column(ranking, score) for score in ranking.scores]
    columns += _run_columns(ranking) + _fact_columns(ranking)
    heads = [_head("#"), _head("Source", is_text=True)]
    for column in columns:
        is_text = any(cell.style == "text" for cell in column.cells)
        heads.append(_head(column.name, is_text=is_text))
    ranks = {row.source: row.rank for row in _first_column(ranking)}
    rows = [
        [fact_cell(ranks.get(source)), name_cell(source)]
        + [column.cells[i] for column in columns]
        for i, source in enumerate(ranking.sources)
    ]
    failed = [FailedLine(name_cell(name), why) for name, why in ranking.failed.items()]
    return ScoreTable(heads, rows, failed, max(len(columns), 1))


def _head(name: str, *, is_text: bool = False) -> Head:
    return Head(note(name).title.replace("_", " "), title=name, is_text=is_text)


def _first_column(ranking: RankingView) -> list[Scored]:
    """The rows of the score that orders the page."""
    return [row for row in ranking.scored if row.score in ranking.scores[:1]]


def _score_column(ranking: RankingView, score: str) -> _Column:
    places = ranking.places(score)
    rows = [ranking.cells.get((source, score)) for source in ranking.sources]
    return _Column(score, [_score_cell(row, places) for row in rows])


def _score_cell(row: Scored | NotComputed | None, places: int) -> Cell:
    if isinstance(row, NotComputed):
        return NO_CELL._replace(title=row.reason)
    if row is None or finite(row.value) is None:
        return NO_CELL._replace(title="the value is not finite")
    cell, error = number_cell(row.value, places), finite(row.standard_error)
    return cell._replace(
        error="" if error is None else number(error, places),
        style="best" if row.group == 1 else "",
    )


def _run_columns(ranking: RankingView) -> list[_Column]:
    """Accuracies, numbers of examples and features, and the time of the scores."""
    accuracies = ranking.accuracies()
    columns = {"n": [], "d": [], "Seconds": []}
    for source in ranking.sources:
        rows = ranking.rows_of(source)
        scored = [row for row in rows if isinstance(row, Scored)]
        columns["n"].append(max((finite(row.n) or 0 for row in scored), default=0))
        columns["d"].append(max((finite(row.d) or 0 for row in scored), default=0))
        # Scores that share a run repeat its time, which then counts once.
        columns["Seconds"].append(sum({finite(row.seconds) or 0 for row in rows}))
    if accuracies:
        known = [accuracies.get(source) for source in ranking.sources]
        columns = {ACCURACY_TITLE: known, **columns}
    return [_fact_column(name, values) for name, values in columns.items()]


def _fact_columns(ranking: RankingView) -> list[_Column]:
    """The facts that sources declare and that are no lists."""
    columns = []
    for name in dict.fromkeys(name for row in ranking.rows for name in row.facts):
        values = [ranking.fact(source, name) for source in ranking.sources]
        plain = not any(isinstance(value, list | dict) for value in values)
        if plain and name != ACCURACY and name not in ranking.scores:
            columns.append(_fact_column(str(name), values))
    return columns


def _fact_column(name: str, values: Sequence[object]) -> _Column:
    places = shown_decimals(values)
    return _Column(name, [fact_cell(value, places) for value in values])
