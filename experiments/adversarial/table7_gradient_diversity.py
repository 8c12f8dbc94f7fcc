"""Table 7 and Figure 7 of paper A: sources tuned away from the target's gradients.

Run: `python -m experiments.adversarial.table7_gradient_diversity cpu --data-dir DIR`
with CIFAR-10 and STL-10, or the ten classes `tin10`, prepared there. A killed run goes
on.

One source is fine-tuned with the loss

    CE(source images) + rho * mean cos(grad l_S, grad l_T)

whose gradients are those by the input, on images of the target; l is the cross-entropy
of either model against its own prediction, for their classes differ. The paper reports
that alpha1 and the accuracy after the transfer fall as rho grows. In the code that its
authors released the penalty has no effect; here its gradient passes through the input
gradient, and the cosine on images of the test split shows what it does.

One seed, n = 1.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments import harness, kept_networks
from experiments.adversarial.support import (
    attacks,
    drawings,
    measures,
    networks,
    transfers,
)
from experiments.adversarial.support.measures import Printed
from experiments.adversarial.support.networks import PRESETS
from experiments.kept_networks import Model
from experiments.sheets import Sheet, over_images, sign_verdict, write_row
from jtransfer import data, models, training
from jtransfer._internal import linalg
from jtransfer.attacks import prediction_loss
from jtransfer.distillation import cross_entropy
from jtransfer.networks import Network, function
from jtransfer.networks import model as untrained_model
from jtransfer.training import schedules

RHOS = (0.0, 0.5, 1.0, 2.0, 5.0)
LEARNING_RATE = 0.01
PAPER = Printed(
    accuracies=(0.7391, 0.7311, 0.7247, 0.7162, 0.7216),
    # Unlike in the other tables these fit the definitions, not their squares.
    columns={
        "alpha1": (0.394, 0.385, 0.371, 0.370, 0.378),
        "alpha2": (0.239, 0.246, 0.244, 0.244, 0.240),
        "alpha1 * alpha2": (0.103, 0.102, 0.100, 0.100, 0.098),
    },
)
SIGNS = {measures.POOLED: -1.0}
"""Signs that the paper claims without a number."""
LEAST_COSINE = 0.1
"""Of the gradients before the penalty acts, for it to have something to lessen."""


def main(config: networks.Config, preset: str) -> None:
    """Tunes the source with each weight of the penalty and measures all of them."""
    config = dataclasses.replace(config, head_learning_rate=LEARNING_RATE)
    seed = config.seeds[0]
    sheet = networks.new_sheet(config, "table7", preset)
    train, test = (
        networks.images(config, networks.target_data(config), split)
        for split in ("train", "test")
    )
    target = networks.train_target(config, train, test, seed=seed)
    start = networks.train_source(config, *config.target, seed=seed)
    names = [f"rho {rho}" for rho in RHOS]
    tuned = {
        name: tune(config, start, target, train, rho, seed=seed)
        for name, rho in zip(names, RHOS, strict=True)
    }
    setting = transfers.transfer_sources(config, tuned, target, train, test, seed=seed)
    both_ways = transfers.attack_both_ways(
        config, target, setting.sources, attacks.pgd(config), setting.x, seed=seed
    )
    pairs = {n: t.from_target for n, t in zip(names, both_ways, strict=True)}
    alphas = measures.alphas(pairs.values())
    cosines = [
        attacks.gradient_cosines(source, target, setting.x)
        for source in setting.sources
    ]
    cosines = np.stack(cosines, axis=1)
    for i, name in enumerate(names):
        write_row(
            sheet,
            f"cosine of the gradients, {name}",
            functools.partial(over_images, cosines[:, i], seed=seed),
            seed=seed,
        )
    measures.write_models(
        sheet,
        pairs,
        setting.accuracies,
        setting.losses,
        PAPER,
        seed=seed,
        signs=SIGNS,
    )
    write_change(sheet, "cosine of the gradients", cosines, None, seed)
    start_cosine = float(cosines[:, 0].mean())
    write_change(sheet, "alpha1", alphas, PAPER.columns["alpha1"], seed, start_cosine)
    right = [
        attacks.is_right(head, attacks.pixels(test), test.labels)
        for head in setting.heads
    ]
    right = np.stack(right, axis=1).astype(float)
    write_change(
        sheet, "accuracy after transfer", right, PAPER.accuracies, seed, start_cosine
    )
    drawings.draw_scatter(sheet, alphas, setting.losses, names, "PGD, T->S")


def write_change(
    sheet: Sheet,
    cell: str,
    values: np.ndarray,
    printed,
    seed: int,
    start_cosine: float | None = None,
) -> None:
    """Writes what the greatest weight changes, image by image; the paper: it falls.

    Args:
      sheet: the table.
      cell: what changes.
      values: of each image and weight.
      printed: what the paper prints, by weight.
      seed: of the run.
      start_cosine: the cosine without the penalty, where the change is its doing.
    """
    change = None if printed is None else printed[-1] - printed[0]
    rule = sign_verdict(-1.0, change)
    if start_cosine is not None and start_cosine < LEAST_COSINE:
        rule = cannot_show(start_cosine)
    write_row(
        sheet,
        f"{cell}, rho {RHOS[-1]} less rho {RHOS[0]}",
        functools.partial(over_images, values[:, -1] - values[:, 0], seed=seed),
        seed=seed,
        paper_value=change,
        verdict=rule,
    )


def cannot_show(cosine: float) -> str:
    """The verdict where there is next to no cosine that the penalty could lessen."""
    return (
        f"Cannot show anything at this size: without the penalty the cosine is "
        f"{cosine:.3f}, below {LEAST_COSINE}."
    )


def tune(
    config: networks.Config,
    start: Model,
    target: Model,
    target_train: data.Images,
    rho: float,
    *,
    seed: int,
) -> Model:
    """Fine-tunes the source with one weight of the penalty, or reads the result."""
    train = networks.images(config, config.source_data, "train")
    train = networks.part(train, config.num_tuned, seed=seed)
    batch_size = min(64, len(train.labels))
    per_epoch = len(train.labels) // batch_size
    made_of = start.name, target.name, rho, config.tuning_epochs, len(train.labels)

    def new_network(folder):
        network = start.network
        # Gradients of the target are constants: each is computed once.
        rows = np.arange(len(train.labels)) % len(target_train.labels)
        shown = data.examples_at(target_train, rows)
        unique = data.examples_at(target_train, np.unique(rows))
        gradients = attacks.loss_gradients(target, attacks.pixels(unique))[rows]
        result = training.fit(
            DiverseObjective.of(network),
            network.variables,
            {
                "images": train.images,
                "labels": train.labels,
                "target_images": shown.images,
                "target_gradients": gradients,
            },
            constants={"rho": np.float32(rho)},
            optimizer=tuning_optimizer(),
            num_steps=config.tuning_epochs * per_epoch,
            batch_size=batch_size,
            seed=seed,
            checkpoints=training.Checkpoints(folder=folder, every=per_epoch),
        )
        return network._replace(variables=result.best, facts={"rho": rho})

    return kept_networks.train_or_read(config.out, f"tuned-{rho}", made_of, new_network)


@functools.cache
def tuning_optimizer():
    """SGD at the rate of the paper; one object, so that all weights compile once."""
    return schedules.sgd(LEARNING_RATE, momentum=0.9, weight_decay=5e-4)


@dataclasses.dataclass(frozen=True)
class DiverseObjective:
    """Cross-entropy and the cosine of gradients, for batches as `tune` has them."""

    architecture: object
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, network: Network) -> "DiverseObjective":
        """The objective of a network on images normalised as its own."""
        statistics = (tuple(map(float, part)) for part in network.statistics)
        return cls(network.architecture, *statistics)

    def __call__(self, params, stats, batch, key):
        """Returns value, parts and new statistics of a batch."""
        statistics = data.ChannelStatistics(
            *(np.array(part, np.float32) for part in (self.mean, self.std))
        )
        preprocess = training.preprocessing(statistics, augment=data.augmented)
        model = untrained_model(self.architecture, rngs=nnx.Rngs(0))
        train_fn, _, _ = models.trainable(model)
        x = preprocess(batch["images"], key)
        (logits, _), new_stats = train_fn(params, stats, x, None)
        value = cross_entropy(logits, batch["labels"])
        # In evaluation mode: the batch must not mix the gradients of its images.
        variables = models.Variables(params, stats)
        own = Network(self.architecture, variables, statistics, (), {})
        cosine = penalty(
            function(own),
            batch["target_images"].astype(jnp.float32) / 255,
            batch["target_gradients"],
        )
        parts = {"cross_entropy": value, "cosine": cosine}
        return value + batch["rho"] * cosine, (parts, new_stats)


def penalty(f: Callable, x: jax.Array, gradients: jax.Array) -> jax.Array:
    """The mean cosine of the loss gradients of `f` at images with given gradients.

    It can be differentiated by whatever `f` closes over: that is a derivative of an
    input gradient.

    Args:
      f: function of one image with logits ``[C]``.
      x: images, ``[n, h, w, c]``.
      gradients: of the other model at these images, ``[n, h, w, c]``.

    Returns:
      The mean, shape ``[]``; an image without a gradient counts as 0.
    """

    def cosine(x, gradient):
        own = jax.grad(prediction_loss(f, x))(x)
        return linalg.unit(own.ravel()) @ linalg.unit(gradient.ravel())

    return jnp.mean(jax.vmap(cosine)(x, gradients))


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
