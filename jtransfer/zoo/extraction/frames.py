"""Arrays between the process of a model and its parent: a line of JSON, then bytes."""

import json
import math
from typing import Any, BinaryIO

import numpy as np


def write_frame(stream: BinaryIO, event: dict[str, Any], *arrays: np.ndarray) -> None:
    """Writes an event and float32 arrays.

    Args:
      stream: where to.
      event: what JSON has; `shapes` is added.
      *arrays: any number of them.
    """
    event = {**event, "shapes": [array.shape for array in arrays]}
    stream.write(json.dumps(event, default=repr).encode() + b"\n")
    for array in arrays:
        stream.write(memoryview(np.ascontiguousarray(array, np.float32)).cast("B"))
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    """Reads what `write_frame` has written; None where the stream has ended."""
    line = stream.readline()
    if not line:
        return None
    event = json.loads(line)
    arrays = []
    for shape in event["shapes"]:
        held = bytearray(4 * math.prod(shape))  # PyTorch wants arrays to be writable.
        view = memoryview(held)
        while view:
            count = stream.readinto(view)
            if not count:
                return None
            view = view[count:]
        arrays.append(np.frombuffer(held, np.float32).reshape(shape))
    return event, arrays
