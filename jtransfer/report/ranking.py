"""A ranking on disk and in lines: JSON lines, CSV, warnings, failures."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jtransfer._internal.errors import RequestError, one_line
from jtransfer._internal.files import (
    json_line,
    json_value,
    make_folder,
    write_text_atomically,
)
from jtransfer._internal.typed_json import typed_value
from jtransfer.pairs.results import PairSummary
from jtransfer.ranking import (
    NotComputed,
    Row,
    Scored,
    agreements,
    from_json,
    rank_correlation,
    to_json,
)
from jtransfer.ranking.chosen import Selection
from jtransfer.ranking.rows import is_failure
from jtransfer.report.pages.ranking import ranking_html

ROWS_FILE = "ranking.jsonl"
_COLUMNS = (
    "source",
    "score",
    "value",
    "standard_error",
    "low",
    "high",
    "chance",
    "chance_high",
    "ordered_by",
    "rank",
    "group",
    "beats_next",
    "n",
    "d",
    "num_classes",
    "seconds",
    "warnings",
    "reason",
)


def write_ranking(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes `ranking.jsonl` and `ranking.csv`, each atomically.

    Args:
      rows: rows of a ranking.
      folder: where to; made if absent.

    Returns:
      The paths written.
    """
    texts = {
        ROWS_FILE: "".join(json_line(to_json(row)) + "\n" for row in rows),
        "ranking.csv": _csv(rows),
    }
    make_folder(folder)
    for name, text in texts.items():
        write_text_atomically(folder / name, text)
    return [folder / name for name in texts]


def read_ranking(folder: Path) -> list[Row]:
    """Reads the rows of a ranking.

    Args:
      folder: a folder that `write_ranking` has filled.

    Returns:
      The rows.

    Raises:
      RequestError: if there is no ranking or it is damaged.
    """
    path = folder / ROWS_FILE
    try:
        # Not by splitlines: U+2028 and its like may stand inside names.
        lines = path.read_text(encoding="utf-8").split("\n")
        rows = [_row(json_value(line)) for line in lines if line.strip()]
    except FileNotFoundError as error:
        raise RequestError(
            f"{path} does not exist; make it with `jtransfer rank`."
        ) from error
    except (OSError, TypeError, ValueError) as error:
        raise RequestError(f"{path} cannot be read: {one_line(error)}") from error
    if not rows:
        raise RequestError(f"{path} holds no ranking; make it again.")
    return rows


def _row(fields: Any) -> Row:
    """The row of a line, every field of the type that it is declared with."""
    row = from_json(fields)
    place = f"the row of {row.source}"
    row = typed_value(type(row), dataclasses.asdict(row), place)
    if isinstance(row, Scored) and row.plan is not None:
        shape = np.shape(row.plan.masses)  # ValueError where rows differ in length
        names = () if row.run is None else row.run.class_names
        columns = len(names) or shape[-1]
        if not columns or shape != (len(row.plan.source_classes), columns):
            raise ValueError(f"{place}: the plan has not the classes' shape")
    return row


def ranking_page(
    rows: Sequence[Row],
    pair: PairSummary | None = None,
    selection: Selection | None = None,
) -> str:
    """Returns the report as one self-contained HTML page.

    Args:
      rows: rows of a ranking.
      pair: a pair of networks to show as well, or None.
      selection: teachers that were chosen and their student, or None.
    """
    return ranking_html(
        rows, agreements(rows), rank_correlation(rows), pair, selection=selection
    )


def failure_lines(rows: Iterable[Row]) -> list[str]:
    """Returns a line for each source that failed, as a whole or in verification."""
    return [f"{row.source}: {row.reason}" for row in rows if is_failure(row)]


def warning_lines(rows: Sequence[Row]) -> list[str]:
    """Returns the warnings, each once, with the score and sources they concern."""
    warned = [
        (row.score, text, row.source)
        for row in rows
        if isinstance(row, Scored)
        for text in row.warnings
    ]
    return _concerning(warned, rows)


def missing_lines(rows: Sequence[Row], names: Iterable[str]) -> list[str]:
    """Returns why some of the named scores have no value, each reason once."""
    names = set(names)
    lacking = [
        (row.score, row.reason, row.source)
        for row in rows
        if isinstance(row, NotComputed) and row.score in names
    ]
    return _concerning(lacking, rows)


def _concerning(texts: Iterable[tuple[str, str, str]], rows) -> list[str]:
    """One line for each score and text, with the sources that it concerns."""
    concerned: dict[tuple[str, str], list[str]] = {}
    for score, text, source in texts:
        concerned.setdefault((score, text), []).append(source)
    total = len({row.source for row in rows})
    return [
        f"{score} ({_who(sources, total)}): {text}"
        for (score, text), sources in concerned.items()
    ]


def _who(sources: list[str], total: int) -> str:
    return "all sources" if len(sources) == total else ", ".join(sources)


def _csv(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        fields = to_json(row)
        writer.writerow({**fields, "warnings": " ".join(fields.get("warnings", ()))})
    return text.getvalue()
