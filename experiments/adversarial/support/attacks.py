"""Attacks on networks, and what networks answer to images in [0, 1].

The attacks of Tables 1, 3 and 7 are those of `jtransfer pair`, by `pairs.attacked`. The
other ones (a single step, momentum without a random start, L2) differ from it in
settings that it does not have, so they stand here; the loss is the same, the
cross-entropy against the attacked model's own prediction for the clean image, as in the
code that the authors of paper A released. Weights are arguments of what is compiled:
one architecture is compiled once.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.adversarial.support.networks import Config
from experiments.kept_networks import Model
from jtransfer import attacks, networks, pairs
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

    @property
    def is_that_of_pairs(self) -> bool:
        """Whether `pairs.attacked` makes it: its steps are not cut at the radius."""
        plain = self.norm is attacks.LINF and self.random_start and not self.decay
        return plain and self.num_steps >= 5


def pgd(config: Config) -> Attack:
    """PGD of radius .1 in the largest change of a pixel: Tables 1, 3 and 7."""
    return Attack("PGD", attacks.LINF, 0.1, config.num_steps)


def fgsm() -> Attack:
    """One step of the whole radius from a random point, as the paper's code has it."""
    return Attack("FGSM", attacks.LINF, 0.1, 1)


def pixels(images: Images) -> np.ndarray:
    """Pixels of stored images as floats in [0, 1], `[n, h, w, c]`."""
    return (images.images / np.float32(255)).astype(np.float32)


def logits(model: Model, x: np.ndarray) -> np.ndarray:
    """Outputs of a model for images in [0, 1], `[n, C]`."""
    return _in_batches(functools.partial(_logits, networks.function(model.network)), x)


def deltas(model: Model, attack: Attack, x: np.ndarray, *, seed: int) -> np.ndarray:
    """Attacks on a model, in the shape of the images."""
    function, key = networks.function(model.network), jax.random.key(seed)
    if attack.is_that_of_pairs:
        return pairs.attacked(
            function,
            x,
            key,
            epsilon=attack.epsilon,
            num_steps=attack.num_steps,
            batch_size=BATCH_SIZE,
        ).deltas
    attacked = functools.partial(
        _deltas,
        function,
        key,
        attack.epsilon,
        attack.epsilon * min(1, 5 / attack.num_steps),
        attack.decay,
        attack.random_start,
        norm=attack.norm,
        num_steps=attack.num_steps,
    )
    return _in_batches(attacked, x, np.arange(len(x)))


def loss_gradients(model: Model, x: np.ndarray) -> np.ndarray:
    """Input gradients of the loss against the own prediction, in the shape of `x`."""
    function = networks.function(model.network)
    return _in_batches(functools.partial(_loss_gradients, function), x)


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
    logs = np.asarray(jax.nn.log_softmax(logits(model, x).astype(np.float64)))
    return -np.take_along_axis(logs, labels[:, None], axis=1)[:, 0]


def is_right(model: Model, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each image is classified as its label says."""
    return logits(model, x).argmax(axis=1) == labels


def accuracy(model: Model, images: Images) -> float:
    """The share of images that are classified as their labels say."""
    return float(is_right(model, pixels(images), images.labels).mean())


def _in_batches(function: Callable, *arrays: np.ndarray) -> np.ndarray:
    """Applies a function of batches of one size to arrays of any length."""
    length = len(arrays[0])
    size = min(BATCH_SIZE, length)
    parts = []
    for start in range(0, length, size):
        rows = np.minimum(np.arange(start, start + size), length - 1)
        parts.append(np.asarray(function(*(array[rows] for array in arrays))))
    return np.concatenate(parts)[:length]


@jax.jit
def _logits(function, x):
    return jax.vmap(function)(x)


@jax.jit
def _loss_gradients(function, x):
    return jax.vmap(lambda x: jax.grad(attacks.prediction_loss(function, x))(x))(x)


@functools.partial(jax.jit, static_argnames=("norm", "num_steps"))
def _deltas(
    function,
    key,
    epsilon,
    step_size,
    decay,
    random_start,
    x,
    indices,
    *,
    norm,
    num_steps,
):
    def delta(x, index):
        uniform = norm.uniform(jax.random.fold_in(key, index), x, epsilon)
        return attacks.pgd(
            attacks.prediction_loss(function, x),
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

    return jax.vmap(delta)(x, indices)
