"""Table 3: scenes from few images, with a teacher of other classes and architecture.

Run: `python -m experiments.jacobian_matching.table3_transfer cpu --data-dir DIR` with
CIFAR-100 and scene15 prepared there; half an hour on one core, and a killed run goes
on. A VGG-9 with two heads learns scenes from labels and, with its second head and its
attention maps, from a residual network. All terms have the weight 10, as printed (that
of attention is not), and are sums over maps and inputs, and means over images. Squares
of activations are means over the teacher's classes: the paper does not say which, and
the cross-entropy does not fall beside their sum, which one more row shows. Jacobians
are those of the attention peak after the first stage of the teacher and the second
max-pooling of the student, Eq. (10), window a fifth of the map's side. Matching output
Jacobians instead (section 5.1.1: it did not train) is run once.

`cpu`: the teacher, a narrow ResNet-18, learns CIFAR-100 in place of ImageNet at 32 x 32
pixels, the scenes are 15 classes of grey images of 64 x 64. We expect matching of
activations to help, Jacobians to help a little more, and neither to reach the oracle.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments import harness
from experiments.jacobian_matching.support import losses, scenes, training

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
    seeds: tuple[int, ...] = (0, 1)
    """Of subset, weights and order."""
    once: int = 10
    """Images a class of the rows that are measured once."""


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
        Config(**scenes.SMOKE, student=_plans({1: 2}, 8), seeds=(0,), once=1),
    ),
    "cpu": (
        "half an hour on one core",
        Config(
            **scenes.CPU,
            student=_plans({5: 200, 10: 200, 25: 200, 50: 400, None: 400}, 16),
        ),
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
    """Measures what is missing."""
    table = harness.Table(training.PAPER, "table3", preset, config.results)
    measured = functools.partial(
        harness.write_row, table, config=training.settings(config)
    )
    lesson = scenes.taught(config)
    peak = (0, max(1, scenes.map_side(lesson, 0) // 5))
    about = functools.partial(scenes.attention, level=peak[0], window=peak[1])
    found = {}
    for size, plan in config.student:
        for seed in config.seeds:
            images = scenes.subset(lesson, size, seed)
            outputs = functools.cache(
                functools.partial(scenes.said, lesson, images, about)
            )
            for name, way in WAYS.items():
                train = functools.cache(
                    functools.partial(
                        trained, config, lesson, images, outputs, name, peak, plan, seed
                    )
                )
                cell = f"{name}, {'all' if size is None else f'{size} a class'}"
                row = measured(
                    cell,
                    lambda train=train: train().accuracy,
                    seed=seed,
                    paper_value=printed(name, size),
                )
                found[name, size, seed] = row["value"]
                if "Jacobians" in way.matched:
                    measured(
                        f"{cell}: reduction of the Jacobian loss",
                        lambda train=train: harness.Value(train().reduction),
                        seed=seed,
                    )
    compare(config, found, measured)
    draw(config, table, found)
    once(config, lesson, measured)


def printed(name: str, size: int | None) -> float | None:
    """What the paper prints, if it has the size."""
    return WAYS[name].printed[SIZES.index(size)] if size in SIZES else None


def trained(config, lesson, images, outputs, name, peak, plan, seed) -> scenes.Run:
    """One student."""
    way = WAYS[name]
    loss = losses.transferred(
        activations="activations" in way.matched,
        num_maps=scenes.NUM_MAPS if "attention" in way.matched else 0,
        peak=peak if "Jacobians" in way.matched else None,
    )
    return scenes.student(
        config,
        lesson,
        images,
        outputs() if way.matched else {},
        loss,
        plan=plan,
        seed=seed,
        name=name,
        from_oracle=way.from_oracle,
    )


def compare(config: Config, found: dict, measured: Callable) -> None:
    """Writes mean differences over all sizes and subsets."""
    cells = [(size, seed) for size, _ in config.student for seed in config.seeds]
    for lower, higher, claim in PAIRS:
        gain = training.paired_difference(
            [found[higher, *cell] for cell in cells],
            [found[lower, *cell] for cell in cells],
        )
        paper = [
            printed(higher, size) - printed(lower, size)
            for size, _ in config.student
            if size in SIZES
        ]
        measured(
            f"{higher} minus {lower}, mean over sizes and subsets",
            lambda gain=gain: gain,
            seed=config.seeds[0],
            paper_value=round(float(np.mean(paper)), 2) if paper else None,
            verdict=training.verdict(gain, claim),
        )


def draw(config: Config, table: harness.Table, found: dict) -> None:
    """Draws the accuracies against the number of images."""
    counts = [size for size, _ in config.student]
    seeds = config.seeds
    training.draw_beside(
        table,
        ["all" if size is None else str(size) for size in counts],
        {name: [printed(name, size) or np.nan for size in counts] for name in WAYS},
        {
            name: [[found[name, n, seed] for seed in seeds] for n in counts]
            for name in WAYS
        },
        xlabel="images a class",
    )


def once(config: Config, lesson: scenes.Lesson, measured: Callable) -> None:
    """Writes what output Jacobians and sums of squared activations do, one run each."""
    size, seed = config.once, config.seeds[0]
    images = scenes.subset(lesson, size, seed)
    outputs = scenes.said(lesson, images, scenes.largest_output)
    for name, loss in (
        (
            "CE + activations + output Jacobians",
            losses.transferred(activations=True, output=True),
        ),
        (
            "CE + activations, squares summed",
            losses.transferred(activations=True, summed=True),
        ),
    ):
        run = functools.cache(
            functools.partial(
                scenes.student,
                config,
                lesson,
                images,
                outputs,
                loss,
                plan=dict(config.student)[size],
                seed=seed,
                name=name,
            )
        )
        cell = f"{name}, {size} a class"
        measured(cell, lambda run=run: run().accuracy, seed=seed)
        if "Jacobians" in name:
            measured(
                f"{cell}: reduction of the Jacobian loss",
                lambda run=run: harness.Value(run().reduction),
                seed=seed,
            )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
