"""Tables 12 and 13, Figure 9: the fictitious student, its likeness and its price.

Run: `python -m experiments.cross_task.table12_table13_fictitious cpu --data-dir DIR`
after `table11_double_window.py`, whose teachers and students it takes; minutes on one
core. The first target and all ten teachers. Table 12: how far the linear model on a
teacher's features is from the student that the teacher brings up, both at the
temperature of the score (which the paper does not state). Table 13: seconds a teacher
of each score, compiled, without the teacher's forward pass, which all need and which
has its own row; the exact assessment and Approximation I train a student for it.
"""

import functools
import time
from collections.abc import Callable

import numpy as np

from experiments import harness
from experiments.cross_task.support.assessments import (
    NAMES,
    divergence,
    evidence,
    scorers,
    seconds,
)
from experiments.cross_task.support.outputs import costs, embedding_and_logits
from experiments.cross_task.support.repository import (
    PRESETS,
    DoubleWindow,
    Entry,
    class_sets,
    targets,
    train_repository,
    train_student,
)
from experiments.cross_task.support.settings import Task, new_sheet
from experiments.cross_task.support.training import train_alone
from experiments.harness import Value
from experiments.sheets import Sheet, axes, write_known, write_row
from jtransfer import data
from jtransfer.ranking import correlations

TABLE_12 = (0.32, 0.41, 0.39, 0.47, 0.53, 0.36, 0.42, 0.47, 0.56, 0.59)
TABLE_13 = {"nce": 0.12, "leep": 0.11, "logme": 0.42, "sinkhorn_2": 0.74}


def main(config: DoubleWindow, preset: str) -> None:
    """Writes the rows of both tables and the figure."""
    entries, target = train_repository(config), targets(config)[0]
    write_table12(config, new_sheet(config, "table12", preset), entries, target)
    write_table13(config, new_sheet(config, "table13", preset), entries, target)
    draw_figure9(new_sheet(config, "figure9", preset).table, config, entries[0], target)


def write_table12(
    config: DoubleWindow, sheet: Sheet, entries: list[Entry], target: Task
) -> None:
    """Writes how far the fictitious student is from the true one."""
    classes = class_sets(config)
    gaps = []
    for h, entry in enumerate(entries):
        printed = TABLE_12[h] if len(entries) == len(TABLE_12) else None
        gap = write_row(
            sheet,
            f"KL of true to fictitious student, teacher {h + 1}",
            functools.partial(mean_divergence, config, entry, target),
            paper_value=printed,
        )
        gaps.append(gap.value)
    overlaps = [data.class_overlap(classes[e.window], classes[0]) for e in entries]
    families = np.array([entry.family for entry in entries])
    for family in range(len(config.families)):
        own = families == family
        write_known(
            sheet,
            f"Spearman of KL and share of the classes known, family {family + 1}",
            correlations.spearman(np.array(gaps)[own], np.array(overlaps)[own]),
            paper_value=(-0.9, -1.0)[family],
            verdict=order_verdict,
        )


def mean_divergence(config: DoubleWindow, entry: Entry, target: Task) -> Value:
    """The mean KL of the true students of all seeds to the fictitious one, in nats."""
    images = target.train
    given = evidence(config, entry.model.network, entry.own_centers, images)
    divergences = []
    for seed in config.seeds:
        student = train_student(config, entry.model, given.cost, images, seed=seed)
        _, logits = embedding_and_logits(student.network, images.images)
        divergences.append(divergence(logits, given.fictitious, config.temperature))
    return harness.mean_interval(divergences)


def order_verdict(rho: Value) -> str:
    """Judges a rank correlation of the gap and the share of the classes known."""
    if rho.value <= -0.9:
        return "As printed: the gap grows as fewer classes are known."
    return "Not as printed: the gap does not grow with each class less."


def write_table13(
    config: DoubleWindow, sheet: Sheet, entries: list[Entry], target: Task
) -> None:
    """Writes seconds a teacher, compiled, and beside them those of its outputs."""

    @functools.cache
    def times() -> dict[str, list[float]]:
        taken = {"forward": []}
        for entry in entries:
            network = entry.model.network
            given = evidence(config, network, entry.own_centers, target.train)
            for name, compute in scorers(given).items():
                taken.setdefault(name, []).append(seconds(compute))
            forward = functools.partial(
                embedding_and_logits, network, target.train.images
            )
            taken["forward"].append(seconds(forward))
        return taken

    def mean(name: str) -> Value:
        return harness.mean_interval(times()[name])

    for name in ("nce", "leep", "logme", "h_score", "probe", "sinkhorn_2"):
        write_row(
            sheet,
            f"seconds a teacher, {NAMES[name]}",
            functools.partial(mean, name),
            paper_value=TABLE_13.get(name),
        )
    write_row(
        sheet,
        "seconds a teacher, its outputs, which all scores need",
        functools.partial(mean, "forward"),
    )
    train = functools.partial(train_student, config, entries[0].model)
    images = target.train
    write_row(
        sheet,
        "seconds a teacher, exact: its student is trained",
        lambda: trained_seconds(
            functools.partial(train, costs(config, entries[0].model.network, images)),
            images,
            shared_by=1,
        ),
    )
    write_row(
        sheet,
        "seconds a teacher, Approximation I: one student for all",
        lambda: trained_seconds(
            lambda images, seed: train_alone(
                config, config.student, images, config.student_training, seed=seed
            ),
            images,
            shared_by=len(entries),
        ),
    )


def trained_seconds(train: Callable, images, *, shared_by: int) -> Value:
    """Seconds of the second of two trainings, of seeds that no other row has."""
    train(images, seed=1000)
    start = time.perf_counter()
    train(images, seed=1001)
    return Value((time.perf_counter() - start) / shared_by)


def draw_figure9(table, config: DoubleWindow, entry: Entry, target: Task) -> None:
    """Draws t-SNE of features of the true and the fictitious student, ten classes."""
    import sklearn.manifold

    if table.path.with_suffix(".svg").exists():
        return
    names = target.train.class_names
    chosen = np.random.default_rng(0).permutation(len(names))[:10]
    shown = np.isin(target.train.labels, chosen)
    images, labels = target.train.images[shown], target.train.labels[shown]
    network = entry.model.network
    cost = costs(config, network, target.train)
    true = train_student(config, entry.model, cost, target.train, seed=config.seeds[0])
    figure, (panels,) = axes(1, 2, size=(7, 3.2))
    for panel, title, model in (
        (panels[0], "true student", true.network),
        (panels[1], "fictitious student: the teacher's features", network),
    ):
        points = sklearn.manifold.TSNE(
            perplexity=min(30, len(labels) / 4), random_state=0
        ).fit_transform(embedding_and_logits(model, images)[0])
        for label in chosen:
            own = points[labels == label]
            panel.plot(own[:, 0], own[:, 1], ".", markersize=3, label=names[label])
        panel.set(title=title, xticks=[], yticks=[])
    panels[1].legend(fontsize="xx-small", loc="upper left", bbox_to_anchor=(1, 1))
    harness.save_figure(figure, table)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
