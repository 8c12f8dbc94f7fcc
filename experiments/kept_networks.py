"""Networks on disk, each under a digest of all that made it.

A killed run goes on where it was, other settings never read what these have written,
and scripts that need the same network train it once.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtransfer import networks
from jtransfer.networks import Network


class Model(NamedTuple):
    """A network and the name of its folder, which tells all that made it."""

    name: str
    network: Network


def train_or_read(
    folder: Path, label: str, made_of: tuple, train: Callable[[Path], Network]
) -> Model:
    """Trains a network and writes it, or reads it from an earlier run.

    Args:
      folder: where networks lie, one folder each.
      label: beginning of the network's name, for people.
      made_of: all that decides its weights, see `digest`.
      train: ``train(folder)`` returns the network; its checkpoints may lie in the
        folder.

    Returns:
      The network and its name.
    """
    name = f"{label}-{digest(*made_of)}"
    place = folder / "networks" / name
    if (place / networks.JSON_FILE).exists():
        return Model(name, networks.read_network(place))
    print(f"training {name}", flush=True)
    network = train(place)
    networks.write_network(place, network)
    return Model(name, network)


def digest(*parts: object) -> str:
    """The first 12 digits of a SHA-256 of arrays and of what else prints alike."""
    total = hashlib.sha256()
    for part in parts:
        if hasattr(part, "__array__"):
            total.update(np.asarray(part).tobytes())
        else:
            total.update(repr(part).encode() + b"\0")
    return total.hexdigest()[:12]
