"""The process of one model, seen from its parent."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jtransfer._internal.errors import FileError, SourceError

_GRACE = 5.0
_RUNNING: set[subprocess.Popen] = set()
_LAST_WORDS = 300


def run_process(
    request: dict[str, Any],
    num_rows: int,
    silence: float,
    log: Path,
    *,
    threads: int,
    advance: Callable[[int], None],
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Runs a model's process to its end.

    Args:
      request: see `worker.write_features`.
      num_rows: examples that it is applied to.
      silence: seconds without a line after which it is stopped.
      log: where what the library prints is kept.
      threads: of the processor, that it may use.
      advance: is called with how many more examples are done.
      note: is called with a line about what is fetched.

    Returns:
      What was loaded: facts, files, resolved settings, versions.

    Raises:
      SourceError: if it fails, crashes, or is silent for too long.
      FileError: if it cannot write the features.
    """
    process = started_process(request, log, threads=threads)
    _RUNNING.add(process)
    with process.stdout:
        try:
            with contextlib.suppress(OSError):  # Its end says why it has ended.
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.close()
            loaded, rows = _followed(process, advance, note, silence, log)
        except BaseException:
            stop_process(process)
            raise
        finally:
            _RUNNING.discard(process)
        code = process.wait()
    if loaded is None or rows < num_rows or code:
        raise SourceError(end_reason(code, f"at row {rows}", log))
    return loaded


def started_process(
    request: dict[str, Any], log: Path, *, threads: int | None = None
) -> subprocess.Popen:
    """Starts the process of a model, which waits for its request on stdin.

    Args:
      request: of it `download` alone is looked at.
      log: where what it prints is kept.
      threads: of the processor, that it may use; all if None.
    """
    with log.open("wb") as errors:
        return subprocess.Popen(
            # -P: a file of the working folder is not to stand in for a library's.
            [sys.executable, "-P", "-m", "jtransfer.zoo.extraction"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(request["download"], threads or os.cpu_count() or 1),
            start_new_session=True,
        )


def _followed(process, advance, note, silence: float, log: Path):
    """Reads the lines of a process: what it loaded, and how many rows it has done."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, daemon=True).start()
    loaded, rows = None, 0
    while True:
        try:
            line = lines.get(timeout=silence)
        except queue.Empty:
            raise SourceError(
                f"It made no progress for {silence:.0f} s at row {rows}; {_words(log)}"
            ) from None
        if not line:
            return loaded, rows
        event = json.loads(line)
        if "failed" in event:
            raise SourceError(event["failed"])
        if "fetching" in event:
            note(event["fetching"])
        loaded = event.get("loaded", loaded)
        if "unwritable" in event:
            raise FileError(event["unwritable"])
        if "rows" in event:
            advance(event["rows"] - rows)
            rows = event["rows"]


def end_reason(code: int, when: str, log: Path) -> str:
    """Returns a line about a process that ended without its result.

    Args:
      code: that it ended with.
      when: what it was doing.
      log: what it has printed.
    """
    if code == -signal.SIGKILL:
        return f"It was killed {when}: most likely out of memory."
    if code < 0:
        name = signal.Signals(-code).name
        return f"It crashed by signal {-code} ({name}) {when}; {_words(log)}"
    return f"It ended with code {code} {when}; {_words(log)}"


def _words(log: Path) -> str:
    words = " ".join(log.read_text(encoding="utf-8", errors="replace").split())
    return f"last words: {words[-_LAST_WORDS:]}" if words else "it said nothing."


def _environment(download: bool, threads: int) -> dict[str, str]:
    environment = {
        # Else each batch gives its memory back to the system, and asks for it anew:
        # half of the time of a convolutional network.
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(2**34),
        **os.environ,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if not download:
        offline = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
        environment |= dict.fromkeys(offline, "1")
    return environment


def stop_process(process: subprocess.Popen) -> None:
    """Ends a process and its children: first they are asked, then not."""
    for number, grace in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
            return


def stop_running() -> None:
    """Ends all processes that `run_process` waits for, in other threads."""
    for process in list(_RUNNING):
        stop_process(process)
