"""Features of models on disk, found again by the content of what they depend on."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jtransfer._internal.errors import SourceError
from jtransfer._internal.files import (
    file_faults,
    json_line,
    json_value,
    locked_by_us,
    make_folder,
    user_cache,
    write_text_atomically,
)
from jtransfer._internal.provenance import bytes_fingerprint, files_fingerprint
from jtransfer._internal.versions import installed_version
from jtransfer.zoo.specs import ModelSpec

VERSION = 2
"""Of extraction itself: raise it when the numbers change."""


def models_cache(folder: Path | None) -> Path:
    """Returns the folder in which features are kept: the one given, or the user's."""
    return user_cache("models") if folder is None else folder


def kept_features(
    root: Path, spec: ModelSpec, data: str
) -> tuple[Path, dict[str, Any]] | None:
    """Returns the folder of features and what the spec was resolved to.

    None if they are not there or not those of now.

    Args:
      root: of the cache.
      spec: the model.
      data: fingerprint of the images.
    """
    file = _memory(root, spec)
    if not file.exists():
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = json_value(file.read_text(encoding="utf-8"))
        for name, state in record["files"].items():
            if not _is_unchanged(Path(name), state):
                return None
        if any(
            installed_version(name) != held for name, held in record["versions"].items()
        ):
            return None
        folder = root / "features" / features_key(record, spec, data)
        if (folder / "complete.json").exists():
            os.utime(folder)
            return folder, record
    return None


def features_key(record: dict, spec: ModelSpec, data: str) -> str:
    """Returns the name of the folder of a model's features.

    Args:
      record: files, resolved settings and versions of a run.
      spec: the model.
      data: fingerprint of the images.
    """
    # Of a file the content counts, and not where it lies.
    model = "" if spec.library in ("hf", "onnx") else spec.model
    own = {k: v for k, v in spec.options if k not in ("name", "batch", "weights")}
    parts = {
        "extraction": VERSION,
        "data": data,
        "model": [spec.library, model, dict(spec.options).get("weights") == "none"],
        "options": own,
        "files": sorted(state["digest"] for state in record["files"].values()),
        "resolved": record["resolved"],
        "versions": record["versions"],
    }
    return bytes_fingerprint(json.dumps(parts, sort_keys=True).encode())


def _memory(root: Path, spec: ModelSpec) -> Path:
    weights = dict(spec.options).get("weights", "none")
    is_name = spec.library in ("timm", "torchvision") and weights == "none"
    here = "" if is_name else str(Path.cwd())  # Paths and modules are looked for here.
    folder = Path(spec.model).expanduser()
    if spec.library == "hf" and folder.is_dir():  # What is new there may count too.
        here += " ".join(sorted(str(p.relative_to(folder)) for p in folder.rglob("*")))
    return root / "names" / f"{bytes_fingerprint(f'{here} {spec.text}'.encode())}.json"


def remember(root: Path, spec: ModelSpec, record: dict) -> None:
    """Keeps what a spec was resolved to."""
    file = _memory(root, spec)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(file, json_line(record))


def file_state(path: Path) -> dict[str, Any]:
    """Returns the digest of a file, and what tells that it has not changed."""
    # A file may change twice within a step of the clock: what is young is read again.
    is_young = path.stat().st_mtime > time.time() - 2
    return {
        "digest": files_fingerprint([path]),
        "stat": _stat(path),
        "is_young": is_young,
    }


def _stat(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _is_unchanged(path: Path, state: dict) -> bool:
    if _stat(path) == state["stat"] and not state["is_young"]:
        return True
    return files_fingerprint([path]) == state["digest"]


class CachedFeatures(NamedTuple):
    """The features of one model for one set of images."""

    folder: Path
    spec: str
    size: int
    """Bytes."""
    used: float
    """When they were read the last time, in seconds since the epoch."""


def cached_features(root: Path) -> list[CachedFeatures]:
    """Returns all features that are kept, those read last first.

    Args:
      root: of the cache.
    """
    entries = []
    for file in (root / "features").glob("*/complete.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            spec = str(json_value(file.read_text(encoding="utf-8"))["spec"])
            size = sum(part.stat().st_size for part in file.parent.iterdir())
            used = file.parent.stat().st_mtime
            entries.append(CachedFeatures(file.parent, spec, size, used))
    return sorted(entries, key=lambda entry: -entry.used)


@contextlib.contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Holds the folder in which features are made; it is made if absent.

    Raises:
      SourceError: if another run holds it.
      FileError: if it cannot be written.
    """
    make_folder(folder)
    file = folder.with_suffix(".lock")
    with file_faults(file), file.open("a") as lock:
        if not locked_by_us(lock):
            raise SourceError("Another run extracts its features now; wait for it.")
        yield


def remove_ended_work(root: Path) -> int:
    """Removes what ended runs left in the cache; returns the bytes that are free again.

    Raises:
      FileError: if a folder cannot be removed.
    """
    free = 0
    for folder in filter(Path.is_dir, (root / "work").glob("*")):
        with contextlib.suppress(SourceError), held_folder(folder):
            free += sum(file.stat().st_size for file in folder.iterdir())
            with file_faults(folder):
                shutil.rmtree(folder)
    return free


def remove_features(entries: Iterable[CachedFeatures]) -> int:
    """Removes features; returns the bytes that are free again.

    Raises:
      FileError: if a folder cannot be removed.
    """
    free = 0
    for entry in entries:
        with file_faults(entry.folder):
            # First what makes it complete: what is left of it is nothing.
            (entry.folder / "complete.json").unlink(missing_ok=True)
            shutil.rmtree(entry.folder)
        free += entry.size
    return free


def limit_features(root: Path, limit: int) -> int:
    """Removes the features read longest ago, until all take no more than a limit.

    Args:
      root: of the cache.
      limit: in bytes.

    Returns:
      The bytes that are free again.

    Raises:
      FileError: if a folder cannot be removed.
    """
    total, surplus = 0, []
    for entry in cached_features(root):
        total += entry.size
        if total > limit:
            surplus.append(entry)
    return remove_features(surplus)
