"""Results of finished sources on disk, so that a rerun continues a killed run."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from jtransfer._internal.files import (
    json_line,
    json_value,
    make_folder,
    remove_leftovers,
    write_text_atomically,
)
from jtransfer._internal.provenance import bytes_fingerprint
from jtransfer.ranking.rows import Row, Verified, from_json, to_json

_SOURCES = "sources"


class SourceResult(NamedTuple):
    """The results of one source, before the sources are ranked."""

    rows: list[Row]
    verified: Verified | None = None


def finished_path(folder: Path, name: str) -> Path:
    """Returns where the results of a source lie; its name is not trusted as a path."""
    digest = bytes_fingerprint(name.encode(errors="backslashreplace"))[:12]
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    # Names of files are limited in bytes, not in letters.
    safe = safe.encode()[:120].decode(errors="ignore")[:60]
    return folder / _SOURCES / f"{safe.lstrip('.')}-{digest}.json"


def read_finished(folder: Path, name: str, key: dict[str, Any]) -> SourceResult | None:
    """Reads the results of a source if they were computed under the same key."""
    try:
        stored = json_value(finished_path(folder, name).read_text(encoding="utf-8"))
        if stored["key"] != key:
            return None
        rows = [from_json(fields) for fields in stored["rows"]]
        verified = stored["verified"]
        return SourceResult(rows, None if verified is None else Verified(**verified))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_finished(
    folder: Path, name: str, key: dict[str, Any], result: SourceResult
) -> None:
    """Writes the results of a source atomically.

    Raises:
      FileError: if that fails.
    """
    file = finished_path(folder, name)
    make_folder(file.parent)
    verified = result.verified
    stored = {
        "key": key,
        "rows": [to_json(row) for row in result.rows],
        "verified": None if verified is None else dataclasses.asdict(verified),
    }
    write_text_atomically(file, json_line(stored))


def remove_unfinished(folder: Path) -> None:
    """Removes the drafts that killed rankings left in a folder."""
    for place in (folder, folder / _SOURCES):
        remove_leftovers(place)
