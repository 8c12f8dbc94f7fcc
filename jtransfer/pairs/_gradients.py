"""The Jacobians of two functions on the same images, compared batch by batch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jtransfer import jacobians
from jtransfer._internal.batches import equal_batches
from jtransfer.pairs._batches import (
    BATCH_SIZE,
    MIN_EXAMPLES,
    NUM_PAIRINGS,
    num_outputs,
    pixels,
    pytree,
)
from jtransfer.pairs._by_attack import (
    SingularSums,
    add_examples,
    empty_singular_sums,
    fitting_attacks,
    singular_vectors,
)
from jtransfer.pairs._sums import Grams, merged

JACOBIAN_NUMBERS = 2**25
"""Derivatives in memory at a time, about."""


class Attacks(NamedTuple):
    """Sums over the singular attacks on each of two functions, fed to the other."""

    reference: SingularSums
    """Attacks on the reference, fed to the source."""
    source: SingularSums
    """Attacks on the source, fed to the reference."""


class Gradients(NamedTuple):
    """Sums from which the gradients of two functions are compared."""

    blocks: Grams
    """By block of examples, a leading axis."""
    mismatched: Grams
    """With the source's gradients at other examples, by pairing: chance."""
    reference_values: np.ndarray
    """Mean singular values of the reference's Jacobians, descending."""
    source_values: np.ndarray
    """Those of the source's."""
    attacks: Attacks
    """By block of examples."""
    mismatched_attacks: Attacks
    """With the other function's gradients at other examples, by pairing: chance."""


def gradients(
    reference: Callable,
    source: Callable,
    images: np.ndarray,
    blocks: np.ndarray,
    *,
    most_attacks: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> Gradients:
    """Compares the Jacobians of two functions on the same images.

    Args:
      reference: of one image in [0, 1], with outputs `[m]`: the model of the target.
      source: of one image in [0, 1], with outputs `[k]`.
      images: uint8, or floats in [0, 1], shape `[n, ...]`.
      blocks: block of each example, integers from 0, shape `[n]`.
      most_attacks: singular attacks whose part in the explained gradient is told
        apart, at most; fewer where the sums would not fit into memory.
      advance: called with the number of images of each finished batch.

    Returns:
      Sums by block and by wrong pairing, and the singular values.

    Raises:
      ValueError: if there are fewer than `MIN_EXAMPLES` images, or a function takes
        images of another shape.

    Example:
      >>> from jtransfer import pairs
      >>> images = np.full((10, 2, 2, 1), 128, np.uint8)
      >>> blocks = np.arange(10)
      >>> products = pairs.gradients(
      ...     lambda x: 3 * x.ravel()[:1], lambda x: x.ravel()[:2], images, blocks
      ... )
      >>> print(products.reference_values, products.source_values)
      [3.] [1. 1.]
      >>> pairs.distance(pairs.merged(products.blocks))
      0.0
    """
    sizes = [num_outputs(f, images) for f in (reference, source)]
    return gradients_of_jacobians(
        _jacobian_batches(reference, source, images, sizes),
        blocks,
        sizes=sizes,
        num_inputs=images[0].size,
        most_attacks=most_attacks,
        advance=advance,
    )


def gradients_of_jacobians(
    batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    blocks: np.ndarray,
    *,
    sizes: Sequence[int],
    num_inputs: int,
    most_attacks: int,
    advance: Callable[[int], None],
) -> Gradients:
    """Compares Jacobians that come batch by batch.

    Args:
      batches: positions of examples, `[b]`, the reference's Jacobians there,
        `[b, m, p]`, and the source's, `[b, k, p]`, or of more examples that fill up the
        batch.
      blocks: block of each example, integers from 0, `[n]`.
      sizes: outputs of both, `m` and `k`.
      num_inputs: inputs, `p`.
      most_attacks: as `gradients` takes it.
      advance: likewise.
    """
    num_blocks, (m, k) = int(blocks.max()) + 1, sizes
    attacks = [
        fitting_attacks(most_attacks, *both, num_inputs=num_inputs, num_sets=num_blocks)
        for both in ((m, k), (k, m))
    ]
    right, wrong = (_no_pairs(attacks, m, k, s) for s in (num_blocks, NUM_PAIRINGS))
    squares = [np.zeros((num_blocks, size, size)) for size in sizes]
    values = [np.zeros(min(size, num_inputs)) for size in sizes]
    for indices, first, second in batches:
        valid, places = len(indices), blocks[indices]
        grams = [f @ np.swapaxes(f, 1, 2) for f in (first, second)]
        own, others = (
            singular_vectors(gram, num_inputs, attacks=count)
            for gram, count in zip(grams, attacks, strict=True)
        )
        for i, vectors in enumerate((own, others)):
            np.add.at(squares[i], places, grams[i][:valid])
            values[i] += vectors.values[:valid].sum(axis=0)
        for shift in range(1 + NUM_PAIRINGS):
            rolled, other = _shifted((second, others), shift, valid)
            cross = first @ np.swapaxes(rolled, 1, 2)
            if shift == 0:
                _add_pairs(right, own, other, cross, places)
            else:
                _add_pairs(wrong, own, other, cross, np.full(valid, shift - 1))
        advance(valid)
    counts = np.bincount(blocks, minlength=num_blocks).astype(float)
    grams = Grams(counts, squares[0], right.cross, squares[1])
    mismatched = jax.tree.map(
        lambda leaf: np.stack([leaf] * NUM_PAIRINGS), merged(grams)
    )
    return Gradients(
        blocks=grams,
        mismatched=mismatched._replace(cross=wrong.cross),
        reference_values=values[0] / len(blocks),
        source_values=values[1] / len(blocks),
        attacks=Attacks(right.reference_attacks, right.source_attacks),
        mismatched_attacks=Attacks(wrong.reference_attacks, wrong.source_attacks),
    )


class _Pairs(NamedTuple):
    """Sums over pairs of Jacobians, with a leading axis of sets."""

    cross: np.ndarray
    reference_attacks: SingularSums
    source_attacks: SingularSums


def _no_pairs(attacks, m, k, num_sets) -> _Pairs:
    return _Pairs(
        np.zeros((num_sets, m, k)),
        empty_singular_sums(attacks[0], m, k, num_sets=num_sets),
        empty_singular_sums(attacks[1], k, m, num_sets=num_sets),
    )


def _shifted(trees, shift, valid):
    """The arrays of the examples `shift` places further on."""
    return jax.tree.map(lambda leaf: np.roll(leaf, -shift, axis=0)[:valid], trees)


def _add_pairs(sums: _Pairs, first, second, cross, places) -> None:
    """Adds pairs of Jacobians to sums, in place, and the attacks both ways."""
    np.add.at(sums.cross, places, cross)
    swapped = np.swapaxes(cross, 1, 2)
    add_examples(sums.reference_attacks, first, cross, second.values[:, 0], places)
    add_examples(sums.source_attacks, second, swapped, first.values[:, 0], places)


def _jacobian_batches(reference, source, images, sizes) -> Iterator[tuple]:
    """Yields indices, the reference's Jacobians there, and as many or more others."""
    fitting = JACOBIAN_NUMBERS // (sum(sizes) * images[0].size)
    functions = pytree(reference), pytree(source)
    batch_size = min(max(fitting, MIN_EXAMPLES), BATCH_SIZE)
    for indices, valid in equal_batches(len(images), min(batch_size, len(images))):
        x = pixels(images[indices])
        first, second = (np.asarray(_jacobians(f, x), float) for f in functions)
        yield indices[:valid], first[:valid], second


@jax.jit
def _jacobians(function, x):
    # Functions of other libraries have no forward mode.
    return jax.vmap(jacobians.jacobian(function, reverse_only=True))(x)
