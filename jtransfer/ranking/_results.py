"""Results of finished sources on disk, so that a rerun continues a killed run."""

import hashlib
import json
from pathlib import Path

from jtransfer import report
from jtransfer._files import write_atomically


def path(folder: Path, name: str) -> Path:
    """Returns where the results of a source lie; its name is not trusted as a path."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:60]
    return folder / "sources" / f"{safe.lstrip('.')}-{digest}.json"


def read(folder: Path, name: str, key: dict) -> list[dict] | None:
    """Returns the rows of a source if they were computed under the same key."""
    try:
        stored = json.loads(path(folder, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(stored, dict) or stored.get("key") != key:
        return None
    return stored["rows"]


def write(folder: Path, name: str, key: dict, rows: list[dict]) -> None:
    """Writes the rows of a source atomically."""
    file = path(folder, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    text = report.json_line({"key": key, "rows": rows})
    write_atomically(file, text.encode())
