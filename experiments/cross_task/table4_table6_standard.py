"""Tables 4 and 6: the same classes for teacher and student, one family and two.

Run: `python -m experiments.cross_task.table4_table6_standard cpu --data-dir DIR`; ten
minutes on one core, CIFAR-100 prepared in DIR; a killed run goes on. All 100 classes.
Table 4 has a teacher of the students' family (the first student has its architecture,
and for it there is self-distillation, BAN), Table 6 one of another. SFTN, AFD, SEED,
SSKD, WCoRD and MGD are not part of the package.
"""

import dataclasses

import numpy as np

from experiments import harness
from experiments.cross_task.support.methods import METHODS, NOT_HERE, printed, student
from experiments.cross_task.support.settings import (
    CPU,
    CUB,
    CUB_SIZES,
    NUM_CLASSES,
    PAPER,
    SMOKE,
    Config,
    task,
)
from experiments.cross_task.support.sheets import gain, not_run, row, sheet, without_cub
from experiments.cross_task.support.training import accuracy, teacher

SCRIPT = "experiments/cross_task/table4_table6_standard.py"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standard(Config):
    """Sizes of the experiment."""

    dataset: str = "cifar100"
    num_classes: int | None = None
    """The first of them; None for all."""
    teachers: tuple[tuple[str, int | None], ...] = (("vgg4", 16), ("wrn-10-1", 8))
    """Of the students' family, and of another."""
    students: tuple[tuple[str, int | None], ...] = (("vgg4", 16), ("vgg4", 8))
    printed_students: tuple[int, ...] = (0, 3)
    """Which of the four columns of the paper stand beside ours."""


PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        Standard(
            **SMOKE,
            num_classes=4,
            teachers=(("vgg4", 2),),
            students=(("vgg4", 1),),
            printed_students=(3,),
        ),
    ),
    "cpu": (
        "minutes on one core",
        Standard(
            **CPU | {"per_class": 20, "teacher_per_class": 50, "seeds": (0, 1, 2)}
        ),
    ),
    "paper": (
        "an accelerator",
        Standard(
            **PAPER,
            teachers=(("wrn-40-2", 16), ("resnet50", 64)),
            students=tuple(
                (f"wrn-{size}", 16) for size in ("40-2", "16-2", "40-1", "16-1")
            ),
            printed_students=(0, 1, 2, 3),
        ),
    ),
    "cub": (
        "an accelerator; Tables 5 and 7, with CUB prepared",
        Standard(
            **CUB_SIZES,
            dataset=CUB,
            teachers=(("mobilenet-1.0", None), ("resnet50", 64)),
            students=tuple(
                (f"mobilenet-{width}", None) for width in (1.0, 0.75, 0.5, 0.25)
            ),
            printed_students=(),
        ),
    ),
}


def main(config: Standard, preset: str) -> None:
    """Trains what is missing and writes the rows."""
    names = ("table5", "table7") if config.dataset == CUB else ("table4", "table6")
    classes = range(config.num_classes or NUM_CLASSES[config.dataset])
    source = task(config, config.dataset, classes, config.teacher_per_class)
    target = task(config, config.dataset, classes, config.per_class)
    for name, shape in zip(names, config.teachers, strict=False):
        found = sheet(config, name, preset)
        taught_by = teacher(config, shape, source)
        row(
            found,
            "accuracy, teacher",
            lambda taught_by=taught_by: accuracy(taught_by, target.test),
            paper_value={"table4": 0.7444, "table6": 0.7217}.get(name),
        )
        write(config, found, name, shape, taught_by, target)
    if config.dataset != CUB and preset != "smoke":
        for name in ("table5", "table7"):
            without_cub(config, name, preset, SCRIPT)


def write(config, found, name, teacher_shape, taught_by, target) -> None:
    """Writes a table: accuracies, and gains over the student alone."""
    table = {
        method: line
        for (number, method), line in printed("tables_4_and_6.csv").items()
        if f"table{number}" == name
    }
    for i, shape in enumerate(config.students):
        column = config.printed_students[i] if config.printed_students else None
        accuracies = {}
        for method in METHODS:
            if method == "BAN" and shape != teacher_shape:
                continue
            expected = table.get(method, (None,) * 4)
            if method == "BAN" and name == "table4":
                expected = (0.7541,) + (None,) * 3
            accuracies[method] = [
                row(
                    found,
                    f"accuracy, {method}, {'-'.join(map(str, shape))}",
                    lambda m=method, shape=shape, seed=seed: accuracy(
                        student(config, m, shape, taught_by, target, seed=seed),
                        target.test,
                    ),
                    seed=seed,
                    paper_value=None if column is None else expected[column],
                ).value
                for seed in config.seeds
            ]
        for method, values in accuracies.items():
            if method != "Student":
                row(
                    found,
                    f"gain, {method}, {'-'.join(map(str, shape))}",
                    lambda own=values, alone=accuracies["Student"]: (
                        harness.mean_interval(np.subtract(own, alone))
                    ),
                    verdict=gain,
                )
    for method in NOT_HERE[1:]:
        not_run(found, f"accuracy, {method}", "the package does not have this method")


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
