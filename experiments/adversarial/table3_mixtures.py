"""Table 3 and Figure 8 of paper A: sources on animals and vehicles, attacks S->T.

Run: `python -m experiments.adversarial.table3_mixtures cpu --data-dir DIR` with
CIFAR-10 and STL-10, or the ten classes `tin10`, prepared there. A killed run goes on.

Five networks learn parts of CIFAR-10 of equal size with 0 to 100% vehicles, get a new
last layer for the vehicles of the second data set, and are attacked there. The attacks
are fed to a network that learned the vehicles of the second data set. The paper finds
that the source that transfers better also has the attacks that transfer better.
"""

import functools

import numpy as np

from experiments import harness
from experiments.adversarial.support import (
    attacks,
    drawings,
    measures,
    networks,
    transfers,
)
from experiments.adversarial.support.measures import Printed
from experiments.adversarial.support.networks import PRESETS
from experiments.harness import Value
from experiments.kept_networks import Model
from experiments.sheets import (
    Sheet,
    over_models,
    write_known,
    write_row,
    write_seed_means,
)
from jtransfer import data
from jtransfer.ranking.correlations import spearman

SHARES = (0, 0.25, 0.5, 0.75, 1)
VEHICLES = ("airplane", "automobile", "bus", "car", "ship", "truck")
PAPER = Printed(
    accuracies=(0.4500, 0.4568, 0.5909, 0.7162, 0.8184),
    columns={
        measures.ALPHA1: (0.310, 0.318, 0.338, 0.337, 0.358),
        measures.ALPHA2: (0.146, 0.305, 0.355, 0.312, 0.357),
        measures.ALPHA12: (0.0169, 0.0383, 0.0436, 0.0402, 0.0489),
    },
    pearson=-0.06,
)
FOOLED = "share of the target's answers that the attack changes"
BY_FOOLED = measures.over_models_cell(FOOLED)
BY_SHARE = {
    measure: f"Pearson over models, share of vehicles and {measure}"
    for measure in ("accuracy", measures.ALPHA1)
}
LEAST_RISE = 0.9
"""Spearman correlation of share and accuracy from which the accuracy rises."""
SIGNS = {BY_FOOLED: 1.0}
"""Signs that section 5 of the paper claims without a number."""


def main(config: networks.Config, preset: str) -> None:
    """Fills the table for each seed, and then the means."""
    sheet = networks.new_sheet(config, "table3", preset)
    by_seed = {seed: write_seed(config, sheet, seed) for seed in config.seeds}
    write_seed_means(sheet, by_seed, printed=correlations(), signs=SIGNS)


def correlations() -> dict[str, float]:
    """The correlations of the paper, those over models from its columns."""
    by_share = (PAPER.accuracies, PAPER.columns[measures.ALPHA1])
    return measures.correlations(PAPER) | {
        cell: over_models(SHARES, column).value
        for cell, column in zip(BY_SHARE.values(), by_share, strict=True)
    }


def write_seed(config: networks.Config, sheet: Sheet, seed: int) -> dict[str, Value]:
    """Writes all rows of one seed; returns those that are averaged over the seeds."""
    train, test = (vehicles(config, split) for split in ("train", "test"))
    target = networks.train_target(config, train, test, seed=seed)
    names = [f"{share:.0%} vehicles" for share in SHARES]
    mixed = dict(zip(names, train_mixed_sources(config, seed), strict=True))
    setting = transfers.transfer_sources(config, mixed, target, train, test, seed=seed)
    both_ways = transfers.attack_both_ways(
        config, target, setting.sources, attacks.pgd(config), setting.x, seed=seed
    )
    pairs = {n: t.to_target for n, t in zip(names, both_ways, strict=True)}
    fooled = [transfers.fooled(target, pair, setting.x) for pair in pairs.values()]
    for name, share in zip(names, fooled, strict=True):
        write_known(sheet, f"{FOOLED}, {name}", share, seed=seed)
    values = measures.write_models(
        sheet,
        pairs,
        setting.accuracies,
        setting.losses,
        PAPER,
        seed=seed,
        signs=SIGNS,
    )
    alphas = measures.alphas(pairs.values())
    accuracies = list(setting.accuracies.values())
    columns = {
        BY_FOOLED: (accuracies, fooled),
        BY_SHARE["accuracy"]: (SHARES, accuracies),
        BY_SHARE[measures.ALPHA1]: (SHARES, measures.means(alphas)),
    }
    rises = spearman(SHARES, accuracies) >= LEAST_RISE
    for cell, pair in columns.items():
        compute = functools.partial(over_models, *pair)
        if cell == BY_SHARE[measures.ALPHA1] and not rises:
            values[cell] = write_row(
                sheet,
                cell,
                compute,
                seed=seed,
                paper_value=correlations()[cell],
                verdict="Premise not met: the accuracy does not rise with the share.",
            )
            continue
        values[cell] = measures.write_judged(
            sheet, cell, compute, correlations(), SIGNS, seed=seed
        )
    if seed == config.seeds[0]:
        drawings.draw_scatter(sheet, alphas, setting.losses, names, "PGD, S->T")
    return values


def train_mixed_sources(config: networks.Config, seed: int) -> tuple[Model, ...]:
    """Trains one network for each share of vehicles, of the target's architecture."""
    train, test = (
        networks.images(config, config.source_data, split)
        for split in ("train", "test")
    )
    groups = np.isin(train.class_names, VEHICLES)
    subsets = data.class_mixtures(
        train.labels,
        np.flatnonzero(~groups).tolist(),
        np.flatnonzero(groups).tolist(),
        second_shares=SHARES,
        num_classes=len(train.class_names),
        seed=seed,
        num_examples=config.num_mixed,
    )
    return tuple(
        networks.train_network(
            config,
            config.target,
            data.examples_at(train, subset),
            test,
            config.num_epochs,
            seed=seed,
        )
        for subset in subsets
    )


def vehicles(config: networks.Config, split: str) -> data.Images:
    """The vehicles of the second data set."""
    images = networks.images(config, networks.target_data(config), split)
    classes = [i for i, name in enumerate(images.class_names) if name in VEHICLES]
    return data.examples_of(images, classes)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
