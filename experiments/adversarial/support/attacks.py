"""Attacks on networks, and what networks answer to images in [0, 1].

All attacks are made by `pairs.attacked`, as those of `jtransfer pair`, and differ from
them in settings only. The loss is the cross-entropy against the attacked model's own
prediction for the clean image, as in the code that the authors of paper A released.
Weights are arguments of what is compiled: one architecture is compiled once.
"""

from typing import NamedTuple

import jax
import numpy as np

from experiments.adversarial.support.networks import Config
from experiments.kept_networks import Model
from jtransfer import attacks, networks, pairs
from jtransfer._internal import linalg
from jtransfer.data import Images

BATCH_SIZE = 128


class Attack(NamedTuple):
    """An attack by its name and its settings."""

    name: str
    settings: pairs.AttackSettings


def attack(
    name: str,
    epsilon: float,
    num_steps: int,
    *,
    norm: attacks.Norm = attacks.LINF,
    decay: float = 0.0,
    random_start: bool = True,
    targeted: bool = False,
) -> Attack:
    """An attack in steps of five radii in all, as by default, each of one at most."""
    settings = pairs.AttackSettings(
        norm=norm,
        epsilon=epsilon,
        num_steps=num_steps,
        step_size=epsilon if num_steps < 5 else None,
        decay=decay,
        random_start=random_start,
        targeted=targeted,
    )
    return Attack(name, settings)


def pgd(config: Config) -> Attack:
    """PGD of radius .1 in the largest change of a pixel: Tables 1, 3 and 7."""
    return attack("PGD", 0.1, config.num_steps)


def fgsm() -> Attack:
    """One step of the whole radius from a random point, as the paper's code has it."""
    return attack("FGSM", 0.1, 1)


def pixels(images: Images) -> np.ndarray:
    """Pixels of stored images as floats in [0, 1], `[n, h, w, c]`."""
    return (images.images / np.float32(255)).astype(np.float32)


def deltas(model: Model, attack: Attack, x: np.ndarray, *, seed: int) -> np.ndarray:
    """Attacks on a model, in the shape of the images."""
    return pairs.attacked(
        networks.function(model.network),
        x,
        jax.random.key(seed),
        settings=attack.settings,
        batch_size=BATCH_SIZE,
    ).deltas


def logits(model: Model, x: np.ndarray) -> np.ndarray:
    """Outputs of a model for images in [0, 1], `[n, C]`."""
    function = networks.function(model.network)
    return pairs.batched_values(function, x, batch_size=BATCH_SIZE)


def loss_gradients(model: Model, x: np.ndarray) -> np.ndarray:
    """Input gradients of the loss against the own prediction, in the shape of `x`."""
    function = networks.function(model.network)
    gradient = jax.tree_util.Partial(_loss_gradient, function)
    return pairs.batched_values(gradient, x, batch_size=BATCH_SIZE)


def _loss_gradient(function, x):
    return jax.grad(attacks.prediction_loss(function, x))(x)


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
