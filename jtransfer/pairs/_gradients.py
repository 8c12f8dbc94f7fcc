"""The Jacobians of two functions on the same images, compared batch by batch."""

from collections.abc import Callable, Iterator
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
from jtransfer.pairs._sums import Grams, merged

JACOBIAN_NUMBERS = 2**25
"""Derivatives in memory at a time, about."""


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


def gradients(
    reference: Callable,
    source: Callable,
    images: np.ndarray,
    blocks: np.ndarray,
    *,
    advance: Callable[[int], None] = lambda count: None,
) -> Gradients:
    """Compares the Jacobians of two functions on the same images.

    Args:
      reference: of one image in [0, 1], with outputs `[m]`: the model of the target.
      source: of one image in [0, 1], with outputs `[k]`.
      images: uint8, or floats in [0, 1], shape `[n, ...]`.
      blocks: block of each example, integers from 0, shape `[n]`.
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
    num_blocks, (m, k) = int(blocks.max()) + 1, sizes
    sums = [np.zeros((num_blocks, *shape)) for shape in ((m, m), (m, k), (k, k))]
    crosses, values = np.zeros((NUM_PAIRINGS, m, k)), [0, 0]
    for indices, first, second in _jacobian_batches(reference, source, images, sizes):
        valid = len(indices)
        own = second[:valid]
        products = [
            a @ np.swapaxes(b, 1, 2)
            for a, b in ((first, first), (first, own), (own, own))
        ]
        for total, product in zip(sums, products, strict=True):
            np.add.at(total, blocks[indices], product)
        for shift, cross in enumerate(crosses, 1):
            other = np.roll(second, -shift, axis=0)[:valid]
            cross += np.tensordot(first, other, axes=((0, 2), (0, 2)))
        by_image = (_singular_values(gram, images[0].size) for gram in products[::2])
        values = [a + b.sum(axis=0) for a, b in zip(values, by_image, strict=True)]
        advance(valid)
    grams = Grams(np.bincount(blocks, minlength=num_blocks).astype(float), *sums)
    mismatched = jax.tree.map(
        lambda leaf: np.stack([leaf] * NUM_PAIRINGS), merged(grams)
    )
    return Gradients(
        grams,
        mismatched._replace(cross=crosses),
        *(total / len(images) for total in values),
    )


def _singular_values(gram: np.ndarray, num_inputs: int) -> np.ndarray:
    """From products of Jacobians with themselves, `[n, m, m]`, descending."""
    finite = np.isfinite(gram).all(axis=(1, 2))
    values = np.linalg.eigvalsh(np.where(finite[:, None, None], gram, 0))
    values = np.where(finite[:, None], values, np.nan)[:, ::-1][:, :num_inputs]
    return np.sqrt(np.maximum(values, 0))


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
