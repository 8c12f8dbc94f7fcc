"""The methods that are compared, with the weights that the paper or much code states.

The paper does not say with which weights it ran the baselines: KD has the one of
Eq. (11), FitNet 100, VID 1, RKD 25 (distances) and 50 (angles). ReFilled has 500 in its
first stage as released, and 10 in its second, of whose released weight, 100, it ends
below the student alone ("ReFilled, released weight"); embeddings are centred in both.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.cross_task.support.heads import train_sftn_teacher
from experiments.cross_task.support.memory_methods import WAYS
from experiments.cross_task.support.outputs import (
    centers,
    costs,
    embedding_and_logits,
    teacher_embedding,
    teacher_maps,
    teacher_middle_map,
)
from experiments.cross_task.support.settings import Config, Task, Training
from experiments.cross_task.support.training import (
    Way,
    accuracy,
    recipe_taught,
    sinkhorn_way,
    train_alone,
    train_taught,
)
from experiments.harness import Value
from experiments.kept_networks import Model
from jtransfer import distillation, transfer
from jtransfer.distillation import (
    fitnet_loss,
    fitnet_regressor,
    vid_loss,
    vid_predictors,
)
from jtransfer.networks import Network
from jtransfer.transfer import losses, teacher_outputs

REFILLED_WEIGHTS = {"ReFilled": 10.0, "ReFilled, released weight": 100.0}
"""Of the second stage."""
METHODS = (
    "Student",
    "Student, twice as long",
    "KD",
    "BAN",
    "FitNet",
    "VID",
    "RKD",
    "SFTN",
    "AFD",
    "SEED",
    "AML",
    "SSKD",
    "WCoRD",
    "MGD",
    "ReFilled",
    "ReFilled, released weight",
    "Ours",
    "Ours, lambda matched",
)


@dataclasses.dataclass(frozen=True)
class SoftTargetLoss:
    """Cross-entropy with the labels and, weighted, with the teacher's soft answers."""

    temperature: float
    weight: float

    def __call__(self, student: transfer.Student, batch: dict):
        """Returns the value and its parts."""

        def soft_targets():
            return distillation.soft_targets(
                batch["teacher_logits"], student.logits, temperature=self.temperature
            )

        terms = {"soft_targets": (self.weight, soft_targets)}
        return losses.weighted_loss(student, batch, 1.0, terms)


def relation_loss(student: transfer.Student, batch: dict):
    """Labels, and distances and angles among the embeddings of a batch."""
    pair = batch["teacher_embedding"], student.out["embedding"]
    terms = {
        "distances": (25.0, lambda: distillation.match_distances(*pair)),
        "angles": (50.0, lambda: distillation.match_angles(*pair)),
    }
    return losses.weighted_loss(student, batch, 1.0, terms)


def hint_loss(student: transfer.Student, batch: dict):
    """Labels, and the teacher's middle map regressed on the student's."""
    maps = batch["teacher_map_1"], student.out["feature_maps"][-2]
    terms = {"hints": (100.0, lambda: fitnet_loss(batch["extras"], *maps))}
    return losses.weighted_loss(student, batch, 1.0, terms)


def information_loss(student: transfer.Student, batch: dict):
    """Labels, and the likelihood of the teacher's maps given the student's."""
    teacher = [batch[f"teacher_map_{i}"] for i in range(3)]
    maps = teacher, student.out["feature_maps"][-3:]
    terms = {"information": (1.0, lambda: vid_loss(batch["extras"], *maps))}
    return losses.weighted_loss(student, batch, 1.0, terms)


def triplet_loss(student: transfer.Student, batch: dict):
    """The embeddings' triplets alone: the first stage of ReFilled."""
    teacher = batch["teacher_embedding"] - batch["teacher_mean"]
    pair = teacher, student.out["embedding"]
    return 500 * distillation.match_triplets(*pair, batch["labels"]), {}


@dataclasses.dataclass(frozen=True)
class LocalClassifierLoss:
    """Labels, and answers by the teacher's centres: the second stage of ReFilled."""

    weight: float

    def __call__(self, student: transfer.Student, batch: dict):
        """Returns the value and its parts."""

        def local_classifiers():
            return distillation.match_local_classifiers(
                batch["teacher_embedding"] - batch["teacher_mean"],
                batch["teacher_centers"] - batch["teacher_mean"],
                student.logits,
                batch["labels"],
            )

        terms = {"local_classifiers": (self.weight, local_classifiers)}
        return losses.weighted_loss(student, batch, 1.0, terms)


def regressor(key: jax.Array, teacher: dict, student: dict):
    """The untrained map from the student's middle map to the teacher's."""
    shapes = [outputs["teacher_map_1"].shape[1:] for outputs in (teacher, student)]
    return fitnet_regressor(key, teacher_shape=shapes[0], student_shape=shapes[1])


def predictors(key: jax.Array, teacher: dict, student: dict):
    """The untrained densities of the teacher's maps given the student's."""
    channels = [
        [outputs[f"teacher_map_{i}"].shape[-1] for i in range(3)]
        for outputs in (teacher, student)
    ]
    return vid_predictors(
        key, teacher_channels=channels[0], student_channels=channels[1]
    )


def way_of(config: Config, name: str, taught_by: Model, target: Task) -> Way:
    """One of `METHODS` with a teacher, for a target; of ReFilled the second stage."""
    logits, network = teacher_outputs.logits, taught_by.network
    if name in WAYS:
        return WAYS[name](config, network, target)
    if name == "Ours":
        return sinkhorn_way(config, costs(config, network, target.train))
    if name == "Ours, lambda matched":
        cost = costs(config, network, target.train)
        weight = matched_weight(config, network, cost, target)
        return sinkhorn_way(config, cost, weight=weight)
    if name in ("KD", "SFTN"):
        loss = SoftTargetLoss(config.temperature, config.weight)
        return Way(
            f"kd-{loss.temperature:g}-{loss.weight:g}", transfer.Method(logits, loss)
        )
    if name == "BAN":
        return Way("ban", transfer.Method(logits, SoftTargetLoss(1.0, 1.0)))
    if name == "FitNet":
        method = transfer.Method(teacher_middle_map, hint_loss, extras=regressor)
        return Way("fitnet", method)
    if name == "VID":
        method = transfer.Method(teacher_maps, information_loss, extras=predictors)
        return Way("vid", method)
    if name == "RKD":
        return Way("rkd", transfer.Method(teacher_embedding, relation_loss))
    if name in REFILLED_WEIGHTS:
        weight = REFILLED_WEIGHTS[name]
        method = transfer.Method(
            teacher_embedding,
            LocalClassifierLoss(weight),
            constants=refilled_constants(network, target),
        )
        return Way(f"refilled-2-{weight:g}", method)
    raise ValueError(f"There is no method {name!r}.")


def train_student(
    config: Config,
    name: str,
    shape: tuple[str, int | None],
    taught_by: Model,
    target: Task,
    *,
    seed: int,
    source: Task | None = None,
) -> Model:
    """Trains a student of a teacher by one of `METHODS`, or reads it.

    ReFilled trains the embedding first and then, as long again, the whole network; a
    student alone for as long stands beside it. SFTN is KD of a teacher that was trained
    with branches of this student.
    """
    settings = config.student_training
    if name == "Student":
        return train_alone(config, shape, target.train, settings, seed=seed)
    if name == "Student, twice as long":
        settings = dataclasses.replace(settings, num_epochs=2 * settings.num_epochs)
        return train_alone(config, shape, target.train, settings, seed=seed)
    if name == "SFTN":
        taught_by = train_sftn_teacher(config, taught_by, shape, source)
    way, start = way_of(config, name, taught_by, target), None
    recipe = None
    if name in REFILLED_WEIGHTS:
        first = transfer.Method(
            teacher_embedding,
            triplet_loss,
            constants=refilled_constants(taught_by.network, target),
        )
        start = train_taught(
            config,
            shape,
            target.train,
            Way("refilled-1", first),
            settings,
            seed=seed,
            taught_by=taught_by,
            recipe=refilled_recipe(settings, transfer.Cosine(last=0.1)),
        )
        recipe = refilled_recipe(settings, (0.5, 0.7, 0.9))
    return train_taught(
        config,
        shape,
        target.train,
        way,
        settings,
        seed=seed,
        taught_by=taught_by,
        start=start,
        recipe=recipe,
    )


def matched_weight(
    config: Config, network: Network, cost: jax.Array, target: Task
) -> float:
    """The weight whose gradients are as long as those of soft targets of one weight.

    The mean length over the training images, by the logits of a student whose answers
    are uniform: of teacher and cost alone, before any student is trained. Two digits.
    """
    _, teacher = embedding_and_logits(network, target.train.images)
    uniform = jnp.zeros((len(teacher), cost.shape[1]))

    def length(loss: Callable[[jax.Array], jax.Array]) -> float:
        slopes = len(teacher) * jax.grad(loss)(uniform)
        return float(jnp.mean(jnp.linalg.norm(slopes, axis=1)))

    settings = {"temperature": config.temperature, "epsilon": config.epsilon}
    soft_targets = length(
        lambda logits: distillation.soft_targets(
            teacher, logits, temperature=config.temperature
        )
    )
    transport = length(
        lambda logits: distillation.sinkhorn_matching(
            teacher, logits, cost, **settings, max_iterations=2000
        )
    )
    return float(f"{config.weight * soft_targets / transport:.2g}")


def refilled_constants(network: Network, target: Task) -> dict:
    """The teacher's centres of a target's classes, and their mean."""
    means = centers(network, target.train, scaled=False)
    return {"teacher_centers": means, "teacher_mean": means.mean(axis=0)}


def refilled_recipe(settings: Training, decay) -> transfer.StudentRecipe:
    """The released schedule of a stage: Nesterov's momentum, and its own falls."""
    momentum = transfer.Nesterov(
        momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    recipe = recipe_taught(settings)
    return dataclasses.replace(recipe, decay_at=decay, optimizer=momentum)


def student_accuracy(
    config: Config,
    name: str,
    shape: tuple[str, int | None],
    taught_by: Model,
    target: Task,
    *,
    seed: int,
    source: Task | None = None,
) -> Value:
    """The test accuracy of a student of a teacher, which is trained if need be.

    Args:
      config: the settings.
      name: one of `METHODS`.
      shape: of the student.
      taught_by: the teacher.
      target: what the student learns.
      seed: of the student.
      source: what the teacher has learnt, for a method that trains it anew.
    """
    student = train_student(
        config, name, shape, taught_by, target, seed=seed, source=source
    )
    return accuracy(student, target.test)
