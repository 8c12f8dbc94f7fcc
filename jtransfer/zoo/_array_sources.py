"""Sources that are arrays in files: `.npy`, `.npz`, and folders of shards."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import DataError, SourceError
from jtransfer._internal.files import printable_name
from jtransfer.data import npy_array, npz_arrays, npz_headers, npz_rows
from jtransfer.zoo._source_types import Source, files_digest

PIECE_BYTES = 2**23
"""Bytes read from a file at a time."""
MAX_COLUMNS = 2**15
"""Most features or logits; the scatter of more would not fit in most memories."""


def npy_source(path: Path) -> Source:
    """Returns the source of an `.npy` file of features."""

    def features() -> Iterator[np.ndarray]:
        try:
            rows = npy_array(path)
        except DataError as error:
            raise SourceError(str(error)) from error
        _check_rows(path.name, "features", rows.shape, rows.dtype)
        num_rows = max(1, PIECE_BYTES // (rows.shape[1] * rows.dtype.itemsize))
        for start in range(0, max(1, len(rows)), num_rows):
            yield rows[start : start + num_rows]

    return Source(
        name=printable_name(path.stem),
        facts={},
        features=features,
        digest=lambda: files_digest([path]),
    )


def npz_source(path: Path) -> Source:
    """Returns the source of an `.npz` file, or of a folder of them."""

    def member(name: str) -> Callable:
        return lambda: _rows(shards_of(path), name)

    try:
        held = npz_headers(shards_of(path)[0])
    except (DataError, SourceError, IndexError):
        held = {}  # Its row says why, when it is read.
    return Source(
        name=printable_name(path.name if path.is_dir() else path.stem),
        facts={},
        features=member("features"),
        logits=member("logits") if "logits" in held else None,
        digest=lambda: files_digest(shards_of(path)),
        test_features=member("test_features") if "test_features" in held else None,
        head=_matrix(path, "classifier") if "classifier" in held else None,
        centers=_matrix(path, "class_centers") if "class_centers" in held else None,
        student_logits=member("student_logits") if "student_logits" in held else None,
    )


def _cure(dtype: np.dtype) -> str:
    if dtype.kind == "V" and dtype.itemsize == 2:  # NumPy has no name for it.
        return ", which is bfloat16 perhaps; save it as float32, x.astype('float32')"
    return ""


def _matrix(path: Path, name: str) -> Callable[[], np.ndarray]:
    """Returns a function that reads an array without a row an example."""

    def read() -> np.ndarray:
        try:
            return npz_arrays(shards_of(path)[0], required=[name])[name]
        except DataError as error:
            raise SourceError(str(error)) from error

    return read


def shards_of(path: Path) -> list[Path]:
    """Returns the `.npz` files of a folder in order, or the file itself.

    Raises:
      SourceError: if the folder cannot be read.
    """
    if not path.is_dir():
        return [path]
    try:
        # Not by glob, for which a folder that cannot be read is an empty one.
        shards = [shard for shard in path.iterdir() if shard.suffix == ".npz"]
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror}; change its permissions."
        ) from error
    return sorted((s for s in shards if s.name[0] != "."), key=natural_order)


def _check_rows(
    file: str, name: str, shape: tuple, dtype: np.dtype, *, some: bool = False
) -> None:
    """Raises SourceError unless an array holds rows of numbers, none if `some`."""
    if len(shape) != 2 or not shape[1] or not (shape[0] or some):
        raise SourceError(f"{name} in {file} must be [n, d], got shape {list(shape)}.")
    if not np.issubdtype(dtype, np.floating):
        raise SourceError(
            f"{name} in {file} must be floating-point, got {dtype}{_cure(dtype)}."
        )
    if shape[1] > MAX_COLUMNS:
        raise SourceError(
            f"{name} has {shape[1]} columns, more than {MAX_COLUMNS}: pool or project "
            "them first."
        )


def _rows(shards: list[Path], name: str) -> Iterator[np.ndarray]:
    """Checks the headers of all shards, then yields their rows in order."""
    if not shards:
        raise SourceError("It holds no .npz file.")
    try:
        width = None
        for shard in shards:
            held = npz_headers(shard)
            if name not in held:
                known = ", ".join(held) or "none"
                raise SourceError(
                    f"{shard.name} holds no array {name!r} (but {known})."
                )
            shape, dtype = held[name].shape, held[name].dtype
            # A host may have had no example left for its shard: [0, d].
            _check_rows(shard.name, name, shape, dtype, some=len(shards) > 1)
            if width not in (None, shape[1]):
                raise SourceError(
                    f"{shard.name} has {shape[1]} columns of {name}, others {width}."
                )
            width = shape[1]
        num_rows = max(1, PIECE_BYTES // (width * dtype.itemsize))
        for shard in shards:
            yield from npz_rows(shard, name, num_rows=num_rows)
    except DataError as error:
        raise SourceError(str(error)) from error


def npz_rows_of(path: Path, name: str) -> Iterator[np.ndarray]:
    """Yields the rows of an array `[n, d]` of an `.npz` file, or a folder of them.

    Raises:
      SourceError: if a file lacks it, or it holds no rows of numbers.
    """
    return _rows(shards_of(path), name)


def natural_order(path: Path) -> list:
    """Sorts shard-2 before shard-10."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if part.isdigit() else part for part in parts]
