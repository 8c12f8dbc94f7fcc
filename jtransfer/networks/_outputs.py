"""Outputs of networks at stored images."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer._internal.batches import equal_batches
from jtransfer._internal.errors import DataError
from jtransfer.data import normalized
from jtransfer.networks.architectures import Architecture, Network, apply_fn_of


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
    apply_fn, flat = apply_fn_of(architecture)
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
      batch_size: images at a time; the last batch is filled up, so that one compiled
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
    for rows, num_new in equal_batches(len(images), batch_size):
        logits, features = _outputs(
            network.variables,
            images[rows],
            network.statistics,
            architecture=network.architecture,
            side=None if images.shape[1:3] == (side, side) else side,
            layers=names,
        )
        features = [np.asarray(output)[:num_new] for output in features]
        yield features, np.asarray(logits)[:num_new]


def layers(network: Network) -> list[str]:
    """Returns the names of the layers that `outputs` can give."""
    a = network.architecture
    apply_fn, flat = apply_fn_of(a)
    shape = (1, a.image_size, a.image_size, a.num_channels)
    x = jnp.zeros((1, int(np.prod(shape))) if flat else shape)
    out = jax.eval_shape(apply_fn, network.variables, x)[1]
    return [
        name if not isinstance(output, tuple | list) else f"{name}.{i}"
        for name, output in out.items()
        for i in range(len(output) if isinstance(output, tuple | list) else 1)
    ]


@functools.partial(jax.jit, static_argnames=("architecture", "side", "layers"))
def _outputs(variables, images, statistics, *, architecture, side, layers):
    apply_fn, flat = apply_fn_of(architecture)
    x = normalized(images, mean=statistics.mean, std=statistics.std)
    if side is not None:
        x = jax.image.resize(x, (len(x), side, side, x.shape[-1]), "linear")
    logits, out = apply_fn(variables, x.reshape(len(x), -1) if flat else x)
    return logits, [_features(out, layer) for layer in layers]


def _features(out: dict, layer: str) -> jax.Array:
    """One layer of a network's intermediates, averaged over pixels."""
    name, _, index = layer.partition(".")
    output = out.get(name)
    if index and isinstance(output, tuple | list):
        output = (
            output[int(index)] if index.isdigit() and int(index) < len(output) else None
        )
    if not isinstance(output, jax.Array):
        raise DataError(f"There is no layer {layer!r}.")
    if output.ndim == 4:
        output = output.mean(axis=(1, 2))
    return output.astype(jnp.float32)
