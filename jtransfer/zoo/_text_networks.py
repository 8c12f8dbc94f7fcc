"""Networks of texts as sources: their embeddings, or each of their layers."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jtransfer import networks
from jtransfer._internal.errors import DataError, SourceError
from jtransfer._internal.files import json_value, printable_name
from jtransfer.zoo._source_types import NUMBERS, Source, files_digest
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
        with _as_source_errors():
            return networks.read_text_network(path)

    def outputs(part: int, name: str) -> Iterator[np.ndarray]:
        with _as_source_errors():
            for batch in networks.text_outputs(network(), _texts_of(target, name)):
                yield batch[part]

    has_test = getattr(target, "test_texts", None) is not None

    def head() -> np.ndarray:
        return np.asarray(network().variables.params["classifier"]["kernel"])

    return Source(
        name=printable_name(path.name),
        facts=_facts(path),
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

    @functools.cache
    def features(part: str) -> list[np.ndarray]:
        with _as_source_errors():
            texts = _texts_of(target, part)
            batches = networks.text_layer_outputs(source.text_network(), texts)
            by_batch = [layers for layers, _ in batches]
        return [np.concatenate(batch) for batch in zip(*by_batch, strict=True)]

    has_test = getattr(target, "test_texts", None) is not None

    def layer(i: int, name: str) -> Source:
        return Source(
            name=f"{source.name}:{name}",
            facts={k: v for k, v in source.facts.items() if k not in NUMBERS},
            features=lambda: features("texts")[i],
            digest=lambda: f"{source.digest()}:{name}",
            test_features=(lambda: features("test_texts")[i]) if has_test else None,
        )

    return [layer(i, name) for i, name in enumerate(names)]


def _texts_of(target: Target | None, part: str) -> tuple:
    texts = getattr(target, part, None)
    if texts is None:
        raise SourceError("It is a network of texts: the target must be texts.")
    return texts


@contextlib.contextmanager
def _as_source_errors():
    """Turns a fault of the data into the reason of a row."""
    try:
        yield
    except (DataError, ValueError) as error:
        raise SourceError(str(error)) from error


def _facts(path: Path) -> dict:
    try:
        text = (path / networks.JSON_FILE).read_text(encoding="utf-8")
        described = json_value(text)
        facts = dict(described["facts"])
        return {**facts, "source_classes": list(described["class_names"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # Its row says why, when it is read.
