"""What kind of network lies in a folder, told without reading its weights."""

from pathlib import Path

from jtransfer._internal.files import json_value


def is_text_network(folder: Path) -> bool:
    """Tells whether a folder holds a network of texts that `jtransfer train` made.

    Args:
      folder: any path, which need not exist.

    Example:
      >>> is_text_network(Path("no/such/folder"))
      False
    """
    try:
        described = json_value((folder / "network.json").read_text(encoding="utf-8"))
        return described["architecture"]["model"] == "bert"
    except (OSError, ValueError, KeyError, TypeError):
        return False
