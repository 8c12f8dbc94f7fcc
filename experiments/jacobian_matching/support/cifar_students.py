"""A VGG-9 that has learnt CIFAR-100, and VGG-4s that learn from it.

Functions take the `Config` of `table1_few_images.py`.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from flax import nnx

from experiments import harness
from experiments.jacobian_matching.support import losses, training
from jtransfer import data, models, networks, transfer
from jtransfer.networks import Architecture, Network
from jtransfer.training import evaluated, preprocessing, supervised
from jtransfer.transfer import teacher_outputs


class Lesson(NamedTuple):
    """The data, the teacher, and how both networks take images."""

    train: data.Images
    test: data.Images
    teacher: Network
    apply_fn: Callable
    """Of the teacher."""
    preprocess: Callable


class Way(NamedTuple):
    """A way of learning: a loss, and the outputs of the teacher that it needs."""

    name: str
    loss: Callable
    outputs: Callable
    """The teacher's, see `jtransfer.transfer.teacher_outputs`."""


class Run(NamedTuple):
    """A trained student and the log of its training."""

    apply_fn: Callable
    variables: models.Variables
    history: list[dict]


def prepare_lesson(config) -> Lesson:
    """Reads the data, and trains the teacher or reads it too."""
    train, test = training.task(
        "cifar100",
        data_dir=config.data_dir,
        num_classes=config.num_classes,
        num_train=config.num_train,
        num_test=config.num_test,
    )
    architecture = Architecture(
        model="vgg9",
        num_classes=len(train.class_names),
        base_width=config.teacher_width,
    )
    model = networks.model(architecture, rngs=nnx.Rngs(0))
    apply_fn, variables = models.functional(model)
    statistics = data.channel_statistics(train.images)
    augmenting = preprocessing(statistics, augment=data.augmented)
    result = training.fit(
        supervised(models.trainable(model)[0], preprocess=augmenting),
        variables,
        {"images": train.images, "labels": train.labels},
        plan=config.teacher,
        seed=0,
        folder=config.out / "teacher",
        made_of=[dataclasses.asdict(architecture), len(train.labels)],
    )
    teacher = Network(architecture, result.best, statistics, train.class_names, {})
    preprocess = preprocessing(statistics)
    return Lesson(train, test, teacher, apply_fn, preprocess)


def test_accuracy(lesson: Lesson, apply_fn: Callable, variables) -> harness.Value:
    """The accuracy of a network on the test images."""
    images, labels, _ = lesson.test
    measured = evaluated(
        apply_fn, variables, images, labels, preprocess=lesson.preprocess
    )
    return training.accuracy(measured["accuracy"], len(labels))


def student_accuracy(
    config, lesson: Lesson, way: Way, size: int, seed: int
) -> harness.Value:
    """The test accuracy of one student, which is trained if need be."""
    run = train_student(config, lesson, way, size, seed)
    return test_accuracy(lesson, run.apply_fn, run.variables)


def train_student(config, lesson: Lesson, way: Way, size: int, seed: int) -> Run:
    """Trains a VGG-4 on a few images a class, or reads its checkpoint."""
    images = subset(lesson, size, seed)
    model = models.VGG(
        depth=4,
        num_classes=len(images.class_names),
        base_width=config.student_width,
        rngs=nnx.Rngs(seed),
    )
    apply_fn, variables = models.functional(model)
    objective = transfer.student_objective(
        model, way.loss, preprocess=lesson.preprocess
    )
    result = training.fit(
        losses.Keyed(objective),
        variables,
        {
            "images": images.images,
            "labels": images.labels,
            **teacher_answers(config, lesson, way, size, seed),
        },
        plan=dict(config.student)[size],
        seed=seed,
        folder=config.out / "students" / f"{size}-{seed}",
        made_of=[way.name, harness.settings(config)],
        constants={"teacher_variables": lesson.teacher.variables},
    )
    return Run(apply_fn, result.best, result.history)


def subset(lesson: Lesson, size: int, seed: int) -> data.Images:
    """The training images of a student."""
    chosen = data.per_class_subset(
        lesson.train.labels,
        per_class=size,
        num_classes=len(lesson.train.class_names),
        seed=seed,
    )
    return data.examples_at(lesson.train, chosen)


def teacher_answers(
    config, lesson: Lesson, way: Way, size: int, seed: int
) -> dict[str, np.ndarray]:
    """The teacher's outputs for a student's images, computed once."""
    images = subset(lesson, size, seed)
    return teacher_outputs.compute_teacher_outputs(
        way.outputs,
        lesson.teacher,
        images.images,
        images.labels,
        folder=config.out / "outputs",
        progress=False,
    )


def weighted(
    name: str,
    weights: tuple[float, float, float],
    outputs: Callable = teacher_outputs.label_jacobian,
) -> Way:
    """One of the printed losses: weights of labels, activations and Jacobians."""
    method = transfer.activations_and_jacobians_method(
        label_weight=weights[0],
        logits_weight=weights[1],
        jacobian_weight=weights[2],
        outputs=outputs,
        chunk_size=20,
    )
    return Way(name, method.loss, method.outputs)
