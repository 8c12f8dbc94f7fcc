"""Scores of a source's function against the reference: value, intervals, chance."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jtransfer import networks, pairs
from jtransfer._internal.errors import (
    DataError,
    RequestError,
    SourceError,
    callback_fault,
    one_line,
)
from jtransfer.intervals import Estimate, dealt_blocks, drawn_examples
from jtransfer.pairs.measures import estimate_of_sums
from jtransfer.zoo import (
    Reference,
    Source,
    Target,
    equal_examples,
    pieces,
    target_examples_at,
)


class Comparison(NamedTuple):
    """The reference on the examples where every source meets it."""

    reference: Reference
    examples: pairs.ImageExamples | pairs.TextExamples
    """Those drawn, in random order, and their attack."""
    texts: tuple | None
    """The texts themselves, if they are texts."""
    labels: np.ndarray | None
    """Their classes, `[n]`."""
    blocks: np.ndarray
    """Their blocks, `[n]`."""
    attacked: Callable[[], pairs.Attacked | pairs.AttackedTexts]
    """The attacks on the reference, made once for all sources."""
    student_logits: Callable[[], np.ndarray] | None = None
    """The reference's logits for the target's examples, computed once; None if it has
    none."""


def comparison(reference: Reference, target: Target, *, seed: int) -> Comparison:
    """Draws the examples and deals them to blocks.

    Args:
      reference: the reference.
      target: its labelled examples are used where the reference brings none.
      seed: decides the draw, the blocks and the attacks.

    Returns:
      The comparison; nothing is attacked before it is asked for.

    Raises:
      RequestError: if the examples are too few or do not fit the reference.
    """
    is_text = reference.source.text_network is not None
    whole = reference.texts if is_text else reference.images
    labels, groups = reference.labels, None
    if whole is None:
        whole = target.texts if is_text else target.images
        if whole is None:
            kind = "texts" if is_text else "images"
            raise RequestError(f"a reference needs {kind}, which the target lacks.")
        used = np.flatnonzero(target.labels >= 0)
        whole = target_examples_at(whole, used)
        labels = target.labels[used]
        groups = None if target.groups is None else target.groups[used]
    chosen = drawn_examples(len(whole), reference.num_images, seed=seed)
    whole = target_examples_at(whole, chosen)
    labels = None if labels is None else labels[chosen]
    groups = equal_examples(whole) if groups is None else groups[chosen]
    try:
        function = reference.source.function()
        if is_text:
            examples = pairs.text_examples(reference.source.text_network(), whole)
        else:
            examples = pairs.ImageExamples(whole, jax.random.key(seed))
        examples.num_outputs(function)
        blocks = dealt_blocks(labels, len(examples), seed=seed, groups=groups)
    except (TypeError, ValueError) as error:
        raise RequestError(one_line(error)) from error

    @functools.cache
    def attacked():
        return examples.attacked(function)

    @functools.cache
    def student_logits():
        known = reference.source.facts.get("source_classes")
        if known and tuple(known) != tuple(target.class_names):
            raise SourceError(
                "The reference knows other classes than the target, or in another "
                "order; train one on the target's classes."
            )
        return np.concatenate(list(pieces(reference.source.logits)))

    return Comparison(
        reference,
        examples,
        whole if is_text else None,
        labels,
        blocks,
        attacked,
        None if reference.source.logits is None else student_logits,
    )


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
    examples, blocks = comparison.examples, comparison.blocks
    by_need = {}
    try:
        function = _function(source, comparison)
        if "attacks" in needs:
            own = examples.attacked(function)
            by_need["attacks"] = examples.transferred(
                comparison.attacked(), own, blocks
            )
        if "jacobians" in needs:
            reference = comparison.reference.source.function()
            by_need["jacobians"] = examples.gradients(reference, function, blocks)
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


def _function(source: Source, comparison: Comparison):
    """The function of a source, if it takes the examples."""
    if comparison.texts is None:
        if source.text_network is not None:
            raise SourceError("It is a network of texts, the reference one of images.")
        return source.function()
    if source.text_network is None:
        raise SourceError("It is no network of texts, as the reference is.")
    reference = comparison.reference.source.text_network()
    networks.check_same_tokens(source.text_network(), reference, comparison.texts)
    return source.function()
