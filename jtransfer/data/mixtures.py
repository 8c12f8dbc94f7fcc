"""Subsets that mix two groups of classes in given shares."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jtransfer._internal.errors import DataError
from jtransfer.data.checks import checked_labels
from jtransfer.data.subsets import checked_classes
from jtransfer.intervals import positions_by_class


def class_mixtures(
    labels: ArrayLike,
    first: Sequence[int],
    second: Sequence[int],
    *,
    second_shares: Sequence[float] = (0, 0.25, 0.5, 0.75, 1),
    num_classes: int,
    seed: int,
    num_examples: int | None = None,
) -> tuple[np.ndarray, ...]:
    """Returns subsets of equal size with a growing share of a group of classes.

    The experiment on animals (`first`) and vehicles (`second`) of CIFAR-10: labels
    are left alone, so at the ends some classes do not occur. Within a group every
    class gives equally many examples, up to one. The examples of a class in a
    smaller share are among those in a larger one.

    Args:
      labels: class of each example, shape ``[n]``.
      first: classes of the first group.
      second: classes of the second group, none of `first`.
      second_shares: share of the second group in each subset, in [0, 1].
      num_classes: number of classes.
      seed: non-negative.
      num_examples: size of every subset; the largest that all of them allow if None.

    Returns:
      For each share, positions of shape ``[num_examples]``, ascending.

    Raises:
      DataError: if there are too few examples.
      ValueError: if groups or shares are malformed.

    Example:
      >>> labels = np.repeat([0, 1, 2], 4)
      >>> subsets = class_mixtures(labels, [0, 1], [2], num_classes=3, seed=0)
      >>> [np.bincount(labels[subset], minlength=3).tolist() for subset in subsets]
      [[2, 2, 0], [2, 1, 1], [1, 1, 2], [1, 0, 3], [0, 0, 4]]

    References:
      Liang et al., "Uncovering the Connections Between Adversarial Transferability
      and Knowledge Transferability", ICML 2021, Table 3. The sizes are not stated
      there.
    """
    labels = checked_labels(labels, num_classes=num_classes, min_classes=1)
    groups = _checked_groups(first, second, num_classes)
    shares = [float(share) for share in second_shares]
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"second_shares must lie in [0, 1], got {second_shares}.")
    counts = np.bincount(labels, minlength=num_classes)
    capacities = [len(group) * int(counts[group].min()) for group in groups]
    largest = _largest_mixture(capacities, shares)
    num_examples = max(largest, 1) if num_examples is None else num_examples
    if not 1 <= num_examples <= largest:
        raise DataError(
            f"no mixtures of {num_examples} examples can be made for these shares, the "
            f"largest have {largest}; change num_examples or add examples."
        )
    members = positions_by_class(labels, np.random.default_rng(seed))
    return tuple(_mixture(members, groups, share, num_examples) for share in shares)


def _checked_groups(first, second, num_classes: int) -> list[np.ndarray]:
    groups = [checked_classes(group, num_classes) for group in (first, second)]
    checked_classes(np.concatenate(groups), num_classes)
    return groups


def _second_count(num_examples: int, share: float) -> int:
    return int(share * num_examples + 0.5)


def _largest_mixture(capacities: list[int], shares: list[float]) -> int:
    # The parts of both groups grow with the size, so the first size that fits
    # everywhere, counted from above, is the largest. Rounding moves a part by 1/2.
    first, second = capacities
    bounds = [
        (capacity + 0.5) / part
        for share in shares
        for capacity, part in ((first, 1 - share), (second, share))
        if part > 0
    ]
    size = int(min(bounds)) + 1
    while any(
        _second_count(size, share) > second or size - _second_count(size, share) > first
        for share in shares
    ):
        size -= 1
    return size


def _mixture(members, groups, share: float, num_examples: int) -> np.ndarray:
    second = _second_count(num_examples, share)
    chosen = [
        members[int(label)][: len(part)]
        for group, count in zip(groups, (num_examples - second, second), strict=True)
        for label, part in zip(
            group, np.array_split(np.arange(count), len(group)), strict=True
        )
        if len(part)
    ]
    return np.sort(np.concatenate(chosen))
