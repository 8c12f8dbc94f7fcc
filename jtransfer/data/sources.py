"""Images by name: prepared and saved data sets, folders of pictures, archives."""

import os
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import DataError, MissingSplit
from jtransfer.data.cache import Decoded
from jtransfer.data.checks import (
    checked_labels,
    checked_names,
    is_text,
    numbered_names,
)
from jtransfer.data.decoding import check_channels, decoded, image_stack, size_pair
from jtransfer.data.image_folder import folder_images
from jtransfer.data.images import Images
from jtransfer.data.npz import npz_arrays, npz_headers
from jtransfer.data.prepared import prepared_images
from jtransfer.data.saved_datasets import is_saved_dataset
from jtransfer.data.saved_images import saved_images


def load(
    spec: str,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    image_size: int | tuple[int, int] | None = None,
    num_channels: int | None = None,
    label_key: str | None = None,
    limit: int | None = None,
    cache_dir: str | os.PathLike | None = None,
) -> Images:
    """Returns one split of a labelled set of images as uint8 arrays.

    * ``cifar10`` or ``tfds:cifar10``: a data set of TensorFlow Datasets under its
      name there, ``name[/config][:version]``, or anything else prepared in
      `data_dir` in its layout. It must be prepared in the format array_record; it
      is read without TensorFlow.
    * ``imagefolder:DIR``: pictures in ``DIR/split/class_name/``. A folder without
      splits, ``DIR/class_name/``, is one split named "train". The classes are those
      of ``DIR/train`` in alphabetical order.
    * ``saved:DIR``: columns ``image`` and ``label`` of a data set of Hugging Face that
      ``save_to_disk`` has left, with or without splits; without, it is one split named
      "train". It is read with pyarrow alone. The classes are those of its ClassLabel;
      of other labels, numbers or texts, those of the split "train", sorted.
    * ``npz:FILE``: arrays ``images`` (uint8, ``[n, h, w, c]``) and ``labels``
      (integers, ``[n]``), optionally ``class_names`` (strings, ``[C]``) and, for the
      split "test", ``test_images`` and ``test_labels``.

    Pictures are decoded once and kept, uncompressed, in a cache.

    Args:
      spec: which data set, as above.
      split: "train", "test" or another that the set has; for TensorFlow Datasets
        its slicing syntax works too.
      data_dir: where prepared data sets lie; the environment variable TFDS_DATA_DIR
        if None, then ``~/tensorflow_datasets``.
      image_size: side, or ``(height, width)``, to which images are cropped at the
        centre and resized; needed if they differ in size.
      num_channels: 1 for grey, 3 for colour; as stored if None, which for a folder
        or a saved data set is grey if all of its pictures are.
      label_key: which labels of a TensorFlow data set to use, such as
        "coarse_label" of cifar100; the supervised ones if None.
      limit: return only the first images. Prepared sets are stored in random order,
        and folders and saved data sets are read in block-balanced order, so these are
        of all classes; an archive is read in its own order.
      cache_dir: folder of decoded images; ``$XDG_CACHE_HOME/jtransfer/images`` if
        None, with ``~/.cache`` for a missing variable.

    Returns:
      The images, their labels, and the names of the classes.

    Raises:
      DataError: if the set is not there, not prepared, damaged, or its labels are
        unusable; one line that says what to do.
      ValueError: if an argument is malformed.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     file = Path(folder) / "two.npz"
      ...     np.savez(file, images=np.zeros((2, 8, 8, 3), np.uint8), labels=[0, 1])
      ...     load(f"npz:{file}", "train", image_size=4).images.shape
      (2, 4, 4, 3)
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}.")
    size = size_pair(image_size)
    check_channels(num_channels)
    source, place = _parsed(spec)
    if label_key is not None and source != "tfds":
        raise ValueError(f"label_key is for TensorFlow data sets, not for {spec!r}.")
    options = {"size": size, "num_channels": num_channels, "limit": limit}
    if source == "npz":
        pictures = npz_images(place, split, **options)
    elif source == "imagefolder":
        pictures = folder_images(place, split, cache_dir=cache_dir, **options)
    elif source == "saved":
        pictures = saved_images(place, split, cache_dir=cache_dir, **options)
    else:
        pictures = prepared_images(
            place, split, data_dir=data_dir, cache_dir=cache_dir, **options
        )
    return _selected(pictures, spec, split, label_key, whole=limit is None)


def npz_images(
    file: str | os.PathLike,
    split: str,
    *,
    size: tuple[int, int] | None,
    num_channels: int | None,
    limit: int | None,
) -> Decoded:
    """Reads one split of an ``.npz`` file; see `load`."""
    if split not in ("train", "test"):
        raise MissingSplit(
            f"{file} has no split {split!r}; an .npz file has train (images, labels) "
            "and test (test_images, test_labels)."
        )
    prefix = "test_" if split == "test" else ""
    pixels, key = f"{prefix}images", f"{prefix}labels"
    headers = npz_headers(file)
    if split == "test" and not {pixels, key} & set(headers):
        raise MissingSplit(
            f"{file} has no split 'test' (test_images, test_labels); it has train."
        )
    if pixels in headers:
        _check_pixels(file, pixels, headers[pixels])
    arrays = npz_arrays(
        file,
        required=(pixels, key),
        optional=("class_names", "labels", "test_labels"),
        limits={pixels: limit},
    )
    names = _class_names(file, arrays)
    labels = arrays[key]
    if is_text(labels):
        labels, _ = numbered_names(labels, names, name=f"{key} of {file}")
    labels = checked_labels(
        labels, num_examples=headers[pixels].shape[0], name=f"{key} of {file}"
    )
    images, labels = arrays[pixels], labels[: len(arrays[pixels])]
    images = _resized(images, size, num_channels)
    return Decoded(images, {"label": labels}, {"label": names})


def _check_pixels(file, name: str, header) -> None:
    if header.dtype != np.uint8:
        raise DataError(
            f"{name} of {file} must be uint8 from 0 to 255, got {header.dtype}; for "
            "values in [0, 1] save (255 * x).round().astype('uint8')."
        )
    if len(header.shape) != 4 or 0 in header.shape[1:]:
        raise DataError(
            f"{name} of {file} must have shape [n, h, w, c], got "
            f"{list(header.shape)}; grey images need a last axis of 1."
        )
    if header.shape[0] == 0:
        raise DataError(f"{name} of {file} is empty; give at least one image.")
    channels, height, width = header.shape[1:]
    if channels in (1, 3) and height == width > 4:
        raise DataError(
            f"{name} of {file} have shape {list(header.shape)}, the order [n, c, h, w] "
            "of PyTorch; save them as [n, h, w, c]: images.transpose(0, 2, 3, 1)."
        )


def _class_names(file, arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    if "class_names" in arrays:
        return checked_names(arrays["class_names"], name=f"class_names of {file}")
    first = arrays.get("labels", arrays.get("test_labels"))
    if is_text(first):
        return numbered_names(first)[1]
    # Of both splits, so that they agree; the labels that are used are checked.
    numbers = [arrays[key] for key in ("labels", "test_labels") if key in arrays]
    highest = max(int(x.max(initial=0)) for x in numbers if x.dtype.kind in "iu")
    return tuple(str(label) for label in range(highest + 1))


def _resized(images, size, num_channels: int | None) -> np.ndarray:
    from PIL import Image

    channels = images.shape[-1]
    same = size in (None, images.shape[1:3]) and num_channels in (None, channels)
    if same:
        return images
    if channels not in (1, 3):
        raise DataError(
            f"images of {channels} channels cannot be converted; leave image_size and "
            "num_channels out, or keep 1 or 3 channels."
        )

    def decode(i: int) -> np.ndarray:
        picture = Image.fromarray(images[i, ..., 0] if channels == 1 else images[i])
        return decoded(picture, num_channels=num_channels or channels, size=size)

    return image_stack(decode, lambda i: f"image {i}", len(images))


def _parsed(spec: str) -> tuple[str, str]:
    source, colon, place = spec.partition(":")
    if source in ("tfds", "imagefolder", "npz", "saved") and colon:
        if not place:
            raise DataError(f"{spec!r} names nothing; write {source}:NAME.")
        return source, place
    if spec.endswith(".npz"):
        raise DataError(f"{spec} looks like a file; write npz:{spec}.")
    if is_saved_dataset(spec):
        raise DataError(f"{spec} is a saved data set; write saved:{spec}.")
    if os.sep in spec and Path(spec).expanduser().is_dir():
        raise DataError(f"{spec} is a folder; write imagefolder:{spec}.")
    return "tfds", spec


def _selected(
    pictures: Decoded, spec: str, split: str, label_key: str | None, *, whole: bool
) -> Images:
    key = next(iter(pictures.labels)) if label_key is None else label_key
    if key not in pictures.labels:
        raise DataError(
            f"{spec} has no labels {key!r}; it has {', '.join(pictures.labels)}."
        )
    names = pictures.class_names[key]
    labels = checked_labels(
        pictures.labels[key],
        num_examples=len(pictures.images),
        num_classes=len(names),
        # The first few images may well be of one class.
        min_classes=2 if whole else 1,
        name=f"labels of {spec}, split {split}",
    )
    return Images(pictures.images, labels, names)
