"""Networks by the names of their architectures."""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx

from jtransfer import models
from jtransfer._internal.errors import DataError
from jtransfer.data import ChannelStatistics
from jtransfer.networks.bert_files import BertConfig

EXAMPLES = "resnet18, resnet50, wrn-16-2, vgg9, mobilenet-0.5, alexnet, lenet"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """The settings that decide the shapes of a network."""

    model: str
    """Its name, see `model`."""
    num_classes: int
    num_channels: int = 3
    image_size: int = 32
    """Side of the images that it was made for."""
    base_width: int | None = None
    """Channels or units of its first layer; None for the published number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextArchitecture:
    """The settings that decide the shapes of a network of texts."""

    num_classes: int
    num_tokens: int
    """Of every text: longer ones are cut, the others padded."""
    bert: BertConfig
    separator_id: int | None
    """See `models.Bert`."""
    model: str = "bert"


class Network(NamedTuple):
    """A trained network with all that is needed to apply it to stored images."""

    architecture: Architecture
    variables: models.Variables
    statistics: ChannelStatistics
    """Of the images that it was trained on."""
    class_names: tuple[str, ...]
    facts: dict
    """`parameters`, `source_accuracy` and how it was trained."""
    class_centers: np.ndarray | None = None
    """Mean embeddings of its classes over its own training images, `[C, d]`, where
    they have been kept."""


def model(
    architecture: Architecture | TextArchitecture, *, rngs: nnx.Rngs, dtype=None
) -> nnx.Module:
    """Builds an architecture by its name.

    Args:
      architecture: that of a network of texts, or one of `fully_connected`, `lenet`,
        `alexnet`, `vgg4`, `vgg9`, `resnet18`, `resnet34`, `resnet50` (with `-imagenet`:
        with the stem for large images), `wrn-DEPTH-WIDTH`, `mobilenet`,
        `mobilenet-WIDTH` or `efficientnet_lite0`, 1 or 2.
      rngs: source of the initial weights.
      dtype: precision of the computation; that of the inputs by default. A network of
        texts knows that alone.

    Returns:
      The untrained network.

    Raises:
      DataError: if there is no such architecture, or not of such sizes.

    Example:
      >>> architecture = Architecture(model="wrn-16-1", num_classes=10)
      >>> type(model(architecture, rngs=nnx.Rngs(0))).__name__
      'WideResNet'
    """
    try:
        if isinstance(architecture, TextArchitecture):
            a = architecture
            shared = {"num_classes": a.num_classes, "separator_id": a.separator_id}
            return models.Bert(**shared, **a.bert._asdict(), rngs=rngs)
        return _built(architecture, rngs, dtype)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"There is no such {architecture.model}: {error}") from error


def check_images(architecture: Architecture) -> None:
    """Raises DataError unless a network takes images of the size it is for."""
    apply_fn, variables, flat = abstract(architecture)
    side, channels = architecture.image_size, architecture.num_channels
    shape = (1, side * side * channels) if flat else (1, side, side, channels)
    try:
        jax.eval_shape(apply_fn, variables, jax.ShapeDtypeStruct(shape, np.float32))
    except ValueError as error:
        raise DataError(
            f"A {architecture.model} cannot take images of {side} x {side}: {error}"
        ) from error


def _built(a: Architecture, rngs: nnx.Rngs, dtype) -> nnx.Module:
    """The untrained network."""
    shared = {"num_classes": a.num_classes, "rngs": rngs, "dtype": dtype}
    if a.base_width is not None:
        shared["base_width"] = a.base_width
    if a.model == "fully_connected":
        num_features = a.image_size**2 * a.num_channels
        return models.FullyConnected(num_features=num_features, **shared)
    shared["num_channels"] = a.num_channels
    if a.model == "lenet":
        return models.LeNet(image_size=a.image_size, **shared)
    if a.model == "alexnet":
        return models.AlexNet(**shared)
    if match := re.fullmatch(r"efficientnet_lite(0|1|2)", a.model):
        return models.EfficientNetLite(variant=int(match[1]), **shared)
    if match := re.fullmatch(r"vgg(4|9)", a.model):
        return models.VGG(depth=int(match[1]), **shared)
    if match := re.fullmatch(r"resnet(18|34|50)(-imagenet)?", a.model):
        stem = match[2] is not None
        return models.ResNet(depth=int(match[1]), imagenet_stem=stem, **shared)
    if match := re.fullmatch(r"wrn-(\d{1,3})-(\d{1,2})", a.model):
        depth, width = int(match[1]), int(match[2])
        return models.WideResNet(depth=depth, width=width, **shared)
    if match := re.fullmatch(r"mobilenet(?:-(\d(?:\.\d{1,3})?))?", a.model):
        if shared.pop("base_width", None) is not None:
            raise DataError("The width of a mobilenet is in its name: mobilenet-0.5.")
        return models.MobileNet(width=float(match[1] or 1), **shared)
    raise DataError(f"There is no model {a.model!r}; try {EXAMPLES}.")


def takes_vectors(network: nnx.Module) -> bool:
    """Tells whether images must be flattened before they enter a network."""
    return len(network.example_shape) == 1


def count(variables: models.Variables) -> int:
    """Returns the number of trained parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables.params))


@functools.lru_cache(maxsize=64)
def abstract(
    architecture: Architecture | TextArchitecture,
) -> tuple[Callable, models.Variables, bool]:
    """Returns function and shapes of a network without weights; nothing is computed.

    Args:
      architecture: see `model`.

    Returns:
      Its ``apply_fn(variables, x) -> (logits, out)`` in evaluation mode, one function
      for equal architectures; shapes and dtypes of its variables; and whether it takes
      vectors, see `takes_vectors`.

    Raises:
      DataError: if there is no such architecture.
    """
    shapes = nnx.eval_shape(lambda: model(architecture, rngs=nnx.Rngs(0)))
    apply_fn, variables = models.functional(shapes)
    return apply_fn, variables, takes_vectors(shapes)


def apply_fn_of(architecture: Architecture | TextArchitecture) -> tuple[Callable, bool]:
    """Returns the function of an architecture and whether it takes vectors.

    Args:
      architecture: see `model`.

    Returns:
      The first and the last of `abstract`.

    Raises:
      DataError: if there is no such architecture.
    """
    apply_fn, _, flat = abstract(architecture)
    return apply_fn, flat
