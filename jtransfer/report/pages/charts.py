"""Charts of the report page, as inline SVG: pure functions of numbers and names.

Colours, fonts and margins are the style sheet's. Marks are placed in percent of the
plot, so that text keeps its size at any width.
"""

import html
import itertools
import math
import numbers
import os
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

ROW = 24  # pixels, height of a source in `interval_chart`
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_NOT_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


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


def escape(value: object) -> str:
    """Returns text that is inert in HTML, in SVG and inside quotes."""
    return html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(value)))


def finite(value: object) -> float | None:
    """Returns a number that can be drawn, or None."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return float(value) if real and abs(value) < 1e38 else None  # nor is NaN below


def _cut(name: str, width: int) -> str:
    """Returns a name cut in its middle to `width` columns; wide letters take two."""
    columns = [1 + (unicodedata.east_asian_width(letter) in "WF") for letter in name]
    if sum(columns) <= width:
        return name
    start, end = (
        sum(used <= (width - 1) // 2 for used in itertools.accumulate(side))
        for side in (columns, columns[::-1])
    )
    return f"{name[:start]}\N{HORIZONTAL ELLIPSIS}{name[len(name) - end :]}"


def short(names: Sequence[str], width: int = 21) -> list[str]:
    """Returns names of at most `width` columns that still tell the sources apart."""
    texts = [_cut(name, width) for name in names]
    for text in set(texts) - set(names):
        alike = [i for i, other in enumerate(texts) if other == text]
        start = max(len(os.path.commonprefix([names[i] for i in alike])) - 4, 0)
        for i in alike if len(alike) > 1 else ():
            texts[i] = "\N{HORIZONTAL ELLIPSIS}" + _cut(names[i][start:], width - 1)
    return texts


def decimals(scale: float) -> int:
    """Returns how many decimals numbers of a given scale need, at most 12."""
    return min(max(-math.floor(math.log10(max(scale, 1e-99)) + 1e-9), 0), 12)


def number(value: object, places: int | None = None) -> str:
    """Returns a number as people write it, with a unit from 100 000 on."""
    value = finite(value)
    if value is None:
        return "\N{EN DASH}"
    size = abs(value)
    if size >= 9.995e14 or (0 < size < 1e-4 and (places is None or places > 5)):
        text = f"{value:.2e}"
    elif size >= 99_950:
        scale, unit = next(unit for unit in _UNITS if size >= 0.9995 * unit[0])
        text = f"{value / scale:.3g} {unit}"
    elif places is None:
        text = f"{value:.4g}" if size < 1e3 and value % 1 else f"{value:.0f}"
    else:
        text = f"{value:.{places}f}"
    text = text if text.strip("-0.") else text.removeprefix("-")
    return text.replace("-", "\N{MINUS SIGN}")


def at_chance(mark: Mark) -> bool:
    """Whether the interval, or else the value, reaches what shuffled labels give."""
    low = mark.value if mark.low is None else mark.low
    return mark.chance_high is not None and low <= mark.chance_high


def interval_chart(
    marks: Sequence[Mark], *, label: str, places: int, ends: Sequence[float] = ()
) -> str:
    """Returns a dot and an interval for each source, `places` decimals beside it.

    The axis has room for the numbers in `ends` as well.
    """
    scale = axis([*ends, *(x for mark in marks for x in mark[5:])])  # not who it is
    top = 22 if any(mark.chance_high is not None for mark in marks) else 4
    foot = top + ROW * len(marks)
    lines = "".join(
        f'<line x1="{x}%" x2="{x}%" y1="{top}" y2="{foot}"/>'
        f'<text x="{x}%" y="{foot + 16}">{text}</text>'
        for x, text in scale.ticks(4)
    )
    named = zip(short([mark.name for mark in marks]), marks, strict=True)
    rows = (_row(*m, scale, top + ROW * i, places) for i, m in enumerate(named))
    return (
        f'<svg class="ranking" role="img" aria-label="{escape(label)}" width="100%" '
        f'height="{foot + 22}">{_groups(marks, top)}{_chance(marks, scale, top)}'
        f'<g class="grid">{lines}</g>{"".join(rows)}</svg>'
    )


def _row(name: str, mark: Mark, scale: Axis, y: int, places: int) -> str:
    whisker, style = "", ' class="at-chance"' if at_chance(mark) else ""
    if mark.low is not None and mark.high is not None:
        whisker = f'<line x1="{scale(mark.low):g}%" x2="{scale(mark.high):g}%"/>'
    return (
        f'<g data-s="{mark.index}" transform="translate(0 {y + ROW // 2})"{style}>'
        f"<title>{escape(mark.title)}</title><rect/><text>{number(mark.rank)}</text>"
        f"<text>{escape(name)}</text>{whisker}"
        f'<circle cx="{scale(mark.value):g}%"/>'
        f'<text x="100%">{number(mark.value, places)}</text></g>'
    )


def _groups(marks: Sequence[Mark], top: int) -> str:
    """Bands behind the groups, and a bar beside those of several sources."""
    parts, y = [], top
    groups = [(m.group, m.group is None and i) for i, m in enumerate(marks)]
    for i, (_, run) in enumerate(itertools.groupby(groups)):
        size = ROW * len(list(run))
        if i % 2:
            parts.append(f'<rect class="band" y="{y}" height="{size}"/>')
        if size > ROW:
            style = f'class="bar{"" if i else " best"}"'
            parts.append(f'<rect {style} y="{y + 4}" height="{size - 8}"/>')
        y += size
    return "".join(parts)


def _chance(marks: Sequence[Mark], scale: Axis, top: int) -> str:
    """What shuffled labels give: shaded up to its high end, dashed at its mean."""
    rows = list(enumerate(marks))
    ends = [(i, scale(m.chance_high)) for i, m in rows if m.chance_high is not None]
    means = [(i, scale(m.chance)) for i, m in rows if m.chance is not None]
    if not ends:
        return ""
    shade = "".join(f"M0 {top + ROW * i}h{x}v{ROW}H0z" for i, x in ends)
    dashes = "".join(f"M{x} {top + ROW * i}v{ROW}" for i, x in means)
    height = top + ROW * len(marks)
    return (
        f'<svg class="chance" viewBox="0 0 100 {height}" height="{height}" '
        f'preserveAspectRatio="none"><path d="{shade}"/><path d="{dashes}"/></svg>'
        '<text class="chance" y="14">chance level</text>'
    )


def scatter(
    points: Sequence[tuple[int, str, float, float]], axes: Sequence[Axis], *, label: str
) -> str:
    """Returns points (index, title, score, accuracy) and the first choice's loss."""
    chosen = max(points, key=lambda point: (point[2], -point[3]))
    best = round(100 - axes[1](max(point[3] for point in points)), 1)
    lines, dots = [], []
    for x, text in axes[0].ticks(3):
        lines.append(f'<line x1="{x}%" x2="{x}%" y2="100%"/>')
        lines.append(f'<text x="{x}%" y="100%" dy="16">{text}</text>')
    for y, text in axes[1].ticks(3):
        lines.append(f'<line x2="100%" y1="{100 - y:g}%" y2="{100 - y:g}%"/>')
        lines.append(f'<text class="end" x="-6" y="{100 - y:g}%" dy="4">{text}</text>')
    for point in sorted(points, key=lambda point: point is chosen):
        x, y = f"{axes[0](point[2]):g}%", f"{100 - axes[1](point[3]):.3g}%"
        style = ' class="chosen"' if point is chosen else ""
        dots.append(f'<circle data-s="{point[0]}" cx="{x}" cy="{y}"{style}>')
        dots.append(f"<title>{escape(point[1])}</title></circle>")
    return (  # the chosen source is drawn last: x and y are its place
        f'<svg class="scatter" role="img" aria-label="{escape(label)}" height="160">'
        f'<g class="grid">{"".join(lines)}</g><g class="regret">'
        f'<line x2="100%" y1="{best}%" y2="{best}%"/>'
        f'<line x1="{x}" x2="{x}" y1="{best}%" y2="{y}"/></g>{"".join(dots)}</svg>'
    )


def heat_map(names: Sequence[str], matrix: Sequence[Sequence], *, label: str) -> str:
    """Returns a square of correlations, each as a colour and as a number."""
    side, left, top, parts = 46, 150, 84, []
    heads = zip(short(names), short(names, 16), names, matrix, strict=True)
    for i, (beside, above, row, values) in enumerate(heads):
        x, y = left + side * i + 19, top + side * i + 23
        parts.append(
            f'<text class="end" x="{left - 8}" y="{y + 3}">{escape(beside)}</text>'
            f'<text transform="translate({x} 76) rotate(-35)">{escape(above)}</text>'
        )
        for j, (column, value) in enumerate(zip(names, values, strict=True)):
            size, text = min(abs(finite(value) or 0), 1), number(value, 2)
            x, style = left + side * j, "minus" if (finite(value) or 0) < 0 else "plus"
            parts.append(
                f'<g class="{style}{" strong" * (size > 0.79)}"><title>'
                f"{escape(row)}, {escape(column)}: {text}</title>"
                f'<rect x="{x}" y="{y - 23}" fill-opacity="{0.95 * size:.2f}"/>'
                f'<text x="{x + 22}" y="{y + 3}">{text}</text></g>'
            )
    width, height = left + side * len(names) + 60, top + side * len(names)
    return (
        f'<svg class="heat" role="img" aria-label="{escape(label)}" width="{width}" '
        f'viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'
    )
