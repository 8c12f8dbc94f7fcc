"""Figure 4c: transferability of an ImageNet network to targets of few classes.

Run: `python -m experiments.h_score.figure4c_targets cpu --data-dir DIR` after
`figure4ab_layers.py` with the same preset; 3 minutes on a core, one of them for the
features of test images. Targets of 3, 5, 10 and 20 classes of CIFAR-100, drawn five
times each: T(S, T) = H(f_S) / H(f_opt) of the last of the five layers against the
accuracy of a linear softmax on it. Expected: the higher, the better. f_opt is found by
soft HGR from the ridge solution on the features of all five layers, stopped early, or
is that solution itself, whichever does best on held-out images, see
`support/optimum.py`; features are one less than there are classes. The paper states
neither networks nor learning rates.

Both H-scores are measured on test images, with features that were fitted to the
training images (f_S by ridge regression on the classes): on the images that a feature
was fitted to its H-score is too high, with as many features as images at its maximum.
The performance is measured on the other half of the test images: what chance makes easy
in one half does not help in the other. The more classes, the lower the accuracy, so the
correlation is also given among targets of equally many classes. Where the label is a
function of the image the true H(f_opt) is the number of classes less one, so H(f_S)
over that is given too.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
import scipy.stats

from experiments import harness
from experiments.h_score.support import figures, imagenet
from experiments.h_score.support.imagenet import Set
from experiments.h_score.support.optimum import Optimum, optimum
from jtransfer import class_moments, data
from jtransfer.ranking import correlations
from jtransfer.scores import h_score, ridge_classifier, transferability_interval


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the run."""

    image_size: int
    """Side to which images are made, in pixels."""
    train_per_class: int
    test_per_class: int
    targets: tuple[int, ...] = (3, 5, 10, 20)
    """Numbers of classes."""
    num_draws: int = 5
    """Of the classes of a target."""
    training: imagenet.Training = imagenet.Training(50, 64, 0.01)
    hidden: int = 256
    """Units of the hidden layer that soft HGR adds to the ridge solution."""
    hgr_steps: int = 400
    base_width: int | None = None
    """Of an untrained network instead of the pretrained one."""
    network: Path | None = None
    """Folder of a pretrained ResNet-50 instead, see `support/imagenet.py`."""
    data_dir: str | None = None
    out: Path = Path("runs/h_score")
    results: Path = harness.RESULTS


SMALL = imagenet.Training(1, 64, 0.01)
PRESETS = {
    "smoke": (
        "seconds",
        Config(32, 4, 4, (2,), 2, SMALL, hidden=4, hgr_steps=2, base_width=2),
    ),
    "cpu": ("minutes on a core", Config(64, 120, 50)),
    "paper": ("an accelerator", Config(224, 500, 100, hgr_steps=5000)),
}


def main(config: Config, preset: str) -> None:
    """Writes the rows and the figure."""
    table = harness.Table("h_score", "figure4c", preset, config.results)
    train = imagenet.cifar100(config, "train", config.train_per_class)
    test = imagenet.cifar100(config, "test", config.test_per_class)
    draws = [(k, draw) for k in config.targets for draw in range(config.num_draws)]
    of_targets = np.array([point(config, table, train, test, *each) for each in draws])
    ratio, share, loss, accuracy = of_targets.T
    for name, values in (("T(S, T)", ratio), ("H(f_S) over its maximum", share)):
        for against, better in (("accuracy", accuracy), ("less log-loss", -loss)):
            write_agreements(
                config, table, f"{name} and test {against}", values, better
            )
    above = int(np.sum(ratio > 1))
    cell = "share of the targets with a transferability above 1"
    verdict = f"{above} of {len(draws)}; kept, for only a true optimum bounds it."
    figures.write_row(table, cell, above / len(draws), config, verdict=verdict)
    figures.write_figure(table, draw_targets, config, of_targets)


def write_agreements(config: Config, table, names: str, values, better) -> None:
    """Writes how two numbers go together, over all targets and among like ones."""
    ranked = [
        np.concatenate([scipy.stats.rankdata(part) for part in parts])
        for parts in (np.split(x, len(config.targets)) for x in (values, better))
    ]
    among = "among targets of equally many classes"
    for cell, pair in (("", (values, better)), (f" {among}", ranked)):
        value = harness.bootstrap_interval(
            correlations.pearson if cell else correlations.spearman, *pair, seed=0
        )
        figures.write_row(
            table,
            f"Spearman of {names}{cell}, {len(values)} targets",
            value,
            config,
            verdict="It predicts the performance, as stated."
            if value.low > 0
            else "That it predicts the performance, as stated, is not seen.",
        )


def point(config: Config, table, train: Set, test: Set, count: int, draw: int):
    """Transferability, share of the maximum, test log-loss and accuracy, `[4]`."""
    classes = np.random.default_rng([count, draw]).permutation(100)[:count]
    train, test = (of_classes(images, classes) for images in (train, test))
    order = np.argsort(test.labels, kind="stable")
    scored, tested = (rows_of(test, order[half::2]) for half in (0, 1))
    projected = functools.cache(lambda: source_features(train, scored, count))

    @functools.cache
    def best() -> Optimum:
        return optimum(
            train,
            scored,
            count,
            hidden=config.hidden,
            num_steps=config.hgr_steps,
            seed=draw,
        )

    def transferability():
        key = jax.random.key(draw)
        interval = transferability_interval(
            projected(), best().features, scored.labels, key, num_classes=count
        )
        return harness.Value(
            *(float(x) for x in (interval.value, interval.low, interval.high))
        )

    def of_way(name: str, on: str):
        return lambda: harness.Value(getattr(best(), on)[name] / (count - 1))

    def share():
        moments = class_moments(projected(), scored.labels, num_classes=count)
        return harness.Value(float(h_score(moments)) / (count - 1))

    @functools.cache
    def head():
        sets = ((part.features[-1], part.labels) for part in (train, tested))
        return imagenet.head(
            *sets,
            imagenet.standardization,
            settings=config.training,
            num_classes=count,
            seed=draw,
        )

    numbers = {
        "transferability": transferability,
        "H-score over its maximum": share,
        "test log-loss": lambda: harness.Value(head().test_loss),
        "test accuracy": lambda: harness.Value(head().test_accuracy),
    }
    for way in ("ridge on all layers", "soft HGR from the ridge"):
        for on, words in (("fitted", "its training"), ("held_out", "held-out images")):
            cell = f"H over its maximum on {words}, {way}"
            numbers[cell] = of_way(way, on)
    shared = {"seed": draw, "config": figures.settings(config)}
    values = [
        harness.write_row(table, f"{name}, {count} classes", compute, **shared)["value"]
        for name, compute in numbers.items()
    ]
    return values[:4]


def of_classes(images: Set, classes: np.ndarray) -> Set:
    """The images of some classes, renumbered."""
    indices, labels = data.class_subset(images.labels, classes, num_classes=100)
    return rows_of(images, indices)._replace(labels=labels)


def rows_of(images: Set, indices: np.ndarray) -> Set:
    """Features and labels of the images at some indices."""
    layers = tuple(layer[indices] for layer in images.features)
    return Set(layers, images.labels[indices])


def source_features(train: Set, test: Set, count: int) -> np.ndarray:
    """The best linear features of the last layer for a target, of the test images."""
    moments = class_moments(train.features[-1], train.labels, num_classes=count)
    return test.features[-1] @ np.asarray(ridge_classifier(moments).weights)


def draw_targets(figure, config: Config, points: np.ndarray) -> None:
    """Transferability against the test accuracy, by number of classes."""
    axes = figure.subplots()
    of_counts = np.split(points, len(config.targets))
    for count, of_count in zip(config.targets, of_counts, strict=True):
        axes.plot(of_count[:, 0], of_count[:, 3], "o", ms=4, label=f"{count} classes")
    axes.set(xlabel="transferability T(S, T)", ylabel="test accuracy")
    axes.legend()


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
