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

    The distances between the teacher's class centres and the mean embeddings of the
    student's classes, both centred, then scaled to length one; see
    `sinkhorn.centred_cost`. The teacher's centres are those that it was written with,
    or the columns of its last layer. (The paper does not centre them, and leaves the
    mean embeddings at their length, which then decides the cost.)

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
    means, counts = class_means(teacher, train)
    centers = teacher.class_centers
    if centers is None:
        centers = teacher.variables.params["classifier"]["kernel"].T
    return centred_cost(
        jnp.asarray(centers), means.astype(np.float32), student_counts=counts
    )


def class_means(network: Network, images: Images) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean embeddings `[C, d]` of labelled images, and the counts `[C]`.

    A class without images has zeros.

    Raises:
      DataError: if the images do not fit the network.
    """
    num_classes, start, sums = len(images.class_names), 0, 0.0
    for features, _ in networks.outputs(network, images.images):
        labels = images.labels[start : start + len(features)]
        start += len(features)
        members = labels[None] == np.arange(num_classes)[:, None]
        sums = sums + members.astype(np.float64) @ features.astype(np.float64)
    counts = np.bincount(images.labels, minlength=num_classes)
    return sums / np.maximum(counts, 1)[:, None], counts
