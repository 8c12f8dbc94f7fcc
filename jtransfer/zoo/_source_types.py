"""Sources, and reading what their callables return."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jtransfer._internal.errors import SourceError, one_line

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


def pieces(batches) -> Iterator[np.ndarray]:
    """Yields the arrays that a source's callable has returned.

    Args:
      batches: an array, or an iterable of arrays.

    Yields:
      The arrays.

    Raises:
      SourceError: if the source fails, whatever its error is.
    """
    iterator = iter((batches,) if hasattr(batches, "shape") else batches)
    while True:
        try:
            piece = np.asarray(next(iterator))
        except StopIteration:
            return
        except SourceError:
            raise
        except Exception as error:  # The code of a user's source is not ours.
            raise SourceError(f"{type(error).__name__}: {one_line(error)}") from error
        yield piece


def is_number(value) -> bool:
    """Tells whether a declared fact is a finite number."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and math.isfinite(value)
