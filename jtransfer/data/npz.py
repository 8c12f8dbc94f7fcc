"""NumPy archives, read with suspicion.

An ``.npz`` from elsewhere can hold pickles (which run code), arrays that unpack to a
thousand times their size, or half of a file. The header of every wanted array is
checked before the first of them is read, and nothing is ever unpickled.
"""

import lzma
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtransfer._internal.errors import DataError
from jtransfer._internal.memory import memory_fault
from jtransfer.data.npz_members import opened_member

# Deflate reaches 1032:1 on zeros; real arrays stay far below 100:1.
_MAX_EXPANSION = 100
_HARMLESS_BYTES = 64 * 2**20


class Header(NamedTuple):
    """Shape and dtype of one array of an archive, before it is read.

    Attributes:
      shape: its shape.
      dtype: its dtype, never one of Python objects.
      fortran_order: whether the first axis varies fastest.
      start: length of the header in bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    start: int


def npz_headers(file: str | os.PathLike) -> dict[str, Header]:
    """Returns the header of every array of an ``.npz`` file, checked.

    Args:
      file: the archive.

    Returns:
      For each array, by its name, shape and dtype.

    Raises:
      DataError: if the file is missing, is no complete archive, or if an array is
        damaged, holds Python objects or expands suspiciously.
    """
    with _archive(file) as archive:
        return {
            info.filename.removesuffix(".npy"): _header(file, archive, info)
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }


def npz_arrays(
    file: str | os.PathLike,
    *,
    required: Sequence[str],
    optional: Sequence[str] = (),
    limits: Mapping[str, int | None] | None = None,
) -> dict[str, np.ndarray]:
    """Reads named arrays of an ``.npz`` file; never unpickles.

    Args:
      file: the archive.
      required: arrays that must be there.
      optional: arrays that are read if they are there. Others are not read.
      limits: for an array, how many of its first rows to read; all by default.

    Returns:
      The arrays by name.

    Raises:
      DataError: if an array is missing, and as for `npz_headers`.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     file = pathlib.Path(folder) / "target.npz"
      ...     np.savez(file, labels=np.arange(4), notes="not read")
      ...     npz_arrays(file, required=["labels"], limits={"labels": 2})
      {'labels': array([0, 1])}
    """
    limits = limits or {}
    with _archive(file) as archive:
        present = {info.filename: info for info in archive.infolist()}
        missing = [name for name in required if f"{name}.npy" not in present]
        if missing:
            held = ", ".join(name.removesuffix(".npy") for name in present) or "nothing"
            raise DataError(
                f"{file} has no array {' nor '.join(missing)} (it holds {held}); "
                f"save it with numpy.savez(file, {missing[0]}=...)."
            )
        names = [n for n in (*required, *optional) if f"{n}.npy" in present]
        headers = {n: _header(file, archive, present[f"{n}.npy"]) for n in names}
        return {
            name: _array(file, archive, name, header, limits.get(name))
            for name, header in headers.items()
        }


def npy_array(file: str | os.PathLike) -> np.ndarray:
    """Maps the one array of an ``.npy`` file into memory; never unpickles.

    Args:
      file: the file.

    Returns:
      The array, read-only.

    Raises:
      DataError: if the file is missing, damaged, or holds Python objects.
    """
    path = Path(file).expanduser()
    _check_file(path, "an .npy file")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except _READ_ERRORS as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{file} is no array that can be read ({reason}); save numbers or texts of "
            "fixed length with numpy.save."
        ) from error


def npz_rows(
    file: str | os.PathLike, name: str, *, num_rows: int
) -> Iterator[np.ndarray]:
    """Yields the rows of one array a piece at a time, in constant memory.

    Args:
      file: the archive.
      name: an array with at least one axis, one that `npz_headers` has listed.
      num_rows: most rows in a piece.

    Yields:
      Arrays ``[m, ...]`` with ``m <= num_rows``, in order.

    Raises:
      DataError: as for `npz_headers`, and if the data is damaged.
    """
    with _archive(file) as archive:
        header = _header(file, archive, archive.getinfo(f"{name}.npy"))
        if header.fortran_order:
            # Columns come first in the file: there is no reading it by rows.
            whole = _array(file, archive, name, header, None)
            yield from np.split(whole, range(num_rows, len(whole), num_rows))
            return
        try:
            with opened_member(archive, archive.getinfo(f"{name}.npy")) as stream:
                stream.read(header.start)
                for start in range(0, header.shape[0], num_rows):
                    length = min(num_rows, header.shape[0] - start)
                    yield _filled(stream, (length, *header.shape[1:]), header.dtype)
        except _READ_ERRORS as error:
            raise _damaged(file, name, error) from error


def _archive(file: str | os.PathLike) -> zipfile.ZipFile:
    path = Path(file).expanduser()
    _check_file(path, "an .npz file")
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(
            f"{file} is not a complete .npz file ({error}); write it again with "
            "numpy.savez or copy it again."
        ) from error


def _check_file(path: Path, kind: str) -> None:
    try:
        present = path.is_file()
    except OSError as error:  # Of a folder that cannot be looked into, for example.
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if not present:
        raise DataError(f"there is no file {path}; give the path of {kind}.")


def _header(file, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Header:
    name = info.filename.removesuffix(".npy")
    _check_expansion(file, archive, info)  # Before anything is unpacked.
    try:
        with opened_member(archive, info) as stream:
            major, _ = np.lib.format.read_magic(stream)
            # Version 3 exists for structured arrays only.
            readers = {
                1: np.lib.format.read_array_header_1_0,
                2: np.lib.format.read_array_header_2_0,
            }
            if major not in readers:
                raise ValueError(f"unknown header version {major}")
            shape, fortran_order, dtype = readers[major](stream)
            start = stream.tell()
    except (*_READ_ERRORS, MemoryError) as error:  # Of brackets nested too deeply.
        raise _damaged(file, name, error) from error
    if dtype.hasobject:
        raise DataError(
            f"array {name} of {file} holds Python objects, which are never unpickled; "
            "save it as numbers or as strings of fixed length."
        )
    if min(shape, default=0) < 0 or (
        start + math.prod(shape) * dtype.itemsize != info.file_size
    ):
        raise _damaged(file, name, f"{info.file_size} bytes do not hold {shape}")
    return Header(shape, dtype, fortran_order, start)


def _check_expansion(file, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    name = info.filename.removesuffix(".npy")
    # The directory of the archive is as little to be trusted as the rest.
    packed = max(1, min(info.compress_size, os.path.getsize(archive.filename)))
    if info.file_size > max(_HARMLESS_BYTES, _MAX_EXPANSION * packed):
        raise DataError(
            f"array {name} of {file} expands {info.file_size // packed} times, to "
            f"{info.file_size / 2**30:.2f} GiB; if you trust it, save it again with "
            "numpy.savez (uncompressed)."
        )


def _array(file, archive, name: str, header: Header, limit: int | None) -> np.ndarray:
    shape = header.shape
    prefix = limit is not None and shape and not header.fortran_order
    if prefix:
        shape = (min(limit, shape[0]), *shape[1:])
    fault = memory_fault(math.prod(shape) * header.dtype.itemsize)
    if fault is not None:
        raise DataError(f"array {name} of {file} {fault}; save fewer rows of it.")
    try:
        with opened_member(archive, archive.getinfo(f"{name}.npy")) as stream:
            stream.read(header.start)
            array = _filled(stream, (math.prod(shape),), header.dtype)
    except _READ_ERRORS as error:
        raise _damaged(file, name, error) from error
    array = array.reshape(shape, order="F" if header.fortran_order else "C")
    return array if limit is None or not shape else array[:limit]


def _filled(stream, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of the next bytes of a stream, read without a second copy."""
    array = np.empty(math.prod(shape), dtype)
    size = array.nbytes
    view, done = memoryview(array.view(np.uint8)) if size else b"", 0
    while done < size:
        count = stream.readinto(view[done : done + 2**24])
        if not count:
            raise EOFError("the file ends early")
        done += count
    return array.reshape(shape)


def _damaged(file, name: str, reason: object) -> DataError:
    reason = (str(reason) or type(reason).__name__).splitlines()[0]
    return DataError(
        f"array {name} of {file} is damaged ({reason}); write or copy the file again."
    )


# A damaged archive surfaces as any of these, depending on where the damage lies.
_READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
    NotImplementedError,
    OverflowError,
    SyntaxError,
    tokenize.TokenError,
)
