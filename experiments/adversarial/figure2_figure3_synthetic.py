"""Figures 2 and 3 of paper A: six curves on the task of radial basis functions.

Run: `python -m experiments.adversarial.figure2_figure3_synthetic cpu`; a few minutes on
2 cores at the sizes of the paper, without any data. A killed run goes on.

A target network of width 100 and sources of widths 100 (the target itself), 50 and 200
learn one regression. Each source is then moved away, W + t V with t in [0, 1] and V
uniform on (-.5, .5). Curves against t: alpha1 and alpha2 in both directions, for the
first and the second attack of Eq. (9), the gradient matching distance (7) and the
knowledge transfer distance (17). Attacks are first-order: deviations are J delta.

The paper leaves open the optimiser, whether V moves the biases (here it does), the grid
of t, the number of directions and the scale of the distances (here they are shares of
the root mean square of what they are distances from). Curves are on the data of the
fit. At width 100 the recipe explains .98 of their variance and .54 of that of fresh
data; 2000 steps, or ten times the weight decay, would explain a fifth at most.

Along t anything that is monotone has a rank correlation of 1, so those rows say no more
than that. Whether a number tells which source is nearer is seen at one t, over the
sources of all widths and V; it is averaged over t, and a task is one observation.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from experiments import harness
from experiments.adversarial.support import curves, drawings
from experiments.adversarial.support.curves import GRADIENT, KNOWLEDGE
from experiments.adversarial.support.regression import (
    PRESETS,
    Config,
    explained,
    tasks,
    train_network,
)
from experiments.harness import Value
from experiments.sheets import (
    Sheet,
    over_seeds,
    sign_verdict,
    write_known,
    write_row,
)
from jtransfer import matching
from jtransfer.ranking import correlations

NUM_SHARED = 500
"""Examples of the shares of the explained gradient."""
ALPHAS = ("alpha1 T->S", "alpha1 S->T", "alpha2 T->S", "alpha2 S->T")


CLAIMS = {
    f"Spearman over the sources at fixed t, {name} and the transfer distance": sign
    for name, sign in (
        (GRADIENT, 1.0),
        *((f"{alpha}, attack 1", -1.0) for alpha in ALPHAS),
    )
}
"""Signs that the paper claims."""


def along_t(value: Value, *, claim: float) -> str:
    """Judges a rank correlation along t, which monotone curves have at once."""
    if value.low is not None and value.low * claim > 0:
        return "Monotone in t, in the direction of the paper."
    if value.high is not None and value.high * claim < 0:
        return "Monotone in t, against the direction of the paper."
    return "Not decided: the interval over V holds zero."


def main(config: Config, preset: str) -> None:
    """Trains the networks of each seed, measures, and draws."""
    table = harness.Table("adversarial", "synthetic", preset, config.results)
    sheet = Sheet(table, harness.settings(config, "seeds"))
    fixed = [write_seed(config, sheet, seed) for seed in config.seeds]
    for cell in fixed[0] if len(fixed) > 1 else ():
        values = [of_task[cell] for of_task in fixed]
        write_known(
            sheet,
            f"{cell}, mean of {len(values)} tasks",
            over_seeds([Value(value) for value in values]),
            verdict=sign_verdict(CLAIMS.get(cell)),
        )


def write_seed(config: Config, sheet: Sheet, seed: int) -> dict[str, float]:
    """Writes rows, curves and figures of one task; returns what holds at fixed t."""
    fitting, fresh = tasks(config, seed)
    network_of = functools.cache(
        functools.partial(train_network, config, fitting, seed=seed)
    )
    for width in dict.fromkeys((config.target_width, *config.widths)):
        for name, task in (("the data of the fit", fitting), ("fresh data", fresh)):
            write_row(
                sheet,
                f"R^2 on {name}, width {width}",
                functools.partial(explained_share, network_of, width, task),
                seed=seed,
            )
    by_width = []
    for width in config.widths:
        file = f"synthetic-{width}-{seed}.{sheet.table.preset}.json"
        lines = kept_curves(
            sheet.table.path.with_name(file),
            sheet.settings,
            functools.partial(
                measured_curves, config, network_of, fitting, width, seed
            ),
        )
        by_width.append(lines)
        write_agreement(sheet, lines, width, seed)
        write_shares(config, sheet, network_of, fitting, width, seed)
        if seed == config.seeds[0]:
            draw(sheet.table, lines, width, seed)
    return write_fixed(sheet, by_width, seed)


def write_shares(
    config: Config, sheet: Sheet, network_of: Callable, task, width: int, seed: int
) -> None:
    """Writes Theorem 3.1's shares of the first attacks, T->S, for t = 1/2."""

    @functools.cache
    def shares() -> np.ndarray:
        inputs = task.inputs[:NUM_SHARED]
        source = network_of(width)
        key = jax.random.fold_in(jax.random.key(seed), 1000 * width)
        moved = curves.moved(source, curves.random_direction(key, source), 0.5)
        gradients = (
            curves.jacobians_of(variables, inputs)
            for variables in (network_of(config.target_width), moved)
        )
        return np.asarray(matching.attack_shares(*gradients).shares)

    def share(number: int) -> Value:
        return Value(float(shares()[min(number, len(shares())) - 1]))

    for number in (1, 2, 3):
        write_row(
            sheet,
            f"share of the explained gradient by attacks 1 to {number}, T->S, t = 1/2, "
            f"width {width}",
            functools.partial(share, number),
            seed=seed,
        )


def write_fixed(sheet: Sheet, by_width: list[dict], seed: int) -> dict[str, float]:
    """Writes rank correlations over the sources at one t, the mean over all t > 0."""
    names = [GRADIENT, *(f"{alpha}, attack {i}" for alpha in ALPHAS for i in (1, 2))]
    joined = {
        name: np.concatenate([lines[name] for lines in by_width])[:, 1:]
        for name in (KNOWLEDGE, *names)
    }
    values = {}
    for name in names:
        pairs = zip(joined[name].T, joined[KNOWLEDGE].T, strict=True)
        mean = float(np.mean([correlations.spearman(*pair) for pair in pairs]))
        cell = fixed_cell(name)
        values[cell] = write_known(sheet, cell, mean, seed=seed).value
    return values


def fixed_cell(name: str) -> str:
    """The name of a rank correlation over the sources."""
    return f"Spearman over the sources at fixed t, {name} and the transfer distance"


def draw(table: harness.Table, lines: dict, width: int, seed: int) -> None:
    """Draws the curves of the first attack and those of the second."""
    panels = [
        {name: lines[f"{name}, attack {i}"] for name in ALPHAS}
        | {name: lines[name] for name in (GRADIENT, KNOWLEDGE)}
        for i in (1, 2)
    ]
    titles = [f"source of width {width}, attack {i}" for i in (1, 2)]
    drawings.draw_curves(table, f"{width}-{seed}", panels, titles)


def kept_curves(
    file: Path, settings: dict, compute: Callable[[], dict]
) -> dict[str, np.ndarray]:
    """The curves in a file, which are computed and written if they are not there."""
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["config"] == settings:
            return {name: np.array(lines) for name, lines in kept["curves"].items()}
    rounded = {name: np.round(lines, 5) for name, lines in compute().items()}
    listed = {name: lines.tolist() for name, lines in rounded.items()}
    text = json.dumps({"config": settings, "curves": listed})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="utf-8")
    return rounded


def explained_share(network_of: Callable, width: int, task) -> Value:
    """R^2 of the network of a width, which is trained if need be."""
    return Value(explained(network_of(width), task))


def measured_curves(
    config: Config, network_of: Callable, task, width: int, seed: int
) -> dict[str, np.ndarray]:
    """The curves by name and attack: arrays `[directions, scales]`."""
    source = network_of(width)
    at = curves.numbers(network_of(config.target_width), task)
    scales = np.linspace(0, 1, config.num_scales)
    points = []
    for number in range(config.num_directions):
        key = jax.random.fold_in(jax.random.key(seed), 1000 * width + number)
        direction = curves.random_direction(key, source)
        points.append([at(curves.moved(source, direction, s)) for s in scales])
    return {
        name: np.array([[float(point[name]) for point in line] for line in points])
        for name in points[0][0]
    }


def write_agreement(sheet: Sheet, lines: dict, width: int, seed: int) -> None:
    """Writes rank correlations along t for each V: what the figures show."""

    def along(a: str, b: str) -> np.ndarray:
        pairs = zip(lines[a], lines[b], strict=True)
        return np.array([correlations.spearman(*pair) for pair in pairs])

    def write(cell: str, values: np.ndarray, claim: float | None) -> None:
        write_known(
            sheet,
            f"{cell}, width {width}",
            over_seeds([Value(float(value)) for value in values]),
            seed=seed,
            verdict=None if claim is None else functools.partial(along_t, claim=claim),
        )

    write("Spearman of both distances", along(GRADIENT, KNOWLEDGE), 1)
    for alpha in ALPHAS:
        first, second = (along(f"{alpha}, attack {i}", KNOWLEDGE) for i in (1, 2))
        write(f"Spearman of {alpha}, attack 1, with the transfer distance", first, -1)
        cell = f"Spearman of {alpha}, attack 2, with the transfer distance"
        write(cell, second, None)
        write_known(
            sheet,
            f"{alpha}: how much closer to -1 with attack 1, width {width}",
            over_seeds([Value(float(x)) for x in second - first]),
            seed=seed,
            verdict=sign_verdict(1),
        )
    for alpha in ("alpha1", "alpha2"):
        both = along(f"{alpha} T->S, attack 1", f"{alpha} S->T, attack 1")
        write(f"Spearman of the directions of {alpha}, attack 1", both, 1)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
