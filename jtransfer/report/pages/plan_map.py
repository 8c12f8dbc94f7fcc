"""The transport plan of the best source on the report page: class to class."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from jtransfer.ranking import Scored
from jtransfer.report.pages.charts import joined
from jtransfer.report.pages.formats import finite, short
from jtransfer.report.pages.ranking_text import RankingView

_LEFT, _ANGLE = 156, -55
_FAINTEST = 0.01  # Of the largest mass: less is not drawn, or pages get megabytes.


class PlanView(NamedTuple):
    """A transport plan as a page shows it."""

    source: str
    num_examples: int | None
    num_classes: int
    """Of the source, those that are shown."""
    left_out: float | None
    """Mass of the classes that are not shown; None where it is next to nothing."""
    chart: Markup


def plan_view(ranking: RankingView) -> PlanView | None:
    """Returns the plan of the first source of a ranking that has one, or None."""
    for source in ranking.sources:
        for row in ranking.rows_of(source):
            if isinstance(row, Scored) and row.plan is not None:
                return _view(row)
    return None


def _view(row: Scored) -> PlanView:
    columns = [] if row.run is None else [str(name) for name in row.run.class_names]
    names, masses = _ordered(row.plan.source_classes, row.plan.masses)
    if not columns and masses:
        columns = [str(i) for i in range(len(masses[0]))]
    chart = transport_plan_map(
        names, columns, masses, label=f"Transport plan of {row.source}"
    )
    left_out = finite(row.plan.left_out) or 0
    return PlanView(
        source=row.source,
        num_examples=row.n,
        num_classes=len(names),
        left_out=left_out if left_out >= 5e-4 else None,
        chart=chart,
    )


def _ordered(
    names: Sequence[str], masses: Sequence[Sequence[float]]
) -> tuple[list[str], list[Sequence[float]]]:
    """Puts rows with their largest mass in the same column side by side."""

    def place(i: int) -> tuple[int, float]:
        largest = max(masses[i])
        return list(masses[i]).index(largest), -largest

    order = sorted(range(len(names)), key=place)
    return [str(names[i]) for i in order], [masses[i] for i in order]


def transport_plan_map(
    rows: Sequence[str],
    columns: Sequence[str],
    masses: Sequence[Sequence[float]],
    *,
    label: str,
) -> Markup:
    """Returns a plan as a table of coloured cells, their masses on hovering.

    Args:
      rows: names of the source's classes.
      columns: names of the target's classes.
      masses: for each row the mass to each column, not negative.
      label: of the map, for who cannot see it.

    Returns:
      An SVG image.
    """
    side = 26 if len(columns) <= 25 else 15
    top = 96 if max(map(len, columns), default=0) > 3 else 30
    largest = max((max(row) for row in masses if len(row)), default=0) or 1
    parts = _column_heads(columns, top - 6, side)
    for i, (name, values) in enumerate(zip(short(rows), masses, strict=True)):
        y = top + side * i
        titles = [f"{rows[i]} to {column}" for column in columns]
        parts.append(_row_head(name, len(columns), y, side))
        parts += _mass_cells(titles, values, largest, y, side)
    return Markup(
        '<svg class="plan" role="img" aria-label="{label}" width="{width}" '
        'height="{height}" viewBox="0 0 {width} {height}">{cells}</svg>'
    ).format(
        label=label,
        width=_LEFT + side * len(columns) + 70,
        height=top + side * len(rows) + 4,
        cells=joined(parts),
    )


def _column_heads(names: Sequence[str], y: int, side: int) -> list[Markup]:
    head = Markup('<text transform="translate({} {}) rotate({})">{}</text>')
    return [
        head.format(_LEFT + side * j + side // 2 + 3, y, _ANGLE, name)
        for j, name in enumerate(short(names, 16))
    ]


def _row_head(name: str, num_columns: int, y: int, side: int) -> Markup:
    """The name of a row, and the ground on which its cells lie."""
    return Markup(
        '<text class="end" x="{end}" y="{middle}">{name}</text>'
        '<rect class="row" x="{left}" y="{y}" height="{height}" width="{width}"/>'
    ).format(
        end=_LEFT - 8,
        middle=y + side // 2 + 4,
        name=name,
        left=_LEFT,
        y=y,
        height=side - 1,
        width=side * num_columns - 1,
    )


def _mass_cells(
    titles: Sequence[str], masses: Sequence[float], largest: float, y: int, side: int
) -> list[Markup]:
    """The cells of a row that are not too faint to be seen."""
    total = sum(masses) or 1
    cell = Markup(
        '<rect x="{x}" y="{y}" width="{side}" height="{side}" '
        'fill-opacity="{opacity:.2f}"><title>{title}: {mass:.3g}, {share:.0%} of the '
        "row</title></rect>"
    )
    return [
        cell.format(
            x=_LEFT + side * j,
            y=y,
            side=side - 1,
            opacity=mass / largest,
            title=title,
            mass=mass,
            share=mass / total,
        )
        for j, (title, mass) in enumerate(zip(titles, masses, strict=True))
        if mass >= _FAINTEST * largest
    ]
