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
    distances = []
    for i in range(len(means) - 1):
        average = (variances[i + 1 :] + variances[i]) / 2
        gaps = np.sum((means[i + 1 :] - means[i]) ** 2 / average, axis=1) / 8
        spread = _log_products(average) - (logs[i + 1 :] + logs[i]) / 2
        distances.append(gaps + spread / 2)
    distances = np.concatenate(distances)
    nearest = distances.min()
    # Of ordered pairs, each twice.
    return float(nearest - np.log(2 * np.exp(nearest - distances).sum()))


def _log_products(positive: np.ndarray) -> np.ndarray:
    """Sums of logarithms of the rows, `[k]`."""
    unused = -positive.shape[1] % _FACTORS
    filled = np.pad(positive, ((0, 0), (0, unused)), constant_values=1.0)
    factors = filled.reshape(len(filled), filled.shape[1] // _FACTORS, _FACTORS)
    return np.log(factors.prod(axis=2)).sum(axis=1)
