"""Networks of texts as sources: their embeddings, or each of their layers."""

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


def text_network_source(path: Path, target: Target | None) -> Source:
    """Returns a network of texts applied to the texts of the target.

    The import of Flax waits for its use.

    Args:
      path: the folder of a network that `jtransfer train` has made from texts.
      target: holds the texts.

    Returns:
      The source.
    """

    @functools.cache
    def network():
        with as_source_errors():
            return networks.read_text_network(path)

    def outputs(part: int, name: str) -> Iterator[np.ndarray]:
        with as_source_errors():
            for batch in networks.text_outputs(network(), _texts_of(target, name)):
                yield batch[part]

    has_test = getattr(target, "test_texts", None) is not None

    def head() -> np.ndarray:
        return np.asarray(network().variables.params["classifier"]["kernel"])

    return Source(
        name=printable_name(path.name),
        facts=declared_facts(path),
        features=lambda: outputs(0, "texts"),
        logits=lambda: outputs(1, "texts"),
        function=lambda: networks.text_function(network()),
        digest=lambda: files_digest(
            [
                path / networks.JSON_FILE,
                path / networks.ARRAYS_FILE,
                *networks.tokenizer_files(path),
            ]
        ),
        test_features=(lambda: outputs(0, "test_texts")) if has_test else None,
        head=head,
        text_network=network,
    )


def text_layer_sources(source: Source, target: Target | None) -> list[Source]:
    """Returns each layer of a network of texts as a source.

    Args:
      source: with a network of texts.
      target: holds the texts. The features of all layers are computed in one pass and
        kept in memory.

    Returns:
      The layers, without logits and declared numbers: those are the network's.
    """
    try:
        names = networks.text_layers(source.text_network())
    except SourceError:
        return [source]  # Its row says why, when it is read.

    def outputs(of_test: bool) -> LayerBatches:
        texts = _texts_of(target, "test_texts" if of_test else "texts")
        return networks.text_layer_outputs(source.text_network(), texts)

    has_test = getattr(target, "test_texts", None) is not None
    return sources_of_layers(source, names, outputs, has_test=has_test)


def _texts_of(target: Target | None, part: str) -> tuple:
    texts = getattr(target, part, None)
    if texts is None:
        raise SourceError("It is a network of texts: the target must be texts.")
    return texts
