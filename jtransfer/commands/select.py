"""`jtransfer select`: the best teacher of a zoo, distilled into a student."""

import dataclasses
import sys
from pathlib import Path

from jtransfer.commands.options import (
    ReadingOptions,
    StudentRecipeOptions,
    check_kept,
    check_positive,
    check_seed,
    check_weights,
    check_writable,
    keeping,
    naming,
    target_of_images,
)


def select_command(
    *,
    zoo: str,
    target: str,
    student: str,
    out: Path,
    score: str = "logme",
    num_teachers: int = 1,
    label_weight: float = 1.0,
    transport_weight: float = 10.0,
    per_class: int | None = None,
    num_test: int | None = None,
    seed: int = 0,
    recipe: StudentRecipeOptions = StudentRecipeOptions(),
    reading: ReadingOptions = ReadingOptions(),
) -> int:
    """Choose the best teacher of a zoo for a target, and distil it into a student.

    The networks of the zoo are ranked by a score that needs no training; the student
    then learns from the first with the Sinkhorn distance as a part of its loss,
    whatever classes the teacher knows. With --score sinkhorn that distance decides,
    too: what the labels save of it, against shuffled labels. In our experiments it went
    with the accuracy of the students, less closely than logme, which costs next to
    nothing and decides here; Eq. (24) of the paper, sinkhorn_approximation_2, does not.

    Try these:
      jtransfer select --zoo zoo/ --target cifar10 --student wrn-16-1 --out chosen

      jtransfer select --zoo zoo/ --target cifar10 --student vgg4 --per-class 20
      --score sinkhorn --out chosen

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
      label_weight: Weight of the cross-entropy with the labels.
      transport_weight: Weight of the Sinkhorn distance; 10 is the paper's for
        CIFAR-100.
      per_class: Labelled images of each class; all by default.
      num_test: Test images, at most; all by default.
      seed: Seed of the draw, the ranking, the student's weights and the order.
      recipe: How the student is trained.
      reading: How images are read.

    Returns:
      0 if all networks were scored, 1 if one failed.
    """
    from jtransfer import ranking, report, transfer
    from jtransfer import zoo as zoos
    from jtransfer._internal.errors import FileError, RequestError
    from jtransfer._internal.progress import source_progress
    from jtransfer.ranking import selection

    recipe.check()
    reading.check()
    check_positive(num_teachers=num_teachers, per_class=per_class, num_test=num_test)
    check_weights(label_weight=label_weight, transport_weight=transport_weight)
    check_seed(seed)
    if score not in ranking.SCORES:
        raise RequestError(f"--score: {ranking.unknown_score(score)}")
    if ranking.SCORES[score].needs in ranking.NEEDS_REFERENCE:
        raise RequestError(f"--score {score} compares with another network.")
    examples = target_of_images(
        target, reading, per_class=per_class, num_test=num_test, seed=seed
    )
    with naming("--student"):
        selection.check_student(examples, student, base_width=recipe.width)
    with naming("--zoo"):
        sources = zoos.sources(zoo, examples)
    check_writable(out)
    faults: list[FileError] = []
    with source_progress(len(sources)) as announce:
        rows = ranking.rank_sources(
            sources,
            examples,
            (score,),
            seed=seed,
            folder=out,
            announce=announce,
            unkept=faults.append,
        )
    with keeping(faults):
        report.write_ranking(rows, out)
        report.draw_pages(out)
    report.show_ranking(rows)
    # Before hours of training, which needs the folder as well.
    check_kept(faults)
    teachers = selection.selected_teachers(
        rows, sources, score=score, num_teachers=num_teachers
    )
    for teacher in teachers:
        print(
            f"Teacher {teacher.name}: {score} {teacher.score:.4f}, "
            f"weight {teacher.weight:.3f}"
        )
    chosen = selection.distil_selection(
        teachers,
        examples,
        model=student,
        base_width=recipe.width,
        label_weight=label_weight,
        transport_weight=transport_weight,
        recipe=dataclasses.replace(
            transfer.STUDENT_PRESETS[recipe.preset], **recipe.changes()
        ),
        folder=out,
        seed=seed,
    )
    report.write_selection(chosen, out)
    for line in chosen.warnings():
        print(f"Warning: {line}", file=sys.stderr)
    print(f"{out / 'student'}: test accuracy {chosen.accuracy:.4f}")
    for path in report.draw_pages(out):
        print(f"Wrote {path}", file=sys.stderr)
    return 1 if report.failure_lines(rows) else 0
