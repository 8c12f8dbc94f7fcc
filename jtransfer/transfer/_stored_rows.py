"""Arrays on disk that are computed some rows at a time, once.

An entry is a folder with one ``NAME.npy`` an array and ``manifest.json``: what it is
of, and the checksum of each file. Until it is complete it lies under another name, and
the length of its files says how far it is; rows have their fixed place, so that it does
no harm if two processes compute the same.
"""

import io
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jtransfer._internal.errors import FileError
from jtransfer._internal.files import (
    checksum,
    file_error,
    json_value,
    write_text_atomically,
)
from jtransfer._internal.progress import step_progress
from jtransfer._internal.provenance import bytes_fingerprint

_MANIFEST = "manifest.json"


def store_rows(
    rows: Callable[[int, int], Mapping[str, Any]],
    folder: Path,
    *,
    key: dict[str, Any],
    num_rows: int,
    batch_size: int,
    progress: bool,
) -> dict[str, np.ndarray]:
    """Reads an entry of rows, after computing those that are missing.

    Args:
      rows: ``rows(start, stop)`` computes these rows of every array, by name; always
        the same dtypes and shapes but for the first axis.
      folder: of the entries.
      key: what the rows depend on; anything that JSON can express.
      num_rows: of every array, at least 1.
      batch_size: rows at a time; the last batch may have fewer.
      progress: whether to show progress, on stderr.

    Returns:
      The arrays, mapped into memory, read-only.

    Raises:
      FileError: if the entry cannot be written; a rerun goes on where it ended.
    """
    text = json.dumps(key, sort_keys=True)
    entry = folder / bytes_fingerprint(text.encode())[:20]
    arrays = _read(entry)
    if arrays is None:
        draft = folder / f".part-{entry.name}"
        try:
            draft.mkdir(parents=True, exist_ok=True)
            _fill(draft, rows, num_rows, batch_size, progress)
            _seal(draft, key)
            draft.rename(entry)
        except (OSError, FileError) as error:
            if entry.exists():  # Another process was faster.
                pass
            elif isinstance(error, OSError):
                raise file_error(entry, error) from error
            else:
                raise
        arrays = _read(entry)
    return arrays


def _read(entry: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an entry; None if it is not there or damaged."""
    if not entry.exists():
        return None
    try:
        manifest = json_value((entry / _MANIFEST).read_text("utf-8"))
        arrays = {}
        for name, written in manifest["checksums"].items():
            file = entry / f"{name}.npy"
            if checksum(file) != written:
                raise ValueError(f"{file.name} is not what was written")
            arrays[name] = np.load(file, mmap_mode="r", allow_pickle=False)
        return arrays
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.warn(f"{entry} is damaged ({error}); computing again.", stacklevel=4)
        shutil.rmtree(entry)
        return None


def _seal(draft: Path, key: dict[str, Any]) -> None:
    """Writes the manifest of a complete entry."""
    sums = {file.stem: checksum(file) for file in sorted(draft.glob("*.npy"))}
    manifest = json.dumps({"key": key, "checksums": sums}, indent=1)
    write_text_atomically(draft / _MANIFEST, manifest)


class _File(NamedTuple):
    """A ``.npy`` file that grows."""

    path: Path
    header: bytes
    row_bytes: int

    def num_rows(self) -> int:
        """Returns the number of whole rows; after another header there are none."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as stream:
            if stream.read(len(self.header)) != self.header:
                return 0
        return (self.path.stat().st_size - len(self.header)) // self.row_bytes

    def write(self, start: int, rows: np.ndarray) -> None:
        """Writes rows to their place."""
        with open(self.path, "r+b", opener=_opened) as stream:
            stream.write(self.header)
            stream.seek(len(self.header) + start * self.row_bytes)
            stream.write(np.ascontiguousarray(rows))
            stream.flush()
            os.fsync(stream.fileno())


def _opened(path: str, flags: int) -> int:
    """Opens a file as it is, or makes it: what another process wrote stays."""
    return os.open(path, flags | os.O_CREAT, 0o666)


def _fill(draft, rows, num_rows, batch_size, progress) -> None:
    """Computes the missing rows of an entry."""

    def computed(start):
        arrays = rows(start, min(start + batch_size, num_rows))
        return {name: np.asarray(array) for name, array in arrays.items()}

    first = computed(0)
    files = {name: _file(draft, name, array, num_rows) for name, array in first.items()}
    done = min(file.num_rows() for file in files.values())
    starts = range(done // batch_size * batch_size, num_rows, batch_size)
    total = -(-num_rows // batch_size)
    with step_progress(
        total,
        start=total - len(starts),
        enabled=progress,
        unit="teacher's outputs, batch",
    ) as display:
        for start in starts:
            before = time.perf_counter()
            arrays = first if start == 0 else computed(start)
            for name, array in arrays.items():
                files[name].write(start, array)
            seconds = time.perf_counter() - before
            step = start // batch_size + 1
            pace = {"step": step, "images_per_second": batch_size / seconds}
            display.row([pace], seconds)


def _file(draft: Path, name: str, first: np.ndarray, num_rows: int) -> _File:
    header = io.BytesIO()
    fields = {
        "descr": np.lib.format.dtype_to_descr(first.dtype),
        "fortran_order": False,
        "shape": (num_rows, *first.shape[1:]),
    }
    np.lib.format.write_array_header_1_0(header, fields)
    row_bytes = first.dtype.itemsize * math.prod(first.shape[1:])
    return _File(draft / f"{name}.npy", header.getvalue(), row_bytes)
