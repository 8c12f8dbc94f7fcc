"""Decoded images on disk, so that pictures are decoded once.

An entry is a folder with ``images.npy`` (uncompressed, so that its first rows can be
read alone) and what belongs to it. It appears under its name in one step when it is
complete: an interrupted run leaves nothing behind that would be read later.
"""

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtransfer._internal.files import (
    draft_name,
    json_value,
    remove_leftovers,
    user_cache,
)
from jtransfer._internal.provenance import bytes_fingerprint

# Part of every key: raise it when decoding or the layout of an entry changes.
_VERSION = 1


class Decoded(NamedTuple):
    """Decoded pictures with sets of labels, of which the first is the default.

    Attributes:
      images: uint8, shape ``[n, h, w, c]``.
      labels: for each set of labels its int32 array of shape ``[n]``.
      class_names: for each set of labels the names of its classes.
    """

    images: np.ndarray
    labels: dict[str, np.ndarray]
    class_names: dict[str, tuple[str, ...]]


def cache_root(cache_dir: str | os.PathLike | None) -> Path:
    """Returns the folder of decoded images: the argument, or the user's cache."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    return user_cache("images")


def cached(
    decode: Callable[[int | None], Decoded],
    *,
    name: str,
    key: object,
    limit: int | None,
    cache_dir: str | os.PathLike | None,
) -> Decoded:
    """Returns decoded images from the cache, or decodes them and fills it.

    Args:
      decode: ``limit -> Decoded``: decodes the first `limit` pictures, all if None.
      name: readable start of the entry's name.
      key: whatever the pixels depend on; anything that JSON can express.
      limit: how many pictures to return. Fewer than all of them are taken from an
        entry that is there, and decoded without being kept otherwise.
      cache_dir: where entries lie; the user's cache folder if None.

    Returns:
      The first `limit` pictures.
    """
    text = json.dumps([_VERSION, key], sort_keys=True)
    digest = bytes_fingerprint(text.encode())[:20]
    readable = re.sub(r"[^\w.-]+", "_", name)[-60:]
    entry = cache_root(cache_dir) / f"{readable}-{digest}"
    stored = _stored(entry, limit)
    if stored is not None:
        return stored
    decoded = decode(limit)
    if limit is None:
        _store(entry, decoded)
    return decoded


def _stored(entry: Path, limit: int | None) -> Decoded | None:
    try:
        class_names = json_value((entry / "class_names.json").read_text("utf-8"))
        images = np.load(entry / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(entry / "labels.npy", allow_pickle=False)
        if labels.shape != (len(class_names), len(images)):
            raise ValueError("labels and images do not belong together")
        return Decoded(
            np.array(images[:limit]),
            dict(zip(class_names, labels[:, :limit], strict=True)),
            {label: tuple(names) for label, names in class_names.items()},
        )
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, TypeError, AttributeError):
        # A damaged entry (a full disk, another program): decode again.
        shutil.rmtree(entry, ignore_errors=True)
        return None


def _store(entry: Path, decoded: Decoded) -> None:
    draft = entry.parent / draft_name(entry.name)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(entry.parent)
        try:
            draft.mkdir()
            np.save(draft / "images.npy", decoded.images)
            np.save(draft / "labels.npy", np.stack(list(decoded.labels.values())))
            names = json.dumps(decoded.class_names)
            (draft / "class_names.json").write_text(names, "utf-8")
            draft.rename(entry)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        # Another process may have stored the same entry meanwhile.
        if not entry.exists():
            warnings.warn(
                f"cannot keep decoded images in {entry.parent} ({error}); every run "
                "decodes them again. Name a folder with cache_dir or XDG_CACHE_HOME.",
                stacklevel=2,
            )
