"""What the command line asks of a folder before any work begins."""

import tempfile
from pathlib import Path


def check_writable(folder: Path) -> None:
    """Makes a folder if it is absent and tries to write in it.

    Args:
      folder: where results are to go.

    Raises:
      RequestError: if that fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        from jtransfer._internal.errors import RequestError

        raise RequestError(f"--out {folder} is not writable: {error}") from error
