"""What the scripts of this folder share: settings, images, rows and figures.

A network is trained once for all scripts: it lies in `--out` under a name that holds a
digest of everything that made it, so a killed run goes on and other settings do not
find it.
"""

import dataclasses
import functools
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats

sys.path.insert(0, str(Path(__file__).parents[1]))
import harness
from harness import Value

from jtransfer import data
from jtransfer.data import Images

CUB = "caltech_birds2011"


@dataclasses.dataclass(frozen=True)
class Training:
    """How a network is trained: by SGD with momentum, the rate falling to a fifth."""

    num_epochs: int
    """0 leaves the network as it was drawn."""
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    padding: int = 0
    """Of crops and flips, about which the paper says nothing; 0 for neither. With
    them a teacher runs inside each step, else once for all."""
    decay_epochs: tuple[int, ...] | None = None
    """When; None for each quarter of the epochs, in the paper 50, 100 and 150 of 200
    for CIFAR-100."""
    save_every: int = 20
    """Epochs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What all scripts can be told; each adds its own."""

    student_training: Training
    teacher_training: Training
    per_class: int | None
    """Training images of a student, of each class; None for all."""
    teacher_per_class: int | None
    image_size: int = 32
    limit: int | None = None
    """Images read of a data set; None for all."""
    temperature: float = 3.0
    epsilon: float = 0.1
    weight: float = 10.0
    """Lambda of Eq. (11): 10 for CIFAR-100, 100 for CUB."""
    seeds: tuple[int, ...] = (0,)
    """Of the students; the teachers have the first."""
    data_dir: str | None = None
    out: Path = Path("runs/cross_task")
    results: Path = harness.RESULTS


SMOKE = {
    "student_training": Training(num_epochs=1, batch_size=16),
    "teacher_training": Training(num_epochs=1, batch_size=16),
    "per_class": 4,
    "teacher_per_class": 4,
    "image_size": 8,
    "limit": 2000,
}
CPU = {
    "student_training": Training(num_epochs=12),
    "teacher_training": Training(num_epochs=10),
    "per_class": 40,
    "teacher_per_class": 100,
    "image_size": 16,
}
"""Chosen for their time on one core, before any correlation was seen."""
PAPER = {
    "student_training": Training(num_epochs=200, batch_size=256, padding=4),
    "teacher_training": Training(num_epochs=200, batch_size=256, padding=4),
    "per_class": None,
    "teacher_per_class": None,
}
CUB_SIZES = PAPER | {
    "student_training": Training(
        num_epochs=200, batch_size=128, padding=8, decay_epochs=(150, 170, 180)
    ),
    "teacher_training": Training(
        num_epochs=200, batch_size=128, padding=8, decay_epochs=(150, 170, 180)
    ),
    "image_size": 96,
    "weight": 100.0,
}
"""The paper does not say how large its images of CUB are."""
NUM_CLASSES = {"cifar100": 100, CUB: 200}


class Task(NamedTuple):
    """A target: what a student learns and is tested on."""

    train: Images
    test: Images


def task(
    config: Config,
    dataset: str,
    classes: Sequence[int] | None,
    per_class: int | None,
    *,
    label_key: str | None = None,
) -> Task:
    """The images of some classes, the training images balanced over them.

    A smaller number a class is part of a larger one, for teachers and students alike.
    """
    found = [
        _images(dataset, s, config.image_size, label_key, config.limit, config.data_dir)
        for s in ("train", "test")
    ]
    if classes is not None:
        found = [data.examples_of(images, classes) for images in found]
    train, test = found
    size = None if per_class is None else per_class * len(train.class_names)
    order = data.block_balanced_order(train.labels, seed=0)[:size]
    return Task(data.examples_at(train, order), test)


@functools.lru_cache(maxsize=16)
def _images(dataset, split, size, label_key, limit, data_dir):
    return data.load(
        dataset,
        split,
        image_size=size,
        num_channels=3,
        label_key=label_key,
        limit=limit,
        data_dir=data_dir,
    )


def superclasses(config: Config) -> np.ndarray:
    """The superclass of each of the 100 classes of CIFAR-100, `[100]`."""
    fine, coarse = (
        _images("cifar100", "train", config.image_size, key, None, config.data_dir)
        for key in (None, "coarse_label")
    )
    found = np.empty(len(fine.class_names), np.int32)
    found[fine.labels] = coarse.labels
    return found


def digest(*parts: object) -> str:
    """A short name of arrays and of whatever prints the same when it is the same."""
    found = hashlib.sha256()
    for item in parts:
        is_array = hasattr(item, "__array__")
        found.update(
            np.asarray(item).tobytes() if is_array else repr(item).encode() + b"\0"
        )
    return found.hexdigest()[:12]


class Sheet(NamedTuple):
    """A table that is being filled."""

    table: harness.Table
    config: dict


def sheet(config: Config, name: str, preset: str) -> Sheet:
    """A table and what of the settings may change a number in it."""
    left_out = ("data_dir", "out", "results", "seeds")
    found = dataclasses.asdict(config)
    return Sheet(
        harness.Table("cross_task", name, preset, config.results),
        json.loads(json.dumps({k: v for k, v in found.items() if k not in left_out})),
    )


def row(
    sheet: Sheet,
    cell: str,
    compute: Callable[[], Value],
    *,
    seed: int = 0,
    paper_value: float | None = None,
    verdict: Callable[[Value], str] | None = None,
) -> Value:
    """Returns the value of a row, which is computed and written if it is not there.

    Args:
      sheet: the table.
      cell: what the number is.
      compute: returns it.
      seed: of the student.
      paper_value: what the paper prints.
      verdict: a rule that makes a sentence of the value.

    Returns:
      The value.
    """
    options = {"seed": seed, "config": sheet.config, "paper_value": paper_value}
    if verdict is not None:
        found = stored(sheet, cell, seed)
        value = compute() if found is None else found
        options["verdict"] = verdict(value)
        return _value(harness.measured(sheet.table, cell, lambda: value, **options))
    return _value(harness.measured(sheet.table, cell, compute, **options))


def stored(sheet: Sheet, cell: str, seed: int) -> Value | None:
    """The value of a row that is there, or None."""
    for line in harness.rows(sheet.table):
        if (line["cell"], line["seed"], line["config"]) == (cell, seed, sheet.config):
            return _value(line)
    return None


def _value(line):
    return Value(line["value"], line["low"], line["high"])


def not_run(sheet: Sheet, cell: str, reason: str) -> None:
    """Writes that a part of the paper was not run, and why."""
    row(sheet, cell, lambda: Value(None), verdict=lambda _: f"Not run: {reason}.")


def without_cub(config: Config, name: str, preset: str, script: str) -> None:
    """Writes that a table of CUB was not run, unless the data are there."""
    if CUB not in data.prepared_names(config.data_dir):
        reason = f"CUB ({CUB}) is not prepared; with it: python {script} cub"
        not_run(sheet(config, name, preset), "all cells", reason)


def share(hits: np.ndarray) -> Value:
    """A share of right answers with Wilson's 95% interval."""
    interval = scipy.stats.binomtest(int(np.sum(hits)), len(hits)).proportion_ci(
        method="wilson"
    )
    return Value(float(np.mean(hits)), float(interval.low), float(interval.high))


def mean(values: Sequence[float]) -> Value:
    """A mean over seeds with the 95% interval of Student's t, for two or more."""
    values = np.asarray(values)
    center = float(values.mean())
    if len(values) == 1:
        return Value(center)
    spread = values.std(ddof=1) / len(values) ** 0.5
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1) * spread)
    return Value(center, center - half, center + half)


def gain(value: Value) -> str:
    """Judges a difference of accuracies by its interval.

    Example:
      >>> gain(Value(0.02, 0.01, 0.03))
      'Better: +2.0 points, the interval excludes zero.'
    """
    points = f"{100 * value.value:+.1f} points"
    if value.low is None:
        return f"{points}, one seed: no interval."
    if value.low <= 0 <= value.high:
        return f"Not told apart: {points}, the interval holds zero."
    better = "Better" if value.value > 0 else "Worse"
    return f"{better}: {points}, the interval excludes zero."


def save_figure(figure, table: harness.Table) -> None:
    """Writes a figure beside its table, as PNG and SVG."""
    import matplotlib as mpl

    mpl.rcParams["svg.hashsalt"] = table.table
    table.path.parent.mkdir(parents=True, exist_ok=True)
    for suffix, options in ((".png", {"dpi": 90}), (".svg", {})):
        metadata = {"Date": None} if suffix == ".svg" else None
        figure.savefig(
            table.path.with_suffix(suffix),
            bbox_inches="tight",
            metadata=metadata,
            **options,
        )


def axes(*shape: int, size: tuple[float, float]):
    """A figure without a screen, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(*shape, squeeze=False)
