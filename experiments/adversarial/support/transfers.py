"""Deviations of networks' outputs under attacks that were made on other networks."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.adversarial.support import networks
from experiments.adversarial.support.attacks import (
    Attack,
    accuracy,
    cross_entropies,
    deltas,
    is_right,
    logits,
    pixels,
)
from experiments.adversarial.support.measures import Pair
from experiments.adversarial.support.networks import Config
from experiments.kept_networks import Model, digest
from jtransfer.data import Images


class Setting(NamedTuple):
    """Sources, what they are transferred to, and a reference model, of one seed."""

    seed: int
    sources: tuple[Model, ...]
    heads: tuple[Model, ...]
    """The sources with their last layer for the second data set."""
    target: Model
    accuracies: dict[str, float]
    """Of each source with its new head on all test images, by the source's name."""
    x: np.ndarray
    """The images that are attacked, `[n, h, w, c]`."""
    losses: np.ndarray
    """Cross-entropy of each source with its new head on those, `[n, sources]`."""


def prepare_setting(config: Config, *, seed: int) -> Setting:
    """Trains or reads all networks of Tables 1, 5 and 6 and measures their heads."""
    train, test = (
        networks.images(config, networks.target_data(config), split)
        for split in ("train", "test")
    )
    target = networks.train_target(config, train, test, seed=seed)
    sources = {
        name: networks.train_source(config, name, width, seed=seed)
        for name, width in config.architectures
    }
    return transfer_sources(config, sources, target, train, test, seed=seed)


def transfer_sources(
    config: Config,
    sources: Mapping[str, Model],
    target: Model,
    train: Images,
    test: Images,
    *,
    seed: int,
) -> Setting:
    """Trains a new last layer of each source, or reads it, and measures it.

    Args:
      config: how.
      sources: networks by the names that they have in the rows.
      target: the reference model.
      train: what the last layers learn.
      test: on which they are measured; those that `target` gets right are attacked.
      seed: of weights and order.

    Returns:
      Sources, heads and images, with accuracies and losses.
    """
    heads = tuple(
        networks.train_head(config, model, train, seed=seed)
        for model in sources.values()
    )
    x, labels = attacked_images(config, target, test)
    losses = np.stack([cross_entropies(head, x, labels) for head in heads], axis=1)
    accuracies = [accuracy(head, test) for head in heads]
    return Setting(
        seed,
        tuple(sources.values()),
        heads,
        target,
        dict(zip(sources, accuracies, strict=True)),
        x,
        losses,
    )


def attacked_images(config: Config, target: Model, test: Images):
    """Test images that the reference model gets right, and their labels.

    The released code takes no others.
    """
    test = networks.part(test, None, seed=0)
    right = np.flatnonzero(is_right(target, pixels(test), test.labels))
    chosen = right[: config.num_attacked]
    return pixels(test)[chosen], test.labels[chosen]


class Transfers(NamedTuple):
    """Deviations of the reference model and one other, attacked in both directions."""

    from_target: Pair
    """By attacks on the reference model that are fed to the other one, T->S."""
    to_target: Pair
    """By attacks on the other model that are fed to the reference model, S->T."""


def attack_both_ways(
    config: Config,
    target: Model,
    others: tuple[Model, ...],
    attack: Attack,
    x: np.ndarray,
    *,
    seed: int,
    fed: tuple[Model, ...] | None = None,
) -> list[Transfers]:
    """Deviations in both directions, for each of the other models.

    `fed` names the models that see the attacks on the reference model, if these are
    more than the others: the attack is then made once for all calls.
    """
    fed = others if fed is None else fed
    by_target = attacked_outputs(config, target, attack, (target, *fed), x, seed=seed)
    target_clean = logits(target, x)
    transfers = []
    for other in others:
        by_other = attacked_outputs(
            config, other, attack, (other, target), x, seed=seed
        )
        clean = logits(other, x)
        target_own = by_target[target.name] - target_clean
        other_own = by_other[other.name] - clean
        transfers.append(
            Transfers(
                Pair(target_own, by_target[other.name] - clean, other_own),
                Pair(other_own, by_other[target.name] - target_clean, target_own),
            )
        )
    return transfers


def attacked_outputs(
    config: Config,
    attacked: Model,
    attack: Attack,
    fed: tuple[Model, ...],
    x: np.ndarray,
    *,
    seed: int,
) -> dict[str, np.ndarray]:
    """Logits of models for the images with the attack on one of them, by their names.

    They are kept: the scripts that use the same attack make it once.
    """
    names = [model.name for model in fed]
    # The name tells the norm, which has no text of its own.
    settings = dataclasses.replace(attack.settings, norm=None)
    described = attack.name, settings, attacked.name, names, seed, digest(x)
    file = config.out / "outputs" / f"{digest(described)}.npz"
    if file.exists():
        with np.load(file) as arrays:
            return dict(arrays)
    print(f"{attack.name} on {attacked.name}, {len(x)} images", flush=True)
    moved = x + deltas(attacked, attack, x, seed=seed)
    answers = {model.name: logits(model, moved) for model in fed}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, **answers)
    partial.rename(file)
    return answers


def fooled(target: Model, pair: Pair, x: np.ndarray) -> float:
    """The share of the target's answers that attacks on another model change."""
    clean = logits(target, x)
    moved = clean + pair.transferred
    return float(np.mean(moved.argmax(axis=1) != clean.argmax(axis=1)))
