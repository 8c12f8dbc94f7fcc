"""Table 8 and Figure 6: which cost matrix, and which settings.

Run: `python -m experiments.cross_task.table8_figure6_ablations cpu --data-dir DIR`; ten
minutes on one core, CIFAR-100 prepared in DIR; a killed run goes on. The teacher knows
60% of the classes of the student. Costs: I zero for the same class, II by an untrained
network, III zero within a superclass, IV by a shallower teacher, and the paper's own,
here in three forms: with all centres of length one (what the package does), as the
paper prints it, and with the teacher's true centres. Figure 6 moves one of temperature,
weight and epsilon at a time.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from experiments import harness
from experiments.cross_task.support.outputs import (
    centers,
    costs,
    head_centers,
    uncentred_costs,
)
from experiments.cross_task.support.settings import (
    CPU,
    PAPER,
    SMOKE,
    Config,
    Task,
    Training,
    new_sheet,
    superclasses,
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
from experiments.sheets import (
    Sheet,
    axes,
    gain,
    write_known,
    write_not_run,
    write_row,
)
from jtransfer import data, sinkhorn
from jtransfer.networks import Network

TABLE_8 = {
    "I. constant": (0.7642, 0.7150, 0.7333, 0.6669),
    "I. constant, by class": (None,) * 4,
    "II. random": (0.7517, 0.7238, 0.7369, 0.6795),
    "III. superclass": (0.7714, 0.7382, 0.7490, 0.6837),
    "IV. shallow": (0.7815, 0.7533, 0.7529, 0.6904),
    "IV. shallow, true centres": (None,) * 4,
    "ours": (0.8051, 0.7692, 0.7787, 0.7034),
    "ours, uncentred": (None,) * 4,
    "ours, as printed": (None,) * 4,
    "ours, true centres": (None,) * 4,
    "student alone": (0.7890, 0.7637, 0.7514, 0.6848),
}
"""WRN-(40,2), (16,2), (40,1) and (16,1); the last line is of Table 14."""
SETTINGS = (
    ("temperature", (0.1, 1.0, 2.0, 3.0)),
    ("weight", (1.0, 10.0, 100.0, 1000.0)),
    ("epsilon", (0.01, 0.1, 1.0)),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablations(Config):
    """Sizes of the table and the figure."""

    window_size: int = 50
    window_step: int = 10
    student_window: int = 2
    """The third window of CIFAR-100: 60% of its classes are in the first."""
    teacher: tuple[str, int | None] = ("vgg4", 16)
    shallow: tuple[str, int | None] = ("vgg4", 4)
    """The paper's is WRN-(16,2), of the family of the teacher."""
    students: tuple[tuple[str, int | None], ...] = (("vgg4", 8),)
    """The last has Figure 6."""
    cells: tuple[tuple[str, tuple[float, ...]], ...] = SETTINGS
    """Settings of Figure 6, one moved at a time, and their values."""


PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        Ablations(
            **SMOKE,
            window_size=4,
            window_step=48,
            teacher=("vgg4", 2),
            shallow=("vgg4", 1),
            students=(("vgg4", 1),),
            cells=(("weight", (1.0, 10.0)), ("epsilon", (0.1, 1.0))),
        ),
    ),
    "cpu": ("minutes on one core", Ablations(**CPU | {"seeds": (0, 1, 2)})),
    "paper": (
        "an accelerator",
        Ablations(
            **PAPER,
            teacher=("wrn-40-2", 16),
            shallow=("wrn-16-2", 16),
            students=tuple(
                (f"wrn-{size}", 16) for size in ("40-2", "16-2", "40-1", "16-1")
            ),
        ),
    ),
}


def main(config: Ablations, preset: str) -> None:
    """Trains what is missing, writes rows and the figure."""
    windows = data.sliding_windows(
        100, size=config.window_size, step=config.window_step, seed=0
    )
    classes = windows[0], windows[config.student_window]
    source = task(config, "cifar100", classes[0], config.teacher_per_class)
    target = task(config, "cifar100", classes[1], config.per_class)
    teacher = train_teacher(config, config.teacher, source)
    matrices = cost_matrices(config, teacher.network, source, target, classes)

    @functools.cache
    def student_accuracy(shape, cost: str, seed: int, **changed: float) -> Value:
        images, settings = target.train, config.student_training
        if cost == "student alone":
            model = train_alone(config, shape, images, settings, seed=seed)
        else:
            way = sinkhorn_way(config, matrices[cost](), **changed)
            model = train_taught(
                config, shape, images, way, settings, seed=seed, taught_by=teacher
            )
        return accuracy(model, target.test)

    sheet = new_sheet(config, "table8", preset)
    write_table8(config, sheet, student_accuracy)
    write_figure6(config, new_sheet(config, "figure6", preset), student_accuracy)
    write_not_run(sheet, "accuracy, CUB", "this script is for CIFAR-100 only")


def cost_matrices(
    config: Ablations, network: Network, source: Task, target: Task, classes
) -> dict[str, Callable]:
    """The costs of Table 8 by name, each computed when it is asked for."""

    def true_centers(other: Network):
        """Centres of the classes of both, in the eyes of a network, as they are."""
        return [centers(other, t.train, scaled=False) for t in (source, target)]

    def by(other: Network):
        """The cost of both by another network, from the images of both."""
        return sinkhorn.centred_cost(*true_centers(other))

    def by_untrained():
        shape, never = config.teacher, Training(0)
        return by(train_alone(config, shape, source.train, never, seed=1).network)

    def shallow():
        return train_teacher(config, config.shallow, source).network

    def as_printed():
        _, own = true_centers(network)
        return sinkhorn.cost_matrix(head_centers(network), own)

    def by_index():
        """The printed constant: 0 for the same index, whatever the classes."""
        return sinkhorn.constant_cost(*(range(len(part)) for part in classes))

    coarse = superclasses(config)
    return {
        "I. constant": by_index,
        "I. constant, by class": functools.partial(sinkhorn.constant_cost, *classes),
        "II. random": by_untrained,
        "III. superclass": functools.partial(
            sinkhorn.superclass_cost, *(coarse[part] for part in classes)
        ),
        "IV. shallow": lambda: costs(config, shallow(), target.train),
        "IV. shallow, true centres": lambda: by(shallow()),
        "ours": functools.partial(costs, config, network, target.train),
        "ours, uncentred": functools.partial(uncentred_costs, network, target.train),
        "ours, as printed": as_printed,
        "ours, true centres": functools.partial(by, network),
    }


def write_table8(
    config: Ablations, sheet: Sheet, student_accuracy: Callable[..., Value]
) -> None:
    """Writes the accuracy with each cost, and the gain of the paper's over it."""
    for i, shape in enumerate(config.students):
        printed = i if len(config.students) == 4 else 3
        accuracies = {
            cost: [
                write_row(
                    sheet,
                    f"accuracy, {cost}, student {i + 1}",
                    functools.partial(student_accuracy, shape, cost, seed),
                    seed=seed,
                    paper_value=line[printed],
                ).value
                for seed in config.seeds
            ]
            for cost, line in TABLE_8.items()
        }
        ours = accuracies.pop("ours")
        for cost, values in accuracies.items():
            write_row(
                sheet,
                f"gain of ours over {cost}, student {i + 1}",
                functools.partial(harness.mean_interval, np.subtract(ours, values)),
                verdict=gain,
            )


def write_figure6(
    config: Ablations, sheet: Sheet, student_accuracy: Callable[..., Value]
) -> None:
    """Writes the accuracy of the last student with one setting moved at a time."""
    shape, curves = config.students[-1], {}
    for name, choices in config.cells:
        curves[name] = [
            [
                write_row(
                    sheet,
                    f"accuracy, {name} {value:g}",
                    functools.partial(
                        student_accuracy, shape, "ours", seed, **{name: value}
                    ),
                    seed=seed,
                ).value
                for seed in config.seeds
            ]
            for value in choices
        ]
        spread = np.ptp(np.mean(curves[name], axis=1))
        write_known(sheet, f"range of the means over {name}", spread)
    draw_figure6(config, sheet, curves)


def draw_figure6(config: Ablations, sheet: Sheet, curves: dict[str, list]) -> None:
    """Draws the accuracy over each setting, a dot a seed."""
    choices = dict(config.cells)
    figure, (panels,) = axes(1, len(curves), size=(8, 2.6))
    for panel, (name, curve) in zip(panels, curves.items(), strict=True):
        for seed in range(len(config.seeds)):
            values = [100 * accuracies[seed] for accuracies in curve]
            panel.plot(choices[name], values, ".", color="grey")
        panel.plot(choices[name], 100 * np.mean(curve, axis=1), "o-")
        panel.set(xscale="log", xlabel=name)
    panels[0].set_ylabel("test accuracy, %")
    harness.save_figure(figure, sheet.table)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
