"""The comparison of tasks on disk and on the screen."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from jtransfer._internal.files import json_line, make_folder, write_text_atomically
from jtransfer.ranking.stored_tasks import comparison_from_json
from jtransfer.ranking.task_scores import TaskScored
from jtransfer.ranking.tasks import TaskComparison, comparison_json
from jtransfer.report._reading import read_result
from jtransfer.report.pages.tasks_matrix import ordered_targets
from jtransfer.report.screen import console, decimal, plain_table, print_notes, text

if TYPE_CHECKING:
    from rich.text import Text

TASKS_FILE = "tasks.json"

_COLUMNS = (
    *("target", "source", "value", "standard_error", "low", "high", "chance"),
    *("chance_high", "share", "rank", "group", "beats_next", "second", "n", "d"),
    *("num_levels", "num_pixels", "seconds"),
)


def write_tasks(comparison: TaskComparison, folder: Path) -> list[Path]:
    """Writes `tasks.json` and `tasks.csv`, and returns their paths."""
    fields = comparison_json(comparison)
    texts = {
        TASKS_FILE: json_line(fields) + "\n",
        "tasks.csv": _csv(fields["rows"]),
    }
    make_folder(folder)
    for name, content in texts.items():
        write_text_atomically(folder / name, content)
    return [folder / name for name in texts]


def read_tasks(folder: Path) -> TaskComparison:
    """Reads a comparison of tasks.

    Raises:
      RequestError: if there is none or it is damaged.
    """
    return read_result(folder / TASKS_FILE, comparison_from_json)


def _csv(rows: list[dict]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def show_tasks(comparison: TaskComparison) -> None:
    """Prints a row a source and a column a target, and the agreement."""
    names = [target.name for target in ordered_targets(comparison)]
    cells = {(row.source, row.score): row for row in comparison.rows}
    screen = console()
    table = plain_table(
        ("source", *names),
        caption="H-score ± one standard error, and the rank of the source for the "
        "target. Targets beside each other are alike.",
    )
    for source in comparison.sources:
        table.add_row(text(source), *(_cell(cells[source, name]) for name in names))
    screen.print(table)
    if comparison.agreement:
        table = plain_table(("target", "Spearman", "DCG", "DCG by chance"))
        for row in comparison.agreement:
            numbers = (row.spearman, row.dcg, row.chance_dcg)
            table.add_row(text(row.target), *map(decimal, numbers))
        screen.print(table)
    failed = (f"{name}: {reason}" for name, reason in comparison.failed.items())
    print_notes(comparison.warnings, failed)


def _cell(row: TaskScored) -> "Text":
    value, error = decimal(row.value), decimal(row.standard_error)
    return text(f"{value} ±{error} ({row.rank})", bold=row.rank == 1)
