"""The maximum evidence of LogME from forms at many shifts, on the host.

The value is that of `scores.logme`: the same grid of ratios, of equal values the
largest, and the exact maximum around it.
"""

import numpy as np

from jtransfer.ranking.estimates.problems import Problem, Spectral
from jtransfer.ranking.estimates.shifted import EPS

_NODES = 10
_COARSE = 8
_NOISELESS = 1e-9


def maximum_evidence(problem: Problem, *, noiseless: bool = False) -> np.ndarray | None:
    """Returns the maximum of the log evidence per example, `[t]`.

    Args:
      problem: the targets.
      noiseless: whether fits that leave no noise are taken all the same.

    Returns:
      The maxima; None where one of them is made of rounding, because the fit leaves
      no noise or the best ratio is too small for the problem's forms.
    """
    low, high = problem.log_least, problem.log_unit + 25
    grid = np.linspace(low, high, 1 + int(np.ceil((high - low) / 0.45)))
    best = _last_best(_searched(problem, grid))
    if not noiseless and not is_exact(problem, grid, best):
        return None
    return _refined(problem, grid, best)


def _searched(problem: Problem, grid: np.ndarray) -> np.ndarray:
    """The log evidence on the grid, -inf where it cannot be the maximum, `[g, t]`.

    As the ratio grows, what is left unexplained grows and the determinant falls:
    between two ratios the evidence is at most that of the first one's rest and the
    second one's determinant. Where this is no more than the best value known, nothing
    is asked for.
    """
    shape, n = (len(grid), len(problem.target_means)), problem.n
    values, rests = np.full(shape, -np.inf), np.empty(shape)
    log_dets, known = np.empty((len(grid), 1)), np.zeros(len(grid), bool)
    nodes = np.append(np.arange(0, len(grid) - 1, _COARSE), len(grid) - 1)
    while len(nodes):
        rests[nodes], log_dets[nodes] = _parts(problem, grid[nodes])
        values[nodes] = _evidence(rests[nodes], log_dets[nodes], n)
        known[nodes] = True
        (at,) = np.nonzero(known)
        bounds = _evidence(rests[at[:-1]], log_dets[at[1:]], n)
        is_open = (bounds > values[at].max(axis=0)).any(axis=1) & (np.diff(at) > 1)
        nodes = (at[:-1] + at[1:])[is_open] // 2
    return values


def _last_best(values: np.ndarray) -> np.ndarray:
    """Positions of the largest values `[g, t]`, of equal ones the last, `[t]`."""
    rounding = 16 * EPS * (1 + np.abs(values))
    ties = values >= np.max(values - rounding, axis=0)
    return len(values) - 1 - np.argmax(ties[::-1], axis=0)


def is_exact(problem: Problem, grid: np.ndarray, best: np.ndarray) -> bool:
    """Whether the maxima are no limits of small ratios, nor fits without noise."""
    if isinstance(problem, Spectral) and problem.spans:
        return True
    at_best = problem.terms(np.exp(grid[np.unique(best)])).unexplained
    squares = problem.target_squares + problem.n * problem.target_means**2
    noisy = (at_best.min(axis=0) > _NOISELESS * squares) | (squares == 0)
    bounded = isinstance(problem, Spectral) or best.min() > 1
    return bool(bounded and noisy.all())


def _parts(problem: Problem, log_ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squares left unexplained `[g, t]` and the log determinant `[g, 1]`."""
    terms, n = problem.terms(np.exp(log_ratios)), problem.n
    denominator = (1 + n * terms.mean_length)[:, None]
    gap = problem.target_means - terms.along_mean
    log_det = terms.log_det[:, None] + np.log(denominator)
    return terms.unexplained + n * gap**2 / denominator, log_det


def _evidence(rests: np.ndarray, log_dets: np.ndarray, n: int) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return -(np.log(2 * np.pi * rests / n) + 1 + log_dets / n) / 2


def _refined(problem: Problem, grid: np.ndarray, best: np.ndarray) -> np.ndarray:
    """The maxima around points of the grid, by interpolation: they are analytic."""
    step = grid[1] - grid[0]
    angles = np.pi * (np.arange(_NODES) + 0.5) / _NODES
    nodes = np.cos(angles)
    weights = (-1.0) ** np.arange(_NODES) * np.sin(angles)
    fine = np.linspace(-1, 1, 2002)
    kernel = weights / (fine[:, None] - nodes)
    kernel /= kernel.sum(axis=1, keepdims=True)
    maxima = np.empty(len(best))
    for point in np.unique(best):
        (chosen,) = np.nonzero(best == point)
        parts = _parts(problem, grid[point] + step * nodes)
        values = _evidence(*parts, problem.n)[:, chosen]
        curve = kernel @ values
        top = np.clip(curve.argmax(axis=0), 1, len(fine) - 2)
        left, middle, right = (
            curve[top + i, np.arange(len(chosen))] for i in (-1, 0, 1)
        )
        bend = left - 2 * middle + right
        gain = np.where(
            bend < 0, (left - right) ** 2 / -np.where(bend < 0, bend, -1), 0
        )
        maxima[chosen] = np.maximum(middle + gain / 8, np.maximum(left, right))
    return maxima
