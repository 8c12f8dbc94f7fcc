"""Numbers by pixel as a picture: a heat map in one self-contained SVG."""

import base64
import io

import numpy as np
import PIL.Image
from markupsafe import Markup
from numpy.typing import ArrayLike

from jtransfer.report.pages.formats import number, printable

# Dark to light at even lightness: a score that is higher is lighter, also in grey.
_COLORS = np.array(
    [(13, 22, 60), (60, 42, 118), (142, 52, 122), (214, 92, 84), (247, 163, 77)]
    + [(252, 245, 200)]
)
_MISSING = (128, 128, 128)
_HEAT_MAP = Markup(
    """\
<svg class="pixels" role="img" width="{size}" height="{whole}" \
viewBox="0 0 {size} {whole}"><title>{title}</title>\
<text y="12" style="{start}" fill="currentColor">{title}</text>\
<image y="18" width="{size}" height="{height}" {sharp} href="{picture}"/>\
<image y="{scale_top}" width="{size}" height="8" {sharp} href="{ramp}"/>\
<text y="{foot}" style="{start}" fill="currentColor">{low}</text>\
<text x="{size}" y="{foot}" style="{end}" fill="currentColor">{high}</text></svg>"""
)
_SHARP = Markup('preserveAspectRatio="none" style="image-rendering:pixelated"')


def heat_map_svg(
    scores: ArrayLike,
    *,
    title: str,
    low: float | None = None,
    high: float | None = None,
    size: int = 256,
) -> Markup:
    """Draws the scores of pixels, such as those of `dense_h_score`, with their scale.

    Lighter is higher. To compare maps give them one `low` and `high`.

    Args:
      scores: one number a pixel, shape ``[h, w]``; what is not finite is grey.
      title: of the picture.
      low: the number of the darkest colour; the least of the scores by default.
      high: that of the lightest.
      size: width of the picture in pixels of the page.

    Returns:
      An SVG element that refers to nothing outside itself.

    Raises:
      ValueError: if `scores` is not a matrix with an element.

    Example:
      >>> str(heat_map_svg([[0.0, 1.0]], title="H by pixel"))[:4]
      '<svg'
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores must be [h, w], got shape {scores.shape}.")
    low, high = _range(scores, low, high)
    height = round(size * scores.shape[0] / scores.shape[1])
    ramp = np.linspace(0, 1, 64)[None]
    return _HEAT_MAP.format(
        size=size,
        whole=height + 48,
        title=printable(title),
        start="font:12px sans-serif;text-anchor:start",
        end="font:12px sans-serif;text-anchor:end",
        height=height,
        sharp=_SHARP,
        picture=_data_uri(heat_map_png(scores, low=low, high=high)),
        ramp=_data_uri(heat_map_png(ramp, low=0, high=1)),
        scale_top=height + 24,
        foot=height + 45,
        low=number(low, 2),
        high=number(high, 2),
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
    content = io.BytesIO()
    image = PIL.Image.fromarray(np.round(pixels).astype(np.uint8))
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def _range(
    scores: np.ndarray, low: float | None, high: float | None
) -> tuple[float, float]:
    kept = scores[np.isfinite(scores)]
    low = (float(kept.min()) if kept.size else 0.0) if low is None else low
    high = (float(kept.max()) if kept.size else 1.0) if high is None else high
    return low, high


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
