"""Faults, facts and layers of networks as sources, of images or of texts."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from jtransfer import networks
from jtransfer._internal.errors import DataError, SourceError
from jtransfer._internal.files import json_value
from jtransfer.zoo._source_types import NUMBERS, Source

LayerBatches = Iterator[tuple[list[np.ndarray], np.ndarray]]
"""Features of each layer, and logits, of one batch after another."""


@contextlib.contextmanager
def as_source_errors() -> Iterator[None]:
    """Turns a fault of the data into the reason of a row."""
    try:
        yield
    except DataError as error:
        raise SourceError(str(error)) from error


def declared_facts(path: Path) -> dict:
    """Returns the facts of a network on disk; none where they cannot be read.

    Args:
      path: the folder of the network.
    """
    try:
        text = (path / networks.JSON_FILE).read_text(encoding="utf-8")
        described = json_value(text)
        facts = dict(described["facts"])
        return {**facts, "source_classes": list(described["class_names"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # Its row says why, when it is read.


def sources_of_layers(
    source: Source,
    names: Sequence[str],
    outputs: Callable[[bool], LayerBatches],
    *,
    has_test: bool,
) -> list[Source]:
    """Returns the layers of a network, without its logits and declared numbers.

    Args:
      source: the network.
      names: of its layers.
      outputs: applies all layers to the examples of the target, or, if True, to those
        of its test part. It is called once each and its features are kept in memory: a
        pass a layer would take many times longer.
      has_test: whether there is a test part.
    """

    @functools.cache
    def features(of_test: bool) -> list[np.ndarray]:
        with as_source_errors():
            by_batch = [layers for layers, _ in outputs(of_test)]
        return [np.concatenate(batch) for batch in zip(*by_batch, strict=True)]

    def layer(i: int, name: str) -> Source:
        return Source(
            name=f"{source.name}:{name}",
            facts={k: v for k, v in source.facts.items() if k not in NUMBERS},
            features=lambda: features(False)[i],
            digest=lambda: f"{source.digest()}:{name}",
            test_features=(lambda: features(True)[i]) if has_test else None,
        )

    return [layer(i, name) for i, name in enumerate(names)]
