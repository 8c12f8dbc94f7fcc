"""Intervals of statistics and means: jackknife, Student's t, Wilson."""

from typing import NamedTuple

import numpy as np
from scipy import special

NUM_BLOCKS = 10
NUM_SHUFFLES = 20
T_95 = float(special.stdtrit(NUM_BLOCKS - 1, 0.975))
"""Half the width of a 95% interval by the jackknife, in standard errors."""


class Estimate(NamedTuple):
    """A statistic with its replicates and its values by chance."""

    value: np.ndarray
    """The statistic of all examples, `[]`."""
    replicates: np.ndarray
    """The statistic without each block, `[NUM_BLOCKS]`."""
    shuffled: np.ndarray
    """The statistic by chance, under shuffled labels or wrong pairings, `[s]`."""


class Interval(NamedTuple):
    """A number with its 95% interval; None where it cannot be told."""

    value: float
    low: float | None
    high: float | None


def standard_error(replicates: np.ndarray) -> float:
    r"""Returns the standard error by the delete-one-block jackknife.

    .. math:: \sqrt{\tfrac{g-1}{g} \sum_b (\theta_{(b)} - \bar\theta)^2}

    with `g` blocks: replicates that miss one of them vary too little by themselves.

    Example:
      >>> round(standard_error(np.array([1.0, 2.0, 3.0])), 6)
      1.154701

    References:
      Efron and Stein, "The Jackknife Estimate of Variance", 1981.
    """
    g = len(replicates)
    return float(np.sqrt((g - 1) / g * np.sum((replicates - replicates.mean()) ** 2)))


def jackknife_interval(estimate: Estimate) -> Interval:
    """Returns the value with its 95% interval by Student's t.

    Args:
      estimate: with `NUM_BLOCKS` replicates.
    """
    value, half = float(estimate.value), T_95 * standard_error(estimate.replicates)
    return Interval(value, value - half, value + half)


def mean_interval(values: np.ndarray) -> Interval:
    """Returns the mean of numbers with its 95% interval by Student's t.

    Args:
      values: one number a unit, `[n]`; of a single one the interval is not known.

    Example:
      >>> mean_interval(np.array([2.0]))
      Interval(value=2.0, low=None, high=None)
    """
    n, value = len(values), float(np.mean(values, dtype=float))
    if n < 2:
        return Interval(value, None, None)
    spread = np.std(values, ddof=1, dtype=float)
    half = float(special.stdtrit(n - 1, 0.975) * spread / n**0.5)
    return Interval(value, value - half, value + half)


def proportion_interval(count: int, n: int) -> Interval:
    """Returns a proportion with its 95% interval after Wilson.

    Args:
      count: how many of the examples, such as those classified correctly.
      n: how many examples, at least 1.

    Example:
      >>> proportion_interval(0, 10).low
      0.0

    References:
      Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
      1927.
    """
    import scipy.stats  # Half a second, which most requests need not wait for.

    test = scipy.stats.binomtest(int(count), int(n))
    interval = test.proportion_ci(method="wilson")
    return Interval(count / n, float(interval.low), float(interval.high))
