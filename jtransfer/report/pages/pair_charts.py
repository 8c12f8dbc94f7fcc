"""Charts of a pair of networks, as inline SVG: classes and singular values."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from jtransfer.intervals import Interval
from jtransfer.report.pages.charts import Axis, joined
from jtransfer.report.pages.formats import finite, number, short

CLASS_ROW = 34  # pixels, height of a class in `class_chart`
_MOST_DOTS = 40  # of a curve: those that a pointer can tell apart


class Bars(NamedTuple):
    """The bars of a class, one for each direction of attack."""

    name: str
    title: str
    intervals: Sequence[Interval]
    """Numbers that are not finite are not drawn."""


def class_chart(
    rows: Sequence[Bars], chances: Sequence[float], *, label: str
) -> Markup:
    """Returns two bars for each class, from 0 on, and the two levels of chance.

    Args:
      rows: the classes.
      chances: level by chance for each direction.
      label: of the whole, for who cannot see it.
    """
    numbers = [x for row in rows for interval in row.intervals for x in interval]
    known = [x for x in map(finite, numbers) if x is not None]
    scale, height = Axis(0, max(known, default=1) or 1, False), CLASS_ROW * len(rows)
    names = short([row.name for row in rows])
    bars = (
        _class_row(name, row, scale, CLASS_ROW * i)
        for i, (name, row) in enumerate(zip(names, rows, strict=True))
    )
    return Markup(
        '<svg class="classes" role="img" aria-label="{label}" height="{height}">'
        '<g class="grid">{ticks}</g>{bars}{dashes}</svg>'
    ).format(
        label=label,
        height=height + 22,
        ticks=_class_ticks(scale, height),
        bars=joined(bars),
        dashes=_chance_lines(chances, scale, height),
    )


def _class_ticks(scale: Axis, height: int) -> Markup:
    tick = Markup(
        '<line x1="{x:g}%" x2="{x:g}%" y2="{height}"/>'
        '<text x="{x:g}%" y="{below}">{text}</text>'
    )
    return joined(
        tick.format(x=x, height=height, below=height + 16, text=text)
        for x, text in scale.ticks(4)
    )


def _chance_lines(chances: Sequence[float], scale: Axis, height: int) -> Markup:
    line = Markup('<line class="chance-{i}" x1="{x:g}%" x2="{x:g}%" y2="{height}"/>')
    return joined(
        line.format(i=i, x=scale(chance), height=height)
        for i, chance in enumerate(map(finite, chances))
        if chance is not None
    )


def _class_row(name: str, row: Bars, scale: Axis, top: int) -> Markup:
    bars = (
        _class_bar(i, interval, scale, top + 6 + 12 * i)
        for i, interval in enumerate(row.intervals)
        if finite(interval.value) is not None
    )
    return Markup(
        '<g><title>{title}</title><text class="name" y="{middle}">{name}</text>'
        "{bars}</g>"
    ).format(title=row.title, middle=top + 21, name=name, bars=joined(bars))


def _class_bar(i: int, interval: Interval, scale: Axis, y: int) -> Markup:
    low, high, whisker = finite(interval.low), finite(interval.high), Markup()
    if low is not None and high is not None:
        line = Markup('<line x1="{:g}%" x2="{:g}%" y1="{y}" y2="{y}"/>')
        whisker = line.format(scale(low), scale(high), y=y + 4.5)
    return Markup(
        '<rect class="bar-{i}" y="{y}" width="{width:g}%" height="9"/>{whisker}'
        '<text class="value" x="100%" y="{foot}">{value}</text>'
    ).format(
        i=i,
        y=y,
        width=scale(interval.value),
        whisker=whisker,
        foot=y + 9,
        value=number(interval.value, 2),
    )


class Curve(NamedTuple):
    """Numbers in order, as a curve of `spectrum_chart`."""

    name: str
    values: Sequence[float]


def spectrum_chart(curves: Sequence[Curve], *, label: str) -> Markup:
    """Returns each series of numbers as a curve, in shares of its first number."""
    count = max(len(curve.values) for curve in curves)
    across, up = Axis(1, max(count, 2), False), Axis(0, 1, False)
    row = Markup(
        '<line x2="100%" y1="{y:g}%" y2="{y:g}%"/>'
        '<text class="end" x="-8" y="{y:g}%" dy="4">{text}</text>'
    )
    grid = [row.format(y=100 - y, text=text) for y, text in up.ticks(4)]
    mark = Markup('<text x="{:g}%" y="100%" dy="18">{}</text>')
    places = range(1, count + 1, max(1, count // 10))
    grid += [mark.format(across(i), i) for i in places]
    paths, dots = [], []
    for i, curve in enumerate(curves):
        points = _curve_points(curve.values, across, up)
        steps = "L".join(f"{x:g} {y:g}" for x, y in points)
        paths.append(Markup('<path class="curve-{}" d="M{}"/>').format(i, steps))
        dots += _curve_dots(i, curve, points)
    return Markup(
        '<svg class="spectrum" role="img" aria-label="{label}" height="220">'
        '<g class="grid">{grid}</g><svg viewBox="0 0 100 100" '
        'preserveAspectRatio="none" width="100%" height="100%">{paths}</svg>{dots}'
        "</svg>"
    ).format(label=label, grid=joined(grid), paths=joined(paths), dots=joined(dots))


def _curve_points(
    values: Sequence[float], across: Axis, up: Axis
) -> list[tuple[float, float]]:
    first = values[0] if len(values) and values[0] else 1
    return [(across(i), 100 - up(value / first)) for i, value in enumerate(values, 1)]


def _curve_dots(
    series: int, curve: Curve, points: Sequence[tuple[float, float]]
) -> list[Markup]:
    dot = Markup(
        '<circle class="dot-{series}" cx="{x:g}%" cy="{y:g}%">'
        "<title>{name}, value {i}: {value}</title></circle>"
    )
    places = zip(points, curve.values, strict=True)
    return [
        dot.format(series=series, x=x, y=y, name=curve.name, i=i, value=number(value))
        for i, ((x, y), value) in enumerate(itertools.islice(places, _MOST_DOTS), 1)
    ]
