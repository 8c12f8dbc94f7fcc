"""`jtransfer distill`; heavy imports inside."""

from pathlib import Path
from typing import Literal

from jtransfer.commands.options import check_writable

Name = Literal["activations+jacobians", "attention+jacobians", "lwf", "sinkhorn"]


def distill_command(
    *,
    teacher: Path,
    student: str,
    data: str,
    method: Name,
    out: Path,
    alpha: float | None = None,
    beta: float | None = None,
    gamma: float | None = None,
    delta: float | None = None,
    outputs: Literal["label", "largest", "all"] | None = None,
    teacher_layer: int | None = None,
    student_layer: int | None = None,
    window: int | None = None,
    temperature: float | None = None,
    epsilon: float | None = None,
    max_iterations: int | None = None,
    classes: tuple[str, ...] = (),
    preset: Literal["cpu", "paper"] = "cpu",
    width: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    per_class: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | None = None,
    image_size: int | None = None,
    cache: Path | None = None,
) -> int:
    """Train a student of a network, of any architecture; it may join a zoo.

    activations+jacobians is for a student of the teacher's classes. With
    attention+jacobians and lwf it learns classes of its own, and what the teacher
    thinks of these images through a second head, which it loses in the end. sinkhorn
    carries the teacher's predictions over to the student's classes, whatever they are.

    Try these:
      jtransfer distill --teacher zoo/vgg9 --student vgg4 --width 16 --data cifar100
      --method activations+jacobians --per-class 10 --out students/vgg4

      jtransfer distill --teacher zoo/resnet18 --student vgg9 --data imagefolder:scenes
      --method attention+jacobians --alpha 10 --beta 10 --gamma 10 --out students/scenes

      jtransfer distill --teacher zoo/resnet18 --student wrn-16-1 --data cifar10
      --method sinkhorn --beta 10 --out students/carried

    Args:
      teacher: A network that jtransfer train or distill has made.
      student: Model of the student, as in jtransfer train.
      data: A prepared TFDS data set by its name, imagefolder:DIR or npz:FILE.
      method: What the student learns from.
      out: Folder for the student, its checkpoints and its log; a rerun goes on there.
      alpha: Weight of the cross-entropy with the labels; 1 by default, as all weights.
      beta: Weight of the squared error between logits, a sum over classes, of
        attention+jacobians and lwf a mean; of sinkhorn that of the Sinkhorn distance,
        10 by default.
      gamma: Weight of the error between Jacobians.
      delta: Weight of the distance between attention maps, of attention+jacobians.
      outputs: Whose Jacobians are matched, of activations+jacobians; label by default.
      teacher_layer: Place of the teacher's attention map among its feature maps; by
        default the largest maps that both networks have.
      student_layer: Place of the student's; its size must be that of the teacher's.
      window: Side of the means over a map; a fifth of the map's side by default.
      temperature: Of the predictions, of sinkhorn; 3 by default.
      epsilon: Strength of the entropy, of sinkhorn; 0.1 by default.
      max_iterations: The most for an image and step, of sinkhorn; 200 by default.
      classes: Names or numbers of the classes, such as 0-49; all by default.
      preset: Settings that the other options change.
      width: Channels of the first layer; the published number by default.
      epochs: Passes over the training images.
      batch_size: Images a step.
      learning_rate: Of Adam; a tenth of it in the last fifth of the run.
      per_class: Training images of each class, drawn at random; all by default.
      limit: Use the first training and test images only.
      seed: Seed of weights, order and the draw.
      data_dir: Where prepared TFDS data sets lie; TFDS_DATA_DIR by default.
      image_size: Side to which images are resized; it must be the teacher's.
      cache: Folder of the teacher's outputs, to share among students; one in --out by
        default.

    Returns:
      0.
    """
    import dataclasses

    from jtransfer import networks, transfer

    changes = {
        "num_epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    positive = {"per_class": per_class, "limit": limit, "temperature": temperature}
    positive |= {"epsilon": epsilon, "max_iterations": max_iterations}
    _check_numbers({**changes, **positive}, seed)
    network = networks.read_network(teacher)
    train, test = _images(
        data,
        classes,
        per_class,
        seed,
        data_dir=data_dir,
        image_size=image_size,
        limit=limit,
    )
    architecture = networks.Architecture(
        model=student,
        num_classes=len(train.class_names),
        num_channels=network.architecture.num_channels,
        image_size=network.architecture.image_size,
        base_width=width,
    )
    options = {
        "alpha": alpha,
        "beta": beta,
        "gamma": gamma,
        "delta": delta,
        "outputs": outputs,
        "teacher_layer": teacher_layer,
        "student_layer": student_layer,
        "window": window,
        "temperature": temperature,
        "epsilon": epsilon,
        "max_iterations": max_iterations,
    }
    given = {name: value for name, value in options.items() if value is not None}
    function = _function(method, given)
    check_writable(out)
    if method == "sinkhorn":
        given["costs"] = [transfer.class_cost(network, train)]
    found = transfer.distil_student(
        network,
        architecture,
        train,
        test,
        method=_method(function, given, network.architecture, architecture),
        recipe=dataclasses.replace(transfer.STUDENT_PRESETS[preset], **changes),
        folder=out,
        cache=out / "teacher_outputs" if cache is None else cache,
        seed=seed,
        facts={
            "source": f"{data}, {len(train.class_names)} classes",
            "model": student,
            "teacher": str(teacher),
            "method": method,
            "per_class": per_class,
        },
    )
    print(f"{out}: test accuracy {found.facts['source_accuracy']:.4f}")
    return 0


def _check_numbers(positive: dict, seed: int) -> None:
    from jtransfer._internal.errors import DataError

    for name, value in positive.items():
        if value is not None and not value > 0:
            shown = name.removeprefix("num_").replace("_", "-")
            raise DataError(f"--{shown} must be positive, got {value}.")
    if seed < 0:
        raise DataError(f"--seed must not be negative, got {seed}.")


def _images(data, classes, per_class, seed, **options):
    """Training and test images."""
    from jtransfer import data as images
    from jtransfer.data import subsets

    train, test = (
        subsets.named_class_subset(images.load(data, split, **options), classes)
        for split in ("train", "test")
    )
    if per_class is None:
        return train, test
    chosen = images.per_class_subset(
        train.labels,
        per_class=per_class,
        num_classes=len(train.class_names),
        seed=seed,
    )
    return images.examples_at(train, chosen), test


def _function(name: Name, given: dict):
    """The function of a method, after a look at whether it takes the options given."""
    import inspect

    from jtransfer import transfer
    from jtransfer._internal.errors import DataError

    function = {
        "activations+jacobians": transfer.activations_and_jacobians_method,
        "attention+jacobians": transfer.attention_and_jacobians_method,
        "lwf": transfer.lwf_method,
        "sinkhorn": transfer.sinkhorn_method,
    }[name]
    known = inspect.signature(function).parameters
    for option in given:
        if option not in known:
            raise DataError(
                f"--{option.replace('_', '-')} does nothing for {name}; leave it out."
            )
    return function


def _method(function, given: dict, teacher, student):
    """The method with the options that were given and those that follow from them."""
    from jtransfer import transfer
    from jtransfer._internal.errors import DataError
    from jtransfer.transfer import teacher_outputs

    if "outputs" in given:
        selections = {
            "label": teacher_outputs.label_jacobian,
            "largest": teacher_outputs.largest_jacobian,
            "all": teacher_outputs.full_jacobian,
        }
        given = {**given, "outputs": selections[given["outputs"]]}
    if function is transfer.attention_and_jacobians_method:
        given = {**given, **_layers(given, teacher, student)}
    try:
        return function(**given)
    except ValueError as error:
        raise DataError(str(error)) from error


def _layers(given: dict, teacher, student) -> dict:
    """The layers of one size and the window, as far as they are not given."""
    from jtransfer import transfer
    from jtransfer._internal.errors import DataError

    pairs = [
        pair
        for pair in transfer.shared_maps(teacher, student)
        if given.get("teacher_layer", pair.teacher_layer) == pair.teacher_layer
        and given.get("student_layer", pair.student_layer) == pair.student_layer
    ]
    if not pairs:
        raise DataError(
            f"A {teacher.model} and a {student.model} have no such feature maps of "
            "one size; name other layers or leave them out."
        )
    window = given.get("window", max(1, pairs[0].size // 5))
    if not 1 <= window <= pairs[0].size:
        raise DataError(
            f"--window must be 1 to {pairs[0].size}, the side of the map, got {window}."
        )
    return {
        "teacher_layer": pairs[0].teacher_layer,
        "student_layer": pairs[0].student_layer,
        "window": window,
    }
