"""Networks on images in [0, 1]: outputs, losses, input gradients and attacks.

The loss of an attack is the cross-entropy against the attacked model's own prediction
for the clean image, as in the code that the authors of paper A released. Weights are
arguments of what is compiled: one architecture is compiled once.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.adversarial.support.networks import Config, Model
from jtransfer import attacks, models, networks
from jtransfer._internal import linalg
from jtransfer.data import Images
from jtransfer.training import devices

BATCH_SIZE = 128


class Attack(NamedTuple):
    """An attack: the radius, and how often a step of five radii over that is made."""

    name: str
    norm: attacks.Norm
    epsilon: float
    num_steps: int
    decay: float = 0.0
    random_start: bool = True


def pgd(config: Config) -> Attack:
    """The attack of Tables 1, 3 and 7."""
    return Attack("PGD", attacks.LINF, 0.1, config.num_steps)


def fgsm() -> Attack:
    """One step of the whole radius from a random point, as the paper's code has it."""
    return Attack("FGSM", attacks.LINF, 0.1, 1)


def pixels(images: Images) -> np.ndarray:
    """Images in [0, 1]."""
    return (images.images / np.float32(255)).astype(np.float32)


def logits(model: Model, x: np.ndarray) -> np.ndarray:
    """Outputs of a model for images in [0, 1], `[n, C]`."""
    function = functools.partial(
        _logits, _weights(model), architecture=model.network.architecture
    )
    return _in_batches(function, x)


def deltas(model: Model, attack: Attack, x: np.ndarray, *, seed: int) -> np.ndarray:
    """Attacks on a model, in the shape of the images."""
    keys = jax.random.key_data(jax.random.split(jax.random.key(seed), len(x)))
    function = functools.partial(
        _deltas,
        _weights(model),
        attack.epsilon,
        attack.epsilon * min(1, 5 / attack.num_steps),
        attack.decay,
        attack.random_start,
        architecture=model.network.architecture,
        norm=attack.norm,
        num_steps=attack.num_steps,
    )
    return _in_batches(function, x, np.asarray(keys))


def loss_gradients(model: Model, x: np.ndarray) -> np.ndarray:
    """Input gradients of the loss against the own prediction, in the shape of `x`."""
    function = functools.partial(
        _loss_gradients, _weights(model), architecture=model.network.architecture
    )
    return _in_batches(function, x)


def gradient_cosines(first: Model, second: Model, x: np.ndarray) -> np.ndarray:
    """Cosine of the loss gradients of two models at each image, `[n]`.

    The indicator of Demontis et al., "Why Do Adversarial Attacks Transfer?", 2019, with
    each model's own prediction as label.
    """
    gradients = [
        loss_gradients(model, x).reshape(len(x), -1) for model in (first, second)
    ]
    first, second = (np.asarray(linalg.unit(g)) for g in gradients)
    return np.sum(first * second, axis=1, dtype=np.float64)


def cross_entropies(model: Model, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The loss of each image, in nats, `[n]`."""
    found = jax.nn.log_softmax(logits(model, x).astype(np.float64))
    return -np.take_along_axis(np.asarray(found), labels[:, None], axis=1)[:, 0]


def is_right(model: Model, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each image is classified as its label says."""
    return logits(model, x).argmax(axis=1) == labels


def accuracy(model: Model, images: Images) -> float:
    """The share of images that are classified as their labels say."""
    return float(is_right(model, pixels(images), images.labels).mean())


def function_of(architecture):
    """The function `f(weights, x)` of one image in [0, 1], and of `_weights`.

    The weights are arguments: one architecture is compiled once.
    """
    apply_fn, flat = _network(architecture)

    def f(weights, x):
        variables, mean, std = weights
        x = (x - mean) / std
        return apply_fn(variables, x.reshape(-1) if flat else x)[0]

    return f


@functools.cache
def _network(architecture):
    model = networks.model(architecture, rngs=nnx.Rngs(0))
    return models.functional(model)[0], networks.takes_vectors(model)


def _weights(model: Model):
    mean, std = (np.asarray(part)[None, None] for part in model.network.statistics)
    return model.network.variables, mean, np.where(std > 0, std, 1)


def _in_batches(function, *arrays) -> np.ndarray:
    """Applies a function of batches of one size to arrays of any length."""
    length = len(arrays[0])
    size = min(BATCH_SIZE, length)
    found = []
    for start in range(0, length, size):
        rows = np.minimum(np.arange(start, start + size), length - 1)
        found.append(np.asarray(function(*(array[rows] for array in arrays))))
    return np.concatenate(found)[:length]


@functools.partial(jax.jit, static_argnames="architecture")
def _logits(weights, x, *, architecture):
    return jax.vmap(functools.partial(function_of(architecture), weights))(x)


@functools.partial(jax.jit, static_argnames="architecture")
def _loss_gradients(weights, x, *, architecture):
    f = functools.partial(function_of(architecture), weights)
    return jax.vmap(lambda x: jax.grad(attacks.prediction_loss(f, x))(x))(x)


@functools.partial(jax.jit, static_argnames=("architecture", "norm", "num_steps"))
def _deltas(
    weights,
    epsilon,
    step_size,
    decay,
    random_start,
    x,
    keys,
    *,
    architecture,
    norm,
    num_steps,
):
    f = functools.partial(function_of(architecture), weights)

    def delta(x, key):
        uniform = norm.uniform(jax.random.wrap_key_data(key), x, epsilon)
        return attacks.pgd(
            attacks.prediction_loss(f, x),
            x,
            jnp.where(random_start, uniform, 0),
            norm=norm,
            epsilon=epsilon,
            step_size=step_size,
            num_steps=num_steps,
            decay=decay,
            bounds=(0, 1),
            unroll=devices.has_slow_loops(),
        )

    return jax.vmap(delta)(x, keys)
