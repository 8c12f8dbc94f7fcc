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
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments import harness
from experiments.cross_task.support.outputs import (
    centers,
    costs,
    embedding_and_logits,
    head_centers,
)
from experiments.cross_task.support.settings import (
    CPU,
    PAPER,
    SMOKE,
    Config,
    Training,
    new_sheet,
    task,
)
from experiments.cross_task.support.training import train_alone, train_teacher
from experiments.harness import Value
from experiments.sheets import Sheet, axes, write_row
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
    sheet = new_sheet(config, "figure3", preset)
    curves_of = functools.cache(functools.partial(curves, config))
    for name in COSTS:
        write_cost(sheet, name, functools.partial(curves_of, name))
    if not sheet.table.path.with_suffix(".svg").exists():
        draw(sheet.table, {name: curves_of(name) for name in COSTS})


def write_cost(sheet: Sheet, name: str, curves_of: Callable[[], dict]) -> None:
    """Writes the rows of one cost."""

    def number(read: Callable[[dict], float]) -> Callable[[], Value]:
        return lambda: Value(float(read(curves_of())))

    def error(truth: str, step: int) -> Callable[[], Value]:
        return number(lambda lines: lines[truth][step] / lines[truth][0])

    write_row(
        sheet, f"{name}: max(cost) / epsilon", number(operator.itemgetter("ratio"))
    )
    write_row(
        sheet,
        f"{name}: kappa^2",
        number(operator.itemgetter("rate")),
        verdict=rate_verdict,
    )
    for truth, steps in (("t = 100", STEPS[:-1]), ("the last t", STEPS)):
        for step in steps:
            write_row(
                sheet,
                f"{name}: error after {step} steps against {truth}, share of the first",
                error(truth, step),
                verdict=error_verdict,
            )
    write_row(
        sheet,
        f"{name}: bound after 100 steps, share of the first error",
        error("bound", 100),
        verdict=bound_verdict,
    )


def rate_verdict(rate: Value) -> str:
    """Judges a rate of convergence."""
    percent = 100 * (1 - rate.value)
    if percent < 1:
        return f"Vacuous: the bound promises {percent:.2g}% a step."
    return f"Tells something: at least {percent:.2g}% a step."


def bound_verdict(share: Value) -> str:
    """Judges a bound by its share of the first error."""
    if share.value >= 0.5:
        return "Vacuous: half of the first error or more."
    return "Tells something: less than half of the first error."


def error_verdict(share: Value) -> str:
    """Judges an error by its share of the first."""
    if share.value < 0.01:
        return "Converged: below a hundredth of the first error."
    return "Not converged: a hundredth of the first error or more."


def curves(config: Figure3, name: str) -> dict[str, np.ndarray]:
    """Mean errors over the problems, the bound, and the size of one cost."""
    classes = range(config.num_classes)
    source = task(config, config.dataset, classes, config.teacher_per_class)
    target = task(config, config.dataset, classes, config.per_class)
    teacher = train_teacher(config, config.teacher, source).network
    student = train_alone(
        config, config.student, target.train, config.student_training, seed=0
    ).network
    cost = costs(config, teacher, target.train)
    if name == "as printed":
        cost = sinkhorn.cost_matrix(
            head_centers(teacher), centers(teacher, target.train, scaled=False)
        )
    if name == "largest .1":
        cost = 0.1 * cost / cost.max()
    images = target.train.images[: config.num_problems]
    probs = [
        jax.nn.softmax(embedding_and_logits(network, images)[1] / config.temperature)
        for network in (teacher, student)
    ]
    errors, distances, first = mean_errors(
        *probs, cost, epsilon=config.epsilon, num_iterations=config.num_iterations
    )
    rate = convergence.contraction_rate(cost, epsilon=config.epsilon) ** 2
    bound = convergence.gradient_bound(
        first, cost, epsilon=config.epsilon, num_iterations=100
    )
    return {
        "ratio": np.asarray(cost.max() / config.epsilon),
        "rate": np.asarray(rate),
        "bound": np.asarray(bound),
        "t = 100": np.asarray(errors[0]),
        "the last t": np.asarray(errors[1]),
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


def draw(table: harness.Table, by_cost: dict[str, dict]) -> None:
    """Draws the curves of the three costs."""
    figure, (panels,) = axes(1, 3, size=(9, 2.8))
    for panel, (name, lines) in zip(panels, by_cost.items(), strict=True):
        steps = np.arange(101)
        for label, values, style in (
            ("variation seminorm", lines["t = 100"][:-1], "-"),
            ("against t = 2000", lines["the last t"], ":"),
            ("L2", lines["L2"][:-1], "-."),
            ("bound", lines["bound"], "--"),
        ):
            panel.semilogy(steps[: len(values)], values, style, label=label)
        panel.set(title=f"{name}: max / eps = {lines['ratio']:.0f}", xlabel="t")
    panels[0].set_ylabel("mean error of the gradient")
    panels[0].legend(fontsize="x-small")
    harness.save_figure(figure, table)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
