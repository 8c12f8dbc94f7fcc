"""The labelled examples of the task to transfer to."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtransfer import data
from jtransfer._internal.errors import DataError, RequestError
from jtransfer._internal.files import printable_name
from jtransfer._internal.provenance import arrays_fingerprint, bytes_fingerprint
from jtransfer.data import (
    MissingSplit,
    checked_labels,
    checked_names,
    is_text,
    npy_array,
    npz_arrays,
    numbered_names,
)
from jtransfer.intervals import NUM_BLOCKS, copies, group_numbers


class Target(NamedTuple):
    """The labelled examples of the task to transfer to."""

    name: str
    labels: np.ndarray
    """Integers in `[0, num_classes)`, `[n]`; -1 withholds an example from scores."""
    num_classes: int
    class_names: tuple[str, ...]
    digest: str
    """Changes when the labels do."""
    test_labels: np.ndarray | None = None
    """Labels of further examples, which take part in no score."""
    images: np.ndarray | None = None
    """The examples themselves, `[n, h, w, c]`, uint8 or floats in [0, 1], for sources
    that are networks."""
    test_images: np.ndarray | None = None
    """The further examples."""
    path: Path | None = None
    """The file that its labels come from, which is no source of a zoo around it."""
    texts: tuple | None = None
    """The examples themselves, texts or pairs of texts, for sources that are models of
    texts."""
    groups: np.ndarray | None = None
    """Which examples belong together, such as images of one patient: integers from 0,
    `[n]`. No group is parted by blocks and test parts; None if each is alone."""
    test_texts: tuple | None = None
    """The further examples, if they are texts."""


def target(spec: str) -> Target:
    """Returns the target of an `.npz` file with `labels [n]`, or of an `.npy` file.

    Labels may have gaps; they are renumbered in their order. Labels that are texts are
    names of classes. Optional arrays are `class_names [C]`, one name for each label
    from 0, `test_labels [m]`, and `groups [n]`, numbers or texts that examples which
    belong together have in common.

    Args:
      spec: path of the file.

    Returns:
      The target.

    Raises:
      RequestError: if the file cannot be read or its labels cannot be used.
    """
    path = Path(spec).expanduser()
    try:
        if path.suffix == ".npy":
            arrays = {"labels": npy_array(path)}
        else:
            arrays = npz_arrays(
                path,
                required=["labels"],
                optional=["class_names", "test_labels", "groups"],
            )
        digest = bytes_fingerprint(path.read_bytes())
    except (DataError, OSError) as error:
        raise RequestError(str(error)) from error
    return labelled_target(
        printable_name(path.stem),
        arrays["labels"],
        class_names=arrays.get("class_names"),
        test_labels=arrays.get("test_labels"),
        groups=arrays.get("groups"),
        digest=digest,
    )._replace(path=path)


def image_target(
    spec: str,
    *,
    per_class: int | None,
    num_test: int | None,
    seed: int,
    data_dir: str | None = None,
    image_size: int | None = None,
) -> Target:
    """Returns the target of a data set of images, for sources that are networks.

    The labelled examples come from its split `train`; its split `test`, if it has one,
    takes part in no score.

    Args:
      spec: a data set as `jtransfer.data.load` takes it.
      per_class: labelled examples of each class, drawn at random; all if None.
      num_test: test examples, at most; all if None.
      seed: of the draw.
      data_dir: where prepared data sets lie.
      image_size: side to which the images are resized, if they differ in size.

    Returns:
      The target.

    Raises:
      RequestError: if the data cannot be read or a class has too few examples.
    """
    options = {"data_dir": data_dir, "image_size": image_size}
    try:
        train = data.load(spec, "train", **options)
        if per_class is not None:
            chosen = data.per_class_subset(
                train.labels,
                per_class=per_class,
                num_classes=len(train.class_names),
                seed=seed,
            )
            train = data.examples_at(train, chosen)
    except (DataError, ValueError) as error:
        raise RequestError(f"{spec}: {error}") from error
    try:
        test = data.load(spec, "test", limit=num_test, **options)
    except MissingSplit:
        test = None  # A fifth of the labelled examples does instead.
    except (DataError, ValueError) as error:
        raise RequestError(f"{spec}: {error}") from error
    tested = () if test is None else (test.labels, test.images)
    target = labelled_target(
        printable_name(spec.rpartition(":")[2].rstrip("/").rpartition("/")[2]),
        train.labels,
        class_names=train.class_names,
        test_labels=None if test is None else test.labels,
        digest=arrays_fingerprint(train.labels, train.images, *tested),
    )
    return target._replace(
        images=train.images,
        test_images=None if test is None else test.images,
        groups=equal_examples(train.images),
    )


def equal_examples(examples: np.ndarray | Sequence) -> np.ndarray | None:
    """Returns groups `[n]` of images, or of texts, that are equal; None if few are.

    Args:
      examples: images `[n, ...]`, or texts and pairs of texts.
    """
    contents = (
        x.tobytes() if isinstance(x, np.ndarray) else json.dumps(x).encode()
        for x in examples
    )
    hashes = (hashlib.blake2b(x, digest_size=8).digest() for x in contents)
    return copies(np.frombuffer(b"".join(hashes), np.uint64))


def target_examples_at(
    examples: np.ndarray | tuple, positions: np.ndarray
) -> np.ndarray | tuple:
    """Returns some of the images, or of the texts, of a target.

    Args:
      examples: images `[n, ...]`, or a tuple of texts and pairs of texts.
      positions: of those that are wanted, integers.
    """
    if isinstance(examples, tuple):
        return tuple(examples[i] for i in positions)
    return examples[positions]


def labelled_target(
    name: str,
    labels: np.ndarray,
    *,
    digest: str,
    class_names=None,
    test_labels: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Target:
    """Checks the labels of a target and renumbers them without gaps.

    Args:
      name: the target's name.
      labels: one label an example, `[n]`, integers from 0.
      digest: a string that changes when the labels do.
      class_names: names of the labels from 0, or None.
      test_labels: labels of examples that take part in no score, or None.
      groups: numbers or texts, `[n]`, that examples which belong together have in
        common, or None.

    Returns:
      The target.

    Raises:
      RequestError: if the labels are not integers, negative, beyond the names given,
        of fewer than two classes, or fewer than two; or if the groups are not one an
        example, or fewer than ten.
    """
    try:
        if class_names is not None:
            class_names = checked_names(class_names)
        if is_text(labels):
            labels, class_names = numbered_names(labels, class_names)
            if test_labels is not None:
                test_labels = _test_numbers(test_labels, class_names)
        num_names = None if class_names is None else len(class_names)
        labels = checked_labels(labels, num_classes=num_names)
        present, renumbered = np.unique(labels, return_inverse=True)
        if test_labels is not None:
            test_labels = checked_labels(
                test_labels, num_classes=num_names, min_classes=1, name="test_labels"
            )
            position = np.searchsorted(present, test_labels)
            known = present[np.minimum(position, len(present) - 1)] == test_labels
            test_labels = np.where(known, position, -1).astype(np.int32)
        if groups is not None:
            groups = checked_groups(groups, len(labels))
    except DataError as error:
        raise RequestError(f"Target {name}: {error}") from error
    if class_names is None:
        class_names = {label: label for label in present}
    names = tuple(str(class_names[label]) for label in present)
    return Target(
        name,
        renumbered.astype(np.int32),
        len(present),
        names,
        digest,
        test_labels,
        groups=groups,
    )


def checked_groups(groups: np.ndarray, n: int) -> np.ndarray:
    """Returns groups numbered from 0, `[n]`.

    Raises:
      DataError: if they are not one an example, neither integers nor texts, or fewer
        than the blocks that intervals need.
    """
    groups = np.asarray(groups)
    if groups.shape != (n,):
        raise DataError(f"groups must be one an example, [{n}], got {groups.shape}.")
    if groups.dtype.kind not in "iuSU":
        raise DataError(f"groups must be integers or texts, got {groups.dtype}.")
    groups = group_numbers(groups)
    if groups.max(initial=-1) + 1 < NUM_BLOCKS:
        raise DataError(
            f"groups has {groups.max(initial=-1) + 1} groups; intervals need "
            f"{NUM_BLOCKS} at least, one a block. Leave groups out for none."
        )
    return groups


def _test_numbers(test_labels: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Positions of test labels among the classes; a class more for any other name."""
    if not is_text(test_labels):
        raise DataError("labels are texts, test_labels numbers; save both alike.")
    numbers, _ = numbered_names(test_labels, names, name="test_labels")
    if (numbers < 0).any():
        unknown = np.asarray(test_labels)[numbers < 0][0]
        raise DataError(f"test_labels name {unknown!r}, a class that labels lack.")
    return numbers
