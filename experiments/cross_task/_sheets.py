"""Rows, their intervals and verdicts, and figures."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from _cross_task import CUB, Config, harness
from harness import Value

from jtransfer import data


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
