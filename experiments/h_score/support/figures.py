"""Rows of known numbers and figures of the scripts on the H-score."""

import importlib.util
from collections.abc import Callable

import numpy as np

from experiments import harness


def settings(config) -> dict:
    """The settings of a configuration that may change a number, for its row."""
    # A head has its name in the cell.
    kept = harness.settings(config, "seeds", "network", "heads")
    if getattr(config, "network", None) is not None:
        kept["network"] = config.network.name
    return kept


def write_row(
    table: harness.Table, cell: str, value: harness.Value | float, config, **fields
) -> dict:
    """Writes the row of a number that is known already."""
    value = value if isinstance(value, harness.Value) else harness.Value(float(value))
    shared = {"seed": 0, "config": settings(config), **fields}
    return harness.write_known(table, cell, value, **shared)


def mean(values) -> harness.Value:
    """The mean of independent repetitions with its interval over them."""
    return harness.bootstrap_interval(np.mean, np.asarray(values, float), seed=0)


def write_figure(
    table: harness.Table, draw: Callable, *arguments, name: str = "", size=(5.0, 3.2)
) -> None:
    """Writes a figure beside the rows of its table, as SVG and as PNG.

    Args:
      table: whose name it gets.
      draw: ``draw(figure, *arguments)`` puts it into a figure of matplotlib.
      *arguments: of `draw`.
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
        draw(figure, *arguments)
        harness.save_figure(figure, table, name=name)
