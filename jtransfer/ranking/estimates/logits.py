"""LEEP, with and without each example, and NCE of a source's logits, with intervals.

On the host, in float64: the sums of `scores.leep`, `scores.leave_one_out_leep` and
`scores.nce`, without a program to compile for each number of classes.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from jtransfer._internal.errors import SourceError
from jtransfer._internal.memory import memory_fault
from jtransfer.intervals import NUM_BLOCKS, NUM_SHUFFLES, DealtLabels, Estimate
from jtransfer.ranking.estimates.batches import dealt_logits
from jtransfer.ranking.estimates.sums import membership

_TINY = np.finfo(float).tiny


class LogitEstimates(NamedTuple):
    """The scores of a source's own predictions."""

    leep: Estimate
    leave_one_out: Estimate | None
    """`leave_one_out_leep`, if it was asked for."""
    nce: Estimate
    num_source_classes: int
    warnings: list[str]


class _Batch(NamedTuple):
    probs: np.ndarray  # [n, Z]
    blocks: np.ndarray  # [n]
    labels: np.ndarray  # [n]
    shuffled: np.ndarray  # [NUM_SHUFFLES, n]


def logit_estimates(
    logits: Callable[[], Iterable],
    target: DealtLabels,
    *,
    leave_one_out: bool = False,
) -> LogitEstimates:
    """Evaluates LEEP and NCE from two passes over a source's logits.

    Args:
      logits: returns logits `[n, Z]`, an array or an iterable of arrays, each time it
        is called.
      target: the labels.
      leave_one_out: whether `leave_one_out_leep` is computed, which takes as long as
        LEEP once more.

    Returns:
      The estimates.

    Raises:
      SourceError: if the logits are too few, too many or not finite, or if their
        tables cannot fit in the memory.
    """
    c = target.num_classes
    notes: list[str] = []
    tables = None
    for batch in _batches(logits, target, notes):
        if tables is None:
            shape = (NUM_BLOCKS + NUM_SHUFFLES, c, batch.probs.shape[1])
            _check_memory(shape)
            tables, label_tables = np.zeros(shape), np.zeros(shape)
            class_counts = np.zeros((*shape[:2], 1))
        _add_tables(tables, label_tables, batch)
        _add_counts(class_counts, batch)
    tables, label_tables = _variants(tables), _variants(label_tables)
    class_counts = _variants(class_counts)[..., 0]
    shape = len(tables), NUM_BLOCKS
    sums, left_out, counts = np.zeros(shape), np.zeros(shape), np.zeros(NUM_BLOCKS)
    for batch in _batches(logits, target, []):
        sums += _leep_sums(tables, batch)
        if leave_one_out:
            left_out += _leave_one_out_sums(tables, class_counts, batch)
        counts += np.bincount(batch.blocks, minlength=NUM_BLOCKS)
    entropies = negative_conditional_entropies(label_tables)
    split = 1 + NUM_BLOCKS
    return LogitEstimates(
        _estimate(sums, counts),
        _estimate(left_out, counts) if leave_one_out else None,
        Estimate(entropies[0], entropies[1:split], entropies[split:]),
        tables.shape[-1],
        notes,
    )


def _estimate(sums: np.ndarray, counts: np.ndarray) -> Estimate:
    """The mean of terms, from their sums by variant of the table and by block."""
    # Without block b: its own table, and the terms of the other blocks.
    own = np.arange(NUM_BLOCKS)
    rest = np.maximum(counts.sum() - counts, 1)
    without = (sums[1 + own].sum(axis=1) - sums[1 + own, own]) / rest
    means = sums.sum(axis=1) / max(counts.sum(), 1)
    return Estimate(means[0], without, means[1 + NUM_BLOCKS :])


def _check_memory(shape: tuple[int, int, int]) -> None:
    """Two tables, and of each the sums without a block, with temporaries."""
    fault = memory_fault(8 * np.dtype(float).itemsize * math.prod(shape))
    if fault is not None:
        _, num_classes, num_source = shape
        raise SourceError(
            f"It {fault}: logits of {num_source} classes for {num_classes} classes; "
            "leave the logits out, or merge their classes."
        )


def _batches(batches, target: DealtLabels, notes: list[str]) -> Iterator[_Batch]:
    """Yields the examples in use, with the probabilities of the source's classes."""
    for logits, indices in dealt_logits(batches, target, notes):
        used = (indices >= 0) & (target.labels[indices] >= 0)
        at = indices[used]
        yield _Batch(
            softmax(logits[used], axis=1),
            np.nonzero(used)[0],
            target.labels[at],
            target.shuffled[:, at],
        )


def _add_tables(tables: np.ndarray, label_tables: np.ndarray, batch: _Batch) -> None:
    """Adds masses and numbers of the source's classes: by block, then by shuffle."""
    num_classes, num_source = tables.shape[1:]
    predicted = membership(batch.probs.argmax(axis=1), num_source).T
    for b in range(NUM_BLOCKS):
        own = batch.blocks == b
        members = membership(batch.labels[own], num_classes)
        tables[b] += members @ batch.probs[own]
        label_tables[b] += members @ predicted[own]
    for s, labels in enumerate(batch.shuffled, start=NUM_BLOCKS):
        members = membership(labels, num_classes)
        tables[s] += members @ batch.probs
        label_tables[s] += members @ predicted


def _variants(tables: np.ndarray) -> np.ndarray:
    """From block and shuffle tables: of all, without each block, of each shuffle."""
    blocks, shuffled = tables[:NUM_BLOCKS], tables[NUM_BLOCKS:]
    whole = blocks.sum(axis=0)
    without = [np.delete(blocks, b, axis=0).sum(axis=0) for b in range(NUM_BLOCKS)]
    return np.concatenate([whole[None], without, shuffled])


def _leep_sums(tables: np.ndarray, batch: _Batch) -> np.ndarray:
    """Sums of LEEP's terms by table and block, `[1 + blocks + shuffles, blocks]`."""
    mass = tables.sum(axis=1, keepdims=True)
    conditional = np.where(mass >= _TINY, tables / np.where(mass >= _TINY, mass, 1), 0)
    own = (batch.labels for _ in range(1 + NUM_BLOCKS))
    sums = []
    for table, labels in zip(conditional, (*own, *batch.shuffled), strict=True):
        expected = np.einsum("nz,nz->n", batch.probs, table[labels])
        logs = np.log(np.maximum(expected, _TINY))
        sums.append(np.bincount(batch.blocks, logs, minlength=NUM_BLOCKS))
    return np.array(sums)


def _add_counts(counts: np.ndarray, batch: _Batch) -> None:
    """Adds numbers of examples of each class: by block, then by shuffle."""
    num_classes = counts.shape[1]
    for b in range(NUM_BLOCKS):
        own = batch.labels[batch.blocks == b]
        counts[b, :, 0] += np.bincount(own, minlength=num_classes)
    for s, labels in enumerate(batch.shuffled, start=NUM_BLOCKS):
        counts[s, :, 0] += np.bincount(labels, minlength=num_classes)


def _leave_one_out_sums(
    tables: np.ndarray, class_counts: np.ndarray, batch: _Batch
) -> np.ndarray:
    """Sums of `leave_one_out_leep`'s terms, as `_leep_sums` has those of LEEP."""
    shares = class_counts / np.maximum(class_counts.sum(axis=1, keepdims=True), 1)
    own = (batch.labels for _ in range(1 + NUM_BLOCKS))
    sums = []
    for table, share, labels in zip(
        tables, shares, (*own, *batch.shuffled), strict=True
    ):
        # Of a block that a table lacks the terms are not used.
        others = np.maximum(table[labels] - batch.probs, 0)
        mass = np.maximum(table.sum(axis=0) - batch.probs, others)
        predicted = (others + share[labels][:, None]) / (mass + 1)
        expected = np.einsum("nz,nz->n", batch.probs, predicted)
        logs = np.log(np.maximum(expected, _TINY))
        sums.append(np.bincount(batch.blocks, logs, minlength=NUM_BLOCKS))
    return np.array(sums)


def negative_conditional_entropies(tables: np.ndarray) -> np.ndarray:
    """Returns `scores.negative_conditional_entropy` of tables `[g, C, Z]`, `[g]`."""
    mass = np.broadcast_to(tables.sum(axis=1, keepdims=True), tables.shape)
    occurs = tables >= _TINY
    logs = np.log(np.where(occurs, tables, 1)) - np.log(np.where(occurs, mass, 1))
    total = tables.sum(axis=(1, 2))
    return (tables * logs).sum(axis=(1, 2)) / np.where(total > 0, total, 1)
