"""What a teacher's outputs on a target's training images are worth, by each score."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cross_task.support.outputs import head_centers, said
from experiments.cross_task.support.settings import Config
from experiments.harness import Value
from jtransfer import assessment, scores, sinkhorn
from jtransfer.data import Images
from jtransfer.moments import class_moments
from jtransfer.networks import Network

WEIGHT_DECAY = 5e-4
"""Of the fictitious student, about which the paper says nothing; that of training."""
NAMES = {
    "nce": "NCE",
    "leep": "LEEP",
    "logme": "LogME",
    "h_score": "H-score",
    "probe": "ridge probe",
    "sinkhorn_2": "Sinkhorn, Approximation II",
    "sinkhorn_2_true": "Sinkhorn, Approximation II, true centres",
    "sinkhorn_2_printed": "Sinkhorn, Approximation II, student's centres not scaled",
}
"""Scores that need no trained student."""


class Evidence(NamedTuple):
    """What a teacher says of the training images of a student."""

    features: jax.Array
    logits: jax.Array
    labels: np.ndarray
    num_classes: int
    head: jax.Array
    """Centres of the teacher's classes by its classifier, Eq. (8)."""
    cost: jax.Array
    """By Eqs. (6) to (8)."""
    true_cost: jax.Array
    """With the means of the teacher's own training images for Eq. (8)."""
    printed_cost: jax.Array
    """As the paper prints it: only the centres of Eq. (8) have length one."""
    fictitious: jax.Array
    """Logits of the fictitious student."""
    temperature: float
    epsilon: float


def evidence(
    config: Config, network: Network, own_centers: jax.Array, train: Images
) -> Evidence:
    """Runs a teacher on images and fits its fictitious student."""
    found = said(network, train.images, ("teacher_embedding", "teacher_logits"))
    features = jnp.asarray(found["teacher_embedding"])
    num_classes = len(train.class_names)
    student_centers = sinkhorn.class_centers(
        features, train.labels, num_classes=num_classes
    )
    scaled = sinkhorn.normalized_centers(student_centers)
    head = head_centers(network)
    return Evidence(
        features,
        jnp.asarray(found["teacher_logits"]),
        train.labels,
        num_classes,
        head=head,
        cost=sinkhorn.cost_matrix(head, scaled),
        true_cost=sinkhorn.cost_matrix(own_centers, scaled),
        printed_cost=sinkhorn.cost_matrix(head, student_centers),
        fictitious=fictitious(features, train.labels, num_classes),
        temperature=config.temperature,
        epsilon=config.epsilon,
    )


def fictitious(features, labels, num_classes: int) -> jax.Array:
    """Logits of the linear model of Approximation II."""
    return assessment.fictitious_student(
        features, labels, num_classes=num_classes, weight_decay=WEIGHT_DECAY
    )


def transport(found: Evidence, logits, cost) -> assessment.Assessment:
    """Minus Eq. (24) for a student with these logits."""
    t = found.temperature
    return assessment.sinkhorn_assessment(
        jax.nn.softmax(found.logits / t),
        jax.nn.softmax(jnp.asarray(logits) / t),
        cost,
        epsilon=found.epsilon,
    )


def values(found: Evidence) -> dict[str, Callable[[], jax.Array]]:
    """What computes each score of `NAMES`.

    The first six, whose time counts, start from the teacher's outputs and classifier;
    the two other forms of Approximation II take what `Evidence` holds already.
    """
    features, labels, num_classes = found.features, found.labels, found.num_classes

    def of_moments(score):
        return lambda: score(class_moments(features, labels, num_classes=num_classes))

    def probe():
        held = len(labels) * 4 // 5  # the order is balanced over classes
        return scores.ridge_probe_accuracy(
            features[:held],
            labels[:held],
            features[held:],
            labels[held:],
            num_classes=num_classes,
        )

    def nce():
        return scores.nce(
            jnp.argmax(found.logits, axis=1),
            labels,
            num_source_classes=found.logits.shape[1],
            num_classes=num_classes,
        )

    def sinkhorn_2():
        centers = sinkhorn.class_centers(features, labels, num_classes=num_classes)
        cost = sinkhorn.cost_matrix(found.head, sinkhorn.normalized_centers(centers))
        student = fictitious(features, labels, num_classes)
        return transport(found, student, cost).score

    return {
        "nce": nce,
        "leep": lambda: scores.leep(
            jax.nn.softmax(found.logits), labels, num_classes=num_classes
        ),
        "logme": of_moments(scores.logme),
        "h_score": of_moments(scores.regularized_h_score),
        "probe": probe,
        "sinkhorn_2": sinkhorn_2,
        "sinkhorn_2_true": lambda: (
            transport(found, found.fictitious, found.true_cost).score
        ),
        "sinkhorn_2_printed": lambda: (
            transport(found, found.fictitious, found.printed_cost).score
        ),
    }


def seconds(compute: Callable[[], jax.Array]) -> float:
    """The time that a score takes once it is compiled."""
    jax.block_until_ready(compute())
    start = time.perf_counter()
    jax.block_until_ready(compute())
    return time.perf_counter() - start


def divergence(true_logits, fictitious_logits, temperature: float) -> Value:
    """KL of the true student's predictions to the fictitious one's, in nats."""
    true, other = (
        jax.nn.log_softmax(jnp.asarray(x) / temperature)
        for x in (true_logits, fictitious_logits)
    )
    return Value(float(jnp.mean(jnp.sum(jnp.exp(true) * (true - other), axis=1))))
