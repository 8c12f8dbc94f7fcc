"""The features of a model of another library for a target's images, as a source.

They are computed by a process of their own (`jtransfer.zoo.extraction`), which may
crash, hang or take too much memory without harm to a ranking, and are kept by the
content of all that they depend on: the model's files, what was resolved from its name,
versions, images. What a name was resolved to the last time is remembered with the
files' digests: no library is imported to find features that are there.
"""

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jtransfer._internal.errors import SourceError
from jtransfer._internal.files import (
    file_faults,
    json_line,
    write_text_atomically,
)
from jtransfer._internal.provenance import arrays_fingerprint, bytes_fingerprint
from jtransfer.zoo._array_sources import npz_source
from jtransfer.zoo._source_types import Source
from jtransfer.zoo._targets import Target
from jtransfer.zoo.extraction.cache import (
    features_key,
    file_state,
    held_folder,
    kept_features,
    models_cache,
    record_of,
    remember,
)
from jtransfer.zoo.extraction.process import run_process
from jtransfer.zoo.loaders.images import byte_images
from jtransfer.zoo.specs import ModelSpec


class Extraction(NamedTuple):
    """Settings of applying models of other libraries."""

    download: bool = False
    """Whether weights that are not on this machine may be fetched."""
    memory: int | None = None
    """The most bytes that a model may take; None is no limit."""
    silence: float = 600.0
    """Seconds without progress after which a model is given up."""
    cache: Path | None = None
    """Where features are kept; the user's cache by default."""
    progress: bool = True
    """Whether progress is shown, on stderr."""


DEFAULT_EXTRACTION = Extraction()
"""Nothing is fetched, and memory has no limit."""


def model_source(
    spec: ModelSpec,
    target: Target | None,
    settings: Extraction,
    *,
    declared: Mapping[str, Any] | None = None,
) -> Source:
    """Returns a model of another library, applied to the images of a target.

    Args:
      spec: the model.
      target: holds the images.
      settings: how it is applied.
      declared: facts of its owner, which count for more than its own.

    Returns:
      The source. Its features are computed when they are first asked for.
    """
    declared = declared or {}
    facts: dict[str, Any] = {"spec": spec.text, **declared}

    @functools.cache
    def stored(part: str) -> Source:
        examples = getattr(target, part, None)
        if examples is None and part == "images":
            examples = getattr(target, "texts", None)
        if examples is None:
            raise SourceError(
                "It is a model of images or texts: the target must hold these."
            )
        folder = extracted(spec, examples, settings)
        facts.update({**record_of(folder)["facts"], **declared})
        return npz_source(folder)

    def member(name: str, part: str = "images"):
        def rows() -> Iterator[np.ndarray]:
            held = getattr(stored(part), name)
            if held is None:
                raise SourceError(f"It needs {name}, which the model does not give.")
            return held()

        return rows

    has_test = target is not None and target.test_images is not None
    return Source(
        name=spec.name,
        facts=facts,
        features=member("features"),
        logits=lambda: _logits(stored("images")),
        digest=lambda: stored("images").digest(),
        test_features=member("features", "test_images") if has_test else None,
        head=member("head"),
    )


def _logits(source: Source):
    if source.logits is None:
        raise SourceError("It needs logits, which the model does not give.")
    return source.logits()


def extracted(
    spec: ModelSpec, examples: np.ndarray | Sequence, settings: Extraction
) -> Path:
    """Returns the folder of a model's features for examples, computed if need be.

    Args:
      spec: the model.
      examples: images, uint8 or floats in [0, 1], `[n, h, w, c]`; or texts, or pairs
        of these.
      settings: how it is applied.

    Raises:
      SourceError: if the model cannot be loaded or applied; the line has the reason.
      FileError: if features cannot be kept.
    """
    root = models_cache(settings.cache)
    data, file, write = _stored_form(examples)
    if (folder := kept_features(root, spec, data)) is not None:
        return folder
    work = root / "work" / bytes_fingerprint(f"{spec.text} {data}".encode())
    with held_folder(work):
        # Another run may have made them in the meantime.
        if (folder := kept_features(root, spec, data)) is not None:
            return folder
        request = {
            "spec": [spec.library, spec.model, list(spec.options)],
            "examples": str(work / file),
            "folder": str(work),
            "batch": dict(spec.options).get("batch"),
            "download": settings.download,
            "memory": settings.memory,
        }
        try:
            write(work / file)
            loaded = run_process(
                request,
                len(examples),
                settings.silence,
                work / "log.txt",
                progress=settings.progress,
            )
        finally:
            (work / file).unlink(missing_ok=True)
        files = {name: file_state(Path(name)) for name in loaded["files"]}
        for name, digest in loaded["files"].items():
            if files[name]["digest"] != digest:
                raise SourceError(f"{name} changed while it was read; run it again.")
        record = {**loaded, "files": files, "spec": spec.text}
        folder = root / "features" / features_key(record, spec, data)
        with file_faults(folder):
            for name in ("identity.json", "log.txt"):
                (work / name).unlink(missing_ok=True)
            write_text_atomically(work / "complete.json", json_line(record))
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists():  # The same content under another name.
                shutil.rmtree(folder)
            os.replace(work, folder)
        remember(root, spec, record)
    return folder


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
