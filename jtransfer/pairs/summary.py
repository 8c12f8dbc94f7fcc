"""Two named networks on a set of images -> all that is told of the pair."""

import time
from collections.abc import Callable

import jax
import numpy as np

from jtransfer import pairs
from jtransfer._internal.errors import RequestError, one_line
from jtransfer._internal.provenance import environment, images_fingerprint
from jtransfer.data import Images
from jtransfer.intervals import dealt_blocks, drawn_examples
from jtransfer.pairs import _batches
from jtransfer.pairs import measures as pair_measures
from jtransfer.zoo import Source, embedded, held_out_images, named_source


def pair_networks(source: str, target: str) -> dict[str, Source]:
    """Returns the two networks by role, with names that tell them apart.

    Args:
      source: as `zoo.model` takes it.
      target: likewise.

    Returns:
      `source` and `target`.

    Raises:
      RequestError: if there is no such network.
    """
    found = {"source": named_source(source), "target": named_source(target)}
    if found["source"].name == found["target"].name:
        specs = {"source": source, "target": target}
        found = {who: one._replace(name=specs[who]) for who, one in found.items()}
    return found


def pair_images(
    spec: str | None,
    networks: dict[str, Source],
    *,
    data_dir: str | None = None,
    image_size: int | None = None,
) -> Images:
    """Returns the images that both networks see.

    Args:
      spec: a data set as `jtransfer.data.load` takes it; None for UCI digits, if both
        networks come from inside the package.
      networks: those of `models`.
      data_dir: where prepared data sets lie.
      image_size: side to which the images are resized, if they differ in size.

    Returns:
      The images; of UCI digits those that are no labelled examples.

    Raises:
      RequestError: if there are none.
    """
    if spec is not None:
        return held_out_images(spec, data_dir=data_dir, image_size=image_size)
    if any(network.network is not None for network in networks.values()):
        raise RequestError("--data is missing: images that fit both networks.")
    images, labels = embedded.digits()
    _, rest = embedded.labelled_split(labels, per_class=20, seed=0)
    return Images(images[rest], labels[rest], tuple("0123456789"))


def pair_summary(
    networks: dict[str, Source],
    images: Images,
    *,
    name: str,
    num_images: int,
    epsilon: float,
    num_steps: int,
    seed: int,
    advance: Callable[[str, int], None],
) -> dict:
    """Compares two networks.

    Args:
      networks: those of `models`.
      images: of `images_of`.
      name: that of the images.
      num_images: how many of them, at most.
      epsilon: largest change of a pixel.
      num_steps: number of gradients of an attack.
      seed: of the draw, the blocks and the attacks.
      advance: as `pairs.pair` calls it.

    Returns:
      A dict for `pair.json`.

    Raises:
      RequestError: if the images do not fit a network.
    """
    start = time.perf_counter()
    chosen = drawn_examples(len(images.images), num_images, seed=seed)
    shown, labels = images.images[chosen], images.labels[chosen]
    functions = {}
    for who, network in networks.items():
        functions[who] = network.function()
        try:
            _batches.num_outputs(functions[who], shown)
        except (TypeError, ValueError) as error:
            raise RequestError(f"{network.name}: {one_line(error)}") from error
    blocks = dealt_blocks(labels, len(labels), seed=seed)
    found = pairs.function_pair(
        functions["source"],
        functions["target"],
        shown,
        blocks,
        jax.random.key(seed),
        epsilon=epsilon,
        num_steps=num_steps,
        advance=advance,
    )
    rows = pair_measures.pair_measures(found, blocks)
    known = {who: _classes(network) for who, network in networks.items()}
    classes = (labels, images.class_names, known)
    names = {who: network.name for who, network in networks.items()}
    outputs = {"source": found.source_outputs, "target": found.target_outputs}
    right = pair_measures.correct_outputs(found, *classes)
    return {
        **{
            who: _model_row(network, outputs[who], right[who])
            for who, network in networks.items()
        },
        "data": name,
        "data_hash": images_fingerprint(shown, labels),
        "n": len(labels),
        "image_shape": list(shown.shape[1:]),
        "attack": {"epsilon": epsilon, "num_steps": num_steps},
        "noise_floor": len(labels) ** -0.5,
        "measures": rows,
        "singular_values": pair_measures.singular_values(found),
        "classes": pair_measures.class_rows(found, *classes),
        "warnings": pair_measures.pair_warnings(found, rows, names),
        **environment(seed=seed),
        "seconds": round(time.perf_counter() - start, 1),
    }


def _classes(network: Source) -> list[str]:
    """The names of a network's outputs."""
    facts = network.facts
    return list(facts.get("source_classes") or facts.get("class_names") or ())


def _model_row(network: Source, outputs: np.ndarray, hits: np.ndarray) -> dict:
    plain = {k: v for k, v in network.facts.items() if not isinstance(v, list)}
    return {
        "name": network.name,
        "hash": network.digest() if network.digest else None,
        "num_outputs": outputs.shape[1],
        "accuracy": pair_measures.known_mean(hits),
        "facts": plain,
    }
