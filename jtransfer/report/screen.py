"""The terminal: its width, tables in one style, numbers in one format, warnings."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDTH = 110
"""Of lines that are not written to a terminal, as wide as most files are read."""


def line_width() -> int:
    """Returns the width of a line on the standard output, in characters."""
    if not sys.stdout.isatty():
        return WIDTH
    return shutil.get_terminal_size((WIDTH, 24)).columns


def console() -> "Console":
    """Returns a console on the standard output."""
    from rich.console import Console

    return Console(width=line_width())


def plain_table(
    heads: Sequence[str], *, caption: str = "", num_left: int = 1, wrap: bool = True
) -> "Table":
    """Returns an empty table.

    Args:
      heads: texts of the columns, in which brackets are no markup.
      caption: text below it.
      num_left: so many columns are flush left, the others right.
      wrap: whether cells may be broken into lines.

    Returns:
      The table.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, caption_justify="left", pad_edge=False)
    table.caption = text(caption) if caption else None
    for i, head in enumerate(heads):
        justify = "left" if i < num_left else "right"
        table.add_column(text(head), justify=justify, no_wrap=not wrap)
    return table


def text(content: str, *, bold: bool = False) -> "Text":
    """Returns a text in which brackets are no markup."""
    from rich.text import Text

    return Text(content, style="bold" if bold else "")


def decimal(value: float | None, places: int = 3) -> str:
    """Returns a number with some places behind the point, or a dash."""
    return "-" if value is None else f"{value:.{places}f}"


def print_notes(warnings: Iterable[str], failures: Iterable[str]) -> None:
    """Prints warnings and failures on the standard error."""
    for line in warnings:
        print(f"Warning: {line}", file=sys.stderr)
    for line in failures:
        print(f"Failed: {line}", file=sys.stderr)
