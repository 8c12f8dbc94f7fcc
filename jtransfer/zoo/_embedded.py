"""The zoo and the target inside the package, as any other zoo and target."""

import functools

import jax
import numpy as np

from jtransfer._internal.provenance import arrays_fingerprint
from jtransfer.zoo import embedded
from jtransfer.zoo._source_types import Source
from jtransfer.zoo._targets import Target, labelled_target


def embedded_target() -> Target:
    """Returns UCI digits with 20 labelled examples a class, the rest as test part."""
    images, labels = embedded.digits()
    labelled, test = embedded.labelled_split(labels, per_class=20, seed=0)
    target = labelled_target(
        "digits",
        labels[labelled],
        test_labels=labels[test],
        digest=arrays_fingerprint(labels[labelled], labels),
    )
    return target._replace(images=images[labelled], test_images=images[test])


def embedded_sources() -> list[Source]:
    """Returns the small networks inside the package, applied to `embedded_target`."""
    images, labels = embedded.digits()
    parts = embedded.labelled_split(labels, per_class=20, seed=0)
    return [
        _embedded_source(network, images, parts)
        for network in embedded.embedded_networks()
    ]


def _embedded_source(network, images: np.ndarray, parts) -> Source:
    layers = {k: v for k, v in network.params.items() if k != "classifier"}

    @functools.cache
    def features(part: int) -> np.ndarray:
        return np.asarray(_embedding(layers, images[parts[part]]))

    def logits() -> np.ndarray:
        kernel, bias = (
            np.asarray(network.params["classifier"][k]) for k in ("kernel", "bias")
        )
        return features(0) @ kernel + bias

    def function():
        # A pytree of the weights: all networks share one compiled function.
        return jax.tree_util.Partial(_logits, network.params)

    def digest() -> str:
        return arrays_fingerprint(images[parts[0]], *jax.tree.leaves(network.params))

    return Source(
        name=network.name,
        facts=network.facts,
        features=lambda: features(0),
        logits=logits,
        function=function,
        digest=digest,
        test_features=lambda: features(1),
        head=lambda: np.asarray(network.params["classifier"]["kernel"]),
    )


def _logits(params, x):
    return embedded.apply(params, x)[0]


@jax.jit
def _embedding(layers, x):
    """One program for all networks: their classifiers alone differ in shape."""
    return embedded.activations(layers, x)["embedding"]
