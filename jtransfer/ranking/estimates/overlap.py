"""The Bhattacharyya score of many sets of class statistics, on the host."""

import numpy as np

from jtransfer.ranking.estimates.subsets import Subset

_FACTORS = 8
_LEAST = 1e-6


def bhattacharyya_scores(
    subset: Subset, counts: np.ndarray, class_sums: np.ndarray, class_squares
) -> np.ndarray:
    """Returns the Bhattacharyya score of each set of classes, `[g]`.

    The value is that of `scores.bhattacharyya`; a logarithm is taken of products of
    eight variances at once, which lie between a millionth and `n`.

    Args:
      subset: whose features they are statistics of.
      counts: sizes of the classes, `[g, C]`.
      class_sums: about the mean of all, `[g, C, d]`.
      class_squares: squared deviations from the class's mean, `[g, C, d]`.
    """
    varies = subset.varies
    variance = subset.spreads[varies] / max(subset.n, 1)
    scores = []
    for sizes, sums, squares in zip(counts, class_sums, class_squares, strict=True):
        present = np.flatnonzero(sizes > 0)
        n = sizes[present, None]
        means = sums[present][:, varies] / n / np.sqrt(variance)
        variances = np.maximum(squares[present][:, varies] / n / variance, _LEAST)
        scores.append(_score(means, variances))
    return np.array(scores)


def _score(means: np.ndarray, variances: np.ndarray) -> float:
    """The score of classes that occur, from means and variances `[C, d]`."""
    if len(means) < 2:
        return 0.0
    logs = _log_products(variances)
    sums, gaps = np.empty((2, *means.shape))
    distances = []
    for i in range(len(means) - 1):
        others = slice(i + 1, None)
        total = np.add(variances[others], variances[i], out=sums[others])
        gap = np.subtract(means[others], means[i], out=gaps[others])
        gap *= gap
        gap /= total
        total /= 2
        spread = _log_products(total) - (logs[others] + logs[i]) / 2
        distances.append(gap.sum(axis=1) / 4 + spread / 2)
    distances = np.concatenate(distances)
    nearest = distances.min()
    # Of ordered pairs, each twice.
    return float(nearest - np.log(2 * np.exp(nearest - distances).sum()))


def _log_products(positive: np.ndarray) -> np.ndarray:
    """Sums of logarithms of the rows, `[k]`."""
    width = positive.shape[1] // _FACTORS
    filled = positive[:, : _FACTORS * width].reshape(len(positive), _FACTORS, width)
    logs = np.log(filled.prod(axis=1)).sum(axis=1)
    return logs + np.log(positive[:, _FACTORS * width :].prod(axis=1))
