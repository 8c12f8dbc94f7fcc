"""Tables 2 and 9: what a teacher's class centres know.

Run: `python -m experiments.cross_task.table2_table9_centres cpu --data-dir DIR`;
minutes on one core, CIFAR-10 and CIFAR-100 prepared in DIR; a killed run goes on. Table
2: a network on CIFAR-10 as it is, as a nearest-class-mean classifier with the true
centres (Eq. 6), and with its classifier's columns, scaled, for centres (Eq. 8). Table
9: how well K-means of the centres of a student's classes, by the teacher's features and
by those of an untrained network, finds the superclasses of CIFAR-100 (K is their number
in the window, which the paper leaves open). NMI grows with the number of clusters, so
the mean over random partitions with clusters of the same sizes is beside.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np

from experiments import harness
from experiments.cross_task.support.outputs import (
    centers,
    embedding_and_logits,
    head_centers,
)
from experiments.cross_task.support.settings import (
    CPU,
    PAPER,
    SMOKE,
    Config,
    Training,
    new_sheet,
    superclasses,
    task,
)
from experiments.cross_task.support.training import (
    accuracy,
    train_alone,
    train_teacher,
)
from experiments.harness import Value
from experiments.kept_networks import Model
from experiments.sheets import Sheet, write_row
from jtransfer import data
from jtransfer.data import Images
from jtransfer.scores import clustering

TABLE_9 = {
    "untrained": (0.52, 0.52, 0.59, 0.56, 0.55, 0.55),
    "teacher": (0.80, 0.72, 0.77, 0.76, 0.79, 0.81),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Centres(Config):
    """Sizes of the two tables."""

    teacher: tuple[str, int | None] = ("vgg4", 16)
    cifar10_per_class: int | None = 500
    window_size: int = 50
    window_step: int = 10


PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        Centres(
            **SMOKE,
            teacher=("vgg4", 2),
            cifar10_per_class=6,
            window_size=20,
            window_step=80,
        ),
    ),
    "cpu": ("minutes on one core", Centres(**CPU)),
    "paper": (
        "an accelerator",
        Centres(**PAPER, teacher=("wrn-40-2", 16), cifar10_per_class=None),
    ),
}


def main(config: Centres, preset: str) -> None:
    """Writes the rows of both tables."""
    write_table2(config, new_sheet(config, "table2", preset))
    write_table9(config, new_sheet(config, "table9", preset))


def write_table2(config: Centres, sheet: Sheet) -> None:
    """Writes the accuracies of three ways to classify with one network."""
    source = task(config, "cifar10", None, config.cifar10_per_class)
    model = train_teacher(config, config.teacher, source)
    whole = write_row(
        sheet,
        "accuracy, whole model",
        functools.partial(accuracy, model, source.test),
        paper_value=0.9515,
    )
    verdict = functools.partial(loss_verdict, whole=whole)
    write_row(
        sheet,
        "accuracy, nearest class mean, true centres",
        lambda: nearest_mean_accuracy(
            model, centers(model.network, source.train, scaled=False), source.test
        ),
        paper_value=0.9447,
        verdict=verdict,
    )
    write_row(
        sheet,
        "accuracy, nearest class mean, classifier's columns scaled",
        lambda: nearest_mean_accuracy(model, head_centers(model.network), source.test),
        paper_value=0.9453,
        verdict=verdict,
    )


def nearest_mean_accuracy(model: Model, class_centers, test: Images) -> Value:
    """The share of images whose embedding is nearest to the centre of their class."""
    embedding, _ = embedding_and_logits(model.network, test.images)
    outputs = clustering.nearest_center_logits(embedding, class_centers)
    hits = np.argmax(outputs, axis=1) == test.labels
    return harness.share(np.sum(hits), len(hits))


def loss_verdict(share: Value, *, whole: Value) -> str:
    """Judges an accuracy by how many points of that of the whole model are lost."""
    lost = 100 * (whole.value - share.value)
    if abs(lost) <= 1:
        return f"Close to the whole model, as printed: {lost:+.1f} points lost."
    return f"Not close to the whole model: {lost:+.1f} points lost."


def write_table9(config: Centres, sheet: Sheet) -> None:
    """Writes how clustered centres agree with the superclasses, window by window."""
    windows = data.sliding_windows(
        100, size=config.window_size, step=config.window_step, seed=0
    )
    source = task(config, "cifar100", windows[0], config.teacher_per_class)
    networks = {
        "teacher": functools.partial(train_teacher, config, config.teacher, source),
        "untrained": functools.partial(
            train_alone, config, config.teacher, source.train, Training(0), seed=1
        ),
    }
    coarse = superclasses(config)
    for k, classes in enumerate(windows):
        target = task(config, "cifar100", classes, config.per_class)
        _, truth = np.unique(coarse[classes], return_inverse=True)
        where = f"overlap {data.class_overlap(windows[0], classes):.0%}"
        comparable = len(windows) == len(TABLE_9["teacher"])
        chance = write_row(
            sheet,
            f"NMI, random clusters of the true sizes, {where}",
            functools.partial(by_chance, truth),
        )
        for name, network in networks.items():
            write_row(
                sheet,
                f"NMI, {name}, {where}",
                functools.partial(center_agreement, network, target.train, truth),
                paper_value=TABLE_9[name][k] if comparable else None,
                verdict=functools.partial(chance_verdict, chance=chance),
            )


def chance_verdict(agreement: Value, *, chance: Value) -> str:
    """Judges an NMI by those of random partitions."""
    if agreement.value > chance.high:
        return "Above chance."
    return "Not above the 97.5% quantile of chance."


def center_agreement(
    network: Callable[[], Model], images: Images, truth: np.ndarray
) -> Value:
    """NMI of K-means of the classes' centres with the superclasses."""
    points = centers(network().network, images, scaled=False)
    labels = clustering.k_means_labels(
        points, jax.random.key(0), num_clusters=int(truth.max()) + 1
    )
    return Value(nmi(labels, truth))


def nmi(labels, truth: np.ndarray) -> float:
    """Normalised mutual information of two partitions of equally many parts."""
    num = int(truth.max()) + 1
    return float(
        clustering.normalized_mutual_information(
            labels, truth.astype(np.int32), num_labels=num, num_others=num
        )
    )


def by_chance(truth: np.ndarray, draws: int = 200) -> Value:
    """The mean NMI of the superclasses with themselves, shuffled, and 95% of them."""
    rng = np.random.default_rng(0)
    drawn = [nmi(rng.permutation(truth).astype(np.int32), truth) for _ in range(draws)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Value(float(np.mean(drawn)), float(low), float(high))


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
