"""Images and options as loaders need them."""

from collections.abc import Callable, Mapping
from typing import Any

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


def byte_images(images: np.ndarray) -> np.ndarray:
    """Returns images as uint8; floats are those in [0, 1]."""
    if images.dtype == np.uint8:
        return images
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)


def rgb(images: np.ndarray) -> np.ndarray:
    """Returns images `[b, h, w, 3]`; grey ones are repeated."""
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images[..., :3]


def resizing(
    options: Mapping[str, str],
) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]:
    """Returns a function that resizes images, and its settings.

    Args:
      options: `size` of the shorter side, of which the middle square is cut out, the
        images as they are without it; `interpolation`, bilinear by default.

    Raises:
      SourceError: if they are no number, or no interpolation of Pillow.
    """
    from PIL import Image

    name = options.get("interpolation", "bilinear").upper()
    if name not in Image.Resampling.__members__:
        known = ", ".join(Image.Resampling.__members__).lower()
        raise SourceError(f"interpolation is one of {known}, got {name.lower()!r}.")
    if "size" not in options:
        return lambda images: images, {"size": None}
    size = int(numbers(options["size"], "size")[0])

    def resized(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        scale = size / min(height, width)
        shape = max(size, round(width * scale)), max(size, round(height * scale))
        picture = Image.fromarray(image).resize(shape, Image.Resampling[name])
        left, top = (shape[0] - size) // 2, (shape[1] - size) // 2
        return np.asarray(picture.crop((left, top, left + size, top + size)))

    settings = {"size": size, "interpolation": name.lower()}
    return lambda images: np.stack([resized(image) for image in images]), settings


def normalizing(
    options: Mapping[str, str],
) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]:
    """Returns a function from uint8 images to what a network takes, and its settings.

    Args:
      options: those of `resizing`; `scale`, by which pixels are multiplied, 1/255 by
        default; `mean` and `std` of the channels after that.

    Raises:
      SourceError: if they are no numbers.
    """
    resize, settings = resizing(options)
    (scale,) = numbers(options.get("scale", str(1 / 255)), "scale")
    mean, std = (
        numbers(options.get(name, default), name)
        for name, default in (("mean", "0"), ("std", "1"))
    )

    def normalized(images: np.ndarray) -> np.ndarray:
        x = resize(rgb(images)).astype(np.float32) * np.float32(scale)
        return (x - np.float32(mean)) / np.float32(std)

    return normalized, {**settings, "scale": scale, "mean": mean, "std": std}
