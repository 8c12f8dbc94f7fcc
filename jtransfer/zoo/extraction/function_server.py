"""Serves the logits of one model, and their derivatives, to its parent."""

from typing import BinaryIO

import numpy as np

from jtransfer._internal.errors import SourceError
from jtransfer.zoo.extraction.batches import in_batches
from jtransfer.zoo.extraction.frames import read_frame, write_frame
from jtransfer.zoo.extraction.loading import loaded_event, loaded_model
from jtransfer.zoo.extraction.worker import FIRST_BATCH
from jtransfer.zoo.loaders.types import LoadedModel, PixelFunction

MOST_APART = 0.05
"""Difference of logits with the two kinds of pre-processing, of their spread."""


def serve_function(request: dict, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers requests until there are no more.

    Args:
      request: that of `loaded_model`; `examples` (a few images in an .npy file),
        `batch`.
      requests: frames of images `[n, h, w, c]`, or of these and cotangents `[n, k, Z]`.
      answers: takes frames of logits `[n, Z]`, or of cotangents `[n, k, h, w, c]`.

    Raises:
      SourceError: if the model cannot be loaded or has no gradients.
    """
    model = loaded_model(request)
    if model.pixel_function is None:
        raise SourceError("It needs gradients, which such models do not give.")
    function = model.pixel_function()
    num_outputs = _checked(model, function, np.load(request["examples"]))
    loaded = {**loaded_event(model), "num_outputs": num_outputs}
    write_frame(answers, {"loaded": loaded})
    size = int(request["batch"] or FIRST_BATCH)
    while (frame := read_frame(requests)) is not None:
        _, arrays = frame
        served = function.pullback if len(arrays) > 1 else function.logits
        parts = in_batches(
            lambda rows, served=served, arrays=arrays: served(
                *(array[rows] for array in arrays)
            ),
            np.arange(len(arrays[0])),
            lambda start: size,
        )
        write_frame(answers, {}, np.concatenate([part for _, part in parts]))


def _checked(model: LoadedModel, function: PixelFunction, few: np.ndarray) -> int:
    """Makes sure that the function is the model; returns how many outputs it has."""
    smooth = function.logits(few.astype(np.float32) / np.float32(255))
    own = model.outputs(few)[1]
    if own is None:
        raise SourceError("It needs logits, which the model does not give.")
    # Pictures are resized in whole numbers, of which gradients are zero.
    spread = np.linalg.norm(own - own.mean(axis=0, keepdims=True))
    size = spread if len(own) > 1 and spread > 0 else np.linalg.norm(own)
    apart = np.linalg.norm(smooth - own) / max(size, 1e-30)
    if not apart <= MOST_APART:
        raise SourceError(
            "It needs gradients, and its pre-processing in floats gives logits that "
            f"are {apart:.0%} from its own."
        )
    return smooth.shape[1]
