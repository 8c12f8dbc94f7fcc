"""Table 10 and Figure 10: a teacher of something else, and teachers far apart.

Run: `python -m experiments.cross_task.table10_figure10_unrelated cpu --data-dir DIR`;
ten minutes on one core; `scene15`, `tindogs`, `tin10` and CIFAR-100 prepared in DIR; a
killed run goes on. Stand-ins throughout. Table 10: the teacher knows scenes and the
students learn dogs, in the paper birds and dogs; it says that Sinkhorn distillation
never does harm. Figure 10: five teachers that are five targets (scenes, dogs, ten
things of Tiny ImageNet, animals and other things of CIFAR-100; in the paper scenes,
dogs, birds, cars, aircraft). Each student is taught by the teacher that Approximation
II puts first. A teacher has learned from images of its own set that its student gets
too.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from experiments import harness
from experiments.cross_task.support.assessments import (
    approximation_2,
    evidence,
)
from experiments.cross_task.support.methods import student_accuracy
from experiments.cross_task.support.outputs import centers
from experiments.cross_task.support.settings import (
    CPU,
    PAPER,
    SMOKE,
    Config,
    Task,
    Training,
    domain_task,
    new_sheet,
)
from experiments.cross_task.support.training import accuracy, train_teacher
from experiments.harness import Value
from experiments.kept_networks import Model
from experiments.sheets import (
    Sheet,
    axes,
    gain,
    write_known,
    write_row,
)

DOMAINS = ("scene15", "tindogs", "tin10", "animals", "things")
TABLE_10 = {
    "Student": (0.7235, 0.7069, 0.7011, 0.6857),
    "FitNet": (0.7114, 0.6837, 0.6990, 0.6841),
    "RKD": (0.7238, 0.7015, 0.6990, 0.6842),
    "WCoRD": (0.7284, 0.6998, 0.6942, 0.6820),
    "MGD": (0.7325, 0.7014, 0.6977, 0.6869),
    "ReFilled": (0.7307, 0.7023, 0.6935, 0.6818),
    "Ours": (0.7355, 0.7074, 0.7035, 0.6860),
}
"""MobileNet of width 1, .75, .5 and .25 on dogs, taught by birds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unrelated(Config):
    """Sizes of the table and the figure."""

    teacher: tuple[str, int | None] = ("vgg4", 16)
    student: tuple[str, int | None] = ("vgg4", 8)
    printed_student: int = 3
    domains: tuple[str, ...] = DOMAINS
    cells: tuple[str, ...] = tuple(TABLE_10)
    """Methods of Table 10 that are run; the student alone among them."""


PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        Unrelated(
            **SMOKE,
            teacher=("vgg4", 2),
            student=("vgg4", 1),
            domains=DOMAINS[:2],
            cells=("Student", "Ours"),
        ),
    ),
    "cpu": (
        "minutes on one core",
        Unrelated(
            **CPU
            | {
                "student_training": Training(num_epochs=30),
                "teacher_training": Training(num_epochs=20),
                "per_class": 100,
                "teacher_per_class": 400,
                "seeds": (0, 1, 2),
            }
        ),
    ),
    "paper": (
        "an accelerator",
        Unrelated(
            **PAPER, teacher=("mobilenet-1.0", None), student=("mobilenet-0.25", None)
        ),
    ),
}


def main(config: Unrelated, preset: str) -> None:
    """Trains what is missing, writes rows and the figure."""
    write_table10(config, new_sheet(config, "table10", preset))
    write_figure10(config, new_sheet(config, "figure10", preset))


def write_table10(config: Unrelated, sheet: Sheet) -> None:
    """Writes the accuracies of students of dogs, taught by a teacher of scenes."""
    source = domain_task(config, "scene15", config.teacher_per_class)
    target = domain_task(config, "tindogs", config.per_class)
    teacher = train_teacher(config, config.teacher, source)
    write_row(
        sheet,
        "accuracy, teacher of scenes",
        functools.partial(accuracy, teacher, source.test),
    )
    accuracies, column = {}, config.printed_student
    for method in config.cells:
        line = TABLE_10[method]
        accuracies[method] = write_accuracies(
            config,
            sheet,
            f"accuracy, {method}",
            functools.partial(
                student_accuracy, config, method, config.student, teacher, target
            ),
            paper_value=line[column],
        )
        if method != "Student":
            gains = np.subtract(accuracies[method], accuracies["Student"])
            write_row(
                sheet,
                f"gain, {method}",
                functools.partial(harness.mean_interval, gains),
                paper_value=line[column] - TABLE_10["Student"][column],
                verdict=gain,
            )


def write_accuracies(
    config: Unrelated, sheet: Sheet, cell: str, compute: Callable, **options
) -> list[float]:
    """Writes an accuracy for each seed, by ``compute(seed=seed)``."""
    return [
        write_row(
            sheet, cell, functools.partial(compute, seed=seed), seed=seed, **options
        ).value
        for seed in config.seeds
    ]


def write_figure10(config: Unrelated, sheet: Sheet) -> None:
    """Writes the score of each teacher for each target, and what the choice gains."""
    names = config.domains
    teachers = {
        name: train_teacher(
            config, config.teacher, domain_task(config, name, config.teacher_per_class)
        )
        for name in names
    }
    targets = {name: domain_task(config, name, config.per_class) for name in names}
    scores = np.array(
        [
            [
                write_row(
                    sheet,
                    f"Approximation II, target {target}, teacher {source}",
                    functools.partial(score, config, teachers[source], targets[target]),
                ).value
                for source in names
            ]
            for target in names
        ]
    )
    means = np.array(
        [
            write_choice(config, sheet, name, targets[name], teachers, line)
            for name, line in zip(names, scores, strict=True)
        ]
    )
    draw(sheet.table, names, scores, means)


def score(config: Unrelated, teacher: Model, target: Task) -> Value:
    """Approximation II of a teacher for a target."""
    network, train = teacher.network, target.train
    given = evidence(config, network, centers(network, train), train)
    return Value(float(approximation_2(given, given.head)))


def write_choice(
    config: Unrelated,
    sheet: Sheet,
    name: str,
    target: Task,
    teachers: dict[str, Model],
    scores: np.ndarray,
) -> tuple[float, float]:
    """Writes which teacher a score chooses; mean accuracies without and with it."""
    chosen = config.domains[int(np.argmax(scores))]
    own = "As printed: the own domain is chosen."
    other = f"Not as printed: {chosen} is chosen."
    write_known(
        sheet,
        f"is the own domain chosen, target {name}",
        float(chosen == name),
        paper_value=1.0,
        verdict=lambda share: own if share.value else other,
    )
    alone, taught = (
        write_accuracies(
            config,
            sheet,
            f"accuracy, target {name}, {method}",
            functools.partial(
                student_accuracy,
                config,
                method,
                config.student,
                teachers[chosen],
                target,
            ),
        )
        for method in ("Student", "Ours")
    )
    write_row(
        sheet,
        f"gain, target {name}",
        functools.partial(harness.mean_interval, np.subtract(taught, alone)),
        verdict=gain,
    )
    return float(np.mean(alone)), float(np.mean(taught))


def draw(table, names, scores, means) -> None:
    """Draws the scores as a map and the accuracies as bars."""
    figure, (panels,) = axes(1, 2, size=(8, 3.2))
    picture = panels[0].imshow(scores)
    figure.colorbar(picture, ax=panels[0])
    places = np.arange(len(names))
    panels[0].set(xlabel="teacher", ylabel="target", title="Approximation II")
    panels[0].set_xticks(places, names, rotation=30)
    panels[0].set_yticks(places, names)
    for shift, values, label in zip(
        (-0.2, 0.2), means.T, ("alone", "taught"), strict=True
    ):
        panels[1].bar(places + shift, 100 * values, 0.4, label=label)
    panels[1].set_xticks(places, names, rotation=30)
    panels[1].set_ylabel("test accuracy, %")
    panels[1].legend(fontsize="x-small")
    harness.save_figure(figure, table)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
