"""The scores of a subset, equal to those of `jtransfer.scores` to rounding.

Two matrices carry them all: the scatter of the features as they are (LogME, the
regularised H-score) and scaled to unit variance (the H-score, the ridge probe). For no
more examples than features it is the products of the rows in place of the scatter.
"""

import numpy as np

from jtransfer.ranking.estimates import evidence
from jtransfer.ranking.estimates.raw import Raw
from jtransfer.ranking.estimates.shifted import EPS
from jtransfer.ranking.estimates.subsets import Subset


def logme_scores(raw: Raw, *, noiseless: bool = False) -> np.ndarray | None:
    """Returns LogME of each set of targets, `[g]`; None where another way is needed.

    Args:
      raw: the subset.
      noiseless: whether a fit that leaves no noise, whose evidence is made of rounding,
        is taken all the same.
    """
    if raw.needs_definition:
        return None
    try:
        maxima = evidence.maximum_evidence(raw.problem, noiseless=noiseless)
    except np.linalg.LinAlgError:
        return None
    if maxima is None:
        return None
    return mean_over_classes(maxima, raw.targets.counts)


def mean_over_classes(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the mean over the classes that occur, `[g]`."""
    occurs = counts > 0
    values = np.where(occurs, values.reshape(counts.shape), 0)
    return values.sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)


def shrinkage(subset: Subset) -> tuple[float, float]:
    """Returns the Ledoit-Wolf weight, and the ridge beside the scatter that it means.

    The latter is in units of the scatter, and not below its rounding.
    """
    n, d = max(subset.n, 1), len(subset.sums.mean)
    trace, square, fourth = subset.powers
    if trace <= 0:
        return 0.0, 0.0
    distance = square - 1 / d
    weight = 0.0
    if distance > 4 * EPS:
        spread = (fourth * n - square) / n
        spread = spread if np.isfinite(spread) else np.nan
        weight = float(np.clip(spread / distance, 0, 1))
    return weight, trace * max(weight / d, 4 * EPS * square**0.5)


def regularized_h_scores(raw: Raw) -> np.ndarray | None:
    """Returns the regularised H-score of each set of targets, `[g]`.

    None where the ridge is too small for the way that the subset was made ready.
    """
    weight, ridge = shrinkage(raw.subset)
    counts = raw.targets.counts
    if not np.isfinite(weight):
        return np.full(len(counts), np.nan)
    if weight >= 1 or ridge <= 0 or raw.subset.n <= 1:
        return np.zeros(len(counts))
    ridge /= 1 - weight
    return None if ridge < raw.least else explained(raw.quadratic(ridge), counts)


def explained(forms: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns forms `[g C]` over the sizes of the classes, summed, `[g]`."""
    return np.sum(forms.reshape(counts.shape) / np.maximum(counts, 1), axis=1)
