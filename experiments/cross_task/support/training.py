"""Teachers and students: trained once, kept on disk, compiled once an architecture.

Teachers, and students that have none, are trained by `transfer.train_network`, the
others by `transfer.distil_student`, as `jtransfer train` and `distill` do. The settings
are those of the paper: SGD with three falls of the rate and a weight decay, the network
after the last epoch, and one normalisation for all networks of this folder.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx

from experiments import harness, kept_networks
from experiments.cross_task.support.outputs import STATISTICS, embedding_and_logits
from experiments.cross_task.support.settings import Config, Task, Training
from experiments.harness import Value
from experiments.kept_networks import Model
from jtransfer import models, networks, transfer
from jtransfer.data import Images
from jtransfer.networks import Architecture, Network


class Way(NamedTuple):
    """A method of teaching and its name."""

    name: str
    method: transfer.Method


def sinkhorn_way(config: Config, cost, **changed: float) -> Way:
    """Algorithm 2 of the paper, with its three settings or some of them changed.

    Args:
      config: has them.
      cost: between the teacher's classes and the student's.
      **changed: of temperature, epsilon and weight those that differ.
    """
    settings = {n: getattr(config, n) for n in ("temperature", "epsilon", "weight")}
    settings |= changed
    method = transfer.sinkhorn_method(
        [cost],
        transport_weight=settings["weight"],
        temperature=settings["temperature"],
        epsilon=settings["epsilon"],
    )
    named = "-".join(f"{value:g}" for value in settings.values())
    return Way(f"sinkhorn-{named}", method)


def architecture(
    config: Config, shape: tuple[str, int | None], num_classes: int
) -> Architecture:
    """An architecture by its name and the width of its first layer."""
    model, width = shape
    return Architecture(
        model=model,
        num_classes=num_classes,
        base_width=width,
        image_size=config.image_size,
    )


def recipe_alone(settings: Training) -> transfer.Recipe:
    """The recipe of a network without a teacher."""
    return transfer.Recipe(
        num_epochs=settings.num_epochs,
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        batch_size=settings.batch_size,
        warm_up_epochs=0,
        decay_epochs=settings.falls,
        padding=settings.padding,
        validation_fraction=0,
    )


def recipe_taught(settings: Training) -> transfer.StudentRecipe:
    """The recipe of a student of a teacher."""
    return transfer.StudentRecipe(
        num_epochs=settings.num_epochs,
        learning_rate=settings.learning_rate,
        decay_at=tuple(epoch / settings.num_epochs for epoch in settings.falls),
        decay_factor=0.2,
        batch_size=settings.batch_size,
        optimizer=transfer.Momentum(
            momentum=settings.momentum, weight_decay=settings.weight_decay
        ),
        padding=settings.padding,
    )


def train_teacher(
    config: Config, shape: tuple[str, int | None], source: Task, *, seed: int = 0
) -> Model:
    """Trains a network with labels only, or reads it."""
    return train_alone(config, shape, source.train, config.teacher_training, seed=seed)


def train_alone(
    config: Config,
    shape: tuple[str, int | None],
    images: Images,
    settings: Training,
    *,
    seed: int,
) -> Model:
    """Trains a network with labels only, or reads it from an earlier run.

    Args:
      config: where networks lie, and the size of the images.
      shape: name of the architecture and width of its first layer.
      images: what it learns.
      settings: of the training; no epoch leaves the network as it was drawn.
      seed: of weights and order.

    Returns:
      The network after the last epoch.
    """
    a = architecture(config, shape, len(images.class_names))
    recipe = recipe_alone(settings)

    def new_network(folder: Path) -> Network:
        if not settings.num_epochs:
            _, drawn = models.functional(networks.model(a, rngs=nnx.Rngs(seed)))
            return Network(a, drawn, STATISTICS, images.class_names, {"seed": seed})
        return transfer.train_network(
            a,
            images,
            None,
            recipe=recipe,
            folder=folder,
            seed=seed,
            facts={},
            statistics=STATISTICS,
        )

    made_of = a, recipe, seed, images.images, images.labels
    label = f"{shape[0]}-{shape[1]}-alone"
    return kept_networks.train_or_read(config.out, label, made_of, new_network)


def train_taught(
    config: Config,
    shape: tuple[str, int | None],
    images: Images,
    way: Way,
    settings: Training,
    *,
    seed: int,
    taught_by: Model,
    start: Model | None = None,
    recipe: transfer.StudentRecipe | None = None,
) -> Model:
    """Trains a student of a teacher, or reads it from an earlier run.

    Args:
      config: where networks lie, and the size of the images.
      shape: name of the architecture and width of its first layer.
      images: what it learns.
      way: how.
      settings: of the training.
      seed: of weights and order.
      taught_by: the teacher.
      start: a network to start from.
      recipe: how to train, where a method has its own; else that of the settings.

    Returns:
      The network after the last epoch.
    """
    a = architecture(config, shape, len(images.class_names))
    recipe = recipe or recipe_taught(settings)

    def new_network(folder: Path) -> Network:
        return transfer.distil_student(
            taught_by.network,
            a,
            images,
            None,
            method=way.method,
            recipe=recipe,
            folder=folder,
            cache=config.out / "outputs",
            seed=seed,
            facts={},
            start=start and start.network,
        )

    constants = jax.tree.leaves(dict(way.method.constants))
    made_of = (
        *(a, recipe, way.name, seed, images.images, images.labels, *constants),
        *(taught_by.name, start and start.name),
    )
    label = f"{shape[0]}-{shape[1]}-{way.name.lower().replace(' ', '-')}"
    return kept_networks.train_or_read(config.out, label, made_of, new_network)


def accuracy(model: Model, test: Images) -> Value:
    """The share of the images that a network gets right."""
    _, logits = embedding_and_logits(model.network, test.images)
    hits = logits.argmax(axis=1) == test.labels
    return harness.share(np.sum(hits), len(hits))
