"""Where prepared TensorFlow Datasets lie.

A prepared data set is a folder ``name[/config]/version`` that describes itself, so
one that TensorFlow Datasets does not know by name is read like any other.
"""

import os
import re
import types
from pathlib import Path

from jtransfer._internal.errors import DataError

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


def version_folder(name: str, root: Path) -> Path:
    """Returns the folder of a prepared data set, in its newest version.

    Args:
      name: ``name``, ``name/config`` or either with ``:1.0.0``.
      root: see `data_root`.

    Raises:
      DataError: if it is no name, not prepared, or has several configurations.
    """
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
        return version_folder(name.replace(base, f"{base}/{configs[0]}", 1), root)
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
    if base in tensorflow_datasets().list_builders(with_community_datasets=False):
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


def tensorflow_datasets() -> types.ModuleType:
    """Returns the library, which is imported late.

    Raises:
      DataError: if it cannot be imported.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            f"TensorFlow Datasets cannot be imported ({error}); run `pip install "
            "tensorflow-datasets array-record importlib-resources`."
        ) from error
    return tfds
