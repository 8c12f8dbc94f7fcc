"""Figure 3 of selective cross-task distillation: how fast the gradient converges.

Run: `python -m experiments.cross_task.figure3_convergence cpu --data-dir DIR`; a
minute, most of it the training of the two networks, CIFAR-100 prepared in DIR. 256
problems: a teacher on all classes, a student, temperature 3, epsilon .1. The error of
eps log v(t) in variation seminorm and in L2, with Proposition 4.3's bound. Three costs:
that of the package, with centres of length one on both sides; the paper's, where only
the teacher's are; and one scaled to a largest entry of .1. The paper takes t = 100 as
the truth; we also measure against t = 2000.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments import harness
from experiments.cross_task.support.outputs import (
    centers,
    class_cost,
    head_centers,
    logits,
)
from experiments.cross_task.support.settings import (
    CPU,
    PAPER,
    SMOKE,
    Config,
    Training,
    task,
)
from experiments.cross_task.support.sheets import Sheet, axes, row, sheet
from experiments.cross_task.support.training import ALONE, teacher, trained
from experiments.harness import Value
from jtransfer import sinkhorn
from jtransfer.sinkhorn import convergence

STEPS = (1, 10, 20, 50, 100)
COSTS = ("both scaled", "as printed", "largest .1")
UNTRAINED = Training(num_epochs=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure3(Config):
    """Sizes of the figure."""

    teacher: tuple[str, int | None] = ("vgg4", 16)
    student: tuple[str, int | None] = ("vgg4", 8)
    dataset: str = "cifar100"
    num_problems: int = 256
    num_classes: int = 100
    num_iterations: int = 2000
    """Of what counts as the truth."""


PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        Figure3(
            **SMOKE
            | dict.fromkeys(("teacher_training", "student_training"), UNTRAINED),
            teacher=("vgg4", 2),
            student=("vgg4", 1),
            num_problems=8,
            num_classes=10,
            num_iterations=200,
        ),
    ),
    "cpu": ("a minute on one core", Figure3(**CPU)),
    "paper": (
        "an accelerator",
        Figure3(**PAPER, teacher=("wrn-40-2", 16), student=("wrn-16-1", 16)),
    ),
}


def main(config: Figure3, preset: str) -> None:
    """Writes the rows of the three costs and draws the figure."""
    found = sheet(config, "figure3", preset)
    for name in COSTS:
        write(found, config, name)
    if not found.table.path.with_suffix(".svg").exists():
        draw(found.table, {name: errors(config, name) for name in COSTS})


def write(found: Sheet, config: Figure3, name: str) -> None:
    """Writes the rows of one cost."""

    def value(read):
        return lambda: Value(float(read(errors(config, name))))

    row(found, f"{name}: max(cost) / epsilon", value(lambda c: c["ratio"]))
    row(found, f"{name}: kappa^2", value(lambda c: c["rate"]), verdict=promise)
    for truth, steps in (("t = 100", STEPS[:-1]), ("the last t", STEPS)):
        for step in steps:
            row(
                found,
                f"{name}: error after {step} steps against {truth}, share of the first",
                value(lambda c, t=truth, step=step: c[t][step] / c[t][0]),
                verdict=converged,
            )
    row(
        found,
        f"{name}: bound after 100 steps, share of the first error",
        value(lambda c: c["bound"][100] / c["bound"][0]),
        verdict=bounded,
    )


def promise(rate: Value) -> str:
    """Judges a rate of convergence."""
    percent = 100 * (1 - rate.value)
    if percent < 1:
        return f"Vacuous: the bound promises {percent:.2g}% a step."
    return f"Tells something: at least {percent:.2g}% a step."


def bounded(share: Value) -> str:
    """Judges a bound by its share of the first error."""
    if share.value >= 0.5:
        return "Vacuous: half of the first error or more."
    return "Tells something: less than half of the first error."


def converged(share: Value) -> str:
    """Judges an error by its share of the first."""
    if share.value < 0.01:
        return "Converged: below a hundredth of the first error."
    return "Not converged: a hundredth of the first error or more."


@functools.lru_cache(maxsize=3)
def errors(config: Figure3, name: str) -> dict[str, np.ndarray]:
    """Mean errors over the problems, the bound, and the size of one cost."""
    classes = range(config.num_classes)
    source = task(config, config.dataset, classes, config.teacher_per_class)
    target = task(config, config.dataset, classes, config.per_class)
    taught_by = teacher(config, config.teacher, source).network
    student = trained(
        config, config.student, target.train, ALONE, config.student_training, seed=0
    ).network
    cost = class_cost(taught_by, target.train)
    if name == "as printed":
        cost = sinkhorn.cost_matrix(
            head_centers(taught_by), centers(taught_by, target.train, scaled=False)
        )
    if name == "largest .1":
        cost = 0.1 * cost / cost.max()
    images = target.train.images[: config.num_problems]
    probs = [
        jax.nn.softmax(logits(network, images) / config.temperature)
        for network in (taught_by, student)
    ]
    shares, distances, first = mean_errors(
        *probs, cost, epsilon=config.epsilon, num_iterations=config.num_iterations
    )
    return {
        "ratio": np.asarray(cost.max() / config.epsilon),
        "rate": np.asarray(
            convergence.contraction_rate(cost, epsilon=config.epsilon) ** 2
        ),
        "bound": np.asarray(
            convergence.gradient_bound(
                first, cost, epsilon=config.epsilon, num_iterations=100
            )
        ),
        "t = 100": np.asarray(shares[0]),
        "the last t": np.asarray(shares[1]),
        "L2": np.asarray(distances),
    }


@functools.partial(jax.jit, static_argnames=("num_iterations",))
def mean_errors(teacher_probs, student_probs, cost, *, epsilon, num_iterations):
    """Errors after 0 to 100 steps: in seminorm against both truths, and in L2."""

    def of_one(p, q):
        gradients = convergence.student_gradients(
            p, q, cost, epsilon=epsilon, num_iterations=num_iterations
        )
        early = gradients[:101]

        def seminorms(truth):
            return jax.vmap(convergence.variation_seminorm)(early - truth[None])

        # A gradient is defined up to a constant, so L2 is of the centred difference.
        centred = early - early[100:101]
        centred -= centred.mean(axis=1, keepdims=True)
        return (
            jnp.stack([seminorms(gradients[100]), seminorms(gradients[-1])]),
            jnp.linalg.norm(centred, axis=1),
        )

    seminorms, lengths = jax.lax.map(
        lambda pair: of_one(*pair), (teacher_probs, student_probs)
    )
    seminorms = seminorms.mean(axis=0)
    return seminorms, lengths.mean(axis=0), seminorms[0, 0]


def draw(table, curves) -> None:
    """Draws the curves of the three costs."""
    figure, (panels,) = axes(1, 3, size=(9, 2.8))
    for panel, (name, found) in zip(panels, curves.items(), strict=True):
        steps = np.arange(101)
        for label, values, style in (
            ("variation seminorm", found["t = 100"][:-1], "-"),
            ("against t = 2000", found["the last t"], ":"),
            ("L2", found["L2"][:-1], "-."),
            ("bound", found["bound"], "--"),
        ):
            panel.semilogy(steps[: len(values)], values, style, label=label)
        panel.set(title=f"{name}: max / eps = {found['ratio']:.0f}", xlabel="t")
    panels[0].set_ylabel("mean error of the gradient")
    panels[0].legend(fontsize="x-small")
    harness.save_figure(figure, table)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
