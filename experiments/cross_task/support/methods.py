"""The methods that are compared, with the weights that the paper or much code states.

The paper does not say with which weights it ran the baselines: KD has the one of Eq.
(11), FitNet 100, VID 1, RKD 25 (distances) and 50 (angles), ReFilled 1000 and 100, with
a tenth of the learning rate: with all of it, it ends at chance.
"""

import csv
import dataclasses
import functools
from pathlib import Path

from experiments.cross_task.support.outputs import centers, class_cost
from experiments.cross_task.support.settings import Config, Task
from experiments.cross_task.support.training import (
    ALONE,
    SINKHORN,
    Method,
    Model,
    trained,
    transport_constants,
)
from jtransfer import distillation
from jtransfer.distillation import (
    activations,
    fitnet_loss,
    fitnet_regressor,
    vid_loss,
    vid_predictors,
)

MAPS = ("teacher_map_0", "teacher_map_1", "teacher_map_2")
NOT_HERE = ("AML", "MGD", "WCoRD", "SFTN", "AFD", "SEED", "SSKD")
"""Baselines of the paper that the package does not have."""


def _beside_labels(matching):
    """The loss of labels and of a matching term, one function for one term."""

    def loss(outputs, batch):
        value, parts = activations.cross_entropy(outputs, batch)
        return value + matching(outputs, batch), parts

    return loss


def _kd(outputs, batch):
    temperature, weight = batch["temperature"], batch["weight"]
    soft = distillation.soft_targets(
        batch["teacher_logits"], outputs[0], temperature=temperature
    )
    return weight * soft


def _ban(outputs, batch):
    return distillation.soft_targets(
        batch["teacher_logits"], outputs[0], temperature=1.0
    )


def _rkd(outputs, batch):
    pair = batch["teacher_embedding"], outputs[1]["embedding"]
    return 25 * distillation.match_distances(*pair) + 50 * distillation.match_angles(
        *pair
    )


def _fitnet(outputs, batch):
    student = outputs[1]["feature_maps"][-2]
    return 100 * fitnet_loss(outputs[1]["extras"], batch["teacher_map_1"], student)


def _regressor(key, teacher, student):
    shapes = (said["teacher_map_1"].shape[1:] for said in (teacher, student))
    return fitnet_regressor(
        key, **dict(zip(("teacher_shape", "student_shape"), shapes, strict=True))
    )


def _vid(outputs, batch):
    teacher = [batch[name] for name in MAPS]
    return vid_loss(outputs[1]["extras"], teacher, outputs[1]["feature_maps"][-3:])


def _predictors(key, teacher, student):
    return vid_predictors(
        key,
        teacher_channels=[teacher[name].shape[-1] for name in MAPS],
        student_channels=[student[name].shape[-1] for name in MAPS],
    )


def _triplets(outputs, batch):
    pair = batch["teacher_embedding"], outputs[1]["embedding"]
    return 1000 * distillation.match_triplets(*pair, batch["labels"]), {}


def _local_classifiers(outputs, batch):
    return 100 * distillation.match_local_classifiers(
        batch["teacher_embedding"],
        batch["teacher_centers"],
        outputs[0],
        batch["labels"],
    )


_TRIPLETS = Method("refilled 1", _triplets, ("teacher_embedding",))
_LOCAL = Method(
    "refilled 2", _beside_labels(_local_classifiers), ("teacher_embedding",)
)
METHODS = {
    "Student": ALONE,
    "KD": Method("kd", _beside_labels(_kd), ("teacher_logits",)),
    "BAN": Method("ban", _beside_labels(_ban), ("teacher_logits",)),
    "FitNet": Method("fitnet", _beside_labels(_fitnet), MAPS[1:2], _regressor),
    "VID": Method("vid", _beside_labels(_vid), MAPS, _predictors),
    "RKD": Method("rkd", _beside_labels(_rkd), ("teacher_embedding",)),
    "ReFilled": _LOCAL,
    "Ours": SINKHORN,
}


def student(
    config: Config,
    name: str,
    shape: tuple[str, int | None],
    taught_by: Model,
    target: Task,
    *,
    seed: int,
) -> Model:
    """A student of a teacher by one of `METHODS`, with half the work for one stage.

    ReFilled trains the embedding first and then, as long again, the whole network.
    """
    fit = functools.partial(
        trained,
        config,
        shape,
        target.train,
        settings=config.student_training,
        seed=seed,
    )
    if name == "Student":
        return fit(METHODS[name])
    fit = functools.partial(fit, taught_by=taught_by)
    network = taught_by.network
    if name == "Ours":
        cost = class_cost(network, target.train)
        return fit(METHODS[name], constants=transport_constants(config, cost))
    if name == "KD":
        settings = transport_constants(config, cost=0.0)
        return fit(
            METHODS[name],
            constants={k: settings[k] for k in ("temperature", "weight")},
        )
    if name == "ReFilled":
        rate = config.student_training.learning_rate / 10
        settings = dataclasses.replace(config.student_training, learning_rate=rate)
        own = {"teacher_centers": centers(network, target.train)}
        first = fit(_TRIPLETS, settings=settings)
        return fit(METHODS[name], constants=own, start=first, settings=settings)
    return fit(METHODS[name])


def printed(file: str) -> dict[tuple[str, str], tuple[float, ...]]:
    """What the paper prints, by the first two columns of a file beside the scripts."""
    with (Path(__file__).parent / file).open(encoding="utf-8") as lines:
        rows = list(csv.reader(lines))[1:]
    return {
        (row[0], row[1]): tuple(float(x) / 100 if x else None for x in row[2:])
        for row in rows
    }
