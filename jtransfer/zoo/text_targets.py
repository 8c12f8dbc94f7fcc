"""Targets of labelled texts: tables, saved data sets, and prepared TFDS."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jtransfer import data
from jtransfer._internal.errors import DataError, RequestError
from jtransfer._internal.files import printable_name
from jtransfer._internal.provenance import bytes_fingerprint
from jtransfer.data import MissingSplit, Texts
from jtransfer.zoo._targets import Target, equal_examples, labelled_target
from jtransfer.zoo._text_rows import TABLES as TABLES
from jtransfer.zoo._text_rows import (
    TextReading,
    example_rows,
    labelled_texts,
    test_rows,
)


def is_file_of_texts(target: str | Path) -> bool:
    """Tells whether a target of texts is a table or a saved data set, not a name.

    Example:
      >>> is_file_of_texts("reviews.csv"), is_file_of_texts("imdb_reviews")
      (True, False)
    """
    return str(target).endswith(TABLES) or data.is_saved_dataset(target)


def is_text_table(target: str | Path, *, data_dir: str | None = None) -> bool:
    """Tells whether a target is one for `text_target`.

    Args:
      target: a file, a folder, or the name of anything else.
      data_dir: where prepared data sets lie.

    Returns:
      True for the name of a table, for a saved data set of Hugging Face that has no
      column of pictures, and for a prepared data set of texts.

    Example:
      >>> is_text_table("reviews.csv"), is_text_table("imagefolder:pets")
      (True, False)
    """
    if str(target).endswith(TABLES):
        return True
    if not data.is_saved_dataset(target):
        return data.is_prepared_texts(str(target), data_dir)
    try:
        return not data.has_pictures(target)
    except DataError:  # `text_target` tells what is wrong with it.
        return True


def text_target(
    place: str | Path,
    *,
    text_columns: Sequence[str] = ("text",),
    label_column: str | None = None,
    data_dir: str | None = None,
    per_class: int | None = None,
    num_test: int | None = None,
    seed: int = 0,
) -> Target:
    """Reads labelled texts, for sources that are models of texts.

    Args:
      place: a `.csv` file with a head, a `.jsonl` file with an object a line, a
        `.parquet` file, or a folder that `save_to_disk` of Hugging Face has left, of
        which the split train or the only one is read (both: pip install pyarrow); or
        the name of a prepared data set, of which the split train is read.
      text_columns: the column of the texts, or two of them for pairs of texts.
      label_column: the column of the classes, numbers or names; numbers of a
        ClassLabel become its names. None for `label`, and in a prepared data set for
        its default one.
      data_dir: where prepared data sets lie.
      per_class: examples of each class, drawn at random; all if None.
      num_test: examples of the split test, drawn at random; all if None.
      seed: of the draws.

    Returns:
      The target; equal texts are a group. A data set whose test labels are hidden has
      no test examples, with a warning.

    Raises:
      RequestError: if the file cannot be read, lacks a column, or an example has no
        text or no label.
    """
    reading = TextReading(text_columns, label_column, data_dir)
    path = Path(place)
    texts, labels = labelled_texts(place, example_rows(place, reading))
    test_texts, test_labels = _test_texts(place, reading, num_test, seed=seed)
    is_place = path.suffix in TABLES or path.is_dir()
    name = path.absolute().name if path.is_dir() else path.stem
    target = labelled_target(
        printable_name(name),
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
            raise RequestError(f"{place}: {error}") from error
        texts = [texts[i] for i in chosen]
        digest = bytes_fingerprint(f"{target.digest} {chosen.tolist()}".encode())
        target = target._replace(labels=target.labels[chosen], digest=digest)
    return target._replace(
        texts=tuple(texts),
        test_texts=test_texts and tuple(test_texts),
        groups=equal_examples(texts),
        path=path if is_place else None,
    )


def _test_texts(
    place: str | Path, reading: TextReading, num_test: int | None, *, seed: int
) -> tuple[list | None, list | None]:
    """Texts and labels of the split test of a data set; else None."""
    try:
        rows = test_rows(place, reading)
    except MissingSplit:
        return None, None
    except (DataError, RequestError) as error:
        warnings.warn(
            f"The split test is not used: {error}", RuntimeWarning, stacklevel=3
        )
        return None, None
    if num_test is not None:
        order = np.random.default_rng(seed).permutation(len(rows))[:num_test]
        rows = [rows[i] for i in order]
    return labelled_texts(place, rows)


def held_out_texts(place: str | Path, reading: TextReading) -> Texts:
    """Returns the split `test` of a data set of texts; all of it if it has no other.

    Args:
      place: as `text_target` takes it.
      reading: how it is read.

    Raises:
      RequestError: if the texts cannot be read.
    """
    try:
        rows = test_rows(place, reading)
    except MissingSplit:
        rows = example_rows(place, reading)
    except DataError as error:
        raise RequestError(str(error)) from error
    return _texts(place, rows)


def split_texts(
    place: str | Path, reading: TextReading, *, seed: int
) -> tuple[Texts, Texts]:
    """Returns texts to learn from and others for a test, of the same classes.

    Args:
      place: as `text_target` takes it.
      reading: how it is read.
      seed: of the draw where there is no split `test`: of a fifth of each class.

    Raises:
      RequestError: if the texts cannot be read, or the test has other classes.
    """
    train = _texts(place, example_rows(place, reading))
    try:
        test = _texts(place, test_rows(place, reading))
    except MissingSplit:
        # Equal texts stay on one side.
        split = data.held_out_split(train.labels, fraction=0.2, seed=seed)
        learnt = {json.dumps(train.texts[i]) for i in split.train}
        held_out = [
            i for i in split.held_out if json.dumps(train.texts[i]) not in learnt
        ]
        if not held_out:
            raise RequestError(
                f"{place}: all texts of a fifth are among the others too; give "
                "different texts."
            ) from None
        return data.texts_at(train, split.train), data.texts_at(train, held_out)
    except DataError as error:
        raise RequestError(str(error)) from error
    places = {name: number for number, name in enumerate(train.class_names)}
    unknown = [name for name in test.class_names if name not in places]
    if unknown:
        raise RequestError(
            f"{place}: its split test has {unknown[0]!r}, a class that its split "
            "train lacks."
        )
    labels = np.array([places[name] for name in test.class_names])[test.labels]
    return train, Texts(test.texts, labels.astype(np.int32), train.class_names)


def _texts(place: str | Path, rows: list[tuple]) -> Texts:
    texts, labels = labelled_texts(place, rows)
    try:
        numbers, names = data.numbered_names(np.array([str(x) for x in labels]))
    except DataError as error:
        raise RequestError(f"{place}: {error}") from error
    return Texts(tuple(texts), numbers.astype(np.int32), tuple(names))
