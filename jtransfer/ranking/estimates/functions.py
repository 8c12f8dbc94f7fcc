"""Scores of a source's function against the reference: value, intervals, chance."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jtransfer import pairs
from jtransfer._internal.errors import (
    DataError,
    RequestError,
    SourceError,
    callback_fault,
    one_line,
)
from jtransfer.intervals import Estimate, dealt_blocks, drawn_examples
from jtransfer.pairs.measures import estimate_of_sums
from jtransfer.zoo import Reference, Source, Target, pieces


class Comparison(NamedTuple):
    """The reference on the images where every source meets it."""

    reference: Reference
    images: np.ndarray
    """Those drawn, in random order, `[n, h, w, c]`."""
    labels: np.ndarray | None
    """Their classes, `[n]`."""
    blocks: np.ndarray
    """Their blocks, `[n]`."""
    key: jax.Array
    """Of the attacks."""
    attacked: Callable[[], pairs.Attacked]
    """The attacks on the reference, made once for all sources."""
    student_logits: Callable[[], np.ndarray] | None = None
    """The reference's logits for the target's examples, computed once; None if it has
    none."""


def comparison(reference: Reference, target: Target, *, seed: int) -> Comparison:
    """Draws the images and deals them to blocks.

    Args:
      reference: the reference.
      target: its labelled examples are used where the reference brings no images.
      seed: decides the draw, the blocks and the attacks.

    Returns:
      The comparison; nothing is attacked before it is asked for.

    Raises:
      RequestError: if the images are too few or do not fit the reference.
    """
    images, labels = reference.images, reference.labels
    if images is None and target.images is None:
        raise RequestError("a reference needs images, which the target lacks.")
    groups = None
    if images is None:
        used = target.labels >= 0
        images, labels = target.images[used], target.labels[used]
        groups = None if target.groups is None else target.groups[used]
    chosen = drawn_examples(len(images), reference.num_images, seed=seed)
    images, labels = images[chosen], None if labels is None else labels[chosen]
    groups = None if groups is None else groups[chosen]
    function, key = reference.source.function(), jax.random.key(seed)
    try:
        pairs.num_outputs(function, images)
        blocks = dealt_blocks(labels, len(images), seed=seed, groups=groups)
    except (TypeError, ValueError) as error:
        raise RequestError(one_line(error)) from error

    @functools.cache
    def attacked():
        return pairs.attacked(function, images, key)

    @functools.cache
    def student_logits():
        known = reference.source.facts.get("source_classes")
        if known and tuple(known) != tuple(target.class_names):
            raise SourceError(
                "The reference knows other classes than the target, or in another "
                "order; train one on the target's classes."
            )
        return np.concatenate(list(pieces(reference.source.logits)))

    if reference.source.logits is None:
        student_logits = None
    return Comparison(reference, images, labels, blocks, key, attacked, student_logits)


def function_estimates(
    scores: dict, source: Source, comparison: Comparison
) -> dict[str, Estimate]:
    """Evaluates scores of a source's function against the reference.

    Args:
      scores: some of `ranking.SCORES`: functions of `pairs.AttackSums` that need
        `attacks`, of `pairs.Grams` that need `jacobians`.
      source: a source with a function.
      comparison: where it meets the reference.

    Returns:
      The estimates by name; chance is what examples paired wrongly give.

    Raises:
      SourceError: if the function fails or does not take these images.
    """
    needs = {score.needs for score in scores.values()}
    images, blocks = comparison.images, comparison.blocks
    by_need = {}
    try:
        function = source.function()
        if "attacks" in needs:
            own = pairs.attacked(function, images, comparison.key)
            by_need["attacks"] = pairs.transfer(
                comparison.attacked(), own, images, blocks
            )
        if "jacobians" in needs:
            reference = comparison.reference.source.function()
            by_need["jacobians"] = pairs.gradients(reference, function, images, blocks)
    except jax.errors.JaxRuntimeError as error:
        if (fault := callback_fault(error)) is not None:
            raise SourceError(fault) from error
        raise
    except MemoryError:
        raise
    except (SourceError, DataError) as error:
        raise SourceError(one_line(error)) from error
    except Exception as error:  # The code of a user's source is not ours.
        raise SourceError(f"{type(error).__name__}: {one_line(error)}") from error
    sums = {name: by_need[score.needs] for name, score in scores.items()}
    return {
        name: estimate_of_sums(score.function, sums[name].blocks, sums[name].mismatched)
        for name, score in scores.items()
    }
