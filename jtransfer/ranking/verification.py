"""Check a ranking: train a head on each source and see which was best."""

import dataclasses

import jax
import numpy as np

from jtransfer import transfer
from jtransfer._internal.errors import DataError, SourceError
from jtransfer._internal.memory import memory_fault
from jtransfer.data import Texts
from jtransfer.intervals import dealt_groups, proportion_interval, stratified_part
from jtransfer.ranking.rows import Verified
from jtransfer.scores import probes
from jtransfer.training import NonFiniteLoss
from jtransfer.zoo import Source, Target, pieces, target_examples_at

WEIGHT_DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Penalties of the head; the one that does best on a fifth of its training examples."""
_PARTS = 5
MAX_EXAMPLES = 20_000
"""Examples that a head is trained on, and tested on, at most, and so kept in memory."""


def without_test_part(target: Target, *, seed: int) -> Target:
    """Sets aside a stratified fifth of the examples, if a target has no test part.

    Of a target with groups it is a fifth of the groups.

    Args:
      target: the target.
      seed: of the draw.

    Returns:
      The target as it is if it has test labels of its own; otherwise with the label -1
      in the fifth, which so takes part in no score.
    """
    if target.test_labels is not None:
        return target
    labels = target.labels.copy()
    rng = np.random.default_rng([seed, 4])
    labels[_fifth(labels, target.groups, rng)] = -1
    return target._replace(labels=labels)


def head_accuracy(source: Source, target: Target, *, seed: int) -> Verified:
    """Trains a linear softmax head on a source's features and tests it.

    The head sees the examples that the scores see. Its weight decay is chosen on a
    fifth of them; the test part takes part in no decision.

    Args:
      source: a source with features, and `test_features` if the target has labels for
        them.
      target: the target as it was before `without_test_part`.
      seed: as in `without_test_part`.

    Returns:
      The accuracy on the test part with its 95% interval after Wilson.

    Raises:
      SourceError: if the features cannot be read.
    """
    reduced = without_test_part(target, seed=seed)
    if source.features is None:
        raise SourceError("A head needs features, which the source lacks.")
    rng = np.random.default_rng([seed, 5])
    used = _drawn(reduced.labels >= 0, rng)
    if target.test_labels is None:
        held_out = _drawn((reduced.labels < 0) & (target.labels >= 0), rng)
        kept = np.concatenate([used, held_out])
        rows = _kept(source.features, len(target.labels), kept)
        train, test = rows[: len(used)], rows[len(used) :]
        test_labels = target.labels[held_out]
    elif source.test_features is None:
        raise SourceError("The target has test_labels, the source no test_features.")
    else:
        train = _kept(source.features, len(target.labels), used)
        tested = _drawn(np.ones(len(target.test_labels), bool), rng)
        test = _kept(source.test_features, len(target.test_labels), tested)
        test_labels = target.test_labels[tested]
    if not len(test_labels):
        raise SourceError("Too few examples to set some aside for a test.")
    if train.shape[1] != test.shape[1]:
        raise SourceError(
            f"test_features have {test.shape[1]} columns, features {train.shape[1]}."
        )
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        correct = _correct(
            train,
            reduced.labels[used],
            None if target.groups is None else target.groups[used],
            test,
            test_labels,
            target.num_classes,
            rng,
        )
    return _verified(correct, "linear head")


def fine_tuned_accuracy(source: Source, target: Target, *, seed: int) -> Verified:
    """Fine-tunes the whole of a source that is a network, and tests it.

    Images by the settings of `transfer.fine_tune_network`, texts by the preset `cpu`
    with `transfer.with_enough_steps`.

    Args:
      source: a source with a network, of images or of texts.
      target: the target as it was before `without_test_part`, with such examples.
      seed: as in `without_test_part`.

    Returns:
      As `head_accuracy`.

    Raises:
      SourceError: if the source is no network, or the target has no such examples.
    """
    is_text = source.text_network is not None
    examples = target.texts if is_text else target.images
    if examples is None or not (is_text or source.network is not None):
        raise SourceError(
            "Fine-tuning needs a network, and a target with images, or texts for one "
            "of texts."
        )
    reduced = without_test_part(target, seed=seed)
    used = np.flatnonzero(reduced.labels >= 0)
    test, test_labels = (
        target.test_texts if is_text else target.test_images,
        target.test_labels,
    )
    if target.test_labels is None:
        held_out = np.flatnonzero(reduced.labels < 0)
        test, test_labels = (
            target_examples_at(examples, held_out),
            target.labels[held_out],
        )
    if not len(test_labels):
        raise SourceError("Too few examples to set some aside for a test.")
    train, labels = target_examples_at(examples, used), reduced.labels[used]
    names = target.class_names
    try:
        if is_text:
            network = source.text_network()
            recipe = dataclasses.replace(
                transfer.with_enough_steps(transfer.TEXT_PRESETS["cpu"], len(train)),
                num_tokens=network.architecture.num_tokens,
            )
            network = transfer.fine_tune_text_network(
                network, Texts(train, labels, names), recipe=recipe, seed=seed
            )
            correct = transfer.are_right(network, Texts(test, test_labels, names))
        else:
            network = transfer.fine_tune_network(
                source.network(), train, labels, names, seed=seed
            )
            correct = transfer.is_classified_correctly(network, test, test_labels)
    except DataError as error:
        raise SourceError(str(error)) from error
    except NonFiniteLoss as error:
        raise SourceError(f"Fine-tuning diverges: {error}") from error
    return _verified(correct, "fine-tuning")


def _verified(correct: np.ndarray, how: str) -> Verified:
    value, low, high = proportion_interval(int(correct.sum()), len(correct))
    return Verified(
        accuracy=value,
        accuracy_low=low,
        accuracy_high=high,
        num_test=len(correct),
        verified_by=how,
    )


def _correct(train, labels, groups, test, test_labels, num_classes, rng) -> np.ndarray:
    train, test = np.asarray(train, np.float64), np.asarray(test, np.float64)
    spread = train.std(axis=0)
    scale = np.where(spread > 0, spread, 1)
    train, test = ((x - train.mean(axis=0)) / scale for x in (train, test))
    fitting = labels.copy()
    fitting[_fifth(labels, groups, rng)] = -1
    validation = np.where(fitting < 0, labels, -1)

    def fitted(labels, weight_decay):
        return probes.softmax_classifier(
            train, labels, num_classes=num_classes, weight_decay=weight_decay
        )

    def hits(weight_decay):
        head = fitted(fitting, weight_decay)
        return int(np.asarray(probes.is_correct(head, train, validation)).sum())

    # Of equal penalties the strongest.
    best = max(WEIGHT_DECAYS, key=lambda decay: (hits(decay), decay))
    return np.asarray(probes.is_correct(fitted(labels, best), test, test_labels))


def _fifth(labels: np.ndarray, groups: np.ndarray | None, rng) -> np.ndarray:
    """Positions of a fifth of each class; of two examples one, of a single one none.

    With groups, of a fifth of the groups, alike in classes where they allow it.
    """
    if groups is not None:
        used = np.flatnonzero(labels >= 0)
        parts = dealt_groups(groups[used], labels[used], _PARTS, rng)
        return used[parts == 0]
    return stratified_part(
        labels, lambda count: max(1, round(count / 5)) if count > 1 else 0, rng
    )


def _drawn(used: np.ndarray, rng) -> np.ndarray:
    """Positions of at most `MAX_EXAMPLES` of the examples in use, in order."""
    return np.sort(rng.permutation(np.flatnonzero(used))[:MAX_EXAMPLES])


def _kept(batches, n: int, positions: np.ndarray) -> np.ndarray:
    """Rows of a stream at some positions; the others are not kept in memory."""
    rows_kept, seen = [], 0
    order = np.argsort(positions, kind="stable")
    ascending = positions[order]
    for piece in pieces(batches):
        if piece.ndim != 2 or (rows_kept and piece.shape[1] != rows_kept[0].shape[1]):
            raise SourceError("features must be [n, d] with one d.")
        if not rows_kept:
            # The rows, in order, in float64, and scaled.
            size = len(positions) * piece.shape[1]
            fault = memory_fault(size * (2 * piece.itemsize + 16))
            if fault is not None:
                raise SourceError(f"It {fault}: {len(positions)} examples are held.")
        inside = (ascending >= seen) & (ascending < seen + len(piece))
        rows_kept.append(piece[ascending[inside] - seen])
        seen += len(piece)
    if seen != n:
        raise SourceError(f"test or training features have {seen} rows, not {n}.")
    rows = np.concatenate(rows_kept)[np.argsort(order, kind="stable")]
    if not np.isfinite(rows).all():
        raise SourceError("features hold NaN or infinite values.")
    return rows
