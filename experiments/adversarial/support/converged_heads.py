"""A source with a new linear head that is fitted to convergence."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.adversarial.support import attacks, networks
from experiments.adversarial.support.networks import Config
from experiments.kept_networks import Model
from jtransfer import models, scores
from jtransfer import networks as library
from jtransfer.data import Images
from jtransfer.moments import class_moments
from jtransfer.networks import Network

DECAY = 1e-3
"""Penalty of the converged head on features of deviation one."""


class Target(NamedTuple):
    """The second data set, its reference model, and the images that are attacked."""

    train: Images
    test: Images
    model: Model
    x: np.ndarray
    labels: np.ndarray


class Transferred(NamedTuple):
    """A source after its transfer."""

    accuracy: float
    """With the converged head, on all test images."""
    sgd_accuracy: float
    """With the head of 10 epochs of SGD."""
    h_score: float
    losses: np.ndarray
    """Of the converged head at the attacked images, in nats, `[n]`."""
    head: Network
    """The source with its converged head."""


def transferred(config: Config, source: Model, target: Target) -> Transferred:
    """A source with its new heads, measured."""
    train, test = (
        features_of(source, images) for images in (target.train, target.test)
    )
    num_classes = len(target.train.class_names)
    scale = train.std(axis=0)
    scale = np.where(scale > 1e-6 * scale.max(), scale, np.inf)
    offset = train.mean(axis=0)
    fitted = scores.softmax_classifier(
        jnp.asarray((train - offset) / scale),
        target.train.labels,
        num_classes=num_classes,
        weight_decay=DECAY,
        max_steps=1000,
    )
    kernel = np.asarray(fitted.weights) / scale[:, None]
    bias = np.asarray(fitted.bias) - offset @ kernel
    moments = class_moments(
        jnp.asarray(train), target.train.labels, num_classes=num_classes
    )
    head = with_head(source.network, kernel, bias, target.train)
    sgd = networks.train_head(config, source, target.train, seed=0)
    return Transferred(
        accuracy=float(
            np.mean((test @ kernel + bias).argmax(axis=1) == target.test.labels)
        ),
        sgd_accuracy=attacks.accuracy(sgd, target.test),
        h_score=float(scores.regularized_h_score(moments)),
        losses=attacks.cross_entropies(
            Model(f"{source.name}-head", head), target.x, target.labels
        ),
        head=head,
    )


def features_of(source: Model, images: Images) -> np.ndarray:
    """Embeddings of images, `[n, d]`."""
    batches = library.outputs(source.network, images.images)
    return np.concatenate([features for features, _ in batches])


def with_head(
    network: Network, kernel: np.ndarray, bias: np.ndarray, images: Images
) -> Network:
    """A network whose last layer is another one."""
    params = {
        **network.variables.params,
        "classifier": {
            "kernel": jnp.asarray(kernel, jnp.float32),
            "bias": jnp.asarray(bias, jnp.float32),
        },
    }
    architecture = dataclasses.replace(
        network.architecture, num_classes=len(images.class_names)
    )
    return network._replace(
        architecture=architecture,
        variables=models.Variables(params, network.variables.stats),
        class_names=images.class_names,
    )
