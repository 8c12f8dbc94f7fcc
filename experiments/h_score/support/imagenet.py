"""Layers of an ImageNet network as features of CIFAR-100, and linear heads on them.

The network is EfficientNet-Lite0, whose weights a Python package holds; the paper has
ResNet-50, which `--network` may name where a user has it: a folder that
`networks.write` has made of `pretrained.resnet_of`. A layer's feature is the mean over
the pixels of its map. Features are computed once and lie in `--out`, in parts, so that
a killed run goes on.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jtransfer import data, models, networks, training
from jtransfer.networks import pretrained
from jtransfer.training import schedules
from jtransfer.transfer import teacher_outputs

STAGES = tuple(f"feature_maps.{stage}" for stage in range(2, 7))
"""The last five of the seven stages, instead of the paper's blocks 4a to 4f."""
BLOCKS = tuple(f"block_maps.{block}" for block in range(8, 13))
"""Of ResNet-50: blocks 4b to 4f, for the paper says five and names six."""
PART = 500
"""Images in a file of features."""


class Set(NamedTuple):
    """Images as their features in each layer, with their labels."""

    features: tuple[np.ndarray, ...]
    """`[n, d]` each."""
    labels: np.ndarray


class Head(NamedTuple):
    """Losses and accuracies of a linear softmax after its training."""

    train_loss: float
    test_loss: float
    train_accuracy: float
    test_accuracy: float


def layers_of(config) -> tuple[str, ...]:
    """The five layers of the network."""
    return STAGES if config.network is None else BLOCKS


def network(config) -> networks.Network:
    """The pretrained network for images of a side, or an untrained narrow one."""
    if config.base_width is None:
        pretrained_network = (
            pretrained.efficientnet_lite(0)
            if config.network is None
            else networks.read_network(config.network)
        )
        architecture = pretrained_network.architecture
        architecture = dataclasses.replace(architecture, image_size=config.image_size)
        return pretrained_network._replace(architecture=architecture)
    architecture = networks.Architecture(
        model="efficientnet_lite0",
        num_classes=10,
        image_size=config.image_size,
        base_width=config.base_width,
    )
    _, variables = models.functional(networks.model(architecture, rngs=nnx.Rngs(0)))
    halves = np.full(3, 0.5, np.float32)
    statistics = data.ChannelStatistics(halves, halves)
    return networks.Network(architecture, variables, statistics, (), {})


def cifar100(config, split: str, per_class: int) -> Set:
    """So many images a class of a split, in block-balanced order."""
    images = data.load("cifar100", split, data_dir=config.data_dir)
    order = data.block_balanced_order(images.labels, seed=0)
    images = data.examples_at(images, order[: per_class * len(images.class_names)])
    parts = range(0, len(images.labels), PART)
    features = [
        kept_features(config, split, images.images[i : i + PART], i) for i in parts
    ]
    layers = zip(*features, strict=True)
    return Set(tuple(map(np.concatenate, layers)), images.labels)


def kept_features(
    config, split: str, images: np.ndarray, start: int
) -> list[np.ndarray]:
    """Features of some images, which are computed and written if need be."""
    which = config.base_width or "imagenet"
    if config.network is not None:
        which = teacher_outputs.network_fingerprint(network(config))[:8]
    name = f"{split}-{config.image_size}px-{which}-{start}-{start + len(images)}.npz"
    file = config.out / "features" / name
    if not file.exists():
        print(f"features of {name}", flush=True)
        of_batches = networks.layer_outputs(
            network(config), images, names=layers_of(config), batch_size=50
        )
        layers = zip(*(layers for layers, _ in of_batches), strict=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npz")
        np.savez(partial, *map(np.concatenate, layers))
        partial.rename(file)
    with np.load(file) as arrays:
        return [arrays[f"arr_{index}"] for index in range(len(layers_of(config)))]


@dataclasses.dataclass(frozen=True)
class Training:
    """Of a linear softmax, by SGD with momentum .9."""

    num_epochs: int
    batch_size: int | None
    """Images a step; None for all."""
    learning_rate: float


def head(train, test, scaling, *, settings: Training, num_classes, seed) -> Head:
    """Trains a linear softmax; the last epoch counts.

    Args:
      train: features `[n, d]` and labels.
      test: the same of other images.
      scaling: `whitening` or `standardization`.
      settings: of the training.
      num_classes: number of classes.
      seed: of the order.
    """
    scaled = scaling(train[0])
    train, test = ((scaled(features), labels) for features, labels in (train, test))
    batch_size = settings.batch_size or len(train[1])
    batch_size = min(batch_size, len(train[1]))
    zeros = jnp.zeros((train[0].shape[1], num_classes)), jnp.zeros(num_classes)
    result = training.fit(
        training.supervised(_linear),
        (zeros, {}),
        dict(zip(("images", "labels"), train, strict=True)),
        optimizer=_optimizer(settings.learning_rate),
        num_steps=settings.num_epochs * (len(train[1]) // batch_size),
        batch_size=batch_size,
        seed=seed,
        progress=False,
    )
    measured = [training.evaluated(_evaluated, result.best, *s) for s in (train, test)]
    return Head(*(part[name] for name in ("loss", "accuracy") for part in measured))


def whitening(features: np.ndarray):
    """The affine map that makes the covariance of features the identity.

    It changes neither the H-score nor what a linear softmax can express, and lets plain
    gradient steps get on in all directions; for many more images than features.
    Directions without variance are left out.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(np.cov(features.T.astype(np.float64)))
    kept = values > 1e-6 * values[-1]
    scaled = axes[:, kept] / np.sqrt(values[kept])
    return lambda features: ((features - mean) @ scaled).astype(np.float32)


def standardization(features: np.ndarray):
    """The map that makes the variance of each feature 1; constants become 0."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0)
    return lambda features: ((features - mean) * scale).astype(np.float32)


@functools.cache
def _optimizer(learning_rate: float):
    return schedules.sgd(learning_rate, momentum=0.9)


def _linear(params, stats, x, key):
    del key
    weights, bias = params
    return (x @ weights + bias[None], {}), stats


@jax.jit
def _evaluated(variables, x):
    return _linear(*variables, x, None)[0]
