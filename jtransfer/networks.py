"""Trained networks: by name, on disk, and applied to images.

A network on disk is a folder with `network.json` (architecture, classes, facts) and
`variables.npz` (plain arrays): nothing in it can run.
"""

import dataclasses
import functools
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jtransfer import models
from jtransfer._files import write_atomically
from jtransfer.data import ChannelStatistics, DataError, normalized, npz_arrays

JSON_FILE = "network.json"
ARRAYS_FILE = "variables.npz"
EXAMPLES = "resnet18, resnet50, wrn-16-2, vgg9, mobilenet-0.5, alexnet, lenet"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """What decides the shapes of a network."""

    model: str
    """Its name, see `model`."""
    num_classes: int
    num_channels: int = 3
    image_size: int = 32
    """Side of the images that it was made for."""
    base_width: int | None = None
    """Channels or units of its first layer; None for the published number."""


class Network(NamedTuple):
    """A trained network with all that is needed to apply it to stored images."""

    architecture: Architecture
    variables: models.Variables
    statistics: ChannelStatistics
    """Of the images that it was trained on."""
    class_names: tuple[str, ...]
    facts: dict
    """`parameters`, `source_accuracy` and how it was trained."""


def model(architecture: Architecture, *, rngs: nnx.Rngs, dtype=None) -> nnx.Module:
    """Builds an architecture by its name.

    Args:
      architecture: one of `fully_connected`, `lenet`, `alexnet`, `vgg4`, `vgg9`,
        `resnet18`, `resnet34`, `resnet50`, `wrn-DEPTH-WIDTH`, `mobilenet`,
        `mobilenet-WIDTH` or `efficientnet_lite0`.
      rngs: source of the initial weights.
      dtype: precision of the computation; that of the inputs by default.

    Returns:
      The untrained network.

    Raises:
      DataError: if there is no such architecture.

    Example:
      >>> architecture = Architecture(model="wrn-16-1", num_classes=10)
      >>> type(model(architecture, rngs=nnx.Rngs(0))).__name__
      'WideResNet'
    """
    a = architecture
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
    if a.model == "efficientnet_lite0":
        return models.EfficientNetLite0(**shared)
    if found := re.fullmatch(r"vgg(4|9)", a.model):
        return models.VGG(depth=int(found[1]), **shared)
    if found := re.fullmatch(r"resnet(18|34|50)", a.model):
        return models.ResNet(depth=int(found[1]), **shared)
    if found := re.fullmatch(r"wrn-(\d{1,3})-(\d{1,2})", a.model):
        depth, width = int(found[1]), int(found[2])
        return models.WideResNet(depth=depth, width=width, **shared)
    if found := re.fullmatch(r"mobilenet(?:-(\d(?:\.\d{1,3})?))?", a.model):
        if shared.pop("base_width", None) is not None:
            raise DataError("The width of a mobilenet is in its name: mobilenet-0.5.")
        return models.MobileNet(width=float(found[1] or 1), **shared)
    raise DataError(f"There is no model {a.model!r}; try {EXAMPLES}.")


def takes_vectors(network: nnx.Module) -> bool:
    """Tells whether images must be flattened before they enter a network."""
    return len(network.example_shape) == 1


def count(variables: models.Variables) -> int:
    """Returns the number of trained parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables.params))


def function(network: Network) -> Callable[[jax.Array], jax.Array]:
    """Returns the function from one image ``[h, w, c]`` in [0, 1] to its logits.

    The normalisation is inside, so that attacks and Jacobians are in units of pixels.

    Args:
      network: a trained network.

    Returns:
      A pure function, in evaluation mode; callers write `jax.vmap`. It is a pytree of
      the weights, a `jax.tree_util.Partial`: as an argument of a jitted function it
      compiles once an architecture. Grey images are repeated for a network that takes
      colours; it raises DataError for images of another shape.
    """
    return jax.tree_util.Partial(
        _pixel_function(network.architecture), network.variables, network.statistics
    )


@functools.lru_cache(maxsize=64)
def _pixel_function(architecture: Architecture):
    """The function of weights, statistics and one image that an architecture is."""
    apply_fn, flat = _apply_fn(architecture)
    side, channels = architecture.image_size, architecture.num_channels

    def pixel_function(variables, statistics, x):
        if x.ndim == 3 and x.shape[-1] == 1:
            x = jnp.broadcast_to(x, (*x.shape[:-1], channels))
        if x.shape != (side, side, channels):
            raise DataError(
                f"The network takes images of shape {[side, side, channels]}, got "
                f"{list(x.shape)}."
            )
        mean, std = (jnp.asarray(part)[None, None] for part in statistics)
        x = (x - mean) / jnp.where(std > 0, std, 1)
        return apply_fn(variables, x.reshape(-1) if flat else x)[0]

    return pixel_function


def outputs(
    network: Network,
    images: np.ndarray,
    *,
    layer: str = "embedding",
    batch_size: int = 128,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Applies a network to stored images, batch by batch.

    Args:
      network: a trained network.
      images: uint8, shape ``[n, h, w, c]``; resized if the network was made for
        another size, and grey images repeated for a network that takes colours.
      layer: `embedding`, or the name of another output such as `feature_maps.3`,
        whose pixels are averaged.
      batch_size: images at a time; the last batch is padded, so that one compiled
        function serves all.

    Yields:
      Features ``[m, d]`` and logits ``[m, C]``.

    Raises:
      DataError: if the images do not fit or there is no such layer.
    """
    for features, logits in layer_outputs(
        network, images, names=(layer,), batch_size=batch_size
    ):
        yield features[0], logits


def layer_outputs(
    network: Network,
    images: np.ndarray,
    *,
    names: tuple[str, ...],
    batch_size: int = 128,
) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """Applies a network to stored images, as `outputs`, for several layers at once.

    Args:
      network: a trained network.
      images: uint8, shape ``[n, h, w, c]``.
      names: of the layers, see `layers`.
      batch_size: images at a time.

    Yields:
      Features ``[m, d]`` of each layer, and logits ``[m, C]``.

    Raises:
      DataError: if the images do not fit or there is no such layer.
    """
    channels = network.architecture.num_channels
    if images.shape[-1] == 1 and channels == 3:
        images = np.broadcast_to(images, (*images.shape[:-1], 3))
    if images.shape[-1] != channels:
        raise DataError(
            f"The network takes {channels} channels, the images have "
            f"{images.shape[-1]}; read them with that many."
        )
    side = network.architecture.image_size
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        padding = [(0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)]
        logits, features = _outputs(
            network.variables,
            np.pad(batch, padding),
            network.statistics,
            architecture=network.architecture,
            side=None if images.shape[1:3] == (side, side) else side,
            layers=names,
        )
        features = [np.asarray(found)[: len(batch)] for found in features]
        yield features, np.asarray(logits)[: len(batch)]


def layers(network: Network) -> list[str]:
    """Returns the names of the layers that `outputs` can give."""
    a = network.architecture
    apply_fn, flat = _apply_fn(a)
    shape = (1, a.image_size, a.image_size, a.num_channels)
    x = jnp.zeros((1, int(np.prod(shape))) if flat else shape)
    out = jax.eval_shape(apply_fn, network.variables, x)[1]
    return [
        name if not isinstance(found, tuple | list) else f"{name}.{i}"
        for name, found in out.items()
        for i in range(len(found) if isinstance(found, tuple | list) else 1)
    ]


def write(folder: Path, network: Network) -> None:
    """Writes a network to a folder, atomically.

    Args:
      folder: made if absent.
      network: the network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        _name(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(network.variables)
    }
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    write_atomically(folder / ARRAYS_FILE, stored.getvalue())
    description = {
        "architecture": dataclasses.asdict(network.architecture),
        "mean": np.asarray(network.statistics.mean, float).tolist(),
        "std": np.asarray(network.statistics.std, float).tolist(),
        "class_names": list(network.class_names),
        "facts": network.facts,
    }
    text = json.dumps(description, indent=1, ensure_ascii=False)
    write_atomically(folder / JSON_FILE, text.encode())


def read(folder: Path) -> Network:
    """Reads a network that `write` has written.

    Args:
      folder: the folder.

    Returns:
      The network.

    Raises:
      DataError: if a file is missing, damaged, or does not fit the architecture.
    """
    file = folder / JSON_FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        architecture = Architecture(**found["architecture"])
        statistics = ChannelStatistics(
            np.asarray(found["mean"], np.float32), np.asarray(found["std"], np.float32)
        )
        class_names = tuple(str(name) for name in found["class_names"])
        facts = dict(found["facts"])
        names = variable_names(architecture)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            f"{file} does not exist; make it with jtransfer train."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is damaged ({error!r}); train it again.") from error
    arrays = npz_arrays(folder / ARRAYS_FILE, required=names)
    variables = variables_of(architecture, arrays, folder / ARRAYS_FILE)
    return Network(architecture, variables, statistics, class_names, facts)


def variable_names(architecture: Architecture) -> list[str]:
    """Returns what the arrays of a network are called on disk."""
    leaves = jax.tree_util.tree_leaves_with_path(_abstract(architecture)[1])
    return [_name(path) for path, _ in leaves]


def variables_of(
    architecture: Architecture, arrays: Mapping[str, np.ndarray], file: Path
) -> models.Variables:
    """Puts the arrays of a network, read from `file`, in their places.

    Raises:
      DataError: if an array does not fit the architecture.
    """
    leaves, structure = jax.tree.flatten(_abstract(architecture)[1])
    found = [arrays[name] for name in variable_names(architecture)]
    for name, array, leaf in zip(
        variable_names(architecture), found, leaves, strict=True
    ):
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise DataError(
                f"{name} in {file} is {array.dtype}{list(array.shape)}, a "
                f"{architecture.model} has {leaf.dtype}{list(leaf.shape)}."
            )
    return jax.tree.unflatten(structure, [jnp.asarray(array) for array in found])


def _name(path) -> str:
    keys = (getattr(k, "name", None) or str(getattr(k, "key", "")) for k in path)
    return "/".join(keys)


@functools.lru_cache(maxsize=64)
def _abstract(architecture: Architecture):
    """The network's function, the shapes of its variables, and what it takes."""
    abstract = nnx.eval_shape(lambda: model(architecture, rngs=nnx.Rngs(0)))
    apply_fn, variables = models.functional(abstract)
    return apply_fn, variables, takes_vectors(abstract)


def _apply_fn(architecture: Architecture):
    apply_fn, _, flat = _abstract(architecture)
    return apply_fn, flat


@functools.partial(jax.jit, static_argnames=("architecture", "side", "layers"))
def _outputs(variables, images, statistics, *, architecture, side, layers):
    apply_fn, flat = _apply_fn(architecture)
    x = normalized(images, mean=statistics.mean, std=statistics.std)
    if side is not None:
        x = jax.image.resize(x, (len(x), side, side, x.shape[-1]), "linear")
    logits, out = apply_fn(variables, x.reshape(len(x), -1) if flat else x)
    return logits, [_features(out, layer) for layer in layers]


def _features(out: dict, layer: str) -> jax.Array:
    """One layer of a network's intermediates, averaged over pixels."""
    name, _, index = layer.partition(".")
    found = out.get(name)
    if index and isinstance(found, tuple | list):
        found = (
            found[int(index)] if index.isdigit() and int(index) < len(found) else None
        )
    if not isinstance(found, jax.Array):
        raise DataError(f"There is no layer {layer!r}.")
    if found.ndim == 4:
        found = found.mean(axis=(1, 2))
    return found.astype(jnp.float32)
