"""The comparison of tasks -> one self-contained HTML page."""

from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from jtransfer.ranking.task_scores import TaskScored
from jtransfer.ranking.tasks import TaskComparison, TaskFacts
from jtransfer.report.pages import charts, heat_maps
from jtransfer.report.pages.document import document
from jtransfer.report.pages.formats import number, short
from jtransfer.report.pages.provenance import task_provenance
from jtransfer.report.pages.tables import Head
from jtransfer.report.pages.tasks_matrix import (
    MAX_MATRIX_COLUMNS,
    h_score_matrix,
    ordered_targets,
    target_rows,
)

_AGREEMENT_HEADS = (
    Head("Target", title="Target", is_text=True),
    Head("Spearman", title="Spearman"),
    Head("DCG", title="DCG"),
    Head("DCG of a random order", title="DCG of a random order"),
)
_MOST_PIXEL_MAPS = 4  # of a target


def tasks_html(comparison: TaskComparison) -> str:
    """Returns a comparison of tasks as one HTML page that needs no other file.

    Args:
      comparison: the comparison.

    Returns:
      The page. The texts in it are escaped: they can bring in no markup.
    """
    return document(
        "tasks.html",
        comparison=comparison,
        num_sources=len(comparison.sources) + len(comparison.failed),
        created=comparison.environment["created"],
        warnings=_warnings(comparison),
        choices=_choices(comparison),
        matrix=h_score_matrix(comparison) if comparison.sources else None,
        max_columns=MAX_MATRIX_COLUMNS,
        panels=_panels(comparison),
        agreement_heads=_AGREEMENT_HEADS,
        dense_targets=_dense_targets(comparison),
        provenance=task_provenance(comparison),
    )


def _warnings(comparison: TaskComparison) -> list[str]:
    reasons = comparison.failed.items()
    failed = [f"{name} failed: {reason}" for name, reason in reasons]
    return [*failed, *comparison.warnings]


class TargetChoice(NamedTuple):
    """The sources that serve a target best."""

    target: str
    sources: list[str]
    """The first; and the second, if they are the only two that cannot be told apart."""
    num_more: int
    """Sources besides that cannot be told from the first."""
    is_clear: bool
    """Whether the first of several sources is told apart from all others."""


def _choices(comparison: TaskComparison) -> list[TargetChoice]:
    """Which source serves each target best, and how surely."""
    if not comparison.sources:
        return []
    return [
        _choice(target.name, target_rows(comparison, target.name))
        for target in ordered_targets(comparison)
    ]


def _choice(target: str, rows: list[TaskScored]) -> TargetChoice:
    first, *others = rows
    tied = [row.source for row in others if row.group == first.group]
    if len(tied) == 1:
        return TargetChoice(target, [first.source, *tied], 0, False)
    is_clear = bool(others) and not tied
    return TargetChoice(target, [first.source], len(tied), is_clear)


class TargetPanel(NamedTuple):
    """The sources for one target, as a chart."""

    title: str
    description: str
    chart: Markup


def _panels(comparison: TaskComparison) -> list[TargetPanel]:
    panels = []
    for target in ordered_targets(comparison):
        rows = target_rows(comparison, target.name)
        if not rows:
            continue
        chart = charts.interval_chart(
            [_mark(comparison, row) for row in rows],
            label=f"H-score of each source for {target.name}",
            places=2 if rows[0].value < 10 else 1,
        )
        panels.append(TargetPanel(target.name, _description(target), chart))
    return panels


def _description(target: TaskFacts) -> str:
    height, width = target.shape
    levels = "classes" if target.what == "classes" else "levels"
    text = f"{target.num_levels} {levels}"
    if height * width > 1:
        return f"{text}, {height} x {width} pixels; the mean over the pixels."
    return f"{text}."


def _mark(comparison: TaskComparison, row: TaskScored) -> charts.Mark:
    return charts.Mark(
        index=comparison.sources.index(row.source),
        name=row.source,
        title=f"{row.source}: {number(row.value, 3)}",
        rank=row.rank,
        group=row.group,
        value=row.value,
        low=row.low,
        high=row.high,
        chance=row.chance,
        chance_high=row.chance_high,
    )


class DenseTarget(NamedTuple):
    """A target of pixels, and where in the image its best sources help."""

    name: str
    maps: list[Markup]


def _dense_targets(comparison: TaskComparison) -> list[DenseTarget]:
    targets = []
    for target in ordered_targets(comparison):
        rows = [row for row in target_rows(comparison, target.name) if row.pixels]
        rows = rows[:_MOST_PIXEL_MAPS]
        if rows:
            pixels = np.array([row.pixels for row in rows])
            low, high = float(pixels.min()), float(pixels.max())
            maps = [_pixel_map(row, low, high) for row in rows]
            targets.append(DenseTarget(target.name, maps))
    return targets


def _pixel_map(row: TaskScored, low: float, high: float) -> Markup:
    title = short([row.source], 22)[0]
    return heat_maps.heat_map_svg(row.pixels, title=title, low=low, high=high, size=180)
