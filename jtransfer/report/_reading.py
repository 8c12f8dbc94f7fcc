"""Results in one file of JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from jtransfer._internal.errors import RequestError, one_line
from jtransfer._internal.files import json_value

T = TypeVar("T")


def read_result(path: Path, from_json: Callable[[Any], T]) -> T:
    """Reads a result from a file of JSON.

    Args:
      path: of the file.
      from_json: turns its value into the result.

    Raises:
      RequestError: if there is no file or it is damaged.
    """
    try:
        return from_json(json_value(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read: {one_line(error)}") from error
