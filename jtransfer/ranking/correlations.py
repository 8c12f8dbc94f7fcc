"""Agreement of scores with accuracies: correlations and the price of a choice."""

import numpy as np
from jax.typing import ArrayLike


def pearson(a: ArrayLike, b: ArrayLike) -> float:
    """Returns the linear correlation of two lists, 0 where one of them is constant.

    Args:
      a: numbers, shape ``[n]``.
      b: numbers, shape ``[n]``.

    Returns:
      The correlation in ``[-1, 1]``.

    Raises:
      ValueError: if the lists are not of one length.

    Example:
      >>> round(pearson([1, 2, 3], [2, 4, 6]), 6)
      1.0
    """
    a, b = _lists(a, b)
    if _constant(a) or _constant(b):
        return 0.0
    # In units in which no square overflows.
    a, b = (x / np.abs(x).max() for x in (a, b))
    a, b = (x - x.mean() for x in (a, b))
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1, 1))


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Returns the correlation of the ranks, ties averaged; 0 where one is constant.

    Args:
      a: numbers, shape ``[n]``; infinities are legal.
      b: numbers, shape ``[n]``.

    Returns:
      The correlation in ``[-1, 1]``.

    Raises:
      ValueError: if the lists are not of one length.

    Example:
      >>> round(spearman([1, 2, 3], [1, 4, 9]), 6)
      1.0
    """
    a, b = _lists(a, b)
    return pearson(_average_ranks(a), _average_ranks(b))


def _average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 on, of equal values their mean, as `scipy.stats.rankdata` has them.

    That package alone takes half a second to import, which most requests need not wait
    for.
    """
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def weighted_kendall(a: ArrayLike, b: ArrayLike) -> float:
    """Returns the share of concordant pairs, those at the top counting more.

    Each pair has the sum of the hyperbolic weights ``1 / (rank + 1)`` of its members,
    averaged over ranking by `a` and by `b`.

    Args:
      a: numbers, shape ``[n]``.
      b: numbers, shape ``[n]``.

    Returns:
      The correlation in ``[-1, 1]``; 0 where one of the lists is constant.

    Raises:
      ValueError: if the lists are not of one length.

    Example:
      >>> round(weighted_kendall([1, 2, 3], [1, 4, 9]), 6)
      1.0

    References:
      Vigna, "A weighted correlation index for rankings with ties", 2015.
    """
    a, b = _lists(a, b)
    if _constant(a) or _constant(b):
        return 0.0
    import scipy.stats

    return float(scipy.stats.weightedtau(a, b).statistic)


def dcg(scores: ArrayLike, relevance: ArrayLike) -> float:
    r"""Returns the discounted cumulative gain of an order by descending score.

    .. math:: \sum_{p \ge 1} \frac{\mathrm{relevance}_{(p)}}{\log_2(p + 1)};

    tied items share the mean of their relevances.

    Args:
      scores: what the items are ordered by, shape ``[n]``.
      relevance: what each item is worth, shape ``[n]``.

    Returns:
      The gain, in units of relevance.

    Raises:
      ValueError: if the lists are not of one length.

    Example:
      >>> round(dcg([0.1, 0.9], [1.0, 2.0]), 3)
      2.631

    References:
      Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002.
    """
    scores, relevance = _lists(scores, relevance)
    _, groups = np.unique(-scores, return_inverse=True)
    mean = np.bincount(groups, relevance) / np.bincount(groups)
    gains = mean[np.sort(groups)]
    return float(np.sum(gains / np.log2(np.arange(len(gains)) + 2)))


def top_k_regret(scores: ArrayLike, accuracies: ArrayLike, *, k: int) -> float:
    """Returns the accuracy lost by the best of the k first against the best of all.

    Of items with tied scores the worst counts first: a score that ranks nothing earns
    nothing by the order of the list.

    Args:
      scores: what the items are ordered by, descending, shape ``[n]``.
      accuracies: accuracy of each item, shape ``[n]``.
      k: how many items one can afford to try.

    Returns:
      The regret, not negative, in units of accuracy.

    Raises:
      ValueError: if the lists are not of one length, or `k` is less than 1.

    Example:
      >>> top_k_regret([3, 2, 1], [0.5, 0.75, 0.25], k=1)
      0.25
    """
    scores, accuracies = _lists(scores, accuracies)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    order = np.lexsort((accuracies, -scores))
    return float(accuracies.max() - accuracies[order[:k]].max())


def _lists(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise ValueError(f"Need two lists of one length, got {a.shape} and {b.shape}.")
    return a, b


def _constant(a: np.ndarray) -> bool:
    return bool(a.max() == a.min())
