"""One hostile input: files, and the command line that reads them."""

import base64
import json
import os
import shutil
import signal
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fuzz.calls import Outcome, called, drafts

FINDINGS = Path(__file__).parent / "findings"
PAYLOAD = "payload_has_run"
"""The folder that a pickle makes if anybody runs it."""
SECONDS = 20


class Case(NamedTuple):
    """Files by name, and arguments in which `{here}` is the folder of the files."""

    kind: str
    files: dict[str, bytes]
    arguments: list[str]


class Slow(BaseException):
    """A call took longer than `SECONDS`."""


def write_surroundings(folder: Path) -> None:
    """Writes what is not hostile: a target, a zoo of one source, images."""
    rng = np.random.default_rng(0)
    np.savez(folder / "target.npz", labels=np.arange(60) % 3)
    features = rng.normal(size=(60, 4)) + 3 * np.eye(3, 4)[np.arange(60) % 3]
    (folder / "zoo").mkdir(exist_ok=True)
    np.savez(folder / "zoo" / "good.npz", features=features)
    (folder / "faulty").mkdir(exist_ok=True)
    np.savez(folder / "faulty" / "short.npz", features=features[:59])


def tried(case: Case) -> tuple[int, str]:
    """Runs a case in a folder of its own.

    Returns:
      The exit code, and what is wrong: empty if nothing is.
    """
    before = os.getcwd()
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    try:
        write_surroundings(folder)
        for name, content in case.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        os.chdir(folder)
        arguments = [text.replace("{here}", str(folder)) for text in case.arguments]
        try:
            outcome = _called_in_time(arguments)
        except Exception:  # Whatever comes out of the command line is a finding.
            return -1, traceback.format_exc(limit=-6)
        except Slow:
            return -1, f"slower than {SECONDS} s: {traceback.format_exc(limit=-3)}"
        return outcome.code, _fault(case, outcome, folder)
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


def _called_in_time(arguments: list[str]) -> Outcome:
    def late(number, frame):
        raise Slow

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        return called(*arguments)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def _fault(case: Case, outcome: Outcome, folder: Path) -> str:
    if outcome.code not in (0, 1, 2):
        return f"exit code {outcome.code}: {outcome.stderr[-300:]}"
    if "Traceback" in outcome.stderr + outcome.stdout:
        return f"a traceback: {outcome.stderr[-500:]}"
    if (folder / PAYLOAD).exists():
        return "a payload has run"
    if drafts(folder):
        return f"drafts are left: {drafts(folder)}"
    lines = [line for line in outcome.stderr.split("\n") if "jtransfer: " in line]
    if outcome.code == 2 and case.kind != "options" and len(lines) != 1:
        return f"not one line: {outcome.stderr[-500:]}"
    return ""


def to_json(case: Case, fault: str) -> str:
    """Returns a case as it is kept."""
    files = {name: base64.b64encode(data).decode() for name, data in case.files.items()}
    fields = {"kind": case.kind, "arguments": case.arguments, "files": files}
    return json.dumps({**fields, "fault": fault}, indent=1)


def from_json(text: str) -> Case:
    """Reads what `to_json` has written."""
    fields = json.loads(text)
    files = {name: base64.b64decode(data) for name, data in fields["files"].items()}
    return Case(fields["kind"], files, fields["arguments"])
