"""Encoded pictures -> one uint8 array."""

import math
from collections.abc import Callable

import numpy as np

from jtransfer._internal.errors import DataError
from jtransfer._internal.memory import memory_fault

# Modes of eight bits a channel; "1" and "P" expand to eight bits.
GREY_MODES = frozenset({"1", "L", "LA", "La"})
COLOUR_MODES = frozenset({"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
_LARGE = 2**24
"""Pixels of a picture for which it is worth while to ask how much memory there is."""


def size_pair(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Returns ``(height, width)`` of an `image_size` argument, None if it is None."""
    if image_size is None:
        return None
    pair = (image_size, image_size) if np.ndim(image_size) == 0 else tuple(image_size)
    if len(pair) != 2 or any(side != int(side) or side < 1 for side in pair):
        raise ValueError(
            f"image_size must be a side or (height, width) in whole pixels, got "
            f"{image_size!r}."
        )
    return int(pair[0]), int(pair[1])


def check_channels(num_channels: int | None) -> None:
    """Raises ValueError unless `num_channels` is 1, 3 or None."""
    if num_channels not in (None, 1, 3):
        raise ValueError(f"num_channels must be 1, 3 or None, got {num_channels!r}.")


def decoded(picture, *, num_channels: int, size: tuple[int, int] | None) -> np.ndarray:
    """Decodes one opened Pillow image.

    The image is cropped at its centre to the aspect ratio of `size`, then reduced:
    by averaging over blocks of pixels if the factor is whole, otherwise by Pillow's
    antialiased bilinear filter. Transparency is dropped.

    Args:
      picture: an opened, not yet loaded ``PIL.Image.Image``.
      num_channels: 1 for grey, 3 for red, green and blue.
      size: ``(height, width)`` of the result, None to keep the picture's own.

    Returns:
      The pixels, uint8, shape ``[h, w, num_channels]``.

    Raises:
      ValueError: if the picture has more than eight bits a channel.
    """
    from PIL import Image, ImageOps

    if picture.mode not in GREY_MODES | COLOUR_MODES:
        raise ValueError(f"mode {picture.mode}, not eight bits a channel")
    picture = picture.convert("L" if num_channels == 1 else "RGB")
    if size is not None and picture.size != size[::-1]:
        factor = min(picture.height / size[0], picture.width / size[1])
        whole = factor >= 1 and factor == int(factor)
        method = Image.Resampling.BOX if whole else Image.Resampling.BILINEAR
        if math.prod(size) > _LARGE:  # The resized picture, its array and a copy.
            _check_memory((3, *size, num_channels), "a picture")
        picture = ImageOps.fit(picture, size[::-1], method=method)
    pixels = np.asarray(picture)
    return pixels[..., None] if num_channels == 1 else pixels


def image_stack(
    decode: Callable[[int], np.ndarray], where: Callable[[int], str], count: int
) -> np.ndarray:
    """Decodes `count` pictures into one array, or lists those that cannot be read.

    Args:
      decode: ``i -> [h, w, c]``, raises on a faulty picture.
      where: ``i -> str``, what to call picture ``i`` in an error.
      count: number of pictures, at least 1.

    Returns:
      The pictures, uint8, shape ``[count, h, w, c]``.

    Raises:
      DataError: if pictures are corrupt (it names them) or differ in size.
    """
    stack, faults = None, []
    for i in range(count):
        # Pillow's decoders raise whatever their C code or parser stumbles over.
        try:
            pixels = decode(i)
        except (DataError, MemoryError):
            raise
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            faults.append(f"{where(i)} ({reason})")
            continue
        if stack is None:
            _check_memory((count, *pixels.shape), f"{count} images")
            stack = np.empty((count, *pixels.shape), np.uint8)
        if pixels.shape != stack.shape[1:]:
            raise DataError(
                f"images differ in size ({where(i)} is {_size(pixels.shape)}, the "
                f"first one {_size(stack.shape[1:])}); give image_size."
            )
        stack[i] = pixels
    if faults:
        more = ", ..." if len(faults) > 3 else ""
        raise DataError(
            f"{len(faults)} of {count} images cannot be read: "
            f"{', '.join(faults[:3])}{more}; replace or remove them."
        )
    return stack


def _check_memory(shape: tuple[int, ...], name: str) -> None:
    fault = memory_fault(math.prod(shape))
    if fault is not None:
        raise DataError(
            f"reading {name} of {_size(shape[-3:])} {fault}; give a smaller image_size."
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
