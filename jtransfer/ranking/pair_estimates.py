"""Scores of a source's function against the reference: value, intervals, chance."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jtransfer import pairs
from jtransfer.data import DataError
from jtransfer.ranking._estimates import Estimate
from jtransfer.ranking.dealing import NUM_BLOCKS
from jtransfer.zoo import (
    Reference,
    RequestError,
    Source,
    SourceError,
    Target,
    one_line,
)


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
        raise RequestError("--reference needs images, which the target lacks.")
    if images is None:
        used = target.labels >= 0
        images, labels = target.images[used], target.labels[used]
    chosen = drawn(len(images), reference.num_images, seed=seed)
    images, labels = images[chosen], None if labels is None else labels[chosen]
    function, key = reference.source.function(), jax.random.key(seed)
    try:
        pairs.num_outputs(function, images)
    except (TypeError, ValueError) as error:
        raise RequestError(f"--reference: {one_line(error)}") from error

    @functools.cache
    def attacked():
        return pairs.attacked(function, images, key)

    blocks = dealt_blocks(labels, len(images), seed=seed)
    return Comparison(reference, images, labels, blocks, key, attacked)


def drawn(n: int, num_images: int, *, seed: int) -> np.ndarray:
    """Returns positions of at most `num_images` of `n` images, in random order."""
    return np.random.default_rng([seed, 6]).permutation(n)[:num_images]


def dealt_blocks(labels: np.ndarray | None, n: int, *, seed: int) -> np.ndarray:
    """Deals examples at random to blocks alike in size and classes."""
    labels = np.zeros(n, int) if labels is None else labels
    order = np.lexsort((np.random.default_rng([seed, 7]).random(n), labels))
    blocks = np.empty(n, int)
    blocks[order] = np.arange(n) % NUM_BLOCKS
    return blocks


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
    found = {}
    try:
        function = source.function()
        if "attacks" in needs:
            own = pairs.attacked(function, images, comparison.key)
            found["attacks"] = pairs.transfer(
                comparison.attacked(), own, images, blocks
            )
        if "jacobians" in needs:
            reference = comparison.reference.source.function()
            found["jacobians"] = pairs.gradients(reference, function, images, blocks)
    except (MemoryError, jax.errors.JaxRuntimeError):
        raise
    except (SourceError, DataError) as error:
        raise SourceError(one_line(error)) from error
    except Exception as error:  # The code of a user's source is not ours.
        raise SourceError(f"{type(error).__name__}: {one_line(error)}") from error
    sums = {name: found[score.needs] for name, score in scores.items()}
    return {
        name: estimate(score.function, sums[name].blocks, sums[name].mismatched)
        for name, score in scores.items()
    }


def estimate(function: Callable, blocks, mismatched) -> Estimate:
    """Evaluates a function of sums, its jackknife and its chance.

    Args:
      function: of the sums over a set of examples, returns a number.
      blocks: sums of disjoint sets, with a leading axis.
      mismatched: sums over wrong pairings of all examples, with a leading axis.

    Returns:
      The estimate.
    """
    without = [function(pairs.without(blocks, i)) for i in range(len(blocks.count))]
    wrong = [function(pairs.at(mismatched, i)) for i in range(len(mismatched.count))]
    value = function(pairs.merged(blocks))
    return Estimate(np.asarray(value), np.asarray(without), np.asarray(wrong))
