"""Figure 5 and Table 14: students of other and other classes, one teacher.

Run: `python -m experiments.cross_task.table14_figure5_sliding_window cpu --data-dir
DIR`; ten minutes on one core, CIFAR-100 prepared in DIR; a killed run goes on. The
teacher knows the first window of 50 classes; the students' windows move on by ten
classes each, so it knows 100% of their classes down to none. The smallest student has
three seeds, the others one. Accuracies of different windows are not comparable: the
test sets differ. AML, MGD and WCoRD are not part of the package.
"""

import dataclasses

import numpy as np

from experiments import harness
from experiments.cross_task.support.methods import printed, student
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
from experiments.cross_task.support.sheets import (
    axes,
    gain,
    not_run,
    row,
    sheet,
    without_cub,
)
from experiments.cross_task.support.training import accuracy, teacher
from jtransfer import data

SCRIPT = "experiments/cross_task/table14_figure5_sliding_window.py"


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


PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        SlidingWindow(
            **SMOKE,
            window_size=4,
            window_step=96,
            teacher=("vgg4", 2),
            students=(("vgg4", 1),),
            baselines_of=(0,),
            headline=0,
        ),
    ),
    "cpu": ("minutes on one core", SlidingWindow(**CPU | {"seeds": (0, 1, 2)})),
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


def main(config: SlidingWindow, preset: str) -> None:
    """Trains what is missing, writes rows and the figure."""
    is_cub = config.dataset == CUB
    found = sheet(config, "table15" if is_cub else "table14", preset)
    windows = data.sliding_windows(
        NUM_CLASSES[config.dataset],
        size=config.window_size,
        step=config.window_step,
        seed=0,
    )
    source = task(config, config.dataset, windows[0], config.teacher_per_class)
    taught_by = teacher(config, config.teacher, source)
    row(
        found,
        "accuracy of the teacher on its own classes",
        lambda: accuracy(taught_by, source.test),
    )
    targets = [
        task(config, config.dataset, classes, config.per_class) for classes in windows
    ]
    overlaps = [data.class_overlap(windows[0], classes) for classes in windows]
    curves = {}
    # One method and student after the other: each is compiled once and then dropped.
    for i, shape in enumerate(config.students):
        for method in ("Student", "Ours", "RKD", "ReFilled"):
            if method in ("Student", "Ours") or i in config.baselines_of:
                curves[i, method] = [
                    accuracies(config, found, (i, method), shape, taught_by, *pair)
                    for pair in zip(targets, overlaps, strict=True)
                ]
    for (i, method), curve in curves.items():
        if method != "Student":
            compare(found, config, i, method, curve, curves[i, "Student"], overlaps)
    for method in ("AML", "MGD", "WCoRD"):
        not_run(found, f"accuracy, {method}", "the package does not have this method")
    draw(found.table, config, curves, overlaps)
    if not is_cub:
        without_cub(config, "table15", preset, SCRIPT)


def printed_table(config) -> dict[tuple[str, str], tuple[float, ...]]:
    """What the paper prints for each overlap and method: Table 14, for CUB Table 15."""
    return printed("table_15.csv" if config.dataset == CUB else "table_14.csv")


def accuracies(config, found, what, shape, taught_by, target, overlap) -> list[float]:
    """The accuracies of the students of one size, method and window."""
    i, method = what
    seeds = config.seeds if i == config.headline else config.seeds[:1]
    line = printed_table(config).get((str(round(100 * overlap)), method))
    comparable = line is not None and len(config.students) == len(line)
    return [
        row(
            found,
            f"accuracy, {method}, student {i + 1}, overlap {overlap:.0%}",
            lambda seed=seed: accuracy(
                student(config, method, shape, taught_by, target, seed=seed),
                target.test,
            ),
            seed=seed,
            paper_value=line[i] if comparable else None,
        ).value
        for seed in seeds
    ]


def compare(found, config, i, method, curve, alone, overlaps) -> None:
    """Writes the gain over the student alone, for each window and over all."""
    table = printed_table(config)
    gains = [np.subtract(*pair) for pair in zip(curve, alone, strict=True)]
    expected = []
    for own, overlap in zip(gains, overlaps, strict=True):
        key = str(round(100 * overlap))
        lines = [table.get((key, name)) for name in (method, "Student")]
        comparable = None not in lines and len(config.students) == len(lines[0])
        expected.append(lines[0][i] - lines[1][i] if comparable else None)
        if len(own) > 1:
            row(
                found,
                f"gain, {method}, student {i + 1}, overlap {overlap:.0%}",
                lambda own=own: harness.mean_interval(own),
                paper_value=expected[-1],
                verdict=gain,
            )
    # A seed is one observation: its windows share classes and images.
    row(
        found,
        f"gain, {method}, student {i + 1}, mean over the overlaps",
        lambda: harness.mean_interval(np.mean(gains, axis=0)),
        paper_value=None if None in expected else float(np.mean(expected)),
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
