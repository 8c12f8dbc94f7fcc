"""Settings and images of the scripts on selective cross-task distillation."""

import csv
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import harness
from experiments.sheets import Sheet, write_not_run
from jtransfer import data
from jtransfer.data import Images

CUB = "caltech_birds2011"
PRINTED = Path(__file__).parents[1] / "printed"
"""Numbers of the paper's tables, a file each."""


@dataclasses.dataclass(frozen=True)
class Training:
    """Settings of SGD with momentum, whose rate falls to a fifth at each decay."""

    num_epochs: int
    """0 leaves the network as it was drawn."""
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    padding: int = 0
    """Of crops and flips, about which the paper says nothing; 0 for neither. With
    them a teacher runs inside each step, else once for all."""
    decay_epochs: tuple[int, ...] | None = None
    """When; None for each quarter of the epochs, in the paper 50, 100 and 150 of 200
    for CIFAR-100."""

    @property
    def falls(self) -> tuple[float, ...]:
        """The epochs at which the rate falls."""
        if self.decay_epochs is not None:
            return self.decay_epochs
        return tuple(self.num_epochs * quarter / 4 for quarter in (1, 2, 3))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of all scripts; each adds its own."""

    student_training: Training
    teacher_training: Training
    per_class: int | None
    """Training images of a student, of each class; None for all."""
    teacher_per_class: int | None
    image_size: int = 32
    limit: int | None = None
    """Images read of a data set; None for all."""
    temperature: float = 3.0
    epsilon: float = 0.1
    centred: bool = True
    """Whether centres of classes are centred before they are scaled, as in
    `sinkhorn.centred_cost`; rows without it are those of before."""
    weight: float = 10.0
    """Lambda of Eq. (11): 10 for CIFAR-100, 100 for CUB."""
    seeds: tuple[int, ...] = (0,)
    """Of the students; the teachers have the first."""
    data_dir: str | None = None
    out: Path = Path("runs/cross_task")
    results: Path = harness.RESULTS


SMOKE = {
    "student_training": Training(num_epochs=1, batch_size=16),
    "teacher_training": Training(num_epochs=1, batch_size=16),
    "per_class": 4,
    "teacher_per_class": 4,
    "image_size": 8,
    "limit": 2000,
}
CPU = {
    "student_training": Training(num_epochs=12),
    "teacher_training": Training(num_epochs=10),
    "per_class": 40,
    "teacher_per_class": 100,
    "image_size": 16,
}
"""Chosen for their time on one core, before any correlation was seen."""
PAPER = {
    "student_training": Training(num_epochs=200, batch_size=256, padding=4),
    "teacher_training": Training(num_epochs=200, batch_size=256, padding=4),
    "per_class": None,
    "teacher_per_class": None,
}
CUB_SIZES = PAPER | {
    "student_training": Training(
        num_epochs=200, batch_size=128, padding=8, decay_epochs=(150, 170, 180)
    ),
    "teacher_training": Training(
        num_epochs=200, batch_size=128, padding=8, decay_epochs=(150, 170, 180)
    ),
    "image_size": 96,
    "weight": 100.0,
}
"""The paper does not say how large its images of CUB are."""
LIVING = (
    "aquatic_mammals",
    "fish",
    "insects",
    "large_carnivores",
    "large_omnivores_and_herbivores",
    "medium_mammals",
    "non-insect_invertebrates",
    "people",
    "reptiles",
    "small_mammals",
)
NUM_CLASSES = {"cifar100": 100, CUB: 200}


class Task(NamedTuple):
    """A target: what a student learns and is tested on."""

    train: Images
    test: Images


def task(
    config: Config,
    dataset: str,
    classes: Sequence[int] | None,
    per_class: int | None,
    *,
    label_key: str | None = None,
) -> Task:
    """The images of some classes, the training images balanced over them.

    A smaller number a class is part of a larger one, for teachers and students alike.
    """
    train, test = (
        _images(dataset, s, config.image_size, label_key, config.limit, config.data_dir)
        for s in ("train", "test")
    )
    if classes is not None:
        train, test = (data.examples_of(part, classes) for part in (train, test))
    size = None if per_class is None else per_class * len(train.class_names)
    order = data.block_balanced_order(train.labels, seed=0)[:size]
    return Task(data.examples_at(train, order), test)


def domain_task(config: Config, name: str, per_class: int | None) -> Task:
    """A data set, or of CIFAR-100 the ten superclasses of `animals` or of `things`."""
    if name not in ("animals", "things"):
        return task(config, name, None, per_class)
    whole = task(config, "cifar100", None, 1, label_key="coarse_label").train
    classes = [
        label
        for label, superclass in enumerate(whole.class_names)
        if (superclass in LIVING) == (name == "animals")
    ]
    return task(config, "cifar100", classes, per_class, label_key="coarse_label")


@functools.lru_cache(maxsize=16)
def _images(dataset, split, size, label_key, limit, data_dir):
    return data.load(
        dataset,
        split,
        image_size=size,
        num_channels=3,
        label_key=label_key,
        limit=limit,
        data_dir=data_dir,
    )


def superclasses(config: Config) -> np.ndarray:
    """The superclass of each of the 100 classes of CIFAR-100, `[100]`."""
    fine, coarse = (
        _images("cifar100", "train", config.image_size, key, None, config.data_dir)
        for key in (None, "coarse_label")
    )
    groups = np.empty(len(fine.class_names), np.int32)
    groups[fine.labels] = coarse.labels
    return groups


def new_sheet(config: Config, name: str, preset: str) -> Sheet:
    """A table of this paper, with the settings that may change a number in it."""
    table = harness.Table("cross_task", name, preset, config.results)
    return Sheet(table, harness.settings(config, "seeds"))


def write_cub_not_run(config: Config, name: str, preset: str, script: str) -> None:
    """Writes that a table of CUB was not run, unless the data are there."""
    if CUB not in data.prepared_names(config.data_dir):
        reason = f"CUB ({CUB}) is not prepared; with it: python -m {script} cub"
        write_not_run(new_sheet(config, name, preset), "all cells", reason)


def printed_table(file: str) -> dict[tuple[str, str], tuple[float, ...]]:
    """Accuracies that the paper prints, by the first two columns of a file."""
    with (PRINTED / file).open(encoding="utf-8") as lines:
        rows = list(csv.reader(lines))[1:]
    return {
        (row[0], row[1]): tuple(float(x) / 100 if x else None for x in row[2:])
        for row in rows
    }
