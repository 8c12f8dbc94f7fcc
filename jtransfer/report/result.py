"""The result of `jtransfer.rank`, which a notebook shows."""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

from jtransfer import ranking
from jtransfer._internal.errors import FileError, RequestError
from jtransfer._internal.files import make_folder, write_text_atomically
from jtransfer.ranking import Failed, Row, Scored
from jtransfer.report.folder import draw_pages
from jtransfer.report.pages.document import fragment
from jtransfer.report.ranking import ranking_page, warning_lines, write_ranking
from jtransfer.report.ranking_screen import agreement_table, ranking_table
from jtransfer.report.screen import decimal


@dataclasses.dataclass(frozen=True)
class Ranking(Sequence):
    """The sources of a zoo in order for a target, and all that is known of each."""

    rows: tuple[Row, ...]
    """A row a source and score, in the order of the first score."""
    files: tuple[Path, ...] = ()
    """What was written of it."""
    unkept: tuple[FileError, ...] = ()
    """What could not be written of it."""

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def __getitem__(self, index):
        """A row, or some of them."""
        return self.rows[index]

    @property
    def best(self) -> str | None:
        """The name of the first source by the first score; None if all failed."""
        return next((row.source for row in self._first()), None)

    @property
    def group(self) -> tuple[str, ...]:
        """The sources that cannot be told from the best."""
        first = self._first()
        return tuple(row.source for row in first if row.group == first[0].group)

    @property
    def failures(self) -> dict[str, str]:
        """Why sources failed, by their names."""
        return {r.source: r.reason for r in self.rows if isinstance(r, Failed)}

    @property
    def warnings(self) -> list[str]:
        """Where a score means little."""
        return warning_lines(self.rows)

    def _first(self) -> list[Scored]:
        scored = [row for row in self.rows if isinstance(row, Scored)]
        return [row for row in scored if row.score == scored[0].score]

    def to_dataframe(self):
        """Returns the scores as a table of pandas, one row a source and score."""
        import pandas

        kept = (ranking.to_json(row) for row in self.rows if isinstance(row, Scored))
        return pandas.DataFrame(list(kept))

    def plot(self, score: str | None = None):
        """Draws the values of a score with their 95% intervals, the best on top.

        Args:
          score: its name; the first one by default.

        Returns:
          The axes of Matplotlib.

        Raises:
          RequestError: if no source has that score.
        """
        first = self._first()
        name = score or (first[0].score if first else "")
        scored = [r for r in self.rows if isinstance(r, Scored) and r.score == name]
        if not scored:
            raise RequestError(f"No source has the score {name!r}.")
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(figsize=(6, 0.8 + 0.3 * len(scored)))
        scored = sorted(scored, key=lambda row: row.value)
        for place, row in enumerate(scored):
            ends = (row.low, row.high) if row.low is not None else (row.value,) * 2
            axes.plot(ends, (place, place), color="gray")
            axes.plot(row.value, place, "o", color="#26547c")
        axes.set_yticks(range(len(scored)), [row.source for row in scored])
        axes.set_xlabel(name.replace("_", " "))
        axes.figure.tight_layout()
        return axes

    def report(self, path: str | Path) -> Path:
        """Writes the page of the ranking, one file without external resources.

        Raises:
          FileError: if it cannot be written.
        """
        path = Path(path)
        make_folder(path.parent)
        write_text_atomically(path, ranking_page(self.rows))
        return path

    def save(self, folder: str | Path) -> list[Path]:
        """Writes `ranking.jsonl`, `ranking.csv` and `report.html` into a folder.

        Raises:
          FileError: if they cannot be written.
        """
        folder = Path(folder)
        make_folder(folder)
        return [*write_ranking(self.rows, folder), *draw_pages(folder)]

    def __str__(self) -> str:
        """The table that the command prints."""
        from rich.console import Console

        screen = Console(file=io.StringIO(), width=100)
        screen.print(ranking_table(self.rows, width=100))
        if (table := agreement_table(self.rows)) is not None:
            screen.print(table)
        for name, reason in self.failures.items():
            screen.print(f"Failed: {name}: {reason}", markup=False)
        return screen.file.getvalue()

    def _repr_html_(self) -> str:
        """A small table for notebooks, without scripts."""
        first = self._first()
        cells = [
            (r.rank, r.source, decimal(r.value), decimal(r.standard_error), r.group)
            for r in first
        ]
        title = first[0].score.replace("_", " ") if first else "no score"
        return fragment(
            "notebook.html", title=title, cells=cells, failures=self.failures.items()
        )
