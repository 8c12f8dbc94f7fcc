"""Tables 4 and 6: the same classes for teacher and student, one family and two.

Run: `python -m experiments.cross_task.table4_table6_standard cpu --data-dir DIR`; ten
minutes on one core, CIFAR-100 prepared in DIR; a killed run goes on. All 100 classes.
Table 4 has a teacher of the students' family (the first student has its architecture,
and for it there is self-distillation, BAN), Table 6 one of another. SFTN, AFD, SEED,
SSKD, WCoRD and MGD are not part of the package.
"""

import dataclasses
import functools

import numpy as np

from experiments import harness
from experiments.cross_task.support.methods import (
    METHODS,
    NOT_HERE,
    student_accuracy,
)
from experiments.cross_task.support.settings import (
    CPU,
    CUB,
    CUB_SIZES,
    NUM_CLASSES,
    PAPER,
    SMOKE,
    Config,
    Task,
    new_sheet,
    printed_table,
    task,
    write_cub_not_run,
)
from experiments.cross_task.support.training import accuracy, train_teacher
from experiments.kept_networks import Model
from experiments.sheets import Sheet, gain, write_not_run, write_row

SCRIPT = "experiments.cross_task.table4_table6_standard"


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
        sheet = new_sheet(config, name, preset)
        teacher = train_teacher(config, shape, source)
        write_row(
            sheet,
            "accuracy, teacher",
            functools.partial(accuracy, teacher, target.test),
            paper_value={"table4": 0.7444, "table6": 0.7217}.get(name),
        )
        for i in range(len(config.students)):
            write_student(config, sheet, shape, teacher, target, i)
        for method in NOT_HERE[1:]:
            reason = "the package does not have this method"
            write_not_run(sheet, f"accuracy, {method}", reason)
    if config.dataset != CUB and preset != "smoke":
        for name in ("table5", "table7"):
            write_cub_not_run(config, name, preset, SCRIPT)


def printed_accuracies(table: str) -> dict[str, tuple[float | None, ...]]:
    """The paper's accuracies of the four students, by method; none for CUB."""
    rows = {
        method: line
        for (number, method), line in printed_table("tables_4_and_6.csv").items()
        if f"table{number}" == table
    }
    if table == "table4":
        rows["BAN"] = (0.7541, None, None, None)
    return rows


def write_student(
    config: Standard,
    sheet: Sheet,
    teacher_shape: tuple,
    teacher: Model,
    target: Task,
    index: int,
) -> None:
    """Writes the accuracies of one student by all methods, and gains over it alone."""
    shape, rows = config.students[index], printed_accuracies(sheet.table.table)
    column = config.printed_students[index] if config.printed_students else None
    name = "-".join(map(str, shape))
    accuracies = {}
    for method in METHODS:
        if method == "BAN" and shape != teacher_shape:
            continue
        printed = rows.get(method, (None,) * 4)
        accuracies[method] = [
            write_row(
                sheet,
                f"accuracy, {method}, {name}",
                functools.partial(
                    student_accuracy, config, method, shape, teacher, target, seed=seed
                ),
                seed=seed,
                paper_value=None if column is None else printed[column],
            ).value
            for seed in config.seeds
        ]
    alone = accuracies.pop("Student")
    for method, values in accuracies.items():
        write_row(
            sheet,
            f"gain, {method}, {name}",
            functools.partial(harness.mean_interval, np.subtract(values, alone)),
            verdict=gain,
        )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
