"""Figure 1: a student of one variable, given values, noisy values, or slopes as well.

Run: `python -m experiments.jacobian_matching.figure1_curves cpu`; half a minute on one
core, no data needed. A teacher, sin(3 x) + x / 2 on [-2, 2], is known at a few points
drawn at random. Networks of one hidden layer learn it from its values alone, from its
values at these points under noise, or from its values and slopes there (Proposition 1
with weight 1 for the slopes). The paper shows a sketch and no number; ours is the mean
squared error over the whole interval, and the picture is that of the first seed. We
expect noise and slopes to lower the error.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import harness
from experiments.jacobian_matching.support import training
from experiments.sheets import Sheet, write_known, write_row
from jtransfer import distillation

GRID = np.linspace(-2, 2, 401, dtype=np.float32)[:, None]
WAYS = ("values", "values under noise", "values and slopes")


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the run."""

    num_seeds: int
    num_steps: int
    width: int = 32
    num_points: int = 6
    learning_rate: float = 0.01
    sigma: float = 0.1
    """Deviation of the noise."""
    num_draws: int = 8
    """Noises a point and step."""
    results: Path = harness.RESULTS


PRESETS = {
    "smoke": ("seconds", Config(num_seeds=2, num_steps=20, width=4)),
    "cpu": ("half a minute", Config(num_seeds=20, num_steps=3000)),
    "paper": ("the same, more seeds", Config(num_seeds=100, num_steps=3000)),
}


def main(config: Config, preset: str) -> None:
    """Fits every seed in each of the three ways; writes rows and the picture."""
    table = harness.Table("jacobian_matching", "figure1", preset, config.results)
    sheet = Sheet(table, harness.settings(config))

    @functools.cache
    def fits(way: str) -> tuple[np.ndarray, np.ndarray]:
        keys = jax.random.split(jax.random.key(0), config.num_seeds)
        fit = functools.partial(student, config=config, way=way)
        return jax.device_get(jax.jit(jax.vmap(fit))(keys))

    def error_of(way: str, seed: int) -> harness.Value:
        return error(fits(way)[1][seed])

    errors = {
        way: [
            write_row(
                sheet,
                f"mean squared error, {way}",
                functools.partial(error_of, way, seed),
                seed=seed,
            ).value
            for seed in range(config.num_seeds)
        ]
        for way in WAYS
    }
    for way in WAYS[1:]:
        # Errors are spread over decades, so their logarithms are compared.
        gain = training.paired_difference(
            np.log10(errors["values"]), np.log10(errors[way])
        )
        write_known(
            sheet,
            f"log10 of the error, values minus {way}",
            gain,
            verdict=functools.partial(training.verdict, claim=f"{way} lower the error"),
        )
    if not (table.path.parent / f"figure1.{preset}.svg").exists():
        draw(table, {way: fits(way) for way in WAYS})


def error(values: np.ndarray) -> harness.Value:
    """The mean squared error of a fit over the interval."""
    return harness.Value(float(np.mean((values - np.asarray(teacher(GRID))) ** 2)))


def teacher(x):
    """The function to be learnt, of one example `[1]` or of many `[n, 1]`."""
    return jnp.sin(3 * x) + x / 2


def student(key, *, config: Config, way: str):
    """Fits one student; returns its points `[m, 1]` and its values on the grid."""
    points_key, params_key, noise_key = jax.random.split(key, 3)
    x = jax.random.uniform(points_key, (config.num_points, 1), minval=-2, maxval=2)
    weights, offsets = jax.random.normal(params_key, (2, config.width))
    params = (3 * weights, 3 * offsets, jnp.zeros(config.width), jnp.zeros(1))
    loss = {
        "values": values_loss,
        "values under noise": functools.partial(
            noisy_loss, sigma=config.sigma, num_draws=config.num_draws
        ),
        "values and slopes": slopes_loss,
    }[way]
    optimizer = optax.adam(
        optax.cosine_decay_schedule(config.learning_rate, config.num_steps)
    )

    def step(carry, key):
        params, state = carry
        gradient = jax.grad(loss)(params, x, key)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(noise_key, config.num_steps)
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
    return x, jax.vmap(functools.partial(network, params))(jnp.asarray(GRID))


def network(params, x):
    """A hidden layer of tanh; one example `[1]` in, `[1]` out."""
    weights, offsets, outer, shift = params
    return jnp.sum(outer * jnp.tanh(weights * x + offsets), keepdims=True) + shift


def values_loss(params, x, key):
    """Squared error of the values."""
    del key
    student_fn = functools.partial(network, params)
    return distillation.match_activations(jax.vmap(teacher)(x), jax.vmap(student_fn)(x))


def noisy_loss(params, x, key, *, sigma, num_draws):
    """The same under noise on the inputs of both."""
    return distillation.noise_augmented_matching(
        teacher,
        functools.partial(network, params),
        x,
        key,
        sigma=sigma,
        num_draws=num_draws,
    )


def slopes_loss(params, x, key):
    """Squared error of the values and of the slopes."""
    slope = jax.vmap(jax.jacrev(teacher))(x)
    own = jax.vmap(jax.jacrev(functools.partial(network, params)))(x)
    return values_loss(params, x, key) + distillation.match_jacobians(slope, own)


def draw(table: harness.Table, fits: dict) -> None:
    """Draws the teacher, the points and the fits of the first seed."""
    with training.figure(table, width=9, height=2.6) as drawing:
        for axes, (way, (points, values)) in zip(
            drawing.subplots(1, len(fits), sharey=True), fits.items(), strict=True
        ):
            axes.plot(GRID[:, 0], teacher(GRID)[:, 0], "k--", lw=1, label="teacher")
            axes.plot(GRID[:, 0], values[0, :, 0], color="tab:blue", label="student")
            axes.plot(points[0, :, 0], teacher(points[0])[:, 0], "ko", ms=4)
            axes.set(title=way, xlabel="x", ylim=(-3, 3))
        axes.legend(frameon=False)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
