"""Pictures in data sets of Hugging Face on disk."""

import contextlib
import io
import os
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import DataError, MissingSplit
from jtransfer._internal.provenance import bytes_fingerprint
from jtransfer.data.cache import Decoded, cached
from jtransfer.data.checks import numbered_names
from jtransfer.data.image_folder import (
    file_fingerprint,
    picture_stack,
    stored_channels,
)
from jtransfer.data.saved_datasets import saved_files, split_folder
from jtransfer.data.saved_rows import arrow_faults, saved_columns, saved_table
from jtransfer.data.subsets import block_balanced_order

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF", "PPM", "TIFF")
"""What Pillow may take bytes for: none that it would hand to another program."""


def saved_images(
    path: str | os.PathLike,
    split: str,
    *,
    size: tuple[int, int] | None,
    num_channels: int | None,
    limit: int | None,
    cache_dir: str | os.PathLike | None,
) -> Decoded:
    """Reads one split of a saved data set; see `sources.load`.

    The classes are those of the split train if there is one. The order is
    block-balanced, as that of a folder of pictures; errors number the rows as they
    lie, from 0. The cache knows the pictures by the contents of the files.
    """
    root = Path(path).expanduser()
    base = split_folder(root, split)
    labels, names = _labels(root, split)
    order = block_balanced_order(labels, seed=0)
    labels = labels[order]
    pictures = _picture_column(base)
    limit = None if limit is None or limit >= len(order) else limit

    def picture_file(i: int) -> io.BytesIO:
        picture = pictures[int(order[i])].as_py() or {}
        if picture.get("bytes") is None:
            # It could be any file of this machine.
            path = picture.get("path")
            raise ValueError(f"no picture, only its path {path!r}, which is not read")
        return io.BytesIO(picture["bytes"])

    def decode(count: int | None) -> Decoded:
        images = picture_stack(
            picture_file,
            lambda i: f"row {order[i]} of {base}",
            len(order) if count is None else count,
            size=size,
            num_channels=num_channels
            or stored_channels(picture_file, len(order), formats=_FORMATS),
            formats=_FORMATS,
        )
        return Decoded(images, {"label": labels[:count]}, {"label": names})

    facts = [(file.name, file_fingerprint(file)) for file in saved_files(base)]
    seen = bytes_fingerprint(labels.tobytes())
    return cached(
        decode,
        name=f"{root.resolve().name}-{split}",
        key=["saved", names, seen, facts, size, num_channels],
        limit=limit,
        cache_dir=cache_dir,
    )


def _picture_column(folder: Path):
    """The column of pictures, each bytes and a path; a `pyarrow.ChunkedArray`."""
    import pyarrow

    column = saved_table(folder, ["image"])["image"]
    with arrow_faults(folder):  # Names of fields may be no texts.
        if pyarrow.types.is_struct(column.type):
            fields = {field.name: field.type for field in column.type}
            kinds = (pyarrow.types.is_binary, pyarrow.types.is_large_binary)
            if "bytes" in fields and any(kind(fields["bytes"]) for kind in kinds):
                return column
        held = " ".join(str(column.type).split())
    raise DataError(
        f"{folder}: the column image holds {held}, no pictures; save it again after "
        "dataset.cast_column('image', datasets.Image())."
    )


def _labels(root: Path, split: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels of a split, numbered by the classes of train, and their names."""
    values, names = _named_labels(root, split)
    with contextlib.suppress(MissingSplit):
        if split_folder(root, "train") != split_folder(root, split):
            _, names = _named_labels(root, "train")
    labels, _ = numbered_names(values, names)
    if (labels < 0).any():
        raise DataError(
            f"split {split} of {root} has a class that train lacks: "
            f"{values[labels.argmin()]!r}; leave its rows out with dataset.filter."
        )
    return labels, names


def _named_labels(root: Path, split: str) -> tuple[list[str], tuple[str, ...]]:
    (values,), (names,) = saved_columns(root, split, ["label"])
    if not values:
        raise DataError(f"split {split!r} of {root} is empty; give one with rows.")
    if names is not None:
        return [names[value] for value in values], names
    for i, value in enumerate(values):
        if not isinstance(value, int | str) or (isinstance(value, int) and value < 0):
            raise DataError(
                f"{root}: row {i} of {split} has the label {value!r}, which is no text "
                "and no number from 0; leave it out with dataset.filter, or convert "
                "it with dataset.class_encode_column('label')."
            )
    return [str(value) for value in values], tuple(map(str, sorted(set(values))))
