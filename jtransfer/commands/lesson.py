"""The lesson of `jtransfer distill`: teacher, student and images, read and used."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jtransfer.commands.options import (
    ReadingOptions,
    StudentRecipeOptions,
    check_positive,
    check_seed,
    check_writable,
    naming,
    split_images,
)

if TYPE_CHECKING:
    from jtransfer.data import Images
    from jtransfer.networks import Architecture, Network
    from jtransfer.transfer import Method, SharedMap


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentOptions:
    """Teacher, student, images and folder of a distillation."""

    teacher: Path
    """A network that jtransfer train or distill has made."""
    student: str
    """Model of the student, as in jtransfer train."""
    data: str
    """A prepared TFDS data set by its name, imagefolder:DIR or npz:FILE; images of the
    teacher's size."""
    out: Path
    """Folder for the student, its checkpoints and its log; a rerun goes on there."""
    classes: tuple[str, ...] = ()
    """Names or numbers of the classes, such as 0-49; all by default."""
    per_class: int | None = None
    """Training images of each class, drawn at random; all by default."""
    num_examples: int | None = None
    """Use the first training and test images only, so many of each."""
    seed: int = 0
    """Seed of weights, order and the draw."""
    cache: Path | None = None
    """Folder of the teacher's outputs, to share among students; one in --out by
    default."""
    recipe: StudentRecipeOptions = StudentRecipeOptions()
    reading: ReadingOptions = ReadingOptions()


@dataclasses.dataclass(frozen=True)
class Lesson:
    """Teacher, student and training images, on which a method may depend.

    Made by `distil` from `StudentOptions`.
    """

    teacher: "Network"
    student: "Architecture"
    train: "Images"


def distil(
    run: StudentOptions, name: str, method_of: Callable[[Lesson], "Method"]
) -> int:
    """Reads teacher and images, trains the student and tells its accuracy.

    Args:
      run: who learns what from whom, and where to.
      name: of the method, a fact of the student.
      method_of: makes the method, once teacher and images are read.

    Returns:
      0.
    """
    from jtransfer import networks, transfer

    run.recipe.check()
    run.reading.check()
    check_positive(per_class=run.per_class, num_examples=run.num_examples)
    check_seed(run.seed)
    with naming("--teacher"):
        teacher = networks.read_network(run.teacher)
    part = {"num_examples": run.num_examples, "classes": run.classes}
    draw = {"per_class": run.per_class, "seed": run.seed}
    train = split_images(run.data, "train", run.reading, **part, **draw)
    test = split_images(run.data, "test", run.reading, **part)
    architecture = networks.Architecture(
        model=run.student,
        num_classes=len(train.class_names),
        num_channels=teacher.architecture.num_channels,
        image_size=teacher.architecture.image_size,
        base_width=run.recipe.width,
    )
    method = method_of(Lesson(teacher, architecture, train))
    check_writable(run.out)
    student = transfer.distil_student(
        teacher,
        architecture,
        train,
        test,
        method=method,
        recipe=dataclasses.replace(
            transfer.STUDENT_PRESETS[run.recipe.preset], **run.recipe.changes()
        ),
        folder=run.out,
        cache=run.cache or run.out / "teacher_outputs",
        seed=run.seed,
        facts={
            "source": f"{run.data}, {len(train.class_names)} classes",
            "model": run.student,
            "teacher": str(run.teacher),
            "method": name,
            "per_class": run.per_class,
        },
    )
    print(f"{run.out}: test accuracy {student.facts['source_accuracy']:.4f}")
    return 0


def shared_map(
    lesson: Lesson, teacher_layer: int | None, student_layer: int | None
) -> "SharedMap":
    """Returns the largest map of one size, at the layers that are given.

    Args:
      lesson: teacher and student.
      teacher_layer: place among the teacher's maps; any if None.
      student_layer: place among the student's maps; any if None.

    Raises:
      RequestError: if there is none.
    """
    from jtransfer import transfer
    from jtransfer._internal.errors import RequestError

    for pair in transfer.shared_maps(lesson.teacher.architecture, lesson.student):
        if (
            teacher_layer in (None, pair.teacher_layer)
            and student_layer in (None, pair.student_layer)
        ):  # fmt: skip
            return pair
    raise RequestError(
        f"A {lesson.teacher.architecture.model} and a {lesson.student.model} have no "
        "such feature maps of one size; name other layers or leave them out."
    )


def window_side(window: int | None, side: int) -> int:
    """Returns the side of means over a map: a fifth of the map's if None is given.

    Raises:
      RequestError: if it is not one to the side of the map.
    """
    from jtransfer._internal.errors import RequestError

    window = max(1, side // 5) if window is None else window
    if not 1 <= window <= side:
        raise RequestError(
            f"--window must be 1 to {side}, the side of the map, got {window}."
        )
    return window
