"""Claims of paper A beside its tables: other data, FGSM, surrogates, a baseline.

Run: `python -m experiments.adversarial.claims_of_the_text cpu --data-dir DIR` after
`table1_table5_table6_architectures.py`, whose networks and attacks it finds in `--out`.

1. Section 3.2 conjectures that the attacks may be made on other data than those of the
transfer: here on test images of CIFAR-10, which the sources learned. 2. Appendix G.2.1
says that FGSM finds the same candidates as PGD, for less. 3. Section 5 says that a
source which transfers its knowledge better is the better surrogate for attacks on a
hidden target. (`table3_mixtures.py` has it for its sources.) 4. The mean cosine of the
loss gradients (Demontis et al., 2019) as a baseline for what alpha1 says about the
transfer.

The paper prints no numbers for these.
"""

import functools
import time
from collections.abc import Callable

import numpy as np

from experiments import harness
from experiments.adversarial.support import attacks, measures, networks, transfers
from experiments.adversarial.support.attacks import Attack
from experiments.adversarial.support.networks import PRESETS
from experiments.adversarial.support.transfers import Setting, Transfers
from experiments.harness import Value
from experiments.sheets import (
    Sheet,
    over_models,
    over_samples,
    sign_verdict,
    write_known,
    write_row,
    write_seed_means,
)
from jtransfer.ranking import correlations

FGSM_MODELS = "Pearson over models, alpha1 by FGSM and by PGD"
FGSM_SAMPLES = "Pearson over samples, alpha1 by FGSM and by PGD, pooled"
CLAIMS = {
    "Pearson over models, accuracy and alpha1 on source data": 1.0,
    "Pearson over models, alpha1 on source and on target data": 1.0,
    FGSM_MODELS: 1.0,
    FGSM_SAMPLES: 1.0,
    f"{FGSM_MODELS}, alpha1 at most 1": 1.0,
    f"{FGSM_SAMPLES}, alpha1 at most 1": 1.0,
    "Pearson over models, accuracy and share of answers changed": 1.0,
    "share of answers changed, best transfer less the mean": 1.0,
    "Pearson over samples, loss and alpha1, pooled": -1.0,
    "Spearman over samples, loss and alpha1, pooled": -1.0,
}
"""The signs of what is claimed; the baseline is not judged."""


def main(config: networks.Config, preset: str) -> None:
    """Fills the table for each seed, and then the means."""
    sheet = networks.new_sheet(config, "claims", preset)
    by_seed = {}
    for seed in config.seeds:
        setting = transfers.prepare_setting(config, seed=seed)
        by_pgd, by_fgsm = (
            attack_sources(config, setting, attack, setting.x)
            for attack in (attacks.pgd(config), attacks.fgsm())
        )
        by_seed[seed] = (
            write_other_data(config, sheet, setting, by_pgd)
            | write_faster_attack(config, sheet, setting, by_pgd, by_fgsm)
            | write_surrogates(sheet, setting, by_pgd)
            | write_baseline(sheet, setting, by_pgd)
        )
    write_seed_means(sheet, by_seed, printed={}, signs=CLAIMS)


def attack_sources(
    config: networks.Config, setting: Setting, attack: Attack, x: np.ndarray
) -> list[Transfers]:
    """Attacks all sources; those of Table 1 are read where they were made before."""
    return transfers.attack_both_ways(
        config,
        setting.target,
        setting.sources,
        attack,
        x,
        seed=setting.seed,
        fed=(*setting.sources, *setting.heads),
    )


def alphas(both_ways: list[Transfers]) -> np.ndarray:
    """alpha1 of each image and source, T->S."""
    return measures.alphas(transfer.from_target for transfer in both_ways)


def write_other_data(
    config: networks.Config, sheet: Sheet, setting: Setting, by_pgd: list[Transfers]
) -> dict[str, Value]:
    """Writes the rows of claim 1: alpha1 on source data beside that on target data."""
    test = networks.images(config, config.source_data, "test")
    test = attacks.pixels(networks.part(test, config.num_attacked, seed=0))
    elsewhere = attack_sources(config, setting, attacks.pgd(config), test)
    here, there = (measures.means(alphas(t)) for t in (by_pgd, elsewhere))
    write_sources(sheet, setting, "alpha1 on target data", here)
    write_sources(sheet, setting, "alpha1 on source data", there)
    right = accuracies(setting)
    return write_claims(
        sheet,
        setting,
        {
            "Pearson over models, accuracy and alpha1 on source data": (
                functools.partial(over_models, right, there)
            ),
            "Pearson over models, alpha1 on source and on target data": (
                functools.partial(over_models, here, there)
            ),
            "accuracy lost by the choice of alpha1 on target data": (
                functools.partial(regret, here, right)
            ),
            "accuracy lost by the choice of alpha1 on source data": (
                functools.partial(regret, there, right)
            ),
        },
    )


def write_faster_attack(
    config: networks.Config,
    sheet: Sheet,
    setting: Setting,
    by_pgd: list[Transfers],
    by_fgsm: list[Transfers],
) -> dict[str, Value]:
    """Writes the rows of claim 2; also with alpha1 at most 1, against outliers."""
    slow, fast = alphas(by_pgd), alphas(by_fgsm)
    computed = {}
    for suffix, limit in (("", np.inf), (", alpha1 at most 1", 1.0)):
        pair = np.minimum(slow, limit), np.minimum(fast, limit)
        means = [measures.means(values) for values in pair]
        write_sources(sheet, setting, f"alpha1 by FGSM{suffix}", means[1])
        computed |= {
            f"{FGSM_MODELS}{suffix}": functools.partial(over_models, *means),
            f"{FGSM_SAMPLES}{suffix}": functools.partial(
                over_samples, *pair, seed=setting.seed
            ),
            f"accuracy lost by the choice of alpha1 by FGSM{suffix}": (
                functools.partial(regret, means[1], accuracies(setting))
            ),
        }
    computed["processor time of PGD over FGSM"] = lambda: Value(
        seconds(setting, attacks.pgd(config)) / seconds(setting, attacks.fgsm())
    )
    return write_claims(sheet, setting, computed)


def write_surrogates(
    sheet: Sheet, setting: Setting, by_pgd: list[Transfers]
) -> dict[str, Value]:
    """Writes the rows of claim 3: attacks on each source, fed to the unseen target."""
    changed = [
        transfers.fooled(setting.target, transfer.to_target, setting.x)
        for transfer in by_pgd
    ]
    write_sources(sheet, setting, "share of answers changed", changed)
    right = accuracies(setting)
    chosen = changed[int(np.argmax(right))]
    less_mean, less_best = chosen - float(np.mean(changed)), chosen - max(changed)
    return write_claims(
        sheet,
        setting,
        {
            "Pearson over models, accuracy and share of answers changed": (
                functools.partial(over_models, right, changed)
            ),
            "share of answers changed, best transfer less the mean": (
                functools.partial(Value, less_mean)
            ),
            "share of answers changed, best transfer less the best": (
                functools.partial(Value, less_best)
            ),
        },
    )


def write_baseline(
    sheet: Sheet, setting: Setting, by_pgd: list[Transfers]
) -> dict[str, Value]:
    """Writes the rows of claim 4: cosines of loss gradients as a baseline."""
    cosines = np.stack(
        [
            attacks.gradient_cosines(source, setting.target, setting.x)
            for source in setting.sources
        ],
        axis=1,
    )
    means = cosines.mean(axis=0)
    write_sources(sheet, setting, "cosine of the loss gradients", means)
    right = accuracies(setting)
    computed = {
        "Pearson over models, accuracy and cosine": (
            functools.partial(over_models, right, means)
        ),
        "accuracy lost by the choice of the cosine": (
            functools.partial(regret, means, right)
        ),
    }
    for name, values in (("cosine", cosines), ("alpha1", alphas(by_pgd))):
        plain = values, setting.losses
        ranked = tuple(measures.ranks(part) for part in plain)
        for correlation, pair in (("Pearson", plain), ("Spearman", ranked)):
            cell = f"{correlation} over samples, loss and {name}, pooled"
            computed[cell] = functools.partial(over_samples, *pair, seed=setting.seed)
    return write_claims(sheet, setting, computed)


def accuracies(setting: Setting) -> list[float]:
    """Accuracies of the sources after the transfer."""
    return list(setting.accuracies.values())


def regret(scores, right) -> Value:
    """The accuracy lost by taking the source of the best score."""
    return Value(correlations.top_k_regret(scores, right, k=1))


def write_sources(sheet: Sheet, setting: Setting, cell: str, values) -> None:
    """Writes a number of each source, one row a source."""
    for name, value in zip(setting.accuracies, values, strict=True):
        write_known(sheet, f"{cell}, {name}", float(value), seed=setting.seed)


def write_claims(
    sheet: Sheet, setting: Setting, computed: dict[str, Callable[[], Value]]
) -> dict[str, Value]:
    """Writes rows by their names, judged where the paper claims something."""
    return {
        cell: write_row(
            sheet,
            cell,
            compute,
            seed=setting.seed,
            verdict=sign_verdict(CLAIMS.get(cell)),
        )
        for cell, compute in computed.items()
    }


def seconds(setting: Setting, attack: Attack) -> float:
    """Processor seconds of an attack on the reference model, once it is compiled.

    Its outputs before and after the attack are part of it.
    """
    x = setting.x[: attacks.BATCH_SIZE]
    attacks.deltas(setting.target, attack, x, seed=0)
    start = time.process_time()
    attacks.deltas(setting.target, attack, x, seed=0)
    return time.process_time() - start


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
