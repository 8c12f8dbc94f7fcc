"""Table 3 and Figure 8 of paper A: sources on animals and vehicles, attacks S->T.

Run: `python experiments/adversarial/mixtures.py cpu --data-dir DIR` with CIFAR-10 and
STL-10, or the ten classes `tin10`, prepared there. A killed run goes on.

Five networks learn parts of CIFAR-10 of equal size with 0 to 100% vehicles, get a new
last layer for the vehicles of the second data set, and are attacked there. The attacks
are fed to a network that learned the vehicles of the second data set. The paper finds
that the source that transfers better also has the attacks that transfer better.
"""

import sys
from pathlib import Path

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))
import _attacks
import _drawings
import _measures
import _rows
import _shared
import _transfers
import harness
from _measures import Printed
from harness import Value

from jtransfer import data

SHARES = (0, 0.25, 0.5, 0.75, 1)
VEHICLES = ("airplane", "automobile", "bus", "car", "ship", "truck")
PAPER = Printed(
    accuracies=(0.4500, 0.4568, 0.5909, 0.7162, 0.8184),
    columns={
        _measures.ALPHA1: (0.310, 0.318, 0.338, 0.337, 0.358),
        _measures.ALPHA2: (0.146, 0.305, 0.355, 0.312, 0.357),
        _measures.ALPHA12: (0.0169, 0.0383, 0.0436, 0.0402, 0.0489),
    },
    pearson=-0.06,
)
FOOLED = "share of the target's answers that the attack changes"
BY_FOOLED = _measures.over_models_cell(FOOLED)
BY_SHARE = {
    measure: f"Pearson over models, share of vehicles and {measure}"
    for measure in ("accuracy", _measures.ALPHA1)
}
SIGNS = {BY_FOOLED: 1.0}
"""What the paper claims in section 5 without a number."""


def main(config: _shared.Config, preset: str) -> None:
    """Fills the table for each seed, and then the means."""
    table = harness.Table("adversarial", "table3", preset, config.results)
    sheet = _rows.Sheet(table, _shared.settings(config))
    found = {seed: measured(config, sheet, seed) for seed in config.seeds}
    _rows.summaries(sheet, found, printed=correlations(), signs=SIGNS)


def correlations() -> dict[str, float]:
    """The correlations of the paper, those over models from its columns."""
    by_share = (PAPER.accuracies, PAPER.columns[_measures.ALPHA1])
    return _measures.correlations(PAPER) | {
        cell: _rows.over_models(SHARES, column).value
        for cell, column in zip(BY_SHARE.values(), by_share, strict=True)
    }


def measured(config: _shared.Config, sheet, seed: int) -> dict[str, Value]:
    """All rows of one seed; returns those that are averaged over the seeds."""
    train, test = (vehicles(config, split) for split in ("train", "test"))
    target = _shared.target(config, train, test, seed=seed)
    sources = mixed_sources(config, seed)
    heads = [_shared.with_head(config, s, train, seed=seed) for s in sources]
    x, labels = _transfers.attacked_images(config, target, test)
    losses = np.stack(
        [_attacks.cross_entropies(head, x, labels) for head in heads], axis=1
    )
    transfers = _transfers.transfers(
        config, target, sources, _attacks.pgd(config), x, seed=seed
    )
    pairs, accuracies, fooled = {}, {}, {}
    for share, head, transfer in zip(SHARES, heads, transfers, strict=True):
        name = f"{share:.0%} vehicles"
        pairs[name] = transfer.to_target
        accuracies[name] = _attacks.accuracy(head, test)
        fooled[name] = _rows.row(
            sheet,
            f"{FOOLED}, {name}",
            lambda pair=transfer.to_target: Value(_transfers.fooled(target, pair, x)),
            seed=seed,
        ).value
    found = _measures.table_rows(
        sheet, pairs, accuracies, losses, PAPER, seed=seed, signs=SIGNS
    )
    alphas = _measures.alphas(pairs.values())
    right = list(accuracies.values())
    columns = {
        BY_FOOLED: (right, list(fooled.values())),
        BY_SHARE["accuracy"]: (SHARES, right),
        BY_SHARE[_measures.ALPHA1]: (SHARES, _measures.means(alphas)),
    }
    known = correlations()
    for cell, pair in columns.items():
        found[cell] = _rows.row(
            sheet,
            cell,
            lambda pair=pair: _rows.over_models(*pair),
            seed=seed,
            paper_value=known.get(cell),
            claim=known.get(cell, SIGNS.get(cell)),
        )
    if seed == config.seeds[0]:
        _drawings.scatter(sheet, alphas, losses, list(pairs), "PGD, S->T")
    return found


def mixed_sources(config: _shared.Config, seed: int) -> tuple[_shared.Model, ...]:
    """One network for each share of vehicles, all of the target's architecture."""
    train, test = (
        _shared.images(config, config.source_data, split) for split in ("train", "test")
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
        _shared.trained(
            config,
            config.target,
            data.examples_at(train, subset),
            test,
            config.num_epochs,
            seed=seed,
        )
        for subset in subsets
    )


def vehicles(config: _shared.Config, split: str) -> data.Images:
    """The vehicles of the second data set."""
    found = _shared.images(config, _shared.target_data(config), split)
    wanted = [i for i, name in enumerate(found.class_names) if name in VEHICLES]
    return data.examples_of(found, wanted)


if __name__ == "__main__":
    name = next((word for word in sys.argv[1:] if word in _shared.PRESETS), "cpu")
    main(tyro.extras.overridable_config_cli(_shared.PRESETS), name)
