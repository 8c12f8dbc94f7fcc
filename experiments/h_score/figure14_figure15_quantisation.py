"""Figures 14 and 15: how many levels the label images of the pixel tasks need.

Run: `python -m experiments.h_score.figure14_figure15_quantisation cpu --data-dir DIR`
after `figure12_figure13_tasks.py` with the same preset, whose encoders it uses; 2
minutes on a core. Label images are rebuilt from palettes of 2 to 32 levels: the share
of their variance that is left, how well the levels alone tell the strong edges (the top
tenth of the gradients) from all other pixels, and those of at least middling strength
(the top half), and whether the ranking of the sources by H-score is that of 16 levels.
Levels tell edges by a threshold, the best there is: intersection over union of the
pixels above it and the edges, 1 if the levels tell all, .1 and .5 if none. The paper
says that 5 levels lose most edges (of another kind, 3D occlusion edges) and 16 keep
them.
"""

import numpy as np

from experiments import harness
from experiments.h_score.support import figures
from experiments.h_score.support.derived_tasks import PIXEL_TASKS, palettes
from experiments.h_score.support.task_transfer import (
    PRESETS,
    Config,
    Pools,
    grids,
    h_scores,
    kept_arrays,
    pools,
)
from jtransfer.ranking import correlations
from jtransfer.scores import dense_targets

EDGES = {"strong": 0.9, "middling": 0.5}
"""Quantiles of the gradients above which a pixel is an edge."""


def main(config: Config, preset: str) -> None:
    """Writes the rows and the figures."""
    table = harness.Table("h_score", "quantisation", preset, config.results)
    seed = config.seeds[0]
    of = pools(config, seed=seed)
    colours_of = {
        levels: palettes(of.encoders, num_levels=levels, seed=seed)
        for levels in config.levels
    }
    left = np.array([kept(of, colours) for colours in colours_of.values()])
    for levels, shares in zip(config.levels, left, strict=True):
        for task, share in zip(PIXEL_TASKS, shares, strict=True):
            cell = f"variance left by {levels} levels, {task}"
            figures.write_row(table, cell, share, config, seed=seed)
        edges = of.transfer.maps["edges"], colours_of[levels]["edges"]
        for name, quantile in EDGES.items():
            share = edges_told(*edges, quantile)
            figures.write_row(
                table,
                f"{name} edges that {levels} levels tell, intersection over union",
                share,
                config,
                seed=seed,
                verdict=edges_verdict(levels, share) if name == "strong" else None,
            )
    write_orders(config, table, of, colours_of, seed=seed)
    figures.write_figure(table, draw, config.levels, left)
    shown = (of, colours_of[config.levels[1]], colours_of[config.num_levels])
    figures.write_figure(table, draw_pictures, *shown, name="pictures", size=(5, 6))


def kept(of: Pools, colours: dict[str, np.ndarray]) -> list[float]:
    """Shares of the variance of the label images that the rebuilt ones have."""
    maps = of.transfer.maps
    return [explained(maps[t], rebuilt(maps[t], colours[t])) for t in PIXEL_TASKS]


def rebuilt(maps: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Label images in the colours of a palette."""
    return colours[np.asarray(dense_targets.palette_levels(maps, colours))]


def explained(maps: np.ndarray, rebuilt_maps: np.ndarray) -> float:
    """One less the squared error over the variance, all pixels together."""
    spread = np.sum((maps - maps.mean(axis=(0, 1, 2))) ** 2)
    return float(1 - np.sum((maps - rebuilt_maps) ** 2) / spread)


def edges_told(maps: np.ndarray, colours: np.ndarray, quantile: float) -> float:
    """Intersection over union of edges and the pixels above the best threshold.

    Args:
      maps: gradients, `[n, h, w, 1]`.
      colours: those of the levels, `[levels, 1]`.
      quantile: of the gradients, above which a pixel is an edge.
    """
    levels = np.asarray(dense_targets.palette_levels(maps, colours))
    shown = colours[levels][..., 0]
    edges = maps[..., 0] > np.quantile(maps, quantile)
    above = [shown >= threshold for threshold in np.unique(colours)]
    return max(float((a & edges).sum() / (a | edges).sum()) for a in above)


def edges_verdict(levels: int, share: float) -> str | None:
    """Judges how well strong edges are told by the paper's words on 5 and 16 levels.

    Example:
      >>> edges_verdict(5, 0.4)
      'Most edges are lost, as stated.'
      >>> edges_verdict(5, 0.8)
      'Most edges are kept; in the paper, of other edges, most are lost.'
      >>> edges_verdict(16, 0.9)
      'They are kept, as stated.'
    """
    if levels == 5:
        return (
            "Most edges are lost, as stated."
            if share < 0.5
            else "Most edges are kept; in the paper, of other edges, most are lost."
        )
    if levels == 16:
        return "They are kept, as stated." if share > 0.5 else "Most are lost."
    return None


def write_orders(
    config: Config, table, of: Pools, colours_of: dict, *, seed: int
) -> None:
    """Writes how the ranking of the sources changes with the number of levels."""
    sources = [grids(config, of, task, seed=seed) for task in config.tasks]

    def scores(levels):
        def make():
            at = of._replace(palettes=colours_of[levels])
            columns = [
                h_scores(at, sources, task, num_levels=levels) for task in PIXEL_TASKS
            ]
            return [np.concatenate(columns).T]

        return kept_arrays(config, f"levels-{levels}-{seed}", make)[0]

    of_levels = {levels: scores(levels) for levels in config.levels}
    reference = of_levels[config.num_levels]
    for levels, matrix in of_levels.items():
        pairs = zip(PIXEL_TASKS, matrix.T, reference.T, strict=True)
        for task, column, known in pairs:
            rho = correlations.spearman(column, known)
            cell = f"Spearman of {levels} and {config.num_levels} levels, target {task}"
            figures.write_row(table, cell, rho, config, seed=seed)


def draw(figure, levels: tuple[int, ...], left: np.ndarray) -> None:
    """Variance left by the number of levels."""
    axes = figure.subplots()
    axes.semilogx(levels, left, "o-", ms=4, base=2)
    axes.set_xticks(levels, levels)
    axes.set(xlabel="levels", ylabel="variance left", ylim=(None, 1))
    axes.legend(PIXEL_TASKS)


def draw_pictures(figure, of: Pools, few: dict, many: dict) -> None:
    """Label images of one photograph, and as rebuilt with few and many levels."""
    panels = figure.subplots(len(PIXEL_TASKS), 3)
    image = np.argmax(of.transfer.labels["object"] >= 0)
    for row, task in zip(panels, PIXEL_TASKS, strict=True):
        maps = of.transfer.maps[task][image][None]
        versions = (maps, rebuilt(maps, few[task]), rebuilt(maps, many[task]))
        names = ("as it is", f"{len(few[task])} levels", f"{len(many[task])} levels")
        # Two channels are shown as their difference.
        shown = [
            picture[0, ..., 0] - picture[0, ..., 1:].sum(axis=-1)
            for picture in versions
        ]
        for axes, picture, name in zip(row, shown, names, strict=True):
            axes.imshow(picture, cmap="gray", vmin=shown[0].min(), vmax=shown[0].max())
            axes.set(title=f"{task}, {name}", xticks=[], yticks=[])


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
