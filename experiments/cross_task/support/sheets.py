"""Rows, their intervals and verdicts, and figures."""

import dataclasses
import json
from collections.abc import Callable
from typing import NamedTuple

from experiments import harness
from experiments.cross_task.support.settings import CUB, Config
from experiments.harness import Value
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
        found = harness.stored_row(sheet.table, cell, seed=seed, config=sheet.config)
        value = compute() if found is None else _value(found)
        options["verdict"] = verdict(value)
        return _value(harness.write_row(sheet.table, cell, lambda: value, **options))
    return _value(harness.write_row(sheet.table, cell, compute, **options))


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


def axes(*shape: int, size: tuple[float, float]):
    """A figure without a screen, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(*shape, squeeze=False)
