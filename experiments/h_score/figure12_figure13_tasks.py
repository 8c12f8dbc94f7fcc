"""Section 5.2: which task to transfer from, on tasks derived from photographs.

Run: `python -m experiments.h_score.figure12_figure13_tasks cpu --data-dir DIR` with
CIFAR-10 and scene15 prepared there; 12 minutes on a core, in pieces. Seven tasks on
grey, blurred and noisy images (`support/derived_tasks.py`) stand in for the eight of
Taskonomy. An encoder is trained for each, its features are scored for every task, and a
decoder for every task is trained on them: ranking of the sources by H-score and by the
decoders' accuracy (Figures 7, 12, 13), all pairs of sources (Figure 8), H-scores by
pixel of single sources and of pairs (Figure 9), clusters of tasks. Expected: rankings
alike for every target, and each task its own best source. Scores are those of the
images on which the decoders are trained, other images than those of the encoders.
"""

import numpy as np

from experiments import harness
from experiments.h_score.support import figures, task_figures
from experiments.h_score.support.dense_scores import chance_accuracy, chance_score
from experiments.h_score.support.derived_tasks import DEPTH, answers, num_answers
from experiments.h_score.support.task_transfer import (
    PRESETS,
    Config,
    Grids,
    Pools,
    grids,
    h_scores,
    kept_arrays,
    pools,
    quality,
)
from jtransfer.ranking import correlations, task_structure
from jtransfer.scores import dense_h_score
from jtransfer.scores.higher_order import source_subsets


def main(config: Config, preset: str) -> None:
    """Writes the rows and the figures."""
    table = harness.Table("h_score", "tasks", preset, config.results)
    scores, accuracies = [], []
    for seed in config.seeds:
        of = pools(config, seed=seed)
        sources = [grids(config, of, task, seed=seed) for task in config.tasks]
        reached = [
            quality(config, of, source, task, seed=seed)
            for task, source in zip(config.tasks, sources, strict=True)
        ]
        accuracies.append(np.array([decoders.accuracy for decoders in reached]))
        losses = np.array([decoders.loss for decoders in reached])
        singles, pairs = all_scores(config, of, sources, seed=seed)
        scores.append(singles)
        write_rankings(config, table, singles, accuracies[-1], losses, seed=seed)
        write_second_order(config, table, singles, pairs, seed=seed)
        if seed == config.seeds[0]:
            write_chances(config, table, of, sources[0], seed=seed)
            write_heat_maps(config, table, of, sources, singles, pairs, seed=seed)
    write_matrices(config, table, np.array(scores), np.array(accuracies))


def all_scores(config: Config, of: Pools, sources: list[Grids], *, seed: int):
    """H-scores of all sources and of all pairs for all targets, `[set, T]` each."""

    def make():
        options = {"num_levels": config.num_levels, "orders": (1, 2)}
        columns = [h_scores(of, sources, task, **options) for task in config.tasks]
        return [np.stack(of_order, axis=1) for of_order in zip(*columns, strict=True)]

    return kept_arrays(config, f"scores-{seed}", make)


def write_rankings(
    config: Config, table, scores, accuracies, losses, *, seed: int
) -> None:
    """Writes how the two rankings of the sources agree, by target and together."""
    shared = {"seed": seed}
    by_accuracy = task_structure.ranking_agreement(scores, accuracies)
    by_loss = task_structure.ranking_agreement(scores, -losses).spearman
    for task, rho, of_loss, gain, chance in zip(
        config.tasks,
        by_accuracy.spearman,
        by_loss,
        by_accuracy.dcg,
        by_accuracy.chance_dcg,
        strict=True,
    ):
        figures.write_row(table, f"Spearman, target {task}", rho, config, **shared)
        cell = f"Spearman with less log-loss, target {task}"
        figures.write_row(table, cell, of_loss, config, **shared)
        cell = f"DCG over the ideal one, target {task}"
        verdict = f"By chance it is {chance:.3f}."
        figures.write_row(table, cell, gain, config, verdict=verdict, **shared)
    positive = int(np.sum(by_accuracy.spearman > 0))
    figures.write_row(
        table,
        "Spearman of H-score and accuracy, mean over the targets",
        figures.mean(by_accuracy.spearman),
        config,
        verdict=f"Positive for {positive} of {len(config.tasks)} targets; "
        "for all in the paper, with affinity.",
        **shared,
    )
    cell = "Spearman of H-score and less log-loss, mean over the targets"
    positive = int(np.sum(by_loss > 0))
    verdict = f"Positive for {positive} of {len(config.tasks)} targets."
    mean = figures.mean(by_loss)
    figures.write_row(table, cell, mean, config, verdict=verdict, **shared)
    cell = "DCG over the ideal one, mean over the targets"
    figures.write_row(table, cell, figures.mean(by_accuracy.dcg), config, **shared)
    for name, matrix in (("H-score", scores), ("accuracy", accuracies)):
        own = matrix.argmax(axis=0) == np.arange(len(config.tasks))
        cell = f"share of the targets whose best source is their own, by {name}"
        figures.write_row(table, cell, own.mean(), config, **shared)


def write_second_order(config: Config, table, singles, pairs, *, seed: int) -> None:
    """Writes how often the best pair of sources is that of the two best sources."""
    subsets = source_subsets(len(config.tasks), order=2)
    best = subsets[pairs.argmax(axis=0)]
    leading = np.sort(np.argsort(-singles, axis=0)[:2].T, axis=1)
    same = (best == leading).all(axis=1)
    share, printed = same.mean(), 0.75
    figures.write_row(
        table,
        "share of the targets whose best pair is that of the best two sources",
        share,
        config,
        seed=seed,
        paper_value=printed,
        verdict=f"{'At least as' if share >= printed else 'Less'} often "
        f"{'as' if share >= printed else 'than'} in the paper: "
        f"for {same.sum()} of {len(config.tasks)} targets.",
    )


def write_chances(
    config: Config, table, of: Pools, source: Grids, *, seed: int
) -> None:
    """Writes the H-score of unrelated features, and the commonest answer's accuracy."""
    num_features = source.transfer[0].size
    for task in config.tasks:
        flat = [
            labels.reshape(len(labels), -1)
            for _, labels in (
                answers(part, of.palettes, task) for part in (of.transfer, of.test)
            )
        ]
        score = chance_score(flat[0], num_features)
        figures.write_row(table, f"H-score by chance, {task}", score, config, seed=seed)
        accuracy = chance_accuracy(*flat)
        cell = f"accuracy of the most frequent answer, {task}"
        figures.write_row(table, cell, accuracy, config, seed=seed)


def write_heat_maps(
    config: Config, table, of: Pools, sources, singles, pairs, *, seed: int
):
    """Writes a row and a figure of H-scores by pixel, of single sources and pairs."""
    has, labels = answers(of.transfer, of.palettes, DEPTH)
    flat = [source.transfer[has].reshape(len(labels), -1) for source in sources]
    levels = num_answers(DEPTH, config.num_levels)

    def by_pixel(*parts):
        features = np.concatenate(parts, axis=1)
        return np.asarray(dense_h_score(features, labels, num_levels=levels))

    maps = np.array([by_pixel(features) for features in flat])
    patterns = np.corrcoef(maps.reshape(len(maps), -1))
    subsets = source_subsets(len(config.tasks), order=2)
    target = config.tasks.index(DEPTH)
    alike = np.array([patterns[a, b] for a, b in subsets])
    gains = pairs[:, target] - singles[subsets, target].max(axis=1)
    rho = harness.bootstrap_interval(correlations.spearman, alike, gains, seed=seed)
    figures.write_row(
        table,
        f"Spearman of the likeness of two sources' heat maps and their gain, {DEPTH}",
        rho,
        config,
        seed=seed,
        verdict="Sources with different patterns gain more together, as stated."
        if rho.high < 0
        else "That different patterns gain more, as stated, is not seen.",
    )
    shown = [subsets[index] for index in (alike.argmin(), alike.argmax())]
    rows = [(a, b, by_pixel(flat[a], flat[b])) for a, b in shown]
    figures.write_figure(
        table,
        task_figures.draw_heat,
        config.tasks,
        maps,
        rows,
        name="pixels",
        size=(6, 3.6),
    )


def write_matrices(config: Config, table, scores, accuracies) -> None:
    """Writes rows of all pairs of tasks, means over the seeds, and figures."""
    for name, matrix in (("H-score", scores), ("accuracy", accuracies)):
        for s, t in np.ndindex(*matrix.shape[1:]):
            pair = f"source {config.tasks[s]}, target {config.tasks[t]}"
            # A row that stands already is kept: the seeds must be in its name.
            cell = f"{name}, {pair}, mean over {len(matrix)} seeds"
            figures.write_row(table, cell, figures.mean(matrix[:, s, t]), config)
    means = scores.mean(axis=0), accuracies.mean(axis=0)
    figures.write_figure(
        table,
        task_figures.draw_ranks,
        config.tasks,
        *means,
        name="ranks",
        size=(7.5, 3.2),
    )
    figures.write_figure(
        table,
        task_figures.draw_bars,
        config.tasks,
        *means,
        name="bars",
        size=(7.5, 4.5),
    )
    linkage = task_structure.task_linkage(means[0])
    figures.write_figure(
        table, task_figures.draw_tree, config.tasks, linkage, name="tree", size=(5, 2.6)
    )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
