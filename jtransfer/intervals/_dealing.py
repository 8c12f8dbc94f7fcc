"""Examples and whole groups of them, dealt to blocks or drawn at random."""

from collections.abc import Callable

import numpy as np

from jtransfer.intervals._groups import dealt_groups
from jtransfer.intervals._numbers import NUM_BLOCKS


def order_by_class(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns positions of examples by class, in random order within each.

    Every tenth of them is a part with its share of each class.
    """
    return np.lexsort((rng.random(len(labels)), labels))


def dealt_blocks(
    labels: np.ndarray | None,
    n: int,
    *,
    seed: int,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Deals examples at random to blocks alike in size and classes.

    Args:
      labels: classes of the examples, `[n]`; None for examples of one kind.
      n: number of examples.
      seed: of the deal.
      groups: of the examples, `[n]`, which are dealt as wholes; None if each is alone.

    Returns:
      The block of each example, `[n]`, integers in `[0, NUM_BLOCKS)`.
    """
    labels = np.zeros(n, int) if labels is None else labels
    rng = np.random.default_rng([seed, 7])
    if groups is not None:
        return dealt_groups(groups, labels, NUM_BLOCKS, rng)
    blocks = np.empty(n, int)
    order = order_by_class(labels, rng)
    blocks[order] = np.arange(n) % NUM_BLOCKS
    return blocks


def group_blocks(groups: np.ndarray, key, *, num_blocks: int = 10) -> np.ndarray:
    """Deals whole groups of examples to blocks alike in size.

    Blocks differ by at most twice the largest group, and none is empty. For examples
    that are not independent, such as tokens of one sentence or images of one patient:
    an interval from blocks of single examples would be too narrow, and a probe would
    find the sentence and not the class.

    Args:
      groups: the group of each example, `[n]`: numbers or texts.
      key: of the deal, of `jax.random`.
      num_blocks: number of blocks.

    Returns:
      The block of each example, `[n]`, integers in `[0, num_blocks)`.

    Raises:
      ValueError: if there are fewer groups than blocks.

    Example:
      >>> import jax
      >>> groups = np.repeat(np.arange(6), 5)
      >>> blocks = group_blocks(groups, jax.random.key(0), num_blocks=3)
      >>> np.bincount(blocks).tolist()
      [10, 10, 10]
    """
    import jax

    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    groups = np.asarray(groups)
    return dealt_groups(groups, np.zeros(len(groups), int), num_blocks, rng)


def drawn_examples(n: int, num_drawn: int, *, seed: int) -> np.ndarray:
    """Returns positions of at most `num_drawn` of `n` examples, in random order."""
    return np.random.default_rng([seed, 6]).permutation(n)[:num_drawn]


def positions_by_class(
    labels: np.ndarray, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """Returns the positions of each class that occurs, in random order."""
    return {
        int(label): rng.permutation(np.flatnonzero(labels == label))
        for label in np.unique(labels)
    }


def stratified_part(
    labels: np.ndarray, size_of: Callable[[int], int], rng: np.random.Generator
) -> np.ndarray:
    """Draws a part of each class.

    Args:
      labels: classes of the examples, `[n]`; negative ones are of no class.
      size_of: how many examples of a class to draw, from how many it has.
      rng: of the draw.

    Returns:
      Positions, class after class.
    """
    members = positions_by_class(labels, rng)
    parts = [
        positions[: size_of(len(positions))]
        for label, positions in members.items()
        if label >= 0
    ]
    return np.concatenate([np.zeros(0, int), *parts])
