"""Fingerprints of data and code, and the facts that identify a computation."""

import datetime
import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
from jax.typing import ArrayLike

from jtransfer._version import __version__


def environment(*, seed: int) -> dict:
    """Returns code hash, versions, device, seed and time of a computation."""
    packages = ("jax", "jaxlib", "numpy", "scipy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    now = datetime.datetime.now(datetime.UTC)
    return {
        "code_hash": code_fingerprint(),
        "versions": {"jtransfer": __version__, **versions},
        "device": jax.devices()[0].device_kind,
        "seed": seed,
        "created": now.isoformat(timespec="seconds"),
    }


def code_fingerprint() -> str:
    """Returns a hash of the package's code: results of other code are not reused."""
    package = Path(__file__).parents[1]
    paths = sorted(package.rglob("*.py"))
    names = [path.relative_to(package).as_posix() for path in paths]
    parts = (part for pair in zip(names, paths, strict=True) for part in pair)
    contents = (p.encode() if isinstance(p, str) else p.read_bytes() for p in parts)
    return bytes_fingerprint(*contents)[:16]


def bytes_fingerprint(*contents: bytes) -> str:
    """Returns the SHA-256 of some bytes, one after the other, as hex."""
    total = hashlib.sha256()
    for content in contents:
        total.update(content)
    return total.hexdigest()


def files_fingerprint(paths: Iterable[Path]) -> str:
    """Returns the SHA-256 of the contents of files, in the given order, as hex.

    Raises:
      OSError: if a file cannot be read.
    """
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def arrays_fingerprint(*arrays: ArrayLike) -> str:
    """Returns a SHA-256 that changes with the shape, dtype or a byte of an array."""
    total = hashlib.sha256()
    for array in map(np.asarray, arrays):
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array))
    return total.hexdigest()


def images_fingerprint(images: np.ndarray, labels: np.ndarray | None = None) -> str:
    """Returns a SHA-256 of images and, where they are given, of their labels."""
    labels = () if labels is None else (np.asarray(labels, np.int32),)
    return arrays_fingerprint(images, *labels)
