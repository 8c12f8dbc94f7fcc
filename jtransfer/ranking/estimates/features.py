"""One pass over a source: every score's value, its jackknife and its chance level.

Examples fall at random into ten blocks alike in size and classes. Moments and tables of
the blocks give the score without each block in turn, whose spread is the standard
error; sums by twenty shuffles of the labels, gathered in the same pass, give the level
of chance.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer._internal.errors import SourceError
from jtransfer._internal.memory import memory_fault
from jtransfer.intervals import NUM_BLOCKS, NUM_SHUFFLES, DealtLabels, Estimate
from jtransfer.moments import Moments, class_moments, empty_moments, merge
from jtransfer.ranking.estimates.batches import BATCH_ROWS, dealt_rows, labels_at
from jtransfer.scores import probes

MAX_PROBED = 5000
"""Examples on which the probe is tested, at most; they are kept in memory."""


class FeatureStatistics(NamedTuple):
    """Statistics of a source's features, from one pass over them."""

    blocks: Moments
    """Moments of each block, arrays with a leading axis `NUM_BLOCKS`."""
    shuffled: Moments
    """Moments of all examples; the class sums and squares have a leading axis of
    shuffles, the rest is shared, and so is any factorisation of it."""
    shuffled_rest: Moments
    """The same without the first block."""
    rows: np.ndarray
    """Features of the probed examples, `[p, d]`."""
    row_indices: np.ndarray
    """Their positions in the target, `[p]`."""
    row_blocks: np.ndarray
    """Their blocks, `[p]`."""
    num_copies: int = 0
    """Examples whose features another one has already."""


BY_SHUFFLE = Moments(None, None, None, 0, 0, None, None)
_BY_SHUFFLE_AND_COUNT = BY_SHUFFLE._replace(counts=0)


def feature_statistics(batches: Iterable, target: DealtLabels) -> FeatureStatistics:
    """Reads a source's features once.

    Args:
      batches: features `[n, d]`, an array or an iterable of arrays.
      target: the labels.

    Returns:
      The statistics; the memory is that of `3 NUM_BLOCKS` scatter matrices, of
      `NUM_SHUFFLES` sets of class sums and of one batch, whatever `n`.

    Raises:
      SourceError: if the features are too few, too many or not finite, or if the
        statistics cannot fit in the memory.
    """
    is_probed = _probed(target)
    kept, kept_indices, kept_blocks, hashes = [], [], [], []
    state = None
    for rows, indices in dealt_rows(batches, target, "features"):
        if state is None:
            _check_memory(rows.shape[-1], target)
            state = _empty_state(rows.shape[-1], target.num_classes)
            shift = jnp.asarray(rows[indices >= 0].mean(axis=0))
        labels, shuffled = labels_at(indices, target)
        state = _accumulated(
            state,
            jnp.asarray(rows),
            labels,
            shuffled,
            shift,
            num_classes=target.num_classes,
        )
        chosen = (indices >= 0) & is_probed[indices]
        kept.append(rows[chosen])
        kept_indices.append(indices[chosen])
        kept_blocks.append(np.nonzero(chosen)[0])
        hashes.append(_row_hashes(rows[indices >= 0]))
    shuffled, shuffled_rest = _shuffled_moments(state, shift)
    return FeatureStatistics(
        state.blocks,
        shuffled,
        shuffled_rest,
        np.concatenate(kept),
        np.concatenate(kept_indices),
        np.concatenate(kept_blocks),
        sum(map(len, hashes)) - len(np.unique(np.concatenate(hashes))),
    )


def moment_estimates(
    functions: tuple[Callable, ...], statistics: FeatureStatistics
) -> list[Estimate]:
    """Evaluates scores of moments: all together, so that they share their work."""
    whole = _scores(functions, _united(statistics.blocks))
    without = [
        _scores(functions, _without(statistics.blocks, block))
        for block in range(NUM_BLOCKS)
    ]
    shuffled = _shuffled_scores(functions, statistics.shuffled)
    return [
        Estimate(
            np.asarray(whole[i]),
            np.asarray([scores[i] for scores in without]),
            np.asarray(shuffled[i]),
        )
        for i in range(len(functions))
    ]


def probe_estimate(statistics: FeatureStatistics, target: DealtLabels) -> Estimate:
    """Evaluates the ridge probe on each block, fitted on the nine others.

    Under shuffled labels one block is held out, so that one factorisation serves all.
    """
    counts = np.bincount(
        target.labels[target.labels >= 0], minlength=target.num_classes
    )
    indices, blocks = statistics.row_indices, statistics.row_blocks
    labels, rows = target.labels[indices], statistics.rows
    correct = np.zeros(len(labels))
    for block in range(NUM_BLOCKS):
        held_out = blocks == block
        moments = _without(statistics.blocks, block)
        classifier = _ridge_classifier(moments)
        outputs = _outputs(classifier, rows[held_out], _shift(counts, moments.counts))
        correct[held_out] = outputs.argmax(axis=1) == labels[held_out]
    sums = np.bincount(blocks, correct, minlength=NUM_BLOCKS)
    sizes = np.bincount(blocks, minlength=NUM_BLOCKS)
    rest = np.maximum(sizes.sum() - sizes, 1)

    first = blocks == 0
    weights, bias = _shuffled_classifiers(statistics.shuffled_rest)
    shuffled = []
    for own, offset, left, other in zip(
        np.asarray(weights),
        np.asarray(bias),
        np.asarray(statistics.shuffled_rest.counts),
        target.shuffled,
        strict=True,
    ):
        outputs = _outputs((own, offset), rows[first], _shift(counts, left))
        shuffled.append((outputs.argmax(axis=1) == other[indices[first]]).mean())
    replicates = (sums.sum() - sums) / rest
    # A tenth of the examples has sqrt(10) times the spread of all of them; and who
    # always says the most frequent class is right as often as that class occurs.
    chance = np.mean(shuffled)
    shuffled = chance + (np.asarray(shuffled) - chance) / NUM_BLOCKS**0.5
    shuffled = np.maximum(shuffled, counts.max() / counts.sum())
    return Estimate(np.asarray(correct.mean()), replicates, shuffled)


class _State(NamedTuple):
    blocks: Moments
    sums: jax.Array  # by shuffle and class, about the shift; [2, S, C, d]:
    squares: jax.Array  # all examples, then the first block
    first_counts: jax.Array  # [S, C] of the first block


def _empty_state(num_features: int, num_classes: int) -> _State:
    dtype = jnp.result_type(float)
    empty = empty_moments(num_features, num_classes=num_classes, dtype=dtype)
    empty = empty._replace(within=None)  # In float64 the scatter loses nothing.
    blocks = jax.tree.map(lambda leaf: jnp.stack([leaf] * NUM_BLOCKS), empty)
    shape = (2, NUM_SHUFFLES, num_classes, num_features)
    counts = jnp.zeros((NUM_SHUFFLES, num_classes), jnp.int32)
    return _State(blocks, jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), counts)


def statistics_bytes(d: int, num_classes: int, n: int) -> int:
    """Returns the memory that the statistics take at their peak, in bytes, at least.

    Args:
      d: features.
      num_classes: classes of the target.
      n: examples.
    """
    scatters = 4 * NUM_BLOCKS * d**2  # Of the state, of a batch, and of their union.
    sums = 6 * NUM_SHUFFLES * num_classes * d
    rows = (4 * min(n, BATCH_ROWS) + 2 * min(n, MAX_PROBED)) * d
    return np.dtype(float).itemsize * (scatters + sums + rows)


def _check_memory(d: int, target: DealtLabels) -> None:
    if jax.default_backend() != "cpu":  # There it is the accelerator's.
        return
    needed = statistics_bytes(d, target.num_classes, len(target.labels))
    fault = memory_fault(needed)
    if fault is not None:
        raise SourceError(
            f"It {fault}: {d} features and {target.num_classes} classes; pool or "
            "project the features first."
        )


def _row_hashes(rows: np.ndarray) -> np.ndarray:
    """64 bits `[n]` of each row of float64 `[n, d]`: equal rows have equal ones."""
    bits = (rows + 0.0).view(np.uint64)  # Minus zero becomes zero.
    multipliers = np.random.default_rng(0).integers(
        2**63, size=rows.shape[1], dtype=np.uint64
    )
    # The low bits of most numbers are zero, and a product keeps them so.
    bits ^= bits >> np.uint64(32)
    return bits @ (2 * multipliers + 1)


def _probed(target: DealtLabels) -> np.ndarray:
    used = np.flatnonzero(target.labels >= 0)
    rng = np.random.default_rng([target.seed, 2])
    probed = rng.choice(used, size=min(MAX_PROBED, len(used)), replace=False)
    return np.isin(np.arange(len(target.labels)), probed)


@jax.jit(static_argnames=("num_classes",), donate_argnames=("state",))
def _accumulated(state, rows, labels, shuffled, shift, *, num_classes) -> _State:
    def moments(rows, labels):
        batch = class_moments(rows, labels, num_classes=num_classes)
        return batch._replace(within=None)

    blocks = jax.vmap(merge)(state.blocks, jax.vmap(moments)(rows, labels))
    num_rows, d = rows.shape[1:]
    centred = (rows - shift[None, None]).reshape(-1, d)
    both = jnp.concatenate([centred, centred**2], axis=1)

    def by_class(labels):
        # One class more takes the rows without a label. A product with the one-hot
        # labels would cost C times as much.
        labels = jnp.where(labels < 0, num_classes, labels).reshape(-1)
        parts = both[:num_rows], both[num_rows:]
        first, rest = (
            jax.ops.segment_sum(part, part_labels, num_classes + 1)[:num_classes]
            for part, part_labels in zip(
                parts, (labels[:num_rows], labels[num_rows:]), strict=True
            )
        )
        counts = jnp.bincount(labels[:num_rows], length=num_classes + 1)[:num_classes]
        return jnp.stack([first + rest, first]), counts

    sums, first_counts = jax.lax.map(by_class, shuffled)
    sums = sums.swapaxes(0, 1)
    return _State(
        blocks,
        state.sums + sums[..., :d],
        state.squares + sums[..., d:],
        state.first_counts + first_counts.astype(jnp.int32),
    )


@jax.jit
def _shuffled_moments(state: _State, shift) -> tuple[Moments, Moments]:
    whole = _united(state.blocks)
    rest = _without(state.blocks, 0)
    rest_counts = whole.counts[None] - state.first_counts
    rest = rest._replace(counts=rest_counts)
    return (
        _with_sums(whole, whole.counts[None], state.sums[0], state.squares[0], shift),
        _with_sums(
            rest,
            rest_counts,
            state.sums[0] - state.sums[1],
            state.squares[0] - state.squares[1],
            shift,
        ),
    )


def _with_sums(moments: Moments, counts, sums, squares, shift) -> Moments:
    counts = counts.astype(sums.dtype)[..., None]
    within = squares - sums**2 / jnp.maximum(counts, 1)
    return moments._replace(
        class_sums=sums - counts * (moments.mean - shift)[None, None],
        class_squares=jnp.maximum(within, 0),
    )


@jax.jit
def _united(blocks: Moments) -> Moments:
    first = jax.tree.map(lambda leaf: leaf[0], blocks)
    others = jax.tree.map(lambda leaf: leaf[1:], blocks)
    return jax.lax.scan(lambda a, b: (merge(a, b), None), first, others)[0]


@jax.jit
def _without(blocks: Moments, block) -> Moments:
    others = (block + 1 + jnp.arange(NUM_BLOCKS - 1)) % NUM_BLOCKS
    return _united(jax.tree.map(lambda leaf: leaf[others], blocks))


@jax.jit(static_argnames=("functions",))
def _scores(functions, moments: Moments):
    return [function(moments) for function in functions]


@jax.jit(static_argnames=("functions",))
def _shuffled_scores(functions, moments: Moments):
    return [jax.vmap(f, in_axes=(BY_SHUFFLE,))(moments) for f in functions]


_ridge_classifier = jax.jit(probes.ridge_classifier)


@jax.jit
def _shuffled_classifiers(moments: Moments):
    return jax.vmap(probes.ridge_classifier, in_axes=(_BY_SHUFFLE_AND_COUNT,))(moments)


def _shift(counts: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Factors of the outputs, which make up for what a block took from each class.

    The output of a class is its share of the training examples times what does not
    depend on that share. Of two examples of a class one is left where the other is
    tested: without this it would lose to every class that keeps both.
    """
    left = np.asarray(left)
    share, kept = counts / counts.sum(), left / max(left.sum(), 1)
    return np.where(left > 0, share / np.where(left > 0, kept, 1), 1)


def _outputs(classifier, rows: np.ndarray, shift: np.ndarray) -> np.ndarray:
    weights, bias = classifier
    return (rows @ np.asarray(weights) + np.asarray(bias)) * shift
