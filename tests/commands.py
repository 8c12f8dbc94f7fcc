"""Runs of the command line, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

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
