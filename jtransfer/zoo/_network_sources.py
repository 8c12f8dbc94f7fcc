"""Networks as sources: their embeddings, or each of their layers."""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jtransfer import networks
from jtransfer._internal.errors import SourceError
from jtransfer._internal.files import printable_name
from jtransfer.zoo._network_parts import (
    LayerBatches,
    as_source_errors,
    declared_facts,
    sources_of_layers,
)
from jtransfer.zoo._source_types import Source, files_digest
from jtransfer.zoo._targets import Target
from jtransfer.zoo._text_networks import text_layer_sources, text_network_source

PUBLISHED = "imagenet:"
"""What the names of networks with published weights begin with."""


def is_network(path: Path) -> bool:
    """Tells whether a path stands for a network."""
    if str(path).startswith(PUBLISHED):
        return True
    try:
        return (path / "network.json").is_file()
    except OSError:  # A folder that cannot be looked into.
        return False


def source_of_network(path: Path, target: Target | None) -> Source:
    """Returns a network applied to the examples of the target, images or texts.

    Args:
      path: the folder of a network, or the name of one with published weights.
      target: holds the examples.
    """
    if networks.is_text_network(path):
        return text_network_source(path, target)
    return network_source(path, target)


def layers_of_network(source: Source, target: Target | None) -> list[Source]:
    """Returns each layer of a network of images or texts as a source.

    Args:
      source: a network; any other source is returned as it is.
      target: holds the examples.
    """
    if source.text_network is not None:
        return text_layer_sources(source, target)
    return layer_sources(source, target)


def network_source(path: Path, target: Target | None) -> Source:
    """Returns a network applied to the images of the target.

    The import of Flax waits for its use.

    Args:
      path: the folder of a network, or the name of one with published weights.
      target: holds the images.

    Returns:
      The source.
    """

    @functools.cache
    def network():
        with as_source_errors():
            return networks.pretrained.network(str(path))

    def outputs(part: int, images) -> Iterator[np.ndarray]:
        with as_source_errors():
            own = network()
        _check_images(images, target)
        with as_source_errors():
            for batch in networks.outputs(own, images):
                yield batch[part]

    def function():
        return networks.function(network())

    def head() -> np.ndarray:
        return np.asarray(network().variables.params["classifier"]["kernel"])

    images = None if target is None else target.images
    test_images = None if target is None else target.test_images
    return Source(
        name=printable_name(path.name),
        facts=_network_facts(path),
        features=lambda: outputs(0, images),
        logits=lambda: outputs(1, images),
        function=function,
        digest=lambda: files_digest(_network_files(path)),
        test_features=None if test_images is None else lambda: outputs(0, test_images),
        network=network,
        head=head,
        centers=lambda: network().class_centers,
    )


def layer_sources(source: Source, target: Target | None) -> list[Source]:
    """Returns each layer of a network as a source.

    Args:
      source: a network; any other source is returned as it is.
      target: holds the images. The features of all layers are computed in one pass
        and kept in memory.

    Returns:
      The layers, without logits and declared numbers: those are the network's.
    """
    if source.network is None:
        return [source]
    try:
        names = tuple(networks.layers(source.network()))
    except SourceError:
        return [source]  # Its row says why, when it is read.

    def outputs(of_test: bool) -> LayerBatches:
        images = getattr(target, "test_images" if of_test else "images", None)
        _check_images(images, target)
        return networks.layer_outputs(source.network(), images, names=names)

    has_test = getattr(target, "test_images", None) is not None
    return sources_of_layers(source, names, outputs, has_test=has_test)


def _check_images(images, target: Target | None) -> None:
    if images is None and target is not None and target.texts is not None:
        raise SourceError("It is a network of images, and the target holds texts.")
    if images is None:
        raise SourceError(
            "It is a network: the target must be a data set of images, not of labels."
        )


def _network_files(path: Path) -> list[Path]:
    if not str(path).startswith(PUBLISHED):
        return [path / "network.json", path / "variables.npz"]
    with as_source_errors():
        names = networks.pretrained.IMAGENET
        return [networks.pretrained.weights_file(names.index(str(path)))]


def _network_facts(path: Path) -> dict:
    if str(path).startswith(PUBLISHED):
        return {"source": "ImageNet"}
    return declared_facts(path)
