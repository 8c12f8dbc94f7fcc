"""Theorems 3.1, 3.3 and B.1 of paper A on real networks, those inside the package.

Run: `python -m experiments.adversarial.theory_on_networks cpu`; minutes on one core,
without any data. Twelve small networks at UCI digits, the one of MNIST as the model of
the target:

- how much of Theorem 3.1's explained gradient the first attacks give, through A1 and
  A2, in both directions (the paper calls the first "the most influential");
- whether first-order alphas behave like those of PGD (section 3), at three radii;
- how wide Theorem 3.3's interval of the knowledge transfer distance (17) is, beside the
  surrogate (16), with the reference's probabilities as outputs and the labels as truth;
- whether attacks on the source say something about the explained gradient, and the
  reverse distance (18) about (16), by the outputs of the target's model, d, and of the
  source, m: Appendix B says they do for d <= m.

Intervals are over the other networks, which are no independent draw.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments import harness
from experiments.harness import Value
from experiments.sheets import (
    Sheet,
    over_models,
    over_seeds,
    sign_verdict,
    write_known,
    write_row,
)
from jtransfer import adversarial, jacobians, matching, pairs, zoo
from jtransfer.ranking.correlations import spearman
from jtransfer.zoo import embedded

REFERENCE = "mnist"
RADII = (0.01, 0.03, 0.1)
FIRST = (1, 2, 3)
"""Numbers of attacks whose share is written."""
WAYS = ("T->S", "S->T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the run."""

    num_images: int = 200
    num_steps: int = 20
    """Of PGD."""
    networks: tuple[str, ...] | None = None
    """None for all of the package."""
    seeds: tuple[int, ...] = (0,)
    out: Path = Path("runs/adversarial")
    results: Path = harness.RESULTS
    data_dir: str | None = None


PRESETS = {
    "smoke": (
        "seconds",
        Config(
            num_images=20,
            num_steps=2,
            networks=("mnist", "mnist-0-4", "mnist-parity", "fashion", "untrained"),
        ),
    ),
    "cpu": ("minutes on one core", Config()),
    "paper": ("all images", Config(num_images=1797, num_steps=50)),
}


def main(config: Config, preset: str) -> None:
    """Writes all rows."""
    table = harness.Table("adversarial", "theory", preset, config.results)
    sheet = Sheet(table, harness.settings(config, "seeds"))
    functions = networks(config)
    images, labels = images_of(config)
    gradients = {name: jacobians_of(f, images) for name, f in functions.items()}
    sources = [name for name in functions if name != REFERENCE]
    write_shares(sheet, gradients, sources)
    write_radii(config, sheet, functions, gradients, sources, images)
    write_bounds(sheet, functions, sources, images, labels)
    write_outputs(sheet, functions, gradients, images)


def networks(config: Config) -> dict:
    """The functions of the networks inside the package, by name."""
    return {
        source.name: source.function()
        for source in zoo.embedded_sources()
        if config.networks is None or source.name in config.networks
    }


def images_of(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Digits and their labels, drawn at random."""
    images, labels = embedded.digits()
    chosen = np.random.default_rng(0).permutation(len(labels))[: config.num_images]
    return images[chosen], labels[chosen]


@jax.jit
def jacobians_of(function, images) -> jax.Array:
    """Jacobians of a function at images, `[n, m, p]`."""
    of_one = jax.vmap(jacobians.jacobian(function))(images)
    return of_one.reshape(*of_one.shape[:2], -1)


def write_shares(sheet: Sheet, gradients: dict, sources: list[str]) -> None:
    """Writes the shares of the explained gradient by the first attacks."""
    by_cell: dict[str, list[float]] = {}
    for name in sources:
        own, other = gradients[REFERENCE], gradients[name]
        for way, pair in zip(WAYS, ((own, other), (other, own)), strict=True):
            measured = matching.attack_shares(*pair)
            values = {
                f"share of the explained gradient by attacks 1 to {i}, {way}": (
                    measured.shares[min(i, len(measured.shares)) - 1]
                )
                for i in FIRST
            }
            values[f"mean A1 of attack 1, {way}"] = measured.alpha1[0]
            values[f"mean A2 of attack 1, {way}"] = measured.alpha2[0]
            for cell, value in values.items():
                row = write_known(sheet, f"{cell}, {name}", float(value))
                by_cell.setdefault(cell, []).append(row.value)
    for cell, values in by_cell.items():
        known = [Value(value) for value in values if np.isfinite(value)]
        compute = functools.partial(over_seeds, known)
        rule = most_influential if "1 to 1," in cell else None
        write_row(sheet, f"{cell}, mean of {len(known)}", compute, verdict=rule)


def most_influential(share: Value) -> str:
    """Judges the share that the first attack has alone."""
    if share.low is not None and share.low > 0.5:
        return "Reproduced: the first attack gives most of it."
    if share.high is not None and share.high < 0.5:
        return f"Not reproduced: the first attack gives {share.value:.0%} of it."
    return f"Not decided: the first attack gives {share.value:.0%} of it."


def write_radii(
    config: Config,
    sheet: Sheet,
    functions: dict,
    gradients: dict,
    sources: list[str],
    images: np.ndarray,
) -> None:
    """Writes how first-order alphas go with those of PGD over the sources."""
    blocks = np.zeros(len(images), int)
    first_order = {
        name: first_alphas(gradients[REFERENCE], gradients[name]) for name in sources
    }
    for radius in RADII:
        settings = pairs.AttackSettings(epsilon=radius, num_steps=config.num_steps)
        attacked = {
            name: pairs.attacked(f, images, jax.random.key(0), settings=settings)
            for name, f in functions.items()
        }
        by_measure: dict[str, list[float]] = {"alpha1": [], "alpha2": []}
        for name in sources:
            transfer = pairs.transfer(
                attacked[REFERENCE], attacked[name], images, blocks
            )
            sums = pairs.merged(transfer.blocks)
            by_measure["alpha1"].append(pairs.alpha1_of_sums(sums))
            by_measure["alpha2"].append(pairs.alpha2_of_sums(sums))
        for i, (measure, values) in enumerate(by_measure.items()):
            first = [first_order[name][i] for name in sources]
            write_row(
                sheet,
                f"Pearson over {len(sources)} sources, first-order {measure} and that "
                f"of PGD, radius {radius}, T->S",
                functools.partial(over_models, first, values),
                verdict=sign_verdict(1.0),
            )


@jax.jit
def first_alphas(own: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean alpha1 and alpha2 of the first attack, to first order."""
    ratios = jax.vmap(adversarial.generalized_alpha1)(own, other)
    deviations = jax.vmap(adversarial.generalized_deviations)(own, other)
    alpha2 = adversarial.alpha2(*(part[:, 0] for part in deviations))
    return jnp.mean(ratios[:, 0]), alpha2


def write_bounds(
    sheet: Sheet, functions: dict, sources: list[str], images, labels
) -> None:
    """Writes (17) less (16) and the width of Theorem 3.3's interval."""
    outputs = {
        name: pairs.batched_values(f, images, batch_size=128)
        for name, f in functions.items()
    }
    probs = np.asarray(jax.nn.softmax(jnp.asarray(outputs[REFERENCE])))
    truth = np.eye(probs.shape[1], dtype=probs.dtype)[labels]
    numbers: dict[str, list[float]] = {"difference": [], "width": []}
    for name in sources:
        source = outputs[name]
        real = float(matching.function_matching_distance(truth, source))
        surrogate = float(matching.function_matching_distance(probs, source))
        bounds = matching.knowledge_transfer_bounds(probs, source, truth)
        width = float(bounds.upper - bounds.lower) / real
        write_known(sheet, f"(17) less (16), {name}", real - surrogate)
        write_known(sheet, f"width of Theorem 3.3's interval over (17), {name}", width)
        numbers["difference"].append(real - surrogate)
        numbers["width"].append(width)
    write_row(
        sheet,
        "(17) less (16), mean",
        functools.partial(over_seeds, list(map(Value, numbers["difference"]))),
    )
    write_row(
        sheet,
        "width of Theorem 3.3's interval over (17), mean",
        functools.partial(over_seeds, list(map(Value, numbers["width"]))),
        verdict=vacuous,
    )


def vacuous(width: Value) -> str:
    """Judges an interval by its width over what it holds."""
    if width.value >= 1:
        return f"Vacuous: the interval is {width.value:.1f} times what it holds."
    return f"The interval is {width.value:.2f} of what it holds."


def write_outputs(
    sheet: Sheet, functions: dict, gradients: dict, images: np.ndarray
) -> None:
    """Writes how attacks on the source, and (18), go with the gradient and with (16).

    By the outputs of the target's model, d, and of the source, m, as in Appendix B.
    """
    outputs = {
        name: pairs.batched_values(f, images, batch_size=128)
        for name, f in functions.items()
    }
    cells = {
        "A1 A2 of attack 1, S->T, and the explained gradient": (
            functools.partial(attack_and_gradient, gradients)
        ),
        "(18) and (16)": functools.partial(both_distances, outputs),
    }
    for cell, numbers in cells.items():
        by_group: dict[str, list[float]] = {"d < m": [], "d = m": [], "d > m": []}
        for target in functions:
            points: dict[str, list[tuple[float, float]]] = {}
            for source in functions:
                d, m = (outputs[name].shape[1] for name in (target, source))
                group = "d < m" if d < m else "d = m" if d == m else "d > m"
                if (
                    source != target
                    and np.isfinite(pair := numbers(target, source)).all()
                ):
                    points.setdefault(group, []).append(pair)
            for group, own in points.items():
                if len(own) >= 3:
                    columns = map(np.array, zip(*own, strict=True))
                    by_group[group].append(spearman(*columns))
        for group, values in by_group.items():
            if len(values) > 1:
                write_row(
                    sheet,
                    f"Spearman of {cell}, {group}, mean over {len(values)} targets",
                    functools.partial(over_seeds, list(map(Value, values))),
                    verdict=sign_verdict(None if group == "d > m" else 1.0),
                )


def attack_and_gradient(
    gradients: dict, target: str, source: str
) -> tuple[float, float]:
    """A1 A2 of the first attack on the source, and the target's explained gradient."""
    measured = matching.attack_shares(gradients[source], gradients[target])
    explained = matching.explained_gradient(gradients[target], gradients[source])
    return float(measured.alpha1[0] * measured.alpha2[0]), float(explained)


def both_distances(outputs: dict, target: str, source: str) -> tuple[float, float]:
    """(18) and (16), each over the deviation of what it is a distance from."""

    def left(of: str, by: str) -> float:
        spread = np.sqrt(np.mean(np.sum((outputs[of] - outputs[of].mean(0)) ** 2, 1)))
        distance = matching.function_matching_distance(outputs[of], outputs[by])
        return float(distance) / float(spread)

    return left(source, target), left(target, source)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
