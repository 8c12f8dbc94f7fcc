"""LEEP and NCE of a source's logits, with their jackknife and chance level."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer.intervals import NUM_BLOCKS, NUM_SHUFFLES, DealtLabels, Estimate
from jtransfer.ranking.estimates.batches import dealt_logits, labels_at
from jtransfer.scores import (
    label_table,
    log_expected_predictions,
    negative_conditional_entropy,
    probability_table,
)


class LogitEstimates(NamedTuple):
    """The scores of a source's own predictions."""

    leep: Estimate
    nce: Estimate
    num_source_classes: int
    warnings: list[str]


def logit_estimates(
    logits: Callable[[], Iterable], target: DealtLabels
) -> LogitEstimates:
    """Evaluates LEEP and NCE from two passes over a source's logits.

    Args:
      logits: returns logits `[n, Z]`, an array or an iterable of arrays, each time it
        is called.
      target: the labels.

    Returns:
      The two estimates.

    Raises:
      SourceError: if the logits are too few, too many or not finite.
    """
    c = target.num_classes
    notes: list[str] = []
    tables = label_tables = None
    for blocks, labels, shuffled in _dealt_logits(logits, target, notes):
        if tables is None:
            shape = (NUM_BLOCKS + NUM_SHUFFLES, c, blocks.shape[-1])
            tables, label_tables = np.zeros(shape), np.zeros(shape, np.int64)
        masses, counts = _tables(blocks, labels, shuffled, num_classes=c)
        tables += np.asarray(masses)
        label_tables += np.asarray(counts)
    tables, label_tables = _variants(tables), _variants(label_tables)

    sums = np.zeros((len(tables), NUM_BLOCKS))
    counts = np.zeros(NUM_BLOCKS)
    for blocks, labels, shuffled in _dealt_logits(logits, target, []):
        sums += np.asarray(_leep_sums(jnp.asarray(tables), blocks, labels, shuffled))
        counts += (np.asarray(labels) >= 0).sum(axis=1)
    # Without block b: its own table, and the terms of the other blocks.
    own = np.arange(NUM_BLOCKS)
    rest = np.maximum(counts.sum() - counts, 1)
    without = (sums[1 + own].sum(axis=1) - sums[1 + own, own]) / rest
    means = sums.sum(axis=1) / max(counts.sum(), 1)
    entropies = np.asarray(
        jax.vmap(negative_conditional_entropy)(jnp.asarray(label_tables))
    )
    split = 1 + NUM_BLOCKS
    return LogitEstimates(
        Estimate(means[0], without, means[split:]),
        Estimate(entropies[0], entropies[1:split], entropies[split:]),
        tables.shape[-1],
        notes,
    )


def _dealt_logits(batches, target: DealtLabels, notes: list[str]):
    for logits, indices in dealt_logits(batches, target, notes):
        yield jnp.asarray(logits), *labels_at(indices, target)


@jax.jit(static_argnames=("num_classes",))
def _tables(logits, labels, shuffled, *, num_classes):
    """Tables of probability and of predicted labels: by block, then by shuffle."""
    num_source = logits.shape[-1]
    probs = jax.nn.softmax(logits)

    def tables(probs, labels):
        counts = label_table(
            jnp.argmax(probs, axis=-1),
            labels,
            num_source_classes=num_source,
            num_classes=num_classes,
        )
        return probability_table(probs, labels, num_classes=num_classes), counts

    by_block = jax.vmap(tables)(probs, labels)
    flat = probs.reshape(-1, num_source)
    by_shuffle = jax.lax.map(lambda labels: tables(flat, labels.reshape(-1)), shuffled)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), by_block, by_shuffle)


def _variants(tables: np.ndarray) -> np.ndarray:
    """From block and shuffle tables: of all, without each block, of each shuffle."""
    blocks, shuffled = tables[:NUM_BLOCKS], tables[NUM_BLOCKS:]
    whole = blocks.sum(axis=0)
    without = [np.delete(blocks, b, axis=0).sum(axis=0) for b in range(NUM_BLOCKS)]
    return np.concatenate([whole[None], without, shuffled])


@jax.jit
def _leep_sums(tables, logits, labels, shuffled):
    """Sums of LEEP's terms by table and block, `[1 + blocks + shuffles, blocks]`."""
    probs = jax.nn.softmax(logits)
    repeated = jnp.broadcast_to(labels, (1 + NUM_BLOCKS, *labels.shape))
    all_labels = jnp.concatenate([repeated, shuffled])

    def sums(table, labels):
        terms = jax.vmap(log_expected_predictions, in_axes=(None, 0, 0))
        return terms(table, probs, labels).sum(axis=1)

    return jax.lax.map(lambda pair: sums(*pair), (tables, all_labels))
