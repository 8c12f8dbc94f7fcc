"""The double sliding window: ten teachers, five targets, and a student of each pair."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import harness
from experiments.cross_task.support.assessments import (
    Evidence,
    evidence,
    scorers,
    transport_score,
)
from experiments.cross_task.support.outputs import centers, embedding_and_logits
from experiments.cross_task.support.settings import (
    CPU,
    CUB,
    CUB_SIZES,
    NUM_CLASSES,
    PAPER,
    SMOKE,
    Config,
    Task,
    Training,
    task,
)
from experiments.cross_task.support.training import (
    accuracy,
    sinkhorn_way,
    train_alone,
    train_taught,
    train_teacher,
)
from experiments.harness import Value
from experiments.kept_networks import Model
from jtransfer import data
from jtransfer.data import Images


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoubleWindow(Config):
    """Sizes of the repository."""

    dataset: str = "cifar100"
    window_size: int = 50
    window_step: int = 10
    window_seed: int = 0
    """Of the draw of the windows."""
    num_windows: int = 5
    """The first of them; the sixth of CIFAR-100 is left out, as CUB has five."""
    families: tuple[tuple[str, int | None], ...] = (("vgg4", 16), ("wrn-10-1", 8))
    """Names and widths of the teachers."""
    student: tuple[str, int | None] = ("vgg4", 8)
    with_bad: bool = False
    """Whether there are four bad teachers as well, see `BAD`."""


BAD = ("untrained", "untrained, other family", "labels of noise", "permuted head")
"""The first window's: networks as they were drawn, one trained on its images with the
labels shuffled, and its good teacher with the outputs moved on by one."""
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
    "fresh": (
        "an hour on one core; other windows, and a third family",
        DoubleWindow(
            **CPU | {"seeds": (0, 1, 2)},
            window_seed=1,
            families=(("vgg4", 16), ("wrn-10-1", 8), ("lenet", None)),
        ),
    ),
    "mixed": (
        "an hour on one core; the repository of cpu with four bad teachers",
        DoubleWindow(**CPU | {"seeds": (0, 1, 2)}, with_bad=True),
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
    """Of its classes, by its own training images."""


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
                    centers(model.network, source.train, scaled=False),
                )
            )
    return entries + bad_entries(config, entries[0]) if config.with_bad else entries


def bad_entries(config: DoubleWindow, good: Entry) -> list[Entry]:
    """The teachers of `BAD`, in that order."""
    images = good.source.train
    shuffled = np.random.default_rng(0).permutation(images.labels)
    others = [
        train_alone(config, shape, images, Training(0), seed=1)
        for shape in config.families[:2]
    ]
    noise = images._replace(labels=shuffled)
    others.append(
        train_alone(config, config.families[0], noise, config.teacher_training, seed=0)
    )
    bad = [
        good._replace(
            model=model,
            family=family,
            own_centers=centers(model.network, images, scaled=False),
        )
        for family, model in zip((0, 1, 0), others, strict=True)
    ]
    return [*bad, permuted(good)]


def permuted(honest: Entry) -> Entry:
    """The teacher with the outputs of its classes moved on by one."""
    network = honest.model.network
    head = network.variables.params["classifier"]
    moved = {name: jnp.roll(values, 1, axis=-1) for name, values in head.items()}
    params = {**network.variables.params, "classifier": moved}
    variables = network.variables._replace(params=params)
    name = honest.model.name + "-permuted"
    # The centres are those of the classes that its outputs are said to stand for.
    return honest._replace(model=Model(name, network._replace(variables=variables)))


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
        seed=config.window_seed,
    )[: config.num_windows]


def train_student(
    config: DoubleWindow, taught_by: Model, cost, images: Images, *, seed: int
) -> Model:
    """Trains a student of a teacher by Algorithm 2, or reads it."""
    return train_taught(
        config,
        config.student,
        images,
        sinkhorn_way(config, cost),
        config.student_training,
        seed=seed,
        taught_by=taught_by,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class TeacherOfTask:
    """A teacher and a task, with the numbers of both, computed when they are needed."""

    config: DoubleWindow
    task: int
    teacher: int
    target: Task
    entry: Entry
    alone: list[Model]
    """Students of the task without a teacher."""
    source_accuracy: float

    @property
    def name(self) -> str:
        """End of the names of the rows of this teacher and task."""
        return f"task {self.task + 1}, teacher {self.teacher + 1}"

    @functools.cached_property
    def evidence(self) -> Evidence:
        """Outputs and costs of the teacher."""
        entry = self.entry
        return evidence(
            self.config, entry.model.network, entry.own_centers, self.target.train
        )

    @functools.cached_property
    def students(self) -> list[Model]:
        """Students of the teacher, one a seed."""
        return [
            train_student(
                self.config,
                self.entry.model,
                self.evidence.cost,
                self.target.train,
                seed=seed,
            )
            for seed in self.config.seeds
        ]

    def student_accuracy(self, index: int) -> Value:
        """The test accuracy of the student of one seed."""
        return accuracy(self.students[index], self.target.test)

    def score(self, name: str) -> Value:
        """One of the scores that need no trained student."""
        return Value(float(scorers(self.evidence)[name]()))

    def score_of_students(self, name: str) -> Value:
        """Minus Eq. (24) for trained students, the mean over their seeds."""
        students = self.alone if name == "sinkhorn_1" else self.students
        images, given = self.target.train.images, self.evidence
        outputs = [
            embedding_and_logits(student.network, images)[1] for student in students
        ]
        return harness.mean_interval(
            [float(transport_score(given, logits, given.cost)) for logits in outputs]
        )

    def known(self, name: str) -> Value:
        """The share of the classes known, or the teacher's own accuracy."""
        if name == "source_accuracy":
            return Value(self.source_accuracy)
        classes = class_sets(self.config)
        own, target = classes[self.entry.window], classes[self.task]
        return Value(data.class_overlap(own, target))
