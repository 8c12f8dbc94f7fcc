"""The folder of one training run: whose it is, and that one process works there."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jtransfer._internal.errors import DataError
from jtransfer._internal.files import (
    file_faults,
    json_value,
    locked_by_us,
    make_folder,
    write_text_atomically,
)

_LOCK = ".lock"


@contextlib.contextmanager
def run_folder(folder: Path, name: str, identity: Mapping[str, Any]) -> Iterator[None]:
    """Holds a folder for one run; another run in it is refused.

    Args:
      folder: made if absent.
      name: of the file that tells whose folder it is.
      identity: what decides the result of the run, by name; what JSON can express.

    Yields:
      Nothing; the folder is free again afterwards.

    Raises:
      DataError: if a run of another identity lies there, or one is at work.
      FileError: if the folder cannot be written.
    """
    make_folder(folder)
    with file_faults(folder / _LOCK):
        lock = (folder / _LOCK).open("a")
    with lock:
        if not locked_by_us(lock):
            raise DataError(
                f"another run is at work in {folder}; wait for it, or give another "
                "folder."
            )
        _check_same_run(folder, name, identity)
        yield


def _check_same_run(folder: Path, name: str, identity: Mapping[str, Any]) -> None:
    file, ours = folder / name, json.loads(json.dumps(identity))
    if not file.exists():
        if (folder / "network.json").exists() or (folder / "log.jsonl").exists():
            raise DataError(
                f"{folder} holds a run that does not say of what it is; take another "
                "folder."
            )
        write_text_atomically(file, json.dumps(ours, indent=1))
        return
    try:
        theirs = dict(json_value(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{file} is damaged ({error}); take another folder.") from error
    for field, value in ours.items():
        if theirs.get(field) != value:
            raise DataError(
                f"{folder} holds a run with {field} = {theirs.get(field)}, now it is "
                f"{value}; give the same or another folder."
            )
