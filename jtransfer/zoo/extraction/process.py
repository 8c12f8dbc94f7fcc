"""The process of one model, seen from its parent."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from jtransfer._internal.errors import FileError, SourceError
from jtransfer._internal.progress import stage_progress

_GRACE = 5.0
_LAST_WORDS = 300


def run_process(
    request: dict[str, Any],
    num_rows: int,
    silence: float,
    log: Path,
    *,
    progress: bool,
) -> dict[str, Any]:
    """Runs a model's process to its end.

    Args:
      request: see `worker.write_features`.
      num_rows: examples, for the progress.
      silence: seconds without a line after which it is stopped.
      log: where what the library prints is kept.
      progress: whether it is shown.

    Returns:
      What was loaded: facts, files, resolved settings, versions.

    Raises:
      SourceError: if it fails, crashes, or is silent for too long.
      FileError: if it cannot write the features.
    """
    with log.open("wb") as errors:
        process = subprocess.Popen(
            # -P: a file of the working folder is not to stand in for a library's.
            [sys.executable, "-P", "-m", "jtransfer.zoo.extraction"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(request["download"]),
            start_new_session=True,
        )
        try:
            with contextlib.suppress(BrokenPipeError):  # Its end says why it has ended.
                process.stdin.write(json.dumps(request).encode())
                process.stdin.close()
            shown = (
                stage_progress(num_rows, "examples")
                if progress
                else contextlib.nullcontext(lambda stage, count: None)
            )
            with shown as advance:
                loaded, rows = _followed(process, advance, silence, log)
        except BaseException:
            _stop(process)
            raise
        code = process.wait()
    if loaded is None or rows < num_rows or code:
        raise SourceError(_end(code, rows, log))
    return loaded


def _followed(process, advance, silence: float, log: Path):
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
        loaded = event.get("loaded", loaded)
        if "unwritable" in event:
            raise FileError(event["unwritable"])
        if "rows" in event:
            advance("features", event["rows"] - rows)
            rows = event["rows"]


def _end(code: int, rows: int, log: Path) -> str:
    """A line about a process that ended without its result."""
    if code == -signal.SIGKILL:
        return f"It was killed at row {rows}: most likely out of memory."
    if code < 0:
        name = signal.Signals(-code).name
        return f"It crashed by signal {-code} ({name}) at row {rows}; {_words(log)}"
    return f"It ended with code {code} at row {rows}; {_words(log)}"


def _words(log: Path) -> str:
    words = " ".join(log.read_text(encoding="utf-8", errors="replace").split())
    return f"last words: {words[-_LAST_WORDS:]}" if words else "it said nothing."


def _environment(download: bool) -> dict[str, str]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count() or 1)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if not download:
        offline = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
        environment |= dict.fromkeys(offline, "1")
    return environment


def _stop(process: subprocess.Popen) -> None:
    """Ends a process and its children: first they are asked, then not."""
    for number, grace in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
            return
