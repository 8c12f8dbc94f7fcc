"""Figures 8, 9, 12 and 13: ranks, bars, a tree and heat maps of tasks."""

import numpy as np
import scipy.cluster.hierarchy

from experiments.h_score.support.derived_tasks import DEPTH


def draw_ranks(figure, tasks, scores: np.ndarray, accuracies: np.ndarray) -> None:
    """Ranks of the sources for each target by both, 1 being the best."""
    panels = figure.subplots(1, 2)
    for axes, matrix, title in zip(
        panels, (scores, accuracies), ("by H-score", "by accuracy"), strict=True
    ):
        ranks = (-matrix).argsort(axis=0).argsort(axis=0).T + 1
        axes.imshow(ranks, cmap="viridis_r")
        for (t, s), rank in np.ndenumerate(ranks):
            axes.text(s, t, rank, ha="center", va="center", color="white")
        axes.set_xticks(range(len(tasks)), tasks, rotation=45, ha="right")
        axes.set_yticks(range(len(tasks)), tasks)
        axes.set(xlabel="source", ylabel="target", title=title)


def draw_bars(figure, tasks, scores: np.ndarray, accuracies: np.ndarray) -> None:
    """The sources of three targets in the order of each score."""
    shown = [task for task in ("object", "scene", DEPTH) if task in tasks]
    panels = figure.subplots(2, len(shown), squeeze=False)
    for column, task in zip(panels.T, shown, strict=True):
        target = tasks.index(task)
        for axes, matrix, label in zip(
            column, (scores, accuracies), ("H-score", "accuracy"), strict=True
        ):
            order = np.argsort(matrix[:, target])
            axes.barh([tasks[s] for s in order], matrix[order, target])
            axes.set(xlabel=label)
        column[0].set_title(f"target {task}")


def draw_tree(figure, tasks, linkage: np.ndarray) -> None:
    """Dendrogram of the tasks by their H-scores over all sources."""
    axes = figure.subplots()
    scipy.cluster.hierarchy.dendrogram(
        linkage, labels=tasks, ax=axes, orientation="right", color_threshold=0
    )


def draw_heat(figure, tasks, maps: np.ndarray, rows: list) -> None:
    """H-scores by pixel of two sources and of both together, one pair a row."""
    panels = figure.subplots(2, 3)
    for row, (a, b, both) in zip(panels, rows, strict=True):
        shown = (maps[a], maps[b], both)
        names = (tasks[a], tasks[b], "both")
        for axes, values, name in zip(row, shown, names, strict=True):
            image = axes.imshow(values, vmin=maps.min(), vmax=rows[0][2].max())
            axes.set(title=f"{name}, mean {values.mean():.2f}", xticks=[], yticks=[])
    figure.colorbar(image, ax=panels)
