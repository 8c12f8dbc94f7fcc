"""Cells and heads of the sortable tables on pages."""

from typing import NamedTuple

from jtransfer.report.pages.formats import finite, number

_LONGEST_NAME, _LONGEST_TEXT = 20, 90
"""Letters of a cell: of more a pointer shows the whole, or there are no more."""


class Head(NamedTuple):
    """The head of a column."""

    text: str
    title: str = ""
    """Shown on hovering."""
    is_text: bool = False
    """Whether the column is flush left."""


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    sort_key: str = ""
    """The number that its row is sorted by; empty for a text, or for nothing."""
    error: str = ""
    """The standard error of a number."""
    title: str = ""
    """Shown on hovering."""
    style: str = ""
    is_head: bool = False
    """Whether it names its row."""


NO_CELL = Cell("\N{EN DASH}")
"""A cell of what is not known."""


class TableView(NamedTuple):
    """A table as a page shows it."""

    label: str
    heads: list[Head]
    rows: list[list[Cell]]


def number_cell(value: object, places: int | None = None) -> Cell:
    """Returns a number with some decimals, or a dash where there is none."""
    known = finite(value)
    if known is None:
        return NO_CELL
    return Cell(number(known, places), sort_key=f"{known:.7g}")


def text_cell(text: str) -> Cell:
    """Returns a text, cut if it is very long."""
    if len(text) >= _LONGEST_TEXT:
        text = f"{text[: _LONGEST_TEXT - 1]}\N{HORIZONTAL ELLIPSIS}"
    return Cell(text, style="text", title=_hover(text))


def fact_cell(value: object, places: int | None = None) -> Cell:
    """Returns a fact: a number, a text, or a dash where nothing is known."""
    if finite(value) is not None:
        return number_cell(value, places)
    if value is None or value != value:  # NaN
        return NO_CELL
    return text_cell(str(value))


def name_cell(name: str) -> Cell:
    """Returns the name of a row."""
    return Cell(name, title=_hover(name), is_head=True)


def _hover(text: str) -> str:
    return text if len(text) > _LONGEST_NAME else ""
