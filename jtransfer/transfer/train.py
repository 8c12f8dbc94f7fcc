"""From images to a trained network: the settings of a run and the run."""

import dataclasses
import functools
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jtransfer import data, models, networks, training
from jtransfer._internal.provenance import images_fingerprint
from jtransfer.data import ChannelStatistics, Images
from jtransfer.networks import Architecture, Network
from jtransfer.training import schedules
from jtransfer.transfer._run_folder import run_folder
from jtransfer.transfer.class_costs import class_means


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of training: SGD with momentum and a cosine or step decay."""

    num_epochs: int
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    """On kernels, not on biases and the scales of normalisation."""
    batch_size: int = 128
    warm_up_epochs: float = 1.0
    decay_epochs: tuple[float, ...] = ()
    """Epochs at which the rate falls by `decay_factor`; none means a cosine to zero."""
    decay_factor: float = 0.2
    padding: int = 4
    """Zeros around an image before it is cropped again and flipped; 0 for neither."""
    validation_fraction: float = 0.1
    """Of the training images, for the choice of the best epoch; 0 holds out none and
    takes the network after the last step."""
    bfloat16: bool = False
    """Whether to compute in bfloat16; parameters stay float32."""
    steps_per_dispatch: int = 1
    """Steps that an accelerator makes in one go; 1 on a CPU."""


TRAINING_PRESETS = {
    "cpu": Recipe(num_epochs=8, batch_size=64),
    "paper": Recipe(
        num_epochs=200, batch_size=256, warm_up_epochs=0, decay_epochs=(50, 100, 150)
    ),
}
"""`cpu`: minutes on two cores with a narrow network; `paper`: the CIFAR recipe of
selective cross-task distillation, section 6.1.2."""


def train_network(
    architecture: Architecture,
    train: Images,
    test: Images | None,
    *,
    recipe: Recipe,
    folder: Path,
    seed: int,
    facts: dict,
    statistics: ChannelStatistics | None = None,
    keep_centers: bool = False,
) -> Network:
    """Trains a network and writes it to a folder; a killed run goes on where it was.

    The variables are those with the best accuracy on a stratified part of the training
    images, if the recipe holds out one. The test images are looked at once, for the
    fact `source_accuracy`.

    Args:
      architecture: what to train.
      train: training images.
      test: test images of the same classes; None leaves the accuracy out.
      recipe: how to train.
      folder: gets checkpoints, a log, and the network.
      seed: of weights, order and augmentation.
      facts: what else to record of the network.
      statistics: mean and deviation by which images are normalised; None computes those
        of the training images, without those held out.
      keep_centers: whether the mean embeddings of the classes, over all training
        images, are written with the network; costs and the Sinkhorn scores then use
        them in place of the last layer's columns.

    Returns:
      The network.

    Raises:
      DataError: if the images do not fit the architecture, or another run lies in the
        folder or is at work there.
      NonFiniteLoss: if training diverges.
    """
    networks.check_images(architecture)
    dtype = jnp.bfloat16 if recipe.bfloat16 else None
    model = networks.model(architecture, rngs=nnx.Rngs(seed), dtype=dtype)
    apply_fn, variables = models.functional(model)
    train_fn, _, _ = models.trainable(model)
    fitting, held_out = _split(train, recipe.validation_fraction, seed=seed)
    given = statistics and [np.asarray(part).tolist() for part in statistics]
    if statistics is None:
        statistics = data.channel_statistics(fitting.images)
    preprocess = _inputs(statistics, recipe, flat=networks.takes_vectors(model))
    num_train = len(fitting.labels)
    batch_size = min(recipe.batch_size, num_train)
    per_epoch = max(1, num_train // batch_size)

    validation = None
    if held_out is not None:
        evaluate = functools.partial(
            _evaluated, apply_fn, images=held_out, preprocess=preprocess
        )
        validation = training.Validation(evaluate=evaluate, every=per_epoch)
    identity = {
        "architecture": dataclasses.asdict(architecture),
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "class_names": list(train.class_names),
        "images": images_fingerprint(train.images, train.labels),
        "test_images": test and images_fingerprint(test.images, test.labels),
        "statistics": given,
    }
    with run_folder(folder, "run.json", identity):
        result = training.fit(
            training.supervised(train_fn, preprocess=preprocess),
            variables,
            {"images": fitting.images, "labels": fitting.labels},
            optimizer=_optimizer(recipe, per_epoch),
            num_steps=recipe.num_epochs * per_epoch,
            batch_size=batch_size,
            seed=seed,
            steps_per_dispatch=recipe.steps_per_dispatch,
            validation=validation,
            checkpoints=training.Checkpoints(folder=folder, every=per_epoch),
        )
        tested = {}
        if test is not None:
            measures = _evaluated(
                apply_fn, result.best, images=test, preprocess=preprocess
            )
            tested["source_accuracy"] = measures["accuracy"]
        network = Network(
            architecture,
            result.best,
            statistics,
            train.class_names,
            {
                "parameters": networks.count(variables),
                **tested,
                "best_step": result.best_step,
                "recipe": dataclasses.asdict(recipe),
                "seed": seed,
                **facts,
            },
        )
        if keep_centers:
            centers, _ = class_means(network, train)
            network = network._replace(class_centers=centers.astype(np.float32))
        networks.write_network(folder, network)
        return network


def _split(
    train: Images, fraction: float, *, seed: int
) -> tuple[Images, Images | None]:
    """The images to fit, and those that are held out, if any are."""
    if not fraction:
        return train, None
    split = data.held_out_split(train.labels, fraction=fraction, seed=seed)
    return tuple(data.examples_at(train, part) for part in split)


def _evaluated(apply_fn, variables, *, images: Images, preprocess) -> dict[str, float]:
    return training.evaluated(
        apply_fn, variables, images.images, images.labels, preprocess=preprocess
    )


def _inputs(statistics, recipe: Recipe, *, flat: bool):
    augment = _augmentation(recipe.padding) if recipe.padding else None
    preprocess = training.preprocessing(statistics, augment=augment)
    if not flat:
        return preprocess
    return lambda images, key: preprocess(images, key).reshape(len(images), -1)


@functools.cache
def _augmentation(padding: int):
    # One object for equal arguments, so that `fit` compiles once.
    return functools.partial(data.augmented, padding=padding)


@functools.lru_cache(maxsize=64)
def _optimizer(recipe: Recipe, per_epoch: int):
    # One object for equal arguments, likewise.
    import optax

    num_steps = recipe.num_epochs * per_epoch
    if recipe.decay_epochs:
        falls = {
            int(epoch * per_epoch): recipe.decay_factor for epoch in recipe.decay_epochs
        }
        rate = optax.piecewise_constant_schedule(recipe.learning_rate, falls)
    else:
        rate = optax.cosine_decay_schedule(recipe.learning_rate, num_steps)
    warm_up = int(recipe.warm_up_epochs * per_epoch)
    return schedules.sgd(
        schedules.warm_up(rate, num_steps=warm_up),
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
