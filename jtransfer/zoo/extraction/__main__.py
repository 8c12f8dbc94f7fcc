"""The process of one model: `python -m jtransfer.zoo.extraction`.

It reads a request, a line of JSON, from stdin. Of a request of features it writes parts
into a folder, and says how far it is by JSON lines on stdout; one of a function it
serves until stdin ends; one of a list it answers at once. Whatever the library prints
goes to stderr.
"""

import functools
import json
import os
import sys
import traceback

from jtransfer._internal.errors import FileError, SourceError, one_line
from jtransfer.zoo.extraction import worker
from jtransfer.zoo.extraction.frames import write_frame
from jtransfer.zoo.extraction.function_server import serve_function
from jtransfer.zoo.extraction.listing import described_models

try:
    import resource
except ImportError:  # Not on this system.
    resource = None


def serve() -> int:
    """Serves one request; returns the exit code."""
    # From here on what a library prints is no line of the protocol.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    request = json.loads(requests.readline())
    tell = functools.partial(write_frame, answers)
    try:
        _limit_memory(request["memory"])
        if "lists" in request:
            tell({"models": described_models(*request["lists"])})
        elif request.get("serves"):
            serve_function(request, requests, answers)
        else:
            worker.write_features(request, tell)
    except SourceError as error:
        tell({"failed": str(error)})
        return 1
    except FileError as error:
        tell({"unwritable": str(error)})
        return 1
    except MemoryError:
        tell({"failed": "It is out of memory while it is loaded or tried."})
        return 1
    except BrokenPipeError:  # The parent has gone.
        return 1
    except Exception as error:  # Of the library, or of the user's code.
        tell({"failed": f"{type(error).__name__}: {one_line(error)[:300]}"})
        traceback.print_exc()
        return 1
    return 0


def _limit_memory(limit: int | None) -> None:
    if limit is not None and resource is not None:
        # Data, and not addresses: accelerators reserve those without taking them.
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


if __name__ == "__main__":
    sys.exit(serve())
