"""Files that a crash leaves old or new but whole, and the JSON in them."""

import contextlib
import errno
import json
import math
import os
import platform
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from jtransfer._internal.errors import FileError, one_line

try:
    import fcntl
except ImportError:  # Not on this system.
    fcntl = None


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file beside its place and renames it.

    Args:
      path: where to; its folder must exist.
      content: the whole content.

    Raises:
      FileError: if that fails; what lay there before is as it was.
    """
    with file_faults(path):
        # Of a folder a rename would say that the draft cannot take its place.
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        handle, draft = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.{_owner()}-", suffix=".part"
        )
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(draft, 0o666 & ~_umask())
            os.replace(draft, path)
        except BaseException:
            # The fault that is told is the first one, also of a disk that is gone.
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise


def check_folder(folder: Path) -> None:
    """Makes a folder if it is absent and tries to write in it.

    Raises:
      FileError: if that fails.
    """
    make_folder(folder)
    with file_faults(folder), tempfile.TemporaryFile(dir=folder):
        pass


def make_folder(folder: Path) -> None:
    """Makes a folder if it is absent, and removes what killed runs left in it.

    Raises:
      FileError: if it cannot be made.
    """
    with file_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)


def check_space(folder: Path, size: int) -> None:
    """Makes sure of space in a folder before the code of others writes there.

    Args:
      folder: made if absent.
      size: bytes that are to be written, about.

    Raises:
      FileError: if a file of that size cannot be written there now.
    """
    make_folder(folder)
    with file_faults(folder), tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        elif shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def remove_leftovers(folder: Path) -> None:
    """Removes the drafts in a folder whose processes have ended.

    A draft is a file of `write_atomically`, or a folder of `draft_name`. Those of
    processes that live, and of other machines within a day, stay.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            named = _DRAFT.fullmatch(entry.name)
            if named is None or not _is_left(entry, named):
                continue
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)


def draft_name(name: str) -> str:
    """Returns a name for the draft of a folder, which `remove_leftovers` knows."""
    return f".{name}.{_owner()}-{os.urandom(4).hex()}.part"


@contextlib.contextmanager
def file_faults(path: Path) -> Iterator[None]:
    """Turns faults of the system, while a file is written, into one line each."""
    try:
        yield
    except OSError as error:
        raise file_error(path, error) from error


def file_error(path: Path | str, error: OSError, *, use: str = "written") -> FileError:
    """Returns a fault of the system as path, fault and cure in one line."""
    fault = error.strerror or one_line(error) or type(error).__name__
    cure = _CURES.get(error.errno, "look at the disk, or give another folder")
    return FileError(f"{path} cannot be {use}: {fault}; {cure}.")


_CURES = {
    errno.ENOSPC: "free some space, or give another folder",
    errno.EDQUOT: "free some of your quota, or give another folder",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EROFS: "give a folder on a file system that can be written",
    errno.EACCES: "change the permissions, or give another folder",
    errno.EPERM: "change the permissions, or give another folder",
    errno.EISDIR: "a folder is where a file is to go; move it away",
    errno.ENOTDIR: "a file is where a folder is to go; move it away",
    errno.EEXIST: "a file is where a folder is to go; move it away",
    errno.ENOENT: "the folder is gone; give another one",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EMFILE: "close other files (ulimit -n)",
}

_DRAFT = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-\w+\.part")
_DAY = 86400.0


def _owner() -> str:
    """The machine and the process, as they stand in the names of drafts."""
    return f"{_machine()}-{os.getpid()}"


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _is_left(entry: os.DirEntry, named: re.Match) -> bool:
    """Tells whether nobody is at work on a draft any more."""
    machine, process = named.groups()
    if machine == _machine() and not _lives(int(process)):
        return True
    # Numbers of processes come again, in containers soon.
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _DAY


def _lives(process: int) -> bool:
    if os.name == "nt":  # There a signal 0 would end it.
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # It lives, and is someone else's.
        return True
    return True


def checksum(file: Path) -> int:
    """Returns the CRC-32 of a file's content, read in blocks."""
    total = 0
    with file.open("rb") as stream:
        while block := stream.read(2**24):
            total = zlib.crc32(block, total)
    return total


def write_text_atomically(path: Path, text: str) -> None:
    """Writes text as `write_atomically` does; what UTF-8 has no bytes for is escaped.

    Args:
      path: where to; its folder must exist.
      text: the whole content; lone surrogates become backslashes and numbers.
    """
    write_atomically(path, text.encode(errors="backslashreplace"))


def locked_by_us(lock: IO[str]) -> bool:
    """Locks an open file for this process; False if another one has locked it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # A file system without locks.
        return True
    return True


def user_cache(name: str) -> Path:
    """Returns the folder of what the user's cache keeps of a kind."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "jtransfer" / name


def printable_name(name: str) -> str:
    r"""Returns the name of a file as text: bytes that are none as `\xff`."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def json_line(row: dict) -> str:
    """Returns a row as one line of JSON; numbers that are not finite become null."""
    return json.dumps(_finite(row), ensure_ascii=False, allow_nan=False)


def json_value(text: str | bytes) -> Any:
    """Parses JSON.

    Raises:
      ValueError: if it is none, or nested deeper than Python can follow.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _finite(value):
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):  # Numbers and arrays of NumPy and JAX.
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str | int | float | bool | None):
        return value
    return str(value)
