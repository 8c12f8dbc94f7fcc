"""Parts of features on disk, which a run that was ended goes on from."""

import io
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import SourceError
from jtransfer._internal.files import write_atomically, write_text_atomically

FEATURES = "features"


def keep_only(folder: Path, identity: str) -> None:
    """Removes parts of another model, or of other versions.

    Args:
      folder: of the parts.
      identity: of the model; it is written beside them.
    """
    file = folder / "identity.json"
    if not file.exists() or file.read_text(encoding="utf-8") != identity:
        for part in folder.glob("part-*.npz"):
            part.unlink()
        write_text_atomically(file, identity)


def finished(folder: Path) -> tuple[int, int]:
    """Returns how many rows are in parts that are whole, and how many parts."""
    rows, number = 0, 0
    while (file := folder / f"part-{number:05d}.npz").exists():
        with np.load(file, allow_pickle=False) as part:
            rows += len(part["rows"])
        number += 1
    return rows, number


def place(
    arrays: dict[str, np.ndarray],
    layers: dict[str, np.ndarray],
    logits: np.ndarray | None,
    places: np.ndarray,
    n: int,
) -> None:
    """Puts the outputs of a batch into the arrays of a part, which are made if absent.

    Args:
      arrays: of the part, with `rows`.
      layers: features by name.
      logits: of the batch.
      places: of its examples in the part.
      n: examples of the part.

    Raises:
      SourceError: if they have another width than before.
    """
    held = {layer_key(i, name): x for i, (name, x) in enumerate(layers.items())}
    if logits is not None:
        held["logits"] = logits
    for name, values in held.items():
        if name not in arrays:
            arrays[name] = np.empty((n, values.shape[1]), np.float32)
        if arrays[name].shape[1] != values.shape[1]:
            raise SourceError(
                f"{name.capitalize()} have {values.shape[1]} columns at row "
                f"{arrays['rows'][places[0]]}, {arrays[name].shape[1]} before."
            )
        arrays[name][places] = values


def layer_key(number: int, name: str) -> str:
    """Returns the name of the array in which a layer's features are kept."""
    return name if name == FEATURES else f"layer {number}"


def write_part(folder: Path, number: int, arrays: dict[str, np.ndarray]) -> None:
    """Writes a part, whole or not at all."""
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    write_atomically(folder / f"part-{number:05d}.npz", stored.getvalue())
