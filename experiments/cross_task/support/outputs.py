"""What networks say of images: outputs, accuracies, class centres and costs.

All images are normalised alike, so that nothing has to be compiled for one teacher.
"""

import functools

import jax
import numpy as np

from jtransfer import data, networks, sinkhorn
from jtransfer.data import Images
from jtransfer.networks import Network

STATISTICS = data.ChannelStatistics(
    np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
)


def named(logits: jax.Array, out: dict) -> dict[str, jax.Array]:
    """The outputs of a network under names of one array each; the last three maps."""
    last = out["feature_maps"][-3:]
    maps = {f"teacher_map_{i}": found for i, found in enumerate(last)}
    return {"teacher_logits": logits, "teacher_embedding": out["embedding"], **maps}


@functools.partial(jax.jit, static_argnames=("architecture", "names"))
def _said(variables, images, *, architecture, names):
    x = data.normalized(images, mean=STATISTICS.mean, std=STATISTICS.std)
    found = named(*networks.apply_fn_of(architecture)[0](variables, x))
    return {name: found[name] for name in names}


def said(
    network: Network, images: np.ndarray, names: tuple[str, ...], *, at_once: int = 250
) -> dict[str, np.ndarray]:
    """What a network says of images, in evaluation mode, by the names of `named`."""
    parts = []
    for start in range(0, len(images), at_once):
        batch = images[start : start + at_once]
        padding = [(0, min(at_once, len(images)) - len(batch)), (0, 0), (0, 0), (0, 0)]
        found = _said(
            network.variables,
            np.pad(batch, padding),
            architecture=network.architecture,
            names=names,
        )
        parts.append({k: np.asarray(v)[: len(batch)] for k, v in found.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def logits(network: Network, images: np.ndarray) -> np.ndarray:
    """Logits of images `[n, C]`."""
    return said(network, images, ("teacher_logits",))["teacher_logits"]


def embedding(network: Network, images: np.ndarray) -> np.ndarray:
    """Inputs of the classifier for images, `[n, d]`."""
    return said(network, images, ("teacher_embedding",))["teacher_embedding"]


def head_centers(network: Network) -> jax.Array:
    """The teacher's class centres by its classifier, Eq. (8)."""
    return sinkhorn.classifier_centers(network.variables.params["classifier"]["kernel"])


def centers(network: Network, images: Images, *, scaled: bool = True) -> jax.Array:
    """Class centres by the features of a network, Eq. (6), of length one or as it is.

    The paper scales those of Eq. (8) only. With both of length one the costs of
    different teachers have one scale, and Sinkhorn's algorithm converges.
    """
    found = sinkhorn.class_centers(
        embedding(network, images.images),
        images.labels,
        num_classes=len(images.class_names),
    )
    return sinkhorn.normalized_centers(found) if scaled else found


def class_cost(network: Network, images: Images) -> jax.Array:
    """The cost between a teacher's classes and a student's: Eqs. (6), (7) and (8)."""
    return sinkhorn.cost_matrix(head_centers(network), centers(network, images))
