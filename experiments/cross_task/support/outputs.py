"""Outputs of networks for images, and class centres made of them.

All networks of this folder normalise images alike, so that nothing has to be compiled
for one teacher.
"""

from collections.abc import Callable

import jax
import numpy as np

from experiments.cross_task.support.settings import Config
from jtransfer import data, distillation, networks, sinkhorn, transfer
from jtransfer.data import Images
from jtransfer.networks import Network
from jtransfer.transfer import teacher_outputs

STATISTICS = data.ChannelStatistics(
    np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
)


def embedding_and_logits(
    network: Network, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of the classifier `[n, d]` and its outputs `[n, C]`."""
    batches = zip(*networks.outputs(network, images), strict=True)
    embedding, logits = map(np.concatenate, batches)
    return embedding, logits


def teacher_embedding(f: Callable, x: jax.Array, labels: jax.Array) -> dict:
    """The teacher's embeddings, see `jtransfer.transfer.teacher_outputs`."""
    del labels
    return {"teacher_embedding": f(x)[1]["embedding"]}


def teacher_maps(f: Callable, x: jax.Array, labels: jax.Array) -> dict:
    """The teacher's last three feature maps, the deepest last."""
    del labels
    last = f(x)[1]["feature_maps"][-3:]
    return {f"teacher_map_{i}": features for i, features in enumerate(last)}


def teacher_middle_map(f: Callable, x: jax.Array, labels: jax.Array) -> dict:
    """The teacher's last feature map but one."""
    return {"teacher_map_1": teacher_maps(f, x, labels)["teacher_map_1"]}


def teacher_pre_activations(f: Callable, x: jax.Array, labels: jax.Array) -> dict:
    """The same before the ReLU."""
    del labels
    last = f(x)[1]["pre_activations"][-3:]
    return {f"teacher_map_{i}": features for i, features in enumerate(last)}


def teacher_views(f: Callable, x: jax.Array, labels: jax.Array) -> dict:
    """The teacher's logits and embeddings of images and of the rotated ones."""
    del labels
    views = distillation.rotated_views(x)
    logits, out = f(views.reshape(-1, *x.shape[1:]))
    return {
        "teacher_view_logits": logits.reshape(*views.shape[:2], -1),
        "teacher_view_embeddings": out["embedding"].reshape(*views.shape[:2], -1),
    }


def pre_activation_spread(
    network: Network, images: np.ndarray
) -> tuple[list[jax.Array], list[jax.Array]]:
    """Means and deviations of the channels of `teacher_pre_activations`, by stage.

    Of some images: the released code takes them from the batch normalisation, which
    not all of our maps follow.
    """
    ask = teacher_outputs.compiled_outputs(
        teacher_pre_activations, network.architecture
    )
    few = images[:256]
    maps = ask(
        network.variables,
        network.statistics,
        few,
        np.zeros(len(few), np.int32),
    ).values()
    axes = (0, 1, 2)
    return [m.mean(axis=axes) for m in maps], [m.std(axis=axes) for m in maps]


def head_centers(network: Network) -> jax.Array:
    """The teacher's class centres by its classifier, Eq. (8)."""
    return sinkhorn.classifier_centers(network.variables.params["classifier"]["kernel"])


def costs(config: Config, network: Network, images: Images) -> jax.Array:
    """Costs between the classes of a network and of images, as the settings say."""
    if config.centred:
        return transfer.class_cost(network, images)
    return uncentred_costs(network, images)


def uncentred_costs(network: Network, images: Images) -> jax.Array:
    """The same with centres that are scaled alone."""
    return sinkhorn.cost_matrix(head_centers(network), centers(network, images))


def centers(network: Network, images: Images, *, scaled: bool = True) -> jax.Array:
    """Class centres by the features of a network, Eq. (6), of length one or as it is.

    The paper scales those of Eq. (8) only. With both of length one the costs of
    different teachers have one scale, and Sinkhorn's algorithm converges.
    """
    embedding, _ = embedding_and_logits(network, images.images)
    means = sinkhorn.class_centers(
        embedding, images.labels, num_classes=len(images.class_names)
    )
    return sinkhorn.normalized_centers(means) if scaled else means
