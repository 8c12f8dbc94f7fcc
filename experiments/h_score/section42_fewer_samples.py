"""Section 4.2: does the order by H-score need fewer samples than training does?

Run: `python -m experiments.h_score.section42_fewer_samples cpu --data-dir DIR` after
`figure4ab_layers.py` with the same preset, whose features it uses; a quarter of an hour
on a core. Targets are those of Figure 4c: 3, 5, 10 and 20 classes of CIFAR-100, five
draws each. Sources are the five layers of an ImageNet network. From so many images a
class the sources are put in order by their H-score, by the regularised one, by LogME,
and by the accuracy on test images of a linear softmax that these images have trained.
How near an order is to its own with all images, and to the one by accuracy with all
images, is Spearman's correlation, a mean over the targets.

The paper says that "transferability can be computed with much less samples than
actually training the transfer network", and measures nothing. What it would mean is
that an order by H-score settles with fewer images than that by accuracy: the number of
images from which the mean correlation stays at .9. Intervals are over the targets.
"""

import dataclasses
import functools
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from experiments import harness
from experiments.h_score.figure4c_targets import of_classes, rows_of
from experiments.h_score.support import figures, imagenet
from experiments.h_score.support.imagenet import Set
from experiments.kept_networks import digest
from jtransfer import class_moments, data, scores
from jtransfer.ranking import correlations

SETTLED = 0.9
"""Mean correlation with the final order from which an order counts as settled."""
SCORES = {
    "H-score": scores.h_score,
    "regularised H-score": scores.regularized_h_score,
    "LogME": scores.logme,
}
ACCURACY = "accuracy of a trained head"


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the run."""

    image_size: int
    train_per_class: int
    test_per_class: int
    counts: tuple[int, ...]
    """Images a class from which sources are put in order; the last are all."""
    targets: tuple[int, ...] = (3, 5, 10, 20)
    """Numbers of classes."""
    num_draws: int = 5
    """Of the classes of a target."""
    weight_decay: float = 1e-2
    """Of a head, on features of deviation one."""
    base_width: int | None = None
    """Of an untrained network instead of the pretrained one."""
    network: Path | None = None
    """Folder of a pretrained ResNet-50 instead, see `support/imagenet.py`."""
    data_dir: str | None = None
    out: Path = Path("runs/h_score")
    results: Path = harness.RESULTS


PRESETS = {
    "smoke": (
        "seconds",
        Config(32, 4, 4, (2, 4), targets=(2,), num_draws=2, base_width=2),
    ),
    "cpu": (
        "a quarter of an hour on a core",
        Config(64, 120, 50, (3, 5, 10, 20, 40, 80, 120)),
    ),
    "paper": (
        "an accelerator, for the features",
        Config(224, 500, 100, (3, 5, 10, 20, 40, 80, 160, 320, 500)),
    ),
}


def main(config: Config, preset: str) -> None:
    """Writes the rows and the figure."""
    table = harness.Table("h_score", "fewer_samples", preset, config.results)
    train = imagenet.cifar100(config, "train", config.train_per_class)
    test = imagenet.cifar100(config, "test", config.test_per_class)
    draws = [(k, draw) for k in config.targets for draw in range(config.num_draws)]
    # [target, way, count, source]
    values = np.array([kept_values(config, train, test, *each) for each in draws])
    names = (*SCORES, ACCURACY)
    own = agreements(values, values[:, :, -1])
    to_accuracy = agreements(values, values[:, -1:, -1])
    needed = {}
    for place, name in enumerate(names):
        for words, agreement in (
            ("its own order", own),
            ("the order by accuracy", to_accuracy),
        ):
            for count, column in zip(config.counts, agreement[:, place].T, strict=True):
                figures.write_row(
                    table,
                    f"Spearman of the order by {name}, {count} a class, with {words} "
                    "with all",
                    harness.mean_interval(column),
                    config,
                )
        needed[name] = images_needed(config, own[:, place])
        figures.write_row(
            table,
            f"images a class from which the order by {name} is settled",
            needed[name],
            config,
        )
    for place, name in enumerate(SCORES):
        ratio = ratio_of_images_needed(config, own[:, place], own[:, -1])
        figures.write_row(
            table,
            f"images that settle the order by {name}, over those by accuracy",
            ratio,
            config,
            verdict=fewer(ratio),
        )
    figures.write_figure(table, draw_agreements, config, own, to_accuracy, size=(8, 3))


def kept_values(config, train: Set, test: Set, count: int, draw: int) -> np.ndarray:
    """Scores of the sources from fewer and more images, kept on disk."""
    of = digest(figures.settings(config), train.labels, test.labels)
    file = config.out / "fewer_samples" / f"{of}-{count}-{draw}.npy"
    if file.exists():
        return np.load(file)
    values = target_values(config, train, test, count, draw)
    print(f"{count} classes, draw {draw}", flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npy")
    np.save(partial, values)
    partial.rename(file)
    return values


def target_values(config, train: Set, test: Set, count: int, draw: int) -> np.ndarray:
    """The values of one target, `[way, count, source]`."""
    classes = np.random.default_rng([count, draw]).permutation(100)[:count]
    train, test = (of_classes(images, classes) for images in (train, test))
    order = data.block_balanced_order(train.labels, seed=draw)
    values = []
    train = rows_of(train, order)
    for n in config.counts:
        # Images without a label take part in nothing; so one shape is compiled.
        labels = np.where(np.arange(len(order)) < n * count, train.labels, -1)
        by_source = [
            source_values(config, *both, labels, test.labels, count)
            for both in zip(train.features, test.features, strict=True)
        ]
        values.append(np.transpose(by_source))
    return np.stack(values, axis=1)


def source_values(config, features, test_features, labels, test_labels, count: int):
    """Scores and the accuracy of a trained head of one source, `[way]`."""
    moments = class_moments(features, labels, num_classes=count)
    numbers = [float(score(moments)) for score in SCORES.values()]
    scaled = imagenet.standardization(features[labels >= 0])
    head = scores.softmax_classifier(
        jnp.asarray(scaled(features)),
        labels,
        num_classes=count,
        weight_decay=config.weight_decay,
    )
    logits = scaled(test_features) @ np.asarray(head.weights) + np.asarray(head.bias)
    return [*numbers, float(np.mean(logits.argmax(axis=1) == test_labels))]


def agreements(values: np.ndarray, final: np.ndarray) -> np.ndarray:
    """Spearman of the order of the sources with a final one, `[target, way, count]`.

    Args:
      values: `[target, way, count, source]`.
      final: `[target, way or 1, source]`.
    """
    targets, ways, counts, _ = values.shape
    final = np.broadcast_to(final, (targets, ways, values.shape[3]))
    return np.array(
        [
            [
                [spearman(values[t, way, n], final[t, way]) for n in range(counts)]
                for way in range(ways)
            ]
            for t in range(targets)
        ]
    )


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation; 0 where all sources are equal."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(correlations.spearman(a, b))


def settled_at(config: Config, agreement: np.ndarray) -> float:
    """The number of images from which the mean over targets stays at `SETTLED`."""
    means = agreement.mean(axis=0)
    below = np.flatnonzero(means < SETTLED)
    place = below[-1] + 1 if len(below) else 0
    return float(config.counts[min(place, len(means) - 1)])


def images_needed(config: Config, agreement: np.ndarray) -> harness.Value:
    """`settled_at` with a bootstrap over the targets."""
    return harness.bootstrap_interval(
        functools.partial(settled_at, config), agreement, seed=0
    )


def ratio_of_images_needed(
    config: Config, agreement: np.ndarray, other: np.ndarray
) -> harness.Value:
    """How many times as many images one order needs as the other, over targets."""

    def ratio(first: np.ndarray, second: np.ndarray) -> float:
        return settled_at(config, first) / settled_at(config, second)

    return harness.bootstrap_interval(ratio, agreement, other, seed=0)


def fewer(ratio: harness.Value) -> str:
    """Judges whether an order settles with fewer images than that by training.

    Example:
      >>> fewer(harness.Value(0.25, 0.1, 0.5))
      'Fewer samples than training, as stated: the interval ends below 1.'
      >>> fewer(harness.Value(0.5, 0.1, 1.0))
      'Not decided: the interval holds 1.'
      >>> fewer(harness.Value(2.0, 1.5, 4.0))
      'Not fewer: the interval begins above 1.'
    """
    if ratio.high < 1:
        return "Fewer samples than training, as stated: the interval ends below 1."
    if ratio.low > 1:
        return "Not fewer: the interval begins above 1."
    return "Not decided: the interval holds 1."


def draw_agreements(
    figure, config: Config, own: np.ndarray, to_accuracy: np.ndarray
) -> None:
    """Both correlations against the number of images."""
    left, right = figure.subplots(1, 2, sharey=True)
    titles = "with its own order", "with the order by accuracy"
    for axes, agreement, title in zip(
        (left, right), (own, to_accuracy), titles, strict=True
    ):
        for place, name in enumerate((*SCORES, ACCURACY)):
            means = agreement[:, place].mean(axis=0)
            axes.semilogx(config.counts, means, "o-", ms=3, label=name)
        axes.set(xlabel="images a class", title=title)
    left.set_ylabel("Spearman, mean over targets")
    left.axhline(SETTLED, color="black", lw=0.5)
    right.legend()


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
