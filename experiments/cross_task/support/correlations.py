"""Correlations of teachers' scores with students' accuracies, over several tasks."""

from collections.abc import Callable

import numpy as np

from experiments import harness
from experiments.harness import Value
from jtransfer.ranking import correlations


def mean_pearson(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """The mean over tasks of the correlations over teachers.

    Args:
      scores: of each teacher for each task, shape ``[teachers, tasks]``.
      accuracies: of the students, same shape.

    Returns:
      The mean; a task where one of the two is constant counts as zero.
    """
    a, b = (x - x.mean(axis=0) for x in (scores, accuracies))
    lengths = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return float(np.mean((a * b).sum(axis=0) / np.where(lengths > 0, lengths, 1)))


def within_families(values: np.ndarray, families: np.ndarray) -> np.ndarray:
    """Values `[tasks, teachers]` less the mean of the teacher's family in each task."""
    means = [values[:, families == own].mean(axis=1) for own in families]
    return values - np.stack(means, axis=1)


def difference(first: np.ndarray, second: np.ndarray, accuracies: np.ndarray) -> float:
    """The mean correlation of one score less that of another."""
    return mean_pearson(first, accuracies) - mean_pearson(second, accuracies)


def bootstrapped(statistic: Callable[..., float], *columns: np.ndarray) -> Value:
    """A statistic of columns `[tasks, teachers]`, teachers drawn alike in all tasks."""
    samples = [np.asarray(column).T for column in columns]
    return harness.bootstrap_interval(statistic, *samples, seed=0)


def mean_regret(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """The mean accuracy lost by the first choice, of values `[tasks, teachers]`."""
    pairs = zip(scores, accuracies, strict=True)
    return float(np.mean([correlations.top_k_regret(*pair, k=1) for pair in pairs]))


def interval_verdict(difference: Value) -> str:
    """Judges a difference by its interval."""
    if difference.low <= 0 <= difference.high:
        return "Not told apart: the interval of the difference holds zero."
    return "Told apart: the interval of the difference excludes zero."


def correlation_verdict(correlation: Value) -> str:
    """Judges a correlation by its interval."""
    if correlation.low > 0:
        return "Goes with the accuracy: the interval is above zero."
    if correlation.high < 0:
        return "Goes against the accuracy: the interval is below zero."
    return "No evidence: the interval holds zero."
