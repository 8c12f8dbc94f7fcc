"""Prepared TensorFlow Datasets, read without TensorFlow."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import DataError, MissingSplit
from jtransfer._internal.files import json_value
from jtransfer._internal.provenance import bytes_fingerprint, files_fingerprint
from jtransfer.data.cache import Decoded, cached
from jtransfer.data.decoding import decoded, image_stack
from jtransfer.data.prepared_folders import (
    data_root,
    tensorflow_datasets,
    version_folder,
)


def prepared_images(
    name: str,
    split: str,
    *,
    data_dir: str | os.PathLike | None,
    size: tuple[int, int] | None,
    num_channels: int | None,
    limit: int | None,
    cache_dir: str | os.PathLike | None,
) -> Decoded:
    """Reads one split of a prepared data set; see `sources.load`.

    The cache knows it by name, version, split, description and the contents of its
    files.
    """
    folder = version_folder(name, data_root(data_dir))
    description = (folder / "dataset_info.json").read_bytes()
    files = sorted(file for file in folder.iterdir() if file.is_file())
    key = {
        "folder": [*folder.parts[-3:]],
        "split": split,
        "description": bytes_fingerprint(description),
        "files": [(file.name, files_fingerprint([file])) for file in files],
        "size": size,
        "num_channels": num_channels,
    }

    def decode(count: int | None) -> Decoded:
        return _decoded_split(folder, name, split, size, num_channels, count)

    return cached(
        decode,
        name=f"{name}-{folder.name}-{split}",
        key=["tfds", key],
        limit=limit,
        cache_dir=cache_dir,
    )


def _decoded_split(folder: Path, name, split, size, num_channels, count) -> Decoded:
    source, info, image_key = _source(folder, name, split)
    classes = _class_features(info, name)
    fixed = info.features[image_key].shape[-1]
    channels = num_channels or (1 if fixed == 1 else 3)
    length = len(source) if count is None else min(count, len(source))
    labels = {key: np.empty(length, np.int32) for key in classes}

    def decode(i: int) -> np.ndarray:
        from PIL import Image

        example = source[i]
        for key, values in labels.items():
            values[i] = example[key]
        with Image.open(io.BytesIO(example[image_key])) as picture:
            return decoded(picture, num_channels=channels, size=size)

    images = image_stack(decode, lambda i: f"example {i} of {name} {split}", length)
    return Decoded(images, labels, classes)


def prepared_examples(
    name: str,
    split: str,
    *,
    columns: Sequence[str],
    data_dir: str | os.PathLike | None,
) -> tuple[Sequence, dict[str, tuple[str, ...]]]:
    """Opens one split of a prepared data set for the features that are no images.

    Args:
      name: of the data set.
      split: of it.
      columns: features that it must have.
      data_dir: see `data_root`.

    Returns:
      The examples, each a dict, and the class names of their labels by feature, the
      default one first.

    Raises:
      DataError: if it cannot be read, or lacks one of the columns or class labels.
      MissingSplit: if it has no such split.
    """
    folder = version_folder(name, data_root(data_dir))

    def check(info):
        text = tensorflow_datasets().features.Text
        for column in columns:
            if column not in info.features:
                raise DataError(
                    f"{name} has no column {column!r}; it has "
                    f"{', '.join(info.features)}."
                )
            if not isinstance(info.features[column], text):
                raise DataError(f"{name} has no texts in its column {column!r}.")
        _check_split(info, name, split)
        return ()

    source, info = _opened(folder, name, split, check)
    return source, _class_features(info, name)


def is_prepared_texts(name: str, data_dir: str | os.PathLike | None = None) -> bool:
    """Tells whether a prepared data set holds texts and no images.

    Args:
      name: of a data set, or anything else.
      data_dir: see `data_root`.

    Returns:
      False too for a data set that is not prepared; reading it says so.
    """
    try:
        folder = version_folder(name, data_root(data_dir))
        described = json_value((folder / "features.json").read_text(encoding="utf-8"))
        features = described["featuresDict"]["features"].values()
        kinds = {f["pythonClassName"].rpartition(".")[2] for f in features}
    except (DataError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return "Text" in kinds and "Image" not in kinds


def _source(folder: Path, name: str, split: str):
    """Returns the examples with still encoded images, the info, the image's key."""

    def check(info):
        keys = _image_keys(info)
        _check_request(info, name, split, keys)
        return keys

    source, info = _opened(folder, name, split, check)
    supervised, image_keys = _supervised(info), _image_keys(info)
    image_key = next((key for key in image_keys if key in supervised), image_keys[0])
    return source, info, image_key


def _image_keys(info) -> list[str]:
    image = tensorflow_datasets().features.Image
    return [k for k, feature in info.features.items() if isinstance(feature, image)]


def _opened(folder: Path, name: str, split: str, check: Callable):
    """Returns the examples and the info; `check` names what is not to be decoded."""
    tfds = tensorflow_datasets()
    try:
        builder = tfds.builder_from_directory(folder)
        info = builder.info
        encoded = dict.fromkeys(check(info), tfds.decode.SkipDecoding())
        source = builder.as_data_source(split=split, decoders=encoded)
        source[0]
    except DataError:
        raise
    except NotImplementedError as error:
        raise DataError(
            f"{name} is prepared in {folder} as {info.file_format.value}, which needs "
            "TensorFlow to read; run `tfds convert_format --dataset_version_dir "
            f"{folder} --out_file_format array_record --out_dir DIR` once."
        ) from error
    # The readers are C++ and raise whatever their library does.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{name} cannot be read from {folder} ({reason}); prepare it again."
        ) from error
    return source, info


def _supervised(info) -> list[str]:
    # An entry can also be a tuple or a dict of several features.
    return [key for key in info.supervised_keys or () if isinstance(key, str)]


def _check_request(info, name: str, split: str, image_keys: list[str]) -> None:
    if not image_keys:
        raise DataError(
            f"{name} holds no images (but {', '.join(info.features)}); extract "
            "features from it and give them as .npz sources."
        )
    _check_split(info, name, split)


def _check_split(info, name: str, split: str) -> None:
    splits = ", ".join(info.splits)
    try:
        num_examples = info.splits[split].num_examples
    except (ValueError, KeyError) as error:
        raise MissingSplit(
            f"{name} has no split {split!r}; it has {splits}."
        ) from error
    if num_examples < 1:
        raise DataError(f"split {split!r} of {name} is empty; it has {splits}.")


def _class_features(info, name: str) -> dict[str, tuple[str, ...]]:
    """Returns the class names of every label of an example, the default one first."""
    tfds = tensorflow_datasets()
    labels = {
        key: tuple(feature.names or map(str, range(feature.num_classes)))
        for key, feature in info.features.items()
        if isinstance(feature, tfds.features.ClassLabel)
    }
    if not labels:
        raise DataError(
            f"{name} has no class labels (but {', '.join(info.features)}); use a data "
            "set for classification."
        )
    first = next((k for k in _supervised(info) if k in labels), "label")
    return dict(sorted(labels.items(), key=lambda item: item[0] != first))
