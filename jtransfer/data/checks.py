"""Checks of values, made on the host before any array reaches a jitted function.

Under jit a label out of range or a NaN goes through silently, so every array that
comes from a file passes here first. An error is one line: the fault, then the cure.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jtransfer._internal.errors import DataError as DataError


def checked_labels(
    labels: ArrayLike,
    *,
    num_examples: int | None = None,
    num_classes: int | None = None,
    min_classes: int = 2,
    name: str = "labels",
) -> np.ndarray:
    """Returns class labels as int32 after checking their range.

    Args:
      labels: integer class of each example, shape ``[n]``.
      num_examples: the length that is asked for; any if None.
      num_classes: labels must lie in ``[0, num_classes)``; only non-negative if
        None.
      min_classes: how many different classes must occur.
      name: what to call the array in an error.

    Returns:
      The labels, int32, shape ``[n]``.

    Raises:
      DataError: if the rank, the dtype, the length, the range or the number of
        classes is wrong.

    Example:
      >>> checked_labels([0, 1, 1], num_classes=2)
      array([0, 1, 1], dtype=int32)
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise DataError(
            f"{name} must have shape [n], got {list(labels.shape)}; use {name}.ravel() "
            f"for a column, {name}.argmax(-1) for one-hot rows."
        )
    if num_examples is not None and len(labels) != num_examples:
        raise DataError(
            f"{name}: {len(labels)} of them for {num_examples} examples; there must "
            "be one for each."
        )
    if len(labels) == 0:
        raise DataError(f"{name} is empty; give at least one example.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{name} must hold integers, got {labels.dtype}; "
            f"convert whole numbers with {name}.astype('int32')."
        )
    low, high = int(labels.min()), int(labels.max())
    limit = np.iinfo(np.int32).max if num_classes is None else num_classes
    if low < 0 or high >= limit:
        raise DataError(
            f"{name} run from {low} to {high}, outside [0, {limit}); number the "
            f"classes from 0 and drop examples without a class."
        )
    occurring = len(np.unique(labels))
    if occurring < min_classes:
        raise DataError(
            f"{name} hold one class only (label {low}), at least {min_classes} are "
            "needed; add examples of another class."
            if occurring == 1
            else f"{name} hold {occurring} classes, at least {min_classes} are needed."
        )
    return labels.astype(np.int32)


def checked_names(names: ArrayLike, *, name: str = "class_names") -> tuple[str, ...]:
    """Returns names of classes as texts; bytes are read as UTF-8.

    Args:
      names: texts or bytes, shape ``[C]``.
      name: what to call the array in an error.

    Raises:
      DataError: if they are no list of texts, or bytes of another encoding.

    Example:
      >>> checked_names(np.array([b"cat", "café".encode()]))
      ('cat', 'café')
    """
    names = np.asarray(names)
    if names.ndim != 1:
        raise DataError(
            f"{name} must be a list of names, shape [C], got {list(names.shape)}."
        )
    if names.size and not is_text(names):
        raise DataError(f"{name} must be texts, got {names.dtype}.")
    try:
        texts = (x.decode() if isinstance(x, bytes) else str(x) for x in names.tolist())
        return tuple(texts)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} hold bytes that are not UTF-8 ({error.reason}); save them as text."
        ) from error


def is_text(labels: ArrayLike) -> bool:
    """Tells whether labels are names of classes, as texts or bytes."""
    labels = np.asarray(labels)
    if labels.dtype.kind == "O":
        return all(isinstance(label, str | bytes) for label in labels.ravel())
    return labels.dtype.kind in "US"


def numbered_names(
    labels: ArrayLike, class_names: Sequence[str] | None = None, *, name: str = "labels"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers labels that are names of classes.

    Args:
      labels: names, texts or bytes, shape ``[n]``.
      class_names: the classes in their order; those that occur, sorted, if None.
      name: what to call the array in an error.

    Returns:
      Positions of the labels among the classes, int32, -1 for a name that is none of
      them, and the classes.

    Raises:
      DataError: as `checked_names`.

    Example:
      >>> numbered_names(["dog", "cat", "dog"])
      (array([1, 0, 1], dtype=int32), ('cat', 'dog'))
    """
    texts = checked_names(labels, name=name)
    names = tuple(sorted(set(texts))) if class_names is None else tuple(class_names)
    places = {text: place for place, text in enumerate(names)}
    return np.array([places.get(text, -1) for text in texts], np.int32), names
