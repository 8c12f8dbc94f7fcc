"""A small real target (UCI digits) and a zoo of networks, inside the package.

`README.md` beside this file names the origin and licence of all data;
`experiments/zoos/embedded_zoo.py` makes the files.
"""

import json
from importlib import resources
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


class EmbeddedNetwork(NamedTuple):
    """One source of the embedded zoo."""

    name: str
    """Unique, without spaces."""
    params: dict
    """Weights for `apply`: layer -> {"kernel", "bias"}, float32."""
    facts: dict
    """`parameters`, `source_accuracy`, `source`, `licence`, `num_classes` and
    `class_names`, the names of the outputs."""


def embedded_networks() -> tuple[EmbeddedNetwork, ...]:
    """Returns all networks of the embedded zoo, in a fixed order.

    The weights are stored in float16; `source_accuracy` is that of the stored
    weights, on held-out data of the source.

    Returns:
        One `Network` a source; they share one architecture, see `apply`.

    Example:
        >>> from jtransfer.zoo import embedded
        >>> embedded.embedded_networks()[0].name
        'mnist'
    """
    facts = json.loads(_file("facts.json").read_text(encoding="utf-8"))
    with _file("zoo.npz").open("rb") as file, np.load(file, allow_pickle=False) as zoo:
        weights: dict = {name: {} for name in facts["networks"]}
        for path in zoo.files:
            name, layer, part = path.split("/")
            array = jnp.asarray(zoo[path], dtype=jnp.float32)
            weights[name].setdefault(layer, {})[part] = array
    return tuple(
        EmbeddedNetwork(name, weights[name], about)
        for name, about in facts["networks"].items()
    )


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The target: all 1797 UCI digits.

    Returns:
        images: float32 `[1797, 8, 8, 1]` in [0, 1].
        labels: int32 `[1797]`, the digit.

    Example:
        >>> from jtransfer.zoo import embedded
        >>> images, labels = embedded.digits()
        >>> images.shape
        (1797, 8, 8, 1)
    """
    with (
        _file("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        images = stored["images"].astype(np.float32) / np.float32(16)
        return images[..., None], stored["labels"].astype(np.int32)


def labelled_split(
    labels: ArrayLike, *, per_class: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The few labelled examples of a target, and the rest as its test part.

    Args:
        labels: integers `[n]`.
        per_class: labelled examples of each class that occurs.
        seed: of the draw; the same seed gives the same split, and a larger
            `per_class` then extends the labelled part of a smaller one.

    Returns:
        labelled_indices: ascending `[per_class * classes]`.
        test_indices: ascending, all others.

    Raises:
        ValueError: if `labels` is not a vector, or `per_class` is not positive
            or exceeds the smallest class.

    Example:
        >>> from jtransfer.zoo import embedded
        >>> labelled, test = embedded.labelled_split([0, 1, 1, 0], per_class=1, seed=0)
        >>> len(labelled), len(test)
        (2, 2)
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels must have rank 1, got shape {labels.shape}")
    classes, counts = np.unique(labels, return_counts=True)
    if not 1 <= per_class <= counts.min(initial=len(labels)):
        raise ValueError(
            f"per_class must be between 1 and the size of the smallest class, "
            f"{counts.min(initial=len(labels))}, got {per_class}"
        )
    order = np.random.default_rng(seed).permutation(len(labels))
    labelled = [order[labels[order] == label][:per_class] for label in classes]
    labelled_indices = np.sort(np.concatenate(labelled))
    return labelled_indices, np.setdiff1d(np.arange(len(labels)), labelled_indices)


def apply(params: dict, x: ArrayLike) -> tuple[jax.Array, dict]:
    """The architecture that all embedded networks share.

    conv 3x3 (16), ReLU, max-pool 2, conv 3x3 (32), ReLU, max-pool 2, dense 64,
    ReLU (the embedding), dense. Pure; computes in the dtype of `x`.

    Args:
        params: of a `Network`, layer -> {"kernel", "bias"}.
        x: one example `[8, 8, 1]` or a batch `[n, 8, 8, 1]`, values in [0, 1].

    Returns:
        logits: `[C]` or `[n, C]`.
        out: `embedding` `[.., 64]` and `feature_maps`, the two activations before
            their pooling, `[.., 8, 8, 16]` and `[.., 4, 4, 32]`.

    Raises:
        TypeError: if `x` is not of a floating dtype.
        ValueError: if `x` has another shape.

    Example:
        >>> from jtransfer.zoo import embedded
        >>> images, _ = embedded.digits()
        >>> params = embedded.embedded_networks()[0].params
        >>> logits, out = embedded.apply(params, images[0])
        >>> logits.shape, out["embedding"].shape
        ((10,), (64,))
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x must have a floating dtype, got {x.dtype}")
    if x.ndim not in (3, 4) or x.shape[-3:] != (8, 8, 1):
        raise ValueError(f"x must be [8, 8, 1] or [n, 8, 8, 1], got shape {x.shape}")
    if x.ndim == 3:
        return jax.tree.map(lambda a: a[0], apply(params, x[None]))
    params = jax.tree.map(lambda a: jnp.asarray(a, dtype=x.dtype), params)
    out = activations(params, x)
    return _dense(out["embedding"], **params["classifier"]), out


def activations(params: dict, x: jax.Array) -> dict:
    """The layers of `apply` below the classifier, which is the same for all networks.

    Args:
        params: of a network; the classifier may be left out.
        x: a batch `[n, 8, 8, 1]`.

    Returns:
        `embedding` `[n, 64]` and `feature_maps`, as of `apply`.

    Example:
        >>> from jtransfer.zoo import embedded
        >>> images, _ = embedded.digits()
        >>> params = embedded.embedded_networks()[0].params
        >>> embedded.activations(params, images[:2])["embedding"].shape
        (2, 64)
    """
    first = jax.nn.relu(_convolution(x, **params["conv1"]))
    second = jax.nn.relu(_convolution(_max_pool(first), **params["conv2"]))
    flat = _max_pool(second).reshape(len(x), 128)
    embedding = jax.nn.relu(_dense(flat, **params["embedding"]))
    return {"embedding": embedding, "feature_maps": (first, second)}


def _convolution(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=layout
    )
    return y + jnp.broadcast_to(bias, y.shape)


def _dense(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    y = x @ kernel
    return y + jnp.broadcast_to(bias, y.shape)


def _max_pool(x: jax.Array) -> jax.Array:
    # A maximum over reshaped axes, unlike reduce_window, is differentiable to any
    # order in both modes; where values tie, the gradient is shared equally.
    n, height, width, channels = x.shape
    blocks = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return blocks.max(axis=(2, 4))


def _file(name: str):
    return resources.files(__name__).joinpath(name)
