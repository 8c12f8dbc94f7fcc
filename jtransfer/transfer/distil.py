"""From a teacher and images to a trained student: the settings of a run and the run."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jtransfer import data, models, networks, training
from jtransfer._internal.errors import DataError
from jtransfer._internal.provenance import images_fingerprint
from jtransfer.data import Images
from jtransfer.networks import Architecture, Network
from jtransfer.transfer import _fingerprints, fine_tune, teacher_outputs
from jtransfer.transfer._run_folder import run_folder
from jtransfer.transfer._student_steps import Augmented, BesideExtras, TaughtInside
from jtransfer.transfer.losses import Method, student_objective
from jtransfer.transfer.student_recipes import StudentRecipe, student_optimizer


def distil_student(
    teacher: Network,
    architecture: Architecture,
    train: Images,
    test: Images | None,
    *,
    method: Method,
    recipe: StudentRecipe,
    folder: Path,
    cache: Path,
    seed: int,
    facts: dict,
    start: Network | None = None,
) -> Network:
    """Trains a student of a teacher and writes it; a killed run goes on where it was.

    The student sees images as its teacher does: normalised by the teacher's statistics,
    which become its own, and augmented only where the recipe says so. The test images
    are looked at once, for the fact `source_accuracy`. Checkpoints come with every
    tenth of the run.

    Args:
      teacher: the teacher.
      architecture: of the student.
      train: training images, of the teacher's size and channels.
      test: test images of the same classes; None leaves the accuracy out.
      method: see `jtransfer.transfer`.
      recipe: how to train.
      folder: gets checkpoints, a log, and the network, without a second head.
      cache: where the teacher's outputs lie, see `compute_teacher_outputs`.
      seed: of weights and order.
      facts: what else to record of the network.
      start: a network of the student's architecture to begin with, in place of weights
        drawn at random.

    Returns:
      The student.

    Raises:
      DataError: if the images fit neither network, the classes not the method, or
        `start` not the student.
      ValueError: if the recipe augments images whose outputs the method has at hand.
      NonFiniteLoss: if training diverges.
    """
    _check_classes(teacher, train, test, method)
    for part in filter(None, (train, test)):
        teacher_outputs.check_fit(teacher.architecture, part.images)
    if recipe.padding and method.arrays:
        raise ValueError(
            f"The entries {', '.join(method.arrays)} belong to the images as they are; "
            "train without padding."
        )
    student = _student(teacher, architecture, method, seed)
    _, variables = models.functional(student)
    if start is not None:
        _check_start(start, architecture, method)
        variables = start.variables
    identity = _identity(
        teacher, architecture, train, method=method, recipe=recipe, seed=seed
    )
    identity["start"] = start and _fingerprints.network_fingerprint(start)
    with run_folder(folder, "student.json", identity):
        best = _fit_student(
            teacher,
            student,
            variables,
            train,
            method=method,
            recipe=recipe,
            folder=folder,
            cache=cache,
            seed=seed,
        )
        network = Network(
            architecture, best, teacher.statistics, train.class_names, dict(facts)
        )
        if test is not None:
            hits = fine_tune.is_classified_correctly(network, test.images, test.labels)
            network.facts["source_accuracy"] = float(np.mean(hits))
        network.facts.update(
            parameters=networks.count(best),
            **{name: identity[name] for name in ("loss", "outputs", "recipe", "seed")},
            teacher_digest=identity["teacher"],
        )
        networks.write_network(folder, network)
        return network


def _identity(teacher, architecture, train, *, method, recipe, seed) -> dict:
    """Everything that decides the weights of a student, by name, as JSON has it."""
    identity_of = _fingerprints.function_identity
    return {
        "architecture": dataclasses.asdict(architecture),
        "recipe": {
            **dataclasses.asdict(recipe),
            "optimizer": identity_of(recipe.optimizer),
        },
        "seed": seed,
        "loss": identity_of(method.loss),
        "outputs": identity_of(method.outputs),
        "extras": method.extras and identity_of(method.extras),
        **({"memory": identity_of(method.memory)} if method.memory else {}),
        "teacher": _fingerprints.network_fingerprint(teacher),
        "images": images_fingerprint(train.images, train.labels),
        "inputs": _fingerprints.inputs_fingerprint(method.constants, method.arrays),
    }


def _fit_student(
    teacher, student, variables, train, *, method, recipe, folder, cache, seed
) -> models.Variables:
    """Trains a student; its variables have neither extras nor a second head."""
    num_train = len(train.labels)
    indices = np.arange(num_train, dtype=np.int32)
    arrays = {"images": train.images, "labels": train.labels, "indices": indices}
    arrays |= method.arrays
    constants, loss = dict(method.constants), method.loss
    if recipe.padding:
        loss = TaughtInside(loss, method.outputs, teacher.architecture)
        constants["teacher"] = teacher.variables
    else:
        arrays |= teacher_outputs.compute_teacher_outputs(
            method.outputs, teacher, train.images, train.labels, folder=cache
        )
    preprocess = training.preprocessing(teacher.statistics)
    objective = student_objective(
        student, loss, preprocess=preprocess, remembers=method.memory is not None
    )
    if recipe.padding:
        objective = Augmented(objective, recipe.padding)
    if method.extras is not None:
        objective = BesideExtras(objective)
    params, stats = variables
    if method.extras is not None or method.memory is not None:
        key = jax.random.key(seed)
        samples = _samples(method, teacher, student, variables, train)
        if method.extras is not None:
            params = {"network": params, "extras": method.extras(key, *samples)}
        if method.memory is not None:
            memory = method.memory(jax.random.fold_in(key, 1), *samples, num_train)
            stats = {"network": stats, "memory": memory}
    batch_size = min(recipe.batch_size, num_train)
    num_steps = recipe.num_epochs * max(1, num_train // batch_size)
    result = training.fit(
        objective,
        models.Variables(params, stats),
        arrays,
        constants=constants,
        optimizer=student_optimizer(recipe, num_steps),
        num_steps=num_steps,
        batch_size=batch_size,
        seed=seed,
        checkpoints=training.Checkpoints(folder=folder, every=-(-num_steps // 10)),
    )
    params, stats = result.best
    if method.extras is not None:
        params = params["network"]
    if method.memory is not None:
        stats = stats["network"]
    if method.second_head:
        params, stats = (part.get("body", {}) for part in (params, stats))
    return models.Variables(params, stats)


def _samples(method, teacher, student, variables, train):
    """Returns the outputs of teacher and student for two images."""
    few = train.images[:2], train.labels[:2]
    ask = teacher_outputs.compiled_outputs(method.outputs, teacher.architecture)
    of_teacher = ask(teacher.variables, teacher.statistics, *few)
    apply_fn, _ = models.functional(student)
    flat = networks.takes_vectors(student)

    def f(x):
        return apply_fn(variables, x.reshape(len(x), -1) if flat else x)

    x = data.normalized(
        few[0], mean=teacher.statistics.mean, std=teacher.statistics.std
    )
    return of_teacher, method.outputs(f, x, few[1])


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


def _check_start(start: Network, architecture: Architecture, method: Method) -> None:
    if method.second_head or start.architecture != architecture:
        raise DataError(
            f"A {start.architecture.model} cannot be the start of this student: it "
            "must be of the student's architecture, which has no second head."
        )


def _check_classes(
    teacher: Network, train: Images, test: Images | None, method: Method
) -> None:
    if test is not None and train.class_names != test.class_names:
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
