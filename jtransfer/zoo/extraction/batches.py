"""Functions of rows, batch by batch, in as much memory as there is."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from jtransfer._internal.errors import SourceError, one_line

try:
    import resource
except ImportError:  # Not on this system.
    resource = None

_OUT_OF_MEMORY = ("DefaultCPUAllocator", "RESOURCE_EXHAUSTED", "out of memory")
R = TypeVar("R")


def in_batches(
    apply: Callable[[np.ndarray], R], rows: np.ndarray, size_at: Callable[[int], int]
) -> Iterator[tuple[np.ndarray, R]]:
    """Applies a function to rows; batches that are too large are halved.

    Args:
      apply: of the numbers of some rows.
      rows: all of them, in the order in which they are taken.
      size_at: returns how many to take from a place on.

    Yields:
      Numbers of rows, and what the function returns for them.

    Raises:
      SourceError: if it fails.

    Example:
      >>> list(in_batches(len, np.arange(5), lambda start: 4))
      [(array([0, 1, 2, 3]), 4), (array([4]), 1)]
    """
    start, most = 0, len(rows)
    while start < len(rows):
        chosen = rows[start : start + min(size_at(start), most)]
        try:
            result = apply(chosen)
        except SourceError:
            raise
        except Exception as error:  # Libraries have errors of their own for this.
            full = isinstance(error, MemoryError) or any(
                text in str(error) for text in _OUT_OF_MEMORY
            )
            reason = one_line(error)[:300]
        else:
            yield chosen, result
            start += len(chosen)
            continue
        # Here, outside of the handler, what the batch held is free again.
        if not full:
            raise SourceError(f"It fails at row {chosen[0]}: {reason}")
        if len(chosen) == 1:
            peak = f"peak {_peak():.1f} GB"
            raise SourceError(f"It is out of memory at batch 1 ({peak}).")
        most = len(chosen) // 2


def _peak() -> float:
    """The most memory that the process has had, in GB."""
    if resource is None:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
