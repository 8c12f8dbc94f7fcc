"""Table 10 and Figure 10: a teacher of something else, and teachers far apart.

Run: `python -m experiments.cross_task.table10_figure10_unrelated cpu --data-dir DIR`;
ten minutes on one core; `scene15`, `tindogs`, `tin10` and CIFAR-100 prepared in DIR; a
killed run goes on. Stand-ins throughout. Table 10: the teacher knows scenes and the
students learn dogs, in the paper birds and dogs; it says that Sinkhorn distillation
never does harm. Figure 10: five teachers that are five targets (scenes, dogs, ten
things of Tiny ImageNet, animals and other things of CIFAR-100; in the paper scenes,
dogs, birds, cars, aircraft). Each student is taught by the teacher that Approximation
II puts first. A teacher has learned from images of its own set that its student gets
too.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments import harness
from experiments.cross_task.support.assessments import fictitious
from experiments.cross_task.support.methods import student
from experiments.cross_task.support.outputs import class_cost, said
from experiments.cross_task.support.settings import (
    CPU,
    PAPER,
    SMOKE,
    Config,
    Training,
    task,
)
from experiments.cross_task.support.sheets import axes, gain, not_run, row, sheet
from experiments.cross_task.support.training import accuracy, teacher
from experiments.harness import Value
from jtransfer import assessment

LIVING = (
    "aquatic_mammals",
    "fish",
    "insects",
    "large_carnivores",
    "large_omnivores_and_herbivores",
    "medium_mammals",
    "non-insect_invertebrates",
    "people",
    "reptiles",
    "small_mammals",
)
DOMAINS = ("scene15", "tindogs", "tin10", "animals", "things")
TABLE_10 = {
    "Student": (0.7235, 0.7069, 0.7011, 0.6857),
    "FitNet": (0.7114, 0.6837, 0.6990, 0.6841),
    "RKD": (0.7238, 0.7015, 0.6990, 0.6842),
    "ReFilled": (0.7307, 0.7023, 0.6935, 0.6818),
    "Ours": (0.7355, 0.7074, 0.7035, 0.6860),
}
"""MobileNet of width 1, .75, .5 and .25 on dogs, taught by birds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unrelated(Config):
    """Sizes of the table and the figure."""

    teacher: tuple[str, int | None] = ("vgg4", 16)
    student: tuple[str, int | None] = ("vgg4", 8)
    printed_student: int = 3
    domains: tuple[str, ...] = DOMAINS


PRESETS = {
    "smoke": (
        "seconds; what the tests run",
        Unrelated(
            **SMOKE, teacher=("vgg4", 2), student=("vgg4", 1), domains=DOMAINS[:2]
        ),
    ),
    "cpu": (
        "minutes on one core",
        Unrelated(
            **CPU
            | {
                "student_training": Training(num_epochs=30),
                "teacher_training": Training(num_epochs=20),
                "per_class": 100,
                "teacher_per_class": 400,
                "seeds": (0, 1, 2),
            }
        ),
    ),
    "paper": (
        "an accelerator",
        Unrelated(
            **PAPER, teacher=("mobilenet-1.0", None), student=("mobilenet-0.25", None)
        ),
    ),
}


def main(config: Unrelated, preset: str) -> None:
    """Trains what is missing, writes rows and the figure."""
    write_table10(config, sheet(config, "table10", preset))
    write_figure10(config, sheet(config, "figure10", preset))


def domain(config: Unrelated, name: str, per_class: int | None):
    """The task of one of `DOMAINS`; parts of CIFAR-100 have ten superclasses each."""
    if name not in ("animals", "things"):
        return task(config, name, None, per_class)
    whole = task(config, "cifar100", None, 1, label_key="coarse_label").train
    classes = [
        label
        for label, superclass in enumerate(whole.class_names)
        if (superclass in LIVING) == (name == "animals")
    ]
    return task(config, "cifar100", classes, per_class, label_key="coarse_label")


def write_table10(config: Unrelated, found) -> None:
    """Students of dogs, taught by a teacher of scenes."""
    source = domain(config, "scene15", config.teacher_per_class)
    target = domain(config, "tindogs", config.per_class)
    taught_by = teacher(config, config.teacher, source)
    row(found, "accuracy, teacher of scenes", lambda: accuracy(taught_by, source.test))
    accuracies = {}
    for method, line in TABLE_10.items():
        accuracies[method] = [
            row(
                found,
                f"accuracy, {method}",
                lambda m=method, seed=seed: accuracy(
                    student(config, m, config.student, taught_by, target, seed=seed),
                    target.test,
                ),
                seed=seed,
                paper_value=line[config.printed_student],
            ).value
            for seed in config.seeds
        ]
        if method != "Student":
            pair = line, TABLE_10["Student"]
            row(
                found,
                f"gain, {method}",
                lambda own=accuracies[method]: harness.mean_interval(
                    np.subtract(own, accuracies["Student"])
                ),
                paper_value=float(np.subtract(*pair)[config.printed_student]),
                verdict=gain,
            )
    for method in ("WCoRD", "MGD"):
        not_run(found, f"accuracy, {method}", "the package does not have this method")


def write_figure10(config: Unrelated, found) -> None:
    """The score of each teacher for each target, and what the choice is worth."""
    names = config.domains
    teachers = {
        name: teacher(
            config, config.teacher, domain(config, name, config.teacher_per_class)
        )
        for name in names
    }
    targets = {name: domain(config, name, config.per_class) for name in names}
    scores = np.array(
        [
            [
                row(
                    found,
                    f"Approximation II, target {target}, teacher {source}",
                    lambda s=source, t=target: approximation_2(
                        config, teachers[s].network, targets[t].train
                    ),
                ).value
                for source in names
            ]
            for target in names
        ]
    )
    means = np.array(
        [
            students(config, found, name, targets[name], teachers, line)
            for name, line in zip(names, scores, strict=True)
        ]
    )
    draw(found.table, names, scores, means)


def approximation_2(config, network, train) -> Value:
    """Minus Eq. (24) with the fictitious student."""
    said_of = said(network, train.images, ("teacher_embedding", "teacher_logits"))
    features = jnp.asarray(said_of["teacher_embedding"])
    outputs = (
        said_of["teacher_logits"],
        fictitious(features, train.labels, len(train.class_names)),
    )
    score = assessment.sinkhorn_score(
        *(jax.nn.softmax(jnp.asarray(x) / config.temperature) for x in outputs),
        class_cost(network, train),
        epsilon=config.epsilon,
    )
    return Value(float(score))


def students(config, found, name, target, teachers, scores) -> tuple[float, float]:
    """Mean accuracies alone and with the chosen teacher; writes their rows."""
    chosen = config.domains[int(np.argmax(scores))]
    row(
        found,
        f"is the own domain chosen, target {name}",
        lambda: Value(float(chosen == name)),
        paper_value=1.0,
        verdict=lambda own: (
            "As printed: the own domain is chosen."
            if own.value
            else f"Not as printed: {chosen} is chosen."
        ),
    )
    accuracies = {
        method: [
            row(
                found,
                f"accuracy, target {name}, {method}",
                lambda m=method, seed=seed: accuracy(
                    student(
                        config, m, config.student, teachers[chosen], target, seed=seed
                    ),
                    target.test,
                ),
                seed=seed,
            ).value
            for seed in config.seeds
        ]
        for method in ("Student", "Ours")
    }
    gained = np.subtract(accuracies["Ours"], accuracies["Student"])
    row(
        found,
        f"gain, target {name}",
        lambda: harness.mean_interval(gained),
        verdict=gain,
    )
    return np.mean(accuracies["Student"]), np.mean(accuracies["Ours"])


def draw(table, names, scores, means) -> None:
    """Draws the scores as a map and the accuracies as bars."""
    figure, (panels,) = axes(1, 2, size=(8, 3.2))
    picture = panels[0].imshow(scores)
    figure.colorbar(picture, ax=panels[0])
    places = np.arange(len(names))
    panels[0].set(xlabel="teacher", ylabel="target", title="Approximation II")
    panels[0].set_xticks(places, names, rotation=30)
    panels[0].set_yticks(places, names)
    for shift, values, label in zip(
        (-0.2, 0.2), means.T, ("alone", "taught"), strict=True
    ):
        panels[1].bar(places + shift, 100 * values, 0.4, label=label)
    panels[1].set_xticks(places, names, rotation=30)
    panels[1].set_ylabel("test accuracy, %")
    panels[1].legend(fontsize="x-small")
    harness.save_figure(figure, table)


if __name__ == "__main__":
    harness.run_script(main, PRESETS)
