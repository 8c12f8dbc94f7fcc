"""Networks of PyTorch as functions of pixels: pre-processing that has derivatives.

Libraries resize pictures of whole numbers. Here the same is done to floats, by PyTorch,
whose resampling with antialiasing is that of Pillow but for the rounding.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jtransfer._internal.errors import SourceError
from jtransfer.zoo.loaders._torch import logits_of
from jtransfer.zoo.loaders.types import PixelFunction

if TYPE_CHECKING:
    import torch

_MODES = ("bilinear", "bicubic", "nearest")


class Preprocessing(NamedTuple):
    """Steps from pixels in [0, 1] to what a network takes, in this order."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | tuple[int, int] | None = None
    """The shorter side, or height and width."""
    crop: tuple[int, int] | None = None
    """Height and width of the middle, zeros beyond the image."""
    interpolation: str = "bilinear"
    scale: float = 1.0
    """Factor of the pixels before the mean is subtracted."""
    num_channels: int = 3
    rounded: bool = False
    """Whether the longer side is rounded, as by `images.resizing`, and not cut."""


def option_preprocessing(settings: Mapping[str, Any]) -> Preprocessing:
    """Returns the steps of the settings that `images.normalizing` gives."""
    size = settings["size"]
    return Preprocessing(
        settings["mean"],
        settings["std"],
        resize=size,
        crop=None if size is None else (size, size),
        interpolation=settings.get("interpolation", "bilinear"),
        scale=255 * settings["scale"],
        rounded=True,
    )


def prepared(x: "torch.Tensor", steps: Preprocessing) -> "torch.Tensor":
    """Applies the steps to images `[b, h, w, c]`: `[b, c, h', w']`."""
    import torch

    x = x.permute(0, 3, 1, 2)
    if x.shape[1] == 1:
        x = x.expand(-1, steps.num_channels, -1, -1)
    x = x[:, : steps.num_channels]
    if steps.resize is not None:
        x = _resized(x, steps)
    if steps.crop is not None:
        x = _cropped(x, *steps.crop, rounded=steps.rounded)
    mean, std = (
        torch.tensor(part, dtype=x.dtype, device=x.device).reshape(1, -1, 1, 1)
        for part in (steps.mean, steps.std)
    )
    return (x * steps.scale - mean) / std


def _resized(x, steps: Preprocessing):
    import torch

    height, width = x.shape[2:]
    if isinstance(steps.resize, int):
        short, long = sorted((height, width))
        other = steps.resize * long / short
        other = max(steps.resize, round(other)) if steps.rounded else int(other)
        shape = (steps.resize, other) if height <= width else (other, steps.resize)
    else:
        shape = tuple(steps.resize)
    if shape == (height, width):
        return x
    smooth = steps.interpolation != "nearest"
    x = torch.nn.functional.interpolate(
        x,
        shape,
        mode=steps.interpolation if smooth else "nearest-exact",
        antialias=smooth,
    )
    return x.clamp(0, 1)  # Cubic resampling leaves the range, pictures do not.


def _cropped(x, height: int, width: int, *, rounded: bool):
    import torch

    missing = max(0, height - x.shape[2]), max(0, width - x.shape[3])
    if any(missing):
        top, left = missing[0] // 2, missing[1] // 2
        x = torch.nn.functional.pad(x, (left, missing[1] - left, top, missing[0] - top))
    surplus = x.shape[2] - height, x.shape[3] - width
    top, left = (s // 2 if rounded else round(s / 2) for s in surplus)
    return x[:, :, top : top + height, left : left + width]


def pixel_function(model: "torch.nn.Module", steps: Preprocessing) -> PixelFunction:
    """Returns the function from pixels to the logits of a network.

    Args:
      model: in evaluation mode; its parameters lose their gradients.
      steps: before it.

    Raises:
      SourceError: if a step has no gradients.
    """
    import torch

    if steps.interpolation not in _MODES:
        raise SourceError(
            f"It needs gradients, which its {steps.interpolation} resampling does not "
            "give."
        )
    for parameter in model.parameters():
        parameter.requires_grad_(requires_grad=False)
    place = next((p.device for p in model.parameters()), torch.device("cpu"))

    def logits_at(x: "torch.Tensor") -> "torch.Tensor":
        logits = logits_of(model(prepared(x, steps)))
        if getattr(logits, "ndim", 0) != 2:
            raise SourceError("It needs logits, which the model does not give.")
        return logits

    def logits(images: np.ndarray) -> np.ndarray:
        # Not in inference mode: what a network keeps is not to lack gradients later.
        with torch.no_grad():
            return logits_at(torch.from_numpy(images).to(place)).cpu().numpy()

    def pullback(images: np.ndarray, cotangents: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(images).to(place).requires_grad_()
        values, given = logits_at(x), torch.from_numpy(cotangents).to(place)
        count = given.shape[1]
        # One pass forward serves all cotangents.
        rows = [
            torch.autograd.grad(values, x, given[:, i], retain_graph=i + 1 < count)[0]
            for i in range(count)
        ]
        return torch.stack(rows, dim=1).cpu().numpy()

    return PixelFunction(logits, pullback)


def timm_preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    """Returns the steps that timm takes for a configuration of data.

    Raises:
      SourceError: if it crops in a way that has no gradients here.
    """
    channels, *size = config["input_size"]
    fraction, mode = config.get("crop_pct") or 0.875, config.get("crop_mode", "center")
    scaled = [math.floor(side / fraction) for side in size]
    if mode not in ("center", "squash") or (mode == "center" and size[0] != size[1]):
        raise SourceError(f"It needs gradients, which its crop ({mode}) does not give.")
    return Preprocessing(
        tuple(config["mean"]),
        tuple(config["std"]),
        resize=scaled[0] if mode == "center" else (scaled[0], scaled[1]),
        crop=(size[0], size[1]),
        interpolation=config.get("interpolation", "bicubic"),
        num_channels=channels,
    )


def hugging_face_preprocessing(processor) -> Preprocessing:
    """Returns the steps of an image processor of transformers.

    Raises:
      SourceError: if it has other steps.
    """
    kind = type(processor).__name__
    others = ("crop_pct", "do_flip_channel_order", "rescale_offset", "include_top")
    if kind.startswith("Levit") or any(getattr(processor, o, None) for o in others):
        raise SourceError(f"It needs gradients, which a {kind} does not give.")
    size = dict(getattr(processor, "size", None) or {})
    known = {"height", "width"}, {"shortest_edge"}
    resizes = bool(getattr(processor, "do_resize", False))
    if resizes and set(size) not in known:
        raise SourceError("It needs gradients, which its resizing does not give.")
    crop = dict(getattr(processor, "crop_size", None) or {})
    crops = bool(getattr(processor, "do_center_crop", False)) and bool(crop)
    resize = size.get("shortest_edge") or (size.get("height"), size.get("width"))
    normalizes = bool(getattr(processor, "do_normalize", False))
    names = {0: "nearest", 2: "bilinear", 3: "bicubic"}
    rescales = getattr(processor, "do_rescale", True)
    factor = processor.rescale_factor if rescales else 1.0
    return Preprocessing(
        tuple(processor.image_mean) if normalizes else (0.0,) * 3,
        tuple(processor.image_std) if normalizes else (1.0,) * 3,
        resize=resize if resizes else None,
        crop=(crop["height"], crop["width"]) if crops else None,
        interpolation=names.get(int(getattr(processor, "resample", 2) or 0), "other"),
        scale=255 * factor,
    )
