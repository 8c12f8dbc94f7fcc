"""How scores of teachers go with the accuracy of their students, over several tasks."""

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
    """What is left of values `[tasks, teachers]` without the mean of each family."""
    means = [values[:, families == own].mean(axis=1) for own in families]
    return values - np.stack(means, axis=1)


def difference(first: np.ndarray, second: np.ndarray, accuracies: np.ndarray) -> float:
    """By how much one score correlates better than another, in the mean."""
    return mean_pearson(first, accuracies) - mean_pearson(second, accuracies)


def bootstrapped(statistic: Callable[..., float], *columns: np.ndarray) -> Value:
    """A statistic of columns `[tasks, teachers]`, teachers drawn alike in all tasks."""
    samples = [np.asarray(column).T for column in columns]
    return harness.bootstrap_interval(statistic, *samples, seed=0)


def mean_regret(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """The mean over tasks of what the first choice loses, of `[tasks, teachers]`."""
    pairs = zip(scores, accuracies, strict=True)
    return float(np.mean([correlations.top_k_regret(*pair, k=1) for pair in pairs]))


def told_apart(found: Value) -> str:
    """Judges a difference by its interval."""
    if found.low <= 0 <= found.high:
        return "Not told apart: the interval of the difference holds zero."
    return "Told apart: the interval of the difference excludes zero."


def is_positive(found: Value) -> str:
    """Judges a correlation by its interval."""
    if found.low > 0:
        return "Goes with the accuracy: the interval is above zero."
    if found.high < 0:
        return "Goes against the accuracy: the interval is below zero."
    return "No evidence: the interval holds zero."
