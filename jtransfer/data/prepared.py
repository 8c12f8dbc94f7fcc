"""Prepared TensorFlow Datasets, read without TensorFlow.

A prepared data set is a folder ``name[/config]/version`` that describes itself, so
one that TensorFlow Datasets does not know by name is read like any other.
"""

import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import DataError, MissingSplit
from jtransfer._internal.files import json_value
from jtransfer._internal.provenance import bytes_fingerprint, files_fingerprint
from jtransfer.data.cache import Decoded, cached
from jtransfer.data.decoding import decoded, image_stack

_NAME = re.compile(r"(\w+)(?:/([\w.+-]+))?(?::(\d+\.\d+\.\d+))?")


def data_root(data_dir: str | os.PathLike | None = None) -> Path:
    """Returns the folder of prepared data sets.

    Args:
      data_dir: the folder itself; if None the environment variable TFDS_DATA_DIR,
        then ``~/tensorflow_datasets``.

    Returns:
      Its path, which need not exist.
    """
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(default if data_dir is None else data_dir).expanduser()


def prepared_names(data_dir: str | os.PathLike | None = None) -> tuple[str, ...]:
    """Returns the names of all data sets prepared in a folder, for any purpose.

    Args:
      data_dir: see `data_root`.

    Returns:
      Names, sorted, such as ``("cifar10", "mnist_corrupted/fog")``.
    """
    root = data_root(data_dir)
    infos = [*root.glob("*/*/dataset_info.json"), *root.glob("*/*/*/dataset_info.json")]
    return tuple(sorted({str(info.parent.parent.relative_to(root)) for info in infos}))


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
    folder = _version_folder(name, data_root(data_dir))
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


def _version_folder(name: str, root: Path) -> Path:
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(
            f"{name!r} is no name of a data set; write name, name/config or "
            "name:1.0.0, imagefolder:DIR for a folder, npz:FILE for an archive."
        )
    base, config, version = match.groups()
    folder = root / base / (config or "")
    versions = {_version(path.parent): path.parent for path in _descriptions(folder)}
    versions.pop(None, None)
    if version is not None and versions:
        number = tuple(map(int, version.split(".")))
        if number not in versions:
            have = ", ".join(path.name for path in versions.values())
            raise DataError(f"{base} is prepared in {root} as {have}, not {version}.")
        return versions[number]
    if versions:
        return versions[max(versions)]
    configs = sorted({path.parent.parent.name for path in folder.glob(_NESTED)})
    if config is None and len(configs) == 1:
        return _version_folder(name.replace(base, f"{base}/{configs[0]}", 1), root)
    if config is None and configs:
        raise DataError(
            f"{base} has the configurations {', '.join(configs)} in {root}; write "
            f"{base}/{configs[0]} or another of them."
        )
    raise _not_prepared(name, base, root)


_NESTED = "*/*/dataset_info.json"


def _descriptions(folder: Path) -> list[Path]:
    return list(folder.glob("*/dataset_info.json"))


def _version(folder: Path) -> tuple[int, ...] | None:
    parts = folder.name.split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else None


def _not_prepared(name: str, base: str, root: Path) -> DataError:
    elsewhere = "if it lies elsewhere, name that folder by data_dir or TFDS_DATA_DIR"
    if base in _tfds().list_builders(with_community_datasets=False):
        return DataError(
            f"{name} is not prepared in {root}: run `tfds build {name} --data_dir "
            f"{root} --file_format array_record` once, where TensorFlow is installed; "
            f"{elsewhere}."
        )
    held = ", ".join(prepared_names(root)) or "nothing"
    return DataError(
        f"TensorFlow Datasets knows no {name!r}, and it is not prepared in {root} "
        f"(there: {held}); correct the name, or {elsewhere}."
    )


def _tfds():
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise DataError(
            f"TensorFlow Datasets cannot be imported ({error}); run `pip install "
            "tensorflow-datasets array-record importlib-resources`."
        ) from error
    return tensorflow_datasets


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
    folder = _version_folder(name, data_root(data_dir))

    def check(info):
        for column in columns:
            if column not in info.features:
                raise DataError(
                    f"{name} has no column {column!r}; it has "
                    f"{', '.join(info.features)}."
                )
            if not isinstance(info.features[column], _tfds().features.Text):
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
        folder = _version_folder(name, data_root(data_dir))
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
    image = _tfds().features.Image
    return [k for k, feature in info.features.items() if isinstance(feature, image)]


def _opened(folder: Path, name: str, split: str, check: Callable):
    """Returns the examples and the info; `check` names what is not to be decoded."""
    tfds = _tfds()
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
    tfds = _tfds()
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
