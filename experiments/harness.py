"""Rows on disk, resuming, presets, intervals and figures of all experiments.

A row is one number of a table: `paper, table, cell, preset, seed, value, low, high,
paper_value, verdict, config, versions, device, seconds`, one JSON line each in
`experiments/results/<paper>/<table>.<preset>.jsonl`.
"""

import dataclasses
import functools
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import scipy.stats
import tyro

from experiments.dry_run import rehearse
from jtransfer.data import DataError

RESULTS = Path(__file__).parent / "results"
DRY_RUN = "--dry-run"
NOT_IN_ROWS = ("data_dir", "out", "results", "cells")
"""Settings of all scripts that change no number: places, and which cells are run."""


class Table(NamedTuple):
    """The file of one table in one preset."""

    paper: str
    table: str
    preset: str
    folder: Path = RESULTS

    @property
    def path(self) -> Path:
        """The file of the rows, JSON lines."""
        return self.folder / self.paper / f"{self.table}.{self.preset}.jsonl"


class Value(NamedTuple):
    """A measured number, with its 95% interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


def run_script(main: Callable, presets: dict) -> None:
    """Runs the `main` of a script with the settings of its command line.

    The first word that names a preset chooses it, `cpu` without one; options change
    single settings; `--dry-run` says in a minute what the run would take, see
    `dry_run`. Data that are not there, and packages that are not installed, are one
    line on stderr and exit code 2.

    Args:
      main: ``main(config, preset)``, which writes the rows.
      presets: a sentence and a config by the name of the preset.
    """
    words = [word for word in sys.argv[1:] if word != DRY_RUN]
    preset = next((word for word in words if word in presets), "cpu")
    arguments = words if preset in words else [preset, *words]
    config = tyro.extras.overridable_config_cli(presets, args=arguments)
    run = functools.partial(rehearse, main) if DRY_RUN in sys.argv[1:] else main
    try:
        run(config, preset)
    except (DataError, ModuleNotFoundError) as error:
        print(f"not run: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None


def settings(config, *left_out: str) -> dict:
    """The settings of a config that may change a number, as JSON has them.

    Args:
      config: a dataclass.
      *left_out: names of fields that change none, beside `NOT_IN_ROWS`.
    """
    fields = dataclasses.asdict(config)
    kept = {k: v for k, v in fields.items() if k not in (*NOT_IN_ROWS, *left_out)}
    return json.loads(json.dumps(kept, default=str))


def rows(table: Table) -> list[dict]:
    """Returns the rows that a table has so far; a half-written last line is dropped."""
    if not table.path.exists():
        return []
    kept = []
    for line in table.path.read_text(encoding="utf-8").splitlines():
        try:
            kept.append(json.loads(line))
        except ValueError:
            break
    return kept


def stored_row(table: Table, cell: str, *, seed: int, config: dict) -> dict | None:
    """Returns the row of a cell from an earlier run with the same settings, or None."""
    config = json.loads(json.dumps(config, default=str))
    for row in rows(table):
        if (row["cell"], row["seed"], row["config"]) == (cell, seed, config):
            return row
    return None


def write_row(
    table: Table,
    cell: str,
    compute: Callable[[], Value],
    *,
    seed: int,
    config: dict,
    paper_value: float | None = None,
    verdict: str | Callable[[Value], str] | None = None,
) -> dict:
    """Computes one row and appends it, or reads it from an earlier run.

    Args:
      table: the table.
      cell: what the number is.
      compute: returns it.
      seed: the seed that `compute` uses.
      config: the settings; a row with other settings is another row.
      paper_value: the number that the paper prints, or None.
      verdict: a plain sentence, a rule that makes one of the value, or None.

    Returns:
      The row.
    """
    if (kept := stored_row(table, cell, seed=seed, config=config)) is not None:
        return kept
    config = json.loads(json.dumps(config, default=str))
    start = time.perf_counter()
    value = compute()
    row = {
        "paper": table.paper,
        "table": table.table,
        "cell": cell,
        "preset": table.preset,
        "seed": seed,
        "value": value.value,
        "low": value.low,
        "high": value.high,
        "paper_value": paper_value,
        "verdict": verdict(value) if callable(verdict) else verdict,
        "config": config,
        "versions": versions(),
        "device": jax.devices()[0].device_kind,
        "seconds": round(time.perf_counter() - start, 2),
    }
    table.path.parent.mkdir(parents=True, exist_ok=True)
    kept = "".join(json.dumps(line) + "\n" for line in rows(table))
    if table.path.exists() and table.path.stat().st_size != len(kept.encode()):
        # A killed run may have left half a line, which the next would be glued to.
        table.path.write_text(kept, encoding="utf-8")
    with table.path.open("a", encoding="utf-8") as file:
        print(json.dumps(row), file=file, flush=True)
    shown = ("cell", "value", "low", "high", "paper_value", "verdict")
    print(json.dumps({key: row[key] for key in shown}), flush=True)
    return row


def write_known(table: Table, cell: str, value: Value, **fields) -> dict:
    """Appends the row of a number that needs no computing; see `write_row`.

    Args:
      table: the table.
      cell: what the number is.
      value: the number.
      **fields: of `write_row`.

    Returns:
      The row.
    """
    return write_row(table, cell, lambda: value, **fields)


def versions() -> dict[str, str]:
    """Returns the versions that a number may depend on."""
    names = ("jtransfer", "jax", "jaxlib", "flax", "optax", "numpy")
    return {name: importlib.metadata.version(name) for name in names}


def mean_interval(values: Sequence[float]) -> Value:
    """Returns a mean over repetitions with its 95% interval of Student's t.

    Args:
      values: of the repetitions; of one alone there is no interval.

    Returns:
      The mean and its interval.
    """
    values = np.asarray(values, float)
    mean = float(values.mean())
    if len(values) < 2:
        return Value(mean)
    spread = values.std(ddof=1) / np.sqrt(len(values))
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1) * spread)
    return Value(mean, mean - half, mean + half)


def share(count: int, total: int) -> Value:
    """Returns `count / total` with its 95% interval of Wilson."""
    test = scipy.stats.binomtest(int(count), total)
    interval = test.proportion_ci(method="wilson")
    return Value(int(count) / total, float(interval.low), float(interval.high))


def bootstrap_interval(
    statistic: Callable[..., float], *samples: np.ndarray, seed: int, draws: int = 2000
) -> Value:
    """Returns a statistic of paired samples with its 95% percentile interval.

    Args:
      statistic: a function of the samples.
      samples: arrays of one length, resampled together.
      seed: of the draws.
      draws: how many.

    Returns:
      The value and its interval.
    """
    rng = np.random.default_rng(seed)
    length = len(samples[0])
    drawn = [rng.integers(length, size=length) for _ in range(draws)]
    values = [statistic(*(sample[index] for sample in samples)) for index in drawn]
    low, high = np.quantile(values, [0.025, 0.975])
    return Value(float(statistic(*samples)), float(low), float(high))


def save_figure(figure, table: Table, *, name: str = "", svg: bool = True) -> None:
    """Writes a figure of matplotlib beside the rows of its table.

    Args:
      figure: the `matplotlib.figure.Figure`.
      table: whose name and preset the files get.
      name: what tells it from other figures of the table.
      svg: whether to write SVG beside PNG; not where it has thousands of points.
    """
    import matplotlib

    stem = "-".join(filter(None, (table.table, name)))
    place = table.path.with_name(f"{stem}.{table.preset}")
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(f"{place}.png", dpi=110)
    if svg:
        # Without a date and with fixed names the same numbers give the same file.
        with matplotlib.rc_context({"svg.hashsalt": table.table}):
            figure.savefig(f"{place}.svg", metadata={"Date": None})
