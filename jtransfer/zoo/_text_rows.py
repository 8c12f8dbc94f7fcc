"""Rows of labelled texts: tables, saved data sets of Hugging Face, prepared TFDS."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jtransfer import data
from jtransfer._internal.errors import DataError, RequestError
from jtransfer._internal.files import json_value
from jtransfer.data import MissingSplit
from jtransfer.data.image_folder import usual_split

TABLES = (".csv", ".jsonl", ".parquet")
"""Suffixes of files that hold one example a row."""


class TextReading(NamedTuple):
    """Columns of texts and classes, and where prepared data sets lie."""

    text_columns: Sequence[str] = ("text",)
    """One, or two of pairs of texts."""
    label_column: str | None = None
    """None for `label`, and in a data set of TFDS for its default one."""
    data_dir: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a row: of the texts, then of the class."""
        if len(self.text_columns) not in (1, 2):
            raise RequestError(
                f"Texts are one column or two, got {len(self.text_columns)}."
            )
        return (*self.text_columns, self.label_column or "label")


def example_rows(place: str | Path, reading: TextReading) -> list[tuple]:
    """Returns the rows of a table, or of the split train of a data set, or its only.

    Args:
      place: a file, a folder that `save_to_disk` of Hugging Face has left, or the name
        of a prepared data set.
      reading: how it is read.

    Raises:
      RequestError: if it cannot be read or lacks a column.
    """
    if _is_prepared(place, reading):
        return _prepared_rows(str(place), "train", reading)
    return table_rows(Path(place), reading.columns)


def test_rows(place: str | Path, reading: TextReading) -> list[tuple]:
    """Returns the rows of the split test of a data set.

    Raises:
      MissingSplit: if there is none.
      DataError: if it cannot be read.
      RequestError: likewise.
    """
    if _is_prepared(place, reading):
        return _prepared_rows(str(place), "test", reading)
    path = Path(place)
    if data.is_saved_dataset(path):
        splits = data.saved_splits(path)
        if len(splits) > 1 and "test" in map(usual_split, splits):
            return saved_rows(path, reading.columns, "test")
    raise MissingSplit(f"{place} has no split test.")


def _is_prepared(place: str | Path, reading: TextReading) -> bool:
    is_file = isinstance(place, Path) or place.endswith(TABLES)
    if is_file or data.is_saved_dataset(place):
        return False
    # A folder of the same name, of a network that learnt it, is no data set.
    known = data.is_prepared_texts(place, reading.data_dir)
    return known or not Path(place).exists()


def _prepared_rows(name: str, split: str, reading: TextReading) -> list[tuple]:
    *columns, _ = reading.columns
    try:
        texts = data.prepared_texts(
            name,
            split,
            columns=columns,
            label=reading.label_column,
            data_dir=reading.data_dir,
        )
    except MissingSplit:
        raise
    except DataError as error:
        raise RequestError(str(error)) from error
    names = [texts.class_names[label] for label in texts.labels]
    return [
        (*((text,) if isinstance(text, str) else text), name)
        for text, name in zip(texts.texts, names, strict=True)
    ]


def labelled_texts(place: str | Path, rows: Sequence[tuple]) -> tuple[list, list]:
    """Returns the texts, or pairs of them, and the labels of rows.

    Raises:
      RequestError: if there are none, or one has no text or no label.
    """
    if not rows:
        raise RequestError(f"{place} holds no examples.")
    texts: list[str | list[str]] = []
    for number, (*parts, label) in enumerate(rows, 1):
        if not all(isinstance(part, str) and part.strip() for part in parts):
            raise RequestError(f"{place}: example {number} has no text.")
        if label is None or label == "":
            raise RequestError(f"{place}: example {number} has no label.")
        texts.append(parts[0] if len(parts) == 1 else list(parts))
    return texts, [label for *_, label in rows]


def table_rows(path: Path, names: Sequence[str]) -> list[tuple]:
    """Returns the columns of a table, or of a saved data set, as rows.

    Raises:
      RequestError: if it cannot be read or lacks a column.
    """
    if data.is_saved_dataset(path):
        return saved_rows(path, names)
    try:
        if path.suffix == ".parquet":
            return _parquet_rows(path, names)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    if path.suffix == ".csv":
        # Fields may hold line breaks, and what is one to `splitlines` only.
        limit = csv.field_size_limit(len(text) + 1)
        try:
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            tables = list(reader)
        except csv.Error as error:
            raise RequestError(f"{path}: {error}") from error
        finally:
            csv.field_size_limit(limit)
        if not reader.fieldnames:
            raise RequestError(f"{path} is empty; it needs a head and examples.")
        for number, table in enumerate(tables, 1):
            if None in table:
                raise RequestError(
                    f"{path}: example {number} has more fields than the head; put "
                    "quotes around a field that holds a comma."
                )
        _check_columns(path, reader.fieldnames or (), names)
        return [tuple(table[name] for name in names) for table in tables]
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            table = json_value(line)
        except ValueError as error:
            raise RequestError(f"{path}, line {number}: {error}") from error
        if not isinstance(table, dict):
            raise RequestError(f"{path}, line {number} is no object.")
        _check_columns(path, table, names)
        rows.append(tuple(table[name] for name in names))
    return rows


def _parquet_rows(path: Path, names: Sequence[str]) -> list[tuple]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise RequestError(f"{path} needs pyarrow; pip install pyarrow.") from error
    try:
        held = pyarrow.parquet.read_schema(path).names
        _check_columns(path, held, names)
        table = pyarrow.parquet.read_table(path, columns=list(dict.fromkeys(names)))
    except pyarrow.ArrowException as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def saved_rows(
    path: Path, names: Sequence[str], split: str | None = None
) -> list[tuple]:
    """Returns the columns of a split of a saved data set as rows, see `table_rows`."""
    try:
        saved = data.saved_columns(path, split or data.example_split(path), names)
    except DataError as error:
        raise RequestError(str(error)) from error
    columns = [
        values if classes is None else [classes[value] for value in values]
        for values, classes in zip(*saved, strict=True)
    ]
    return list(zip(*columns, strict=True))


def _check_columns(path: Path, held, names: Sequence[str]) -> None:
    for name in names:
        if name not in held:
            raise RequestError(
                f"{path} has no column {name!r}; it has {', '.join(map(str, held))}."
            )
