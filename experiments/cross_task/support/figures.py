"""Figures 7 and 8: scores of teachers against the accuracies of their students."""

import numpy as np

from experiments import harness
from experiments.sheets import axes

SHOWN = {
    "nce": "NCE",
    "leep": "LEEP",
    "logme": "LogME",
    "sinkhorn_2": "Sinkhorn II",
    "saving": "saving",
    "overlap": "classes known",
}


def draw_figure7(table, measured) -> None:
    """Draws scores, scaled to [0, 1], against the accuracy, a column a target.

    Bad teachers are black crosses.
    """
    worth = measured.accuracies.mean(axis=2)
    num_tasks, num_teachers = worth.shape
    figure, panels = axes(
        len(SHOWN), num_tasks, size=(1.7 * num_tasks, 1.4 * len(SHOWN))
    )
    for line, (name, label) in zip(panels, SHOWN.items(), strict=True):
        for k, panel in enumerate(line):
            scores = _scaled(measured.scores[name][k])
            for h in range(num_teachers):
                window, family = h % num_tasks, h // num_tasks
                bad = h >= num_teachers - measured.num_bad
                panel.plot(
                    100 * worth[k, h],
                    scores[h],
                    marker="x" if bad else "*^o"[family],
                    color="k" if bad else f"C{window}",
                    linestyle="none",
                )
            panel.tick_params(labelsize=6)
        line[0].set_ylabel(label, fontsize=8)
    for k, panel in enumerate(panels[0]):
        panel.set_title(f"target {k + 1}", fontsize=8)
    for panel in panels[-1]:
        panel.set_xlabel("accuracy, %", fontsize=8)
    harness.save_figure(figure, table)


def draw_figure8(table, measured) -> None:
    """Draws the exact score and its approximations for the first target, with lines."""
    worth = 100 * measured.accuracies[0].mean(axis=1)
    figure, ((panel,),) = axes(1, 1, size=(4, 3))
    for name, label, marker in (
        ("sinkhorn_exact", "exact", "o"),
        ("sinkhorn_1", "Approximation I", "s"),
        ("sinkhorn_2", "Approximation II", "^"),
    ):
        scores = _scaled(measured.scores[name][0])
        (points,) = panel.plot(worth, scores, marker, label=label)
        ends = np.array([worth.min(), worth.max()])
        line = np.polyfit(worth, scores, 1)
        panel.plot(ends, np.polyval(line, ends), color=points.get_color())
    panel.plot([worth.min(), worth.max()], [0, 1], "k:", label="ideal")
    panel.set(xlabel="accuracy of the student, %", ylabel="score, scaled to [0, 1]")
    panel.legend(fontsize="x-small")
    harness.save_figure(figure, table)


def _scaled(values):
    spread = np.ptp(values)
    return (values - values.min()) / (spread if spread else 1)
