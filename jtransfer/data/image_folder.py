"""Pictures in one folder a class."""

import contextlib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jtransfer._internal.errors import DataError, MissingSplit
from jtransfer._internal.files import printable_name
from jtransfer._internal.provenance import files_fingerprint
from jtransfer.data.cache import Decoded, cached
from jtransfer.data.decoding import GREY_MODES, decoded, image_stack
from jtransfer.data.subsets import block_balanced_order

_SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff"),
}
_SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "eval", "evaluation"),
    "val": ("val", "valid", "validation", "dev"),
}
"""Names of split folders, in any case, as torchvision and Hugging Face have them."""
_SPLIT_OF_NAME = {name: split for split, names in _SPLITS.items() for name in names}
_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "icon\r"}


def folder_images(
    folder: str | os.PathLike,
    split: str,
    *,
    size: tuple[int, int] | None,
    num_channels: int | None,
    limit: int | None,
    cache_dir: str | os.PathLike | None,
) -> Decoded:
    """Reads one split of a folder of class folders; see `sources.load`.

    The order is block-balanced: a prefix holds about as many images of each class.
    The cache knows the pictures by their paths and contents. Folders may be links;
    files that are no pictures are left out with a warning.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(f"there is no folder {folder}; give imagefolder:DIR.")
    splits = _split_folders(root)
    base = _split_folder(root, splits, split)
    names = _class_names(splits.get("train", base))
    files, labels = _pictures(base, names)
    order = block_balanced_order(labels, seed=0)
    files, labels = [files[i] for i in order], labels[order]
    limit = None if limit is None or limit >= len(files) else limit

    readable = tuple(map(printable_name, names))

    def decode(count: int | None) -> Decoded:
        images = picture_stack(
            files.__getitem__,
            lambda i: str(files[i].relative_to(base)),
            len(files[:count]),
            size=size,
            num_channels=num_channels or stored_channels(files.__getitem__, len(files)),
        )
        return Decoded(images, {"label": labels[:count]}, {"label": readable})

    facts = [(str(file.relative_to(base)), file_fingerprint(file)) for file in files]
    return cached(
        decode,
        name=f"{root.resolve().name}-{split}",
        key=["imagefolder", names, facts, size, num_channels],
        limit=limit,
        cache_dir=cache_dir,
    )


def file_fingerprint(file: Path) -> str:
    """Returns the SHA-256 of a file's content.

    Raises:
      DataError: if it cannot be read.
    """
    try:
        return files_fingerprint([file])
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error


def usual_split(name: str) -> str | None:
    """Returns which of train, test and val a name usually stands for, if any.

    Args:
      name: of a split, in any case.

    Example:
      >>> usual_split("Validation")
      'val'
    """
    return _SPLIT_OF_NAME.get(name.lower())


def _split_folders(root: Path) -> dict[str, Path]:
    """The splits of a folder by their usual names.

    A split folder holds folders; one of pictures is a class that happens to be called
    "train".
    """
    splits: dict[str, Path] = {}
    for name in _subfolders(root):
        split = usual_split(name)
        if split is None or not _subfolders(root / name):
            continue
        if split in splits:
            raise DataError(
                f"{root} has two folders of the split {split}, {splits[split].name} "
                f"and {name}; rename or remove one."
            )
        splits[split] = root / name
    return splits


def _split_folder(root: Path, splits: dict[str, Path], split: str) -> Path:
    key_of_split = usual_split(split) or split
    if key_of_split in splits:
        return splits[key_of_split]
    if splits and _subfolders(root / split):
        return root / split
    if not splits and key_of_split == "train":
        return root
    names = " and ".join(folder.name for folder in splits.values())
    has = f"only {names}" if splits else "only train, its own classes"
    raise MissingSplit(
        f"{root} has no split {split!r} ({has}); make {root / split} with one folder "
        "a class, or take part of another split with held_out_split."
    )


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith((".", "__"))
    )


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(_subfolders(folder))
    if not names:
        raise DataError(
            f"{folder} has no class folders; put the pictures of a class into "
            f"{folder / 'class_name'}."
        )
    if len(names) == 1:
        raise DataError(
            f"{folder} holds one class only ({names[0]}), at least 2 are needed; add "
            "the folder of another class."
        )
    return names


def _pictures(base: Path, names: tuple[str, ...]) -> tuple[list[Path], np.ndarray]:
    unknown = [name for name in _subfolders(base) if name not in names]
    if unknown:
        raise DataError(
            f"{base} has classes that train lacks: {', '.join(unknown[:3])}; rename "
            "or remove them."
        )
    files, labels, others = [], [], []
    for label, name in enumerate(names):
        files_of_class = []
        for file in _files_below(base / name):
            is_picture = file.suffix.lower() in _SUFFIXES
            (files_of_class if is_picture else others).append(file)
        if not files_of_class and (base / name).is_dir():
            raise DataError(
                f"{base / name} holds no picture (png, jpg, ...); fill or remove it."
            )
        files += files_of_class
        labels += [label] * len(files_of_class)
    if others:
        kinds = sorted({file.suffix.lower() or file.name for file in others})
        warnings.warn(
            f"{len(others)} files of {base} are no pictures and left out "
            f"({', '.join(kinds[:5])}).",
            stacklevel=2,
        )
    return files, np.array(labels, np.int32)


def _files_below(folder: Path) -> list[Path]:
    """Files of a folder and of those in it, links too; hidden ones are left out."""
    files, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # A link to a folder above.
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        kept = (name for name in names if not name.startswith("."))
        kept = (name for name in kept if name.lower() not in _SYSTEM_FILES)
        files += [Path(place) / name for name in kept]
    return sorted(files)


def stored_channels(
    picture_file: Callable[[int], Path | BinaryIO],
    count: int,
    *,
    formats: Sequence[str] | None = None,
) -> int:
    """Returns 1 if all pictures are grey, else 3; reads headers up to the first colour.

    Args:
      picture_file: `i -> file` of picture `i`.
      count: number of pictures.
      formats: those that Pillow may take a file for; any if None.
    """
    from PIL import Image

    for i in range(count):
        # A picture that cannot be opened is named when its turn to be decoded comes.
        with (
            contextlib.suppress(Exception),
            Image.open(picture_file(i), formats=formats) as picture,
        ):
            if picture.mode not in GREY_MODES:
                return 3
    return 1


def picture_stack(
    picture_file: Callable[[int], Path | BinaryIO],
    where: Callable[[int], str],
    count: int,
    *,
    size: tuple[int, int] | None,
    num_channels: int,
    formats: Sequence[str] | None = None,
) -> np.ndarray:
    """Decodes pictures, upright, into one array.

    Args:
      picture_file: `i -> file` of picture `i`; may raise as a decoder does.
      where: `i -> str`, what to call picture `i` in an error.
      count: number of pictures.
      size: `(height, width)` of the result, None to keep the pictures' own.
      num_channels: 1 for grey, 3 for colour.
      formats: those that Pillow may take a file for; any if None.

    Returns:
      The pictures, uint8, shape `[count, h, w, num_channels]`.

    Raises:
      DataError: if pictures are damaged (it names them) or differ in size.
    """
    from PIL import Image, ImageOps

    def decode(i: int) -> np.ndarray:
        with Image.open(picture_file(i), formats=formats) as picture:
            # Cameras note how they were held instead of turning the picture.
            upright = ImageOps.exif_transpose(picture)
            return decoded(upright, num_channels=num_channels, size=size)

    return image_stack(decode, where, count)
