"""Teachers and students: trained once, kept on disk, compiled once an architecture.

Losses, costs, teachers' outputs and objectives are those of `jtransfer.transfer`. The
loop around them is not `transfer.distil_student`, whose recipe is Adam with one fall of
the rate, nor `transfer.train_network`, which holds out images and normalises by each
teacher's own statistics: the paper trains by SGD with three falls and a weight decay
and takes the network after the last epoch.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import nnx

from experiments import harness, kept_networks
from experiments.cross_task.support.outputs import STATISTICS, embedding_and_logits
from experiments.cross_task.support.settings import Config, Task, Training
from experiments.harness import Value
from experiments.kept_networks import Model
from jtransfer import data, models, networks, training, transfer
from jtransfer.data import Images
from jtransfer.networks import Architecture, Network
from jtransfer.training import schedules
from jtransfer.transfer import losses, teacher_outputs


class Way(NamedTuple):
    """A method of teaching, and what is trained beside the student."""

    name: str
    method: transfer.Method
    extras: Callable[..., Any] | None = None
    """``extras(key, teacher, student)``: what is trained beside the student, from the
    outputs of `method` of both for a few images; the loss finds it in the batch."""


def label_loss(student: transfer.Student, batch: dict) -> tuple[jax.Array, dict]:
    """Cross-entropy with the labels and the accuracy, no teacher asked."""
    return losses.weighted_loss(student, batch, 1.0, {})


ALONE = Way("alone", transfer.Method(teacher_outputs.logits, label_loss))
"""Labels only."""


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


def train_teacher(
    config: Config, shape: tuple[str, int | None], source: Task, *, seed: int = 0
) -> Model:
    """Trains a network with labels only, or reads it."""
    return train(config, shape, source.train, ALONE, config.teacher_training, seed=seed)


def train(
    config: Config,
    shape: tuple[str, int | None],
    images: Images,
    way: Way,
    settings: Training,
    *,
    seed: int,
    taught_by: Model | None = None,
    start: Model | None = None,
) -> Model:
    """Trains a network, or reads it from an earlier run.

    Args:
      config: where networks lie, and the size of the images.
      shape: name of the architecture and width of its first layer.
      images: what it learns.
      way: how.
      settings: of the training.
      seed: of weights and order.
      taught_by: the teacher, if the way needs one.
      start: a network to start from.

    Returns:
      The network after the last epoch.
    """
    a = architecture(config, shape, len(images.class_names))
    constants = jax.tree.leaves(dict(way.method.constants))
    made_of = (
        *(a, settings, way.name, seed, images.images, images.labels, *constants),
        *(taught_by and taught_by.name, start and start.name),
    )

    def new_network(folder):
        variables = _fitted_variables(
            config, a, images, way, settings, seed, taught_by, start, folder
        )
        return Network(a, variables, STATISTICS, images.class_names, {"seed": seed})

    label = f"{shape[0]}-{shape[1]}-{way.name.lower().replace(' ', '-')}"
    return kept_networks.train_or_read(config.out, label, made_of, new_network)


def _fitted_variables(
    config, a, images, way, settings, seed, taught_by, start, folder
) -> models.Variables:
    model = networks.model(a, rngs=nnx.Rngs(seed))
    _, variables = models.functional(model)
    if start is not None:
        variables = start.network.variables
    if not settings.num_epochs:
        return variables
    arrays = {"images": images.images, "labels": images.labels}
    constants, loss = dict(way.method.constants), way.method.loss
    if taught_by is not None and settings.padding:
        loss = TaughtInside(loss, way.method.outputs, taught_by.network.architecture)
        constants["teacher"] = taught_by.network.variables
    elif taught_by is not None:
        arrays |= teacher_outputs.compute_teacher_outputs(
            way.method.outputs,
            taught_by.network,
            images.images,
            images.labels,
            folder=config.out / "outputs",
            progress=False,
        )
    extras = {}
    if way.extras is not None:
        student = Network(a, variables, STATISTICS, images.class_names, {})
        ask = functools.partial(_first_outputs, way.method.outputs, images)
        extras = way.extras(jax.random.key(seed), ask(taught_by.network), ask(student))
    objective = transfer.student_objective(
        model, loss, preprocess=training.preprocessing(STATISTICS)
    )
    batch_size = min(settings.batch_size, len(images.labels))
    per_epoch = len(images.labels) // batch_size
    result = training.fit(
        BesideExtras(objective, settings.padding),
        ({"network": variables.params, "extras": extras}, variables.stats),
        arrays,
        optimizer=_optimizer(settings, per_epoch),
        num_steps=settings.num_epochs * per_epoch,
        batch_size=batch_size,
        seed=seed,
        constants=constants,
        checkpoints=training.Checkpoints(
            folder=folder, every=settings.save_every * per_epoch
        ),
        progress=False,
    )
    return models.Variables(result.state.params["network"], result.state.stats)


def _first_outputs(outputs, images, network: Network) -> dict:
    """Outputs of a network for two images, of which the shapes count."""
    ask = teacher_outputs.compiled_outputs(outputs, network.architecture)
    return ask(
        network.variables, network.statistics, images.images[:2], images.labels[:2]
    )


@dataclasses.dataclass(frozen=True)
class TaughtInside:
    """A loss whose teacher runs in the step, on the augmented images."""

    loss: Callable
    outputs: Callable
    teacher: Architecture

    def __call__(self, student: transfer.Student, batch: dict):
        """Returns the value and its parts."""
        apply_fn, flat = networks.apply_fn_of(self.teacher)

        def f(x):
            return apply_fn(batch["teacher"], x.reshape(len(x), -1) if flat else x)

        answers = self.outputs(f, student.x, batch["labels"])
        return self.loss(student, {**batch, **answers})


@dataclasses.dataclass(frozen=True)
class BesideExtras:
    """An objective on augmented images, with parameters beside the network's own."""

    objective: Callable
    padding: int
    """Of crops and flips; 0 for neither."""

    def __call__(self, params, stats, batch, key):
        """Returns value, parts and new statistics of a batch."""
        batch = {**batch, "extras": params["extras"]}
        if self.padding:
            augment_key, key = jax.random.split(key)
            batch["images"] = data.augmented(
                augment_key, batch["images"], padding=self.padding
            )
        return self.objective(params["network"], stats, batch, key)


@functools.lru_cache(maxsize=64)
def _optimizer(settings: Training, per_epoch: int):
    # An optax optimiser equals nothing but itself, and `fit` compiles once for one.
    epochs = settings.decay_epochs
    if epochs is None:
        epochs = [settings.num_epochs * quarter / 4 for quarter in (1, 2, 3)]
    falls = {int(epoch * per_epoch): 0.2 for epoch in epochs}
    return schedules.sgd(
        optax.piecewise_constant_schedule(settings.learning_rate, falls),
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


def accuracy(model: Model, test: Images) -> Value:
    """The share of the images that a network gets right."""
    _, logits = embedding_and_logits(model.network, test.images)
    hits = logits.argmax(axis=1) == test.labels
    return harness.share(np.sum(hits), len(hits))
