"""Selective distillation: assess the teachers of a zoo, choose, and distil.

Algorithm 1 of "Selective Cross-Task Distillation" in three steps: `rank_sources`,
`selected_teachers`, and `distil_selection`. Two things go beyond the paper: other
scores than its own, `sinkhorn`, and several teachers, for which its section 7 leaves
the weights open.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.special

from jtransfer import networks, transfer
from jtransfer._internal.errors import RequestError
from jtransfer.assessment import DEFAULT_ASSESSMENT
from jtransfer.data import Images
from jtransfer.networks import Architecture, Network
from jtransfer.ranking.chosen import ChosenTeacher, Selection
from jtransfer.ranking.rows import Row, Scored
from jtransfer.sinkhorn import cost_contrast
from jtransfer.transfer import StudentRecipe, teacher_outputs
from jtransfer.zoo import Source, Target


class Teacher(NamedTuple):
    """A network of the zoo that a student is to learn from."""

    name: str
    score: float
    """By the score that decides."""
    weight: float
    """Its part of the Sinkhorn term of the student's loss; all have the sum one."""
    network: Network


def selected_teachers(
    rows: Iterable[Row],
    sources: Sequence[Source],
    *,
    score: str = "logme",
    num_teachers: int = 1,
) -> list[Teacher]:
    r"""Chooses the networks with the best scores.

    By the scores :math:`Q` of transport their weights are
    :math:`\operatorname{softmax}(Q / \epsilon)`: a score lower by the strength of the
    entropy, 0.1, divides the weight by e. That is our choice. The units of other scores
    say nothing of weights, and all are equal.

    Args:
      rows: of `ranking.rank_sources`.
      sources: the zoo that was ranked.
      score: name of the score that decides.
      num_teachers: how many to choose, at least 1; fewer if fewer have a score.

    Returns:
      The teachers, best first.

    Raises:
      RequestError: if no network has the score.

    Example:
      >>> from jtransfer import zoo
      >>> rows = [Scored(source="a", score="sinkhorn", value=-1.1),
      ...         Scored(source="b", score="sinkhorn", value=-1.0)]
      >>> sources = [zoo.Source(name, {}, network=lambda: None) for name in "ab"]
      >>> teachers = selected_teachers(
      ...     rows, sources, score="sinkhorn", num_teachers=2
      ... )
      >>> [(teacher.name, round(teacher.weight, 2)) for teacher in teachers]
      [('b', 0.73), ('a', 0.27)]

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Algorithm 4 and section 7.
    """
    scores = {
        row.source: row.order
        for row in rows
        if isinstance(row, Scored) and row.score == score
    }
    known = [s for s in sources if s.network is not None and s.name in scores]
    if not known:
        raise RequestError(
            "No network of the zoo could be assessed; the table above says why."
        )
    best = sorted(known, key=lambda source: -scores[source.name])[:num_teachers]
    values = np.array([float(scores[source.name]) for source in best])
    logits = (
        values / DEFAULT_ASSESSMENT.epsilon
        if score.startswith("sinkhorn")
        else np.zeros(len(values))
    )
    weights = scipy.special.softmax(logits)
    return [
        Teacher(source.name, float(value), float(weight), source.network())
        for source, value, weight in zip(best, values, weights, strict=True)
    ]


def check_student(target: Target, model: str, *, base_width: int | None = None) -> None:
    """Raises before any work is done if there is no such student or nothing to test.

    Args:
      target: the target.
      model: of the student.
      base_width: channels of its first layer; None for the published number.

    Raises:
      DataError: if there is no such model.
      RequestError: if the target has no test images.
    """
    if target.test_images is None:
        raise RequestError(f"{target.name} has no test images.")
    architecture = Architecture(
        model=model, num_classes=target.num_classes, base_width=base_width
    )
    networks.abstract(architecture)


def distil_selection(
    teachers: Sequence[Teacher],
    target: Target,
    *,
    model: str,
    base_width: int | None = None,
    label_weight: float = 1.0,
    transport_weight: float = 10.0,
    recipe: StudentRecipe,
    folder: Path,
    seed: int,
) -> Selection:
    """Distils the teachers chosen into a student of the target; a killed run goes on.

    Args:
      teachers: at least one; the first one's statistics normalise the images.
      target: with images of the teachers' size, and test images; see `check_student`.
      model: of the student, see `networks.model`.
      base_width: channels of its first layer; None for the published number.
      label_weight: weight of the cross-entropy.
      transport_weight: weight of the Sinkhorn distances together.
      recipe: how to train.
      folder: gets the student in `student` and what the teachers say in
        `teacher_outputs`.
      seed: of weights and order.

    Returns:
      The teachers and the student's accuracy.

    Raises:
      DataError: if the images do not fit a teacher or the student.
    """
    train, test = _images(target)
    first, *others = (teacher.network for teacher in teachers)
    cache = folder / "teacher_outputs"
    other_logits = [
        teacher_outputs.compute_teacher_outputs(
            teacher_outputs.logits, network, train.images, train.labels, folder=cache
        )["teacher_logits"]
        for network in others
    ]
    costs = [transfer.class_cost(teacher.network, train) for teacher in teachers]
    architecture = Architecture(
        model=model,
        num_classes=target.num_classes,
        num_channels=first.architecture.num_channels,
        image_size=first.architecture.image_size,
        base_width=base_width,
    )
    network = transfer.distil_student(
        first,
        architecture,
        train,
        test,
        method=transfer.sinkhorn_method(
            costs,
            teacher_weights=[teacher.weight for teacher in teachers],
            other_logits=other_logits,
            label_weight=label_weight,
            transport_weight=transport_weight,
        ),
        recipe=recipe,
        folder=folder / "student",
        cache=cache,
        seed=seed,
        facts={
            "source": f"{target.name}, {target.num_classes} classes",
            "model": model,
            "teacher": ", ".join(teacher.name for teacher in teachers),
            "method": "sinkhorn",
        },
    )
    return Selection(
        teachers=[
            _chosen(teacher, cost, target.class_names)
            for teacher, cost in zip(teachers, costs, strict=True)
        ],
        student=model,
        accuracy=network.facts["source_accuracy"],
    )


def _chosen(teacher: Teacher, cost, class_names: Sequence[str]) -> ChosenTeacher:
    """A teacher with the contrast of its cost; names say which classes are the same."""
    names = np.array(teacher.network.class_names, object)
    same = names[:, None] == np.array(class_names, object)[None]
    contrast = cost_contrast(cost, epsilon=DEFAULT_ASSESSMENT.epsilon, same=same)
    return ChosenTeacher(
        name=teacher.name,
        score=teacher.score,
        weight=teacher.weight,
        largest_cost=float(cost.max()),
        gap=float(contrast.gap),
        own_mass=float(contrast.own_mass),
    )


def _images(target: Target) -> tuple[Images, Images]:
    """Labelled and test images; of classes without a label none are tested."""
    known = target.test_labels >= 0
    return (
        Images(target.images, target.labels, target.class_names),
        Images(
            target.test_images[known], target.test_labels[known], target.class_names
        ),
    )
