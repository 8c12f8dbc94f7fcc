"""The model of the target's task, with which sources that are functions are compared.

Scores that need it are computed on the target's own images or on those of another data
set: on the same examples the source gives features, logits or gradients and the
reference gives its own.
"""

import json
import uuid
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtransfer import data
from jtransfer._internal.errors import DataError, RequestError, SourceError
from jtransfer._internal.provenance import bytes_fingerprint, images_fingerprint
from jtransfer.data import Images, Texts
from jtransfer.zoo._embedded import embedded_sources
from jtransfer.zoo._network_sources import is_network, source_of_network
from jtransfer.zoo._source_types import Source
from jtransfer.zoo._targets import Target
from jtransfer.zoo.extraction import DEFAULT_EXTRACTION, Extraction, model_reference
from jtransfer.zoo.specs import is_spec, model_spec, unknown_prefix

NUM_IMAGES = 500
NUM_TEXTS = 100
"""Of which an attack takes a hundred times as long."""


class Reference(NamedTuple):
    """The model that sources are compared with, and the images for it."""

    source: Source
    """The model of the target's task; its features and logits, as those of any source,
    are at the target's images."""
    images: np.ndarray | None = None
    """Where functions are compared: uint8, or floats in [0, 1], `[n, h, w, c]`; at the
    target's own if None."""
    labels: np.ndarray | None = None
    """Classes of these examples, `[n]`."""
    num_images: int = NUM_IMAGES
    """How many of the examples are used, at most; they are drawn at random."""
    texts: tuple | None = None
    """In place of images where the model is a network of texts."""


def named_source(
    spec: str,
    target: Target | None = None,
    *,
    extraction: Extraction = DEFAULT_EXTRACTION,
) -> Source:
    """Returns the one model that a name stands for.

    Args:
      spec: a folder that `jtransfer train` has made, the name of a network inside the
        package, `imagenet:efficientnet_lite0` (or 1, 2), or a model of another library.
      target: holds the images that features and logits are of.
      extraction: how models of other libraries are applied.

    Returns:
      A source with a function; the network of a folder has been read.

    Raises:
      RequestError: if there is no such model, or its files are damaged.
    """
    if is_spec(spec):
        try:
            return model_reference(model_spec(spec), target, extraction)
        except SourceError as error:
            raise RequestError(str(error)) from error
    if fault := unknown_prefix(spec):
        raise RequestError(fault)
    path = Path(spec).expanduser()
    if path.is_dir() or is_network(path):
        source = source_of_network(path, target)
        try:
            (source.network or source.text_network)()
        except SourceError as error:
            raise RequestError(str(error)) from error
        return source
    embedded = {source.name: source for source in embedded_sources()}
    if spec not in embedded:
        raise RequestError(
            f"{spec} is neither a folder that jtransfer train has made nor one of the "
            f"networks inside the package ({', '.join(embedded)})."
        )
    return embedded[spec]


def reference(
    source: Source,
    target: Target,
    *,
    images: Images | None = None,
    texts: Texts | None = None,
    num_images: int = NUM_IMAGES,
) -> Reference:
    """Returns a model of the target's task, and the examples where sources meet it.

    Args:
      source: the model.
      target: whose examples are used without others.
      images: other images, or None.
      texts: other texts, or None.
      num_images: how many of the examples are used, at most.

    Returns:
      The reference.

    Raises:
      RequestError: if there are no examples that the model takes.
    """
    if source.text_network is not None:
        if images is not None:
            raise RequestError(
                f"{source.name} is a network of texts and needs data that are texts."
            )
        if texts is None and target.texts is None:
            raise RequestError(
                f"{source.name} is a network of texts: the target, or the data beside "
                "it, must be texts."
            )
        labels = None if texts is None else texts.labels
        return Reference(source, None, labels, num_images, texts and texts.texts)
    if texts is not None or (images is None and target.texts is not None):
        raise RequestError(
            f"{source.name} is no network of texts; train one with jtransfer train."
        )
    if images is None and target.images is None:
        raise RequestError(
            "a reference needs images: a target that is a data set of images, or other "
            "images beside it."
        )
    if images is None:
        return Reference(source, num_images=num_images)
    return Reference(source, images.images, images.labels, num_images)


def held_out_images(
    spec: str, *, data_dir: str | None = None, image_size: int | None = None
) -> Images:
    """Returns the split `test` of a data set; the split `train` if it has no other.

    Args:
      spec: a data set as `jtransfer.data.load` takes it.
      data_dir: where prepared data sets lie.
      image_size: side to which the images are resized, if they differ in size.

    Returns:
      The images.

    Raises:
      RequestError: if the data cannot be read.
    """
    options = {"data_dir": data_dir, "image_size": image_size}
    try:
        try:
            return data.load(spec, "test", **options)
        except DataError:  # What else may be wrong, the other split has as well.
            return data.load(spec, "train", **options)
    except (DataError, ValueError) as error:
        raise RequestError(str(error)) from error


def reference_facts(reference: Reference | None) -> dict:
    """Returns fingerprints of the model and its images, and their number.

    Args:
      reference: the reference, or None.

    Returns:
      `reference`, `data` and `num_images`. A model without a digest of its own never
      equals another one.
    """
    if reference is None:
        return {"reference": None, "data": None, "num_images": None}
    digest = reference.source.digest
    model = str(uuid.uuid4()) if digest is None else digest()
    data = None
    if reference.images is not None:
        data = images_fingerprint(reference.images, reference.labels)
    if reference.texts is not None:
        labels = np.asarray(reference.labels)
        content = json.dumps(reference.texts).encode()
        data = bytes_fingerprint(content, labels.tobytes())
    return {
        "reference": model,
        "data": data,
        "num_images": reference.num_images,
    }
