"""Costs between a teacher's classes and those of labelled images."""

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer import networks
from jtransfer.data import Images
from jtransfer.networks import Network
from jtransfer.sinkhorn import centred_cost


def class_cost(teacher: Network, train: Images) -> jax.Array:
    """Computes the cost of a teacher's classes and a student's, in the teacher's eyes.

    The distances between the columns of the teacher's last layer and the mean
    embeddings of the student's classes, both centred, then scaled to length one; see
    `sinkhorn.centred_cost`. (The paper does not centre them, and leaves the latter at
    their length, which then decides the cost.)

    Args:
      teacher: the teacher.
      train: the student's training images.

    Returns:
      The costs in ``[0, 2]``, shape ``[Ct, Cs]``; those of a class without images are
      the mean of all others.

    Raises:
      DataError: if the images do not fit the teacher.

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eqs. (6) to (8).
    """
    num_classes, start, sums = len(train.class_names), 0, 0.0
    for features, _ in networks.outputs(teacher, train.images):
        labels = train.labels[start : start + len(features)]
        start += len(features)
        members = labels[None] == np.arange(num_classes)[:, None]
        sums = sums + members.astype(np.float64) @ features.astype(np.float64)
    counts = np.bincount(train.labels, minlength=num_classes)
    means = sums / np.maximum(counts, 1)[:, None]
    kernel = teacher.variables.params["classifier"]["kernel"]
    return centred_cost(
        jnp.asarray(kernel).T, means.astype(np.float32), student_counts=counts
    )
