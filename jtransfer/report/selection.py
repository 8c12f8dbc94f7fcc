"""What was chosen and taught, on disk."""

import dataclasses
from pathlib import Path

from jtransfer._internal.files import json_line, write_text_atomically
from jtransfer._internal.typed_json import typed_value
from jtransfer.ranking.chosen import SELECTION_FILE, Selection
from jtransfer.report._reading import read_result


def write_selection(selection: Selection, folder: Path) -> Path:
    """Writes `selection.json` and returns its path."""
    fields = dataclasses.asdict(selection)
    fields["teachers"] = [teacher._asdict() for teacher in selection.teachers]
    path = folder / SELECTION_FILE
    write_text_atomically(path, json_line(fields) + "\n")
    return path


def read_selection(folder: Path) -> Selection:
    """Reads what `jtransfer select` has chosen.

    Raises:
      RequestError: if there is nothing or it is damaged.
    """
    return read_result(
        folder / SELECTION_FILE, lambda fields: typed_value(Selection, fields)
    )
