"""Table 11, Figures 7 and 8: which score finds the best teacher.

Run: `python -m experiments.cross_task.table11_double_window cpu --data-dir DIR`; half
an hour on one core, CIFAR-100 prepared in DIR; a killed run goes on. The paper's
repository is of CUB, ours of CIFAR-100: five windows of 50 classes, ten classes apart,
and two families make ten teachers; each window is a target as well, its student the
smallest network, distilled from each teacher by Algorithm 2. The true worth of a
teacher is the mean test accuracy of its students over the seeds. Beside the paper's
scores stand two that cost nothing (how many classes the two share, how good a teacher
is at its own), what all these tell of teachers of one family, whose networks are alike
but for their classes, and what the students of one seed tell of those of the others:
how far the accuracies are the teachers' doing and not chance: below .3 there is nothing
to correlate with, and no verdict. A score may do better, for the mean over all seeds is
less a matter of chance than one seed is. With `mixed` four bad teachers are among them,
and each score is asked where it puts these.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments import harness
from experiments.cross_task.support.assessments import NAMES
from experiments.cross_task.support.correlations import (
    bootstrapped,
    correlation_verdict,
    difference,
    interval_verdict,
    mean_pearson,
    mean_regret,
    within_families,
)
from experiments.cross_task.support.figures import draw_figure7, draw_figure8
from experiments.cross_task.support.repository import (
    BAD,
    PRESETS,
    DoubleWindow,
    TeacherOfTask,
    targets,
    train_repository,
)
from experiments.cross_task.support.settings import (
    CUB,
    Task,
    new_sheet,
    write_cub_not_run,
)
from experiments.cross_task.support.training import accuracy, train_alone
from experiments.harness import Value
from experiments.kept_networks import Model
from experiments.sheets import Sheet, write_known, write_row

COMPARED = {
    **NAMES,
    "sinkhorn_1": "Sinkhorn, Approximation I",
    "sinkhorn_exact": "Sinkhorn, exact",
    "overlap": "share of the classes known",
    "source_accuracy": "teacher's accuracy on its own classes",
}
TABLE_11 = {
    "nce": (-0.03, 0.16, 0.35, 0.50, 0.19, 0.23),
    "leep": (0.14, 0.60, 0.17, 0.14, 0.50, 0.31),
    "logme": (0.72, 0.96, 0.66, 0.40, 0.73, 0.69),
    "sinkhorn_2": (0.77, 0.96, 0.69, 0.43, 0.75, 0.72),
}
"""The five tasks and their mean, of CUB."""
LEAST_AGREEMENT = 0.3
"""Of two seeds of the students."""


class Measured(NamedTuple):
    """The numbers of all teachers and tasks."""

    accuracies: np.ndarray
    """Of the students, `[tasks, teachers, seeds]`."""
    scores: dict[str, np.ndarray]
    """By the names of `COMPARED`, `[tasks, teachers]`."""
    families: np.ndarray
    """Of the teachers, `[teachers]`."""
    num_bad: int
    """Of the teachers, the last ones."""


def main(config: DoubleWindow, preset: str) -> None:
    """Trains what is missing, writes rows and figures."""
    entries, tasks = train_repository(config), targets(config)
    sheet = new_sheet(config, "double_window", preset)
    alone = [write_baseline(config, sheet, k, target) for k, target in enumerate(tasks)]
    source_accuracies = [
        write_row(
            sheet,
            f"accuracy of teacher {h + 1} on its own classes",
            functools.partial(accuracy, entry.model, entry.source.test),
        ).value
        for h, entry in enumerate(entries)
    ]
    accuracies, scores = [], {name: [] for name in COMPARED}
    for k, target in enumerate(tasks):
        line = [
            TeacherOfTask(config, k, h, target, entry, alone[k], source_accuracies[h])
            for h, entry in enumerate(entries)
        ]
        accuracies.append([write_accuracies(sheet, cell) for cell in line])
        of_teachers = [write_scores(sheet, cell) for cell in line]
        for name, values in scores.items():
            values.append([numbers[name] for numbers in of_teachers])
    measured = Measured(
        np.array(accuracies),
        {name: np.array(values) for name, values in scores.items()},
        np.array([entry.family for entry in entries]),
        len(BAD) if config.with_bad else 0,
    )
    table11 = new_sheet(config, "table11", preset)
    write_table11(table11, measured)
    if config.with_bad:
        write_places(table11, measured)
    draw_figure7(new_sheet(config, "figure7", preset).table, measured)
    draw_figure8(new_sheet(config, "figure8", preset).table, measured)
    if config.dataset != CUB and preset != "smoke":
        script = "experiments.cross_task.table11_double_window"
        write_cub_not_run(config, "table11_cub", preset, script)


def write_baseline(config, sheet: Sheet, k: int, target: Task) -> list[Model]:
    """Writes the accuracies of students without a teacher; the students, one a seed."""
    students = []
    for seed in config.seeds:
        model = train_alone(
            config,
            config.student,
            target.train,
            config.student_training,
            seed=seed,
        )
        write_row(
            sheet,
            f"accuracy, task {k + 1}, student alone",
            functools.partial(accuracy, model, target.test),
            seed=seed,
        )
        students.append(model)
    return students


def write_accuracies(sheet: Sheet, cell: TeacherOfTask) -> list[float]:
    """Writes the accuracies of the students of a teacher, one a seed."""
    return [
        write_row(
            sheet,
            f"accuracy, {cell.name}",
            functools.partial(cell.student_accuracy, index),
            seed=seed,
        ).value
        for index, seed in enumerate(cell.config.seeds)
    ]


def write_scores(sheet: Sheet, cell: TeacherOfTask) -> dict[str, float]:
    """Writes the scores of a teacher for a task, by the names of `COMPARED`."""
    rules = {
        **dict.fromkeys(NAMES, cell.score),
        **dict.fromkeys(("sinkhorn_1", "sinkhorn_exact"), cell.score_of_students),
        **dict.fromkeys(("overlap", "source_accuracy"), cell.known),
    }
    return {
        name: write_row(
            sheet, f"{label}, {cell.name}", functools.partial(rules[name], name)
        ).value
        for name, label in COMPARED.items()
    }


def write_table11(sheet: Sheet, measured: Measured) -> None:
    """Writes correlations with the accuracy, what the first choice loses, differences.

    Args:
      sheet: the table.
      measured: the numbers of all teachers and tasks.
    """
    worth = measured.accuracies.mean(axis=2)
    first, others = measured.accuracies[:, :, 0], measured.accuracies[:, :, 1:]
    rule = correlation_verdict
    if others.size:
        agreement = write_row(
            sheet,
            "Pearson, one seed with the others, average",
            functools.partial(bootstrapped, mean_pearson, first, others.mean(axis=2)),
        )
        if agreement.value < LEAST_AGREEMENT:
            rule = undecided
    for name in COMPARED:
        write_score(sheet, name, measured, rule)
    write_known(
        sheet,
        "accuracy lost by a choice at random, average",
        float(np.mean(worth.max(axis=1) - worth.mean(axis=1))),
    )
    for other in ("logme", "overlap", "sinkhorn_1", "sinkhorn_exact", "probe"):
        write_row(
            sheet,
            f"Pearson, Approximation II less {COMPARED[other]}, average",
            functools.partial(
                bootstrapped,
                difference,
                measured.scores["sinkhorn_2"],
                measured.scores[other],
                worth,
            ),
            verdict=interval_verdict,
        )


def undecided(correlation: Value) -> str:
    """The verdict where the seeds of the students do not agree with each other."""
    del correlation
    return f"Not decided: two seeds correlate below {LEAST_AGREEMENT}."


def write_places(sheet: Sheet, measured: Measured) -> None:
    """Writes where scores, and the accuracy, put the bad teachers: mean places."""
    num_good = measured.accuracies.shape[1] - len(BAD)
    worth = measured.accuracies.mean(axis=2)
    for name, values in {"accuracy": worth, **measured.scores}.items():
        label = COMPARED.get(name, "accuracy of the students")
        for h, bad in enumerate(BAD, start=num_good):
            better = [np.sum(line > line[h]) for line in values]
            write_known(
                sheet,
                f"place of {values.shape[1]}, {label}, {bad}",
                1 + float(np.mean(better)),
            )


def write_score(
    sheet: Sheet, name: str, measured: Measured, rule: Callable[[Value], str]
) -> None:
    """Writes the correlations of one score with the accuracy, and what it loses."""
    worth, scores = measured.accuracies.mean(axis=2), measured.scores[name]
    label, printed = COMPARED[name], TABLE_11.get(name, (None,) * 6)
    pearson = functools.partial(bootstrapped, mean_pearson)
    for k in range(len(worth)):
        write_row(
            sheet,
            f"Pearson, {label}, task {k + 1}",
            functools.partial(pearson, scores[k : k + 1], worth[k : k + 1]),
            paper_value=printed[k],
            verdict=rule,
        )
    write_row(
        sheet,
        f"Pearson, {label}, average",
        functools.partial(pearson, scores, worth),
        paper_value=printed[5],
        verdict=rule,
    )
    left = [within_families(x, measured.families) for x in (scores, worth)]
    write_row(
        sheet,
        f"Pearson within the families, {label}, average",
        functools.partial(pearson, *left),
        verdict=rule,
    )
    write_known(
        sheet,
        f"accuracy lost by the first choice, {label}, average",
        mean_regret(scores, worth),
    )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
