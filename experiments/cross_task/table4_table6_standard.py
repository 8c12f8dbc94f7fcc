"""Tables 4 and 6: the same classes for teacher and student, one family and two.

Run: `python -m experiments.cross_task.table4_table6_standard cpu --data-dir DIR`; an
hour on one core, CIFAR-100 prepared in DIR; a killed run goes on. All 100 classes.
Table 4 has a teacher of the students' family (the first student has its architecture,
and for it there is self-distillation, BAN), Table 6 one of another, which is trained
with more images and longer until it is better than the students alone: else it has
nothing to teach. "Ours, lambda matched" has the weight whose gradients are as long as
those of KD while the student is undecided. That ours does no harm is a test of
equivalence: the interval of its gain must end above a loss of one point.
"""

import dataclasses
import functools

import numpy as np

from experiments import harness
from experiments.cross_task.support.methods import (
    METHODS,
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
    Training,
    new_sheet,
    printed_table,
    task,
    write_cub_not_run,
)
from experiments.cross_task.support.training import accuracy, train_alone
from experiments.harness import Value
from experiments.kept_networks import Model
from experiments.sheets import Sheet, gain, not_worse, write_known, write_row

MAIN = ("Student", "KD", "Ours", "Ours, lambda matched")
"""Methods that have all seeds."""
SCRIPT = "experiments.cross_task.table4_table6_standard"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standard(Config):
    """Sizes of the experiment."""

    dataset: str = "cifar100"
    num_classes: int | None = None
    """The first of them; None for all."""
    teachers: tuple[tuple[str, int | None], ...] = (("vgg4", 16), ("wrn-10-1", 8))
    """Of the students' family, and of another."""
    other_training: Training
    """Of the teacher of another family."""
    other_per_class: int | None
    students: tuple[tuple[str, int | None], ...] = (("vgg4", 16), ("vgg4", 8))
    baseline_seeds: tuple[int, ...] = (0,)
    """Seeds of the methods that are not `MAIN`."""
    printed_students: tuple[int, ...] = (0, 3)
    """Which of the four columns of the paper stand beside ours."""


PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        Standard(
            **SMOKE,
            num_classes=4,
            teachers=(("vgg4", 2),),
            other_training=SMOKE["teacher_training"],
            other_per_class=4,
            students=(("vgg4", 1),),
            printed_students=(3,),
        ),
    ),
    "cpu": (
        "an hour on one core",
        Standard(
            **CPU
            | {"per_class": 20, "teacher_per_class": 50, "seeds": (0, 1, 2, 3, 4)},
            teachers=(("vgg4", 16), ("wrn-10-1", 16)),
            other_training=Training(num_epochs=20),
            other_per_class=100,
            baseline_seeds=(0, 1, 2),
        ),
    ),
    "paper": (
        "an accelerator",
        Standard(
            **PAPER,
            other_training=PAPER["teacher_training"],
            other_per_class=None,
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
            other_training=CUB_SIZES["teacher_training"],
            other_per_class=None,
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
    target = task(config, config.dataset, classes, config.per_class)
    sizes = (
        (config.teacher_training, config.teacher_per_class),
        (config.other_training, config.other_per_class),
    )
    for name, shape, size in zip(names, config.teachers, sizes, strict=False):
        sheet = new_sheet(config, name, preset)
        training, per_class = size
        source = task(config, config.dataset, classes, per_class)
        teacher = train_alone(config, shape, source.train, training, seed=0)
        of_teacher = write_row(
            sheet,
            "accuracy, teacher",
            functools.partial(accuracy, teacher, target.test),
            paper_value={"table4": 0.7444, "table6": 0.7217}.get(name),
        )
        for i in range(len(config.students)):
            write_student(config, sheet, of_teacher, teacher, source, target, i)
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
    of_teacher: Value,
    teacher: Model,
    source: Task,
    target: Task,
    index: int,
) -> None:
    """Writes the accuracies of one student by all methods, and gains over it alone."""
    shape, rows = config.students[index], printed_accuracies(sheet.table.table)
    column = config.printed_students[index] if config.printed_students else None
    name = "-".join(map(str, shape))
    own = teacher.network.architecture
    accuracies = {}
    for method in METHODS:
        if method == "BAN" and shape != (own.model, own.base_width):
            continue
        printed = rows.get(method, (None,) * 4)
        accuracies[method] = [
            write_row(
                sheet,
                f"accuracy, {method}, {name}",
                functools.partial(
                    student_accuracy,
                    config,
                    method,
                    shape,
                    teacher,
                    target,
                    source=source,
                    seed=seed,
                ),
                seed=seed,
                paper_value=None if column is None else printed[column],
            ).value
            for seed in (config.seeds if method in MAIN else config.baseline_seeds)
        ]
    alone = accuracies.pop("Student")
    write_known(
        sheet,
        f"the teacher less the student alone, {name}",
        of_teacher.value - float(np.mean(alone)),
        verdict=lambda lead: "Premise met." if lead.value > 0 else "Premise not met.",
    )
    for method, values in accuracies.items():
        gains = np.subtract(values, alone[: len(values)])
        write_row(
            sheet,
            f"gain, {method}, {name}",
            functools.partial(harness.mean_interval, gains),
            verdict=gain,
        )
        if method in MAIN[2:]:
            write_row(
                sheet,
                f"never worse by a point, {method}, {name}",
                functools.partial(harness.mean_interval, gains),
                verdict=not_worse,
            )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
