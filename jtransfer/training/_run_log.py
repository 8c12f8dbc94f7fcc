"""The rows of a training run: JSON lines that a resumed run continues."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jtransfer._internal.files import file_faults, json_value
from jtransfer.training import devices

LogRow = dict[str, Any]
_NAME = "log.jsonl"


def rows_until(folder: Path, step: int) -> list[LogRow]:
    """Reads the rows up to a step and cuts the log behind them.

    Args:
      folder: of the run. Its log is in ascending `step` and need not exist; a line
        that a killed process did not finish is cut off too.
      step: the last step to keep.

    Returns:
      The rows that stay.
    """
    file = folder / _NAME
    if not file.exists():
        return []
    rows, end = [], 0
    with file_faults(file), file.open("r+b") as stream:
        for line in stream:
            row = _parsed(line)
            if row is None or row["step"] > step:
                break
            rows.append(row)
            end += len(line)
        stream.truncate(end)
    return rows


def _parsed(line: bytes) -> LogRow | None:
    try:
        return json_value(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


@contextlib.contextmanager
def recorder(
    folder: Path | None, rows: list[LogRow]
) -> Iterator[Callable[[list], None]]:
    """Yields a function that appends rows to a list, and to the log in a folder if any.

    Args:
      folder: of the run, or None.
      rows: the list.
    """
    if folder is None or not devices.is_first_process():
        yield rows.extend
        return
    file = folder / _NAME
    with file_faults(file):
        # Without a buffer, which would fail again when the file is closed.
        stream = file.open("ab", buffering=0)
    with stream:

        def record(more):
            """Appends rows; a killed process leaves them behind."""
            rows.extend(more)
            lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in more)
            left = lines.encode()
            with file_faults(file):
                while left:  # A disk that is nearly full takes a part.
                    left = left[stream.write(left) :]

        yield record


def plain(metrics: Mapping[str, Any]) -> LogRow:
    """Turns scalars into the shortest numbers that tell them from their neighbours.

    Args:
      metrics: scalars of NumPy or Python.

    Returns:
      The numbers by name, None where one is not finite.

    Example:
      >>> plain({"loss": np.float32(0.1), "accuracy": np.nan})
      {'loss': 0.1, 'accuracy': None}
    """
    return {name: _plain(np.asarray(value)[()]) for name, value in metrics.items()}


def _plain(scalar):
    if not np.isfinite(scalar):
        return None
    return int(scalar) if scalar.dtype.kind in "iub" else float(str(scalar))
