"""Why one function serves to learn another: both on the same examples, both attacked.

The measures are those of Liang et al., "Uncovering the Connections Between Adversarial
Transferability and Knowledge Transferability", 2021, on stored images, batch by batch:
`attacked` makes attacks on a function, `transfer` feeds them to another, `gradients`
compares the Jacobians. What comes back are sums by block of examples, so that `alpha1`,
`alpha2`, `alpha12` and `distance` of all examples and of all but one block follow.

A function takes one image with values in [0, 1] and returns its outputs. One that is a
`jax.tree_util.Partial` of its weights compiles once for all weights.

**The attack** is PGD in the largest change of a pixel, from a uniform random start, on
the cross-entropy against the function's own prediction at the clean image, in steps of
`5 epsilon / num_steps`, within [0, 1]: section 5 of the paper and its released code,
with fewer steps (10 instead of 50). `AttackSettings` has another norm, other steps,
momentum, or a start at the image. A function with a single output has no cross-entropy;
its deviation is attacked.

**The own attack that alpha1 is measured against is the best of several**: that one, and
the attack under test, made for the other function. Only so does alpha1 <= 1 hold: a
single PGD attack falls short of the transferred one on some examples, see
`Transfer.overtaken`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from jtransfer._internal.moved import moved_attribute
from jtransfer.pairs._attacks import Attacked as Attacked
from jtransfer.pairs._attacks import Transfer as Transfer
from jtransfer.pairs._attacks import attacked as attacked
from jtransfer.pairs._attacks import transfer as transfer
from jtransfer.pairs._batches import MIN_EXAMPLES as MIN_EXAMPLES
from jtransfer.pairs._batches import NUM_PAIRINGS as NUM_PAIRINGS
from jtransfer.pairs._batches import batched_values as batched_values
from jtransfer.pairs._batches import num_outputs as num_outputs
from jtransfer.pairs._by_attack import MOST_ATTACKS as MOST_ATTACKS
from jtransfer.pairs._by_attack import SingularSums as SingularSums
from jtransfer.pairs._by_attack import cumulative_shares as cumulative_shares
from jtransfer.pairs._by_attack import mean_alpha1 as mean_alpha1
from jtransfer.pairs._by_attack import mean_alpha2 as mean_alpha2
from jtransfer.pairs._gradients import Attacks as Attacks
from jtransfer.pairs._gradients import Gradients as Gradients
from jtransfer.pairs._gradients import gradients as gradients
from jtransfer.pairs._images import ImageExamples as ImageExamples
from jtransfer.pairs._settings import DEFAULT_ATTACK as DEFAULT_ATTACK
from jtransfer.pairs._settings import EPSILON as EPSILON
from jtransfer.pairs._settings import NUM_STEPS as NUM_STEPS
from jtransfer.pairs._settings import AttackSettings as AttackSettings
from jtransfer.pairs._settings import changed_settings
from jtransfer.pairs._sums import AttackSums as AttackSums
from jtransfer.pairs._sums import Grams as Grams
from jtransfer.pairs._sums import alpha1_of_sums as alpha1_of_sums
from jtransfer.pairs._sums import alpha2_of_sums as alpha2_of_sums
from jtransfer.pairs._sums import alpha12_of_sums as alpha12_of_sums
from jtransfer.pairs._sums import at as at
from jtransfer.pairs._sums import distance as distance
from jtransfer.pairs._sums import explained_share as explained_share
from jtransfer.pairs._sums import gradient_matching as gradient_matching
from jtransfer.pairs._sums import merged as merged
from jtransfer.pairs._sums import output_grams as output_grams
from jtransfer.pairs._sums import swapped as swapped
from jtransfer.pairs._sums import without as without
from jtransfer.pairs._texts import AttackedTexts as AttackedTexts
from jtransfer.pairs._texts import TextExamples as TextExamples
from jtransfer.pairs._texts import WordAttackSettings as WordAttackSettings
from jtransfer.pairs._texts import text_examples as text_examples

if TYPE_CHECKING:
    from jtransfer.networks import TextFunction


class Pair(NamedTuple):
    """Two functions on the same examples, `n` of them."""

    to_source: Transfer
    """Attacks on the target's model, fed to the source: the direction of the paper's
    Tables 1, 5 and 6."""
    to_target: Transfer
    """Attacks on the source, fed to the target's model: that of its Table 3."""
    gradients: Gradients
    """With the target's model as reference; `swapped` sums give the other way."""
    on_target: Attacked | AttackedTexts
    """The attacks on the target's model."""
    on_source: Attacked | AttackedTexts
    """The attacks on the source."""

    @property
    def target_outputs(self) -> np.ndarray:
        """At the clean examples, `[n, m]`."""
        return self.on_target.clean

    @property
    def source_outputs(self) -> np.ndarray:
        """At the clean examples, `[n, k]`."""
        return self.on_source.clean


def function_pair(
    source: Callable,
    target: Callable,
    images: np.ndarray,
    blocks: np.ndarray,
    key: jax.Array,
    *,
    settings: AttackSettings = DEFAULT_ATTACK,
    epsilon: float | None = None,
    num_steps: int | None = None,
    advance: Callable[[str, int], None] = lambda stage, count: None,
) -> Pair:
    """Attacks two functions, feeds each the other's attacks and compares gradients.

    On the device are batches of images only; the attacks themselves stay on the host.

    Args:
      source: of one image in [0, 1], with outputs `[k]`.
      target: the model of the target's task, with outputs `[m]`.
      images: uint8, or floats in [0, 1], shape `[n, ...]`, in random order: an
        attack made for one of the next examples stands for chance.
      blocks: block of each example, integers from 0, shape `[n]`.
      key: of the random starts, the same for both functions.
      settings: norm, radius, steps, momentum and start of the attacks.
      epsilon: a radius in place of that of the settings.
      num_steps: a number of steps in place of that of the settings.
      advance: called with the stage and the number of images of each finished batch,
        in five stages.

    Returns:
      The sums from which all measures follow, by block.

    Raises:
      ValueError: if there are fewer than `MIN_EXAMPLES` images, or a function takes
        images of another shape.

    Example:
      >>> images = np.full((10, 2, 2, 1), 128, np.uint8)
      >>> one, other = lambda x: x.ravel()[:1], lambda x: x.ravel()[-1:]
      >>> pair = function_pair(one, other, images, np.arange(10), jax.random.key(0))
      >>> sums = merged(pair.gradients.blocks)
      >>> distance(sums), explained_share(swapped(sums))
      (1.0, 0.0)
    """
    settings = changed_settings(settings, epsilon=epsilon, num_steps=num_steps)
    examples = ImageExamples(images, key, settings)
    return examples_pair(source, target, examples, blocks, advance=advance)


def examples_pair(
    source: "Callable | TextFunction",
    target: "Callable | TextFunction",
    examples: ImageExamples | TextExamples,
    blocks: np.ndarray,
    *,
    advance: Callable[[str, int], None] = lambda stage, count: None,
) -> Pair:
    """Compares two functions as `function_pair` does, of images or of texts.

    Args:
      source: one that takes such examples.
      target: the model of the target's task.
      examples: where they meet, and how they are attacked.
      blocks: block of each example, integers from 0, shape `[n]`.
      advance: called with the stage and the number of examples of each finished batch,
        in five stages.

    Returns:
      The sums from which all measures follow, by block.

    Raises:
      ValueError: if there are too few examples, or a function does not take them.
    """

    def stage(name):
        return lambda count: advance(name, count)

    on_target, on_source = (
        examples.attacked(f, advance=stage(f"attacks on the {name}"))
        for f, name in ((target, "target"), (source, "source"))
    )
    to_source, to_target = (
        examples.transferred(a, b, blocks, advance=stage(f"attacks to the {name}"))
        for a, b, name in (
            (on_target, on_source, "source"),
            (on_source, on_target, "target"),
        )
    )
    compared = examples.gradients(
        target, source, blocks, most_attacks=MOST_ATTACKS, advance=stage("gradients")
    )
    return Pair(to_source, to_target, compared, on_target, on_source)


def __getattr__(name: str):
    return moved_attribute(__name__, name)
