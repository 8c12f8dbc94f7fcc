"""Scores of a teacher for a target, from its outputs on the target's training images.

Approximation II is `assessment.fictitious_assessment`, which `jtransfer rank --scores
sinkhorn` computes as well: for 1000 images at most, with a jackknife and shuffled
labels. The fictitious student has the library's penalty, the mean variance of a feature
over n; the paper says nothing of it.
"""

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cross_task.support.outputs import (
    centers,
    costs,
    embedding_and_logits,
    head_centers,
    uncentred_costs,
)
from experiments.cross_task.support.settings import Config
from jtransfer import assessment, scores, sinkhorn
from jtransfer.assessment import AssessmentSettings
from jtransfer.data import Images
from jtransfer.moments import class_moments
from jtransfer.networks import Network

NUM_SHUFFLES = 5
NAMES = {
    "nce": "NCE",
    "leep": "LEEP",
    "logme": "LogME",
    "h_score": "H-score",
    "probe": "ridge probe",
    "sinkhorn_2": "Sinkhorn, Approximation II",
    "sinkhorn_2_true": "Sinkhorn, Approximation II, true centres",
    "sinkhorn_2_printed": "Sinkhorn, Approximation II, student's centres not scaled",
    "sinkhorn_2_uncentred": "Sinkhorn, Approximation II, uncentred",
    "saving": "transport of shuffled labels less that of the labels",
}
"""Scores that need no trained student."""


class Evidence(NamedTuple):
    """Outputs of a teacher on the training images of a student, and costs."""

    train: Images
    features: jax.Array
    logits: jax.Array
    head: jax.Array
    """Columns of the teacher's classifier, as they are, `[Ct, d]`."""
    cost: jax.Array
    """By Eqs. (6) to (8), centred where the settings say so."""
    uncentred_cost: jax.Array
    """The same with centres that are scaled alone."""
    true_cost: jax.Array
    """With `true_head` for Eq. (8)."""
    printed_cost: jax.Array
    """As the paper prints it: only the centres of Eq. (8) have length one."""
    fictitious: jax.Array
    """Logits of the fictitious student."""
    true_head: jax.Array
    """Centres of the teacher's classes by its own training images, as they are."""
    settings: AssessmentSettings

    @property
    def labels(self) -> np.ndarray:
        """Labels of the images, `[n]`."""
        return self.train.labels

    @property
    def num_classes(self) -> int:
        """Number of classes of the student."""
        return len(self.train.class_names)


def evidence(
    config: Config, network: Network, own_centers: jax.Array, train: Images
) -> Evidence:
    """Outputs of a teacher on images, its costs, and its fictitious student."""
    features, logits = map(jnp.asarray, embedding_and_logits(network, train.images))
    student_centers = centers(network, train, scaled=False)
    head = jnp.asarray(network.variables.params["classifier"]["kernel"]).T
    return Evidence(
        train,
        features,
        logits,
        head,
        cost=costs(config, network, train),
        uncentred_cost=uncentred_costs(network, train),
        true_cost=sinkhorn.centred_cost(own_centers, student_centers),
        printed_cost=sinkhorn.cost_matrix(head_centers(network), student_centers),
        fictitious=assessment.fictitious_student(
            features, train.labels, num_classes=len(train.class_names)
        ),
        true_head=own_centers,
        settings=AssessmentSettings(config.temperature, config.epsilon),
    )


def transport_score(given: Evidence, student_logits, cost) -> jax.Array:
    """Minus Eq. (24) for a student with these logits."""
    teacher, student = (
        jax.nn.softmax(jnp.asarray(logits) / given.settings.temperature)
        for logits in (given.logits, student_logits)
    )
    return assessment.sinkhorn_score(
        teacher, student, cost, epsilon=given.settings.epsilon
    )


def scorers(given: Evidence) -> dict[str, Callable[[], jax.Array]]:
    """A function that computes it, for each score of `NAMES`.

    They start from the teacher's outputs and classifier; but for the last, which the
    library does not compute, the fictitious student is that of `Evidence`.
    """
    return {
        "nce": functools.partial(nce, given),
        "leep": functools.partial(leep, given),
        "logme": functools.partial(score_of_moments, given, scores.logme),
        "h_score": functools.partial(
            score_of_moments, given, scores.regularized_h_score
        ),
        "probe": functools.partial(probe_accuracy, given),
        "sinkhorn_2": functools.partial(approximation_2, given, given.head),
        "sinkhorn_2_true": functools.partial(approximation_2, given, given.true_head),
        "sinkhorn_2_printed": functools.partial(
            transport_score, given, given.fictitious, given.printed_cost
        ),
        "sinkhorn_2_uncentred": functools.partial(
            transport_score, given, given.fictitious, given.uncentred_cost
        ),
        "saving": functools.partial(transport_saving, given),
    }


def nce(given: Evidence) -> jax.Array:
    """Minus the entropy of the labels given the teacher's answers, in nats."""
    return scores.nce(
        jnp.argmax(given.logits, axis=1),
        given.labels,
        num_source_classes=given.logits.shape[1],
        num_classes=given.num_classes,
    )


def leep(given: Evidence) -> jax.Array:
    """The log expected empirical prediction of the labels."""
    probs = jax.nn.softmax(given.logits)
    return scores.leep(probs, given.labels, num_classes=given.num_classes)


def score_of_moments(given: Evidence, score: Callable) -> jax.Array:
    """A score that takes the class moments of the features."""
    return score(
        class_moments(given.features, given.labels, num_classes=given.num_classes)
    )


def probe_accuracy(given: Evidence) -> jax.Array:
    """Accuracy of a ridge classifier on a fifth of the images."""
    held = len(given.labels) * 4 // 5  # the order is balanced over classes
    return scores.ridge_probe_accuracy(
        given.features[:held],
        given.labels[:held],
        given.features[held:],
        given.labels[held:],
        num_classes=given.num_classes,
    )


def transport_saving(given: Evidence) -> jax.Array:
    """Transport of shuffled labels less that of the labels, the score `sinkhorn`."""
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(given.labels) for _ in range(NUM_SHUFFLES)]
    return assessment.transport_saving(
        given.features,
        given.logits,
        given.head,
        given.labels,
        np.stack(shuffled),
        num_classes=given.num_classes,
        settings=given.settings,
    )


def approximation_2(given: Evidence, teacher_centers: jax.Array) -> jax.Array:
    """Minus Eq. (24) for the fictitious student, both it and the cost made anew."""
    return assessment.fictitious_assessment(
        given.features,
        given.logits,
        teacher_centers,
        given.labels,
        num_classes=given.num_classes,
        settings=given.settings,
    ).score


def seconds(compute: Callable[[], jax.Array]) -> float:
    """Seconds of a score once it is compiled."""
    jax.block_until_ready(compute())
    start = time.perf_counter()
    jax.block_until_ready(compute())
    return time.perf_counter() - start


def divergence(true_logits, fictitious_logits, temperature: float) -> float:
    """KL of the true student's predictions to the fictitious one's, in nats."""
    true, other = (
        jax.nn.log_softmax(jnp.asarray(logits) / temperature)
        for logits in (true_logits, fictitious_logits)
    )
    return float(jnp.mean(jnp.sum(jnp.exp(true) * (true - other), axis=1)))
