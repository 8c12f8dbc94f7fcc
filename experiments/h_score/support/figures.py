"""What the scripts of this folder share: settings, rows of known numbers, figures."""

import dataclasses
import importlib.util
from collections.abc import Callable

import numpy as np

from experiments import harness

PLACES = ("seeds", "data_dir", "out", "results")
"""Settings that change no number of a row; the seed has its own field there."""


def settings(config) -> dict:
    """What of a configuration may change a number, for its row."""
    found = dataclasses.asdict(config)
    if (own := found.pop("network", None)) is not None:
        found["network"] = own.name
    return {name: value for name, value in found.items() if name not in PLACES}


def row(table, cell: str, found: harness.Value | float, config, **fields) -> dict:
    """The row of a number that is known already."""
    found = found if isinstance(found, harness.Value) else harness.Value(float(found))
    shared = {"seed": 0, "config": settings(config), **fields}
    return harness.write_row(table, cell, lambda: found, **shared)


def mean(values) -> harness.Value:
    """The mean of independent repetitions with its interval over them."""
    return harness.bootstrap_interval(np.mean, np.asarray(values, float), seed=0)


def drawn(table, draw: Callable, *, name: str = "", size=(5.0, 3.2)) -> None:
    """Writes a figure beside the rows of its table, as SVG and as PNG.

    Args:
      table: the `harness.Table` whose name it gets.
      draw: puts it into the `matplotlib.figure.Figure` that it is given.
      name: what tells it from other figures of the table.
      size: width and height in inches.
    """
    if importlib.util.find_spec("matplotlib") is None:
        print("no figure: matplotlib is in the extra [experiments]")
        return
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        harness.save_figure(figure, table, name=name)
