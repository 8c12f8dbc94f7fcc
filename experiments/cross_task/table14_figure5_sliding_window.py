"""Figure 5 and Table 14: students of other and other classes, one teacher.

Run: `python -m experiments.cross_task.table14_figure5_sliding_window cpu --data-dir
DIR`; half an hour on one core, CIFAR-100 prepared in DIR; a killed run goes on. The
teacher knows the first window of 50 classes; the students' windows move on by ten
classes each, so it knows 100% of their classes down to none. The smallest student has
all seeds and methods, the others one seed. AML, MGD and WCoRD are run where the teacher
knows all, 60% and none of the classes, with the first seeds. Accuracies of different
windows are not comparable: the test sets differ.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from experiments import harness
from experiments.cross_task.support.methods import student_accuracy
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
from experiments.sheets import Sheet, axes, gain, write_row
from jtransfer import data

SCRIPT = "experiments.cross_task.table14_figure5_sliding_window"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlidingWindow(Config):
    """Sizes of the experiment."""

    dataset: str = "cifar100"
    window_size: int = 50
    window_step: int = 10
    teacher: tuple[str, int | None] = ("vgg4", 16)
    students: tuple[tuple[str, int | None], ...] = (
        ("vgg4", 16),
        ("vgg4", 12),
        ("vgg4", 10),
        ("vgg4", 8),
    )
    baselines_of: tuple[int, ...] = (0, 3)
    """Students, by their place, for which RKD and ReFilled are run as well."""
    headline: int = 3
    """The student that has all seeds; the others have the first."""
    sparse: tuple[str, ...] = ("AML", "MGD", "WCoRD", "ReFilled, released weight")
    """Methods of that student alone, for some windows and seeds."""
    sparse_windows: tuple[int, ...] = (0, 2, 5)
    sparse_seeds: tuple[int, ...] = (0, 1, 2)


PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        SlidingWindow(
            **SMOKE,
            window_size=4,
            window_step=96,
            teacher=("vgg4", 2),
            students=(("vgg4", 1),),
            baselines_of=(),
            headline=0,
            sparse_windows=(1,),
            sparse_seeds=(0,),
        ),
    ),
    "cpu": (
        "half an hour on one core",
        SlidingWindow(**CPU | {"seeds": (0, 1, 2, 3, 4)}),
    ),
    "paper": (
        "an accelerator",
        SlidingWindow(
            **PAPER,
            teacher=("wrn-40-2", 16),
            students=tuple(
                (f"wrn-{size}", 16) for size in ("40-2", "16-2", "40-1", "16-1")
            ),
            baselines_of=(0, 1, 2, 3),
        ),
    ),
    "cub": (
        "an accelerator; Table 15, with CUB prepared",
        SlidingWindow(
            **CUB_SIZES,
            dataset=CUB,
            window_size=100,
            window_step=25,
            teacher=("mobilenet-1.0", None),
            students=tuple(
                (f"mobilenet-{width}", None) for width in (1.0, 0.75, 0.5, 0.25)
            ),
            baselines_of=(0, 1, 2, 3),
        ),
    ),
}


class Line(NamedTuple):
    """One method for the student of one size, and what the paper prints for it."""

    student: int
    method: str
    printed: list[float | None]
    """By window."""


def main(config: SlidingWindow, preset: str) -> None:
    """Trains what is missing, writes rows and the figure."""
    is_cub = config.dataset == CUB
    sheet = new_sheet(config, "table15" if is_cub else "table14", preset)
    windows = data.sliding_windows(
        NUM_CLASSES[config.dataset],
        size=config.window_size,
        step=config.window_step,
        seed=0,
    )
    source = task(config, config.dataset, windows[0], config.teacher_per_class)
    teacher = train_teacher(config, config.teacher, source)
    write_row(
        sheet,
        "accuracy of the teacher on its own classes",
        functools.partial(accuracy, teacher, source.test),
    )
    targets = [
        task(config, config.dataset, classes, config.per_class) for classes in windows
    ]
    overlaps = [data.class_overlap(windows[0], classes) for classes in windows]
    curves = {}
    # One method and student after the other: each is compiled once and then dropped.
    for line in lines(config, overlaps):
        curves[line.student, line.method] = [
            write_accuracies(config, sheet, line, k, teacher, target, overlaps[k])
            for k, target in enumerate(targets)
        ]
    for line in lines(config, overlaps):
        if line.method != "Student":
            write_gains(sheet, config, line, curves, overlaps)
    write_sparse(config, sheet, curves, teacher, targets, overlaps)
    draw(sheet.table, config, curves, overlaps)
    if not is_cub:
        write_cub_not_run(config, "table15", preset, SCRIPT)


def lines(config: SlidingWindow, overlaps: list[float]) -> list[Line]:
    """The methods of all students; the paper's columns beside as many students only."""
    table = printed_table("table_15.csv" if config.dataset == CUB else "table_14.csv")

    def printed(i: int, method: str) -> list[float | None]:
        rows = [table.get((str(round(100 * overlap)), method)) for overlap in overlaps]
        count = len(config.students)
        return [
            row[i] if row is not None and len(row) == count else None for row in rows
        ]

    return [
        Line(i, method, printed(i, method))
        for i in range(len(config.students))
        for method in ("Student", "Ours", "RKD", "ReFilled")
        if method in ("Student", "Ours") or i in config.baselines_of
    ]


def write_accuracies(
    config: SlidingWindow,
    sheet: Sheet,
    line: Line,
    window: int,
    teacher: Model,
    target: Task,
    overlap: float,
) -> list[float]:
    """Writes the accuracies of the students of one size, method and window."""
    i, method = line.student, line.method
    seeds = config.seeds if i == config.headline else config.seeds[:1]
    return [
        write_row(
            sheet,
            f"accuracy, {method}, student {i + 1}, overlap {overlap:.0%}",
            functools.partial(
                student_accuracy,
                config,
                method,
                config.students[i],
                teacher,
                target,
                seed=seed,
            ),
            seed=seed,
            paper_value=line.printed[window],
        ).value
        for seed in seeds
    ]


def write_gains(
    sheet: Sheet, config: SlidingWindow, line: Line, curves: dict, overlaps: list
) -> None:
    """Writes the gain over the student alone, for each window and over all."""
    i, method = line.student, line.method
    pairs = zip(curves[i, method], curves[i, "Student"], strict=True)
    gains = [np.subtract(*pair) for pair in pairs]
    (alone,) = (
        other.printed
        for other in lines(config, overlaps)
        if (other.student, other.method) == (i, "Student")
    )
    printed = [
        None if None in pair else pair[0] - pair[1]
        for pair in zip(line.printed, alone, strict=True)
    ]
    for own, overlap, value in zip(gains, overlaps, printed, strict=True):
        if len(own) > 1:
            write_row(
                sheet,
                f"gain, {method}, student {i + 1}, overlap {overlap:.0%}",
                functools.partial(harness.mean_interval, own),
                paper_value=value,
                verdict=gain,
            )
    # A seed is one observation: its windows share classes and images.
    write_row(
        sheet,
        f"gain, {method}, student {i + 1}, mean over the overlaps",
        functools.partial(harness.mean_interval, np.mean(gains, axis=0)),
        paper_value=None if None in printed else float(np.mean(printed)),
        verdict=gain,
    )


def write_sparse(
    config: SlidingWindow,
    sheet: Sheet,
    curves: dict,
    teacher: Model,
    targets: list[Task],
    overlaps: list[float],
) -> None:
    """Writes accuracies and gains of the methods that are run for some windows."""
    shape = config.students[config.headline]
    printed = printed_table("table_15.csv" if config.dataset == CUB else "table_14.csv")
    comparable = len(config.students) == 4
    for method in config.sparse:
        for window in config.sparse_windows:
            where = f"student {config.headline + 1}, overlap {overlaps[window]:.0%}"
            row, base = (
                printed.get((str(round(100 * overlaps[window])), name))
                for name in (method, "Student")
            )
            known = comparable and row is not None
            values = (row[config.headline], base[config.headline]) if known else None
            accuracies = [
                write_row(
                    sheet,
                    f"accuracy, {method}, {where}",
                    functools.partial(
                        student_accuracy,
                        config,
                        method,
                        shape,
                        teacher,
                        targets[window],
                        seed=seed,
                    ),
                    seed=seed,
                    paper_value=values and values[0],
                ).value
                for seed in config.sparse_seeds
            ]
            alone = curves[config.headline, "Student"][window][: len(accuracies)]
            write_row(
                sheet,
                f"gain, {method}, {where}",
                functools.partial(
                    harness.mean_interval, np.subtract(accuracies, alone)
                ),
                paper_value=values and values[0] - values[1],
                verdict=gain,
            )


def draw(table, config, curves, overlaps) -> None:
    """Draws Figure 5: accuracy over the share of the classes that the teacher knows."""
    count = len(config.students)
    figure, (panels,) = axes(1, count, size=(2.6 * count, 2.6))
    for i, panel in enumerate(panels):
        for (j, method), curve in curves.items():
            if j == i:
                values = [100 * np.mean(own) for own in curve]
                panel.plot(100 * np.array(overlaps), values, "o-", label=method)
        panel.invert_xaxis()
        panel.set(title="-".join(map(str, config.students[i])), xlabel="overlap, %")
    panels[0].set_ylabel("test accuracy, %")
    panels[0].legend(fontsize="x-small")
    harness.save_figure(figure, table)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
