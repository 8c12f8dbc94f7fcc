"""`jtransfer select`; heavy imports inside."""

from pathlib import Path
from typing import Literal

from jtransfer.commands.options import check_writable


def select_command(
    *,
    zoo: str,
    target: str,
    student: str,
    out: Path,
    score: str = "sinkhorn",
    num_teachers: int = 1,
    alpha: float = 1.0,
    beta: float = 10.0,
    preset: Literal["cpu", "paper"] = "cpu",
    width: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    per_class: int | None = None,
    num_test: int | None = None,
    seed: int = 0,
    data_dir: str | None = None,
    image_size: int | None = None,
) -> int:
    """Choose the best teacher of a zoo for a target, and distil it into a student.

    The networks of the zoo are ranked by a score that needs no training; the student
    then learns from the first with the Sinkhorn distance as a part of its loss,
    whatever classes the teacher knows. The score of the paper is that distance, too. It
    favours teachers that are unsure: compare only networks of one kind by it. In our
    experiments with two kinds logme went with the accuracy of the students.

    Try these:
      jtransfer select --zoo zoo/ --target cifar10 --student wrn-16-1 --out chosen

      jtransfer select --zoo zoo/ --target cifar10 --student vgg4 --per-class 20
      --score logme --out chosen

      jtransfer select --zoo zoo/ --target imagefolder:pets --student vgg4
      --num-teachers 2 --out chosen

    Args:
      zoo: A folder or glob of networks that jtransfer train has made.
      target: A data set of images: a TFDS name, imagefolder:DIR or npz:FILE.
      student: Model of the student, as in jtransfer train.
      out: Folder for ranking.jsonl, report.html, selection.json and the folder student;
        a rerun goes on there.
      score: Which decides, see jtransfer ls; it must need no --reference.
      num_teachers: Teach by so many: weighted alike, by sinkhorn by the softmax of
        their scores over 0.1.
      alpha: Weight of the cross-entropy with the labels.
      beta: Weight of the Sinkhorn distance; 10 is the paper's for CIFAR-100.
      preset: Settings that the other options change.
      width: Channels of the student's first layer; the published number by default.
      epochs: Passes over the training images.
      batch_size: Images a step.
      learning_rate: Of Adam; a tenth of it in the last fifth of the run.
      per_class: Labelled images of each class; all by default.
      num_test: Test images, at most; all by default.
      seed: Seed of the draw, the ranking, the student's weights and the order.
      data_dir: Where prepared TFDS data sets lie; TFDS_DATA_DIR by default.
      image_size: Side to which images are resized; it must be the teachers'.

    Returns:
      0 if all networks were scored, 1 if one failed.
    """
    import dataclasses
    import sys

    from jtransfer import ranking, report, transfer
    from jtransfer import zoo as zoos
    from jtransfer._internal.errors import RequestError
    from jtransfer._internal.progress import source_progress
    from jtransfer.ranking import selection

    changes = {
        "num_epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    for name, value in (
        ("num-teachers", num_teachers),
        ("epochs", epochs),
        ("batch-size", batch_size),
        ("learning-rate", learning_rate),
    ):
        if value is not None and not value > 0:
            raise RequestError(f"--{name} must be positive, got {value}.")
    if not (alpha >= 0 and beta >= 0 and alpha + beta > 0):
        raise RequestError(
            "--alpha and --beta must not be negative and not both zero, got "
            f"{alpha:g} and {beta:g}."
        )
    if score not in ranking.SCORES:
        raise RequestError(ranking.unknown_score(score))
    if ranking.SCORES[score].needs in ranking.OF_REFERENCE:
        raise RequestError(f"--score {score} compares with another network.")
    if seed < 0:
        raise RequestError(f"--seed must not be negative, got {seed}.")
    labels = zoos.image_target(
        target,
        per_class=per_class,
        num_test=num_test,
        seed=seed,
        data_dir=data_dir,
        image_size=image_size,
    )
    selection.check_student(labels, student, base_width=width)
    sources = zoos.sources(zoo, labels)
    check_writable(out)
    with source_progress(len(sources)) as announce:
        rows = ranking.rank_sources(
            sources, labels, (score,), seed=seed, folder=out, announce=announce
        )
    report.write_ranking(rows, out)
    report.draw_pages(out)
    report.show_ranking(rows)
    found = selection.selected_teachers(
        rows, sources, score=score, num_teachers=num_teachers
    )
    for name, value, weight in zip(*found[:3], strict=True):
        print(f"Teacher {name}: {score} {value:.4f}, weight {weight:.3f}")
    distilled = selection.distil_selection(
        found,
        labels,
        model=student,
        base_width=width,
        alpha=alpha,
        beta=beta,
        recipe=dataclasses.replace(transfer.STUDENT_PRESETS[preset], **changes),
        folder=out,
        seed=seed,
    )
    accuracy = distilled.facts["source_accuracy"]
    print(f"{out / 'student'}: test accuracy {accuracy:.4f}")
    print(f"Wrote {out / 'report.html'}", file=sys.stderr)
    return 1 if report.failure_lines(rows) else 0
