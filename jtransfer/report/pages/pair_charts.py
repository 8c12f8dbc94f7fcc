"""Charts of a pair of networks, as inline SVG; see `_charts`."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from jtransfer.report.pages.charts import Axis, escape, finite, number, short

CHART_ROW = 34  # pixels, height of a class in `class_chart`


class Bars(NamedTuple):
    """The two bars of a class: each a value with its interval, None where unknown."""

    name: str
    title: str
    values: Sequence[tuple[float | None, float | None, float | None]]


def class_chart(rows: Sequence[Bars], chances: Sequence, *, label: str) -> str:
    """Returns two bars for each class, from 0 on, and the two levels of chance."""
    known = [x for row in rows for value in row.values for x in value if x is not None]
    scale, height = Axis(0, max(known, default=1) or 1, False), CHART_ROW * len(rows)
    grid = "".join(
        f'<line x1="{x:g}%" x2="{x:g}%" y2="{height}"/>'
        f'<text x="{x:g}%" y="{height + 16}">{text}</text>'
        for x, text in scale.ticks(4)
    )
    bars = "".join(
        _class_row(name, row, scale, CHART_ROW * i)
        for i, (name, row) in enumerate(
            zip(short([r.name for r in rows]), rows, strict=True)
        )
    )
    dashes = "".join(
        f'<line class="chance-{i}" x1="{scale(x):g}%" x2="{scale(x):g}%" '
        f'y2="{height}"/>'
        for i, x in enumerate(map(finite, chances))
        if x is not None
    )
    return (
        f'<svg class="classes" role="img" aria-label="{escape(label)}" '
        f'height="{height + 22}"><g class="grid">{grid}</g>{bars}{dashes}</svg>'
    )


def _class_row(name: str, row: Bars, scale: Axis, top: int) -> str:
    parts = []
    for i, (value, low, high) in enumerate(row.values):
        y = top + 6 + 12 * i
        if value is None:
            continue
        parts.append(
            f'<rect class="bar-{i}" y="{y}" width="{scale(value):g}%" height="9"/>'
        )
        if low is not None and high is not None:
            ends = f'x1="{scale(low):g}%" x2="{scale(high):g}%"'
            parts.append(f'<line {ends} y1="{y + 4.5}" y2="{y + 4.5}"/>')
        text = number(value, 2)
        parts.append(f'<text class="value" x="100%" y="{y + 9}">{text}</text>')
    return (
        f"<g><title>{escape(row.title)}</title>"
        f'<text class="name" y="{top + 21}">{escape(name)}</text>{"".join(parts)}</g>'
    )


def spectrum_chart(series: Sequence[tuple[str, Sequence[float]]], *, label: str) -> str:
    """Returns a curve for each series of values, as shares of its first value."""
    count = max(len(values) for _, values in series)
    across, up = Axis(1, max(count, 2), False), Axis(0, 1, False)
    grid = "".join(
        f'<line x2="100%" y1="{100 - y:g}%" y2="{100 - y:g}%"/>'
        f'<text class="end" x="-8" y="{100 - y:g}%" dy="4">{text}</text>'
        for y, text in up.ticks(4)
    )
    step = max(1, count // 10)
    grid += "".join(
        f'<text x="{across(i):g}%" y="100%" dy="18">{i}</text>'
        for i in range(1, count + 1, step)
    )
    curves, dots = [], []
    for kind, (name, values) in enumerate(series):
        first = values[0] if len(values) and values[0] else 1
        points = [
            (across(i), 100 - up(value / first), i, value)
            for i, value in enumerate(values, 1)
        ]
        path = "L".join(f"{x:g} {y:g}" for x, y, _, _ in points)
        curves.append(f'<path class="curve-{kind}" d="M{path}"/>')
        dots += [
            f'<circle class="dot-{kind}" cx="{x:g}%" cy="{y:g}%"><title>'
            f"{escape(name)}, value {i}: {number(value)}</title></circle>"
            for x, y, i, value in itertools.islice(points, 40)
        ]
    return (
        f'<svg class="spectrum" role="img" aria-label="{escape(label)}" height="220">'
        f'<g class="grid">{grid}</g><svg viewBox="0 0 100 100" '
        f'preserveAspectRatio="none" width="100%" height="100%">{"".join(curves)}</svg>'
        f"{''.join(dots)}</svg>"
    )
