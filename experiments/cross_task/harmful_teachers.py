"""Section 7 of selective cross-task distillation: does any score notice a bad teacher?

Run: `python -m experiments.cross_task.harmful_teachers cpu --data-dir DIR` after
`table11_double_window.py`, whose teachers and settings it takes; minutes on one core.
Target 1, whose own teacher 1 is turned bad in two ways. Its head is permuted: the
features are right and all answers wrong. Or it is a nasty teacher, trained to be right
while its soft outputs, at temperature 20, leave those of the honest one. With Eq. (8)
the costs follow the permuted head, so neither score nor student changes; with the true
centres of the classes they do not, which is what we distil from it with.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments import harness
from experiments.cross_task.support.assessments import NAMES, evidence, values
from experiments.cross_task.support.outputs import centers
from experiments.cross_task.support.repository import (
    PRESETS,
    DoubleWindow,
    Entry,
    repository,
    student,
    targets,
)
from experiments.cross_task.support.sheets import row, sheet
from experiments.cross_task.support.training import Method, Model, accuracy, trained
from experiments.harness import Value
from jtransfer.distillation import activations

NASTY_TEMPERATURE, NASTY_WEIGHT = 20.0, 0.005
"""Those of "Undistillable: Making A Nasty Teacher That CANNOT Teach Students" (Ma et
al., 2021) for CIFAR-100."""


BAD = ("permuted head", "nasty")


def main(config: DoubleWindow, preset: str) -> None:
    """Makes the bad teachers, and writes what students and scores make of them."""
    entries, target = repository(config), targets(config)[0]
    everyone = {f"teacher {h + 1}": entry for h, entry in enumerate(entries)}
    everyone["honest"] = everyone.pop("teacher 1")
    everyone["permuted head"] = permuted(everyone["honest"])
    everyone["nasty"] = nasty(config, everyone["honest"])
    found = sheet(config, "harmful", preset)

    @functools.cache
    def seen(name):
        entry = everyone[name]
        return evidence(config, entry.model.network, entry.own_centers, target.train)

    for name in ("honest", *BAD):
        row(
            found,
            f"accuracy of the teacher on its classes, {name}",
            lambda e=everyone[name]: accuracy(e.model, e.source.test),
        )

    def taught(name, cost, seed):
        costs, model = getattr(seen(name), cost), everyone[name].model
        trained_student = student(config, model, costs, target.train, seed=seed)
        return accuracy(trained_student, target.test)

    for name, cost in (
        ("permuted head", "true_cost"),
        ("nasty", "cost"),
        ("nasty", "true_cost"),
    ):
        judge_students(config, found, name, cost, taught)
    for score in NAMES:
        judge_score(found, score, everyone, seen)


def permuted(honest: Entry) -> Entry:
    """The teacher with the outputs of its classes moved on by one."""
    network = honest.model.network
    head = network.variables.params["classifier"]
    moved = {name: jnp.roll(values, 1, axis=-1) for name, values in head.items()}
    params = {**network.variables.params, "classifier": moved}
    variables = network.variables._replace(params=params)
    name = honest.model.name + "-permuted"
    # The centres are those of the classes that its outputs are said to stand for.
    return honest._replace(model=Model(name, network._replace(variables=variables)))


def nasty(config: DoubleWindow, honest: Entry) -> Entry:
    """A teacher of the same classes whose soft outputs leave the honest ones."""
    model = trained(
        config,
        config.families[honest.family],
        honest.source.train,
        Method("nasty", nasty_loss, ("teacher_logits",)),
        config.teacher_training,
        seed=1,
        taught_by=honest.model,
    )
    own_centers = centers(model.network, honest.source.train)
    return honest._replace(model=model, own_centers=own_centers)


def nasty_loss(outputs, batch):
    """Cross-entropy less the KL of our soft outputs to those of the honest teacher."""
    value, parts = activations.cross_entropy(outputs, batch)
    own, honest = (
        jax.nn.log_softmax(logits / NASTY_TEMPERATURE)
        for logits in (outputs[0], batch["teacher_logits"])
    )
    divergence = jnp.mean(jnp.sum(jnp.exp(own) * (own - honest), axis=1))
    return value - NASTY_WEIGHT * NASTY_TEMPERATURE**2 * divergence, parts


def judge_students(config, found, name, cost, taught) -> None:
    """Writes the accuracies of the students of the honest and of the bad teacher."""
    accuracies = [
        [
            row(
                found,
                f"accuracy of the student, {which}, {cost}",
                lambda which=which, seed=seed: taught(which, cost, seed),
                seed=seed,
            ).value
            for seed in config.seeds
        ]
        for which in ("honest", name)
    ]
    row(
        found,
        f"harm to the student, {name}, {cost}",
        lambda: harness.mean_interval(np.subtract(*accuracies)),
        verdict=harm,
    )


def harm(lost: Value) -> str:
    """Judges the accuracy that a bad teacher costs."""
    points = f"{100 * lost.value:+.1f} points"
    if lost.low is None:
        return f"Costs {points}, one seed: no interval."
    if lost.low > 0:
        return f"Harmful: costs {points}, the interval excludes zero."
    return f"Not shown to be harmful: costs {points}."


def judge_score(found, score, everyone, seen) -> None:
    """Writes where a score puts the teachers among the others of the repository."""

    @functools.cache
    def value(name):
        return float(values(seen(name))[score]())

    def place(name):
        others = [other for other in everyone if other not in ("honest", *BAD)]
        return lambda: Value(1 + sum(value(other) > value(name) for other in others))

    cell = f"place among the others, {NAMES[score]}"
    twin = row(found, f"{cell}, honest", place("honest")).value
    for name in BAD:
        row(
            found,
            f"{cell}, {name}",
            place(name),
            verdict=lambda own: (
                f"Notices: place {own.value}, its honest twin has {twin}."
                if own.value > twin
                else f"Does not notice: place {own.value}, its honest twin has {twin}."
            ),
        )


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
