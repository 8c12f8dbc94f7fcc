"""Table 1: a small student from few images, with and without Jacobian matching.

Run: `python -m experiments.jacobian_matching.table1_few_images cpu --data-dir DIR` with
CIFAR-100 prepared there; an hour and a half on one core, and a killed run goes on. A
VGG-9 learns the whole training set, a VGG-4 learns from a few images a class and from
the teacher, whose logits and Jacobians on these images are computed once.

The losses are sums over outputs and inputs and means over images, with the weights 1 or
0 as printed, and the Jacobians also with 10 and 100: at 1 their loss hardly falls
beside that of the logits. "Jacobians" are gradients of the correct class's logit by the
normalised image (section 4.1), those of the student with the statistics of its batch
held fixed. Beside the accuracy stands what the student leaves of the Jacobian loss, 1
for one whose Jacobians are zero. Beside the printed rows stand other choices of
outputs, matching under noise, and soft targets with Eq. (2). `cpu` takes the first 20
classes and networks of a quarter of the width. We expect that with 5 and 10 images a
class the Jacobians raise the accuracy, that they do so less with more images, and that
with many images labels add nothing to activations ("not crucial").
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
    "activations": (0.0, 1.0, 0.0),
    "CE + Jacobians": (1.0, 0.0, 1.0),
    "CE + activations + Jacobians": (1.0, 1.0, 1.0),
    "activations + Jacobians": (0.0, 1.0, 1.0),
}
"""Of cross-entropy, activations and Jacobians: alpha, beta, gamma of the supplement."""
PLAIN = {
    "CE + Jacobians": "CE",
    "CE + activations + Jacobians": "CE + activations",
}
"""Losses with Jacobians, and the same without."""
MARGIN = 2.0
"""Points of accuracy that would still be "not crucial"."""


def loss_name(name: str, gamma: float) -> str:
    """The name of a loss with a weight of its Jacobians."""
    return name if gamma == 1 else f"{name}, gamma {gamma:g}"


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
    """Of subset, weights and order."""
    few: tuple[int, ...] = (5, 10)
    """Images a class where the Jacobians have all weights."""
    gammas: tuple[float, ...] = (1.0, 10.0, 100.0)
    """Weights of the Jacobians; the second where there are many images."""
    others: int | None = 5
    """Images a class of the rows that the paper does not print; None for none."""
    sigmas: tuple[float, ...] = (0.1, 1.0)
    """Of matching under noise; 1 is what the weight 1 of the Jacobians stands for."""
    num_draws: int = 2
    """Of the noise, an image and step."""
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
            few=(5,),
            gammas=(1.0,),
            sigmas=(0.1,),
        ),
    ),
    "cpu": (
        "an hour and a half on one core",
        Config(
            teacher_width=16,
            student_width=16,
            teacher=training.Training(num_steps=1560, batch_size=64),
            student=_plans({5: 1000, 10: 1000, 50: 1000, 500: 1000}, batch_size=64),
            num_classes=20,
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
    norm = write_sizes(config, lesson, sheet)
    accuracies = {}
    for size, _ in config.student:
        for name, gamma in losses_of(config, size):
            accuracies[loss_name(name, gamma), size] = [
                write_student(config, lesson, sheet, name, gamma, size, seed, norm)
                for seed in config.seeds
            ]
    write_gains(config, accuracies, sheet)
    draw(config, table, accuracies)
    if config.others is not None:
        other_losses.write_others(config, lesson, WEIGHTS, sheet)
        other_losses.write_unstable(config, lesson, sheet)


def losses_of(config: Config, size: int) -> list[tuple[str, float]]:
    """Names of the losses that are run with so many images, and their weights."""
    plain = [("CE", 1.0), ("CE + activations", 1.0), ("activations", 1.0)]
    both = "CE + activations + Jacobians"
    if size not in config.few:
        return [*plain, (both, config.gammas[:2][-1])]
    matched = [(both, gamma) for gamma in config.gammas]
    return [*plain, *matched, *[("CE + Jacobians", gamma) for gamma in config.gammas]]


def write_student(
    config: Config,
    lesson: cifar_students.Lesson,
    sheet: Sheet,
    name: str,
    gamma: float,
    size: int,
    seed: int,
    norm: float,
) -> float:
    """Writes the accuracy of one student, and what it leaves of the Jacobian loss.

    Args:
      config: of the run.
      lesson: the data and the teacher.
      sheet: the table.
      name: that of the loss.
      gamma: weight of its Jacobians.
      size: images a class.
      seed: of the student.
      norm: the Jacobian loss of a student whose Jacobians are zero.

    Returns:
      The accuracy.
    """
    *weights, jacobian_weight = WEIGHTS[name]
    own = loss_name(name, gamma)
    way = cifar_students.weighted(own, (*weights, gamma * jacobian_weight))

    @functools.cache
    def run() -> cifar_students.Run:
        return cifar_students.train_student(config, lesson, way, size, seed)

    def accuracy() -> harness.Value:
        return cifar_students.test_accuracy(lesson, run().apply_fn, run().variables)

    def left() -> harness.Value:
        last = [row["jacobians"] for row in run().history[-50:]]
        return harness.Value(float(np.mean(last)) / norm)

    column = PRINTED[name][SIZES.index(size)] if gamma == 1 else None
    value = write_row(
        sheet, f"{own}, {size} a class", accuracy, seed=seed, paper_value=column
    ).value
    if jacobian_weight:
        write_row(sheet, f"{own}, {size} a class: Jacobian loss left", left, seed=seed)
    return value


def write_sizes(config: Config, lesson: cifar_students.Lesson, sheet: Sheet) -> float:
    """Writes how large logits and Jacobians of the teacher are, which sets the losses.

    A student whose outputs and Jacobians are zero has these losses; that of the
    Jacobians is returned.
    """
    way = cifar_students.weighted("", WEIGHTS["CE + Jacobians"])
    size, seed = config.few[-1], config.seeds[0]
    answers = cifar_students.teacher_answers(config, lesson, way, size, seed)
    values = {}
    for name in ("teacher_logits", "teacher_jacobians"):
        norms = np.sum(answers[name].reshape(len(answers[name]), -1) ** 2, axis=1)
        values[name] = float(norms.mean())
        write_known(
            sheet,
            f"mean squared norm of {name}, {size} a class",
            values[name],
            seed=seed,
        )
    return values["teacher_jacobians"]


def write_gains(config: Config, accuracies: dict, sheet: Sheet) -> None:
    """Writes what Jacobians and labels add, paired by seed."""
    several = len(config.seeds) > 1
    gains: dict[tuple[str, int], list[float]] = {}
    for size, _ in config.student:
        for name, gamma in losses_of(config, size):
            if name not in PLAIN:
                continue
            plain, own = PLAIN[name], loss_name(name, gamma)
            gains[own, size] = np.subtract(
                accuracies[own, size], accuracies[plain, size]
            )
            place = SIZES.index(size)
            printed = PRINTED[name][place] - PRINTED[plain][place]
            ending = "" if gamma == 1 else f", gamma {gamma:g}"
            write_known(
                sheet,
                f"gain of Jacobians over {plain}{ending}, {size} a class",
                harness.mean_interval(gains[own, size]),
                seed=config.seeds[0],
                paper_value=round(printed, 2),
                verdict=functools.partial(
                    training.verdict, claim="Jacobians raise the accuracy"
                ),
            )
        place = SIZES.index(size)
        columns = PRINTED["CE + activations"][place], PRINTED["activations"][place]
        write_known(
            sheet,
            f"CE + activations less activations alone, {size} a class",
            training.paired_difference(
                accuracies["CE + activations", size], accuracies["activations", size]
            ),
            seed=config.seeds[0],
            paper_value=round(columns[0] - columns[1], 2),
            verdict=not_crucial if several else None,
        )
    own = loss_name("CE + activations + Jacobians", config.gammas[:2][-1])
    fewest = config.few[0]
    for size, _ in config.student:
        if size in config.few:
            continue
        write_known(
            sheet,
            f"gain of Jacobians over CE + activations, {fewest} less {size} a class",
            training.paired_difference(gains[own, fewest], gains[own, size]),
            seed=config.seeds[0],
            verdict=functools.partial(
                training.verdict, claim="Jacobians help less with more images"
            ),
        )


def not_crucial(difference: harness.Value) -> str:
    """Judges whether labels add nothing that matters to activations.

    Example:
      >>> not_crucial(harness.Value(0.5, -0.4, 1.4))
      "'Labels are not crucial' holds: the interval lies within 2 points of 0."
      >>> not_crucial(harness.Value(0.5, -1.4, 2.4))
      "'Labels are not crucial' is not decided: the interval goes beyond 2 points."
      >>> not_crucial(harness.Value(5.0, 2.5, 7.5))
      "'Labels are not crucial' is contradicted: the interval lies above 2 points."
    """
    claim, low, high = "'Labels are not crucial'", difference.low, difference.high
    if low is None:
        return f"{claim}: one seed, no verdict."
    if low > MARGIN:
        return f"{claim} is contradicted: the interval lies above {MARGIN:g} points."
    if low > -MARGIN and high < MARGIN:
        return f"{claim} holds: the interval lies within {MARGIN:g} points of 0."
    return f"{claim} is not decided: the interval goes beyond {MARGIN:g} points."


def draw(config: Config, table: harness.Table, accuracies: dict) -> None:
    """Draws the accuracies against the number of images."""
    counts = [size for size, _ in config.student]
    matched = loss_name("CE + activations + Jacobians", config.gammas[:2][-1])
    shown = {name: name for name in ("CE", "CE + activations", "activations")}
    shown[matched] = "CE + activations + Jacobians"
    training.draw_beside(
        table,
        [str(size) for size in counts],
        {
            own: [PRINTED[name][SIZES.index(n)] for n in counts]
            for own, name in shown.items()
        },
        {own: [accuracies[own, n] for n in counts] for own in shown},
        xlabel="images a class",
    )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
