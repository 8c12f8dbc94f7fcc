"""Tables 1, 5 and 6, Figures 4 and 5 of paper A: five architectures, attacks T->S.

Run: `python -m experiments.adversarial.table1_table5_table6_architectures cpu
--data-dir DIR` with CIFAR-10 and STL-10, or the ten classes `tin10`, prepared there;
half an hour of one core for the networks, which the other scripts share, and the
attacks. A killed run goes on.

Sources of five architectures learn CIFAR-10, get a new last layer for the second data
set, and are fed with attacks on a ResNet-18 that learned the second data set. The paper
finds that a source with a larger alpha1 on an image has the smaller loss there after
the transfer. alpha takes the outputs of the sources before the new layer, as in the
theory; Table 1 is shown for the outputs after it as well.

The headline cells (Tables 1 and 6) have all seeds, Table 5 has the first, n = 1.
"""

from experiments import harness
from experiments.adversarial.support import (
    attacks,
    drawings,
    measures,
    networks,
    transfers,
)
from experiments.adversarial.support.attacks import Attack
from experiments.adversarial.support.measures import Printed
from experiments.adversarial.support.networks import PRESETS
from experiments.adversarial.support.transfers import Setting
from experiments.harness import Value
from experiments.kept_networks import Model
from experiments.sheets import Sheet, write_seed_means
from jtransfer.attacks import L2

HEAD = " after the new head"
SIGNS = {f"{measures.POOLED}{HEAD}": -1.0}
"""Signs that the paper claims without a number."""


def printed(pearson, alpha1, alpha2, product) -> Printed:
    """A table of the paper; its last two columns fit squares of the definitions."""
    accuracies = (0.2830, 0.4565, 0.5509, 0.7660, 0.7792)
    columns = zip(measures.PRINTED, (alpha1, alpha2, product), strict=True)
    return Printed(accuracies, dict(columns), pearson)


PAPER = {
    "table1": printed(
        -0.51,
        (0.346, 0.324, 0.337, 0.538, 0.614),
        (0.189, 0.215, 0.205, 0.244, 0.234),
        (0.0258, 0.0254, 0.0268, 0.0707, 0.0899),
    ),
    # Its rows of LeNet and AlexNet have each other's name; here they are by accuracy.
    "table6": printed(
        -0.57,
        (0.279, 0.614, 0.803, 1.000, 0.962),
        (0.117, 0.208, 0.298, 0.405, 0.392),
        (0.0103, 0.0863, 0.205, 0.410, 0.368),
    ),
    "table5-pgd2": printed(
        -0.45,
        (0.0985, 0.2106, 0.1196, 0.2739, 0.1952),
        (0.0196, 0.0259, 0.0206, 0.0413, 0.0320),
        (0.00027, 0.00158, 0.00037, 0.00405, 0.00172),
    ),
    "table5-pgd4": printed(
        -0.49,
        (0.0974, 0.2099, 0.1283, 0.2853, 0.2495),
        (0.0225, 0.0309, 0.0230, 0.0481, 0.0414),
        (0.00029, 0.00192, 0.00048, 0.00496, 0.00337),
    ),
    "table5-mi": printed(
        -0.45,
        (0.1678, 0.0997, 0.1229, 0.2731, 0.3695),
        (0.0379, 0.0503, 0.0506, 0.0630, 0.0550),
        (0.0013, 0.0005, 0.0009, 0.0052, 0.0081),
    ),
    "table5-l2": printed(
        -0.40,
        (0.0809, 0.2430, 0.1101, 0.3619, 0.2506),
        (0.0175, 0.0190, 0.0188, 0.0303, 0.0237),
        (0.00018, 0.00149, 0.00031, 0.00464, 0.00179),
    ),
}
"""Fully connected, LeNet, AlexNet, ResNet-18, ResNet-50."""


def attacks_of(config: networks.Config) -> dict[str, Attack]:
    """The attack of each table; for MI the paper states neither radius nor decay."""
    steps = config.num_steps
    return {
        "table1": attacks.pgd(config),
        "table6": attacks.fgsm(),
        "table5-pgd2": attacks.attack("PGD", 2 / 255, steps),
        "table5-pgd4": attacks.attack("PGD", 4 / 255, steps),
        "table5-mi": attacks.attack("MI", 0.1, steps, decay=1.0, random_start=False),
        "table5-l2": attacks.attack("PGD-L2", 1.0, steps, norm=L2),
    }


def main(config: networks.Config, preset: str) -> None:
    """Fills one table after another, first those of all seeds."""
    for name, attack in attacks_of(config).items():
        sheet = networks.new_sheet(config, name, preset)
        seeds = config.seeds if name in ("table1", "table6") else config.seeds[:1]
        print(
            f"{name}: {attack.name}, radius {attack.settings.epsilon:.4f}", flush=True
        )
        by_seed = {
            seed: write_seed(
                config, sheet, attack, transfers.prepare_setting(config, seed=seed)
            )
            for seed in seeds
        }
        printed = measures.correlations(PAPER[name])
        write_seed_means(sheet, by_seed, printed=printed, signs=SIGNS)


def write_seed(
    config: networks.Config, sheet: Sheet, attack: Attack, setting: Setting
) -> dict[str, Value]:
    """Writes all rows of one seed; returns those that are averaged over the seeds."""
    values = write_side(config, sheet, attack, setting, setting.sources)
    if sheet.table.table == "table1":
        values |= write_side(config, sheet, attack, setting, setting.heads, HEAD)
    return values


def write_side(
    config: networks.Config,
    sheet: Sheet,
    attack: Attack,
    setting: Setting,
    models: tuple[Model, ...],
    suffix: str = "",
) -> dict[str, Value]:
    """Writes the rows by the outputs of `models`: the sources or their new heads."""
    both_ways = transfers.attack_both_ways(
        config,
        setting.target,
        models,
        attack,
        setting.x,
        seed=setting.seed,
        fed=(*setting.sources, *setting.heads),
    )
    pairs = {
        name: transfer.from_target
        for name, transfer in zip(setting.accuracies, both_ways, strict=True)
    }
    values = measures.write_models(
        sheet,
        pairs,
        setting.accuracies,
        setting.losses,
        PAPER[sheet.table.table],
        seed=setting.seed,
        suffix=suffix,
        signs=SIGNS,
    )
    if setting.seed == config.seeds[0]:
        drawings.draw_scatter(
            sheet,
            measures.alphas(pairs.values()),
            setting.losses,
            list(pairs),
            f"{attack.name}, radius {attack.settings.epsilon:.3g}{suffix}",
            name=suffix.strip().replace(" ", "-"),
        )
    return values


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
