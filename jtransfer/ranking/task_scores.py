"""H-scores of one source for all tasks, as rows with intervals and chance levels."""

import dataclasses
import math
import time

import numpy as np

from jtransfer._internal.errors import SourceError, one_line
from jtransfer._internal.memory import memory_fault
from jtransfer.intervals import (
    NUM_BLOCKS,
    Estimate,
    dealt_blocks,
    jackknife_interval,
    standard_error,
)
from jtransfer.ranking.estimates.dense import dense_h_scores
from jtransfer.ranking.rows import Failed, Scored
from jtransfer.zoo import Source, pieces, source_errors
from jtransfer.zoo.task_targets import TaskTarget


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskScored(Scored):
    """The H-score of a source for a task; `score` is the name of the task."""

    num_levels: int
    num_pixels: int
    pixels: list[list[float]] | None
    """The H-score of each pixel of a dense task."""


def task_rows(
    source: Source, targets: list[TaskTarget], *, seed: int
) -> list[TaskScored | Failed]:
    """Computes the H-score of a source for each target, the mean over its pixels.

    Args:
      source: the source, of whose features all are held in memory.
      targets: the targets, of the same examples.
      seed: deals the examples to the blocks of the jackknife, alike for all sources.

    Returns:
      A row a target; a single `Failed` if the source cannot be used.
    """
    try:
        features = _features(source, len(targets[0].levels))
    except SourceError as error:
        return [Failed(source=source.name, reason=str(error))]
    except MemoryError as error:
        reason = f"Not enough memory? {one_line(error)[:200]}"
        return [Failed(source=source.name, reason=reason)]
    return [_row(source.name, features, target, seed) for target in targets]


def _features(source: Source, n: int) -> np.ndarray:
    if source.features is None:
        raise SourceError("It has no features.")
    if source.network is not None:
        raise SourceError("It is a network: write its features by jtransfer extract.")
    batches = []
    for piece in pieces(source.features):
        if not batches and piece.ndim == 2:
            # The pieces, their union, and that in float64, in use, and centred.
            fault = memory_fault(n * piece.shape[1] * (2 * piece.itemsize + 24))
            if fault is not None:
                raise SourceError(f"It {fault}: all features are held in memory.")
        batches.append(piece)
    if not batches:
        raise SourceError("It has no features.")
    if (
        any(piece.ndim != 2 for piece in batches)
        or len({p.shape[1] for p in batches}) != 1
    ):
        raise SourceError("features must be [n, d].")
    with source_errors():  # Objects may be anything.
        features = np.concatenate(batches).astype(np.float64)
    if len(features) != n:
        raise SourceError(f"features have {len(features)} rows, the targets {n}.")
    if not np.isfinite(features).all():
        raise SourceError("features hold NaN or infinite values.")
    return features


def _row(name: str, features: np.ndarray, target: TaskTarget, seed: int) -> TaskScored:
    start = time.perf_counter()
    num_pixels = math.prod(target.levels.shape[1:])
    # Examples without any level are left out of the scores.
    n, d = int((target.levels >= 0).any(axis=(1, 2)).sum()), features.shape[1]
    usual, groups = _usual_levels(target), target.groups
    blocks = dealt_blocks(usual, len(features), seed=seed, groups=groups)
    pixels = dense_h_scores(
        features,
        target.levels.reshape(len(features), num_pixels),
        blocks,
        num_levels=target.num_levels,
    ).reshape(1 + NUM_BLOCKS, *target.levels.shape[1:])
    values = pixels.mean(axis=(1, 2))
    # Under independence n H has about the chi-squared distribution.
    freedom = d * (_mean_levels(target) - 1)
    most = min(d, target.num_levels - 1)
    value, low, high = jackknife_interval(Estimate(values[0], values[1:], values[:0]))
    return TaskScored(
        source=name,
        score=target.name,
        value=value,
        standard_error=standard_error(values[1:]),
        low=low,
        high=high,
        chance=min(freedom / n, most),
        chance_high=min((freedom + 2 * math.sqrt(2 * freedom)) / n, most),
        replicates=values[1:].tolist(),
        n=n,
        d=d,
        num_levels=target.num_levels,
        num_pixels=num_pixels,
        pixels=pixels[0].round(4).tolist() if num_pixels > 1 else None,
        seconds=round(time.perf_counter() - start, 3),
        warnings=_warnings(n, d),
    )


def _usual_levels(target: TaskTarget) -> np.ndarray:
    """The most frequent level of each example, by which the blocks are made alike."""
    flat = target.levels.reshape(len(target.levels), -1)
    counts = [(flat == level).sum(axis=1) for level in range(target.num_levels)]
    return np.where((flat >= 0).any(axis=1), np.argmax(counts, axis=0), -1)


def _mean_levels(target: TaskTarget) -> float:
    """Returns how many levels occur, on average over the pixels."""
    levels = range(target.num_levels)
    occurs = [(target.levels == level).any(axis=0).mean() for level in levels]
    return float(sum(occurs))


def _warnings(n: int, d: int) -> list[str]:
    if n <= d:
        return ["n <= d: the H-score is at its maximum for any features, even noise."]
    if n < 10 * d:
        return ["n < 10 d: chance gives part of the H-score, the more the larger d."]
    return []
