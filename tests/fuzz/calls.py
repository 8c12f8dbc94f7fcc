"""The command line, called in this process."""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from jtransfer import cli


class Outcome(NamedTuple):
    """What a call of the command line left."""

    code: int
    stdout: str
    stderr: str


def called(*arguments) -> Outcome:
    """Runs the command line; anything but an exit is raised."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["jtransfer", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
    return Outcome(code, out.getvalue(), err.getvalue())


def write_zoo(folder: Path, *, n: int = 60, d: int = 4) -> list:
    """Writes a target and a zoo of two sources; returns the arguments of `rank`."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    np.savez(folder / "target.npz", labels=labels)
    (folder / "zoo").mkdir()
    for name, separation in (("strong", 3), ("weak", 1)):
        features = rng.normal(size=(n, d)) + separation * np.eye(3, d)[labels]
        np.savez(folder / "zoo" / f"{name}.npz", features=features)
    return ["rank", "--target", folder / "target.npz", "--zoo", folder / "zoo"]


def stored_rows(out: Path) -> list[dict]:
    """Reads the rows of a ranking without what differs from run to run."""
    lines = (out / "ranking.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row.pop("seconds", None)
        row.pop("created", None)
    return rows


def drafts(folder: Path) -> list[Path]:
    """Lists what has the name of a draft."""
    return sorted(folder.rglob(".*.part"))
