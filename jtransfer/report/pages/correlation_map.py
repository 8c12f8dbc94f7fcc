"""Correlations between scores as a square of coloured cells, in inline SVG."""

from collections.abc import Sequence

from markupsafe import Markup

from jtransfer.report.pages.charts import joined
from jtransfer.report.pages.formats import finite, number, short

_SIDE, _LEFT, _TOP = 46, 150, 84
"""Pixels: a cell, the names beside the square, those above it."""


def correlation_map(
    names: Sequence[str], matrix: Sequence[Sequence[float | None]], *, label: str
) -> Markup:
    """Returns a square of correlations, each as a colour and as a number.

    Args:
      names: of the rows, and of the columns.
      matrix: the correlations, None where they are not known.
      label: of the whole, for who cannot see it.
    """
    heads = Markup(
        '<text class="end" x="{x}" y="{y}">{beside}</text>'
        '<text transform="translate({right} 76) rotate(-35)">{above}</text>'
    )
    parts = []
    columns = zip(short(names), short(names, 16), names, matrix, strict=True)
    for i, (beside, above, row, values) in enumerate(columns):
        y = _TOP + _SIDE * i
        right = _LEFT + _SIDE * i + 19
        parts.append(
            heads.format(x=_LEFT - 8, y=y + 26, beside=beside, right=right, above=above)
        )
        parts += [
            _correlation_cell(f"{row}, {column}", value, _LEFT + _SIDE * j, y)
            for j, (column, value) in enumerate(zip(names, values, strict=True))
        ]
    return Markup(
        '<svg class="heat" role="img" aria-label="{label}" width="{width}" '
        'viewBox="0 0 {width} {height}">{cells}</svg>'
    ).format(
        label=label,
        width=_LEFT + _SIDE * len(names) + 60,
        height=_TOP + _SIDE * len(names),
        cells=joined(parts),
    )


def _correlation_cell(names: str, value: float | None, x: int, y: int) -> Markup:
    known, text = finite(value) or 0, number(value, 2)
    size = min(abs(known), 1)
    style = "minus" if known < 0 else "plus"
    return Markup(
        '<g class="{style}"><title>{names}: {text}</title>'
        '<rect x="{x}" y="{y}" fill-opacity="{opacity:.2f}"/>'
        '<text x="{middle}" y="{foot}">{text}</text></g>'
    ).format(
        style=f"{style} strong" if size > 0.79 else style,
        names=names,
        text=text,
        x=x,
        y=y,
        opacity=0.95 * size,
        middle=x + 22,
        foot=y + 26,
    )
