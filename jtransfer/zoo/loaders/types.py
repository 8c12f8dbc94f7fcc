"""What a loader returns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

EMBEDDING = "embedding"
"""The layer that is what the last linear one takes."""


class Download(NamedTuple):
    """Weights that are about to be fetched."""

    name: str
    revision: str = ""
    megabytes: float | None = None
    licence: str = "not stated"

    def __str__(self) -> str:
        """A line for the user."""
        revision = f" at {self.revision}" if self.revision else ""
        size = "" if self.megabytes is None else f", {self.megabytes:.0f} MB"
        return f"{self.name}{revision}{size} (licence: {self.licence})"


Fetching = Callable[[Download], None] | None
"""Is called before anything is fetched, and raises SourceError where it must not be;
None where nothing may be."""


class PixelFunction(NamedTuple):
    """The logits of a model as a function of pixels, with its derivatives."""

    logits: Callable[[np.ndarray], np.ndarray]
    """From float32 images in [0, 1], `[b, h, w, c]`, to logits `[b, Z]`."""
    pullback: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """From images and cotangents `[b, k, Z]` to those of the images,
    `[b, k, h, w, c]`."""


class LoadedModel(NamedTuple):
    """A model, ready for batches of images."""

    outputs: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
    """From uint8 images `[b, h, w, c]` to features `[b, d]` and logits `[b, Z]`, or
    None where it has no classes of its own."""
    facts: dict[str, Any]
    """What is known of it: `parameters`, `licence`, `revision`, ..."""
    files: tuple[Path, ...] = ()
    """Files that it was read from: weights, configurations, the user's code."""
    resolved: dict[str, Any] = {}
    """The pre-processing and layer that were chosen, as JSON has them."""
    packages: tuple[str, ...] = ()
    """Distributions whose versions may change the numbers."""
    module: str = ""
    """The user's module: what it has imported from beside it counts as well."""
    head: Callable[[], np.ndarray | None] = lambda: None
    """Returns the weights `[d, Z]` from features to logits, or None."""
    layers: Callable[[Any], tuple[dict[str, np.ndarray], np.ndarray | None]] | None = (
        None
    )
    """From a batch to the features of all its layers by name, in one pass, and logits;
    None if it has but one."""
    num_tokens: Callable[[list], np.ndarray] | None = None
    """From texts to their lengths before they are cut, `[b]`; None for images."""
    max_tokens: int | None = None
    """Where texts are cut."""
    pixel_function: Callable[[], PixelFunction] | None = None
    """Returns its logits as a function of pixels; None if it has no gradients. It
    raises SourceError where its pre-processing has none."""


def absent(needed: Download) -> str:
    """Returns the reason of a model whose weights would have to be fetched."""
    return f"The weights are not on this machine; a download would fetch {needed}."
