"""Six small networks from CIFAR-100, ranked for CIFAR-10 with 20 labels a class.

Run: `python -m experiments.zoos.cifar_zoo cpu --data-dir DIR` with CIFAR-10 and
CIFAR-100 prepared there; at most 8 minutes on 2 cores. A killed run goes on. Three
architectures x two halves of CIFAR-100 (animals and vehicles, the rest), each
fine-tuned as a whole on the 200 labelled images and tested on 2,000 images that took
part in no decision. We expected the half that is like CIFAR-10 to be worth more. The
run that is kept does not show that: trained this briefly, the architecture matters and
the half does not.
"""

import dataclasses
import functools
from pathlib import Path

from experiments import harness
from jtransfer import data, networks, ranking, report, transfer, zoo
from jtransfer.ranking import Scored, verification

LIKE_CIFAR10 = (
    "aquatic_mammals",
    "fish",
    "insects",
    "large_carnivores",
    "large_omnivores_and_herbivores",
    "medium_mammals",
    "reptiles",
    "small_mammals",
    "vehicles_1",
    "vehicles_2",
)
"""Ten of the twenty superclasses, 50 of the 100 classes."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the run."""

    architectures: tuple[tuple[str, int], ...]
    """Names and widths of the first layer."""
    num_images: int
    """Training images of each source."""
    num_epochs: int
    per_class: int = 20
    num_test: int = 2000
    seed: int = 0
    data_dir: str | None = None
    out: Path = Path("runs/zoo")
    results: Path = harness.RESULTS


NARROW = (("lenet", 6), ("vgg4", 16), ("resnet18", 8))
PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        Config((("lenet", 2),), num_images=64, num_epochs=1, per_class=3, num_test=64),
    ),
    "cpu": ("minutes on 2 cores", Config(NARROW, num_images=12_500, num_epochs=3)),
    "paper": (
        "an accelerator",
        Config(
            (("lenet", 6), ("vgg9", 64), ("resnet18", 64)),
            num_images=25_000,
            num_epochs=100,
            num_test=10_000,
        ),
    ),
}


def main(config: Config, preset: str) -> None:
    """Trains what is missing, ranks, and writes rows and the report."""
    table = harness.Table("training", "zoo", preset, config.results)
    settings = {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name not in ("data_dir", "out", "results")
    }
    halves = class_halves(config)
    for model, width in config.architectures:
        for half, classes in halves.items():
            folder = config.out / "zoo" / f"{model}-{half}"
            harness.write_row(
                table,
                f"source accuracy, {model} on {half}",
                functools.partial(
                    source_accuracy, config, model, width, classes, folder
                ),
                seed=config.seed,
                config=settings,
            )
    rank(config, table, settings)


def class_halves(config: Config) -> dict[str, tuple[str, ...]]:
    """The names of the classes of each half."""
    options = {"data_dir": config.data_dir, "limit": 5000}
    fine = data.load("cifar100", "train", **options)
    coarse = data.load("cifar100", "train", label_key="coarse_label", **options)
    groups = dict(zip(fine.labels.tolist(), coarse.labels.tolist(), strict=True))
    like = [
        coarse.class_names[groups[label]] in LIKE_CIFAR10
        for label in range(len(fine.class_names))
    ]
    named = list(zip(fine.class_names, like, strict=True))
    return {
        "animals-vehicles": tuple(name for name, is_like in named if is_like),
        "rest": tuple(name for name, is_like in named if not is_like),
    }


def source_accuracy(config, model, width, classes, folder) -> harness.Value:
    """The share of test images of its own classes that a new source gets right."""
    network = train_source(config, model, width, classes, folder)
    return harness.Value(network.facts["source_accuracy"])


def train_source(config, model, width, classes, folder) -> networks.Network:
    """Trains one architecture on half of the classes of CIFAR-100."""
    train, test = (
        data.named_class_subset(
            data.load("cifar100", split, data_dir=config.data_dir), classes
        )
        for split in ("train", "test")
    )
    order = data.block_balanced_order(train.labels, seed=config.seed)
    train = data.examples_at(train, order[: config.num_images])
    return transfer.train_network(
        networks.Architecture(model=model, num_classes=len(classes), base_width=width),
        train,
        data.examples_at(test, range(min(len(test.labels), config.num_test))),
        recipe=dataclasses.replace(
            transfer.TRAINING_PRESETS["cpu"],
            num_epochs=config.num_epochs,
            learning_rate=0.05,
        ),
        folder=folder,
        seed=config.seed,
        facts={"source": f"{len(classes)} classes of CIFAR-100", "model": model},
    )


def rank(config: Config, table: harness.Table, settings: dict) -> None:
    """Ranks the sources, fine-tunes each, and keeps accuracies and agreement."""
    target = zoo.image_target(
        "cifar10",
        per_class=config.per_class,
        num_test=config.num_test,
        seed=config.seed,
        data_dir=config.data_dir,
    )
    rows = ranking.rank_sources(
        zoo.sources(str(config.out / "zoo"), target),
        target,
        seed=config.seed,
        verify=verification.fine_tuned_accuracy,
        folder=config.out / "ranking",
        announce=lambda name, outcome: print(name, outcome, flush=True),
    )
    report.write_ranking(rows, config.out / "ranking")
    for cell, value in cells(rows).items():
        harness.write_known(table, cell, value, seed=config.seed, config=settings)


def cells(rows: list[ranking.Row]) -> dict[str, harness.Value]:
    """Accuracies, scores and their agreement by the names of their cells."""
    values = {}
    scored = [row for row in rows if isinstance(row, Scored)]
    for row in scored:
        if row.score == "logme":
            values[f"accuracy after fine-tuning, {row.source}"] = harness.Value(
                row.facts["accuracy"],
                row.facts["accuracy_low"],
                row.facts["accuracy_high"],
            )
        values[f"{row.score}, {row.source}"] = harness.Value(
            row.value, row.low, row.high
        )
    for line in ranking.agreements(scored):
        n = f"n = {line.n_sources}"
        for name in ("pearson", "spearman", "weighted_kendall", "regret_1", "regret_3"):
            cell = f"{name} of {line.score} with the accuracy, {n}"
            values[cell] = harness.Value(getattr(line, name))
    return values


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
