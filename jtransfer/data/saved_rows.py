"""Rows of data sets of Hugging Face on disk: streams of Arrow, read with suspicion.

A stream may be cut or damaged, and its offsets may lead anywhere: each is checked as a
whole before a value of it is looked at. Nothing is unpickled.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jtransfer._internal.errors import DataError, one_line
from jtransfer.data.saved_datasets import (
    damaged_set,
    saved_features,
    saved_files,
    split_folder,
)

_END = b"\xff\xff\xff\xff\0\0\0\0"
"""The last bytes of a stream that was closed; without them rows may be missing."""


class SavedColumns(NamedTuple):
    """Columns of a saved data set.

    Attributes:
      columns: the values of each column, one a row.
      class_names: for each column the names of the classes that its values number,
        or None if it is no column of classes.
    """

    columns: tuple[list, ...]
    class_names: tuple[tuple[str, ...] | None, ...]


def saved_columns(
    path: str | os.PathLike, split: str, names: Sequence[str]
) -> SavedColumns:
    """Reads columns of one split of a saved data set.

    Args:
      path: the folder that `save_to_disk` has left.
      split: a split by its own name or a usual one, as of folders of pictures; a data
        set without splits is "train".
      names: the columns.

    Returns:
      The columns in the order of `names`. Values of a column of classes lie in
      `[0, len(class_names))`.

    Raises:
      MissingSplit: if there is no such split.
      DataError: if a file is missing, damaged or not to be trusted, a column is
        missing, a row has no class, or pyarrow is not installed.
    """
    folder = split_folder(path, split)
    table = saved_table(folder, names)
    features = saved_features(folder)
    with arrow_faults(folder):
        columns = tuple(table[name].to_pylist() for name in names)
    class_names = tuple(_class_names(folder, features, name) for name in names)
    for name, values, classes in zip(names, columns, class_names, strict=True):
        if classes is not None:
            _check_classes(folder, name, values, len(classes))
    return SavedColumns(columns, class_names)


def saved_table(folder: Path, names: Sequence[str]):
    """Returns columns of a folder with rows, each once, as a `pyarrow.Table`.

    The files are mapped, so that no row is in memory before it is looked at.

    Raises:
      DataError: as `saved_columns`.
    """
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise DataError(f"{folder} needs pyarrow; pip install pyarrow.") from error
    names, tables = list(dict.fromkeys(names)), []
    for file in saved_files(folder):
        _check_whole(file)
        with arrow_faults(file):
            # No pyarrow that goes with NumPy 2 unpickles types that a stream names.
            table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(file))).read_all()
            _check_columns(folder, table.schema.names, names)
            table = table.select([table.schema.names.index(name) for name in names])
            # Offsets that lead out of the buffers would be followed.
            table.validate(full=True)
        tables.append(table)
    if not tables:  # A set without rows has no file either.
        _check_columns(folder, saved_features(folder), names)
        return pyarrow.table({name: [] for name in names})
    with arrow_faults(folder):
        return pyarrow.concat_tables(tables)


@contextlib.contextmanager
def arrow_faults(place: Path) -> Iterator[None]:
    """Turns faults of pyarrow, while it reads a place, into one line each."""
    import pyarrow

    try:
        yield
    except DataError:
        raise
    # The last for values that Python's types cannot hold.
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise damaged_set(place, one_line(error)) from error


def _check_whole(file: Path) -> None:
    try:
        if not file.is_file():
            raise damaged_set(file, "there is no such file")
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - len(_END)))
            end = stream.read()
    except OSError as error:
        raise damaged_set(file, error.strerror or one_line(error)) from error
    if end != _END:
        raise damaged_set(file, "it ends early")


def _check_columns(folder: Path, held, names: Sequence[str]) -> None:
    for name in names:
        if name not in held:
            raise DataError(
                f"{folder} has no column {name!r}; it has "
                f"{', '.join(map(repr, held)) or 'none'}; name one of these, or rename "
                "one with dataset.rename_column."
            )


def _class_names(folder: Path, features: dict, name: str) -> tuple[str, ...] | None:
    feature = features.get(name)
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise damaged_set(folder, f"the classes of {name!r} have no names")
    if len(set(names)) < len(names):
        raise damaged_set(folder, f"two classes of {name!r} have one name")
    return tuple(names)


def _check_classes(folder: Path, name: str, values: list, num_classes: int) -> None:
    hidden = [i for i, value in enumerate(values) if value is None or value == -1]
    if hidden:
        raise DataError(
            f"{folder}: {len(hidden)} of {len(values)} rows have no {name} (-1 or "
            f"null, row {hidden[0]} first); leave them out with "
            f"dataset.filter(lambda row: row[{name!r}] not in (None, -1))."
        )
    for i, value in enumerate(values):
        if not isinstance(value, int) or not 0 <= value < num_classes:
            fault = f"{name} of row {i} is none of its {num_classes} classes"
            raise damaged_set(folder, fault)
