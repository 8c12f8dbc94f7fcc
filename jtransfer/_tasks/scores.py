"""H-scores of one source for all targets, as rows with intervals and chance levels."""

import functools
import math
import time

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer._tasks.targets import TaskTarget
from jtransfer.ranking.dealing import NUM_BLOCKS
from jtransfer.ranking.scoring import T_95, standard_error
from jtransfer.scores import dense_h_score
from jtransfer.zoo import Source, SourceError, pieces


def source_rows(source: Source, targets: list[TaskTarget], *, seed: int) -> list[dict]:
    """Computes the H-score of a source for each target, the mean over its pixels.

    Args:
      source: the source, of whose features all are held in memory.
      targets: the targets, of the same examples.
      seed: deals the examples to the blocks of the jackknife, alike for all sources.

    Returns:
      A dict a target; one dict with a `reason` if the source cannot be used.
    """
    try:
        features = _features(source, len(targets[0].levels))
    except SourceError as error:
        return [{"source": source.name, "reason": str(error)}]
    return [{"source": source.name, **_row(features, t, seed)} for t in targets]


def _features(source: Source, n: int) -> np.ndarray:
    if source.features is None:
        raise SourceError("It has no features.")
    if source.network is not None:
        raise SourceError("It is a network: write its features by jtransfer extract.")
    found = list(pieces(source.features()))
    if any(piece.ndim != 2 for piece in found) or len({p.shape[1] for p in found}) != 1:
        raise SourceError("features must be [n, d].")
    features = np.concatenate(found).astype(np.float64)
    if len(features) != n:
        raise SourceError(f"features have {len(features)} rows, the targets {n}.")
    if not np.isfinite(features).all():
        raise SourceError("features hold NaN or infinite values.")
    return features


def _row(features: np.ndarray, target: TaskTarget, seed: int) -> dict:
    start = time.perf_counter()
    num_pixels = math.prod(target.levels.shape[1:])
    # Examples without any level are left out of the scores.
    n, d = int((target.levels >= 0).any(axis=(1, 2)).sum()), features.shape[1]
    order = np.random.default_rng([seed, 3]).permutation(len(features))
    blocks = order % NUM_BLOCKS
    # All examples, then without each block.
    kept = np.arange(-1, NUM_BLOCKS)[:, None] != blocks[None]
    # As in `jtransfer rank`: float32 loses directions of features that are much alike.
    with jax.enable_x64(True):
        pixels = np.asarray(
            _scores(features, target.levels, kept, num_levels=target.num_levels)
        )
    value, *replicates = pixels.mean(axis=(1, 2)).tolist()
    error = standard_error(np.array(replicates))
    # Under independence n H has about the chi-squared distribution.
    freedom = d * (_mean_levels(target) - 1)
    most = min(d, target.num_levels - 1)
    return {
        "score": target.name,
        "value": value,
        "standard_error": error,
        "low": value - T_95 * error,
        "high": value + T_95 * error,
        "chance": min(freedom / n, most),
        "chance_high": min((freedom + 2 * math.sqrt(2 * freedom)) / n, most),
        "replicates": replicates,
        "n": n,
        "d": d,
        "num_levels": target.num_levels,
        "num_pixels": num_pixels,
        "pixels": pixels[0].round(4).tolist() if num_pixels > 1 else None,
        "seconds": round(time.perf_counter() - start, 3),
        "warnings": _warnings(n, d),
    }


@functools.partial(jax.jit, static_argnames=("num_levels",))
def _scores(features, levels, kept, *, num_levels: int):
    """The scores of the pixels for each set of examples kept."""

    def scores(kept):
        left = jnp.where(kept[:, None, None], levels, -1)
        return dense_h_score(features, left, num_levels=num_levels)

    return jax.lax.map(scores, kept)


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
