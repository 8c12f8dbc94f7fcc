"""Algorithm 1 from end to end: assess, choose one or several teachers, distil.

Run: `python -m experiments.cross_task.algorithm1_selection cpu --data-dir DIR` after
`table11_double_window.py`, whose teachers it takes; half an hour on one core. For each
target the best 1, 2 and 3 teachers by a score, as `jtransfer select` chooses and weighs
them: what the labels save (`sinkhorn`; weights by the softmax of scores over .1) and
LogME (weighted alike); against as many at random, drawn for each seed, and all ten,
weighted alike. The unit of an interval is a target: its seeds are averaged first. The
paper has one teacher.
"""

import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
import scipy.special

from experiments import harness
from experiments.cross_task.support.assessments import (
    evidence,
    score_of_moments,
    transport_saving,
)
from experiments.cross_task.support.outputs import embedding_and_logits
from experiments.cross_task.support.repository import (
    PRESETS,
    DoubleWindow,
    Entry,
    targets,
    train_repository,
)
from experiments.cross_task.support.settings import Task, new_sheet
from experiments.cross_task.support.training import (
    Way,
    accuracy,
    train_alone,
    train_taught,
)
from experiments.harness import Value
from experiments.kept_networks import Model, digest
from experiments.sheets import Sheet, gain, write_row
from jtransfer import scores, transfer

NUM_TEACHERS = (1, 2, 3)
SCORES = ("sinkhorn", "LogME", "random")


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """The teachers of a repository for one target."""

    config: DoubleWindow
    index: int
    """Of the target."""
    target: Task
    entries: Sequence[Entry]

    @functools.cached_property
    def evidence(self) -> list:
        """Outputs and costs of each teacher."""
        return [
            evidence(self.config, e.model.network, e.own_centers, self.target.train)
            for e in self.entries
        ]

    @functools.cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """The scores of the teachers, by name."""
        return {
            name: np.array([float(score(given)) for given in self.evidence])
            for name, score in (("sinkhorn", transport_saving), ("LogME", logme))
        }

    def chosen(
        self, name: str, number: int, *, seed: int
    ) -> tuple[list[int], np.ndarray]:
        """The places of the best teachers and their weights."""
        if name == "all":
            values = np.zeros(len(self.entries))
        elif name == "random":
            rng = np.random.default_rng([self.index, seed])
            values = rng.random(len(self.entries))
        else:
            values = self.scores[name]
        best = np.argsort(-values, kind="stable")[:number]
        logits = values[best] / 0.1 if name == "sinkhorn" else np.zeros(number)
        return best.tolist(), scipy.special.softmax(logits)

    def student(
        self, places: Sequence[int], weights: Sequence[float], *, seed: int
    ) -> Model:
        """The student of some teachers, trained if need be."""
        given = [self.evidence[place] for place in places]
        method = transfer.sinkhorn_method(
            [one.cost for one in given],
            teacher_weights=[float(weight) for weight in weights],
            other_logits=[np.asarray(one.logits) for one in given[1:]],
            transport_weight=self.config.weight,
            temperature=self.config.temperature,
            epsilon=self.config.epsilon,
        )
        names = digest(*(self.entries[place].model.name for place in places))
        return train_taught(
            self.config,
            self.config.student,
            self.target.train,
            Way(f"several-{len(places)}-{names}", method),
            self.config.student_training,
            seed=seed,
            taught_by=self.entries[places[0]].model,
        )


def logme(given) -> jax.Array:
    """LogME of a teacher."""
    return score_of_moments(given, scores.logme)


def main(config: DoubleWindow, preset: str) -> None:
    """Chooses, trains what is missing, and writes the rows."""
    entries = train_repository(config)
    choices = [
        Choice(config, k, target, entries) for k, target in enumerate(targets(config))
    ]
    sheet = new_sheet(config, "algorithm1", preset)
    alone = np.array([write_alone(sheet, k, one) for k, one in enumerate(choices)])
    numbers = [n for n in NUM_TEACHERS if n <= len(entries)]
    ways = [(name, number) for number in numbers for name in SCORES]
    accuracies = {}
    for name, number in [*ways, ("all", len(entries))]:
        accuracies[name, number] = np.array(
            [write_taught(sheet, k, c, name, number) for k, c in enumerate(choices)]
        )
        write_gain(
            sheet,
            f"gain over no teacher, {label(name, number)}",
            accuracies[name, number] - alone,
        )
    for number in numbers:
        for name in SCORES[:2]:
            write_gain(
                sheet,
                f"gain over random, {label(name, number)}",
                accuracies[name, number] - accuracies["random", number],
            )
    if numbers[1:]:
        several, one = (accuracies["sinkhorn", number] for number in (numbers[-1], 1))
        write_gain(sheet, f"{numbers[-1]} teachers less 1, sinkhorn", several - one)
    write_seconds(sheet, choices[0], numbers)


def label(name: str, number: int) -> str:
    """The name of a way to choose."""
    return f"{name}, {number} teachers" if number > 1 else f"{name}, 1 teacher"


def write_gain(sheet: Sheet, cell: str, differences: np.ndarray) -> None:
    """Writes the mean over the targets of a difference `[targets, seeds]`."""
    means = differences.mean(axis=1)
    compute = functools.partial(harness.mean_interval, means)
    write_row(sheet, cell, compute, verdict=gain)


def write_alone(sheet: Sheet, k: int, choice: Choice) -> list[float]:
    """Writes the accuracies of students without a teacher, one a seed."""
    config = choice.config

    def compute(seed: int) -> Value:
        student = train_alone(
            config,
            config.student,
            choice.target.train,
            config.student_training,
            seed=seed,
        )
        return accuracy(student, choice.target.test)

    return write_seeds(sheet, f"accuracy, target {k + 1}, no teacher", config, compute)


def write_taught(
    sheet: Sheet, k: int, choice: Choice, name: str, number: int
) -> list[float]:
    """Writes the accuracies of the students of the teachers chosen, one a seed."""

    def compute(seed: int) -> Value:
        teachers = choice.chosen(name, number, seed=seed)
        student = choice.student(*teachers, seed=seed)
        return accuracy(student, choice.target.test)

    cell = f"accuracy, target {k + 1}, {label(name, number)}"
    return write_seeds(sheet, cell, choice.config, compute)


def write_seeds(
    sheet: Sheet, cell: str, config: DoubleWindow, compute: Callable[[int], Value]
) -> list[float]:
    """Writes a number of each seed."""
    return [
        write_row(sheet, cell, functools.partial(compute, seed), seed=seed).value
        for seed in config.seeds
    ]


def write_seconds(sheet: Sheet, choice: Choice, numbers: Sequence[int]) -> None:
    """Writes processor seconds: of outputs, scores, and a student, once compiled."""

    def outputs() -> None:
        for entry in choice.entries:
            embedding_and_logits(entry.model.network, choice.target.train.images)

    def score_all(score: Callable) -> None:
        for given in choice.evidence:
            jax.block_until_ready(score(given))

    for cell, work in {
        "outputs of all teachers": outputs,
        "sinkhorn of all teachers": lambda: score_all(transport_saving),
        "LogME of all teachers": lambda: score_all(logme),
    }.items():
        write_row(sheet, f"seconds, {cell}", functools.partial(seconds, work))
    for number in (*numbers, len(choice.entries)):
        write_row(
            sheet,
            f"seconds, a student of {number}",
            functools.partial(student_seconds, choice, number),
        )


def student_seconds(choice: Choice, number: int) -> Value:
    """Processor seconds of the second of two trainings, which nothing has kept."""
    places, weights = list(range(number)), np.full(number, 1 / number)
    seeds = iter((1000, 1001))
    with tempfile.TemporaryDirectory() as folder:
        fresh = dataclasses.replace(choice.config, out=Path(folder))
        other = dataclasses.replace(choice, config=fresh)
        return seconds(lambda: other.student(places, weights, seed=next(seeds)))


def seconds(work: Callable[[], object]) -> Value:
    """Processor seconds of the second of two calls."""
    work()
    start = time.process_time()
    work()
    return Value(time.process_time() - start)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
