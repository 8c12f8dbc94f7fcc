"""Images and options as loaders need them."""

import numpy as np

from jtransfer._internal.errors import SourceError


def numbers(text: str, what: str) -> tuple[float, ...]:
    """Reads numbers between commas.

    Raises:
      SourceError: if they are none.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SourceError(
            f"{what} must be numbers between commas, got {text!r}."
        ) from error


def rgb(images: np.ndarray) -> np.ndarray:
    """Returns images `[b, h, w, 3]`; grey ones are repeated."""
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images[..., :3]


def resized(image: np.ndarray, size: int, resampling) -> np.ndarray:
    """Resizes an image by its shorter side and cuts out the middle square."""
    from PIL import Image

    height, width = image.shape[:2]
    scale = size / min(height, width)
    shape = max(size, round(width * scale)), max(size, round(height * scale))
    picture = Image.fromarray(image).resize(shape, resampling)
    left, top = (shape[0] - size) // 2, (shape[1] - size) // 2
    return np.asarray(picture.crop((left, top, left + size, top + size)))
