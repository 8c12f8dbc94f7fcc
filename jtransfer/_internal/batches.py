"""Batches of one length, so that one compiled function serves all."""

from collections.abc import Iterator

import numpy as np


def equal_batches(n: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yields positions of equally many examples, and how many of them are new.

    The last batch goes on with the first examples, as often as it takes.

    Args:
      n: number of examples.
      size: examples a batch.

    Example:
      >>> [(rows.tolist(), new) for rows, new in equal_batches(5, 3)]
      [([0, 1, 2], 3), ([3, 4, 0], 2)]
    """
    for start in range(0, n, size):
        yield (start + np.arange(size)) % n, min(size, n - start)
