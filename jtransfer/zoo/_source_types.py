"""Sources, and reading what their callables return."""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtransfer._internal.errors import SourceError, one_line
from jtransfer._internal.provenance import files_fingerprint

NUMBERS = frozenset(("parameters", "source_accuracy", "accuracy"))
"""Facts that are compared with scores."""


class Source(NamedTuple):
    """One pretrained model, as seen through the target's examples.

    `features` and `logits` return the rows for the target's examples, in its order:
    one array or an iterator of arrays. Each call starts afresh.
    """

    name: str
    """The name, unique in the zoo."""
    facts: dict
    """What is known of it: `parameters`, `source_accuracy`, `accuracy` (of the model
    on the target after transfer), and whatever else its owner declares."""
    features: Callable | None = None
    """Returns features `[n, d]`."""
    logits: Callable | None = None
    """Returns logits of the source's own classes, `[n, Z]`."""
    function: Callable | None = None
    """Returns a function from one example to the outputs `[m]`."""
    digest: Callable | None = None
    """Returns a string that changes when the source's content does."""
    test_features: Callable | None = None
    """Returns features of the target's test examples, for `verification`."""
    network: Callable | None = None
    """Returns a `jtransfer.networks.Network`, which can be trained on."""
    head: Callable | None = None
    """Returns the weights `[d, Z]` of the last layer, from features to logits."""
    centers: Callable | None = None
    """Returns centres of the source's own classes, mean features of its own examples
    `[Z, d]`, or None where it has none; they then stand for `head`."""
    student_logits: Callable | None = None
    """Returns logits of a student that this source has taught, `[n, C]`."""
    text_network: Callable | None = None
    """Returns a `jtransfer.networks.TextNetwork`, whose function is one of word
    vectors."""
    prepare: Callable | None = None
    """`prepare(advance, with_test=...)` computes, ahead of their use, features that are
    kept on disk, and calls `advance(part, count)` with how many more are done."""


def pieces(batches) -> Iterator[np.ndarray]:
    """Yields the arrays that a source's callable returns.

    Args:
      batches: the callable, or what it has returned: an array, or an iterable of
        arrays.

    Yields:
      The arrays.

    Raises:
      SourceError: if the source fails, whatever its error is, or gives no numbers.
    """
    with source_errors():
        batches = batches() if callable(batches) else batches
        iterator = iter((batches,) if hasattr(batches, "shape") else batches)
    while True:
        with source_errors():
            try:
                piece = np.asarray(next(iterator))
            except StopIteration:
                return
            _check_numbers(piece.dtype)
        yield piece


def _check_numbers(dtype: np.dtype) -> None:
    """Raises if arrays of a dtype do not become numbers; bfloat16 and its kin do."""
    try:
        if dtype.kind in "USMmc":  # Texts of digits and times would become some.
            raise TypeError
        np.zeros(1, dtype).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise SourceError(f"It gives {dtype} in place of real numbers.") from error


def files_digest(paths: Iterable[Path]) -> str:
    """Returns the fingerprint of the contents of files, in the given order.

    Raises:
      SourceError: if a file cannot be read.
    """
    try:
        return files_fingerprint(paths)
    except OSError as error:
        raise SourceError(f"{error.filename} cannot be read: {error}") from error


@contextlib.contextmanager
def source_errors() -> Iterator[None]:
    """Turns whatever the code of a user's source raises into a `SourceError`."""
    try:
        yield
    except (SourceError, MemoryError):
        raise
    except Exception as error:  # The code of a user's source is not ours.
        raise SourceError(f"{type(error).__name__}: {one_line(error)}") from error


def is_number(value) -> bool:
    """Tells whether a declared fact is a finite number."""
    # Lists first: of rows that differ in length NumPy makes no array.
    if isinstance(value, bool | list | tuple) or not hasattr(value, "__float__"):
        return False
    if np.ndim(value):
        return False
    kind = np.asarray(value).dtype.kind
    return kind in "iuf" and math.isfinite(float(value))
