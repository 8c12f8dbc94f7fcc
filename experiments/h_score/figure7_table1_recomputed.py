"""Table 1 and Figure 7: the ranking by H-score against the one by task affinity.

Run: `python -m experiments.h_score.figure7_table1_recomputed cpu`; seconds, for nothing
is trained: both scores of the 8 x 8 pairs of Taskonomy tasks are the printed ones
(`printed/table1.csv`). The Spearman correlations and discounted gains of Figure 7
(which the text does not print) are computed from the printed ranks, the ranks are held
against the printed values, and what the paper says of its rankings against the ranks.
Relevance, for the gains, is 7 for the source of the highest affinity down to 0.
"""

import csv
import dataclasses
import functools
from pathlib import Path

import numpy as np
import scipy.cluster.hierarchy

from experiments import harness
from experiments.h_score.support import figures
from jtransfer.ranking import correlations, task_structure

TWO_D, THREE_D, CLASSES = (0, 1), (2, 3, 4, 5), (6, 7)
"""The tasks in the order of the table; Depth is the last of the 3D ones."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Of section 5.2, for the score that any features would get."""

    num_images: int = 20_000
    num_features: int = 2048
    num_levels: int = 16
    results: Path = harness.RESULTS


PRESETS = {name: ("seconds", Config()) for name in ("smoke", "cpu", "paper")}


def main(config: Config, preset: str) -> None:
    """Writes the rows and the figure."""
    table = harness.Table("h_score", "table1", preset, config.results)
    tasks, columns = printed()
    scores, affinities = -columns["h_rank"], -columns["affinity_rank"]
    for name, values, ranked in (
        ("H-score", columns["h_score"], scores),
        ("affinity", columns["affinity"], affinities),
    ):
        wrong = contradictions(values, ranked)
        named = [f"{tasks[a]} and {tasks[b]} for {tasks[t]}" for t, a, b in wrong]
        figures.write_row(
            table,
            f"pairs of sources ranked against their values, {name}",
            len(wrong),
            config,
            paper_value=0,
            verdict=f"In the wrong order: {'; '.join(named)}." if named else "None.",
        )
    spearman, gains, (chance, *_) = task_structure.ranking_agreement(
        scores.T, affinities.T
    )
    by_value = map(correlations.spearman, columns["h_score"], columns["affinity"])
    for task, rho, of_task in zip(tasks, spearman, gains, strict=True):
        figures.write_row(table, f"Spearman, target {task}", rho, config)
        figures.write_row(
            table, f"DCG over the ideal one, target {task}", of_task, config
        )
    figures.write_row(table, "DCG over the ideal one, chance", chance, config)
    figures.write_row(table, "Spearman, mean", figures.mean(spearman), config)
    cell = "Spearman of the values and not the ranks, mean"
    figures.write_row(table, cell, figures.mean(list(by_value)), config)
    figures.write_row(
        table, "DCG over the ideal one, mean", figures.mean(gains), config
    )

    holding = claims(tasks, scores, affinities)
    holding["Spearman is positive"] = dict(zip(tasks, spearman > 0, strict=True))
    holding["DCG is above chance"] = dict(zip(tasks, gains > chance, strict=True))
    holding |= groupings(columns["h_score"])
    for claim, holds in holding.items():
        failing = [task for task, true in holds.items() if not true]
        verdict = f"It fails for {', '.join(failing)}." if failing else "It holds."
        share = 1 - len(failing) / len(holds)
        fields = {"paper_value": 1, "verdict": verdict}
        figures.write_row(table, f"share of cases: {claim}", share, config, **fields)
    by_chance = chance_score(config)
    pixels = columns["h_score"][: len(TWO_D + THREE_D)]
    below = int(np.sum(pixels < by_chance))
    figures.write_row(
        table,
        "H-score of features that know nothing of the pixels",
        by_chance,
        config,
        verdict=f"{below} of the {pixels.size} printed scores of pixels are below it; "
        f"their median is {np.median(pixels):.2f}.",
    )
    figures.write_figure(table, draw, tasks, spearman, gains, chance, size=(7, 3))


def printed() -> tuple[list[str], dict[str, np.ndarray]]:
    """Names of the tasks, and each column of the table as a matrix `[target, source]`.

    A target's own row has its name first, so that sources are in the same order.
    """
    file = Path(__file__).parent / "printed" / "table1.csv"
    lines = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    tasks = list(dict.fromkeys(line["target"] for line in lines))
    shape = (len(tasks), len(tasks))
    names = ("h_rank", "h_score", "affinity_rank", "affinity")
    return tasks, {
        name: np.array([float(line[name]) for line in lines]).reshape(shape)
        for name in names
    }


def contradictions(values: np.ndarray, ranked: np.ndarray) -> list[list[int]]:
    """Row and two columns where the first value is higher and is ranked lower."""
    higher = values[:, :, None] > values[:, None]
    return np.argwhere(higher & (ranked[:, :, None] < ranked[:, None])).tolist()


def chance_score(config: Config) -> float:
    """Expected H-score of features that are independent of labels of so many levels.

    Between-class scatter has this share of each whitened direction on average:
    (levels - 1) / (examples - 1).
    """
    share = (config.num_levels - 1) / (config.num_images - 1)
    return config.num_features * share


def claims(tasks, scores, affinities) -> dict[str, dict[str, bool]]:
    """Statements of sections 5.2 and G about the rankings, case by case."""

    def best(values, target, count):
        return set(np.argsort(-values[target])[:count].tolist())

    def agree(targets, count):
        return {
            tasks[t]: best(scores, t, count) == best(affinities, t, count)
            for t in targets
        }

    return {
        "a class task has the same best two sources by both": agree(CLASSES, 2),
        "a 2D task has the same best two sources by both": agree(TWO_D, 2),
        "Depth has the same best three sources by both": agree(THREE_D[-1:], 3),
        "the best source of a class task is itself": {
            tasks[t]: best(scores, t, 1) == {t} for t in CLASSES
        },
        "the best four sources of a 3D task are the 3D tasks": {
            f"{tasks[t]} by {name}": best(values, t, 4) == set(THREE_D)
            for t in THREE_D
            for name, values in (("H-score", scores), ("affinity", affinities))
        },
    }


def groupings(scores: np.ndarray) -> dict[str, dict[str, bool]]:
    """Statements of section 5.2 about the dendrogram, for linkages that it may mean."""
    pixels = len(TWO_D + THREE_D)
    linkages = {"average, normalised": task_structure.task_linkage}
    for method in ("single", "complete", "average", "ward"):
        linkages[method] = functools.partial(plain_linkage, method)
    top, below = {}, {}
    for name, linkage in linkages.items():
        top[name] = set(CLASSES) in clusters(linkage(scores.T), 2)
        inner = clusters(linkage(scores[:pixels].T), 2)
        most = max(len(group & set(THREE_D)) for group in inner)
        below[name] = set(TWO_D) in inner and most >= len(THREE_D) - 1
    return {
        "the dendrogram first splits pixel tasks and class tasks": top,
        "it then splits the 2D tasks from most 3D tasks": below,
    }


def plain_linkage(method: str, scores: np.ndarray) -> np.ndarray:
    """Dendrogram of the targets by scores `[source, target]` as they are."""
    return scipy.cluster.hierarchy.linkage(scores.T, method)


def clusters(linkage: np.ndarray, count: int) -> list[set[int]]:
    """Groups of targets where a dendrogram is cut into so many."""
    labels = scipy.cluster.hierarchy.fcluster(linkage, count, "maxclust")
    return [
        set(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)
    ]


def draw(figure, tasks, spearman, gains, chance: float) -> None:
    """Draws Spearman correlations and discounted gains by target."""
    left, right = figure.subplots(1, 2, sharey=True)
    left.barh(tasks, spearman)
    left.axvline(0, color="black", lw=0.8)
    left.set(xlabel="Spearman")
    left.invert_yaxis()
    right.barh(tasks, gains)
    right.axvline(chance, color="black", ls=":", label="chance")
    right.set(xlabel="DCG over the ideal one", xlim=(0.5, 1))
    right.legend()


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
