"""Images where two functions meet, and their attack."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from jtransfer.pairs import _attacks, _batches
from jtransfer.pairs._attacks import Attacked, Transfer
from jtransfer.pairs._batches import BatchAdvance, no_advance
from jtransfer.pairs._gradients import Gradients, gradients
from jtransfer.pairs._settings import DEFAULT_ATTACK, AttackSettings


@dataclasses.dataclass(frozen=True)
class ImageExamples:
    """Images that both functions of a pair take, and their attack."""

    images: np.ndarray
    """uint8, or floats in [0, 1], `[n, ...]`, in random order."""
    key: jax.Array
    """Of the random starts, the same for both functions."""
    settings: AttackSettings = DEFAULT_ATTACK

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def num_outputs(self, function: Callable) -> int:
        """Returns how many outputs a function has; raises ValueError if it has none."""
        return _batches.num_outputs(function, self.images)

    def attacked(
        self, function: Callable, *, advance: BatchAdvance = no_advance
    ) -> Attacked:
        """Attacks a function at every image, see `pairs.attacked`."""
        return _attacks.attacked(
            function, self.images, self.key, settings=self.settings, advance=advance
        )

    def transferred(
        self,
        first: Attacked,
        second: Attacked,
        blocks: np.ndarray,
        *,
        advance: BatchAdvance = no_advance,
    ) -> Transfer:
        """Feeds the attacks on one function to another, see `pairs.transfer`."""
        return _attacks.transfer(first, second, self.images, blocks, advance=advance)

    def gradients(
        self,
        reference: Callable,
        source: Callable,
        blocks: np.ndarray,
        *,
        most_attacks: int = 0,
        advance: BatchAdvance = no_advance,
    ) -> Gradients:
        """Compares the Jacobians of two functions, see `pairs.gradients`."""
        return gradients(
            reference,
            source,
            self.images,
            blocks,
            most_attacks=most_attacks,
            advance=advance,
        )
