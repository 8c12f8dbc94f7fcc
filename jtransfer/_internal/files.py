"""Files that a crash leaves old or new but whole, and the JSON in them."""

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file beside its place and renames it.

    Args:
      path: where to; its folder must exist.
      content: the whole content.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text_atomically(path: Path, text: str) -> None:
    """Writes text as `write_atomically` does; what UTF-8 has no bytes for is escaped.

    Args:
      path: where to; its folder must exist.
      text: the whole content; lone surrogates become backslashes and numbers.
    """
    write_atomically(path, text.encode(errors="backslashreplace"))


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
