"""Table 1: a small student from few images, with and without Jacobian matching.

Run: `python -m experiments.jacobian_matching.table1_few_images cpu --data-dir DIR` with
CIFAR-100 prepared there; half an hour on one core, and a killed run goes on. A VGG-9
learns the whole training set, a VGG-4 learns from a few images a class and from the
teacher, whose logits and Jacobians on these images are computed once.

The losses are sums over outputs and inputs and means over images, with the weights 1 or
0 as printed. "Jacobians" are gradients of the correct class's logit by the normalised
image (section 4.1), those of the student with the statistics of its batch held fixed.
Beside the printed rows stand other choices of outputs, matching under noise, and soft
targets with Eq. (2). `cpu` takes the first 20 classes and narrow networks. We expect
that with 5 and 10 images a class the Jacobians raise the accuracy, and that they do so
less with more images. `wide` was added when the rows of `cpu` had been seen, to learn
whether the narrow student is what hides the effect.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from experiments import harness
from experiments.jacobian_matching.support import (
    cifar_students,
    other_losses,
    training,
)
from experiments.sheets import Sheet, write_known, write_row

SIZES = (1, 5, 10, 50, 100, 500)
"""Images a class in the paper."""
PRINTED = {
    "CE": (5.69, 13.9, 20.03, 37.6, 44.92, 54.28),
    "CE + activations": (12.13, 26.97, 33.92, 46.47, 50.92, 56.65),
    "CE + Jacobians": (6.78, 23.94, 32.03, 45.71, 51.47, 53.44),
    "CE + activations + Jacobians": (13.78, 33.39, 39.55, 49.49, 52.43, 54.57),
    "activations": (10.73, 28.56, 33.6, 45.73, 50.15, 56.59),
    "activations + Jacobians": (13.09, 33.31, 38.16, 47.79, 50.06, 51.33),
}
"""Test accuracies in percent."""
WEIGHTS = {
    "CE": (1.0, 0.0, 0.0),
    "CE + activations": (1.0, 1.0, 0.0),
    "CE + Jacobians": (1.0, 0.0, 1.0),
    "CE + activations + Jacobians": (1.0, 1.0, 1.0),
    "activations": (0.0, 1.0, 0.0),
    "activations + Jacobians": (0.0, 1.0, 1.0),
}
"""Of cross-entropy, activations and Jacobians: alpha, beta, gamma of the supplement."""
PAIRS = (
    ("CE", "CE + Jacobians"),
    ("CE + activations", "CE + activations + Jacobians"),
)
"""Losses that are compared over several seeds, without and with Jacobians."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the run."""

    teacher_width: int
    student_width: int
    teacher: training.Training
    student: tuple[tuple[int, training.Training], ...]
    """Images a class, and how a student is trained on them."""
    num_classes: int | None = None
    num_train: int | None = None
    num_test: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of subset, weights and order in the compared cells; the first in all others."""
    compared: tuple[int, ...] = (5, 10)
    """Images a class of the compared cells."""
    others: int | None = 5
    """Images a class of the rows that the paper does not print; None for none."""
    sigmas: tuple[float, ...] = (0.1, 1.0)
    """Of matching under noise; 1 is what the weight 1 of the Jacobians stands for."""
    num_draws: int = 2
    """Of the noise, an image and step."""
    cells: tuple[str, ...] = tuple(WEIGHTS)
    """Names of the printed rows that are run; among them those of `PAIRS`."""
    data_dir: str | None = None
    out: Path = training.OUT
    results: Path = harness.RESULTS


def _plans(steps: dict[int, int], **options) -> tuple:
    return tuple(
        (size, training.Training(num_steps=count, **options))
        for size, count in steps.items()
    )


def _paper_plans() -> tuple:
    """500 epochs of batches of 128 or of all images, if these are fewer."""
    steps = {size: 500 * max(1, size * 100 // 128) for size in SIZES}
    return _plans(steps, batch_size=128)


PRESETS = {
    "smoke": (
        "seconds",
        Config(
            teacher_width=2,
            student_width=2,
            teacher=training.Training(num_steps=2, batch_size=16),
            student=_plans({5: 2}, batch_size=16),
            num_classes=4,
            num_train=64,
            num_test=64,
            seeds=(0,),
            compared=(5,),
            sigmas=(0.1,),
            cells=sum(PAIRS, ()),
        ),
    ),
    "cpu": (
        "half an hour on one core",
        Config(
            teacher_width=16,
            student_width=8,
            teacher=training.Training(num_steps=1560, batch_size=64),
            student=_plans(
                {1: 300, 5: 300, 10: 300, 50: 500, 100: 500, 500: 500}, batch_size=64
            ),
            num_classes=20,
        ),
    ),
    "wide": (
        "the compared cells, a student of twice the width; half an hour on one core",
        Config(
            teacher_width=16,
            student_width=16,
            teacher=training.Training(num_steps=1560, batch_size=64),
            student=_plans({5: 300, 10: 300}, batch_size=64),
            num_classes=20,
            others=None,
        ),
    ),
    "paper": (
        "an accelerator",
        Config(
            teacher_width=64,
            student_width=64,
            teacher=training.Training(num_steps=195_000, batch_size=128),
            student=_paper_plans(),
        ),
    ),
}


def main(config: Config, preset: str) -> None:
    """Measures what is missing: the teacher, the cells, the comparisons."""
    table = harness.Table(training.PAPER, "table1", preset, config.results)
    sheet = Sheet(table, harness.settings(config))
    lesson = cifar_students.prepare_lesson(config)
    teacher = functools.partial(
        cifar_students.test_accuracy, lesson, lesson.apply_fn, lesson.teacher.variables
    )
    write_row(sheet, "teacher", teacher, paper_value=64.78)
    write_sizes(config, lesson, sheet)
    accuracies = {}
    for name in config.cells:
        way = cifar_students.weighted(name, WEIGHTS[name])
        for size, _ in config.student:
            several = size in config.compared and name in sum(PAIRS, ())
            for seed in config.seeds if several else config.seeds[:1]:
                value = write_row(
                    sheet,
                    f"{name}, {size} a class",
                    functools.partial(
                        cifar_students.student_accuracy,
                        config,
                        lesson,
                        way,
                        size,
                        seed,
                    ),
                    seed=seed,
                    paper_value=PRINTED[name][SIZES.index(size)],
                ).value
                accuracies.setdefault((name, size), []).append(value)
    write_gains(config, accuracies, sheet)
    draw(config, table, accuracies)
    if config.others is not None:
        other_losses.write_others(config, lesson, WEIGHTS, sheet)
        other_losses.write_unstable(config, lesson, sheet)


def write_sizes(config: Config, lesson: cifar_students.Lesson, sheet: Sheet) -> None:
    """Writes how large logits and Jacobians of the teacher are, which sets the losses.

    A student whose outputs and Jacobians are zero has these losses.
    """
    way = cifar_students.weighted("", WEIGHTS["CE + Jacobians"])
    size, seed = config.compared[-1], config.seeds[0]
    answers = cifar_students.teacher_answers(config, lesson, way, size, seed)
    for name in ("teacher_logits", "teacher_jacobians"):
        norms = np.sum(answers[name].reshape(len(answers[name]), -1) ** 2, axis=1)
        write_known(
            sheet,
            f"mean squared norm of {name}, {size} a class",
            float(norms.mean()),
            seed=seed,
        )


def write_gains(config: Config, accuracies: dict, sheet: Sheet) -> None:
    """Writes what the Jacobians add, paired by seed."""
    for size in config.compared:
        for plain, matched in PAIRS:
            gain = training.paired_difference(
                accuracies[matched, size], accuracies[plain, size]
            )
            place = SIZES.index(size)
            write_known(
                sheet,
                f"gain of Jacobians over {plain}, {size} a class",
                gain,
                seed=config.seeds[0],
                paper_value=round(PRINTED[matched][place] - PRINTED[plain][place], 2),
                verdict=functools.partial(
                    training.verdict, claim="Jacobians raise the accuracy"
                ),
            )


def draw(config: Config, table: harness.Table, accuracies: dict) -> None:
    """Draws the accuracies against the number of images."""
    counts = [size for size, _ in config.student]
    training.draw_beside(
        table,
        [str(size) for size in counts],
        {
            name: [PRINTED[name][SIZES.index(n)] for n in counts]
            for name in config.cells
        },
        {name: [accuracies[name, n] for n in counts] for name in config.cells},
        xlabel="images a class",
    )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
