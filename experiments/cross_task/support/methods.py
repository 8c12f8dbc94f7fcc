"""The methods that are compared, with the weights that the paper or much code states.

The paper does not say with which weights it ran the baselines: KD has the one of
Eq. (11), FitNet 100, VID 1, RKD 25 (distances) and 50 (angles), ReFilled 1000 and 100,
with a tenth of the learning rate: with all of it, it ends at chance.
"""

import dataclasses

import jax

from experiments.cross_task.support.outputs import (
    centers,
    costs,
    teacher_embedding,
    teacher_maps,
    teacher_middle_map,
)
from experiments.cross_task.support.settings import Config, Task
from experiments.cross_task.support.training import (
    Way,
    accuracy,
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
from jtransfer.transfer import losses, teacher_outputs

METHODS = ("Student", "KD", "BAN", "FitNet", "VID", "RKD", "ReFilled", "Ours")
NOT_HERE = ("AML", "MGD", "WCoRD", "SFTN", "AFD", "SEED", "SSKD")
"""Baselines of the paper that the package does not have."""


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
    pair = batch["teacher_embedding"], student.out["embedding"]
    return 1000 * distillation.match_triplets(*pair, batch["labels"]), {}


def local_classifier_loss(student: transfer.Student, batch: dict):
    """Labels, and answers by the teacher's centres: the second stage of ReFilled."""

    def local_classifiers():
        return distillation.match_local_classifiers(
            batch["teacher_embedding"],
            batch["teacher_centers"],
            student.logits,
            batch["labels"],
        )

    terms = {"local_classifiers": (100.0, local_classifiers)}
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
    if name == "Ours":
        return sinkhorn_way(config, costs(config, network, target.train))
    if name == "KD":
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
    if name == "ReFilled":
        constants = {"teacher_centers": centers(network, target.train)}
        method = transfer.Method(
            teacher_embedding, local_classifier_loss, constants=constants
        )
        return Way("refilled-2", method)
    raise ValueError(f"There is no method {name!r}.")


def train_student(
    config: Config,
    name: str,
    shape: tuple[str, int | None],
    taught_by: Model,
    target: Task,
    *,
    seed: int,
) -> Model:
    """Trains a student of a teacher by one of `METHODS`, or reads it.

    ReFilled trains the embedding first and then, as long again, the whole network.
    """
    settings = config.student_training
    if name == "Student":
        return train_alone(config, shape, target.train, settings, seed=seed)
    way, start = way_of(config, name, taught_by, target), None
    if name == "ReFilled":
        rate = settings.learning_rate / 10
        settings = dataclasses.replace(settings, learning_rate=rate)
        first = Way("refilled-1", transfer.Method(teacher_embedding, triplet_loss))
        start = train_taught(
            config, shape, target.train, first, settings, seed=seed, taught_by=taught_by
        )
    return train_taught(
        config,
        shape,
        target.train,
        way,
        settings,
        seed=seed,
        taught_by=taught_by,
        start=start,
    )


def student_accuracy(
    config: Config,
    name: str,
    shape: tuple[str, int | None],
    taught_by: Model,
    target: Task,
    *,
    seed: int,
) -> Value:
    """The test accuracy of a student of a teacher, which is trained if need be."""
    student = train_student(config, name, shape, taught_by, target, seed=seed)
    return accuracy(student, target.test)
