"""Teachers and students: trained once, kept on disk, compiled once an architecture.

A teacher's outputs are arguments of the step of training, so that students of one
architecture and method share one compiled step, whatever their teacher, classes and
weights.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from experiments import harness
from experiments.cross_task.support.outputs import STATISTICS, logits, named, said
from experiments.cross_task.support.settings import Config, Task, Training, digest
from experiments.harness import Value
from jtransfer import data, distillation, models, networks, training
from jtransfer.data import Images
from jtransfer.distillation import activations
from jtransfer.networks import Architecture, Network
from jtransfer.training import schedules

MAX_ITERATIONS = 200
"""Of Sinkhorn's algorithm in a step of training; the paper does not say how many."""


class Model(NamedTuple):
    """A network and the name under which it is kept."""

    name: str
    network: Network


class Method(NamedTuple):
    """A way to teach."""

    name: str
    loss: Callable[..., Any]
    """``loss((logits, out), batch) -> (value, parts)``; the batch holds what the
    teacher says under the names of `named`, and constants."""
    needs: tuple[str, ...] = ()
    """Which of these names."""
    extras: Callable[..., Any] | None = None
    """``extras(key, teacher, student)``: what is trained beside the student, from the
    named outputs of both for a batch."""


def architecture(config: Config, shape: tuple[str, int | None], num_classes: int):
    """An architecture of the given name and width of the first layer."""
    model, width = shape
    size = config.image_size
    return Architecture(
        model=model, num_classes=num_classes, base_width=width, image_size=size
    )


def teacher(
    config: Config, shape: tuple[str, int | None], source: Task, *, seed: int = 0
) -> Model:
    """A network trained with labels only."""
    return trained(
        config, shape, source.train, ALONE, config.teacher_training, seed=seed
    )


def trained(
    config: Config,
    shape: tuple[str, int | None],
    train: Images,
    method: Method,
    settings: Training,
    *,
    seed: int,
    taught_by: Model | None = None,
    constants: dict[str, Any] | None = None,
    start: Model | None = None,
) -> Model:
    """A network, trained or found.

    Args:
      config: where networks lie, and the size of the images.
      shape: name of the architecture and width of its first layer.
      train: what it learns.
      method: how.
      settings: of the training.
      seed: of weights and order.
      taught_by: the teacher, if the method needs one.
      constants: entries of every batch, such as costs and weights.
      start: a network to start from.

    Returns:
      The network after the last epoch.
    """
    a = architecture(config, shape, len(train.class_names))
    constants = dict(constants or {})
    made_of = (
        (a, settings, method.name, seed, train.images, train.labels),
        (taught_by and taught_by.name, start and start.name),
        tuple(part for name in sorted(constants) for part in (name, constants[name])),
    )
    label = method.name.lower().replace(" ", "-")
    name = f"{shape[0]}-{shape[1]}-{label}-{digest(*sum(made_of, ()))}"
    folder = config.out / "networks" / name
    if (folder / networks.JSON_FILE).exists():
        return Model(name, networks.read_network(folder))
    variables = _fitted(
        a,
        train,
        method,
        settings,
        seed=seed,
        taught_by=taught_by,
        constants=constants,
        start=start,
        folder=folder,
    )
    network = Network(a, variables, STATISTICS, train.class_names, {"seed": seed})
    networks.write_network(folder, network)
    return Model(name, network)


def _fitted(
    a, train, method, settings, *, seed, taught_by, constants, start, folder
) -> models.Variables:
    model = networks.model(a, rngs=nnx.Rngs(seed))
    train_fn, params, stats = models.trainable(model)
    if start is not None:
        params, stats = start.network.variables
    if not settings.num_epochs:
        return models.Variables(params, stats)
    arrays = {"images": train.images, "labels": train.labels}
    inside = None
    if taught_by is not None and settings.padding:
        inside, _ = networks.apply_fn_of(taught_by.network.architecture)
        constants["teacher"] = taught_by.network.variables
    elif taught_by is not None:
        arrays.update(said(taught_by.network, train.images, method.needs))
    extras = {}
    if method.extras is not None:
        example = train.images[:2]
        student = Network(
            a, models.Variables(params, stats), STATISTICS, train.class_names, {}
        )
        extras = method.extras(
            jax.random.key(seed),
            said(taught_by.network, example, method.needs),
            said(student, example, method.needs),
        )
    batch_size = min(settings.batch_size, len(train.labels))
    per_epoch = len(train.labels) // batch_size
    result = training.fit(
        training.supervised(
            _with_extras(train_fn),
            _with_teacher(method.loss, inside),
            preprocess=_preprocess(settings.padding),
        ),
        ({"network": params, "extras": extras}, stats),
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


@functools.lru_cache(maxsize=64)
def _optimizer(settings: Training, per_epoch: int):
    """One optimiser for all networks of one length of training."""
    epochs = settings.decay_epochs
    if epochs is None:
        epochs = [settings.num_epochs * quarter / 4 for quarter in (1, 2, 3)]
    steps = sorted({int(epoch * per_epoch) for epoch in epochs})
    return schedules.sgd(
        schedules.step_decay(settings.learning_rate, steps=steps, factor=0.2),
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


@functools.lru_cache(maxsize=4)
def _preprocess(padding: int):
    augment = functools.partial(data.augmented, padding=padding) if padding else None
    return training.preprocessing(STATISTICS, augment=augment)


@functools.lru_cache(maxsize=64)
def _with_extras(train_fn):
    """The network beside whose parameters others are trained, which losses see."""

    def extended(params, stats, x, key):
        (logits, out), stats = train_fn(params["network"], stats, x, key)
        return (logits, {**out, "extras": params["extras"]}), stats

    return extended


@functools.lru_cache(maxsize=64)
def _with_teacher(loss, run):
    """The loss with a teacher that runs in the step, on the augmented images."""
    if run is None:
        return loss

    def taught(outputs, batch):
        found = named(*run(batch["teacher"], batch["images"]))
        return loss(outputs, {**batch, **found})

    return taught


def accuracy(model: Model, test: Images) -> Value:
    """The share of the images that a network gets right."""
    hits = logits(model.network, test.images).argmax(axis=1) == test.labels
    return harness.share(np.sum(hits), len(hits))


def transport_constants(config: Config, cost: jax.Array, **others: float) -> dict:
    """The constants of `SINKHORN`: the cost and the paper's three settings."""
    names = ("temperature", "epsilon", "weight")
    settings = {name: np.float32(getattr(config, name)) for name in names}
    changed = {name: np.float32(value) for name, value in others.items()}
    return {"cost": np.asarray(cost), **settings, **changed}


def _sinkhorn_loss(outputs, batch):
    value, parts = activations.cross_entropy(outputs, batch)
    matches = distillation.sinkhorn_matches(
        batch["teacher_logits"],
        outputs[0],
        batch["cost"],
        temperature=batch["temperature"],
        epsilon=batch["epsilon"],
        max_iterations=MAX_ITERATIONS,
    )
    parts["converged"] = matches.converged.astype(value.dtype).mean()
    return value + batch["weight"] * matches.distance.mean(), parts


ALONE = Method("alone", activations.cross_entropy)
SINKHORN = Method("sinkhorn", _sinkhorn_loss, ("teacher_logits",))
"""Algorithm 2 of the paper."""
