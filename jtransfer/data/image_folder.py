"""Pictures in one folder a class."""

import contextlib
import os
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import DataError
from jtransfer.data.cache import Decoded, cached
from jtransfer.data.decoding import GREY_MODES, decoded, image_stack
from jtransfer.data.subsets import block_balanced_order

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif")


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
    The cache knows the pictures by path, length and time of change.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(f"there is no folder {folder}; give imagefolder:DIR.")
    base = _split_folder(root, split)
    train = base.parent / "train" if base != root else root
    names = _class_names(train if train.is_dir() else base)
    files, labels = _pictures(base, names)
    order = block_balanced_order(labels, seed=0)
    files, labels = [files[i] for i in order], labels[order]
    limit = None if limit is None or limit >= len(files) else limit

    def decode(count: int | None) -> Decoded:
        channels = num_channels or _num_channels(files)
        images = _decoded_files(files[:count], base, size, channels)
        return Decoded(images, {"label": labels[:count]}, {"label": names})

    stats = [(str(file.relative_to(base)), file.stat()) for file in files]
    facts = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
    return cached(
        decode,
        name=f"{root.resolve().name}-{split}",
        key=["imagefolder", names, facts, size, num_channels],
        limit=limit,
        cache_dir=cache_dir,
    )


def _split_folder(root: Path, split: str) -> Path:
    # A split folder holds folders; one of pictures is a class that happens to be
    # called "train".
    splits = [name for name in ("train", "test", split) if _subfolders(root / name)]
    if split in splits:
        return root / split
    if not splits and split == "train":
        return root
    has = f"only {' and '.join(splits)}" if splits else "only train, its own classes"
    raise DataError(
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
    files, labels = [], []
    for label, name in enumerate(names):
        files_of_class = sorted(
            file
            for file in (base / name).rglob("*")
            if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")
        )
        if not files_of_class and (base / name).is_dir():
            raise DataError(
                f"{base / name} holds no picture (png, jpg, ...); fill or remove it."
            )
        files += files_of_class
        labels += [label] * len(files_of_class)
    return files, np.array(labels, np.int32)


def _num_channels(files: list[Path]) -> int:
    """Returns 1 if all pictures are grey; reads headers up to the first colour."""
    from PIL import Image

    for file in files:
        # A picture that cannot be opened is named when its turn to be decoded comes.
        with contextlib.suppress(Exception), Image.open(file) as picture:
            if picture.mode not in GREY_MODES:
                return 3
    return 1


def _decoded_files(files, base: Path, size, num_channels: int) -> np.ndarray:
    from PIL import Image, ImageOps

    def decode(i: int) -> np.ndarray:
        with Image.open(files[i]) as picture:
            # Cameras note how they were held instead of turning the picture.
            upright = ImageOps.exif_transpose(picture)
            return decoded(upright, num_channels=num_channels, size=size)

    return image_stack(decode, lambda i: str(files[i].relative_to(base)), len(files))
