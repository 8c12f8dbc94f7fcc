"""Settings, images and networks of the image experiments on adversarial transfer."""

import dataclasses
from pathlib import Path

from flax import nnx

from experiments import harness, kept_networks
from experiments.kept_networks import Model
from experiments.sheets import Sheet
from jtransfer import data, models, transfer
from jtransfer import networks as library
from jtransfer.data import Images
from jtransfer.networks import Architecture, Network
from jtransfer.training import devices

SIZE = 32
"""Side of all images; larger ones are resized."""
NUM_TESTED = 2000
"""Test images on which the accuracy of a new network is recorded, at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the image experiments."""

    architectures: tuple[tuple[str, int], ...]
    """Of the sources: names and widths of the first layer."""
    target: tuple[str, int]
    """Name and width of the reference model of the target."""
    num_images: int | None
    """Training images of a source; None for all."""
    num_epochs: int
    num_target_images: int | None
    """Training images of the reference model; None for all."""
    target_epochs: int
    num_attacked: int
    """Test images that are attacked, at most."""
    num_steps: int
    """Of an iterated attack."""
    num_mixed: int | None
    """Training images of each mixture of animals and vehicles; None for the most."""
    num_tuned: int | None
    """Training images of fine-tuning with gradient diversity; None for all."""
    tuning_epochs: int
    seeds: tuple[int, ...] = (0,)
    learning_rate: float = 0.1
    head_epochs: int = 10
    head_learning_rate: float = 0.1
    """Of Tables 1 to 6, where the paper states it for the networks; .01 in Table 7."""
    source_data: str = "cifar10"
    target_data: str | None = None
    """None for stl10 where that is prepared, and tin10 where it is not."""
    data_dir: str | None = None
    out: Path = Path("runs/adversarial")
    results: Path = harness.RESULTS


_SMOKE = Config(
    architectures=(("fully_connected", 4), ("lenet", 2)),
    target=("lenet", 2),
    num_images=64,
    num_epochs=1,
    num_target_images=64,
    target_epochs=1,
    num_attacked=16,
    num_steps=2,
    num_mixed=64,
    num_tuned=64,
    tuning_epochs=1,
    head_epochs=1,
)
_CPU = Config(
    architectures=(
        ("fully_connected", 128),
        ("lenet", 6),
        ("alexnet", 16),
        ("resnet18", 8),
        ("resnet50", 4),
    ),
    target=("resnet18", 8),
    num_images=10_000,
    num_epochs=4,
    num_target_images=None,
    target_epochs=12,
    num_attacked=512,
    num_steps=20,
    num_mixed=5000,
    num_tuned=5000,
    tuning_epochs=2,
    seeds=(0, 1, 2),
)
_PAPER = Config(
    architectures=(
        ("fully_connected", 512),
        ("lenet", 6),
        ("alexnet", 64),
        ("resnet18", 64),
        ("resnet50", 64),
    ),
    target=("resnet18", 64),
    num_images=None,
    num_epochs=100,
    num_target_images=None,
    target_epochs=100,
    num_attacked=8000,
    num_steps=50,
    num_mixed=None,
    num_tuned=None,
    tuning_epochs=50,
    seeds=(0, 1, 2),
)
PRESETS = {
    "smoke": ("seconds", _SMOKE),
    "cpu": ("narrow networks, minutes on 2 cores", _CPU),
    "paper": ("the sizes of the paper, for an accelerator", _PAPER),
}


def new_sheet(config: Config, name: str, preset: str) -> Sheet:
    """A table of this paper, with the settings that may change a number in it."""
    table = harness.Table("adversarial", name, preset, config.results)
    settings = harness.settings(config, "seeds")
    return Sheet(table, {**settings, "target_data": target_data(config)})


def target_data(config: Config) -> str:
    """The name of the second data set."""
    if config.target_data is not None:
        return config.target_data
    return "stl10" if "stl10" in data.prepared_names(config.data_dir) else "tin10"


def images(config: Config, name: str, split: str) -> Images:
    """A data set in the size of the networks."""
    return data.load(name, split, data_dir=config.data_dir, image_size=SIZE)


def part(whole: Images, size: int | None, *, seed: int) -> Images:
    """Some of the images, balanced over the classes, others for each seed."""
    order = data.block_balanced_order(whole.labels, seed=seed)
    return data.examples_at(whole, order[:size])


def train_source(config: Config, model: str, width: int, *, seed: int) -> Model:
    """Trains a network of one architecture on the first data set, or reads it."""
    train, test = (images(config, config.source_data, s) for s in ("train", "test"))
    train = part(train, config.num_images, seed=seed)
    shape = model, width
    return train_network(config, shape, train, test, config.num_epochs, seed=seed)


def train_target(config: Config, train: Images, test: Images, *, seed: int) -> Model:
    """Trains the reference model on images of the second data set, or reads it."""
    train = part(train, config.num_target_images, seed=seed)
    return train_network(
        config, config.target, train, test, config.target_epochs, seed=seed
    )


def train_network(
    config: Config,
    shape: tuple[str, int],
    train: Images,
    test: Images,
    num_epochs: int,
    *,
    seed: int,
) -> Model:
    """Trains a network of an architecture and width, or reads it.

    SGD with momentum .9 as in the paper; the paper leaves open the rest: batches of 64,
    weight decay, a cosine, one epoch of warm-up, crops and flips.
    """
    architecture = Architecture(
        model=shape[0], num_classes=len(train.class_names), base_width=shape[1]
    )
    recipe = dataclasses.replace(
        transfer.TRAINING_PRESETS["cpu"],
        num_epochs=num_epochs,
        learning_rate=config.learning_rate,
        steps_per_dispatch=1 if devices.has_slow_loops() else 50,
    )
    made_of = architecture, recipe, train.images, train.labels, seed

    def new_network(folder: Path) -> Network:
        return transfer.train_network(
            architecture,
            train,
            part(test, NUM_TESTED, seed=0),
            recipe=recipe,
            folder=folder,
            seed=seed,
            facts={},
        )

    return kept_networks.train_or_read(config.out, shape[0], made_of, new_network)


def drawn_network(shape: tuple[str, int], images: Images, *, seed: int) -> Network:
    """A network as it is drawn, with the statistics of the images it never saw."""
    architecture = Architecture(
        model=shape[0], num_classes=len(images.class_names), base_width=shape[1]
    )
    drawn = library.model(architecture, rngs=nnx.Rngs(seed))
    _, variables = models.functional(drawn)
    statistics = data.channel_statistics(images.images)
    return Network(architecture, variables, statistics, images.class_names, {})


def train_head(config: Config, model: Model, train: Images, *, seed: int) -> Model:
    """Trains a last layer of a source for the second data set, the body as it was."""
    options = {
        "num_epochs": config.head_epochs,
        "learning_rate": config.head_learning_rate,
        "seed": seed,
    }

    def new_network(folder: Path) -> Network:
        del folder
        return transfer.fine_tune_head(
            model.network, train.images, train.labels, train.class_names, **options
        )

    made_of = model.name, train.images, train.labels, sorted(options.items())
    label = f"{model.network.architecture.model}-head"
    return kept_networks.train_or_read(config.out, label, made_of, new_network)
