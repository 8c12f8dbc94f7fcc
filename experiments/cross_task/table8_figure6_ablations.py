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

import numpy as np

from experiments import harness
from experiments.cross_task.support.outputs import centers, class_cost, head_centers
from experiments.cross_task.support.settings import (
    CPU,
    PAPER,
    SMOKE,
    Config,
    Training,
    superclasses,
    task,
)
from experiments.cross_task.support.sheets import axes, gain, not_run, row, sheet
from experiments.cross_task.support.training import (
    ALONE,
    SINKHORN,
    accuracy,
    teacher,
    trained,
    transport_constants,
)
from experiments.harness import Value
from jtransfer import data, sinkhorn

TABLE_8 = {
    "I. constant": (0.7642, 0.7150, 0.7333, 0.6669),
    "II. random": (0.7517, 0.7238, 0.7369, 0.6795),
    "III. superclass": (0.7714, 0.7382, 0.7490, 0.6837),
    "IV. shallow": (0.7815, 0.7533, 0.7529, 0.6904),
    "ours": (0.8051, 0.7692, 0.7787, 0.7034),
    "ours, as printed": (None,) * 4,
    "ours, true centres": (None,) * 4,
    "student alone": (0.7890, 0.7637, 0.7514, 0.6848),
}
"""WRN-(40,2), (16,2), (40,1) and (16,1); the last line is of Table 14."""
SETTINGS = {
    "temperature": (0.1, 1.0, 2.0, 3.0),
    "weight": (1.0, 10.0, 100.0, 1000.0),
    "epsilon": (0.01, 0.1, 1.0),
}


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
    taught_by = teacher(config, config.teacher, source)
    costs = cost_matrices(config, taught_by.network, source, target, classes)

    @functools.cache
    def student_accuracy(shape, cost, seed, **settings):
        if cost == "student alone":
            how = {"method": ALONE}
        else:
            constants = transport_constants(config, costs[cost](), **settings)
            how = {"method": SINKHORN, "taught_by": taught_by, "constants": constants}
        model = trained(
            config,
            shape,
            target.train,
            settings=config.student_training,
            seed=seed,
            **how,
        )
        return accuracy(model, target.test)

    write_table8(config, sheet(config, "table8", preset), student_accuracy)
    write_figure6(config, sheet(config, "figure6", preset), student_accuracy)
    reason = "this script is for CIFAR-100 only"
    not_run(sheet(config, "table8", preset), "accuracy, CUB", reason)


def cost_matrices(config, network, source, target, classes):
    """The costs of Table 8 by name, each computed when it is asked for."""
    own_centers = functools.partial(centers, images=target.train)

    def by(other):
        """Eq. (7) of both by another network, from the images of both."""
        return sinkhorn.cost_matrix(centers(other, source.train), own_centers(other))

    def untrained():
        shape = config.teacher
        return trained(config, shape, source.train, ALONE, Training(0), seed=1).network

    coarse = superclasses(config) if config.limit is None else np.arange(100) // 5
    return {
        "I. constant": lambda: sinkhorn.constant_cost(*classes),
        "II. random": lambda: by(untrained()),
        "III. superclass": lambda: sinkhorn.superclass_cost(
            *(coarse[part] for part in classes)
        ),
        "IV. shallow": lambda: by(teacher(config, config.shallow, source).network),
        "ours": lambda: class_cost(network, target.train),
        "ours, as printed": lambda: sinkhorn.cost_matrix(
            head_centers(network), own_centers(network, scaled=False)
        ),
        "ours, true centres": lambda: by(network),
    }


def write_table8(config, found, student_accuracy) -> None:
    """The accuracy with each cost, and the gain of the paper's over it."""
    for i, shape in enumerate(config.students):
        printed = i if len(config.students) == 4 else 3
        accuracies = {
            cost: [
                row(
                    found,
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
            row(
                found,
                f"gain of ours over {cost}, student {i + 1}",
                functools.partial(harness.mean_interval, np.subtract(ours, values)),
                verdict=gain,
            )


def write_figure6(config, found, student_accuracy) -> None:
    """The accuracy of the last student with one setting moved at a time."""
    shape, curves = config.students[-1], {}
    for name, choices in SETTINGS.items():
        curves[name] = [
            [
                row(
                    found,
                    f"accuracy, {name} {value:g}",
                    lambda s=seed, name=name, value=value: student_accuracy(
                        shape, "ours", s, **{name: value}
                    ),
                    seed=seed,
                ).value
                for seed in config.seeds
            ]
            for value in choices
        ]
        spread = np.ptp(np.mean(curves[name], axis=1))
        row(found, f"range of the means over {name}", lambda s=spread: Value(float(s)))
    figure, (panels,) = axes(1, 3, size=(8, 2.6))
    for panel, (name, curve) in zip(panels, curves.items(), strict=True):
        for seed in range(len(config.seeds)):
            values = [100 * accuracies[seed] for accuracies in curve]
            panel.plot(SETTINGS[name], values, ".", color="grey")
        panel.plot(SETTINGS[name], 100 * np.mean(curve, axis=1), "o-")
        panel.set(xscale="log", xlabel=name)
    panels[0].set_ylabel("test accuracy, %")
    harness.save_figure(figure, found.table)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
