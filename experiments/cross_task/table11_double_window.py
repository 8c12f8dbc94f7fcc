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
how far the accuracies are the teachers' doing and not chance. A score may do better,
for the mean over all seeds is less a matter of chance than one seed is.
"""

import functools
from typing import NamedTuple

import numpy as np

from experiments import harness
from experiments.cross_task.support.assessments import (
    NAMES,
    evidence,
    transport,
    values,
)
from experiments.cross_task.support.correlations import (
    bootstrapped,
    difference,
    is_positive,
    mean_pearson,
    mean_regret,
    told_apart,
    within_families,
)
from experiments.cross_task.support.figures import figure7, figure8
from experiments.cross_task.support.outputs import logits
from experiments.cross_task.support.repository import (
    PRESETS,
    DoubleWindow,
    class_sets,
    repository,
    student,
    targets,
)
from experiments.cross_task.support.settings import CUB
from experiments.cross_task.support.sheets import Sheet, row, sheet, without_cub
from experiments.cross_task.support.training import ALONE, accuracy, trained
from experiments.harness import Value
from jtransfer import data

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


class Found(NamedTuple):
    """What the rows hold."""

    accuracies: np.ndarray
    """Of the students, `[tasks, teachers, seeds]`."""
    scores: dict[str, np.ndarray]
    """By the names of `COMPARED`, `[tasks, teachers]`."""
    families: np.ndarray
    """Of the teachers, `[teachers]`."""


def main(config: DoubleWindow, preset: str) -> None:
    """Trains what is missing, writes rows and figures."""
    entries, tasks = repository(config), targets(config)
    raw = sheet(config, "double_window", preset)
    alone = [baseline(config, raw, k, target) for k, target in enumerate(tasks)]
    source_accuracies = [
        row(
            raw,
            f"accuracy of teacher {h + 1} on its own classes",
            lambda entry=entry: accuracy(entry.model, entry.source.test),
        ).value
        for h, entry in enumerate(entries)
    ]
    cells = [
        [
            measured(config, raw, (k, h), target, entry, alone[k], source_accuracies[h])
            for h, entry in enumerate(entries)
        ]
        for k, target in enumerate(tasks)
    ]
    found = Found(
        np.array([[cell[0] for cell in line] for line in cells]),
        {
            name: np.array([[cell[1][name] for cell in line] for line in cells])
            for name in COMPARED
        },
        np.array([entry.family for entry in entries]),
    )
    write_table11(sheet(config, "table11", preset), found)
    figure7(sheet(config, "figure7", preset).table, found)
    figure8(sheet(config, "figure8", preset).table, found)
    if config.dataset != CUB and preset != "smoke":
        script = "experiments/cross_task/table11_double_window.py"
        without_cub(config, "table11_cub", preset, script)


def baseline(config, raw: Sheet, k: int, target) -> list:
    """The students without a teacher, one a seed."""
    students = []
    for seed in config.seeds:
        model = trained(
            config,
            config.student,
            target.train,
            ALONE,
            config.student_training,
            seed=seed,
        )
        row(
            raw,
            f"accuracy, task {k + 1}, student alone",
            lambda model=model: accuracy(model, target.test),
            seed=seed,
        )
        students.append(model)
    return students


def measured(config, raw: Sheet, cell, target, entry, alone, source_accuracy):
    """Accuracies `[seeds]` of the students of a teacher, and its scores by name."""
    k, h = cell
    where = f"task {k + 1}, teacher {h + 1}"
    seen = functools.cache(
        lambda: evidence(config, entry.model.network, entry.own_centers, target.train)
    )
    taught = functools.cache(
        lambda seed: student(config, entry.model, seen().cost, target.train, seed=seed)
    )
    accuracies = [
        row(
            raw,
            f"accuracy, {where}",
            lambda seed=seed: accuracy(taught(seed), target.test),
            seed=seed,
        ).value
        for seed in config.seeds
    ]

    def of_students(models):
        """The score of Eq. (24) for the students of all seeds, with its spread."""
        outputs = [logits(model.network, target.train.images) for model in models]
        found = seen()
        return harness.mean_interval(
            [float(transport(found, output, found.cost).score) for output in outputs]
        )

    classes = class_sets(config)
    overlap = data.class_overlap(classes[entry.window], classes[k])
    computed = {
        **{
            name: lambda name=name: Value(float(values(seen())[name]()))
            for name in NAMES
        },
        "sinkhorn_1": lambda: of_students(alone),
        "sinkhorn_exact": lambda: of_students(map(taught, config.seeds)),
        "overlap": lambda: Value(overlap),
        "source_accuracy": lambda: Value(source_accuracy),
    }
    scores = {
        name: row(raw, f"{COMPARED[name]}, {where}", compute).value
        for name, compute in computed.items()
    }
    return accuracies, scores


def write_table11(found_sheet: Sheet, found: Found) -> None:
    """Correlations with the accuracy, what the first choice loses, and differences."""
    worth = found.accuracies.mean(axis=2)
    for name, label in COMPARED.items():
        scores = found.scores[name]
        printed = TABLE_11.get(name, (None,) * 6)
        for k in range(len(worth)):
            row(
                found_sheet,
                f"Pearson, {label}, task {k + 1}",
                lambda k=k, s=scores: bootstrapped(
                    mean_pearson, s[k : k + 1], worth[k : k + 1]
                ),
                paper_value=printed[k],
                verdict=is_positive,
            )
        row(
            found_sheet,
            f"Pearson, {label}, average",
            lambda s=scores: bootstrapped(mean_pearson, s, worth),
            paper_value=printed[5],
            verdict=is_positive,
        )
        row(
            found_sheet,
            f"Pearson within the families, {label}, average",
            lambda s=scores: bootstrapped(
                mean_pearson,
                *(within_families(x, found.families) for x in (s, worth)),
            ),
            verdict=is_positive,
        )
        row(
            found_sheet,
            f"accuracy lost by the first choice, {label}, average",
            lambda s=scores: Value(mean_regret(s, worth)),
        )
    row(
        found_sheet,
        "accuracy lost by a choice at random, average",
        lambda: Value(float(np.mean(worth.max(axis=1) - worth.mean(axis=1)))),
    )
    for other in ("logme", "overlap", "sinkhorn_1", "sinkhorn_exact", "probe"):
        row(
            found_sheet,
            f"Pearson, Approximation II less {COMPARED[other]}, average",
            lambda other=other: bootstrapped(
                difference, found.scores["sinkhorn_2"], found.scores[other], worth
            ),
            verdict=told_apart,
        )
    if found.accuracies.shape[2] > 1:
        row(
            found_sheet,
            "Pearson, one seed with the others, average",
            between_seeds(found),
        )


def between_seeds(found: Found):
    """What the students of one seed tell of those of the others."""

    def compute():
        first = found.accuracies[:, :, 0]
        return bootstrapped(
            mean_pearson, first, found.accuracies[:, :, 1:].mean(axis=2)
        )

    return compute


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
