"""Small encoders and decoders of the derived tasks, and their training.

An encoder turns an image into a grid of a few features, a fourth of its side; all of
them, flattened, are the source feature of paper D. A decoder answers one task from it.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jtransfer import training

STRIDE = 4
"""Side of an image over the side of the grid."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of the networks and of their training."""

    encoder_steps: int
    decoder_steps: int
    width: int = 16
    """Channels of the first convolution of an encoder; the next has twice as many."""
    num_channels: int = 4
    """Features in a place of the grid."""
    batch_size: int = 64
    learning_rate: float = 2e-3
    """Of Adam, falling to zero along a cosine."""


def encoder_params(rng: np.random.Generator, sizes: Sizes) -> list:
    """Untrained kernels and biases of an encoder, one pair a layer."""
    widths = (1, sizes.width, 2 * sizes.width, 2 * sizes.width, sizes.num_channels)
    return _layers(rng, widths, kernels=(3, 3, 3, 1))


def encoded(params: list, inputs: jax.Array) -> jax.Array:
    """Features `[n, h / 4, w / 4, channels]` of grey images `[n, h, w, 1]`."""
    x = inputs - 0.5
    for layer, stride in zip(params[:-1], (2, 2, 1), strict=True):
        x = jax.nn.relu(_convolved(layer, x, stride))
    return _convolved(params[-1], x, 1)


def decoder_params(
    rng: np.random.Generator,
    sizes: Sizes,
    *,
    side: int,
    scale: int,
    num_answers: int,
    dense: bool,
) -> list:
    """Fresh kernels and biases for the features of a grid.

    Args:
      rng: generator of the kernels.
      sizes: of the networks.
      side: of the grid.
      scale: side of a label map over the side of the grid.
      num_answers: labels of the task.
      dense: whether there is one a pixel.
    """
    hidden = 2 * sizes.width
    if dense:
        widths = (sizes.num_channels, hidden, scale**2 * num_answers)
        return _layers(rng, widths, kernels=(3, 1))
    first = _layers(rng, (sizes.num_channels, hidden), kernels=(3,))
    return [*first, _layer(rng, (-(-side // 2),) * 2 + (hidden, num_answers))]


def decoded(params: list, features: jax.Array, *, num_answers: int, dense: bool):
    """Logits of features, `[n, h, w, C]` where they are dense and `[n, C]` else."""
    x = jax.nn.relu(_convolved(params[0], features, 1 if dense else 2))
    if not dense:
        kernel, bias = params[-1]
        return jnp.einsum("nhwc,hwck->nk", x, kernel) + bias[None]
    x = _convolved(params[-1], x, 1)
    n, h, w, channels = x.shape
    scale = round((channels // num_answers) ** 0.5)
    x = x.reshape(n, h, w, scale, scale, num_answers).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * scale, w * scale, num_answers)


def train(params, arrays: dict, *, frozen: bool, sizes: Sizes, num_answers, seed):
    """Parameters `{"encoder", "decoder"}` after training, or of the decoder alone.

    Args:
      params: where to start; without an encoder if it is frozen.
      arrays: `inputs`, images or features, and `labels`.
      frozen: whether the inputs are features.
      sizes: of the training.
      num_answers: labels of the task.
      seed: of the order of the examples.
    """
    num_steps = sizes.decoder_steps if frozen else sizes.encoder_steps
    return training.fit(
        _objective(frozen, num_answers),
        (params, {}),
        arrays,
        optimizer=_optimizer(sizes.learning_rate, num_steps),
        num_steps=num_steps,
        batch_size=min(sizes.batch_size, len(arrays["labels"])),
        seed=seed,
        progress=False,
    ).state.params


def quality(decoder, features, labels, *, num_answers: int) -> tuple[float, float]:
    """Accuracy and log-loss in nats over all examples and pixels."""
    sums = [0.0, 0.0]
    for start in range(0, len(labels), 512):
        part = slice(start, start + 512)
        of_part = _sums(decoder, features[part], labels[part], num_answers=num_answers)
        sums = [total + float(new) for total, new in zip(sums, of_part, strict=True)]
    return sums[0] / labels.size, sums[1] / labels.size


@functools.cache
def _objective(frozen: bool, num_answers: int):
    def objective(params, stats, batch, key):
        """Cross-entropy of a batch."""
        del key
        x = batch["inputs"] if frozen else encoded(params["encoder"], batch["inputs"])
        logits = _logits(params["decoder"], x, batch["labels"], num_answers)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"])
        return jnp.mean(loss), ({}, stats)

    return objective


def _logits(decoder, features, labels, num_answers):
    dense = labels.ndim > 1
    return decoded(decoder, features, num_answers=num_answers, dense=dense)


@functools.cache
def _optimizer(learning_rate: float, num_steps: int):
    return optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))


@functools.partial(jax.jit, static_argnames=("num_answers",))
def _sums(decoder, features, labels, *, num_answers):
    logits = _logits(decoder, features, labels, num_answers)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.sum(logits.argmax(-1) == labels), jnp.sum(loss)


def features(params: list, inputs: np.ndarray) -> np.ndarray:
    """Features of images of any number, computed in batches."""
    apply = jax.jit(encoded)
    parts = (inputs[start : start + 512] for start in range(0, len(inputs), 512))
    return np.concatenate([np.asarray(apply(params, part)) for part in parts])


def _layers(rng, widths, *, kernels) -> list:
    pairs = zip(kernels, widths[:-1], widths[1:], strict=True)
    return [_layer(rng, (k, k, a, b)) for k, a, b in pairs]


def _layer(rng, shape) -> tuple[np.ndarray, np.ndarray]:
    """A kernel with the variance of He, and a bias of zeros."""
    kernel = rng.standard_normal(shape, np.float32) * (2 / np.prod(shape[:3])) ** 0.5
    return kernel.astype(np.float32), np.zeros(shape[3], np.float32)


def _convolved(layer, x: jax.Array, stride: int) -> jax.Array:
    kernel, bias = layer
    dimensions = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=dimensions
    )
    return x + bias[None, None, None]
