"""Numbers by pixel as a picture: a heat map in one self-contained SVG."""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import ArrayLike

from jtransfer.report.pages.charts import escape, number

# Dark to light at even lightness: a score that is higher is lighter, also in grey.
_COLORS = np.array(
    [(13, 22, 60), (60, 42, 118), (142, 52, 122), (214, 92, 84), (247, 163, 77)]
    + [(252, 245, 200)]
)
_MISSING = (128, 128, 128)


def heat_map_svg(
    scores: ArrayLike,
    *,
    title: str,
    low: float | None = None,
    high: float | None = None,
    size: int = 256,
) -> str:
    """Draws the scores of pixels, such as those of `dense_h_score`, with their scale.

    Lighter is higher. To compare maps give them one `low` and `high`.

    Args:
      scores: one number a pixel, shape ``[h, w]``; what is not finite is grey.
      title: what it shows.
      low: the number of the darkest colour; the least of the scores by default.
      high: that of the lightest.
      size: width of the picture in pixels of the page.

    Returns:
      An SVG element that refers to nothing outside itself.

    Raises:
      ValueError: if `scores` is not a matrix with an element.

    Example:
      >>> heat_map_svg([[0.0, 1.0]], title="H by pixel")[:4]
      '<svg'
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores must be [h, w], got shape {scores.shape}.")
    low, high = _range(scores, low, high)
    height = round(size * scores.shape[0] / scores.shape[1])
    ramp = np.linspace(0, 1, 64)[None]
    picture = 'preserveAspectRatio="none" style="image-rendering:pixelated"'
    start, end = (
        f'style="font:12px sans-serif;text-anchor:{side}" fill="currentColor"'
        for side in ("start", "end")
    )
    return (
        f'<svg class="pixels" role="img" width="{size}" height="{height + 48}" '
        f'viewBox="0 0 {size} {height + 48}"><title>{escape(title)}</title>'
        f'<text y="12" {start}>{escape(title)}</text>'
        f'<image y="18" width="{size}" height="{height}" {picture} '
        f'href="{_data_uri(heat_map_png(scores, low=low, high=high))}"/>'
        f'<image y="{height + 24}" width="{size}" height="8" {picture} '
        f'href="{_data_uri(heat_map_png(ramp, low=0, high=1))}"/>'
        f'<text y="{height + 45}" {start}>{number(low, 2)}</text>'
        f'<text x="{size}" y="{height + 45}" {end}>{number(high, 2)}</text></svg>'
    )


def heat_map_png(scores: ArrayLike, *, low: float, high: float) -> bytes:
    """Encodes the scores of pixels as a PNG, one pixel each, dark to light.

    Args:
      scores: one number a pixel, shape ``[h, w]``; what is not finite is grey.
      low: the number of the darkest colour; what is below has it too.
      high: that of the lightest.

    Returns:
      The content of a PNG file.

    Example:
      >>> heat_map_png([[0.0, 1.0]], low=0, high=1)[1:4]
      b'PNG'
    """
    scores = np.asarray(scores, np.float64)
    share = (scores - low) / (high - low if high > low else 1)
    known = np.isfinite(share)
    place = np.clip(np.where(known, share, 0), 0, 1) * (len(_COLORS) - 1)
    colors = [
        np.interp(place, np.arange(len(_COLORS)), channel) for channel in _COLORS.T
    ]
    pixels = np.where(known[..., None], np.stack(colors, axis=-1), _MISSING)
    rows = np.round(pixels).astype(np.uint8).reshape(len(scores), -1)
    # A row begins with the number of its filter, 0 for none.
    content = zlib.compress(np.pad(rows, [(0, 0), (1, 0)]).tobytes(), 9)
    header = struct.pack(">IIBBBBB", *scores.shape[::-1], 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def _range(scores: np.ndarray, low: float | None, high: float | None):
    kept = scores[np.isfinite(scores)]
    low = (float(kept.min()) if kept.size else 0.0) if low is None else low
    high = (float(kept.max()) if kept.size else 1.0) if high is None else high
    return low, high


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
