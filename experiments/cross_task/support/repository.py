"""The double sliding window: ten teachers, five targets, and a student of each pair."""

import dataclasses
from typing import NamedTuple

import jax

from experiments.cross_task.support.outputs import centers
from experiments.cross_task.support.settings import (
    CPU,
    CUB,
    CUB_SIZES,
    NUM_CLASSES,
    PAPER,
    SMOKE,
    Config,
    Task,
    task,
)
from experiments.cross_task.support.training import (
    Model,
    sinkhorn_way,
    train,
    train_teacher,
)
from jtransfer import data
from jtransfer.data import Images


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoubleWindow(Config):
    """Sizes of the repository."""

    dataset: str = "cifar100"
    window_size: int = 50
    window_step: int = 10
    num_windows: int = 5
    """The first of them; the sixth of CIFAR-100 is left out, as CUB has five."""
    families: tuple[tuple[str, int | None], ...] = (("vgg4", 16), ("wrn-10-1", 8))
    """Names and widths of the teachers."""
    student: tuple[str, int | None] = ("vgg4", 8)


PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        DoubleWindow(
            **SMOKE,
            window_size=4,
            window_step=24,
            num_windows=2,
            families=(("vgg4", 2), ("vgg4", 1)),
            student=("vgg4", 1),
        ),
    ),
    "cpu": (
        "half an hour on one core",
        DoubleWindow(**CPU | {"seeds": (0, 1, 2)}),
    ),
    "paper": (
        "an accelerator; CIFAR-100 with the paper's networks for it",
        DoubleWindow(
            **PAPER,
            families=(("wrn-40-2", 16), ("resnet50", 64)),
            student=("wrn-16-1", 16),
        ),
    ),
    "cub": (
        "an accelerator; the paper's repository, with CUB prepared",
        DoubleWindow(
            **CUB_SIZES,
            dataset=CUB,
            window_size=100,
            window_step=25,
            families=(("mobilenet-1.0", None), ("resnet50", 64)),
            student=("mobilenet-0.25", None),
        ),
    ),
}


class Entry(NamedTuple):
    """A teacher of the repository."""

    model: Model
    window: int
    family: int
    source: Task
    own_centers: jax.Array
    """Of its classes, by its own training images, of length one."""


def train_repository(config: DoubleWindow) -> list[Entry]:
    """Trains the teachers, or reads them; all windows of one family first."""
    entries = []
    for family, shape in enumerate(config.families):
        for window, classes in enumerate(class_sets(config)):
            source = task(config, config.dataset, classes, config.teacher_per_class)
            model = train_teacher(config, shape, source)
            entries.append(
                Entry(
                    model,
                    window,
                    family,
                    source,
                    centers(model.network, source.train),
                )
            )
    return entries


def targets(config: DoubleWindow) -> list[Task]:
    """The targets, one a window."""
    return [
        task(config, config.dataset, classes, config.per_class)
        for classes in class_sets(config)
    ]


def class_sets(config: DoubleWindow):
    """The classes of the windows."""
    return data.sliding_windows(
        NUM_CLASSES[config.dataset],
        size=config.window_size,
        step=config.window_step,
        seed=0,
    )[: config.num_windows]


def train_student(
    config: DoubleWindow, taught_by: Model, cost, images: Images, *, seed: int
) -> Model:
    """Trains a student of a teacher by Algorithm 2, or reads it."""
    return train(
        config,
        config.student,
        images,
        sinkhorn_way(config, cost),
        config.student_training,
        seed=seed,
        taught_by=taught_by,
    )
