"""Section 4.2: how many samples ACE needs against the plug-in matrix.

Run: `python -m experiments.h_score.section42_ace_samples cpu`; a minute. Joint tables
of 64 x 64 symbols with exactly k modes (a hidden variable of k + 1 states between X and
Y). From n samples: the sum of the k squared correlations that ACE finds, and the
squared norm of the whole empirical divergence transition matrix; both estimate the same
H(f_opt). (ACE finds the modes of that very matrix: what saves samples is that k of its
63 modes are kept.) Also the H-score, under the true table, of the features of ACE. The
paper says that ACE needs 1/k of the samples of the direct estimate of P_YX; a table
itself, whose error is also written, is another quantity than what both give here. Not
stated: tables, the meaning of the error, k.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments import harness
from experiments.h_score.support import figures
from jtransfer import hgr


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the tables and of the samples."""

    modes: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of modes of the tables, each also that of the features."""
    num_symbols: int = 64
    """Of X and of Y."""
    concentration: float = 0.3
    """Of the Dirichlet distributions of the symbols given the hidden state."""
    num_samples: tuple[int, ...] = tuple(250 * 2**i for i in range(11))
    num_tables: int = 10
    tolerance: float = 0.1
    """Relative error that is to be reached."""
    num_steps: int = 200
    """Of ACE, at most."""
    seed: int = 0
    results: Path = harness.RESULTS


PRESETS = {
    "smoke": (
        "seconds",
        Config(modes=(1,), num_symbols=8, num_samples=(100, 400), num_tables=2),
    ),
    "cpu": ("the sizes of the paper, as far as it states any", Config()),
    "paper": ("the same", Config()),
}
ESTIMATES = ("ACE", "plug-in matrix", "features of ACE", "table P_YX")


def main(config: Config, preset: str) -> None:
    """Writes the rows and the figure."""
    table = harness.Table("h_score", "ace_samples", preset, config.results)
    drawn = {}
    for k in config.modes:
        drawn[k] = errors(config, k)
        needed = {}
        for name, values in zip(ESTIMATES, np.moveaxis(drawn[k], 2, 0), strict=True):
            for n, of_n in zip(config.num_samples, values.T, strict=True):
                cell = f"relative error, {name}, k = {k}, n = {n}"
                figures.write_row(table, cell, figures.mean(of_n), config)
            needed[name] = samples_needed(config, values)
            cell = f"samples for an error of {config.tolerance}, {name}, k = {k}"
            figures.write_row(table, cell, needed[name], config)
        ratio = needed["plug-in matrix"].value / needed["ACE"].value
        figures.write_row(
            table,
            f"samples of the plug-in matrix over those of ACE, k = {k}",
            ratio,
            config,
            paper_value=k,
            verdict=f"For H(f_opt) the matrix needs {ratio:.1f} times as many samples; "
            f"of P_YX itself, another quantity, the paper says k = {k}.",
        )
        ratio = needed["table P_YX"].value / needed["ACE"].value
        figures.write_row(
            table,
            f"samples of the table P_YX over those of ACE, k = {k}",
            ratio,
            config,
            paper_value=k,
            verdict=f"P_YX needs {ratio:.1f} times as many samples for a total "
            f"variation of {config.tolerance} as ACE for that relative error of "
            f"H(f_opt); the paper says k = {k}.",
        )
    figures.write_figure(table, draw, config, drawn, size=(8, 2.8))


def errors(config: Config, k: int) -> np.ndarray:
    """Relative errors of the estimates, `[table, n, estimate]`."""
    most = max(config.num_samples)
    values = np.empty((config.num_tables, len(config.num_samples), len(ESTIMATES)))
    for task in range(config.num_tables):
        rng = np.random.default_rng([config.seed, k, task])
        joint = table_of_modes(config, k, rng)
        cells = rng.choice(joint.size, size=most, p=joint.ravel())
        for index, n in enumerate(config.num_samples):
            # Samples without a symbol are left out; so one shape is compiled once.
            used = np.where(np.arange(most) < n, cells, -1)
            values[task, index] = estimates(
                jnp.asarray(joint, jnp.float32),
                np.where(used < 0, -1, used % config.num_symbols),
                np.where(used < 0, -1, used // config.num_symbols),
                jax.random.key(task),
                num_modes=k,
                num_steps=config.num_steps,
            )
    return values


def table_of_modes(config: Config, k: int, rng) -> np.ndarray:
    """A random joint table `[Y, X]` with k modes and no more."""
    alpha = np.full(config.num_symbols, config.concentration)
    x, y = (rng.dirichlet(alpha, size=k + 1) for _ in range(2))
    joint = y.T @ x
    return joint / joint.sum()


@jax.jit(static_argnames=("num_modes", "num_steps"))
def estimates(joint, x, y, key, *, num_modes, num_steps) -> jax.Array:
    """Relative errors of `ESTIMATES` of one sample, `[4]`.

    That of the table is its total variation: half of the sum of the absolute errors.
    """
    num_y, num_x = joint.shape
    sizes = {"num_x": num_x, "num_y": num_y}
    matrix = hgr.divergence_transition_matrix(joint)
    truth = jnp.sum(matrix**2)
    ace = hgr.ace(x, y, key, num_modes=num_modes, num_steps=num_steps, **sizes)
    counted = hgr.joint_distribution(x, y, **sizes)
    plug_in = jnp.sum(hgr.divergence_transition_matrix(counted) ** 2)
    # The H-score of functions of x under the true table: the squared length of what
    # the matrix makes of an orthonormal basis of them.
    root = jnp.sqrt(joint.sum(axis=0))[:, None]
    basis, _ = jnp.linalg.qr(jnp.concatenate([root, root * ace.x_functions], axis=1))
    reached = jnp.sum((matrix @ basis[:, 1:]) ** 2)
    return jnp.stack(
        [
            jnp.abs(jnp.sum(ace.correlations**2) / truth - 1),
            jnp.abs(plug_in / truth - 1),
            1 - reached / truth,
            jnp.sum(jnp.abs(counted - joint)) / 2,
        ]
    )


def samples_needed(config: Config, values: np.ndarray) -> harness.Value:
    """Samples at which the mean error `[table, n]` falls to the tolerance."""

    def crossing(chosen):
        return crossing_point(
            np.array(config.num_samples), chosen.mean(axis=0), config.tolerance
        )

    return harness.bootstrap_interval(crossing, values, seed=0)


def crossing_point(n: np.ndarray, error: np.ndarray, tolerance: float) -> float:
    """Where an error falls to a tolerance for good, between points in log and log.

    The ends of the range stand for what lies beyond them.
    """
    above = np.flatnonzero(error > tolerance)
    if not len(above):
        return float(n[0])
    last = above[-1]
    if last == len(n) - 1:
        return float(n[-1])
    part = slice(last, last + 2)
    place = np.interp(-np.log(tolerance), -np.log(error[part]), np.log(n[part]))
    return float(np.exp(place))


def draw(figure, config: Config, drawn: dict[int, np.ndarray]) -> None:
    """Mean errors against the number of samples."""
    panels = figure.subplots(1, len(drawn), squeeze=False, sharey=True)[0]
    for axes, (k, values) in zip(panels, drawn.items(), strict=True):
        means = values.mean(axis=0)
        axes.loglog(config.num_samples, means, "o-", ms=3, label=ESTIMATES)
        axes.axhline(config.tolerance, color="black", lw=0.5)
        axes.set(xlabel="samples", title=f"k = {k}")
    panels[0].set_ylabel("relative error")
    panels[0].legend()


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
