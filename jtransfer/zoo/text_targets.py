"""Targets of labelled texts: tables in files, and data sets of Hugging Face."""

import csv
import hashlib
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jtransfer import data
from jtransfer._internal.errors import DataError, RequestError
from jtransfer._internal.files import json_value, printable_name
from jtransfer._internal.provenance import bytes_fingerprint
from jtransfer.data.image_folder import usual_split
from jtransfer.intervals import copies
from jtransfer.zoo._targets import Target, labelled_target

TABLES = (".csv", ".jsonl", ".parquet")
"""Suffixes of files that hold one example a row."""


def is_text_table(target: str | Path) -> bool:
    """Tells whether a target is one for `text_target`.

    Args:
      target: a file, a folder, or the name of anything else.

    Returns:
      True for the name of a table, and for a saved data set of Hugging Face that has
      no column of pictures.

    Example:
      >>> is_text_table("reviews.csv"), is_text_table("imagefolder:pets")
      (True, False)
    """
    if str(target).endswith(TABLES):
        return True
    if not data.is_saved_dataset(target):
        return False
    try:
        return not data.has_pictures(target)
    except DataError:  # `text_target` tells what is wrong with it.
        return True


def text_target(
    path: Path,
    *,
    text_columns: Sequence[str] = ("text",),
    label_column: str = "label",
    per_class: int | None = None,
    num_test: int | None = None,
    seed: int = 0,
) -> Target:
    """Reads labelled texts, for sources that are models of texts.

    Args:
      path: a `.csv` file with a head, a `.jsonl` file with an object a line, a
        `.parquet` file, or a folder that `save_to_disk` of Hugging Face has left, of
        which the split train or the only one is read (both: pip install pyarrow).
      text_columns: the column of the texts, or two of them for pairs of texts.
      label_column: the column of the classes, numbers or names; numbers of a
        ClassLabel become its names.
      per_class: examples of each class, drawn at random; all if None.
      num_test: examples of the split test of a saved data set, drawn at random; all if
        None.
      seed: of the draws.

    Returns:
      The target; equal texts are a group. A saved data set whose test labels are hidden
      has no test examples, with a warning.

    Raises:
      RequestError: if the file cannot be read, lacks a column, or an example has no
        text or no label.
    """
    if len(text_columns) not in (1, 2):
        raise RequestError(f"Texts are one column or two, got {len(text_columns)}.")
    names = (*text_columns, label_column)
    texts, labels = _labelled_texts(path, _rows(path, names))
    test_texts, test_labels = _test_texts(path, names, num_test, seed=seed)
    target = labelled_target(
        printable_name(path.absolute().name if path.is_dir() else path.stem),
        np.array([str(label) for label in labels]),
        test_labels=test_labels and np.array([str(label) for label in test_labels]),
        digest=bytes_fingerprint(json.dumps([texts, labels], default=str).encode()),
    )
    if per_class is not None:
        try:
            chosen = data.per_class_subset(
                target.labels,
                per_class=per_class,
                num_classes=target.num_classes,
                seed=seed,
            )
        except ValueError as error:
            raise RequestError(f"{path}: {error}") from error
        texts = [texts[i] for i in chosen]
        digest = bytes_fingerprint(f"{target.digest} {chosen.tolist()}".encode())
        target = target._replace(labels=target.labels[chosen], digest=digest)
    hashes = [
        hashlib.blake2b(json.dumps(text).encode(), digest_size=8).digest()
        for text in texts
    ]
    groups = copies(np.frombuffer(b"".join(hashes), np.uint64))
    return target._replace(
        texts=tuple(texts),
        test_texts=test_texts and tuple(test_texts),
        groups=groups,
        path=path,
    )


def _labelled_texts(path: Path, rows: Sequence[tuple]) -> tuple[list, list]:
    """Texts, or pairs of them, and labels."""
    if not rows:
        raise RequestError(f"{path} holds no examples.")
    texts: list[str | list[str]] = []
    for number, (*parts, label) in enumerate(rows, 1):
        if not all(isinstance(part, str) and part.strip() for part in parts):
            raise RequestError(f"{path}: example {number} has no text.")
        if label is None or label == "":
            raise RequestError(f"{path}: example {number} has no label.")
        texts.append(parts[0] if len(parts) == 1 else list(parts))
    return texts, [label for *_, label in rows]


def _test_texts(
    path: Path, names: Sequence[str], num_test: int | None, *, seed: int
) -> tuple[list | None, list | None]:
    """Texts and labels of the split test of a saved data set; else None."""
    if not data.is_saved_dataset(path):
        return None, None
    try:
        splits = data.saved_splits(path)
        if len(splits) < 2 or "test" not in map(usual_split, splits):
            return None, None
        rows = _saved_rows(path, names, "test")
    except (DataError, RequestError) as error:
        warnings.warn(
            f"The split test is not used: {error}", RuntimeWarning, stacklevel=3
        )
        return None, None
    if num_test is not None:
        order = np.random.default_rng(seed).permutation(len(rows))[:num_test]
        rows = [rows[i] for i in order]
    return _labelled_texts(path, rows)


def _rows(path: Path, names: Sequence[str]) -> list[tuple]:
    if data.is_saved_dataset(path):
        return _saved_rows(path, names)
    try:
        if path.suffix == ".parquet":
            return _parquet_rows(path, names)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    if path.suffix == ".csv":
        # Fields may hold line breaks, and what is one to `splitlines` only.
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        try:
            tables = list(reader)
        except csv.Error as error:
            raise RequestError(f"{path}: {error}") from error
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


def _saved_rows(
    path: Path, names: Sequence[str], split: str | None = None
) -> list[tuple]:
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
