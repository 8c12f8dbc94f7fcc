"""Data sets of Hugging Face on disk, read without the library that saved them.

`Dataset.save_to_disk` leaves a folder of `dataset_info.json`, which describes the
columns, `state.json`, which lists the files of the rows, and these files.
`DatasetDict.save_to_disk` leaves `dataset_dict.json` and such a folder for each split.
They may come from anyone: no name leads out of the folder, and damage is one line.
"""

import os
from pathlib import Path

from jtransfer._internal.errors import DataError, MissingSplit, one_line
from jtransfer._internal.files import json_value
from jtransfer.data.image_folder import usual_split

_DICT, _STATE, _INFO = "dataset_dict.json", "state.json", "dataset_info.json"


def is_saved_dataset(path: str | os.PathLike) -> bool:
    """Tells whether a path is a folder that `save_to_disk` of Hugging Face has left.

    Args:
      path: any path, which need not exist.

    Returns:
      True for a data set and for a set of splits.

    Example:
      >>> is_saved_dataset("no/such/folder")
      False
    """
    try:
        root = Path(path).expanduser()
        return (root / _DICT).is_file() or _holds_rows(root)
    except (OSError, ValueError, RuntimeError):  # No name of a file, or of a user.
        return False


def saved_splits(path: str | os.PathLike) -> tuple[str, ...]:
    """Returns the names of the splits of a saved data set.

    Args:
      path: its folder.

    Returns:
      Names in the order of the set; of a data set without splits `("train",)`.

    Raises:
      DataError: if the folder is no saved data set, or its list is damaged.
    """
    root = Path(path).expanduser()
    if not is_saved_dataset(root):
        raise DataError(
            f"{path} is no data set that save_to_disk has left; it needs {_DICT}, or "
            f"{_INFO} and {_STATE}."
        )
    if not (root / _DICT).is_file():
        return ("train",)
    splits = _object(root / _DICT).get("splits")
    if not isinstance(splits, list):
        raise damaged_set(root / _DICT, "it lists no splits")
    return tuple(_plain_name(root / _DICT, split) for split in splits)


def example_split(path: str | os.PathLike) -> str:
    """Returns the split of a saved data set to take examples from.

    Args:
      path: its folder.

    Returns:
      The only split, or "train" if there are several.

    Raises:
      DataError: as `saved_splits`.
    """
    names = saved_splits(path)
    return names[0] if len(names) == 1 else "train"


def has_pictures(path: str | os.PathLike) -> bool:
    """Tells whether a column of a saved data set's examples is one of pictures.

    Args:
      path: its folder.

    Raises:
      DataError: if its description cannot be read.
    """
    features = saved_features(split_folder(path, example_split(path))).values()
    return any(isinstance(f, dict) and f.get("_type") == "Image" for f in features)


def split_folder(path: str | os.PathLike, split: str) -> Path:
    """Returns the folder of one split of a saved data set; see `saved_columns`."""
    root = Path(path).expanduser()
    names = saved_splits(root)
    usual = usual_split(split) or split
    alike = [name for name in names if (usual_split(name) or name) == usual]
    if len(alike) > 1 and split not in alike:
        raise DataError(
            f"{root} has two splits {usual}, {alike[0]} and {alike[1]}; name one."
        )
    if not alike:
        cure = "take part of another with train_test_split"
        if (root / _DICT).is_file() and names:
            cure += f", or give the folder of one, such as {root / names[0]}"
        raise MissingSplit(
            f"{root} has no split {split!r} (only {' and '.join(names) or 'none'}); "
            f"{cure}."
        )
    if not (root / _DICT).is_file():
        return root
    folder = root / (split if split in alike else alike[0])
    if not _holds_rows(folder):
        raise damaged_set(folder, f"it lacks {_INFO} or {_STATE}")
    return folder


def saved_features(folder: Path) -> dict:
    """Returns the description of each column of a folder with rows, as in JSON."""
    features = _object(folder / _INFO).get("features") or {}
    if not isinstance(features, dict):
        raise damaged_set(folder / _INFO, "its features are no object")
    return features


def saved_files(folder: Path) -> list[Path]:
    """Returns the files of a folder with rows, in their order.

    Raises:
      DataError: if their list is damaged, leads elsewhere, or comes with a list of
        the rows to take.
    """
    state = _object(folder / _STATE)
    if state.get("_indices_data_files"):
        raise DataError(
            f"{folder} holds rows and a list of those to take, which is not read; save "
            "it again after dataset.flatten_indices()."
        )
    files = state.get("_data_files")
    if not isinstance(files, list) or not all(isinstance(f, dict) for f in files):
        raise damaged_set(folder / _STATE, "it lists no files")
    names = (_plain_name(folder / _STATE, file.get("filename")) for file in files)
    return [folder / name for name in names]


def damaged_set(place: Path, fault: str) -> DataError:
    """Returns the error of a file or folder that cannot be read, with the cure."""
    return DataError(
        f"{place} cannot be read ({fault}); copy the data set again, or save it again "
        "with save_to_disk."
    )


def _holds_rows(folder: Path) -> bool:
    return (folder / _STATE).is_file() and (folder / _INFO).is_file()


def _object(file: Path) -> dict:
    try:
        value = json_value(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged_set(file, one_line(error)) from error
    if not isinstance(value, dict):
        raise damaged_set(file, "it holds no object")
    return value


def _plain_name(file: Path, name: object) -> str:
    """Returns the name of a file or folder, unless it may lead elsewhere."""
    if not isinstance(name, str) or name in ("", "."):
        raise damaged_set(file, f"{name!r} is no name of a file")
    if ".." in name or set(name) & set("/\\:\0"):
        raise DataError(
            f"{file} names {name!r}, which is not in its folder; do not use it unless "
            "you know who made it, and save it again then."
        )
    return name
