"""Applies one model to examples, batch by batch, and writes its features in parts."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jtransfer._internal.errors import FileError, SourceError
from jtransfer._internal.files import json_line
from jtransfer.zoo.extraction.batches import in_batches
from jtransfer.zoo.extraction.loading import loaded_event, loaded_model
from jtransfer.zoo.extraction.parts import (
    FEATURES,
    finished,
    keep_only,
    place,
    write_part,
)
from jtransfer.zoo.loaders.types import LoadedModel

PART_ROWS, PART_BYTES = 4096, 2**25
FIRST_BATCH, FIRST_TOKENS, NUM_CHECKED = 64, 16_384, 8

LayerOutputs = tuple[dict[str, np.ndarray], np.ndarray | None]
"""Features by the names of layers, and logits."""


def write_features(request: dict, tell: Callable[[dict], None]) -> None:
    """Serves a request of `features.extracted`.

    Args:
      request: that of `loaded_model`; `examples` (images in an .npy file, or texts in a
        .json file), `folder` of the parts, `batch`, `layers` (whether all of them).
      tell: is called with what the parent is to know.

    Raises:
      SourceError: if the model cannot be loaded, or gives no features.
      FileError: if the disk has no room for them.
    """
    folder, file = Path(request["folder"]), Path(request["examples"])
    of_texts = file.suffix == ".json"
    examples = (
        json.loads(file.read_text()) if of_texts else np.load(file, mmap_mode="r")
    )
    model = loaded_model(request, of_texts=of_texts, tell=tell)
    apply = _applied(model, all_layers=request["layers"])
    widths, few, logits = _checked(apply, examples)
    head = _fitting_head(model.head(), few, logits)
    loaded = loaded_event(model)
    if request["layers"]:
        loaded["layers"] = list(widths)
    keep_only(folder, json_line({k: v for k, v in loaded.items() if k != "facts"}))
    row_bytes = 4 * (sum(widths.values()) + (0 if logits is None else logits.shape[1]))
    _check_space(folder, row_bytes * len(examples))
    lengths = None
    if model.num_tokens is not None:
        lengths = _lengths(model.num_tokens, examples)
        share = float((lengths > model.max_tokens).mean())
        loaded["facts"] = {**model.facts, "share_cut": round(share, 4)}
        lengths = np.minimum(lengths, model.max_tokens)
    tell({"loaded": loaded})
    kinds = {(*widths, None if logits is None else "logits")}
    batch = None if request["batch"] is None else int(request["batch"])
    start, number = finished(folder)
    tell({"rows": start})
    part_rows = min(PART_ROWS, max(1, PART_BYTES // row_bytes))
    while start < len(examples):
        rows = np.arange(start, min(start + part_rows, len(examples)))
        arrays: dict[str, np.ndarray] = {"rows": rows}
        if lengths is not None:
            # Texts of one length waste little on padding. The longest come first: so
            # memory ends at once or not at all.
            rows = rows[np.argsort(-lengths[rows], kind="stable")]
        batches = in_batches(
            lambda chosen: apply(_chosen(examples, chosen)),
            rows,
            _sizes(rows, lengths, batch),
        )
        done = start
        for chosen, (layers, logits) in batches:
            for features in layers.values():
                _check_finite(features, chosen)
            place(arrays, layers, logits, chosen - start, len(rows))
            kinds.add((*layers, None if logits is None else "logits"))
            if len(kinds) > 1:
                raise SourceError("It gives other layers or logits for some batches.")
            done += len(chosen)
            tell({"rows": done})
        if head is not None:
            arrays["classifier"] = head
        write_part(folder, number, arrays)
        start, number = done, number + 1


def _applied(model: LoadedModel, *, all_layers: bool) -> Callable[..., LayerOutputs]:
    """The function from a batch to features by name and logits, checked."""
    if all_layers and model.layers is None:
        raise SourceError("It has no layers that can be told apart; name one of them.")

    def apply(batch) -> LayerOutputs:
        if all_layers:
            layers, logits = model.layers(batch)
        else:
            features, logits = model.outputs(batch)
            layers = {FEATURES: features}
        n = len(batch)
        layers = {name: _rows(x, n, "features") for name, x in layers.items()}
        return layers, None if logits is None else _rows(logits, n, "logits")

    return apply


def _rows(array, n: int, what: str) -> np.ndarray:
    array = np.asarray(array, np.float32)
    if array.ndim != 2 or len(array) != n or not array.shape[1]:
        raise SourceError(
            f"{n} examples give {what} of shape {list(array.shape)}, not [{n}, d]."
        )
    return array


def _lengths(num_tokens: Callable[[list], np.ndarray], texts: list) -> np.ndarray:
    starts = range(0, len(texts), PART_ROWS)
    return np.concatenate([num_tokens(texts[i : i + PART_ROWS]) for i in starts])


def _sizes(
    rows: np.ndarray, lengths: np.ndarray | None, batch: int | None
) -> Callable[[int], int]:
    """Returns the size of a batch that begins at a place: so many tokens, of texts."""
    if batch is not None or lengths is None:
        return lambda start: batch or FIRST_BATCH
    return lambda start: max(1, FIRST_TOKENS // max(int(lengths[rows[start]]), 1))


def _chosen(examples, rows: Sequence[int]):
    """Some examples as models take them: an array of images, or a list of texts."""
    if isinstance(examples, list):
        return [examples[i] for i in rows]
    return np.ascontiguousarray(examples[rows])


def _checked(
    apply: Callable[..., LayerOutputs], examples
) -> tuple[dict[str, int], np.ndarray | None, np.ndarray | None]:
    """Makes sure on a few examples that features mean something.

    They must be the same a second time, and of an example alone; and they must differ.

    Returns:
      Widths of the layers by name; features and logits of these examples.
    """
    few, shortest = _few(examples)
    layers, logits = apply(few)
    again, _ = apply(few)
    alone, _ = apply(few[shortest : shortest + 1])
    for name, features in layers.items():
        _check_finite(features, np.arange(len(few)))
        size = np.abs(features).max() or 1.0
        if np.abs(again[name] - features).max() > 1e-5 * size:
            raise SourceError("It gives other features a second time: is dropout on?")
        one = features[shortest : shortest + 1]
        if np.abs(alone[name] - one).max() > 1e-4 * size:
            raise SourceError("An example alone has other features than in a batch.")
    differ = any(not np.array_equal(example, few[0]) for example in few)
    if differ and not any(np.ptp(f, axis=0).any() for f in layers.values()):
        raise SourceError("Its features are the same for all examples.")
    widths = {name: features.shape[1] for name, features in layers.items()}
    return widths, layers.get(FEATURES), logits


def _few(examples) -> tuple[Any, int]:
    """A few examples, and which of them is the shortest text, which has most padding.

    Of texts the longest and the shortest of many are among them.
    """
    rows = list(range(min(NUM_CHECKED, len(examples))))
    if not isinstance(examples, list):
        return _chosen(examples, np.array(rows)), 0
    sizes = [len(json.dumps(text)) for text in examples[:PART_ROWS]]
    rows = sorted({*rows[:-2], int(np.argmin(sizes)), int(np.argmax(sizes))})
    kept = _chosen(examples, rows)
    return kept, min(range(len(rows)), key=lambda i: sizes[rows[i]])


def _fitting_head(
    head: np.ndarray | None, features: np.ndarray | None, logits: np.ndarray | None
) -> np.ndarray | None:
    """The weights from features to logits, if those give these but for a bias."""
    if head is None or logits is None or features is None:
        return None
    if head.shape[0] != features.shape[1]:
        return None
    gap = logits - features @ head
    return head if np.ptp(gap, axis=0).max() <= 1e-4 * np.abs(logits).max() else None


def _check_finite(features: np.ndarray, rows: np.ndarray) -> None:
    bad = ~np.isfinite(features)
    if bad.any():
        row = rows[bad.any(axis=1)].min()
        raise SourceError(f"{bad.sum()} values are not finite, first in row {row}.")


def _check_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise FileError(
            f"{folder} cannot be written: the features take {size / 1e9:.2f} GB, and "
            f"{free / 1e9:.2f} GB are free."
        )
