"""Tables 4 and 5: at which depth, and over which window, Jacobians are matched.

Run: `python -m experiments.jacobian_matching.table4_table5_layers cpu --data-dir DIR`
after `table3_transfer.py cpu`, whose data it uses; an hour on one core, and a killed
run goes on. The loss is the cross-entropy and Eq. (10) on the attention peak, both with
the weight 10: the paper does not say which terms are on. Ten images a class, three
subsets. Beside the accuracy stands by how many percent the Jacobian loss fell from the
first epoch to the last. We expect the shallowest depth to have the largest fall.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from experiments import harness
from experiments.jacobian_matching.support import losses, scenes, training
from experiments.sheets import Sheet, write_known, write_row


class Cell(NamedTuple):
    """A column of a table: where Jacobians are matched, and what the paper prints."""

    table: str
    name: str
    level: int
    parts: int | None
    """The window is the map's side divided by it; None for one pixel."""
    accuracy: float
    reduction: float | None = None


CELLS = (
    Cell("table4", "depth (7, 2)", 0, 5, 22.39, 25.88),
    Cell("table4", "depth (15, 4)", 1, 5, 21.98, 15.59),
    Cell("table4", "depth (27, 6)", 2, 5, 20.45, 11.55),
    Cell("table4", "depth (33, 8)", 3, 5, 20.03, 1.25),
    Cell("table5", "window full", 0, 1, 20.00),
    Cell("table5", "window s/3", 0, 3, 21.20),
    Cell("table5", "window s/5", 0, 5, 21.87),
    Cell("table5", "window s/7", 0, 7, 21.09),
    Cell("table5", "window none", 0, None, 19.74),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(scenes.Config):
    """Sizes of the run."""

    student: training.Training
    per_class: int = 10
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of subset, weights and order."""
    cells: tuple[Cell, ...] = CELLS
    """Columns that are run; among them two depths at least."""


def _plan(num_steps: int, batch_size: int, learning_rate=1e-3) -> training.Training:
    return training.Training(
        num_steps=num_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        momentum=0.9,
        decays=(40 / 75, 60 / 75),
    )


PRESETS = {
    "smoke": (
        "seconds",
        Config(
            **scenes.SMOKE,
            student=_plan(2, 8),
            per_class=1,
            seeds=(0,),
            cells=(CELLS[0], CELLS[1], CELLS[-1]),
        ),
    ),
    "cpu": ("an hour on one core", Config(**scenes.CPU, student=_plan(700, 16))),
    "paper": ("an accelerator", Config(**scenes.PAPER, student=_plan(6281, 8))),
}


def main(config: Config, preset: str) -> None:
    """Trains a student for each column of both tables and writes the rows."""
    lesson = scenes.prepare_lesson(config)
    settings = harness.settings(config)
    run_of = functools.cache(functools.partial(train_student, config, lesson))
    reductions = {}
    for cell in config.cells:
        table = harness.Table(training.PAPER, cell.table, preset, config.results)
        sheet = Sheet(table, settings)
        side = scenes.map_side(lesson, cell.level)
        window = 1 if cell.parts is None else max(1, side // cell.parts)
        for seed in config.seeds:
            run = functools.partial(run_of, cell.level, window, seed)
            write_row(
                sheet,
                f"{cell.name}: accuracy",
                functools.partial(scenes.accuracy_of, run),
                seed=seed,
                paper_value=cell.accuracy,
            )
            reduction = write_row(
                sheet,
                f"{cell.name}: reduction of the Jacobian loss",
                functools.partial(scenes.reduction_of, run),
                seed=seed,
                paper_value=cell.reduction,
            )
            reductions.setdefault(cell.name, []).append(reduction.value)
    table = harness.Table(training.PAPER, "table4", preset, config.results)
    write_comparison(config, Sheet(table, settings), reductions)


def write_comparison(
    config: Config, sheet: Sheet, reductions: dict[str, list[float]]
) -> None:
    """Writes whether the Jacobian loss falls most at the shallowest depth."""
    first, *deeper = (cell for cell in config.cells if cell.table == "table4")
    rival = max(deeper, key=lambda cell: np.mean(reductions[cell.name]))
    claim = "the Jacobian loss falls most at the shallowest depth"
    write_known(
        sheet,
        f"reduction, {first.name} minus the best deeper one ({rival.name})",
        training.paired_difference(reductions[first.name], reductions[rival.name]),
        seed=config.seeds[0],
        paper_value=round(first.reduction - max(c.reduction for c in deeper), 2),
        verdict=functools.partial(training.verdict, claim=claim),
    )


def train_student(
    config: Config, lesson: scenes.Lesson, level: int, window: int, seed: int
) -> scenes.Run:
    """Trains one student with Jacobians matched at one depth over one window."""
    images = scenes.subset(lesson, config.per_class, seed)
    ask = functools.partial(scenes.attention, level=level, window=window)
    return scenes.train_student(
        config,
        lesson,
        images,
        functools.partial(scenes.teacher_answers, lesson, images, ask),
        losses.TransferLoss(peak=(level, window)),
        plan=config.student,
        seed=seed,
        name=f"depth {level} window {window}",
    )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
