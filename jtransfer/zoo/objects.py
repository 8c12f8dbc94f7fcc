"""Arrays, functions and networks at hand as sources, in this process."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from jtransfer._internal.errors import RequestError, SourceError
from jtransfer._internal.provenance import arrays_fingerprint
from jtransfer.zoo._source_types import Source, source_errors
from jtransfer.zoo._targets import Target
from jtransfer.zoo.loaders import _torch
from jtransfer.zoo.loaders.flax import flax_network
from jtransfer.zoo.loaders.images import byte_images, rgb
from jtransfer.zoo.loaders.python import function_network
from jtransfer.zoo.loaders.types import LoadedModel

_BATCH = 64


def object_source(
    name: str, model: Any, target: Target, transform: Callable | None = None
) -> Source:
    """Returns an object as a source.

    Args:
      name: of its row.
      model: features `[n, d]` of the target's examples; a network of PyTorch, whose
        last linear layer takes the features; a network of Flax NNX that returns logits
        and a dict with `embedding`; or a function from uint8 images `[b, h, w, c]` to
        features `[b, d]`, or to these and logits `[b, Z]`. Networks are put into
        evaluation mode. All outputs are computed once, and kept in memory.
      target: holds the images.
      transform: from a picture of Pillow to what a network of PyTorch takes; without it
        these are pixels in [0, 1].

    Returns:
      The source.

    Raises:
      RequestError: if the object is none of these, or a transform is of no use.
    """
    if hasattr(model, "shape"):
        array = np.asarray(model)
        return Source(
            name,
            {},
            features=lambda: array,
            digest=lambda: arrays_fingerprint(array),
        )
    if not (_is_torch(model) or _is_flax(model) or callable(model)):
        raise RequestError(
            f"{name} is {type(model).__name__}; a source is an array, a network, a "
            "function or a name."
        )
    if transform is not None and not _is_torch(model):
        raise RequestError(f"{name}: a transform is for networks of PyTorch only.")

    @functools.cache
    def outputs(part: str) -> tuple[np.ndarray, np.ndarray | None]:
        images = getattr(target, part)
        if images is None:
            raise SourceError("It is a model of images: the target must hold images.")
        with source_errors():
            loaded = _loaded(model, transform)
            starts = range(0, len(images), _BATCH)
            batches = (byte_images(images[i : i + _BATCH]) for i in starts)
            features, logits = zip(*map(loaded.outputs, batches), strict=True)
            return (
                np.concatenate(features),
                None if logits[0] is None else np.concatenate(logits),
            )

    def logits() -> np.ndarray:
        if (held := outputs("images")[1]) is None:
            raise SourceError("It needs logits, which the model does not give.")
        return held

    return Source(
        name,
        {},
        features=lambda: outputs("images")[0],
        logits=logits,
        test_features=lambda: outputs("test_images")[0],
    )


def _loaded(model, transform) -> LoadedModel:
    if _is_torch(model):
        return _torch.hooked_model(model, _batches(transform), layer=None, facts={})
    return flax_network(model, {}) if _is_flax(model) else function_network(model)


def _batches(transform: Callable | None) -> Callable:
    if transform is None:
        return _torch.normalized_batches({})[0]
    import torch
    from PIL import Image

    def batch(images: np.ndarray):
        return torch.stack([transform(Image.fromarray(x)) for x in rgb(images)])

    return batch


def _is_torch(model) -> bool:
    return "torch" in sys.modules and isinstance(model, sys.modules["torch"].nn.Module)


def _is_flax(model) -> bool:
    return "flax" in sys.modules and isinstance(model, sys.modules["flax"].nnx.Module)
