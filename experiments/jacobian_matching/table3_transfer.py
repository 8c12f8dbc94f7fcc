"""Table 3: scenes from few images, with a teacher of other classes and architecture.

Run: `python -m experiments.jacobian_matching.table3_transfer cpu --data-dir DIR` with
CIFAR-100 and scene15 prepared there; an hour on one core, and a killed run goes
on. A VGG-9 with two heads learns scenes from labels and, with its second head and its
attention maps, from a residual network. All terms have the weight 10, as printed (that
of attention is not), and are sums over maps and inputs, and means over images. Squares
of activations are means over the teacher's classes: the paper does not say which, and
the cross-entropy does not fall beside their sum, which one more row shows. Jacobians
are those of the attention peak after the first stage of the teacher and the second
max-pooling of the student, Eq. (10), window a fifth of the map's side. Matching output
Jacobians instead (section 5.1.1: it did not train) is run once.

`cpu`: the teacher is the EfficientNet-Lite0 of ImageNet, the scenes are 15 classes of
grey images of 64 x 64, on which a probe of the teacher has 60%, the oracle is a student
that has learnt CIFAR-100; 5 and 10 images a class, 75 epochs as printed, students of a
quarter of the width. We expect matching of activations to help, Jacobians to help a
little more, and neither to reach the oracle.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from experiments import harness
from experiments.jacobian_matching.support import losses, scenes, training
from experiments.sheets import Sheet, write_known, write_row

SIZES = (5, 10, 25, 50, None)
"""Images a class in the paper; None for all."""


class Way(NamedTuple):
    """A row of the table, and what the paper prints in it."""

    printed: tuple[float, ...]
    matched: tuple[str, ...] = ()
    from_oracle: bool = False


WAYS = {
    "CE": Way((11.64, 20.30, 35.19, 46.38, 59.33)),
    "CE, pretrained student (oracle)": Way(
        (25.93, 43.81, 57.65, 64.18, 71.42), from_oracle=True
    ),
    "CE + activations (LwF)": Way(
        (17.08, 27.13, 45.08, 55.22, 65.22), ("activations",)
    ),
    "CE + activations + Jacobians": Way(
        (17.88, 28.25, 45.26, 56.49, 66.04), ("activations", "Jacobians")
    ),
    "CE + activations + attention": Way(
        (16.53, 28.35, 46.01, 57.80, 67.24), ("activations", "attention")
    ),
    "CE + activations + attention + Jacobians": Way(
        (18.02, 29.25, 47.31, 58.35, 67.31), ("activations", "attention", "Jacobians")
    ),
}
PAIRS = (
    ("CE", "CE + activations (LwF)", "matching activations raises the accuracy"),
    (
        "CE + activations (LwF)",
        "CE + activations + Jacobians",
        "Jacobians raise the accuracy over LwF",
    ),
    (
        "CE + activations + attention",
        "CE + activations + attention + Jacobians",
        "Jacobians raise the accuracy over attention",
    ),
    (
        "CE + activations + attention + Jacobians",
        "CE, pretrained student (oracle)",
        "the oracle is not reached",
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(scenes.Config):
    """Sizes of the run."""

    student: tuple[tuple[int | None, training.Training], ...]
    """Images a class, and how a student is trained on them."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of subset, weights and order."""
    once: int = 10
    """Images a class of the rows that are measured once."""
    cells: tuple[str, ...] = tuple(WAYS)
    """Names of the rows that are run."""


def _plans(steps: dict, batch_size: int, learning_rate: float = 1e-3) -> tuple:
    """Descent with momentum; the rate falls after 40 and 60 of 75 epochs."""
    options = {"batch_size": batch_size, "learning_rate": learning_rate}
    options |= {"momentum": 0.9, "decays": (40 / 75, 60 / 75)}
    return tuple(
        (size, training.Training(num_steps=count, **options))
        for size, count in steps.items()
    )


PRESETS = {
    "smoke": (
        "seconds",
        Config(
            **scenes.SMOKE,
            student=_plans({1: 2}, 8),
            seeds=(0,),
            once=1,
            cells=("CE", "CE + activations + attention + Jacobians"),
        ),
    ),
    "cpu": (
        "an hour on one core",
        Config(**scenes.CPU, student=_plans({5: 350, 10: 700}, 16)),
    ),
    "paper": (
        "an accelerator",
        Config(
            **scenes.PAPER,
            student=_plans(
                {5: 3140, 10: 6281, 25: 15_703, 50: 31_406, None: 50_250}, 8
            ),
        ),
    ),
}
"""`paper`: 75 epochs of 67 classes, of which all is taken to be 5360 images."""


def main(config: Config, preset: str) -> None:
    """Trains students of all subsets and ways, writes rows and the figure."""
    table = harness.Table(training.PAPER, "table3", preset, config.results)
    sheet = Sheet(table, harness.settings(config))
    lesson = scenes.prepare_lesson(config)
    accuracies = {}
    for size, plan in config.student:
        for seed in config.seeds:
            of_ways = write_subset(config, sheet, lesson, size, plan, seed)
            for name, value in of_ways.items():
                accuracies[name, size, seed] = value
    write_comparisons(config, accuracies, sheet)
    draw(config, table, accuracies)
    write_once(config, lesson, sheet)


def write_subset(
    config: Config,
    sheet: Sheet,
    lesson: scenes.Lesson,
    size: int | None,
    plan: training.Training,
    seed: int,
) -> dict[str, float]:
    """Writes the accuracies of all ways with one subset of scenes; returns them."""
    images = scenes.subset(lesson, size, seed)
    peak = (0, max(1, scenes.map_side(lesson, 0) // 5))
    ask = functools.partial(scenes.attention, level=peak[0], window=peak[1])
    answers = functools.cache(
        functools.partial(scenes.teacher_answers, lesson, images, ask)
    )
    accuracies = {}
    for name in config.cells:
        way = WAYS[name]
        loss = losses.TransferLoss(
            activations="activations" in way.matched,
            num_maps=scenes.NUM_MAPS if "attention" in way.matched else 0,
            peak=peak if "Jacobians" in way.matched else None,
        )
        run = functools.cache(
            functools.partial(
                scenes.train_student,
                config,
                lesson,
                images,
                answers if way.matched else dict,
                loss,
                plan=plan,
                seed=seed,
                name=name,
                from_oracle=way.from_oracle,
            )
        )
        cell = f"{name}, {'all' if size is None else f'{size} a class'}"
        accuracies[name] = write_row(
            sheet,
            cell,
            functools.partial(scenes.accuracy_of, run),
            seed=seed,
            paper_value=printed(name, size),
        ).value
        if "Jacobians" in way.matched:
            write_row(
                sheet,
                f"{cell}: reduction of the Jacobian loss",
                functools.partial(scenes.reduction_of, run),
                seed=seed,
            )
    return accuracies


def printed(name: str, size: int | None) -> float | None:
    """The accuracy that the paper prints, None for other sizes."""
    return WAYS[name].printed[SIZES.index(size)] if size in SIZES else None


def write_comparisons(config: Config, accuracies: dict, sheet: Sheet) -> None:
    """Writes mean differences over all sizes and subsets."""
    cells = [(size, seed) for size, _ in config.student for seed in config.seeds]
    for lower, higher, claim in PAIRS:
        if not {lower, higher} <= set(config.cells):
            continue
        gain = training.paired_difference(
            [accuracies[higher, *cell] for cell in cells],
            [accuracies[lower, *cell] for cell in cells],
        )
        paper = [
            printed(higher, size) - printed(lower, size)
            for size, _ in config.student
            if size in SIZES
        ]
        write_known(
            sheet,
            f"{higher} minus {lower}, mean over sizes and subsets",
            gain,
            seed=config.seeds[0],
            paper_value=round(float(np.mean(paper)), 2) if paper else None,
            verdict=functools.partial(training.verdict, claim=claim),
        )


def draw(config: Config, table: harness.Table, accuracies: dict) -> None:
    """Draws the accuracies against the number of images."""
    counts = [size for size, _ in config.student]
    seeds = config.seeds
    training.draw_beside(
        table,
        ["all" if size is None else str(size) for size in counts],
        {
            name: [printed(name, size) or np.nan for size in counts]
            for name in config.cells
        },
        {
            name: [[accuracies[name, n, seed] for seed in seeds] for n in counts]
            for name in config.cells
        },
        xlabel="images a class",
    )


def write_once(config: Config, lesson: scenes.Lesson, sheet: Sheet) -> None:
    """Writes what output Jacobians and sums of squared activations do, one run each."""
    size, seed = config.once, config.seeds[0]
    images = scenes.subset(lesson, size, seed)
    answers = functools.cache(
        functools.partial(scenes.teacher_answers, lesson, images, scenes.largest_output)
    )
    for name, loss in (
        (
            "CE + activations + output Jacobians",
            losses.TransferLoss(activations=True, output=True),
        ),
        (
            "CE + activations, squares summed",
            losses.TransferLoss(activations=True, summed=True),
        ),
    ):
        run = functools.cache(
            functools.partial(
                scenes.train_student,
                config,
                lesson,
                images,
                answers,
                loss,
                plan=dict(config.student)[size],
                seed=seed,
                name=name,
            )
        )
        cell = f"{name}, {size} a class"
        write_row(sheet, cell, functools.partial(scenes.accuracy_of, run), seed=seed)
        if "Jacobians" in name:
            write_row(
                sheet,
                f"{cell}: reduction of the Jacobian loss",
                functools.partial(scenes.reduction_of, run),
                seed=seed,
            )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
