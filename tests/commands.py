"""Runs of the command line, in a process of its own or in this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jtransfer import cli

CACHE = Path(__file__).parents[1] / ".cache" / "jax"


def jtransfer(*arguments, folder, **kwargs):
    """Runs the command line; its output is text."""
    command = [sys.executable, "-m", "jtransfer", *map(str, arguments)]
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        **kwargs,
    )


def exit_code(*arguments, folder):
    """Runs the command line in this process, in seconds less, and returns its code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["jtransfer", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return ended.value.code
