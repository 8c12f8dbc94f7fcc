"""What a loader returns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


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
    head: Callable[[], np.ndarray | None] = lambda: None
    """Returns the weights `[d, Z]` from features to logits, or None."""
