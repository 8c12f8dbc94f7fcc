"""Figures 2 to 8 by matplotlib: curves over t, and alpha1 against transfer losses."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments import harness
from experiments.sheets import Sheet, axes


def draw_curves(
    table: harness.Table,
    name: str,
    panels: Sequence[Mapping[str, np.ndarray]],
    titles: Sequence[str],
) -> None:
    """Draws the six curves of each panel over t in [0, 1], in the paper's colours.

    Args:
      table: beside whose rows the figure lies.
      name: what tells it from other figures of the table.
      panels: lines ``[directions, scales]`` by name: of each the mean, and the range
        as a band.
      titles: of the panels.
    """
    styles = ("k-", "k:", "g-", "g:", "r-", "b-")
    figure, (grid,) = axes(1, len(panels), size=(8, 3.4))
    for place, panel, title in zip(grid, panels, titles, strict=True):
        for (label, lines), style in zip(panel.items(), styles, strict=True):
            t = np.linspace(0, 1, lines.shape[1])
            place.plot(t, lines.mean(axis=0), style, label=label)
            low, high = lines.min(axis=0), lines.max(axis=0)
            place.fill_between(t, low, high, color=style[0], alpha=0.12, lw=0)
        place.set(xlabel="t", title=title, ylim=(0, None))
    grid[-1].legend(fontsize=7, frameon=False)
    harness.save_figure(figure, table, name=name)


def draw_scatter(
    sheet: Sheet,
    alphas: np.ndarray,
    losses: np.ndarray,
    models: Sequence[str],
    title: str,
    *,
    name: str = "",
    ylabel: str = "transfer loss (nats)",
    size: float = 3,
) -> None:
    """Draws alpha1 and transfer loss of each sample, one colour a model.

    Args:
      sheet: beside whose rows the figure lies.
      alphas: of each sample and model, ``[n, models]``.
      losses: likewise, or what the paper draws in their place.
      models: their names.
      title: of the figure.
      name: what tells it from other figures of the table.
      ylabel: what `losses` are.
      size: of a point.
    """
    from matplotlib import colormaps

    many = len(models) > 10  # As many colours has the default cycle.
    figure, ((panel,),) = axes(1, 1, size=(7 if many else 5, 3.6))
    shades = colormaps["turbo"](np.linspace(0, 1, len(models)))
    palette = list(shades) if many else [f"C{i}" for i in range(len(models))]
    # A model drawn later would hide the others.
    order = np.random.default_rng(0).permutation(alphas.size)
    which = np.broadcast_to(np.arange(len(models)), alphas.shape).ravel()[order]
    colors = [palette[i] for i in which]
    panel.scatter(alphas.ravel()[order], losses.ravel()[order], s=size, c=colors, lw=0)
    for i, model in enumerate(models):
        panel.scatter([], [], s=12, color=palette[i], label=model)
    # The few samples far out would leave the rest in a corner.
    panel.set_xlim(0, np.quantile(alphas[np.isfinite(alphas)], 0.995))
    panel.set_ylim(0, np.quantile(losses, 0.995))
    panel.set(xlabel="alpha1", ylabel=ylabel, title=title)
    beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if many else {}
    panel.legend(fontsize=7, frameon=False, **beside)
    harness.save_figure(figure, sheet.table, name=name, svg=False)
