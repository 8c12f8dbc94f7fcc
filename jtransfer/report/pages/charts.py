"""Charts of scores and accuracies as inline SVG: pure functions of numbers and names.

Colours, fonts and margins are the style sheet's. Marks are placed in percent of the
plot, so that text keeps its size at any width.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from jtransfer.report.pages.formats import decimals, finite, number, short

CHART_ROW = 24  # pixels, height of a source in `interval_chart`


class Mark(NamedTuple):
    """A source in `interval_chart`; None where something is not known."""

    index: int  # the same in every chart and table: ties a source's marks together
    name: str
    title: str
    rank: int | None
    group: int | None
    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    chance_high: float | None = None

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """All that the axis has room for."""
        return self.value, self.low, self.high, self.chance, self.chance_high


class Point(NamedTuple):
    """A source in `scatter`."""

    index: int
    title: str
    score: float
    accuracy: float


class Axis(NamedTuple):
    """A linear or logarithmic axis."""

    low: float
    high: float
    log: bool

    def __call__(self, value: float) -> float:
        """Returns where a value lies, in percent of the axis."""
        value = math.log10(max(value, 1e-300)) if self.log else value
        fraction = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(fraction, 0), 1), 1)

    def ticks(self, count: int) -> list[tuple[float, str]]:
        """Returns the places and the texts of about `count` round values."""
        raw = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(raw))
        step = min((1, 2, 2.5, 5, 10), key=lambda s: abs(math.log(s * power / raw)))
        step = max(round(raw), 1) if self.log else step * power
        span = range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        values = [10.0 ** (step * i) if self.log else step * i for i in span]
        places = 0 if self.log else decimals(step / 10 if step == 2.5 * power else step)
        return [(self(value), number(value, places)) for value in values]


def axis(values: Sequence[object]) -> Axis:
    """Returns an axis with room for all finite values, logarithmic for wide counts."""
    kept = [value for value in map(finite, values) if value is not None] or [0.0]
    low, high = min(kept), max(kept)
    log = low > 0 and high > 1000 and high > 100 * low
    low, high = (math.log10(low), math.log10(high)) if log else (low, high)
    room = max(0.04 * (high - low), 1e-6 * max(abs(low), abs(high)), 1e-9)
    return Axis(low - room, high + room, log)


def joined(parts: Iterable[Markup]) -> Markup:
    """Returns pieces of markup, one after the other."""
    return Markup().join(parts)


def at_chance(mark: Mark) -> bool:
    """Whether the interval, or else the value, reaches what shuffled labels give."""
    low = mark.value if mark.low is None else mark.low
    return mark.chance_high is not None and low <= mark.chance_high


def interval_chart(
    marks: Sequence[Mark], *, label: str, places: int, ends: Sequence[float] = ()
) -> Markup:
    """Returns a dot and an interval for each source, `places` decimals beside it.

    The axis has room for the numbers in `ends` as well.
    """
    scale = axis([*ends, *(x for mark in marks for x in mark.numbers)])
    top = 22 if any(mark.chance_high is not None for mark in marks) else 4
    foot = top + CHART_ROW * len(marks)
    tick = Markup(
        '<line x1="{x}%" x2="{x}%" y1="{top}" y2="{foot}"/>'
        '<text x="{x}%" y="{below}">{text}</text>'
    )
    ticks = (
        tick.format(x=x, top=top, foot=foot, below=foot + 16, text=text)
        for x, text in scale.ticks(4)
    )
    named = zip(short([mark.name for mark in marks]), marks, strict=True)
    rows = (
        _source_row(name, mark, scale, top + CHART_ROW * i, places)
        for i, (name, mark) in enumerate(named)
    )
    return Markup(
        '<svg class="ranking" role="img" aria-label="{label}" width="100%" '
        'height="{height}">{groups}{chance}<g class="grid">{ticks}</g>{rows}</svg>'
    ).format(
        label=label,
        height=foot + 22,
        groups=_group_bands(marks, top),
        chance=_chance_band(marks, scale, top),
        ticks=joined(ticks),
        rows=joined(rows),
    )


def _source_row(name: str, mark: Mark, scale: Axis, y: int, places: int) -> Markup:
    style, whisker = Markup(), Markup()
    if at_chance(mark):
        style = Markup(' class="at-chance"')
    if mark.low is not None and mark.high is not None:
        line = Markup('<line x1="{:g}%" x2="{:g}%"/>')
        whisker = line.format(scale(mark.low), scale(mark.high))
    return Markup(
        '<g data-s="{index}" transform="translate(0 {middle})"{style}>'
        "<title>{title}</title><rect/><text>{rank}</text><text>{name}</text>{whisker}"
        '<circle cx="{place:g}%"/><text x="100%">{value}</text></g>'
    ).format(
        index=mark.index,
        middle=y + CHART_ROW // 2,
        style=style,
        title=mark.title,
        rank=number(mark.rank),
        name=name,
        whisker=whisker,
        place=scale(mark.value),
        value=number(mark.value, places),
    )


def _group_bands(marks: Sequence[Mark], top: int) -> Markup:
    """Bands behind the groups, and a bar beside those of several sources."""
    parts, y = [], top
    band = Markup('<rect class="band" y="{}" height="{}"/>')
    bar = Markup('<rect class="{}" y="{}" height="{}"/>')
    groups = [(m.group, m.group is None and i) for i, m in enumerate(marks)]
    for i, (_, run) in enumerate(itertools.groupby(groups)):
        size = CHART_ROW * len(list(run))
        if i % 2:
            parts.append(band.format(y, size))
        if size > CHART_ROW:
            parts.append(bar.format("bar" if i else "bar best", y + 4, size - 8))
        y += size
    return joined(parts)


def _chance_band(marks: Sequence[Mark], scale: Axis, top: int) -> Markup:
    """The scores of shuffled labels: shaded to their high end, dashed at their mean."""
    rows = list(enumerate(marks))
    ends = [(i, scale(m.chance_high)) for i, m in rows if m.chance_high is not None]
    means = [(i, scale(m.chance)) for i, m in rows if m.chance is not None]
    if not ends:
        return Markup()
    return Markup(
        '<svg class="chance" viewBox="0 0 100 {height}" height="{height}" '
        'preserveAspectRatio="none"><path d="{shade}"/><path d="{dashes}"/></svg>'
        '<text class="chance" y="14">chance level</text>'
    ).format(
        height=top + CHART_ROW * len(marks),
        shade="".join(f"M0 {top + CHART_ROW * i}h{x}v{CHART_ROW}H0z" for i, x in ends),
        dashes="".join(f"M{x} {top + CHART_ROW * i}v{CHART_ROW}" for i, x in means),
    )


def scatter(points: Sequence[Point], across: Axis, up: Axis, *, label: str) -> Markup:
    """Returns scores against accuracies, and the first choice with its loss.

    Args:
      points: the sources.
      across: of the scores.
      up: of the accuracies.
      label: of the whole, for who cannot see it.
    """
    chosen = max(points, key=lambda point: (point.score, -point.accuracy))
    best = round(100 - up(max(point.accuracy for point in points)), 1)
    column = Markup(
        '<line x1="{x}%" x2="{x}%" y2="100%"/>'
        '<text x="{x}%" y="100%" dy="16">{text}</text>'
    )
    row = Markup(
        '<line x2="100%" y1="{y:g}%" y2="{y:g}%"/>'
        '<text class="end" x="-6" y="{y:g}%" dy="4">{text}</text>'
    )
    grid = [column.format(x=x, text=text) for x, text in across.ticks(3)]
    grid += [row.format(y=100 - y, text=text) for y, text in up.ticks(3)]
    others = [point for point in points if point is not chosen]
    return Markup(
        '<svg class="scatter" role="img" aria-label="{label}" height="160">'
        '<g class="grid">{grid}</g><g class="regret">'
        '<line x2="100%" y1="{best}%" y2="{best}%"/>'
        '<line x1="{x}" x2="{x}" y1="{best}%" y2="{y}"/></g>{dots}{last}</svg>'
    ).format(
        label=label,
        grid=joined(grid),
        best=best,
        x=_across(chosen, across),
        y=_down(chosen, up),
        dots=joined(_dot(point, across, up, "") for point in others),
        last=_dot(chosen, across, up, "chosen"),
    )


def _across(point: Point, axis: Axis) -> str:
    return f"{axis(point.score):g}%"


def _down(point: Point, axis: Axis) -> str:
    return f"{100 - axis(point.accuracy):.3g}%"


def _dot(point: Point, across: Axis, up: Axis, style: str) -> Markup:
    return Markup(
        '<circle data-s="{}" cx="{}" cy="{}" class="{}"><title>{}</title></circle>'
    ).format(point.index, _across(point, across), _down(point, up), style, point.title)
