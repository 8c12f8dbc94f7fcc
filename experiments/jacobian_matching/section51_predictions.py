"""Section 5.1: what Proposition 3 predicts of learning without forgetting (LwF).

Run: `python -m experiments.jacobian_matching.section51_predictions cpu --data-dir DIR`
after `table2_noise.py` with the same preset, two of whose networks are the teachers
(they are trained if need be); a quarter of an hour on one core, and a killed run goes
on. Teachers know the first 20 classes of CIFAR-100, the source; targets are five of the
other classes each, all 80 in 16 targets, 20 images a class. A VGG-4 with two heads
learns a target from its labels, and with LwF from a teacher's logits for the same
images as well.

The paper derives three things and measures none. The smaller the Hausdorff distance
from the source to the target, the more LwF should gain: here in the teacher's
embedding, in units of its deviation, and beside it the mean distance to the nearest
image, which one outlier does not decide. Noise on the target's images can only lessen
that distance (the corollary), so that matching under noise should help. A teacher that
is smoother (one with a Jacobian penalty, of the same accuracy) should teach better.
Intervals are over the targets.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments import harness
from experiments.jacobian_matching import table2_noise
from experiments.jacobian_matching.support import losses, training
from experiments.sheets import Sheet, over_models, write_known, write_row
from jtransfer import data, distillation, models, transfer
from jtransfer.distillation import asymmetric_hausdorff
from jtransfer.training import evaluated, preprocessing

PLAIN, SMOOTH = "lambda 0", "lambda 0.01"
"""Rows of Table 2 whose networks are the teachers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the run."""

    teacher: table2_noise.Config
    """How the teachers are trained."""
    student_width: int
    student: training.Training
    per_target: int = 5
    """Classes of a target."""
    per_class: int = 20
    """Images of each."""
    num_targets: int = 16
    num_source: int = 1000
    """Test images of the source, from which distances are taken."""
    sigma: float = 0.1
    """Deviation of the noise."""
    data_dir: str | None = None
    out: Path = training.OUT
    results: Path = harness.RESULTS


def _sizes(preset: str, **changed) -> Config:
    return Config(teacher=table2_noise.PRESETS[preset][1], **changed)


PRESETS = {
    "smoke": (
        "seconds",
        _sizes(
            "smoke",
            student_width=1,
            student=training.Training(num_steps=2, batch_size=8),
            per_target=2,
            per_class=2,
            num_targets=4,
            num_source=20,
        ),
    ),
    "cpu": (
        "a quarter of an hour on one core",
        _sizes(
            "cpu",
            student_width=8,
            student=training.Training(num_steps=300, batch_size=50),
        ),
    ),
    "paper": (
        "an accelerator",
        _sizes(
            "paper",
            student_width=64,
            student=training.Training(num_steps=6000, batch_size=128),
        ),
    ),
}


class Teacher(NamedTuple):
    """A network that knows the source."""

    apply_fn: Callable
    variables: models.Variables


class Lesson(NamedTuple):
    """The source, its teachers, and how networks take images."""

    source: data.Images
    """Test images of the source."""
    teachers: dict[str, Teacher]
    preprocess: Callable


class Target(NamedTuple):
    """A few classes that the teachers do not know."""

    train: data.Images
    test: data.Images


@dataclasses.dataclass(frozen=True)
class NoisyLwf:
    """LwF with both networks on images under noise; labels with clean ones."""

    teacher_fn: Callable
    sigma: float

    def __call__(self, student: transfer.Student, batch) -> tuple[jax.Array, dict]:
        """Returns the value and its parts."""
        noise = jax.random.normal(batch["noise_key"], student.x.shape, student.x.dtype)
        x = student.x + self.sigma * noise
        logits = self.teacher_fn(batch["teacher_variables"], x)[0]
        matched = distillation.match_activations(
            logits, student.held(x)[1]["teacher_logits"]
        )
        own = distillation.cross_entropy(student.logits, batch["labels"])
        parts = {"cross_entropy": own, "activations": matched / logits.shape[1]}
        return losses.WEIGHT * sum(parts.values()), parts


def main(config: Config, preset: str) -> None:
    """Trains what is missing, and writes the rows."""
    # The folders of the run are this script's; the rest is the teachers' own.
    places = {"data_dir": config.data_dir, "out": config.out, "results": config.results}
    teacher = dataclasses.replace(config.teacher, **places)
    config = dataclasses.replace(config, teacher=teacher)
    lesson, targets = prepare(config)
    table = harness.Table(training.PAPER, "section51", preset, config.results)
    settings = {**harness.settings(config), "teacher": harness.settings(teacher)}
    sheet = Sheet(table, settings)
    rows = [
        write_target(config, sheet, lesson, target, number)
        for number, target in enumerate(targets)
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    write_predictions(sheet, columns)


def prepare(config: Config) -> tuple[Lesson, list[Target]]:
    """Reads the data, trains the teachers or reads them, and draws the targets."""
    count = config.teacher.num_classes or 20
    whole = [
        data.load("cifar100", split, data_dir=config.data_dir)
        for split in ("train", "test")
    ]
    train, test = training.task(
        "cifar100",
        data_dir=config.data_dir,
        num_classes=config.teacher.num_classes,
        num_train=config.teacher.num_train,
        num_test=config.teacher.num_test,
    )
    preprocess = preprocessing(data.channel_statistics(train.images))
    task = table2_noise.Task(train, test, preprocess)
    teachers = {
        name: Teacher(*table2_noise.train_network(config.teacher, task, name, seed=0))
        for name in (PLAIN, SMOOTH)
    }
    source = data.examples_at(test, range(min(config.num_source, len(test.labels))))
    others = np.random.default_rng(0).permutation(np.arange(count, 100))
    size = config.per_target
    targets = []
    for number in range(config.num_targets):
        classes = others[number * size : (number + 1) * size]
        few, tested = (data.examples_of(images, classes) for images in whole)
        chosen = data.per_class_subset(
            few.labels, per_class=config.per_class, num_classes=size, seed=number
        )
        targets.append(Target(data.examples_at(few, chosen), tested))
    return Lesson(source, teachers, preprocess), targets


def write_target(
    config: Config, sheet: Sheet, lesson: Lesson, target: Target, number: int
) -> dict[str, float]:
    """Writes and returns accuracies and distances of one target, by name."""
    lwf = losses.TransferLoss(activations=True)
    plain = lesson.teachers[PLAIN]
    ways = {
        "CE": (losses.TransferLoss(), PLAIN),
        "LwF": (lwf, PLAIN),
        "LwF under noise": (NoisyLwf(plain.apply_fn, config.sigma), PLAIN),
        "LwF from a smooth teacher": (lwf, SMOOTH),
    }
    cells: dict[str, Callable[[], harness.Value]] = {
        name: functools.partial(
            student_accuracy, config, lesson, target, name, *way, seed=number
        )
        for name, way in ways.items()
    }
    for name, teacher in (("", PLAIN), (", smooth teacher", SMOOTH)):
        for place, words in enumerate(("Hausdorff", "mean nearest")):
            cells[f"{words} distance from the source{name}"] = functools.partial(
                distance, lesson, target, teacher, place
            )
    return {
        name: write_row(sheet, f"{name}, target {number}", compute, seed=number).value
        for name, compute in cells.items()
    }


def student_accuracy(
    config: Config,
    lesson: Lesson,
    target: Target,
    name: str,
    loss: Callable,
    teacher: str,
    *,
    seed: int,
) -> harness.Value:
    """Trains one two-headed student and tests it, in percent."""
    rngs = nnx.Rngs(seed)
    apply_fn, variables = lesson.teachers[teacher]
    images, tested = target
    body = models.VGG(
        depth=4,
        num_classes=len(images.class_names),
        base_width=config.student_width,
        rngs=rngs,
    )
    outputs = _answers(apply_fn, lesson, variables, images)[0]
    model = models.TwoHeaded(body, num_teacher_classes=outputs.shape[1], rngs=rngs)
    student_fn, start = models.functional(model)
    objective = transfer.student_objective(model, loss, preprocess=lesson.preprocess)
    result = training.fit(
        losses.Keyed(objective),
        start,
        {"images": images.images, "labels": images.labels, "teacher_logits": outputs},
        plan=config.student,
        seed=seed,
        folder=config.out / "section51" / name.replace(" ", "-"),
        made_of=[name, harness.settings(config)],
        constants={"teacher_variables": variables},
    )
    measured = evaluated(
        student_fn,
        result.best,
        tested.images,
        tested.labels,
        preprocess=lesson.preprocess,
    )
    return training.accuracy(measured["accuracy"], len(tested.labels))


def distance(lesson: Lesson, target: Target, teacher: str, place: int) -> harness.Value:
    """A distance from the source to a target in a teacher's embedding.

    Args:
      lesson: the source and the teachers.
      target: its training images.
      teacher: name of one.
      place: 0 for the Hausdorff distance, 1 for the mean one to the nearest image.
    """
    apply_fn, variables = lesson.teachers[teacher]
    source, near = (
        _answers(apply_fn, lesson, variables, images)[1]
        for images in (lesson.source, target.train)
    )
    unit = np.sqrt(np.mean(np.sum((source - source.mean(axis=0)) ** 2, axis=1)))
    source, near = (jnp.asarray(f / unit) for f in (source, near))
    if place == 0:
        return harness.Value(float(asymmetric_hausdorff(source, near)))
    gaps = jnp.linalg.norm(source[:, None] - near[None], axis=2)
    return harness.Value(float(gaps.min(axis=1).mean()))


def _answers(apply_fn, lesson: Lesson, variables, images: data.Images):
    """Logits and embeddings of a teacher for images."""
    parts = [
        _batch(apply_fn, variables, lesson.preprocess(images.images[i : i + 50], None))
        for i in range(0, len(images.labels), 50)
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


@functools.partial(jax.jit, static_argnums=0)
def _batch(apply_fn, variables, x):
    logits, out = apply_fn(variables, x)
    return logits, out["embedding"]


def write_predictions(sheet: Sheet, columns: dict[str, np.ndarray]) -> None:
    """Writes what the proposition and its corollary predict, over the targets."""
    gain = columns["LwF"] - columns["CE"]
    for name, pair, claim in (
        ("LwF less CE", ("LwF", "CE"), "LwF raises the accuracy"),
        (
            "LwF under noise less LwF",
            ("LwF under noise", "LwF"),
            "noise on the target's images helps LwF",
        ),
        (
            "LwF from a smooth teacher less LwF",
            ("LwF from a smooth teacher", "LwF"),
            "a teacher with a Jacobian penalty teaches better",
        ),
    ):
        write_known(
            sheet,
            f"{name}, mean over targets",
            training.paired_difference(*(columns[part] for part in pair)),
            verdict=functools.partial(training.verdict, claim=claim, over="targets"),
        )
    for words in ("Hausdorff", "mean nearest"):
        write_known(
            sheet,
            f"Pearson over targets, gain of LwF and minus the {words} distance",
            over_models(gain, -columns[f"{words} distance from the source"]),
            verdict=functools.partial(
                training.verdict,
                claim="LwF gains more on targets near the source",
                over="targets",
            ),
        )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
