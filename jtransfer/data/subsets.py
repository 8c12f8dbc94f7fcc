"""Subsets of examples and of classes, for experiments.

Pure functions of labels, on the host: they return positions, and the caller indexes.
Everything random comes from `seed`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jtransfer._internal.errors import DataError
from jtransfer.data.checks import checked_labels
from jtransfer.intervals import positions_by_class


class ClassSubset(NamedTuple):
    """The examples of some classes, with their new labels.

    Attributes:
      indices: positions of the examples, ascending, shape ``[m]``.
      labels: new label of each of them, int32, shape ``[m]``.
    """

    indices: np.ndarray
    labels: np.ndarray


def block_balanced_order(labels: ArrayLike, *, seed: int) -> np.ndarray:
    """Returns a random order in which every run of C examples is balanced.

    With ``C`` classes that occur and ``c`` examples in the smallest, each of the
    first ``c`` runs of ``C`` examples holds one of every class, in random order.
    After that the exhausted classes are missing from the runs. So a prefix is a
    random subset, as balanced as can be.

    Args:
      labels: class of each example, shape ``[n]``.
      seed: non-negative.

    Returns:
      A permutation of ``0 .. n - 1``.

    Raises:
      DataError: if the labels are unusable.

    Example:
      >>> labels = np.array([0, 0, 0, 1, 1, 1])
      >>> runs = labels[block_balanced_order(labels, seed=0)].reshape(3, 2)
      >>> np.sort(runs, axis=1).tolist()
      [[0, 1], [0, 1], [0, 1]]
    """
    labels = checked_labels(labels, min_classes=1)
    rng = np.random.default_rng(seed)
    run = np.empty(len(labels), np.int64)
    for members in positions_by_class(labels, rng).values():
        run[members] = np.arange(len(members))
    return np.lexsort((rng.random(len(labels)), run))


def per_class_subset(
    labels: ArrayLike, *, per_class: int, num_classes: int, seed: int
) -> np.ndarray:
    """Returns the positions of `per_class` random examples of every class.

    Subsets of one seed are nested: the one of 10 a class holds the one of 5. Each
    run of `num_classes` positions holds one example of every class.

    Args:
      labels: class of each example, shape ``[n]``.
      per_class: how many of each class.
      num_classes: number of classes, all of which must occur.
      seed: non-negative.

    Returns:
      Positions, shape ``[per_class * num_classes]``.

    Raises:
      DataError: if a class has fewer examples.
      ValueError: if `per_class` is less than 1.

    Example:
      >>> labels = np.array([1, 0, 1, 0, 1])
      >>> chosen = per_class_subset(labels, per_class=2, num_classes=2, seed=0)
      >>> np.sort(labels[chosen]).tolist()
      [0, 0, 1, 1]
    """
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1, got {per_class}.")
    labels = checked_labels(labels, num_classes=num_classes, min_classes=1)
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < per_class:
        raise DataError(
            f"class {counts.argmin()} has {counts.min()} examples, per_class asks for "
            f"{per_class}; ask for at most {counts.min()} or drop the class."
        )
    return block_balanced_order(labels, seed=seed)[: per_class * num_classes]


def class_subset(
    labels: ArrayLike, classes: Sequence[int], *, num_classes: int
) -> ClassSubset:
    """Returns the examples of some classes, renumbered in the order of `classes`.

    Args:
      labels: class of each example, shape ``[n]``.
      classes: the classes to keep, each once; ``classes[i]`` becomes class ``i``.
      num_classes: number of classes before.

    Returns:
      Positions and new labels, in the old order.

    Raises:
      ValueError: if `classes` is empty, repeats a class or leaves the range.

    Example:
      >>> class_subset([0, 1, 2, 1], [2, 1], num_classes=3)
      ClassSubset(indices=array([1, 2, 3]), labels=array([1, 0, 1], dtype=int32))
    """
    labels = checked_labels(labels, num_classes=num_classes, min_classes=1)
    classes = checked_classes(classes, num_classes)
    renumbered = np.full(num_classes, -1, np.int32)
    renumbered[classes] = np.arange(len(classes))
    indices = np.flatnonzero(renumbered[labels] >= 0)
    return ClassSubset(indices, renumbered[labels[indices]])


def checked_classes(classes: Sequence[int], num_classes: int) -> np.ndarray:
    """Returns `classes` as an array, or raises ValueError if it is no set of them."""
    classes = np.asarray(classes)
    if classes.ndim != 1 or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"classes must be a list of integers, got {classes!r}.")
    if len(classes) == 0 or classes.min() < 0 or classes.max() >= num_classes:
        raise ValueError(
            f"classes must be some of [0, {num_classes}), got {classes.tolist()}."
        )
    if len(np.unique(classes)) < len(classes):
        raise ValueError(f"classes must differ, got {classes.tolist()}.")
    return classes
