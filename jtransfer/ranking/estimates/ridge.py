"""The ridge probe: accuracy on each block of classifiers fitted on the others."""

import numpy as np

from jtransfer.intervals import NUM_BLOCKS, DealtLabels, Estimate
from jtransfer.ranking.estimates.features import FeatureStatistics
from jtransfer.ranking.estimates.scaled import Classifier


def probe_estimate(
    classifiers: list[list[Classifier]],
    statistics: FeatureStatistics,
    target: DealtLabels,
) -> Estimate:
    """Evaluates the ridge probe on each block, fitted on the nine others.

    Under shuffled labels one block is held out, so that one factorisation serves all.

    Args:
      classifiers: of `moment_estimates`.
      statistics: of the features.
      target: the labels.
    """
    counts = np.bincount(
        target.labels[target.labels >= 0], minlength=target.num_classes
    )
    indices, blocks = statistics.row_indices, statistics.row_blocks
    labels, rows = target.labels[indices], statistics.rows
    correct = np.zeros(len(labels))
    for block, (own, *_) in enumerate(classifiers):
        held_out = blocks == block
        left = counts - statistics.blocks[block].counts
        outputs = _outputs(own, rows[held_out], _shift(counts, left))
        correct[held_out] = outputs.argmax(axis=1) == labels[held_out]
    sums = np.bincount(blocks, correct, minlength=NUM_BLOCKS)
    sizes = np.bincount(blocks, minlength=NUM_BLOCKS)
    rest = np.maximum(sizes.sum() - sizes, 1)

    first, shuffled = blocks == 0, []
    _, *by_chance = classifiers[0]
    for classifier, taken, other in zip(
        by_chance, statistics.shuffled.first_counts, target.shuffled, strict=True
    ):
        shift = _shift(counts, counts - taken)
        outputs = _outputs(classifier, rows[first], shift)
        shuffled.append((outputs.argmax(axis=1) == other[indices[first]]).mean())
    replicates = (sums.sum() - sums) / rest
    # A tenth of the examples has sqrt(10) times the spread of all of them; and who
    # always says the most frequent class is right as often as that class occurs.
    chance = np.mean(shuffled)
    shuffled = chance + (np.asarray(shuffled) - chance) / NUM_BLOCKS**0.5
    shuffled = np.maximum(shuffled, counts.max() / counts.sum())
    return Estimate(np.asarray(correct.mean()), replicates, shuffled)


def _shift(counts: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Factors of the outputs, which make up for what a block took from each class.

    The output of a class is its share of the training examples times what does not
    depend on that share. Of two examples of a class one is left where the other is
    tested: without this it would lose to every class that keeps both.
    """
    share, kept = counts / counts.sum(), left / max(left.sum(), 1)
    return np.where(left > 0, share / np.where(left > 0, kept, 1), 1)


def _outputs(classifier, rows: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return (rows @ classifier.weights + classifier.bias) * shift
