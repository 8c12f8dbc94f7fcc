"""Numbers and names as pages show them: rounded, with units, cut to a width."""

import itertools
import math
import numbers
import os
import re
import unicodedata
from collections.abc import Sequence

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_NOT_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(content: str) -> str:
    """Returns a text without the letters that XML forbids and files cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", content)


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
