"""What paper A claims beside its tables: other data, FGSM, surrogates, a baseline.

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

import time

import numpy as np

from experiments import harness
from experiments.adversarial.support import attacks, measures, networks, rows, transfers
from experiments.adversarial.support.networks import PRESETS
from experiments.adversarial.support.transfers import Setting
from experiments.harness import Value
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
    table = harness.Table("adversarial", "claims", preset, config.results)
    sheet = rows.Sheet(table, networks.settings(config))
    found = {}
    for seed in config.seeds:
        setting = transfers.setting(config, seed=seed)
        by_pgd, by_fgsm = (
            attacked(config, setting, attack, setting.x)
            for attack in (attacks.pgd(config), attacks.fgsm())
        )
        found[seed] = (
            other_data(config, sheet, setting, by_pgd)
            | faster_attack(config, sheet, setting, by_pgd, by_fgsm)
            | surrogates(sheet, setting, by_pgd)
            | baseline(sheet, setting, by_pgd)
        )
    rows.summaries(sheet, found, printed={}, signs=CLAIMS)


def attacked(config, setting: Setting, attack, x) -> list[transfers.Transfers]:
    """Attacks all sources; those of Table 1 are read where they were made before."""
    return transfers.both_ways(
        config,
        setting.target,
        setting.sources,
        attack,
        x,
        seed=setting.seed,
        fed=(*setting.sources, *setting.heads),
    )


def alphas(found: list[transfers.Transfers]) -> np.ndarray:
    """alpha1 of each image and source, T->S."""
    return measures.alphas(transfer.from_target for transfer in found)


def other_data(config, sheet, setting: Setting, by_pgd) -> dict[str, Value]:
    """Claim 1."""
    test = networks.images(config, config.source_data, "test")
    test = networks.part(test, config.num_attacked, seed=0)
    elsewhere = attacked(config, setting, attacks.pgd(config), attacks.pixels(test))
    here, there = (measures.means(alphas(found)) for found in (by_pgd, elsewhere))
    per_model(sheet, setting, "alpha1 on target data", here)
    per_model(sheet, setting, "alpha1 on source data", there)
    right = accuracies(setting)
    return write_rows(
        sheet,
        setting,
        {
            "Pearson over models, accuracy and alpha1 on source data": (
                lambda: rows.over_models(right, there)
            ),
            "Pearson over models, alpha1 on source and on target data": (
                lambda: rows.over_models(here, there)
            ),
            "accuracy lost by the choice of alpha1 on target data": (
                lambda: regret(here, right)
            ),
            "accuracy lost by the choice of alpha1 on source data": (
                lambda: regret(there, right)
            ),
        },
    )


def faster_attack(config, sheet, setting: Setting, by_pgd, by_fgsm) -> dict:
    """Claim 2; also with alpha1 at most 1, where no single image decides."""
    slow, fast = alphas(by_pgd), alphas(by_fgsm)
    computed = {}
    for suffix, limit in (("", np.inf), (", alpha1 at most 1", 1.0)):
        pair = np.minimum(slow, limit), np.minimum(fast, limit)
        means = [measures.means(values) for values in pair]
        per_model(sheet, setting, f"alpha1 by FGSM{suffix}", means[1])
        computed |= {
            f"{FGSM_MODELS}{suffix}": lambda means=means: rows.over_models(*means),
            f"{FGSM_SAMPLES}{suffix}": lambda pair=pair: rows.over_samples(
                *pair, seed=setting.seed
            ),
            f"accuracy lost by the choice of alpha1 by FGSM{suffix}": (
                lambda means=means: regret(means[1], accuracies(setting))
            ),
        }
    computed["processor time of PGD over FGSM"] = lambda: Value(
        seconds(setting, attacks.pgd(config)) / seconds(setting, attacks.fgsm())
    )
    return write_rows(sheet, setting, computed)


def surrogates(sheet, setting: Setting, by_pgd) -> dict[str, Value]:
    """Claim 3: attacks on each source, fed to the target that they did not see."""
    changed = [
        transfers.fooled(setting.target, transfer.to_target, setting.x)
        for transfer in by_pgd
    ]
    per_model(sheet, setting, "share of answers changed", changed)
    right = accuracies(setting)
    chosen = changed[int(np.argmax(right))]
    return write_rows(
        sheet,
        setting,
        {
            "Pearson over models, accuracy and share of answers changed": (
                lambda: rows.over_models(right, changed)
            ),
            "share of answers changed, best transfer less the mean": (
                lambda: Value(chosen - float(np.mean(changed)))
            ),
            "share of answers changed, best transfer less the best": (
                lambda: Value(chosen - max(changed))
            ),
        },
    )


def baseline(sheet, setting: Setting, by_pgd) -> dict[str, Value]:
    """Claim 4."""
    cosines = np.stack(
        [
            attacks.gradient_cosines(source, setting.target, setting.x)
            for source in setting.sources
        ],
        axis=1,
    )
    means = cosines.mean(axis=0)
    per_model(sheet, setting, "cosine of the loss gradients", means)
    right = accuracies(setting)
    computed = {
        "Pearson over models, accuracy and cosine": (
            lambda: rows.over_models(right, means)
        ),
        "accuracy lost by the choice of the cosine": lambda: regret(means, right),
    }
    for name, values in (("cosine", cosines), ("alpha1", alphas(by_pgd))):
        plain = values, setting.losses
        ranked = tuple(measures.ranks(part) for part in plain)
        for kind, pair in (("Pearson", plain), ("Spearman", ranked)):
            cell = f"{kind} over samples, loss and {name}, pooled"
            computed[cell] = lambda pair=pair: rows.over_samples(
                *pair, seed=setting.seed
            )
    return write_rows(sheet, setting, computed)


def accuracies(setting: Setting) -> list[float]:
    """After the transfer, of each source."""
    return list(setting.accuracies.values())


def regret(scores, right) -> Value:
    """The accuracy lost by taking the source of the best score."""
    return Value(correlations.top_k_regret(scores, right, k=1))


def per_model(sheet, setting: Setting, cell: str, values) -> None:
    """One row a source."""
    for name, value in zip(setting.accuracies, values, strict=True):
        rows.row(
            sheet,
            f"{cell}, {name}",
            lambda value=value: Value(float(value)),
            seed=setting.seed,
        )


def write_rows(sheet, setting: Setting, computed) -> dict[str, Value]:
    """Rows by their names, judged where something is claimed."""
    return {
        cell: rows.row(sheet, cell, compute, seed=setting.seed, claim=CLAIMS.get(cell))
        for cell, compute in computed.items()
    }


def seconds(setting: Setting, attack) -> float:
    """Processor time of an attack on the reference model, once it is compiled."""
    x = setting.x[: attacks.BATCH_SIZE]
    attacks.deltas(setting.target, attack, x, seed=0)
    start = time.process_time()
    attacks.deltas(setting.target, attack, x, seed=0)
    return time.process_time() - start


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
