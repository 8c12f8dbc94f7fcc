"""What is trained before a student: the teacher's head of SSKD, the teacher of SFTN."""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
import optax
from flax import nnx

from experiments import kept_networks
from experiments.cross_task.support.outputs import STATISTICS, teacher_views
from experiments.cross_task.support.settings import Config, Task
from experiments.cross_task.support.training import architecture, recipe_taught
from experiments.kept_networks import Model
from jtransfer import distillation, models, networks, training
from jtransfer.data import Images
from jtransfer.networks import Network
from jtransfer.transfer import student_recipes, teacher_outputs

HEAD_EPOCHS, HEAD_BATCH = 60, 64
"""As released, with the images that the student gets."""
HEAD_RATE = 1e-3
"""Of Adam."""


def sskd_constants(config: Config, network: Network, images: Images) -> dict:
    """The teacher's head, trained to know rotated images again."""
    embeddings = teacher_outputs.compute_teacher_outputs(
        teacher_views,
        network,
        images.images,
        images.labels,
        folder=config.out / "outputs",
    )["teacher_view_embeddings"]
    key = jax.random.key(0)
    head = distillation.projection_head(key, dim=embeddings.shape[2])
    optimizer = optax.adam(HEAD_RATE)
    state = head, optimizer.init(head)
    rows = jax.numpy.asarray(embeddings)
    for epoch in range(HEAD_EPOCHS):
        order = jax.random.permutation(jax.random.fold_in(key, epoch), len(rows))
        state = _epoch(state, rows[order], optimizer)
    return {"teacher_head": state[0]}


@functools.partial(jax.jit, static_argnames=("optimizer",))
def _epoch(state, rows, optimizer):
    size = min(HEAD_BATCH, len(rows))
    batches = rows[: len(rows) // size * size].reshape(-1, size, *rows.shape[1:])

    def step(state, batch):
        head, momentum = state

        def loss(head):
            return distillation.contrastive_loss(distillation.projected(head, batch))

        updates, momentum = optimizer.update(jax.grad(loss)(head), momentum, head)
        return (optax.apply_updates(head, updates), momentum), None

    return jax.lax.scan(step, state, batches)[0]


def train_sftn_teacher(
    config: Config, taught_by: Model, shape: tuple[str, int | None], source: Task
) -> Model:
    """Trains a teacher like another one together with branches of its student.

    At a fifth of the rate, for its loss has nine times the weight, and twice as long:
    so it knows its training images as well as the other one. With the other's settings
    it knows 2 to 12% of them.

    Args:
      config: where networks lie, and the settings of a teacher's training.
      taught_by: the teacher whose architecture and images it gets.
      shape: of the student.
      source: what the teacher learns.
    """
    a = taught_by.network.architecture
    usual = config.teacher_training
    settings = dataclasses.replace(
        usual,
        learning_rate=usual.learning_rate / 5,
        num_epochs=2 * usual.num_epochs,
    )
    recipe = recipe_taught(settings)
    images = source.train

    def new_network(folder: Path) -> Network:
        teacher, student = (
            networks.model(own, rngs=nnx.Rngs(0))
            for own in (a, architecture(config, shape, a.num_classes))
        )
        model = models.Branched(teacher, student, rngs=nnx.Rngs(1))
        train_fn, params, stats = models.trainable(model)
        size = min(recipe.batch_size, len(images.labels))
        num_steps = recipe.num_epochs * max(1, len(images.labels) // size)
        result = training.fit(
            training.supervised(
                train_fn, sftn_loss, preprocess=training.preprocessing(STATISTICS)
            ),
            models.Variables(params, stats),
            {"images": images.images, "labels": np.asarray(images.labels)},
            optimizer=student_recipes.student_optimizer(recipe, num_steps),
            num_steps=num_steps,
            batch_size=size,
            seed=0,
            checkpoints=training.Checkpoints(folder=folder, every=num_steps),
        )
        params, stats = (part["teacher"] for part in result.best)
        variables = models.Variables(params, stats)
        return Network(a, variables, STATISTICS, images.class_names, {})

    made_of = a, recipe, shape, images.images, images.labels
    label = f"{a.model}-{a.base_width}-sftn"
    return kept_networks.train_or_read(config.out, label, made_of, new_network)


def sftn_loss(outputs: tuple, batch: dict):
    """The loss of the teacher with its branches, and its parts."""
    logits, out = outputs
    value = distillation.sftn_loss(logits, out["branch_logits"], batch["labels"])
    hits = jax.numpy.argmax(logits, axis=1) == batch["labels"]
    return value, {"accuracy": jax.numpy.mean(hits.astype(logits.dtype))}
