"""A labelled set of texts in memory, and those of TensorFlow Datasets."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jtransfer._internal.errors import DataError
from jtransfer.data.prepared import prepared_examples

Text = str | Sequence[str]
"""One text, or a pair of them."""


class Texts(NamedTuple):
    """Texts with their classes, on the host."""

    texts: tuple[Text, ...]
    labels: np.ndarray
    """Class of each text in ``[0, len(class_names))``, int32, shape ``[n]``."""
    class_names: tuple[str, ...]


def texts_at(texts: Texts, indices: ArrayLike) -> Texts:
    """Returns the texts at some positions, classes unchanged.

    Example:
      >>> whole = Texts(("a", "b", "c"), np.arange(3), ("x", "y", "z"))
      >>> texts_at(whole, [2, 0]).texts
      ('c', 'a')
    """
    indices = np.asarray(indices)
    chosen = tuple(texts.texts[i] for i in indices)
    return texts._replace(texts=chosen, labels=texts.labels[indices])


def prepared_texts(
    name: str,
    split: str,
    *,
    columns: Sequence[str] = ("text",),
    label: str | None = None,
    data_dir: str | os.PathLike | None = None,
) -> Texts:
    """Reads one split of a data set of texts that TensorFlow Datasets has prepared.

    Args:
      name: such as `imdb_reviews`, with its configuration if it has several.
      split: such as `train`.
      columns: the feature of the texts, or two of them for pairs of texts.
      label: the feature of the classes; None for the default one.
      data_dir: where prepared data sets lie, see `data_root`.

    Returns:
      The texts, in the order of the files.

    Raises:
      DataError: if the data set is not prepared or damaged, lacks a column, or has no
        class labels.
      MissingSplit: if it has no such split.
    """
    examples, classes = prepared_examples(
        name, split, columns=columns, data_dir=data_dir
    )
    label = next(iter(classes)) if label is None else label
    if label not in classes:
        raise DataError(
            f"{name} has no class labels {label!r}; it has {', '.join(classes)}."
        )
    texts, labels = [], np.empty(len(examples), np.int32)
    for i, example in enumerate(examples):
        parts = [_decoded(example[column], name, i) for column in columns]
        texts.append(parts[0] if len(parts) == 1 else parts)
        labels[i] = example[label]
    if (labels < 0).any():
        raise DataError(
            f"{name} hides the labels of its split {split!r}; save the examples of "
            "another split as .jsonl, and give that file."
        )
    return Texts(tuple(texts), labels, classes[label])


def _decoded(value, name: str, number: int) -> str:
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise DataError(f"Example {number} of {name} is no text in UTF-8.") from error
