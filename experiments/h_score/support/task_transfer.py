"""Encoders of all derived tasks, and what each is worth for every task.

Everything that takes long lies in `--out` under a name that holds a digest of the
settings, so that a killed run goes on.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import harness
from experiments.h_score.support import encoders
from experiments.h_score.support.dense_scores import dense_moments
from experiments.h_score.support.derived_tasks import (
    PIXEL_TASKS,
    TASKS,
    Pool,
    answers,
    num_answers,
    palettes,
)
from experiments.h_score.support.derived_tasks import pool as derived_pool
from jtransfer import data
from jtransfer.scores.higher_order import source_subsets, subset_h_scores

SIDE = 32
"""Of the images."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the experiments on derived tasks."""

    num_objects: int
    """Photographs of CIFAR-10 for the encoders, and as many others for the decoders and
    the H-scores; the scenes are all there are."""
    num_tested: int
    """Photographs of CIFAR-10 on which decoders are tested."""
    networks: encoders.Sizes
    tasks: tuple[str, ...] = TASKS
    """Sources and targets."""
    block: int = 2
    """Side of the blocks of pixels of which label maps keep one."""
    num_levels: int = 16
    levels: tuple[int, ...] = (2, 5, 8, 16, 32)
    """Of the sweep in `figure14_figure15_quantisation.py`."""
    num_scenes: int | None = None
    """Of each of three parts: the training scenes and two halves of the test scenes;
    None for all."""
    seeds: tuple[int, ...] = (0, 1, 2)
    data_dir: str | None = None
    out: Path = Path("runs/h_score")
    results: Path = harness.RESULTS


PRESETS = {
    "smoke": (
        "seconds",
        Config(
            num_objects=32,
            num_tested=16,
            networks=encoders.Sizes(2, 2, width=2, num_channels=1),
            tasks=("edges", "denoising", "object"),
            block=4,
            num_levels=3,
            levels=(2, 3),
            num_scenes=32,
            seeds=(0,),
        ),
    ),
    "cpu": (
        "minutes on a core",
        Config(
            num_objects=6000,
            num_tested=1000,
            networks=encoders.Sizes(1200, 400),
        ),
    ),
    "paper": (
        "an accelerator",
        Config(
            num_objects=12_500,
            num_tested=10_000,
            networks=encoders.Sizes(20_000, 5000, width=64, num_channels=8),
            block=1,
        ),
    ),
}


class Pools(NamedTuple):
    """Three sets of images without an image in common, and palettes of the tasks."""

    encoders: Pool
    transfer: Pool
    test: Pool
    palettes: dict[str, np.ndarray]


class Grids(NamedTuple):
    """Features of an encoder, `[n, h, w, channels]`, each channel of variance 1."""

    transfer: np.ndarray
    test: np.ndarray


class Quality(NamedTuple):
    """Of decoders on test images, one a target `[T]`."""

    accuracy: np.ndarray
    loss: np.ndarray


def pools(config: Config, *, seed: int) -> Pools:
    """The images of a seed with the answers of all tasks."""
    objects, scenes = (
        [shuffled(config, name, split, seed=seed) for split in ("train", "test")]
        for name in ("cifar10", "scene15")
    )
    n, m = config.num_objects, config.num_scenes
    halves = data.held_out_split(scenes[1].labels, fraction=0.5, seed=seed)
    parts = (
        (part(objects[0], 0, n), part(scenes[0], 0, m)),
        (part(objects[0], n, 2 * n), data.examples_at(scenes[1], halves.train[:m])),
        (
            part(objects[1], 0, config.num_tested),
            data.examples_at(scenes[1], halves.held_out[:m]),
        ),
    )
    of_parts = [
        derived_pool(*pair, block=config.block, seed=3 * seed + index)
        for index, pair in enumerate(parts)
    ]
    return Pools(
        *of_parts, palettes(of_parts[0], num_levels=config.num_levels, seed=seed)
    )


def shuffled(config: Config, name: str, split: str, *, seed: int) -> data.Images:
    """A data set in a random order, balanced from the start."""
    images = data.load(
        name, split, data_dir=config.data_dir, image_size=SIDE, num_channels=3
    )
    return data.examples_at(images, data.block_balanced_order(images.labels, seed=seed))


def part(images: data.Images, start: int, stop: int | None) -> data.Images:
    """Some of the images; fewer where there are no more."""
    return data.examples_at(images, np.arange(len(images.labels))[start:stop])


def grids(config: Config, of: Pools, task: str, *, seed: int) -> Grids:
    """Features of the encoder of a task, which is trained if need be."""

    def make():
        rng = np.random.default_rng(seed)
        params = {
            "encoder": encoders.encoder_params(rng, config.networks),
            "decoder": decoder(config, rng, task),
        }
        has, labels = answers(of.encoders, of.palettes, task)
        arrays = {"inputs": of.encoders.inputs[has], "labels": labels}
        params = encoders.train(
            params,
            arrays,
            frozen=False,
            sizes=config.networks,
            num_answers=num_answers(task, config.num_levels),
            seed=seed,
        )
        transfer, test = (
            encoders.features(params["encoder"], images.inputs)
            for images in (of.transfer, of.test)
        )
        axes = (0, 1, 2)
        mean, deviation = transfer.mean(axes), np.maximum(transfer.std(axes), 1e-6)
        return Grids(*((features - mean) / deviation for features in (transfer, test)))

    return Grids(*kept_arrays(config, f"grids-{task}-{seed}", make))


def quality(config: Config, of: Pools, source: Grids, name: str, *, seed: int):
    """Accuracies and losses of all targets' decoders on the features of one source."""

    def reached(task):
        has, labels = answers(of.transfer, of.palettes, task)
        options = {"num_answers": num_answers(task, config.num_levels)}
        start = {"decoder": decoder(config, np.random.default_rng(seed), task)}
        arrays = {"inputs": source.transfer[has], "labels": labels}
        params = encoders.train(
            start, arrays, frozen=True, sizes=config.networks, seed=seed, **options
        )
        has, labels = answers(of.test, of.palettes, task)
        return encoders.quality(params["decoder"], source.test[has], labels, **options)

    def make():
        return Quality(*np.array([reached(task) for task in config.tasks]).T)

    return Quality(*kept_arrays(config, f"quality-{name}-{seed}", make))


def decoder(config: Config, rng: np.random.Generator, task: str) -> list:
    """Fresh parameters of the decoder of a task."""
    return encoders.decoder_params(
        rng,
        config.networks,
        side=SIDE // encoders.STRIDE,
        scale=encoders.STRIDE // config.block,
        num_answers=num_answers(task, config.num_levels),
        dense=task in PIXEL_TASKS,
    )


def h_scores(
    of: Pools, sources: list[Grids], task: str, *, num_levels: int, orders=(1,)
) -> list[np.ndarray]:
    """H-scores of all sets of sources of each order, means over the target's pixels."""
    has, labels = answers(of.transfer, of.palettes, task)
    features = np.concatenate(
        [source.transfer[has].reshape(len(labels), -1) for source in sources], axis=1
    )
    sizes = (features.shape[1] // len(sources),) * len(sources)
    moments = dense_moments(
        features,
        labels.reshape(len(labels), -1),
        num_levels=num_answers(task, num_levels),
    )
    return [
        np.asarray(
            subset_h_scores(
                moments, source_subsets(len(sources), order=order), sizes=sizes
            )
        )
        for order in orders
    ]


def kept_arrays(config: Config, name: str, make: Callable) -> list[np.ndarray]:
    """Arrays in a file, which are made and written if need be."""
    without = dict.fromkeys(("seeds", "levels", "data_dir", "out", "results"))
    settings = dataclasses.asdict(config) | without
    digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:8]
    file = config.out / "tasks" / f"{name}-{digest}.npz"
    if not file.exists():
        print(f"making {file.name}", flush=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npz")
        np.savez(partial, *make())
        partial.rename(file)
    with np.load(file) as arrays:
        return list(arrays.values())
