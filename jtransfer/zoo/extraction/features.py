"""The features of a model of another library for examples, computed or found again.

They are computed by a process of their own (`jtransfer.zoo.extraction`), which may
crash, hang or take too much memory without harm to a ranking, and are kept by the
content of all that they depend on: the model's files, what was resolved from its name,
versions, images. What a name was resolved to the last time is remembered with the
files' digests: no library is imported to find features that are there.
"""

import contextlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jtransfer._internal.errors import SourceError
from jtransfer._internal.files import (
    file_faults,
    json_line,
    write_text_atomically,
)
from jtransfer._internal.progress import stage_progress
from jtransfer._internal.provenance import arrays_fingerprint, bytes_fingerprint
from jtransfer.zoo.extraction.cache import (
    VERSION,
    features_key,
    file_state,
    held_folder,
    kept_features,
    models_cache,
    remember,
)
from jtransfer.zoo.extraction.process import run_process
from jtransfer.zoo.loaders.images import byte_images
from jtransfer.zoo.specs import ModelSpec, check_licence


class Extraction(NamedTuple):
    """Settings of applying models of other libraries."""

    download: bool = False
    """Whether weights that are not on this machine may be fetched."""
    licences: tuple[str, ...] = ()
    """Those that a model may have, in lower case; any if empty."""
    memory: int | None = None
    """The most bytes that a model may take; None is no limit."""
    silence: float = 600.0
    """Seconds without progress after which a model is given up."""
    jobs: int = 1
    """Models at a time, which share the processors."""
    cache: Path | None = None
    """Where features are kept; the user's cache by default."""
    progress: bool = True
    """Whether progress is shown, on stderr."""


DEFAULT_EXTRACTION = Extraction()
"""Nothing is fetched, and memory has no limit."""
Advance = Callable[[int], None]


class KeptFeatures(NamedTuple):
    """The features of a model for some examples."""

    folder: Path
    record: dict[str, Any]
    """Facts, files, resolved settings, versions, and names of the layers if all."""


def extracted(
    spec: ModelSpec,
    examples: np.ndarray | Sequence,
    settings: Extraction,
    *,
    layers: bool = False,
    advance: Advance | None = None,
) -> KeptFeatures:
    """Returns a model's features for examples, computed if need be.

    Args:
      spec: the model.
      examples: images, uint8 or floats in [0, 1], `[n, h, w, c]`; or texts, or pairs
        of these.
      settings: how it is applied.
      layers: whether all its layers, in one pass.
      advance: is called with how many more examples are done; by default a bar of its
        own is shown, if there is to be one.

    Raises:
      SourceError: if the model cannot be loaded or applied; the line has the reason.
      FileError: if features cannot be kept.
    """
    root = models_cache(settings.cache)
    data, file, write = _stored_form(examples)
    key = spec._replace(options=(*spec.options, ("layers", "all"))) if layers else spec
    if (kept := _kept(root, key, data, settings)) is not None:
        return kept
    work = root / "work" / bytes_fingerprint(f"{VERSION} {key.text} {data}".encode())
    with _of_process(work), held_folder(work):
        # Another run may have made them in the meantime.
        if (kept := _kept(root, key, data, settings)) is not None:
            return kept
        request = {
            **model_request(spec, settings),
            "examples": str(work / file),
            "folder": str(work),
            "layers": layers,
        }
        shown = contextlib.nullcontext(lambda name, count: None)
        if settings.progress and advance is None:
            shown = stage_progress(len(examples), "examples")
        try:
            write(work / file)
            with shown as advance_stage:
                loaded = run_process(
                    request,
                    len(examples),
                    settings.silence,
                    work / "log.txt",
                    threads=max(1, (os.cpu_count() or 1) // settings.jobs),
                    advance=advance or (lambda count: advance_stage("features", count)),
                    note=_tell if settings.progress else lambda line: None,
                )
        finally:
            (work / file).unlink(missing_ok=True)
        files = {name: file_state(Path(name)) for name in loaded["files"]}
        for name, digest in loaded["files"].items():
            if files[name]["digest"] != digest:
                raise SourceError(f"{name} changed while it was read; run it again.")
        record = {**loaded, "files": files, "spec": key.text}
        folder = root / "features" / features_key(record, key, data)
        with file_faults(folder):
            for name in ("identity.json", "log.txt"):
                (work / name).unlink(missing_ok=True)
            write_text_atomically(work / "complete.json", json_line(record))
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists():  # The same content under another name.
                shutil.rmtree(folder)
            os.replace(work, folder)
        remember(root, key, record)
    return KeptFeatures(folder, record)


_LOCKS: dict[Path, threading.Lock] = {}


def _of_process(work: Path) -> threading.Lock:
    """A lock for two names of one model: the second finds what the first has made."""
    return _LOCKS.setdefault(work, threading.Lock())


def model_request(spec: ModelSpec, settings: Extraction) -> dict[str, Any]:
    """Returns a request of a model's process, without its examples."""
    return {
        "spec": [spec.library, spec.model, list(spec.options)],
        "batch": dict(spec.options).get("batch"),
        "download": settings.download,
        "licences": settings.licences,
        "memory": settings.memory,
    }


def _kept(root, spec, data, settings: Extraction) -> KeptFeatures | None:
    if (kept := kept_features(root, spec, data)) is None:
        return None
    folder, record = kept
    check_licence(record["facts"].get("licence"), settings.licences)
    return KeptFeatures(folder, record)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _stored_form(examples) -> tuple[str, str, Callable[[Path], None]]:
    """Fingerprint of the examples, the name of a file of them, and what writes it."""
    if not isinstance(examples, np.ndarray):
        text = json.dumps(list(examples))
        digest = bytes_fingerprint(text.encode())
        return digest, "texts.json", lambda path: write_text_atomically(path, text)

    def write(path: Path) -> None:
        with file_faults(path):
            np.save(path, byte_images(examples))

    return arrays_fingerprint(examples), "images.npy", write
