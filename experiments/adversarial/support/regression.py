"""The regression of paper A's Figures 2 and 3: sizes, task and networks."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments import harness
from experiments.adversarial.support import curves
from jtransfer import training
from jtransfer.data import synthetic
from jtransfer.models import OneHiddenLayer, Variables, trainable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the run."""

    num_examples: int = 5000
    num_inputs: int = 50
    num_outputs: int = 10
    target_width: int = 100
    widths: tuple[int, ...] = (100, 50, 200)
    """Of the sources; the first is that of Figure 2, the others those of Figure 3."""
    num_steps: int = 16_000
    """Of AdamW with a cosine from .003, weight decay .1 and batches of 128."""
    num_directions: int = 5
    """Number of V; their spread is shown."""
    num_scales: int = 21
    """Number of t in [0, 1]."""
    seeds: tuple[int, ...] = (0,)
    results: Path = harness.RESULTS


PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        Config(
            num_examples=64,
            num_inputs=6,
            num_outputs=3,
            target_width=4,
            widths=(4,),
            num_steps=50,
            num_directions=2,
            num_scales=3,
        ),
    ),
    "cpu": ("the sizes of the paper, minutes on 2 cores", Config(seeds=(0, 1, 2))),
    "paper": (
        "more directions and scales, three tasks",
        Config(num_directions=20, num_scales=41, seeds=(0, 1, 2)),
    ),
}


def tasks(config: Config, seed: int):
    """Two halves of one draw: to fit and to check, inputs and targets."""
    task = synthetic.rbf_task(
        jax.random.key(seed),
        num_examples=2 * config.num_examples,
        num_inputs=config.num_inputs,
        num_outputs=config.num_outputs,
    )
    n = config.num_examples
    return tuple(
        synthetic.RegressionTask(*(part[rows] for part in task))
        for rows in (slice(n), slice(n, None))
    )


def train_network(config: Config, task, width: int, *, seed: int) -> Variables:
    """Trains a network to regress the targets."""
    model = OneHiddenLayer(
        num_features=config.num_inputs,
        num_classes=config.num_outputs,
        width=width,
        rngs=nnx.Rngs(seed),
    )
    train_fn, params, stats = trainable(model)
    rate = optax.cosine_decay_schedule(3e-3, config.num_steps)
    result = training.fit(
        training.supervised(train_fn, squared_error, inputs="inputs"),
        Variables(params, stats),
        {"inputs": task.inputs, "targets": task.targets},
        optimizer=optax.adamw(rate, weight_decay=0.1),
        num_steps=config.num_steps,
        batch_size=min(128, config.num_examples),
        seed=seed,
        steps_per_dispatch=50,
        log_every=1000,
    )
    return result.best


def squared_error(outputs, batch):
    """Mean over examples of the squared distance from the targets."""
    return jnp.mean(jnp.sum((outputs[0] - batch["targets"]) ** 2, axis=1)), {}


def explained(variables: Variables, task) -> float:
    """R^2: the share of the variance of the targets that a network explains."""
    residual = task.targets - curves.outputs(variables, task.inputs)
    spread = task.targets - task.targets.mean(axis=0, keepdims=True)
    return float(1 - jnp.sum(residual**2) / jnp.sum(spread**2))
