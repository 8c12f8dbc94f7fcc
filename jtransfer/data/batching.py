"""Seeded batches that can start at any step, and a stratified split."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jtransfer._internal.errors import DataError
from jtransfer.data.checks import checked_labels
from jtransfer.intervals import stratified_part


class HeldOutSplit(NamedTuple):
    """Positions of the examples of the two parts, ascending.

    Attributes:
      train: shape ``[n - m]``.
      held_out: shape ``[m]``.
    """

    train: np.ndarray
    held_out: np.ndarray


def batch_indices(
    seed: int, step: int, *, num_examples: int, batch_size: int
) -> np.ndarray:
    """Returns the positions of the examples of one training step.

    The steps cut one endless sequence into runs of `batch_size`: a permutation of
    all examples, then another one, and so on, each drawn from `seed` and its epoch
    alone. So every epoch visits each example exactly once, no example is dropped, a
    batch that reaches the end of an epoch is filled from the next one, a batch may
    be larger than the data set, and any step is found without the ones before it.

    Args:
      seed: non-negative; the same seed gives the same sequence.
      step: number of the step, from 0. Epoch ``e`` is the positions ``[e *
        num_examples, (e + 1) * num_examples)`` of the sequence.
      num_examples: size ``n`` of the data set.
      batch_size: size of a batch.

    Returns:
      Positions in ``[0, n)``, shape ``[batch_size]``.

    Raises:
      ValueError: if an argument is out of range.

    Example:
      >>> first = [batch_indices(0, t, num_examples=4, batch_size=2) for t in (0, 1)]
      >>> sorted(np.concatenate(first).tolist())
      [0, 1, 2, 3]
    """
    if num_examples < 1 or batch_size < 1 or step < 0 or seed < 0:
        raise ValueError(
            "num_examples and batch_size must be at least 1, seed and step at least "
            f"0, got {num_examples}, {batch_size}, {seed}, {step}."
        )
    positions = step * batch_size + np.arange(batch_size)
    epochs, places = np.divmod(positions, num_examples)
    indices = np.empty(batch_size, np.int64)
    for epoch in range(epochs[0], epochs[-1] + 1):
        inside = epochs == epoch
        indices[inside] = _permutation(seed, epoch, num_examples)[places[inside]]
    return indices


# The steps of an epoch share its permutation.
@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    order = np.random.default_rng((seed, epoch)).permutation(num_examples)
    order.flags.writeable = False
    return order


def batches(
    arrays: Sequence[ArrayLike],
    *,
    seed: int,
    batch_size: int,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[tuple[np.ndarray, ...]]:
    """Returns an iterator over the batches of steps `start` to `stop`.

    Args:
      arrays: arrays of one length, such as ``(images, labels)``, each ``[n, ...]``.
      seed: see `batch_indices`.
      batch_size: examples a batch; all batches have this size.
      start: the first step; a resumed run starts at the step it did not finish.
      stop: the step after the last one; endless if None.

    Returns:
      An iterator of tuples, one array ``[batch_size, ...]`` for each of `arrays`.

    Raises:
      ValueError: if the arrays differ in length or an argument is out of range.

    Example:
      >>> x = np.arange(4)
      >>> steps = batches((x, 10 * x), seed=0, batch_size=3, start=1, stop=3)
      >>> [(a.shape, bool((b == 10 * a).all())) for a, b in steps]
      [((3,), True), ((3,), True)]
    """
    arrays = tuple(np.asarray(array) for array in arrays)
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1:
        raise ValueError(
            f"arrays must be of one length, got {[len(array) for array in arrays]}."
        )
    indices = functools.partial(
        batch_indices, seed, num_examples=lengths.pop(), batch_size=batch_size
    )
    indices(step=start)  # a faulty argument shows here, not at the first batch

    def iterate() -> Iterator[tuple[np.ndarray, ...]]:
        step = start
        while stop is None or step < stop:
            taken = indices(step=step)
            yield tuple(array[taken] for array in arrays)
            step += 1

    return iterate()


def held_out_split(labels: ArrayLike, *, fraction: float, seed: int) -> HeldOutSplit:
    """Returns a random split in which every class gives up the same fraction.

    A class of ``c`` examples gives up ``fraction * c``, rounded, but at least one
    and not all of them; a class of one example stays in the training part.

    Args:
      labels: class of each example, shape ``[n]``.
      fraction: share of the held-out part, in (0, 1).
      seed: non-negative.

    Returns:
      The positions of both parts.

    Raises:
      DataError: if no class has two examples.
      ValueError: if `fraction` is not between 0 and 1.

    Example:
      >>> parts = held_out_split([0, 0, 0, 0, 1, 1], fraction=0.5, seed=0)
      >>> len(parts.train), len(parts.held_out)
      (3, 3)
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}.")
    labels = checked_labels(labels, min_classes=1)
    rng = np.random.default_rng(seed)

    def part_of(count: int) -> int:
        return min(max(1, int(fraction * count + 0.5)), count - 1)

    held_out = np.zeros(len(labels), bool)
    held_out[stratified_part(labels, part_of, rng)] = True
    if not held_out.any():
        raise DataError(
            "no class has two examples, so none can be held out; add examples."
        )
    return HeldOutSplit(np.flatnonzero(~held_out), np.flatnonzero(held_out))
