"""Figure 11: H-score against log-loss over twenty synthesised source tasks.

Run: `python -m experiments.h_score.figure11_log_loss cpu`; a minute, the sizes of the
paper. The target is a random stochastic matrix P(Y0 | X) of 20 symbols and labels,
source i has P(Yi | X) in proportion to P(Y0 | X) + i lambda I. The source's optimal
features are scored on examples of the target, and a linear softmax is trained on them.
Expected: log-loss = H(Y) - H-score / 2 in nats, a line of slope -1/2, close to
independence; so the same is run with targets mixed with noise. Not stated in the paper:
the sizes, lambda, P(X) (here uniform), the number of features, the training.
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
from jtransfer.distillation import cross_entropy
from jtransfer.ranking import correlations
from jtransfer.scores import softmax_classifier


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the tasks."""

    num_sources: int = 20
    num_symbols: int = 20
    """Of X and of Y."""
    num_features: int = 5
    step: float = 0.02
    """Lambda of the paper."""
    dependence: tuple[float, ...] = (1.0, 0.5, 0.25)
    """Weights of the random matrix in the target; the rest is uniform."""
    num_samples: int = 20_000
    """For the H-score and the training, and as many fresh ones for the loss."""
    weight_decay: float = 1e-6
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    results: Path = harness.RESULTS


PRESETS = {
    "smoke": (
        "seconds",
        Config(
            num_sources=4,
            num_symbols=6,
            num_features=2,
            dependence=(1.0,),
            num_samples=600,
            seeds=(0,),
        ),
    ),
    "cpu": ("the sizes of the paper", Config()),
    "paper": ("the same", Config()),
}


class Points(NamedTuple):
    """One number a source, `[S]`, in nats where it is a loss."""

    score: np.ndarray
    loss: np.ndarray
    """On the examples of the score, to which the softmax was fitted."""
    fresh_loss: np.ndarray


def main(config: Config, preset: str) -> None:
    """Writes the rows and the figure."""
    table = harness.Table("h_score", "figure11", preset, config.results)
    drawn = {}
    for weight in config.dependence:
        slopes = []
        for seed in config.seeds:
            points = drawn[weight] = points_of(config, weight, seed=seed)
            for name in ("loss", "fresh_loss"):
                against = getattr(points, name)
                interval = harness.bootstrap_interval(
                    slope, points.score, against, seed=seed
                )
                what = f"{name.replace('_', ' ')} against H-score, weight {weight}"
                cell = f"slope of the {what}"
                figures.write_row(table, cell, interval, config, seed=seed)
                r = correlations.pearson(points.score, against)
                cell = f"correlation, {what}"
                figures.write_row(table, cell, r, config, seed=seed)
            slopes.append(slope(points.score, points.loss))
        mean = figures.mean(slopes)
        figures.write_row(
            table,
            f"slope, mean over {len(slopes)} targets, weight {weight}",
            mean,
            config,
            verdict=slope_verdict(mean),
        )
    figures.write_figure(table, draw, drawn, size=(7.5, 3))


def points_of(config: Config, weight: float, *, seed: int) -> Points:
    """Scores and losses of the features of all sources on one target."""
    rng = np.random.default_rng(seed)
    size = config.num_symbols
    random = stochastic(rng.random((size, size)))
    target = weight * random + (1 - weight) / size
    train, fresh = (samples(target, config.num_samples, rng) for _ in range(2))
    points = []
    for i in range(config.num_sources):
        joint = stochastic(target + i * config.step * np.eye(size)) / size
        modes = hgr.modes(jnp.asarray(joint), num_modes=config.num_features)
        points.append(
            point(
                *(jnp.take(modes.x_functions, x, axis=0) for x, _ in (train, fresh)),
                *(y for _, y in (train, fresh)),
                num_classes=size,
                weight_decay=config.weight_decay,
            )
        )
    return Points(*np.array(points).T)


def stochastic(matrix: np.ndarray) -> np.ndarray:
    """A matrix `[Y, X]` with the probabilities of the labels in its columns."""
    return matrix / matrix.sum(axis=0)


def samples(conditional: np.ndarray, n: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Examples `(x, y)` of P(Y | X) with a uniform X."""
    x = rng.integers(conditional.shape[1], size=n)
    y = (rng.random(n) > np.cumsum(conditional, axis=0)[:-1, x]).sum(axis=0)
    return x.astype(np.int32), y.astype(np.int32)


@jax.jit(static_argnames=("num_classes", "weight_decay"))
def point(features, fresh_features, labels, fresh_labels, *, num_classes, weight_decay):
    """H-score of features, and the log-loss of a linear softmax on both sets."""
    score = h_score(class_moments(features, labels, num_classes=num_classes))
    head = softmax_classifier(
        features, labels, num_classes=num_classes, weight_decay=weight_decay
    )

    def loss(features, labels):
        logits = features @ head.weights + head.bias[None]
        return cross_entropy(logits, labels)

    return score, loss(features, labels), loss(fresh_features, fresh_labels)


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Slope of the least-squares line; 0 where x is constant."""
    varies = np.ptp(x) > 0
    return float(np.polyfit(x, y, 1)[0]) if varies else 0.0


def slope_verdict(slope: harness.Value) -> str:
    """Whether the interval holds the slope of the theory."""
    if slope.low <= -0.5 <= slope.high:
        return "The interval over the targets holds -1/2."
    side = "steeper" if slope.value < -0.5 else "flatter"
    return f"{side} than -1/2 by {abs(slope.value / -0.5 - 1):.1%}.".capitalize()


def draw(figure, drawn: dict[float, Points]) -> None:
    """Points of the last target at each weight, and the line of the theory."""
    panels = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axes, (weight, points) in zip(panels, drawn.items(), strict=True):
        axes.plot(points.score, points.loss, "o", ms=4, label="fitted examples")
        axes.plot(points.score, points.fresh_loss, "x", ms=4, label="fresh examples")
        ends = np.array([points.score.min(), points.score.max()])
        line = points.loss.mean() - (ends - points.score.mean()) / 2
        axes.plot(ends, line, "k-", lw=1, label="slope -1/2")
        axes.set(xlabel="H-score", title=f"weight {weight}")
    panels[0].set_ylabel("log-loss (nats)")
    panels[0].legend()


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
