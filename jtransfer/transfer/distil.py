"""From a teacher and images to a trained student: the settings of a run and the run."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jtransfer import models, networks, training
from jtransfer._internal.errors import DataError
from jtransfer._internal.provenance import images_fingerprint
from jtransfer.data import Images
from jtransfer.networks import Architecture, Network
from jtransfer.transfer import _fingerprints, fine_tune, teacher_outputs
from jtransfer.transfer._run_folder import run_folder
from jtransfer.transfer.losses import Method, student_objective


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentRecipe:
    """Settings of a student's training: Adam with one decay, no augmentation."""

    num_epochs: int
    learning_rate: float = 1e-3
    decay_at: float = 0.8
    """After which part of the run the rate falls by `decay_factor`."""
    decay_factor: float = 0.1
    batch_size: int = 128


STUDENT_PRESETS = {
    "cpu": StudentRecipe(num_epochs=20),
    "paper": StudentRecipe(num_epochs=500),
}
"""`cpu`: minutes on two cores with a narrow network; `paper`: the CIFAR recipe of
knowledge transfer with Jacobian matching, supplement, "Optimization"."""


class SharedMap(NamedTuple):
    """Two layers whose feature maps have the same size."""

    teacher_layer: int
    student_layer: int
    size: int


def shared_maps(teacher: Architecture, student: Architecture) -> list[SharedMap]:
    """Returns the pairs of feature maps of teacher and student that have one size.

    Args:
      teacher: with the size of the images.
      student: any architecture.

    Returns:
      Places in their `feature_maps`: large maps first, and of one size the deepest,
      the end of a block.

    Example:
      >>> teacher = Architecture(model="resnet18", num_classes=10, base_width=1)
      >>> student = Architecture(model="vgg4", num_classes=5, base_width=1)
      >>> shared_maps(teacher, student)[0]
      SharedMap(teacher_layer=1, student_layer=0, size=16)
    """
    sizes, others = (_map_sizes(a, teacher.image_size) for a in (teacher, student))
    pairs = [
        SharedMap(i, j, size)
        for i, size in enumerate(sizes)
        for j, other in enumerate(others)
        if size == other
    ]
    return sorted(pairs, key=_depth, reverse=True)


def _depth(pair: SharedMap) -> tuple[int, int, int]:
    return pair.size, pair.teacher_layer, pair.student_layer


def _map_sizes(architecture: Architecture, side: int) -> list[int]:
    """Side of each feature map for images of a side; none where there are no maps."""
    apply_fn, variables, flat = networks.abstract(architecture)
    if flat:
        return []
    x = jax.ShapeDtypeStruct((1, side, side, architecture.num_channels), jnp.float32)
    maps = jax.eval_shape(apply_fn, variables, x)[1]["feature_maps"]
    return [feature_map.shape[1] for feature_map in maps]


def distil_student(
    teacher: Network,
    architecture: Architecture,
    train: Images,
    test: Images,
    *,
    method: Method,
    recipe: StudentRecipe,
    folder: Path,
    cache: Path,
    seed: int,
    facts: dict,
) -> Network:
    """Trains a student of a teacher and writes it; a killed run goes on where it was.

    The student sees images as its teacher does: normalised by the teacher's statistics,
    which become its own. They are not augmented, since what the teacher says about
    them is computed once. The variables are those after the last step: where images are
    few, none can be held out to choose a better one. The test images are looked at
    once, for the fact `source_accuracy`. Checkpoints come with every tenth of the run.

    Args:
      teacher: the teacher.
      architecture: of the student.
      train: training images, of the teacher's size and channels.
      test: test images of the same classes.
      method: see `jtransfer.transfer`.
      recipe: how to train.
      folder: gets checkpoints, a log, and the network, without a second head.
      cache: where the teacher's outputs lie, see `compute_teacher_outputs`.
      seed: of weights and order.
      facts: what else to record of the network.

    Returns:
      The student.

    Raises:
      DataError: if the images fit neither network, or the classes not the method.
      NonFiniteLoss: if training diverges.
    """
    _check_classes(teacher, train, test, method)
    for part in (train, test):
        teacher_outputs.check_fit(teacher.architecture, part.images)
    student = _student(teacher, architecture, method, seed)
    _, variables = models.functional(student)
    identity = {
        "architecture": dataclasses.asdict(architecture),
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "loss": _fingerprints.function_identity(method.loss),
        "outputs": _fingerprints.function_identity(method.outputs),
        "teacher": _fingerprints.network_fingerprint(teacher),
        "images": images_fingerprint(train.images, train.labels),
        "inputs": _fingerprints.inputs_fingerprint(method.constants, method.arrays),
    }
    with run_folder(folder, "student.json", identity):
        teacher_arrays = teacher_outputs.compute_teacher_outputs(
            method.outputs, teacher, train.images, train.labels, folder=cache
        )
        preprocess = training.preprocessing(teacher.statistics)
        num_train = len(train.labels)
        batch_size = min(recipe.batch_size, num_train)
        num_steps = recipe.num_epochs * max(1, num_train // batch_size)
        result = training.fit(
            student_objective(student, method.loss, preprocess=preprocess),
            variables,
            {
                "images": train.images,
                "labels": train.labels,
                **teacher_arrays,
                **method.arrays,
            },
            constants=method.constants,
            optimizer=_optimizer(recipe, num_steps),
            num_steps=num_steps,
            batch_size=batch_size,
            seed=seed,
            checkpoints=training.Checkpoints(folder=folder, every=-(-num_steps // 10)),
        )
        best = result.best
        if method.second_head:
            best = models.Variables(*(part.get("body", {}) for part in best))
        network = Network(
            architecture, best, teacher.statistics, train.class_names, dict(facts)
        )
        hits = fine_tune.is_classified_correctly(network, test.images, test.labels)
        network.facts.update(
            parameters=networks.count(best),
            source_accuracy=float(np.mean(hits)),
            **{name: identity[name] for name in ("loss", "outputs", "recipe", "seed")},
            teacher_digest=identity["teacher"],
        )
        networks.write_network(folder, network)
        return network


def _student(teacher, architecture: Architecture, method: Method, seed: int):
    """The untrained student, after a look at whether the images are large enough."""
    rngs = nnx.Rngs(seed)
    student = networks.model(architecture, rngs=rngs)
    if method.second_head:
        student = models.TwoHeaded(
            student, num_teacher_classes=teacher.architecture.num_classes, rngs=rngs
        )
    side, channels = teacher.architecture.image_size, architecture.num_channels
    shape = (1, side, side, channels)
    if networks.takes_vectors(student):
        shape = (1, side * side * channels)
    apply_fn, variables = models.functional(student)
    try:
        jax.eval_shape(apply_fn, variables, jax.ShapeDtypeStruct(shape, jnp.float32))
    except ValueError as error:
        raise DataError(
            f"A {architecture.model} cannot be the student: {error}"
        ) from error
    return student


def _optimizer(recipe: StudentRecipe, num_steps: int):
    import optax

    falls = round(recipe.decay_at * num_steps)
    falls = {falls: recipe.decay_factor}
    return optax.adam(optax.piecewise_constant_schedule(recipe.learning_rate, falls))


def _check_classes(teacher: Network, train: Images, test: Images, method: Method):
    if train.class_names != test.class_names:
        raise DataError(
            f"The training images have the classes {_few(train.class_names)}, the test "
            f"images {_few(test.class_names)}."
        )
    if method.same_classes and train.class_names != teacher.class_names:
        raise DataError(
            f"The teacher knows {_few(teacher.class_names)}, the images are of "
            f"{_few(train.class_names)}; take a method for other classes."
        )


def _few(names) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} ... ({len(names)})" if len(names) > 3 else shown
