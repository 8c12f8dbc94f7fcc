"""The rows of a ranking by source and score, in the order in which pages show them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jtransfer.ranking import Failed, NotComputed, Row, Run, Scored
from jtransfer.ranking.rows import ACCURACY
from jtransfer.report.pages.formats import decimals, finite


class RankingView(NamedTuple):
    """A ranking by source and score; `sources` follow the first score."""

    rows: Sequence[Row]
    scores: Sequence[str]
    """Without the accuracy after transfer, of which only reasons are rows."""
    sources: Sequence[str]
    cells: Mapping[tuple[str, str], Scored | NotComputed]
    """By source and score."""
    failed: Mapping[str, str]
    """Reasons by source."""

    @property
    def runs(self) -> list[Run]:
        """The runs that the rows come from, one a row."""
        return [row.run for row in self.rows if row.run is not None]

    @property
    def target(self) -> str:
        """The name of the target."""
        return next((run.target for run in self.runs if run.target), "the target")

    @property
    def scored(self) -> list[Scored]:
        """The rows with a value."""
        return [row for row in self.cells.values() if isinstance(row, Scored)]

    def rows_of(self, source: str) -> list[Scored | NotComputed]:
        """Returns the rows of a source, in the order of the scores."""
        keys = [(source, score) for score in self.scores]
        return [self.cells[key] for key in keys if key in self.cells]

    def ranked_rows(self, score: str) -> list[Scored]:
        """Returns the rows of a score that have a finite value, best first."""
        rows = [self.cells.get((source, score)) for source in self.sources]
        kept = [
            row
            for row in rows
            if isinstance(row, Scored) and finite(row.value) is not None
        ]
        return sorted(kept, key=lambda row: (_rank(row), -row.order))

    def fact(self, source: str, name: str) -> object:
        """Returns the fact that a source declared under a name, or None."""
        facts = [row.facts.get(name) for row in self.rows_of(source)]
        return next((fact for fact in facts if fact is not None), None)

    def accuracies(self) -> dict[str, float]:
        """Returns the accuracies after transfer that are known."""
        known = {name: finite(self.fact(name, ACCURACY)) for name in self.sources}
        return {name: value for name, value in known.items() if value is not None}

    def places(self, score: str) -> int:
        """Returns how many decimals of a score's values are worth printing."""
        rows = self.ranked_rows(score)
        errors = [row.standard_error for row in rows]
        return shown_decimals([row.value for row in rows], errors)


def ranking_view(rows: Iterable[Row]) -> RankingView:
    """Returns the rows of a ranking in the order of the first score."""
    rows = list(rows)
    cells = {(r.source, r.score): r for r in rows if not isinstance(r, Failed)}
    sources = list(dict.fromkeys(source for source, _ in cells))
    scores = list(dict.fromkeys(score for _, score in cells if score != ACCURACY))
    failed = {row.source: row.reason for row in rows if isinstance(row, Failed)}
    failed = {name: why for name, why in failed.items() if name not in sources}
    view = RankingView(rows, scores, sources, cells, failed)
    first = [row.source for row in view.ranked_rows(scores[0])] if scores else []
    return view._replace(sources=list(dict.fromkeys([*first, *sources])))


def shown_decimals(values: Iterable[object], errors: Iterable[object] = ()) -> int:
    """Returns how many decimals of a column of numbers are worth printing.

    Args:
      values: the column, in which anything else than a number is passed over.
      errors: standard errors of the numbers, where they are known.
    """
    values = [value for value in map(finite, values) if value is not None]
    errors = sorted(error for error in map(finite, errors) if error and error > 0)
    if errors:
        return decimals(errors[len(errors) // 2] / 5)
    span = max(values, default=0) - min(values, default=0)
    return decimals(span / 100 or 0.01) if any(value % 1 for value in values) else 0


def _rank(row: Scored) -> float:
    rank = finite(row.rank)
    return math.inf if rank is None else rank
