"""Applies one model to images, batch by batch, and writes its features in parts."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import SourceError, one_line
from jtransfer._internal.files import json_line, write_atomically, write_text_atomically
from jtransfer._internal.provenance import files_fingerprint
from jtransfer._internal.versions import installed_version
from jtransfer.zoo.loaders.huggingface import hugging_face_model
from jtransfer.zoo.loaders.huggingface_texts import hugging_face_text_model
from jtransfer.zoo.loaders.onnx import onnx_model
from jtransfer.zoo.loaders.python import flax_model, python_function, torch_model
from jtransfer.zoo.loaders.timm import timm_model
from jtransfer.zoo.loaders.torchvision import torchvision_model
from jtransfer.zoo.loaders.types import LoadedModel
from jtransfer.zoo.specs import ModelSpec

try:
    import resource
except ImportError:  # Not on this system.
    resource = None

LOADERS = {
    "timm": timm_model,
    "hf": hugging_face_model,
    "torchvision": torchvision_model,
    "torch": torch_model,
    "onnx": onnx_model,
    "flax": flax_model,
    "py": python_function,
}
LOADERS_OF_TEXTS = {"hf": hugging_face_text_model, "py": python_function}
PART_ROWS, PART_BYTES = 4096, 2**25
FIRST_BATCH, NUM_CHECKED = 64, 8
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "RESOURCE_EXHAUSTED", "out of memory")


def write_features(request: dict, tell: Callable[[dict], None]) -> None:
    """Serves a request of `features.extracted`.

    Args:
      request: `spec`, `examples` (images in an .npy file, or texts in a .json file),
        `folder` of the parts, `download`, `batch`.
      tell: is called with what the parent is to know.

    Raises:
      SourceError: if the model cannot be loaded, or gives no features.
    """
    spec = ModelSpec(*request["spec"][:2], tuple(map(tuple, request["spec"][2])))
    folder, file = Path(request["folder"]), Path(request["examples"])
    of_texts = file.suffix == ".json"
    loaders = LOADERS_OF_TEXTS if of_texts else LOADERS
    if spec.library not in loaders:
        raise SourceError("It is a model of images, and the examples are texts.")
    examples = (
        json.loads(file.read_text()) if of_texts else np.load(file, mmap_mode="r")
    )
    model = loaders[spec.library](spec, download=request["download"])
    head = _checked(model, examples)
    versions = {name: installed_version(name) for name in model.packages}
    files = {str(path.resolve()): files_fingerprint([path]) for path in model.files}
    identity = {"resolved": model.resolved, "versions": versions, "files": files}
    _keep_only(folder, json_line(identity))
    tell({"loaded": {"facts": model.facts, **identity}})
    batch = int(request["batch"] or FIRST_BATCH)
    start, part = _finished(folder)
    tell({"rows": start})
    held: list[tuple[np.ndarray, np.ndarray | None]] = []
    for rows in _outputs(model, examples, start, batch):
        _check_finite(rows[0], start)
        held.append(rows)
        start += len(rows[0])
        tell({"rows": start})
        features = [features for features, _ in held]
        size, count = sum(f.nbytes for f in features), sum(map(len, features))
        if start == len(examples) or count >= PART_ROWS or size >= PART_BYTES:
            _write_part(folder, part, held, head)
            held, part = [], part + 1


def _outputs(
    model: LoadedModel, examples, start: int, batch: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yields the outputs from an example on; batches that are too large are halved."""
    while start < len(examples):
        rows = examples[start : start + batch]
        try:
            features, logits = model.outputs(_batch(rows))
        except SourceError:
            raise
        except Exception as error:  # Libraries have errors of their own for this.
            full = isinstance(error, MemoryError) or any(
                text in str(error) for text in _OUT_OF_MEMORY
            )
            reason = one_line(error)[:300]
        else:
            yield _arrays(features, logits, len(rows))
            start += len(rows)
            continue
        # Here, outside of the handler, what the batch held is free again.
        if not full:
            raise SourceError(f"It fails at row {start}: {reason}")
        if batch == 1:
            peak = f"peak {_peak():.1f} GB"
            raise SourceError(f"It is out of memory at batch 1 ({peak}).")
        batch = max(1, batch // 2)


def _batch(rows):
    """A batch as models take it: an array of images, or a list of texts."""
    return rows if isinstance(rows, list) else np.ascontiguousarray(rows)


def _arrays(features, logits, n: int) -> tuple[np.ndarray, np.ndarray | None]:
    features = np.asarray(features, np.float32)
    if features.ndim != 2 or len(features) != n or not features.shape[1]:
        raise SourceError(
            f"{n} examples give features of shape {list(features.shape)}, not [{n}, d]."
        )
    if logits is None:
        return features, None
    logits = np.asarray(logits, np.float32)
    if logits.ndim != 2 or len(logits) != n:
        raise SourceError(f"{n} examples give logits of shape {list(logits.shape)}.")
    return features, logits


def _checked(model: LoadedModel, examples) -> np.ndarray | None:
    """Makes sure on a few examples that features mean something; returns the head.

    They must be the same a second time, and of an example alone; and they must differ.
    """
    few = _batch(examples[:NUM_CHECKED])
    features, logits = _arrays(*model.outputs(few), len(few))
    again, _ = _arrays(*model.outputs(few), len(few))
    alone, _ = _arrays(*model.outputs(few[:1]), 1)
    _check_finite(features, 0)
    size = np.abs(features).max() or 1.0
    if np.abs(again - features).max() > 1e-5 * size:
        raise SourceError("It gives other features a second time: is dropout on?")
    if np.abs(alone - features[:1]).max() > 1e-3 * size:
        raise SourceError("An example alone has other features than in a batch.")
    differ = any(not np.array_equal(example, few[0]) for example in few)
    if differ and not np.ptp(features, axis=0).any():
        raise SourceError("Its features are the same for all examples.")
    head = model.head()
    if head is None or logits is None or head.shape[0] != features.shape[1]:
        return None
    # Of the logits if they differ from it by a constant, the bias, only.
    gap = logits - features @ head
    return head if np.ptp(gap, axis=0).max() <= 1e-4 * np.abs(logits).max() else None


def _check_finite(features: np.ndarray, start: int) -> None:
    bad = ~np.isfinite(features)
    if bad.any():
        row = start + int(bad.any(axis=1).argmax())
        raise SourceError(f"{bad.sum()} values are not finite, first in row {row}.")


def _keep_only(folder: Path, identity: str) -> None:
    """Removes the parts of another model, or of other versions."""
    file = folder / "identity.json"
    if not file.exists() or file.read_text(encoding="utf-8") != identity:
        for part in folder.glob("part-*.npz"):
            part.unlink()
        write_text_atomically(file, identity)


def _finished(folder: Path) -> tuple[int, int]:
    """Rows and number of the parts that are whole."""
    rows, number = 0, 0
    while (file := folder / f"part-{number:05d}.npz").exists():
        with np.load(file, allow_pickle=False) as part:
            rows += len(part["features"])
        number += 1
    return rows, number


def _write_part(folder: Path, number: int, held, head) -> None:
    features, logits = zip(*held, strict=True)
    arrays = {"features": np.concatenate(features)}
    if logits[0] is not None:
        arrays["logits"] = np.concatenate(logits)
    if head is not None:
        arrays["classifier"] = head
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    write_atomically(folder / f"part-{number:05d}.npz", stored.getvalue())


def _peak() -> float:
    """The most memory that the process has had, in GB."""
    if resource is None:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
