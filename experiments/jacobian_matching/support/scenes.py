"""A teacher of many classes, and students that learn scenes from it.

The teacher is the EfficientNet-Lite0 of ImageNet, four of whose seven stages have the
sizes of the student's maps after the second to the fifth max-pooling, at any size of
the images; or a residual network with the stem for large images, whose four stages
have, as in the paper.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx

from experiments import harness
from experiments.jacobian_matching.support import training
from experiments.jacobian_matching.support.scene_settings import CPU as CPU
from experiments.jacobian_matching.support.scene_settings import PAPER as PAPER
from experiments.jacobian_matching.support.scene_settings import SMOKE as SMOKE
from experiments.jacobian_matching.support.scene_settings import Config as Config
from jtransfer import data, distillation, models, networks, transfer
from jtransfer.networks import pretrained
from jtransfer.training import evaluated, preprocessing, supervised

LITE_STAGES = (1, 2, 4, 6)
"""Of EfficientNet-Lite0: the last ones of each size of map."""
NUM_MAPS = 4
"""Of the teacher, from the shallowest on; the student has one before them."""


class Lesson(NamedTuple):
    """Scenes, the teacher, and variables of a student that has learnt the source."""

    train: data.Images
    test: data.Images
    num_source_classes: int
    teacher_fn: Callable
    teacher_variables: models.Variables
    oracle: models.Variables
    preprocess: Callable


def prepare_lesson(config: Config) -> Lesson:
    """Reads the data and trains teacher and oracle on the source, or reads them too."""
    source = data.load(
        config.source,
        "train",
        data_dir=config.data_dir,
        image_size=config.source_size,
        num_channels=3,
    )
    order = data.block_balanced_order(source.labels, seed=0)
    source = data.examples_at(source, order[: config.num_source])
    train, test = training.task(
        config.target,
        data_dir=config.data_dir,
        num_test=config.num_test,
        image_size=config.target_size,
        num_channels=3,
    )
    num_classes = len(source.class_names)
    if config.teacher_depth is None:
        lite = pretrained.efficientnet_lite(0)
        statistics, variables = lite.statistics, lite.variables
        teacher_fn, count = lite_teacher(lite.architecture), len(lite.class_names)
    else:
        statistics, count = data.channel_statistics(source.images), num_classes
        teacher_fn, variables = pretrain(
            config,
            source,
            statistics,
            "teacher",
            models.ResNet(
                depth=config.teacher_depth,
                num_classes=num_classes,
                base_width=config.teacher_width,
                imagenet_stem=True,
                rngs=nnx.Rngs(0),
            ),
        )
    _, oracle = pretrain(
        config,
        source,
        statistics,
        "oracle",
        models.VGG(
            depth=9,
            num_classes=num_classes,
            base_width=config.student_width,
            rngs=nnx.Rngs(0),
        ),
    )
    preprocess = preprocessing(statistics)
    return Lesson(train, test, count, teacher_fn, variables, oracle, preprocess)


@functools.cache
def lite_teacher(architecture) -> Callable:
    """The function of an EfficientNet-Lite0 with the maps that students match."""
    apply_fn, _ = networks.apply_fn_of(architecture)

    def teacher_fn(variables, x):
        """Logits and the last map of each size."""
        logits, out = apply_fn(variables, x)
        maps = tuple(out["feature_maps"][stage] for stage in LITE_STAGES)
        return logits, {**out, "feature_maps": maps}

    return teacher_fn


def pretrain(config, source, statistics, name, model) -> tuple:
    """Trains a network on the source; returns its `apply_fn` and variables."""
    apply_fn, variables = models.functional(model)
    preprocess = preprocessing(statistics, augment=data.augmented)
    result = training.fit(
        supervised(models.trainable(model)[0], preprocess=preprocess),
        variables,
        {"images": source.images, "labels": source.labels},
        plan=config.pretraining,
        seed=0,
        folder=config.out / f"scenes-{name}",
        made_of=[
            config.source,
            config.source_size,
            config.num_source,
            config.teacher_depth,
            config.teacher_width,
            config.student_width,
        ],
    )
    return apply_fn, result.best


def subset(lesson: Lesson, size: int | None, seed: int) -> data.Images:
    """So many scenes of each class; all if None."""
    if size is None:
        return lesson.train
    chosen = data.per_class_subset(
        lesson.train.labels,
        per_class=size,
        num_classes=len(lesson.train.class_names),
        seed=seed,
    )
    return data.examples_at(lesson.train, chosen)


def map_side(lesson: Lesson, level: int) -> int:
    """The side of a map of the teacher, which is that of the student's next map."""
    return lesson.train.images.shape[1] // 2 ** (level + 2)


def attention(f: Callable, x: jax.Array, *, level: int, window: int) -> dict:
    """The teacher's logits, attention maps and their peak for one image."""
    logits, out = f(x)
    maps = [distillation.attention_map(features) for features in out["feature_maps"]]
    peak = distillation.attention_peak_gradient(
        lambda x: f(x)[1]["feature_maps"][level], x, window=window
    )
    return {
        "teacher_logits": logits,
        "teacher_peaks": peak.index,
        "teacher_gradients": peak.gradient,
        **{f"teacher_map_{i}": one for i, one in enumerate(maps)},
    }


def largest_output(f: Callable, x: jax.Array) -> dict:
    """The teacher's logits for one image, and the gradient of the largest."""
    largest = distillation.largest_output_gradient(lambda x: f(x)[0], x)
    return {
        "teacher_logits": f(x)[0],
        "teacher_largest": largest.index,
        "teacher_gradients": largest.gradient,
    }


def teacher_answers(lesson: Lesson, images: data.Images, ask: Callable) -> dict:
    """Outputs of the teacher for images, by one of the two functions above."""

    @jax.jit
    def batch(variables, x):
        f = functools.partial(lesson.teacher_fn, variables)
        return jax.vmap(functools.partial(ask, f))(x)

    parts = [
        jax.device_get(
            batch(
                lesson.teacher_variables,
                lesson.preprocess(images.images[start : start + 32], None),
            )
        )
        for start in range(0, len(images.labels), 32)
    ]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


class Run(NamedTuple):
    """Accuracy of a trained student, and the fall of its Jacobian loss."""

    accuracy: harness.Value
    """On the test scenes, in percent."""
    reduction: float | None
    """The fall of the Jacobian loss from the first epoch to the last, in percent."""


def train_student(
    config: Config,
    lesson: Lesson,
    images: data.Images,
    answers: Callable[[], dict[str, np.ndarray]],
    loss: Callable,
    *,
    plan: training.Training,
    seed: int,
    name: str,
    from_oracle: bool = False,
) -> Run:
    """Trains and tests one two-headed student."""
    rngs = nnx.Rngs(seed)
    body = models.VGG(
        depth=9,
        num_classes=len(images.class_names),
        base_width=config.student_width,
        rngs=rngs,
    )
    model = models.TwoHeaded(
        body, num_teacher_classes=lesson.num_source_classes, rngs=rngs
    )
    apply_fn, variables = models.functional(model)
    objective = transfer.student_objective(model, loss, preprocess=lesson.preprocess)
    result = training.fit(
        objective,
        with_body(variables, lesson.oracle) if from_oracle else variables,
        {"images": images.images, "labels": images.labels, **answers()},
        plan=plan,
        seed=seed,
        folder=config.out / "scenes-students" / name.replace(" ", "-"),
        made_of=[name, len(images.labels), harness.settings(config)],
    )
    measured = evaluated(
        apply_fn,
        result.best,
        lesson.test.images,
        lesson.test.labels,
        preprocess=lesson.preprocess,
    )
    accuracy = training.accuracy(measured["accuracy"], len(lesson.test.labels))
    return Run(accuracy, reduction(result.history, len(images.labels), plan))


def accuracy_of(run: Callable[[], Run]) -> harness.Value:
    """The test accuracy of a student, which is trained if need be."""
    return run().accuracy


def reduction_of(run: Callable[[], Run]) -> harness.Value:
    """The fall of a student's Jacobian loss in percent."""
    return harness.Value(run().reduction)


def with_body(variables: models.Variables, oracle: models.Variables):
    """A student's variables with the body, not the classifier, of the oracle."""
    body = {**oracle.params, "classifier": variables.params["body"]["classifier"]}
    return models.Variables(
        {**variables.params, "body": body}, {**variables.stats, "body": oracle.stats}
    )


def reduction(history: list[dict], count: int, plan: training.Training):
    """The fall of the Jacobian loss from the first epoch to the last, in percent."""
    losses = [row["jacobians"] for row in history if "jacobians" in row]
    if not losses:
        return None
    epoch = -(-count // min(plan.batch_size, count))
    first, last = np.mean(losses[:epoch]), np.mean(losses[-epoch:])
    return float(100 * (1 - last / first))
