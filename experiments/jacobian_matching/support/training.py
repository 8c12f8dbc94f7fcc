"""Data, training, verdicts and pictures of the scripts on Jacobian matching."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import optax

from experiments import harness, kept_networks
from jtransfer import data, models, training
from jtransfer.data import Images
from jtransfer.training import schedules

PAPER = "jacobian_matching"
OUT = Path("runs") / PAPER


def task(
    name: str,
    *,
    data_dir: str | None,
    num_classes: int | None = None,
    num_train: int | None = None,
    num_test: int | None = None,
    **options,
) -> tuple[Images, Images]:
    """Returns training and test images of the first classes of a data set.

    Args:
      name: what `jtransfer.data.load` takes.
      data_dir: where prepared data sets lie.
      num_classes: how many classes; None for all.
      num_train: training images at most, balanced; None for all.
      num_test: test images at most, balanced; None for all.
      **options: of `jtransfer.data.load`.
    """
    splits = []
    for split, count in (("train", num_train), ("test", num_test)):
        images = data.load(name, split, data_dir=data_dir, **options)
        if num_classes is not None:
            images = data.examples_of(images, range(num_classes))
        order = data.block_balanced_order(images.labels, seed=0)
        splits.append(data.examples_at(images, order[:count]))
    return splits[0], splits[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """Length and steps of the training of a network."""

    num_steps: int
    batch_size: int
    """At most the number of images."""
    learning_rate: float = 1e-3
    decays: tuple[float, ...] = (0.8,)
    """After which shares of the steps the rate falls to a tenth."""
    momentum: float | None = None
    """Of gradient descent; None for Adam."""
    weight_decay: float = 0.0
    """Added to the gradients of the kernels."""
    checkpoint_every: int = 1000
    """Steps."""


@functools.cache
def optimizer(plan: Training):
    """Returns the optimiser of a plan: one object, so that `fit` compiles once."""
    falls = {round(share * plan.num_steps): 0.1 for share in plan.decays}
    rate = optax.piecewise_constant_schedule(plan.learning_rate, falls)
    if plan.momentum is not None:
        return schedules.sgd(
            rate, momentum=plan.momentum, weight_decay=plan.weight_decay
        )
    decayed = optax.add_decayed_weights(plan.weight_decay, mask=schedules.kernels)
    return optax.chain(decayed, optax.adam(rate))


def fit(
    objective: Callable,
    variables: models.Variables,
    arrays: dict[str, np.ndarray],
    *,
    plan: Training,
    seed: int,
    folder: Path,
    made_of: object,
    constants: dict | None = None,
) -> training.FitResult:
    """Trains to the last step, which counts; a killed run goes on where it was.

    Args:
      objective: see `jtransfer.training`.
      variables: to start from.
      arrays: the examples.
      plan: how to train.
      seed: of the order of the examples.
      folder: gets the checkpoints, under a name that holds a digest of `made_of`.
      made_of: all that decides the result, apart from the seed.
      constants: further entries of every batch.

    Returns:
      The result of `jtransfer.training.fit`.
    """
    name = kept_networks.digest(made_of, plan, seed)
    return training.fit(
        objective,
        variables,
        arrays,
        optimizer=optimizer(plan),
        num_steps=plan.num_steps,
        batch_size=min(plan.batch_size, len(arrays["labels"])),
        seed=seed,
        constants=constants,
        checkpoints=training.Checkpoints(
            folder=f"{folder}-{name}", every=plan.checkpoint_every
        ),
        log_every=50,
        progress=False,
    )


def accuracy(hits: float, count: int) -> harness.Value:
    """Returns a test accuracy in percent with its interval over the images."""
    share = harness.share(round(hits * count), count)
    return harness.Value(*(100 * part for part in share))


def paired_difference(first: Sequence[float], second: Sequence[float]) -> harness.Value:
    """Returns the mean of `first - second` over seeds with its 95% t-interval."""
    return harness.mean_interval(np.subtract(first, second))


def verdict(difference: harness.Value, claim: str, over: str = "seeds") -> str:
    """Judges a claim by a difference that is positive where the claim holds.

    Args:
      difference: with its 95% interval.
      claim: in words.
      over: what the interval is over.
    """
    if difference.low is None:
        sign = "the claim's" if difference.value > 0 else "the other"
        return f"'{claim}': one seed, no verdict; the sign is {sign}."
    if difference.low > 0:
        return f"'{claim}' holds: the 95% interval over {over} lies above 0."
    if difference.high < 0:
        return f"'{claim}' is contradicted: the 95% interval over {over} lies below 0."
    return f"'{claim}' is not decided: the 95% interval over {over} holds 0."


@contextlib.contextmanager
def figure(table: harness.Table, *, width: float, height: float) -> Iterator:
    """Yields a figure of matplotlib and writes it as PNG and SVG beside the rows."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 8}):
        drawing = Figure(figsize=(width, height), layout="constrained")
        yield drawing
        harness.save_figure(drawing, table)


def draw_beside(
    table: harness.Table,
    ticks: Sequence[str],
    printed: dict[str, Sequence[float]],
    ours: dict[str, Sequence[Sequence[float]]],
    *,
    xlabel: str,
) -> None:
    """Draws the curves of a table, the paper's and ours, in percent.

    Args:
      table: whose rows they are.
      ticks: names of the columns.
      printed: what the paper prints for each row, by column; NaN for nothing.
      ours: what we measured, for each row and column one number a seed.
      xlabel: what the columns are.
    """
    with figure(table, width=8, height=3.2) as drawing:
        left, right = drawing.subplots(1, 2)
        for place, (name, cells) in enumerate(ours.items()):
            left.plot(ticks, printed[name], "o-", ms=3, color=f"C{place}")
            means = [np.mean(cell) for cell in cells]
            right.plot(ticks, means, "-", color=f"C{place}", label=name)
            for tick, cell in zip(ticks, cells, strict=True):
                right.plot([tick] * len(cell), cell, "o", ms=3, color=f"C{place}")
        left.set(title="paper", xlabel=xlabel, ylabel="test accuracy, %")
        right.set(title="ours, a dot a seed", xlabel=xlabel)
        drawing.legend(loc="outside right center", frameon=False)
