"""Figure 3: H-score and mutual information against the number of features.

Run: `python -m experiments.h_score.figure3_feature_dimension cpu`; seconds, the sizes
of the paper. Random joint tables of 64 inputs and 6 labels, entries U(0, 1) (the paper
states the labels alone): the largest H-score of k features, the H-score on fresh
examples of k features that ACE found in others, and twice the information in nats.
Expected: level from |Y| - 1 = 5 features on, for the divergence transition matrix has
no sixth mode; the paper says 6. That the score stays below 2 I holds for these tables
and not for all.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import harness
from experiments.h_score.support import figures
from jtransfer import class_moments, h_score, hgr


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the tasks."""

    num_tasks: int = 20
    """Random tables."""
    num_symbols: int = 64
    num_labels: int = 6
    num_samples: int = 20_000
    """For ACE, and as many fresh ones for its features."""
    num_steps: int = 100
    """Of ACE, at most."""
    seed: int = 0
    results: Path = harness.RESULTS


PRESETS = {
    "smoke": ("seconds", Config(num_tasks=2, num_symbols=8, num_samples=500)),
    "cpu": ("the sizes of the paper", Config()),
    "paper": ("the same", Config()),
}


class Curves(NamedTuple):
    """Scores of tasks `[t, k]` and twice their information `[t]`."""

    best: np.ndarray
    fresh: np.ndarray
    information: np.ndarray


def main(config: Config, preset: str) -> None:
    """Writes the rows and the figure."""
    table = harness.Table("h_score", "figure3", preset, config.results)
    of_tasks = [curve(config, *task) for task in tables(config)]
    curves = Curves(*map(np.array, zip(*of_tasks, strict=True)))
    for k, (best, fresh) in enumerate(zip(curves.best.T, curves.fresh.T, strict=True)):
        figures.write_row(
            table, f"largest H-score, k = {k + 1}", figures.mean(best), config
        )
        cell = f"H-score on fresh examples, features of ACE, k = {k + 1}"
        figures.write_row(table, cell, figures.mean(fresh), config)
    information = figures.mean(curves.information)
    figures.write_row(table, "2 I in nats", information, config)

    level = np.argmax(curves.best > curves.best[:, -1:] - 1e-5, axis=1).max() + 1
    figures.write_row(
        table,
        "features from which on the H-score is level",
        level,
        config,
        paper_value=6,
        verdict=f"Level from k = {level} on, "
        + ("|Y| - 1" if level == config.num_labels - 1 else "not |Y| - 1")
        + "; the paper says 6.",
    )
    ratio = curves.best[:, -1] / curves.information
    figures.write_row(
        table,
        "largest H-score over 2 I",
        figures.mean(ratio),
        config,
        verdict=f"At most 1, as the paper says, for {np.sum(ratio <= 1)} of "
        f"{len(ratio)} random tables.",
    )
    certain = jnp.eye(config.num_labels)
    ratio = hgr.local_mutual_information(certain) / hgr.mutual_information(certain)
    figures.write_row(
        table,
        "the same where the input decides the label",
        ratio,
        config,
        verdict="At most 1 here as well."
        if ratio <= 1
        else "Above 1: away from independence the H-score is not bounded by 2 I.",
    )
    figures.write_figure(table, draw, curves)


def tables(config: Config):
    """Yields random joint tables and the generators for their samples."""
    for task in range(config.num_tasks):
        rng = np.random.default_rng([config.seed, task])
        joint = rng.random((config.num_labels, config.num_symbols))
        yield joint / joint.sum(), rng


def curve(config: Config, joint, rng) -> tuple[np.ndarray, np.ndarray, float]:
    """Largest scores, scores of ACE's features on fresh examples, and 2 I."""
    table = jnp.asarray(joint, jnp.float32)
    counts = range(1, config.num_labels + 1)
    best = [float(hgr.h_score_bound(table, num_features=k)) for k in counts]
    (x, y), fresh = (samples(joint, config.num_samples, rng) for _ in range(2))
    ace = hgr.ace(
        x,
        y,
        jax.random.key(config.seed),
        num_x=config.num_symbols,
        num_y=config.num_labels,
        num_modes=config.num_labels - 1,
        num_steps=config.num_steps,
    )
    # There is no further mode to find: the last feature is any function.
    last = rng.standard_normal((config.num_symbols, 1)).astype(np.float32)
    functions = np.concatenate([ace.x_functions, last], axis=1)
    scores = [fresh_score(functions, k, fresh, config.num_labels) for k in counts]
    return np.array(best), np.array(scores), 2 * float(hgr.mutual_information(table))


def samples(joint: np.ndarray, n: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Examples `(x, y)` of a joint table `[Y, X]`."""
    y, x = np.divmod(rng.choice(joint.size, size=n, p=joint.ravel()), joint.shape[1])
    return x.astype(np.int32), y.astype(np.int32)


def fresh_score(functions, k: int, examples, num_labels: int) -> float:
    """H-score of the first k functions `[X, K]` on examples."""
    x, y = examples
    # Constant features count for nothing, and one shape is compiled once.
    features = np.where(np.arange(functions.shape[1]) < k, functions, 0)[x]
    return float(h_score(class_moments(features, y, num_classes=num_labels)))


def draw(figure, curves: Curves) -> None:
    """Means over the tasks, and their spread."""
    axes = figure.subplots()
    k = np.arange(1, curves.best.shape[1] + 1)
    for values, label, style in (
        (curves.best, "largest H-score", "o-"),
        (curves.fresh, "ACE, fresh examples", "s--"),
    ):
        axes.errorbar(
            k, values.mean(0), values.std(0), fmt=style, label=label, ms=4, capsize=2
        )
    axes.axhline(curves.information.mean(), color="black", ls=":", label="2 I (nats)")
    axes.set(xlabel="features k", ylabel="H-score", ylim=(0, None), xticks=k)
    axes.legend()


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
