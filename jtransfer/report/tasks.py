"""The comparison of tasks: as data, on the screen, and on disk."""

import csv
import io
import json
from pathlib import Path

from jtransfer._internal.errors import RequestError, one_line
from jtransfer._internal.files import json_line, write_atomically
from jtransfer.ranking.tasks import TaskComparison, comparison_json
from jtransfer.report.pages.tasks import tasks_html
from jtransfer.report.screen import console, decimal, plain_table, print_notes, text

TASKS_FILE = "tasks.json"

_COLUMNS = (
    *("target", "source", "value", "standard_error", "low", "high", "chance"),
    *("chance_high", "share", "rank", "group", "beats_next", "second", "n", "d"),
    *("num_levels", "num_pixels", "seconds"),
)


def write_tasks(comparison: TaskComparison, folder: Path) -> list[Path]:
    """Writes `tasks.json` and `tasks.csv`, and returns their paths."""
    structure = comparison_json(comparison)
    texts = {
        TASKS_FILE: json_line(structure) + "\n",
        "tasks.csv": _csv(structure["rows"]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in texts.items():
        write_atomically(folder / name, content.encode())
    return [folder / name for name in texts]


def read_tasks(folder: Path) -> dict:
    """Reads a comparison of tasks.

    Raises:
      RequestError: if there is none or it is damaged.
    """
    path = folder / TASKS_FILE
    faults = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
    try:
        structure = json.loads(path.read_text(encoding="utf-8"))
        tasks_html(structure)
    except (OSError, *faults) as error:
        raise RequestError(f"{path} cannot be read: {one_line(error)}") from error
    return structure


def _csv(rows: list[dict]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def show_tasks(structure: dict) -> None:
    """Prints a row a source and a column a target, and the agreement.

    Args:
      structure: what `tasks.json` holds.
    """
    names = [target["name"] for target in structure["targets"]]
    order = structure["leaves"] or range(len(names))
    cells = {(row["source"], row["target"]): row for row in structure["rows"]}
    screen = console()
    table = plain_table(
        ("source", *(names[i] for i in order)),
        caption="H-score ± one standard error, and the rank of the source for the "
        "target. Targets beside each other are alike.",
    )
    for source in structure["sources"]:
        rows = [cells[source, names[i]] for i in order]
        table.add_row(text(source), *map(_cell, rows))
    screen.print(table)
    if structure["agreement"]:
        table = plain_table(("target", "Spearman", "DCG", "DCG by chance"))
        for row in structure["agreement"]:
            numbers = (row[key] for key in ("spearman", "dcg", "chance_dcg"))
            table.add_row(text(row["target"]), *map(decimal, numbers))
        screen.print(table)
    failed = (f"{name}: {reason}" for name, reason in structure["failed"].items())
    print_notes(structure["warnings"], failed)


def _cell(row: dict):
    value, error = decimal(row["value"]), decimal(row["standard_error"])
    return text(f"{value} ±{error} ({row['rank']})", bold=row["rank"] == 1)
