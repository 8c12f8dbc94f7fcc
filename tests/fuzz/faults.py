"""Every fault at every call that changes the folder of a small ranking or report."""

import collections
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable
from pathlib import Path

from fuzz.calls import called, drafts, stored_rows, write_zoo
from fuzz.injector import FAULTS, Injector, kill, raising

NAMES = tuple(FAULTS)


class Setting:
    """A folder with a zoo, and the command that is disturbed.

    Attributes:
      num_calls: how many calls the command makes that change its folder.
    """

    def __init__(self, command: str):
        """Runs the command undisturbed."""
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz_faults"))
        self._command = command
        self._rank = [*map(str, write_zoo(self._folder)), "--scores", "logme", "--out"]
        called(*self._rank, self._folder / "whole")
        self._rows = stored_rows(self._folder / "whole")
        out = self.fresh("counted")
        with Injector(out).installed() as injector:
            called(*self.arguments(out))
        self.num_calls = len(injector.calls)

    def arguments(self, out: Path) -> list:
        """The command line."""
        return ["report", out] if self._command == "report" else [*self._rank, out]

    def fresh(self, name: str) -> Path:
        """A folder before the command."""
        out = self._folder / name
        if self._command == "report":
            shutil.copytree(self._folder / "whole", out)
            (out / "report.html").unlink()
        return out

    def fault_of_rerun(self, out: Path) -> str:
        """Reruns the command where it was disturbed; returns the fault or nothing."""
        if out.exists():
            for path in out.rglob("*"):
                if path.is_file() and path not in drafts(out) and not _is_whole(path):
                    return f"{path.name} is written by half"
        kept = set(_finished(out))
        again = called(*self.arguments(out))
        if again.code != 0:
            return f"the rerun ends with {again.code}: {again.stderr[-200:]}"
        if self._command == "rank" and again.stderr.count("found fin") != len(kept):
            return f"{len(kept)} sources were finished: {again.stderr[-300:]}"
        if drafts(out):
            return f"drafts are left: {drafts(out)}"
        if stored_rows(out) != self._rows:
            return "the rerun has other rows"
        if not (out / "report.html").read_text().rstrip().endswith("</html>"):
            return "the page is not whole"
        return ""

    def close(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self._folder)


def _finished(out: Path) -> list[Path]:
    return list((out / "sources").glob("[!.]*.json"))


def _is_whole(path: Path) -> bool:
    text = path.read_text()
    return text.rstrip().endswith(("}", "</html>")) if path.suffix != ".csv" else True


def tried(
    command: str, name: str, which: Iterable[int] | None = None
) -> tuple[collections.Counter, list[str]]:
    """Tries a fault at each of the calls, once and for all that follow.

    Args:
      command: `rank` or `report`.
      name: of `NAMES`, or `kill`.
      which: numbers of calls; all of them by default.

    Returns:
      How often each exit code came, and what went wrong.
    """
    setting, counts, wrong = Setting(command), collections.Counter(), []
    every = range(1, setting.num_calls + 1)
    for k in every if which is None else sorted(set(which) & set(every)):
        for lasting in (False,) if name == "kill" else (False, True):
            out = setting.fresh(f"{k}-{lasting}")
            try:
                if name == "kill":
                    code, fault = _killed(setting, out, k)
                else:
                    code, fault = _disturbed(setting, out, k, name, lasting)
                fault = fault or setting.fault_of_rerun(out)
            except Exception:  # Any is a finding, told with the place.
                code, fault = -1, traceback.format_exc(limit=-4)
            counts[code] += 1
            if fault:
                wrong.append(f"{command}, {name} at call {k}: {fault}")
    setting.close()
    return counts, wrong


def _disturbed(setting, out, k, name, lasting) -> tuple[int, str]:
    injector = Injector(out, raising(FAULTS[name]), at=k, lasting=lasting)
    with injector.installed():
        outcome = called(*setting.arguments(out))
    call, path = injector.calls[k - 1]
    place = f"{call} of {path}"
    if outcome.code not in (0, 2):
        return outcome.code, f"{place}: exit code {outcome.code}"
    if outcome.code == 0:
        # What a program may do without, as the time of a file.
        return 0, "" if (out / "report.html").exists() else f"{place}: no page"
    lines = [line for line in outcome.stderr.splitlines() if "jtransfer: " in line]
    if len(lines) != 1 or str(out) not in lines[0]:
        return 2, f"{place}: not one line that names it: {outcome.stderr[-300:]}"
    refused = "--out is not writable" in lines[0]
    if "strong" not in outcome.stdout and not refused:
        return 2, f"{place}: the table is not shown"
    if drafts(out) and not lasting:
        return 2, f"{place}: {drafts(out)} is left"
    return 2, ""


def _killed(setting, out, k) -> tuple[int, str]:
    command = [sys.executable, __file__, str(k), str(out)]
    command += map(str, setting.arguments(out))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    if run.returncode != 137:
        return run.returncode, f"not killed: {run.returncode} {run.stderr[-300:]}"
    return 137, ""


if __name__ == "__main__":
    with Injector(Path(sys.argv[2]), kill, at=int(sys.argv[1])).installed():
        called(*sys.argv[3:])
