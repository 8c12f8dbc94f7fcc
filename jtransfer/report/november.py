"""The report's functions of November 2026, which took rows as dicts.

`jtransfer.report.written` and its like lead here, with a warning; they go with the next
release but one.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jtransfer.ranking import Row, from_json, to_json
from jtransfer.report.folder import draw_pages
from jtransfer.report.ranking import (
    failure_lines,
    missing_lines,
    ranking_page,
    read_ranking,
    warning_lines,
    write_ranking,
)

_Rows = Sequence[Mapping[str, Any]]


def _typed(rows: _Rows) -> list[Row]:
    return [from_json(dict(row)) for row in rows]


def written(rows: _Rows, folder: Path) -> list[Path]:
    """Writes a ranking and its page, see `write_ranking` and `draw_pages`."""
    return [*write_ranking(_typed(rows), folder), *draw_pages(folder)]


def read(folder: Path) -> list[dict[str, Any]]:
    """Reads the rows of a ranking, see `read_ranking`."""
    return [to_json(row) for row in read_ranking(folder)]


def page(rows: _Rows) -> str:
    """Returns the page of a ranking, see `ranking_page`."""
    return ranking_page(_typed(rows))


def failures(rows: _Rows) -> list[str]:
    """Returns a line for each source that failed, see `failure_lines`."""
    return failure_lines(_typed(rows))


def warnings(rows: _Rows) -> list[str]:
    """Returns the warnings of a ranking, see `warning_lines`."""
    return warning_lines(_typed(rows))


def missing(rows: _Rows, names: Iterable[str]) -> list[str]:
    """Returns why named scores are missing, see `missing_lines`."""
    return missing_lines(_typed(rows), names)
