"""Rows of Table 1 that the paper does not print: other outputs, noise, soft targets.

Functions take the `Config` of `table1_few_images.py`.
"""

import functools

from experiments.jacobian_matching.support import cifar_students, losses
from experiments.sheets import Sheet, write_known, write_row
from jtransfer import distillation
from jtransfer.training import NonFiniteLoss
from jtransfer.transfer import teacher_outputs


def write_others(
    config, lesson: cifar_students.Lesson, weights: dict, sheet: Sheet
) -> None:
    """Writes rows that the paper does not print, one seed."""
    size, seed = config.others, config.seeds[0]
    both = "CE + activations + Jacobians"
    largest, full = teacher_outputs.largest_jacobian, teacher_outputs.full_jacobian
    count = min(3, len(lesson.train.class_names))
    several = functools.partial(largest, num_outputs=count)
    ways = [
        cifar_students.weighted(
            f"{both} of the largest output", weights[both], largest
        ),
        cifar_students.weighted(
            f"{both} of the {count} largest outputs", weights[both], several
        ),
        cifar_students.Way(
            f"{both} of all outputs, one random projection a step",
            losses.ProjectionLoss(lesson.apply_fn),
            teacher_outputs.logits,
        ),
        cifar_students.Way("CE + soft targets", losses.SoftTargetLoss(False), full),
    ]
    for sigma in config.sigmas:
        loss = losses.NoiseLoss(lesson.apply_fn, sigma, config.num_draws)
        name = f"CE + activations under noise of deviation {sigma:g}"
        ways.append(cifar_students.Way(name, loss, teacher_outputs.logits))
    for way in ways:
        write_row(
            sheet,
            f"{way.name}, {size} a class",
            functools.partial(
                cifar_students.student_accuracy, config, lesson, way, size, seed
            ),
            seed=seed,
        )


def write_unstable(config, lesson: cifar_students.Lesson, sheet: Sheet) -> None:
    """Writes what soft targets with Eq. (2) do, which rewards large Jacobians."""
    size, seed = config.others, config.seeds[0]
    way = cifar_students.Way(
        "CE + soft targets + Eq. (2)",
        losses.SoftTargetLoss(True),
        teacher_outputs.full_jacobian,
    )
    try:
        run = cifar_students.train_student(config, lesson, way, size, seed)
    except NonFiniteLoss as fault:
        cell = f"{way.name}: first step that is not finite"
        write_known(sheet, cell, fault.step, seed=seed)
        return
    write_row(
        sheet,
        f"{way.name}, {size} a class",
        functools.partial(
            cifar_students.test_accuracy, lesson, run.apply_fn, run.variables
        ),
        seed=seed,
    )
    answers = cifar_students.teacher_answers(config, lesson, way, size, seed)
    logits, jacobians = answers["teacher_logits"], answers["teacher_jacobians"]
    term = "Jacobian term of Eq. (2)"
    copied = write_known(
        sheet,
        f"{term}, of a copy of the teacher",
        distillation.printed_cross_entropy_match_jacobians(
            logits, logits, jacobians, jacobians
        ),
        seed=seed,
    ).value
    last = run.history[-1]["equation_2"]
    words = "below" if last < copied else "not below"
    write_known(
        sheet,
        f"{term}, last step of training",
        last,
        seed=seed,
        verdict=f"The term ends {words} its value for a copy of the teacher.",
    )
