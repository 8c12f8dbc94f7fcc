"""Costs between a teacher's classes and those of labelled images."""

import jax
import numpy as np

from jtransfer import networks
from jtransfer.data import Images
from jtransfer.networks import Network
from jtransfer.sinkhorn import classifier_centers, cost_matrix, normalized_centers


def class_cost(teacher: Network, train: Images) -> jax.Array:
    """Computes the cost of a teacher's classes and a student's, in the teacher's eyes.

    The distances between the columns of the teacher's last layer and the mean
    embeddings of the student's classes, all scaled to length one. (The paper leaves the
    latter at their length, which then decides the cost.)

    Args:
      teacher: the teacher.
      train: the student's training images.

    Returns:
      The costs in ``[0, 2]``, shape ``[Ct, Cs]``; a class without images is at the mean
      of all embeddings.

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
    counts = np.bincount(train.labels, minlength=num_classes)[:, None]
    means = np.where(counts > 0, sums / np.maximum(counts, 1), sums.sum(axis=0) / start)
    kernel = teacher.variables.params["classifier"]["kernel"]
    return cost_matrix(
        classifier_centers(kernel), normalized_centers(means.astype(np.float32))
    )
