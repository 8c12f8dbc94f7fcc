"""The teachers that were chosen and their student, as a section of a page."""

from typing import NamedTuple

from jtransfer.ranking.chosen import Selection
from jtransfer.report.pages.tables import Cell, Head, TableView, name_cell, number_cell

_HEADS = [
    Head("teacher", is_text=True),
    Head("score", "of the score that decided"),
    Head("weight", "its part of the Sinkhorn term"),
    Head("gap / \N{GREEK SMALL LETTER EPSILON}", "what another class costs more"),
    Head("own mass", "share of a class that the kernel leaves on it"),
]


class SelectionView(NamedTuple):
    """The section."""

    student: str
    accuracy: float
    table: TableView
    warnings: list[str]


def selection_view(selection: Selection) -> SelectionView:
    """Returns the section of a selection."""
    rows: list[list[Cell]] = [
        [
            name_cell(teacher.name),
            number_cell(teacher.score),
            number_cell(teacher.weight, 3),
            number_cell(teacher.gap, 1),
            number_cell(teacher.own_mass, 2),
        ]
        for teacher in selection.teachers
    ]
    return SelectionView(
        selection.student,
        selection.accuracy,
        TableView("The teachers", _HEADS, rows),
        selection.warnings(),
    )
