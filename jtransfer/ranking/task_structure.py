"""Structure of tasks from a matrix of H-scores of sources for targets.

Matrices are `[S, T]`: a row a source, a column a target. H-scores of different targets
do not compare, for their ranges differ; each column is therefore seen by itself, or in
units of its largest score.
"""

from typing import NamedTuple

import numpy as np
import scipy.cluster.hierarchy
from numpy.typing import ArrayLike

from jtransfer.ranking.correlations import dcg, spearman


class RankingAgreement(NamedTuple):
    """Agreement of two rankings of the sources, for each target."""

    spearman: np.ndarray
    """Correlation of the ranks, `[T]`."""
    dcg: np.ndarray
    """Discounted cumulative gain of the first ranking, over the largest, `[T]`."""
    chance_dcg: np.ndarray
    """What a random order has on average, `[T]`: far above 0."""


def normalized_h_scores(matrix: ArrayLike) -> np.ndarray:
    """Divides the scores for each target by those of its best source.

    Where the best source is trained on the target itself this estimates the
    transferability of the others.

    Args:
      matrix: H-scores, not negative, shape ``[S, T]``.

    Returns:
      Shares of the best in ``[0, 1]``, shape ``[S, T]``; zeros for a target for which
      all sources have none.

    Raises:
      ValueError: if it is not a matrix of finite numbers with an element.

    Example:
      >>> normalized_h_scores([[2.0, 30.0], [1.0, 40.0]]).tolist()
      [[1.0, 0.75], [0.5, 1.0]]

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Definition 3.
    """
    matrix = _checked("matrix", matrix)
    best = matrix.max(axis=0, keepdims=True)
    return np.where(best > 0, matrix / np.where(best > 0, best, 1), 0)


def task_linkage(matrix: ArrayLike) -> np.ndarray:
    """Clusters the targets by which sources help them.

    Each target is the vector of its normalised H-scores from all sources; clusters
    merge by the mean Euclidean distance of their members (average linkage). The paper
    states neither the distance nor the linkage nor a normalisation.

    Args:
      matrix: H-scores, shape ``[S, T]`` with at least two targets.

    Returns:
      The merges as `scipy.cluster.hierarchy` has them, shape ``[T - 1, 4]``, ordered
      such that neighbouring leaves are alike.

    Raises:
      ValueError: if it is not a matrix of finite numbers with two columns.

    Example:
      >>> matrix = [[1.0, 0.9, 0.1], [0.2, 0.3, 1.0]]
      >>> sorted(task_linkage(matrix)[0, :2].tolist())  # The first two merge first.
      [0.0, 1.0]

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, section 5.2 and Figure 7.
    """
    shares = normalized_h_scores(matrix)
    if shares.shape[1] < 2:
        raise ValueError(f"matrix must have two targets, got shape {shares.shape}.")
    return scipy.cluster.hierarchy.linkage(
        shares.T, method="average", metric="euclidean", optimal_ordering=True
    )


def leaf_order(linkage: np.ndarray) -> list[int]:
    """Returns the targets in the order of the dendrogram's leaves.

    Example:
      >>> leaf_order(task_linkage([[1.0, 0.1, 0.9], [0.2, 1.0, 0.3]]))[1] == 1
      False
    """
    return scipy.cluster.hierarchy.leaves_list(linkage).tolist()


def ranking_agreement(matrix: ArrayLike, second: ArrayLike) -> RankingAgreement:
    r"""Compares two rankings of the sources for each target.

    The relevance of a source, for the gain, is the number of sources that the second
    ranking places below it, so that the units of neither matter:

    .. math:: \mathrm{DCG} = \sum_p \frac{\mathrm{relevance}_{(p)}}{\log_2(p + 1)}

    in the order of `matrix`, over its value in the order of `second`. **A random order
    has most of it already**, see `chance_dcg`.

    Args:
      matrix: scores, higher = better, shape ``[S, T]``.
      second: scores of another kind for the same sources and targets, shape ``[S, T]``.

    Returns:
      The agreement for each target; ties share their ranks.

    Raises:
      ValueError: if they are not matrices of finite numbers of one shape.

    Example:
      >>> first = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]])
      >>> second = np.array([[9.0, 9.0], [5.0, 5.0], [1.0, 1.0]])
      >>> agreement = ranking_agreement(first, second)
      >>> agreement.spearman.round(6).tolist(), agreement.dcg.round(2).tolist()
      ([1.0, -1.0], [1.0, 0.62])

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, section 5.2 and Figure 7.
      Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002.
    """
    matrix, second = _checked("matrix", matrix), _checked("second", second)
    if matrix.shape != second.shape:
        raise ValueError(
            f"Need two matrices of one shape, got {matrix.shape} and {second.shape}."
        )
    import scipy.stats

    relevance = scipy.stats.rankdata(second, axis=0) - 1
    pairs = list(zip(matrix.T, relevance.T, strict=True))
    ideal = np.array([dcg(gains, gains) for _, gains in pairs])
    flat = np.array([dcg(np.zeros(len(gains)), gains) for _, gains in pairs])
    ideal = np.where(ideal > 0, ideal, 1)
    return RankingAgreement(
        np.array([spearman(*pair) for pair in pairs]),
        np.array([dcg(*pair) for pair in pairs]) / ideal,
        flat / ideal,
    )


def _checked(name: str, matrix: ArrayLike) -> np.ndarray:
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise ValueError(
            f"{name} must be [S, T] of finite numbers, got shape {matrix.shape}."
        )
    return matrix
