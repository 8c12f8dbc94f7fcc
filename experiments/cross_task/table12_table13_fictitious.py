"""Tables 12 and 13, Figure 9: the fictitious student, its likeness and its price.

Run: `python -m experiments.cross_task.table12_table13_fictitious cpu --data-dir DIR`
after `table11_double_window.py`, whose teachers and students it takes; minutes on one
core. The first target and all ten teachers. Table 12: how far the linear model on a
teacher's features is from the student that the teacher brings up, both at the
temperature of the score (which the paper does not state). Table 13: seconds a teacher
of each score, compiled, without the teacher's forward pass, which all need and which
has its own row.
"""

import functools

import numpy as np

from experiments import harness
from experiments.cross_task.support.assessments import (
    NAMES,
    divergence,
    evidence,
    seconds,
    values,
)
from experiments.cross_task.support.outputs import class_cost, embedding, logits
from experiments.cross_task.support.repository import (
    PRESETS,
    DoubleWindow,
    class_sets,
    repository,
    student,
    targets,
)
from experiments.cross_task.support.sheets import Sheet, axes, row, sheet
from experiments.harness import Value
from jtransfer import data
from jtransfer.ranking import correlations

TABLE_12 = (0.32, 0.41, 0.39, 0.47, 0.53, 0.36, 0.42, 0.47, 0.56, 0.59)
TABLE_13 = {"nce": 0.12, "leep": 0.11, "logme": 0.42, "sinkhorn_2": 0.74}


def main(config: DoubleWindow, preset: str) -> None:
    """Writes the rows of both tables and the figure."""
    entries, target = repository(config), targets(config)[0]
    write_table12(config, sheet(config, "table12", preset), entries, target)
    write_table13(config, sheet(config, "table13", preset), entries, target)
    figure9(sheet(config, "figure9", preset).table, config, entries[0], target)


def write_table12(config, found_sheet: Sheet, entries, target) -> None:
    """How far the fictitious student is from the true one, for the first target."""
    gaps, overlaps = [], []
    classes = class_sets(config)
    for h, entry in enumerate(entries):

        def compute(entry=entry):
            found = evidence(
                config, entry.model.network, entry.own_centers, target.train
            )
            models = [
                student(config, entry.model, found.cost, target.train, seed=seed)
                for seed in config.seeds
            ]
            outputs = [logits(model.network, target.train.images) for model in models]
            return harness.mean_interval(
                [
                    divergence(output, found.fictitious, config.temperature).value
                    for output in outputs
                ]
            )

        cell = f"KL of true to fictitious student, teacher {h + 1}"
        printed = TABLE_12[h] if len(entries) == len(TABLE_12) else None
        gaps.append(row(found_sheet, cell, compute, paper_value=printed).value)
        overlaps.append(data.class_overlap(classes[entry.window], classes[0]))
    for family in range(len(config.families)):
        own = [h for h, entry in enumerate(entries) if entry.family == family]
        row(
            found_sheet,
            f"Spearman of KL and share of the classes known, family {family + 1}",
            lambda own=own: Value(
                correlations.spearman(np.array(gaps)[own], np.array(overlaps)[own])
            ),
            paper_value=(-0.9, -1.0)[family],
            verdict=lambda rho: (
                "As printed: the gap grows as fewer classes are known."
                if rho.value <= -0.9
                else "Not as printed: the gap does not grow with each class less."
            ),
        )


def write_table13(config, found_sheet: Sheet, entries, target) -> None:
    """Seconds a teacher, compiled, without its forward pass and with that beside."""

    @functools.cache
    def times():
        found = {}
        for entry in entries:
            network, own = entry.model.network, entry.own_centers
            seen = evidence(config, network, own, target.train)
            for name, compute in values(seen).items():
                found.setdefault(name, []).append(seconds(compute))
            forward = seconds(lambda n=network: logits(n, target.train.images))
            found.setdefault("forward", []).append(forward)
        return found

    for name in ("nce", "leep", "logme", "h_score", "probe", "sinkhorn_2"):
        row(
            found_sheet,
            f"seconds a teacher, {NAMES[name]}",
            lambda name=name: harness.mean_interval(times()[name]),
            paper_value=TABLE_13.get(name),
        )
    row(
        found_sheet,
        "seconds a teacher, its outputs, which all scores need",
        lambda: harness.mean_interval(times()["forward"]),
    )


def figure9(table, config, entry, target) -> None:
    """t-SNE of what the true and the fictitious student see, ten classes."""
    import sklearn.manifold

    if table.path.with_suffix(".svg").exists():
        return
    names = target.train.class_names
    chosen = np.random.default_rng(0).permutation(len(names))[:10]
    shown = np.isin(target.train.labels, chosen)
    images, labels = target.train.images[shown], target.train.labels[shown]
    network = entry.model.network
    true = student(
        config,
        entry.model,
        class_cost(network, target.train),
        target.train,
        seed=config.seeds[0],
    )
    figure, (panels,) = axes(1, 2, size=(7, 3.2))
    for panel, title, model in (
        (panels[0], "true student", true.network),
        (panels[1], "fictitious student: the teacher's features", network),
    ):
        points = sklearn.manifold.TSNE(
            perplexity=min(30, len(labels) / 4), random_state=0
        ).fit_transform(embedding(model, images))
        for label in chosen:
            own = points[labels == label]
            panel.plot(own[:, 0], own[:, 1], ".", markersize=3, label=names[label])
        panel.set(title=title, xticks=[], yticks=[])
    panels[1].legend(fontsize="xx-small", loc="upper left", bbox_to_anchor=(1, 1))
    harness.save_figure(figure, table)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
