"""Tables 2 and 9: what a teacher's class centres know.

Run: `python -m experiments.cross_task.table2_table9_centres cpu --data-dir DIR`;
minutes on one core, CIFAR-10 and CIFAR-100 prepared in DIR; a killed run goes on. Table
2: a network on CIFAR-10 as it is, as a nearest-class-mean classifier with the true
centres (Eq. 6), and with its classifier's columns, scaled, for centres (Eq. 8); the
same with centres and embeddings centred, the columns by their mean and the embeddings
by that of the true centres. Table 9: how well K-means of the centres of a student's
classes, by the teacher's features and by those of an untrained network, finds the
superclasses of CIFAR-100 (K is their number in the window, which the paper leaves
open). NMI grows with the number of clusters, so the mean over random partitions with
clusters of the same sizes is beside. K-means does not see a shift of all centres. A
seed is one teacher.
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
    Task,
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

TABLE_2 = {
    "whole model": 0.9515,
    "nearest class mean, true centres": 0.9447,
    "nearest class mean, classifier's columns scaled": 0.9453,
}
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
    "cpu": ("minutes on one core", Centres(**CPU | {"seeds": (0, 1, 2)})),
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
    """Writes the accuracies of four ways to classify with one network, and the losses.

    A loss is the mean over the seeds of the whole model's accuracy less another's.
    """
    source = task(config, "cifar10", None, config.cifar10_per_class)
    accuracies = {}
    for seed in config.seeds:
        model = train_teacher(config, config.teacher, source, seed=seed)
        by_means = functools.partial(nearest_mean_accuracy, model)
        ways = {
            "whole model": functools.partial(accuracy, model, source.test),
            "nearest class mean, true centres": functools.partial(
                by_means,
                centers(model.network, source.train, scaled=False),
                source.test,
            ),
            "nearest class mean, classifier's columns scaled": functools.partial(
                by_means, head_centers(model.network), source.test
            ),
            "nearest class mean, centred columns": functools.partial(
                centred_accuracy, model, source
            ),
        }
        for name, compute in ways.items():
            value = write_row(
                sheet,
                f"accuracy, {name}",
                compute,
                seed=seed,
                paper_value=TABLE_2.get(name),
            ).value
            accuracies.setdefault(name, []).append(value)
    whole = accuracies.pop("whole model")
    for name, values in accuracies.items():
        printed = TABLE_2.get(name)
        write_row(
            sheet,
            f"lost by {name}",
            functools.partial(harness.mean_interval, np.subtract(whole, values)),
            paper_value=None if printed is None else 0.9515 - printed,
            verdict=loss_verdict,
        )


def centred_accuracy(model: Model, source: Task) -> Value:
    """The accuracy by the direction of embedding and column, both centred."""
    true = np.asarray(centers(model.network, source.train, scaled=False), np.float64)
    kernel = np.asarray(model.network.variables.params["classifier"]["kernel"])
    columns = kernel.T - kernel.T.mean(axis=0)
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    embedding, _ = embedding_and_logits(model.network, source.test.images)
    hits = (embedding - true.mean(axis=0)) @ columns.T
    hits = hits.argmax(axis=1) == source.test.labels
    return harness.share(np.sum(hits), len(hits))


def nearest_mean_accuracy(model: Model, class_centers, test: Images) -> Value:
    """The share of images whose embedding is nearest to the centre of their class."""
    embedding, _ = embedding_and_logits(model.network, test.images)
    outputs = clustering.nearest_center_logits(embedding, class_centers)
    hits = np.argmax(outputs, axis=1) == test.labels
    return harness.share(np.sum(hits), len(hits))


def loss_verdict(lost: Value) -> str:
    """Judges by how many points of the whole model's accuracy are lost."""
    points = f"{100 * lost.value:+.1f} points lost"
    if abs(lost.value) <= 0.01:
        return f"Close to the whole model, as printed: {points}."
    return f"Not close to the whole model: {points}."


def write_table9(config: Centres, sheet: Sheet) -> None:
    """Writes how clustered centres agree with the superclasses, window by window."""
    windows = data.sliding_windows(
        100, size=config.window_size, step=config.window_step, seed=0
    )
    source = task(config, "cifar100", windows[0], config.teacher_per_class)
    networks = [
        {
            "teacher": functools.partial(
                train_teacher, config, config.teacher, source, seed=seed
            ),
            "untrained": functools.partial(
                train_alone,
                config,
                config.teacher,
                source.train,
                Training(0),
                seed=seed + 1,
            ),
        }
        for seed in config.seeds
    ]
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
        for name, printed in TABLE_9.items():
            values = [
                write_row(
                    sheet,
                    f"NMI, {name}, {where}",
                    functools.partial(
                        center_agreement, of_seed[name], target.train, truth
                    ),
                    seed=seed,
                    paper_value=printed[k] if comparable else None,
                    verdict=functools.partial(chance_verdict, chance=chance),
                ).value
                for seed, of_seed in zip(config.seeds, networks, strict=True)
            ]
            if len(values) > 1:
                write_row(
                    sheet,
                    f"NMI, {name}, {where}, mean of the seeds",
                    functools.partial(harness.mean_interval, values),
                    paper_value=printed[k] if comparable else None,
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
