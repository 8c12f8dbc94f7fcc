"""Tables 1 and 6 over enough models: does alpha go with the transfer?

Run: `python -m experiments.adversarial.table1_many_sources cpu --data-dir DIR` with
CIFAR-10 and the ten classes `tin10` (or STL-10) prepared there; an hour on one core; a
killed run goes on. Five models, as the paper has, decide nothing: its own .86 over five
is below what five need. Here are networks of several architectures after several
lengths of training, and an EfficientNet-Lite0 of ImageNet. Two that were never trained
stand apart: they are no part of a correlation, and each measure is asked for the share
of the trained ones that it puts behind them.

Sources get a new linear head for the second data set, trained by 10 epochs of SGD as in
the paper, and one fitted to convergence; the accuracy after transfer is that of the
second. Measures are of the sources' own outputs, and of those of the converged head.
alpha1 is measured against the stronger of the own and the transferred attack, so at
most 1; chance is that of attacks made for other images. Fisher's intervals are over the
sources, which are not independent: some are earlier ends of one architecture.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable

import numpy as np

from experiments import harness
from experiments.adversarial.support import attacks, networks
from experiments.adversarial.support.attacks import Attack
from experiments.adversarial.support.converged_heads import (
    Target,
    Transferred,
    transferred,
)
from experiments.adversarial.support.networks import Config
from experiments.adversarial.support.source_measures import measures, over_means
from experiments.harness import Value
from experiments.kept_networks import Model
from experiments.sheets import (
    Sheet,
    over_models,
    over_seeds,
    sign_verdict,
    write_known,
    write_row,
)
from jtransfer.networks import pretrained

ALPHAS = ("alpha1", "alpha1 less chance", "alpha2", "alpha1 * alpha2")
SIZES = (1, 10, 50)
"""Images whose mean is one observation over samples."""
PAPER = {
    "table1_many": {"T->S, alpha1": 0.86, "T->S, alpha2": 0.93},
    "table6_many": {"T->S, alpha1": 0.97, "T->S, alpha2": 0.99},
}
"""Correlations over the five models of its tables."""
SAMPLES = {"table1_many": -0.51, "table6_many": -0.57}
"""Of single samples."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManySources(Config):
    """Sizes of the experiment."""

    lengths: tuple[int, ...]
    """Epochs of training of each architecture."""
    untrained: tuple[tuple[str, int], ...]
    with_imagenet: bool = True
    num_gradients: int = 100
    """Images of the Jacobians."""


def _sizes(config: Config, **changed) -> ManySources:
    """The settings of the image experiments, and those that are new."""
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return ManySources(**fields | changed)


PRESETS = {
    "smoke": (
        "seconds",
        _sizes(
            networks.PRESETS["smoke"][1],
            lengths=(1, 2),
            untrained=(("lenet", 2),),
            with_imagenet=False,
            num_gradients=16,
        ),
    ),
    "cpu": (
        "an hour on one core",
        _sizes(
            networks.PRESETS["cpu"][1],
            architectures=(
                ("fully_connected", 128),
                ("lenet", 6),
                ("alexnet", 16),
                ("resnet18", 8),
            ),
            lengths=(1, 2, 4, 8),
            untrained=(("lenet", 6), ("resnet18", 8)),
            num_attacked=400,
            seeds=(0,),
        ),
    ),
    "paper": (
        "the sizes of the paper, for an accelerator",
        _sizes(
            networks.PRESETS["paper"][1],
            lengths=(5, 20, 50, 100),
            untrained=(("lenet", 6), ("resnet18", 64)),
        ),
    ),
}


def main(config: ManySources, preset: str) -> None:
    """Trains what is missing, attacks, and writes the rows."""
    target, sources = prepare_target(config), train_sources(config)
    write_table(config, preset, "table1_many", attacks.pgd(config), target, sources)
    write_table(config, preset, "table6_many", attacks.fgsm(), target, sources)


def write_table(
    config: ManySources,
    preset: str,
    table: str,
    attack: Attack,
    target: Target,
    sources: dict[str, Model],
) -> None:
    """Writes the rows of one attack."""
    sheet = networks.new_sheet(config, table, preset)
    rows = [
        write_source(config, sheet, name, source, target, attack)
        for name, source in sources.items()
    ]
    trained = len(rows) - len(config.untrained)
    accuracies = [row["accuracy"] for row in rows]
    for cell in rows[0]:
        if cell in ("accuracy", "samples"):
            continue
        values = [row[cell] for row in rows]
        write_row(
            sheet,
            f"Pearson over {trained} sources, accuracy and {cell}",
            functools.partial(over_models, accuracies[:trained], values[:trained]),
            paper_value=PAPER[table].get(cell),
            verdict=sign_verdict(1.0, PAPER[table].get(cell)),
        )
        for i, name in enumerate(list(sources)[trained:], start=trained):
            behind = np.mean(np.array(values[:trained]) < values[i])
            write_known(sheet, f"share of sources behind {name}, {cell}", behind)
    for way in rows[0]["samples"]:
        by_source = [row["samples"][way] for row in rows[:trained]]
        write_samples(sheet, way, by_source, SAMPLES[table])


def prepare_target(config: ManySources) -> Target:
    """Reads the second data set and trains its reference model."""
    train, test = (
        networks.images(config, networks.target_data(config), split)
        for split in ("train", "test")
    )
    model = networks.train_target(config, train, test, seed=0)
    shuffled = networks.part(test, None, seed=0)
    x = attacks.pixels(shuffled)
    right = np.flatnonzero(attacks.is_right(model, x, shuffled.labels))
    chosen = np.random.default_rng(0).permutation(right)[: config.num_attacked]
    return Target(train, test, model, x[chosen], shuffled.labels[chosen])


def train_sources(config: ManySources) -> dict[str, Model]:
    """The sources by name: the trained ones first, then those that were not."""
    train, test = (
        networks.images(config, config.source_data, split)
        for split in ("train", "test")
    )
    train = networks.part(train, config.num_images, seed=0)
    sources = {
        f"{model}, {length} epochs": networks.train_network(
            config, (model, width), train, test, length, seed=0
        )
        for model, width in config.architectures
        for length in config.lengths
    }
    if config.with_imagenet:
        imagenet = pretrained.efficientnet_lite0()
        architecture = dataclasses.replace(
            imagenet.architecture, image_size=networks.SIZE
        )
        network = imagenet._replace(architecture=architecture)
        sources["efficientnet_lite0"] = Model("imagenet-lite0", network)
    for model, width in config.untrained:
        drawn = networks.drawn_network((model, width), train, seed=1)
        sources[f"untrained {model}"] = Model(f"untrained-{model}-{width}", drawn)
    return sources


def write_source(
    config: ManySources,
    sheet: Sheet,
    name: str,
    source: Model,
    target: Target,
    attack: Attack,
) -> dict[str, float]:
    """Writes and returns the measures of one source, by name."""

    @functools.cache
    def after() -> Transferred:
        return transferred(config, source, target)

    @functools.cache
    def measured(has_head: bool) -> dict[str, float]:
        network = after().head if has_head else source.network
        return measures(
            source.name,
            network,
            target,
            attack,
            has_head=has_head,
            num_gradients=config.num_gradients,
            out=config.out,
        )

    def measure(has_head: bool, cell: str) -> float:
        return measured(has_head)[cell]

    def sampled(size: int) -> Value:
        return Value(over_means(measured(True)["per image"], after().losses, size))

    cells: dict[str, Callable[[], float]] = {
        "accuracy": lambda: after().accuracy,
        "accuracy with the head of SGD": lambda: after().sgd_accuracy,
        "regularised H-score": lambda: after().h_score,
    }
    names = [f"{way}, {measure}" for way in ("T->S", "S->T") for measure in ALPHAS]
    names += ["cosine of loss gradients", "minus gradient matching distance"]
    for has_head, end in ((False, ""), (True, ", after the head")):
        for cell in names:
            cells[f"{cell}{end}"] = functools.partial(measure, has_head, cell)
    row = {
        cell: write_row(
            sheet, f"{cell}, {name}", functools.partial(number, compute)
        ).value
        for cell, compute in cells.items()
    }
    samples = {
        f"after the head, means of {size}": write_row(
            sheet,
            f"Pearson over samples, alpha1 and loss after the head, means of {size}, "
            f"{name}",
            functools.partial(sampled, size),
        ).value
        for size in SIZES
    }
    return {**row, "samples": samples}


def number(compute: Callable[[], float]) -> Value:
    """A number without an interval."""
    return Value(float(compute()))


def write_samples(
    sheet: Sheet, way: str, by_source: Iterable[float], printed: float
) -> None:
    """Writes the mean correlation over samples within the sources."""
    values = [Value(value) for value in by_source]
    write_row(
        sheet,
        f"Pearson over samples within the sources, alpha1 and loss {way}",
        functools.partial(over_seeds, values),
        paper_value=printed,
        verdict=sign_verdict(-1.0, printed),
    )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
