"""`jtransfer distill`: a student of a network, by one of five methods."""

from typing import TYPE_CHECKING, Literal

from jtransfer.commands.lesson import (
    Lesson,
    StudentOptions,
    distil,
    shared_map,
    window_side,
)
from jtransfer.commands.options import check_positive, check_weights

if TYPE_CHECKING:
    from jtransfer.transfer import Method


def distill_command() -> int:
    """Train a student of a network, of any architecture; it may join a zoo.

    Methods: activations-and-jacobians, attention-and-jacobians, lwf, sinkhorn,
    transported-targets; see jtransfer distill --help.
    """
    return 0


def activations_and_jacobians_command(
    *,
    run: StudentOptions,
    label_weight: float = 1.0,
    logits_weight: float = 1.0,
    jacobian_weight: float = 1.0,
    outputs: Literal["label", "largest", "all"] = "label",
) -> int:
    """Match outputs and Jacobians, for a student of the teacher's classes.

    Try these:
      jtransfer distill activations-and-jacobians --teacher zoo/vgg9 --student vgg4
      --width 16 --data cifar100 --per-class 10 --out students/vgg4

    Args:
      run: Who learns what from whom, and where to.
      label_weight: Weight of the cross-entropy with the labels.
      logits_weight: Weight of the squared error between logits, a sum over classes.
      jacobian_weight: Weight of the squared error between Jacobians.
      outputs: Whose Jacobians are matched.

    Returns:
      0.
    """
    from jtransfer import transfer
    from jtransfer.transfer import teacher_outputs

    weights = {
        "label_weight": label_weight,
        "logits_weight": logits_weight,
        "jacobian_weight": jacobian_weight,
    }
    check_weights(**weights)
    functions = {
        "label": teacher_outputs.label_jacobian,
        "largest": teacher_outputs.largest_jacobian,
        "all": teacher_outputs.full_jacobian,
    }
    method = transfer.activations_and_jacobians_method(
        **weights, outputs=functions[outputs]
    )
    return distil(run, "activations-and-jacobians", lambda lesson: method)


def attention_and_jacobians_command(
    *,
    run: StudentOptions,
    label_weight: float = 1.0,
    logits_weight: float = 1.0,
    attention_weight: float = 1.0,
    jacobian_weight: float = 1.0,
    teacher_layer: int | None = None,
    student_layer: int | None = None,
    window: int | None = None,
) -> int:
    """Match attention maps and their Jacobians, for a student of other classes.

    It learns classes of its own, and what the teacher thinks of these images through a
    second head, which it loses in the end.

    Try these:
      jtransfer distill attention-and-jacobians --teacher zoo/resnet18 --student vgg9
      --data imagefolder:scenes --label-weight 10 --out students/scenes

    Args:
      run: Who learns what from whom, and where to.
      label_weight: Weight of the cross-entropy with the labels.
      logits_weight: Weight of the mean squared error between logits.
      attention_weight: Weight of the distance between attention maps.
      jacobian_weight: Weight of the distance between their Jacobians.
      teacher_layer: Place of the teacher's attention map among its feature maps; by
        default the largest maps that both networks have.
      student_layer: Place of the student's; its size must be that of the teacher's.
      window: Side of the means over a map; a fifth of the map's side by default.

    Returns:
      0.
    """
    from jtransfer import transfer

    weights = {
        "label_weight": label_weight,
        "logits_weight": logits_weight,
        "attention_weight": attention_weight,
        "jacobian_weight": jacobian_weight,
    }
    check_weights(**weights)

    def method(lesson: Lesson) -> "Method":
        shared = shared_map(lesson, teacher_layer, student_layer)
        return transfer.attention_and_jacobians_method(
            **weights,
            teacher_layer=shared.teacher_layer,
            student_layer=shared.student_layer,
            window=window_side(window, shared.size),
        )

    return distil(run, "attention-and-jacobians", method)


def lwf_command(
    *, run: StudentOptions, label_weight: float = 1.0, logits_weight: float = 1.0
) -> int:
    """Learn without forgetting, for a student of other classes.

    It learns classes of its own, and what the teacher thinks of these images through a
    second head, which it loses in the end.

    Try these:
      jtransfer distill lwf --teacher zoo/resnet18 --student vgg9 --data cifar10
      --label-weight 10 --logits-weight 10 --out students/lwf

    Args:
      run: Who learns what from whom, and where to.
      label_weight: Weight of the cross-entropy with the labels.
      logits_weight: Weight of the mean squared error between logits.

    Returns:
      0.
    """
    from jtransfer import transfer

    check_weights(label_weight=label_weight, logits_weight=logits_weight)
    method = transfer.lwf_method(label_weight=label_weight, logits_weight=logits_weight)
    return distil(run, "lwf", lambda lesson: method)


def sinkhorn_command(
    *,
    run: StudentOptions,
    label_weight: float = 1.0,
    transport_weight: float = 10.0,
    temperature: float = 3.0,
    epsilon: float = 0.1,
    max_iterations: int = 200,
) -> int:
    """Carry the teacher's predictions over to the student's classes, whatever they are.

    Try these:
      jtransfer distill sinkhorn --teacher zoo/resnet18 --student wrn-16-1
      --data cifar10 --out students/carried

    Args:
      run: Who learns what from whom, and where to.
      label_weight: Weight of the cross-entropy with the labels.
      transport_weight: Weight of the Sinkhorn distance.
      temperature: Of the predictions.
      epsilon: Strength of the entropy.
      max_iterations: The most for an image and step.

    Returns:
      0.
    """
    from jtransfer import transfer

    check_weights(label_weight=label_weight, transport_weight=transport_weight)
    check_positive(
        temperature=temperature, epsilon=epsilon, max_iterations=max_iterations
    )

    def method(lesson: Lesson) -> "Method":
        return transfer.sinkhorn_method(
            [transfer.class_cost(lesson.teacher, lesson.train)],
            label_weight=label_weight,
            transport_weight=transport_weight,
            temperature=temperature,
            epsilon=epsilon,
            max_iterations=max_iterations,
        )

    return distil(run, "sinkhorn", method)


def transported_targets_command(
    *,
    run: StudentOptions,
    label_weight: float = 1.0,
    targets_weight: float = 10.0,
    temperature: float = 3.0,
    epsilon: float = 0.1,
) -> int:
    """Learn soft targets that a cost of classes carries over to the student's.

    Try these:
      jtransfer distill transported-targets --teacher zoo/resnet18 --student wrn-16-1
      --data cifar10 --out students/targets

    Args:
      run: Who learns what from whom, and where to.
      label_weight: Weight of the cross-entropy with the labels.
      targets_weight: Weight of the soft targets.
      temperature: Of the predictions.
      epsilon: Strength of the entropy: the larger, the more classes share a target.

    Returns:
      0.
    """
    from jtransfer import transfer

    check_weights(label_weight=label_weight, targets_weight=targets_weight)
    check_positive(temperature=temperature, epsilon=epsilon)

    def method(lesson: Lesson) -> "Method":
        return transfer.transported_targets_method(
            transfer.class_cost(lesson.teacher, lesson.train),
            label_weight=label_weight,
            targets_weight=targets_weight,
            temperature=temperature,
            epsilon=epsilon,
        )

    return distil(run, "transported-targets", method)


METHODS = {
    "activations-and-jacobians": activations_and_jacobians_command,
    "attention-and-jacobians": attention_and_jacobians_command,
    "lwf": lwf_command,
    "sinkhorn": sinkhorn_command,
    "transported-targets": transported_targets_command,
}
