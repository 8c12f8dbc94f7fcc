"""`flax:`: the user's own networks of Flax NNX."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jtransfer._internal.errors import SourceError, one_line
from jtransfer.zoo.loaders.images import normalizing
from jtransfer.zoo.loaders.python import user_object
from jtransfer.zoo.loaders.types import (
    EMBEDDING,
    Fetching,
    LoadedModel,
    PixelFunction,
)
from jtransfer.zoo.specs import ModelSpec


def flax_model(spec: ModelSpec, *, fetching: Fetching) -> LoadedModel:
    """Loads `flax:package.module:factory`, a network as those of `jtransfer.models`.

    Args:
      spec: the factory takes nothing and returns a module of NNX whose call gives
        logits and a dict with `embedding`; `size`, `interpolation`, `mean` and `std` of
        the images.
      fetching: means nothing here.

    Raises:
      SourceError: if there is no such factory, or it returns something else.
    """
    factory, module = user_object(spec)
    return flax_network(factory(), dict(spec.options))._replace(module=module)


def flax_network(model, options: Mapping[str, str]) -> LoadedModel:
    """Returns a network of NNX that gives logits and a dict with `embedding`.

    Args:
      model: the network; it is put into evaluation mode.
      options: those of `images.normalizing`.

    Raises:
      SourceError: if it is no such network.
    """
    import jax
    from flax import nnx

    if not isinstance(model, nnx.Module):
        raise SourceError(f"{type(model).__name__} is no network of Flax NNX.")
    model.eval()
    normalized, settings = normalizing(options)
    graph, state = nnx.split(model)

    @jax.jit
    def forward(state, x):
        logits, out = nnx.merge(graph, state)(x)
        return {EMBEDDING: out[EMBEDDING]} | _pooled_outputs(out), logits

    def layers(images: np.ndarray):
        try:
            held, logits = forward(state, normalized(images))
        except (TypeError, KeyError) as error:
            raise SourceError(
                "A network must return logits and a dict with 'embedding': "
                f"{one_line(error)[:200]}"
            ) from error
        return {name: np.asarray(x) for name, x in held.items()}, np.asarray(logits)

    def outputs(images: np.ndarray):
        features, logits = layers(images)
        return features[EMBEDDING], logits

    size = sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)))
    return LoadedModel(
        outputs=outputs,
        facts={"parameters": size},
        resolved=settings,
        packages=("jax", "flax"),
        layers=layers,
        pixel_function=lambda: _pixel_function(graph, state, settings),
    )


def _pooled_outputs(out: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a network by name, averaged over all axes but two."""
    import jax

    held = {}
    for name, output in out.items():
        is_list = isinstance(output, tuple | list)
        for i, x in enumerate(output if is_list else [output]):
            if isinstance(x, jax.Array) and x.ndim > 1:
                axes = tuple(range(1, x.ndim - 1))
                held[f"{name}.{i}" if is_list else name] = x.mean(axis=axes)
    return held


def _pixel_function(graph, state, settings: Mapping[str, Any]) -> PixelFunction:
    """The function from pixels in [0, 1] to logits, with the same pre-processing."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    mean, std = jnp.asarray(settings["mean"]), jnp.asarray(settings["std"])

    def logits_at(state, x):
        if x.shape[-1] == 1:
            x = jnp.broadcast_to(x, (*x.shape[:-1], 3))
        x = x[..., :3]
        if settings["size"] is not None:
            x = _resized(x, settings["size"], settings["interpolation"])
        x = (x * (255 * settings["scale"]) - mean) / std
        return nnx.merge(graph, state)(x)[0]

    @jax.jit
    def pulled(state, x, g):
        _, pull = jax.vjp(lambda x: logits_at(state, x), x)
        return jax.lax.map(lambda row: pull(row)[0], g.swapaxes(0, 1)).swapaxes(0, 1)

    forward = jax.jit(logits_at)
    return PixelFunction(
        lambda x: np.asarray(forward(state, x)),
        lambda x, g: np.asarray(pulled(state, x, g)),
    )


def _resized(x, size: int, interpolation: str):
    """Resizes the shorter side and cuts out the middle square."""
    import jax

    methods = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}
    if interpolation not in methods:
        raise SourceError(
            f"It needs gradients, which {interpolation} resampling does not give."
        )
    n, height, width, channels = x.shape
    scale = size / min(height, width)
    shape = max(size, round(height * scale)), max(size, round(width * scale))
    x = jax.image.resize(x, (n, *shape, channels), methods[interpolation]).clip(0, 1)
    top, left = ((side - size) // 2 for side in shape)
    return x[:, top : top + size, left : left + size]
