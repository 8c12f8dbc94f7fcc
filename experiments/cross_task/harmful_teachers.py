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
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import harness
from experiments.cross_task.support.assessments import (
    NAMES,
    Evidence,
    evidence,
    scorers,
)
from experiments.cross_task.support.outputs import centers
from experiments.cross_task.support.repository import (
    PRESETS,
    DoubleWindow,
    Entry,
    permuted,
    targets,
    train_repository,
    train_student,
)
from experiments.cross_task.support.settings import Task, new_sheet
from experiments.cross_task.support.training import Way, accuracy, train_taught
from experiments.harness import Value
from experiments.sheets import Sheet, write_row
from jtransfer import distillation, transfer
from jtransfer.transfer import teacher_outputs

NASTY_TEMPERATURE, NASTY_WEIGHT = 20.0, 0.005
"""Settings of "Undistillable: Making A Nasty Teacher That CANNOT Teach Students" (Ma et
al., 2021) for CIFAR-100."""


BAD = ("permuted head", "nasty")


class Bench(NamedTuple):
    """The honest teacher, its bad twins, all others, and the target."""

    config: DoubleWindow
    entries: dict[str, Entry]
    target: Task
    evidence_of: Callable[[str], Evidence]
    """Outputs and costs of one of the teachers, computed once."""

    def student_accuracy(self, name: str, cost: str, seed: int) -> Value:
        """The test accuracy of a student of a teacher by one of its costs."""
        costs = getattr(self.evidence_of(name), cost)
        student = train_student(
            self.config,
            self.entries[name].model,
            costs,
            self.target.train,
            seed=seed,
        )
        return accuracy(student, self.target.test)

    def score(self, score: str, name: str) -> float:
        """One of the scores of a teacher."""
        return float(scorers(self.evidence_of(name))[score]())


def main(config: DoubleWindow, preset: str) -> None:
    """Makes the bad teachers, and writes what they do to students and scores."""
    repository = train_repository(config)
    entries = {f"teacher {h + 1}": entry for h, entry in enumerate(repository)}
    entries["honest"] = entries.pop("teacher 1")
    entries["permuted head"] = permuted(entries["honest"])
    entries["nasty"] = train_nasty(config, entries["honest"])
    target = targets(config)[0]

    @functools.cache
    def evidence_of(name: str) -> Evidence:
        entry = entries[name]
        return evidence(config, entry.model.network, entry.own_centers, target.train)

    bench = Bench(config, entries, target, evidence_of)
    sheet = new_sheet(config, "harmful", preset)
    for name in ("honest", *BAD):
        entry = entries[name]
        write_row(
            sheet,
            f"accuracy of the teacher on its classes, {name}",
            functools.partial(accuracy, entry.model, entry.source.test),
        )
    for name, cost in (
        ("permuted head", "true_cost"),
        ("nasty", "cost"),
        ("nasty", "true_cost"),
    ):
        write_students(sheet, bench, name, cost)
    for score in NAMES:
        write_places(sheet, bench, score)


def train_nasty(config: DoubleWindow, honest: Entry) -> Entry:
    """Trains a teacher of the same classes whose soft outputs leave the honest ones."""
    model = train_taught(
        config,
        config.families[honest.family],
        honest.source.train,
        Way("nasty", transfer.Method(teacher_outputs.logits, nasty_loss)),
        config.teacher_training,
        seed=1,
        taught_by=honest.model,
    )
    own_centers = centers(model.network, honest.source.train, scaled=False)
    return honest._replace(model=model, own_centers=own_centers)


def nasty_loss(student: transfer.Student, batch: dict):
    """Cross-entropy less the KL of its soft outputs to those of the honest teacher."""
    own, honest = (
        jax.nn.log_softmax(logits / NASTY_TEMPERATURE)
        for logits in (student.logits, batch["teacher_logits"])
    )
    divergence = jnp.mean(jnp.sum(jnp.exp(own) * (own - honest), axis=1))
    value = distillation.cross_entropy(student.logits, batch["labels"])
    return value - NASTY_WEIGHT * NASTY_TEMPERATURE**2 * divergence, {}


def write_students(sheet: Sheet, bench: Bench, bad: str, cost: str) -> None:
    """Writes the accuracies of the students of the honest and of the bad teacher."""
    accuracies = [
        [
            write_row(
                sheet,
                f"accuracy of the student, {name}, {cost}",
                functools.partial(bench.student_accuracy, name, cost, seed),
                seed=seed,
            ).value
            for seed in bench.config.seeds
        ]
        for name in ("honest", bad)
    ]
    write_row(
        sheet,
        f"harm to the student, {bad}, {cost}",
        functools.partial(harness.mean_interval, np.subtract(*accuracies)),
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


def write_places(sheet: Sheet, bench: Bench, score: str) -> None:
    """Writes where a score puts the teachers among the others of the repository."""
    value = functools.cache(functools.partial(bench.score, score))

    def place(name: str) -> Value:
        others = [other for other in bench.entries if other not in ("honest", *BAD)]
        return Value(1 + sum(value(other) > value(name) for other in others))

    cell = f"place among the others, {NAMES[score]}"
    twin = write_row(sheet, f"{cell}, honest", functools.partial(place, "honest"))
    for name in BAD:
        write_row(
            sheet,
            f"{cell}, {name}",
            functools.partial(place, name),
            verdict=functools.partial(place_verdict, twin=twin.value),
        )


def place_verdict(place: Value, *, twin: float) -> str:
    """Judges whether a score puts a bad teacher behind its honest twin."""
    notices = "Notices" if place.value > twin else "Does not notice"
    return f"{notices}: place {place.value}, its honest twin has {twin}."


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
