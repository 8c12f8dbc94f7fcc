"""A labelled set of images in memory, and selections from it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jtransfer._internal.errors import DataError
from jtransfer.data.subsets import class_subset


class Images(NamedTuple):
    """Images with their classes, on the host.

    Attributes:
      images: pixels, uint8, shape ``[n, h, w, c]``.
      labels: class of each image in ``[0, len(class_names))``, int32, shape ``[n]``.
      class_names: name of each class; a class may have no image.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]


def examples_at(images: Images, indices: ArrayLike) -> Images:
    """Returns the images at some positions, classes unchanged.

    Args:
      images: the whole set, ``n`` images.
      indices: positions in it, shape ``[k]``.

    Returns:
      A set of ``k`` images, in the order of `indices`.

    Example:
      >>> pixels = np.zeros((3, 1, 1, 3), np.uint8)
      >>> whole = Images(pixels, np.arange(3), ("a", "b", "c"))
      >>> examples_at(whole, [2, 0]).labels
      array([2, 0])
    """
    indices = np.asarray(indices)
    return images._replace(images=images.images[indices], labels=images.labels[indices])


def examples_of(images: Images, classes: Sequence[int]) -> Images:
    """Returns the images of some classes, renumbered in the order of `classes`.

    Args:
      images: the whole set.
      classes: the classes to keep, each once.

    Returns:
      The images of these classes in their old order; class ``classes[i]`` is now
      class ``i``.

    Raises:
      ValueError: if `classes` is empty, names a class twice or one that the set
        does not have.

    Example:
      >>> pixels = np.zeros((3, 1, 1, 3), np.uint8)
      >>> whole = Images(pixels, np.arange(3), ("a", "b", "c"))
      >>> examples_of(whole, [2, 0])[1:]
      (array([1, 0], dtype=int32), ('c', 'a'))
    """
    indices, labels = class_subset(
        images.labels, classes, num_classes=len(images.class_names)
    )
    names = tuple(images.class_names[label] for label in classes)
    return Images(images.images[indices], labels, names)


def named_class_subset(images: Images, named: tuple[str, ...]) -> Images:
    """Returns the images of some classes, given by name or by number.

    Args:
      images: the whole set.
      named: names, numbers, or ranges of numbers such as `0-49`; none stands for all.

    Returns:
      The images of these classes, renumbered in the order given.

    Raises:
      DataError: if a class does not exist.

    Example:
      >>> pixels = np.zeros((3, 1, 1, 3), np.uint8)
      >>> images = Images(pixels, np.arange(3), ("cat", "dog", "ship"))
      >>> named_class_subset(images, ("ship", "0-1")).class_names
      ('ship', 'cat', 'dog')
    """
    if not named:
        return images
    names, classes = list(images.class_names), []
    for item in named:
        first, _, last = item.partition("-")
        if item in names:
            classes.append(names.index(item))
        elif first.isdigit() and (last.isdigit() or not last):
            classes.extend(range(int(first), int(last or first) + 1))
        else:
            raise DataError(
                f"There is no class {item!r}; there are {', '.join(names[:8])} ..."
            )
    if max(classes) >= len(names) or len(set(classes)) < len(classes):
        raise DataError(
            f"Classes must each be one of 0 to {len(names) - 1} and named once."
        )
    return examples_of(images, classes)
