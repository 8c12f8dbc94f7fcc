"""Sums over examples from which the measures of a pair of functions follow.

Sums of disjoint sets of examples add up, so that those of blocks give the measure of
all examples and of all but one block. They are float64 on the host: differences of
squares follow from them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer._internal.linalg import unit


class AttackSums(NamedTuple):
    """Sums of deviations that attacks cause in two functions; leading axes are sets."""

    count: np.ndarray
    """Examples, `[]`."""
    alpha1: np.ndarray
    """The first transferability, `[]`."""
    alpha1_square: np.ndarray
    """Its square where both functions move, `[]`."""
    moved: np.ndarray
    """Examples where both functions move, `[]`."""
    directions: np.ndarray
    """Outer products of the directions of both deviations, `[m, k]`."""
    weighted: np.ndarray
    """The same, each times its alpha1, `[m, k]`."""


class Grams(NamedTuple):
    """Sums of products of outputs or gradients; leading axes are sets."""

    count: np.ndarray
    """Examples, `[]`."""
    reference: np.ndarray
    """`[m, m]`."""
    cross: np.ndarray
    """Of the reference with the source, `[m, k]`."""
    source: np.ndarray
    """`[k, k]`."""


def attack_sums(own, transferred, ratio, *, blocks, num_blocks) -> AttackSums:
    """Sums the deviations that attacks cause, by block.

    Args:
      own: deviations of the attacked function, shape `[n, m]`.
      transferred: deviations of the other one by the same attacks, shape `[n, k]`.
      ratio: `adversarial.alpha1` of each example, shape `[n]`.
      blocks: block of each example, integers in `[0, num_blocks)`, shape `[n]`.
      num_blocks: number of blocks.

    Returns:
      The sums, with a leading axis of blocks.
    """
    u, v = directions(own), directions(transferred)
    moved = u.any(axis=1) & v.any(axis=1)
    sets = np.eye(num_blocks)[blocks]
    weights = sets * np.asarray(ratio, np.float64)[:, None]
    return AttackSums(
        count=sets.sum(axis=0),
        alpha1=weights.sum(axis=0),
        alpha1_square=(weights**2)[moved].sum(axis=0),
        moved=sets[moved].sum(axis=0),
        directions=np.einsum("nb,ni,nj->bij", sets, u, v, optimize=True),
        weighted=np.einsum("nb,ni,nj->bij", weights, u, v, optimize=True),
    )


def directions(deviations) -> np.ndarray:
    """Returns deviations `[n, m]` of unit length in float64, zero where they are."""
    return np.asarray(unit(jnp.asarray(deviations)), np.float64)


def alpha1_of_sums(sums: AttackSums) -> float:
    """Returns the mean over the examples of `adversarial.alpha1`."""
    return float(sums.alpha1 / sums.count)


def alpha2_of_sums(sums: AttackSums) -> float:
    """Returns `adversarial.alpha2`."""
    return float(np.linalg.norm(sums.directions) / sums.count)


def alpha12_of_sums(sums: AttackSums) -> float:
    """Returns `adversarial.alpha12`."""
    return float(np.linalg.norm(sums.weighted) / sums.count)


def output_grams(reference, source, *, blocks, num_blocks) -> Grams:
    """Sums products of outputs such that `distance` refits an affine map of the source.

    Args:
      reference: outputs of the reference, shape `[n, m]`.
      source: outputs of the source, shape `[n, k]`.
      blocks: block of each example, integers in `[0, num_blocks)`, shape `[n]`.
      num_blocks: number of blocks.

    Returns:
      The sums, with a leading axis of blocks; a constant is the last output of the
      source, `k + 1` in all.
    """
    reference, source = (
        f - f.mean(axis=0)
        for f in (np.asarray(reference, np.float64), np.asarray(source, np.float64))
    )
    source = np.concatenate([source, np.ones((len(source), 1))], axis=1)
    sets = np.eye(num_blocks)[blocks]

    def products(a, b):
        return np.einsum("nb,ni,nj->bij", sets, a, b, optimize=True)

    return Grams(
        count=sets.sum(axis=0),
        reference=products(reference, reference),
        cross=products(reference, source),
        source=products(source, source),
    )


def distance(grams: Grams) -> float:
    """Returns the root mean square that the best linear map of the source leaves.

    Of Jacobians it is `matching.gradient_matching_distance`, of `output_grams` it is
    `matching.function_matching_distance`, to the root of the rounding of float64.
    """
    left = np.maximum(gradient_total(grams) - explained_total(grams), 0)
    return float(np.sqrt(left / grams.count))


def explained_share(grams: Grams) -> float:
    """Returns the share of the reference's mean square that the best map explains.

    Of Jacobians it is `matching.explained_gradient`, the fraction of Theorem 3.1. It
    lies in [0, 1]: `1 - distance^2` in units of the reference; 0 / 0 is 0.
    """
    total = gradient_total(grams)
    return float(np.clip(explained_total(grams) / total, 0, 1)) if total else 0.0


def swapped(grams: Grams) -> Grams:
    """Returns the sums of Jacobians with reference and source swapped."""
    cross = np.swapaxes(grams.cross, -1, -2)
    return Grams(grams.count, grams.source, cross, grams.reference)


def gradient_matching(grams: Grams) -> float:
    """Returns minus `distance`: the more alike the gradients, the higher."""
    return -distance(grams)


def merged(sums):
    """Adds up sums of disjoint sets along their first axis."""
    return jax.tree.map(lambda leaf: leaf.sum(axis=0), sums)


def at(sums, index):
    """Returns the sums of one set."""
    return jax.tree.map(lambda leaf: leaf[index], sums)


def without(sums, index):
    """Adds up all sets but one along the first axis."""
    return jax.tree.map(lambda leaf: np.delete(leaf, index, axis=0).sum(axis=0), sums)


def gradient_total(grams: Grams) -> float:
    """Returns the mean square of the reference, times the count."""
    return float(np.trace(grams.reference))


def explained_total(grams: Grams) -> float:
    """Returns the mean square that the best map of the source explains, likewise."""
    if not all(np.isfinite(leaf).all() for leaf in grams):
        return float("nan")
    return float(np.sum((grams.cross @ inverse_root(grams.source)) ** 2))


def inverse_root(gram: np.ndarray) -> np.ndarray:
    """Returns `R` with `R R^T` an inverse of a Gram matrix where that has a range.

    Args:
      gram: finite, positive semi-definite, shape `[k, k]`.

    Returns:
      The root, shape `[k, rank]`.
    """
    spread = np.sqrt(np.diagonal(gram))
    spread = np.where(spread > 0, spread, 1)
    values, axes = np.linalg.eigh(gram / np.outer(spread, spread))
    kept = values > len(values) * np.finfo(values.dtype).eps * values[-1]
    return (axes / spread[:, None])[:, kept] / np.sqrt(values[kept])
