"""Two named networks on a set of images -> the summary of the pair."""

import time
from collections.abc import Callable

import jax
import numpy as np

from jtransfer import adversarial, pairs
from jtransfer._internal.errors import (
    RequestError,
    SourceError,
    callback_fault,
    one_line,
)
from jtransfer._internal.provenance import environment, images_fingerprint
from jtransfer.data import Images
from jtransfer.intervals import dealt_blocks, drawn_examples
from jtransfer.pairs import _batches
from jtransfer.pairs import measures as pair_measures
from jtransfer.pairs import theorems as pair_theorems
from jtransfer.pairs.results import ByRole, PairAttack, PairedNetwork, PairSummary
from jtransfer.zoo import (
    DEFAULT_EXTRACTION,
    Extraction,
    Source,
    Target,
    embedded,
    named_source,
)


def pair_networks(
    source: str,
    target: str,
    images: Images | None = None,
    *,
    extraction: Extraction = DEFAULT_EXTRACTION,
) -> ByRole[Source]:
    """Returns the two networks of a pair, with names that tell them apart.

    Args:
      source: as `zoo.named_source` takes it.
      target: likewise.
      images: that both will see, if they are not those inside the package.
      extraction: how models of other libraries are applied.

    Raises:
      RequestError: if there is no such network.
    """
    examples = None
    if images is not None:
        names = tuple(images.class_names)
        examples = Target(
            "", images.labels, len(names), names, digest="", images=images.images
        )
    sources = []
    for name in (source, target):
        try:
            sources.append(named_source(name, examples, extraction=extraction))
        except RequestError as error:
            line = str(error) if name in str(error) else f"{name}: {error}"
            raise RequestError(line) from error
    networks = ByRole(*sources)
    if networks.source.name == networks.target.name:
        networks = ByRole(
            networks.source._replace(name=source), networks.target._replace(name=target)
        )
    return networks


def package_images(networks: ByRole[Source]) -> Images:
    """Returns the UCI digits that are no labelled examples, for networks inside.

    Args:
      networks: those of `pair_networks`.

    Raises:
      RequestError: if one does not come from inside the package.
    """
    if networks.source.network is not None or networks.target.network is not None:
        raise RequestError("images that fit both networks are missing.")
    images, labels = embedded.digits()
    _, rest = embedded.labelled_split(labels, per_class=20, seed=0)
    return Images(images[rest], labels[rest], tuple("0123456789"))


def pair_summary(
    networks: ByRole[Source],
    images: Images,
    *,
    name: str,
    num_images: int,
    epsilon: float,
    num_steps: int,
    seed: int,
    advance: Callable[[str, int], None],
) -> PairSummary:
    """Compares two networks on the same images.

    Args:
      networks: those of `pair_networks`.
      images: that both see.
      name: that of the images.
      num_images: how many of them, at most.
      epsilon: largest change of a pixel.
      num_steps: number of gradients of an attack.
      seed: of the draw, the blocks and the attacks.
      advance: as `pairs.function_pair` calls it.

    Returns:
      The summary.

    Raises:
      RequestError: if the images do not fit a network.
      SourceError: if the process of a model fails.
    """
    start = time.perf_counter()
    chosen = drawn_examples(len(images.images), num_images, seed=seed)
    shown, labels = images.images[chosen], images.labels[chosen]
    blocks = dealt_blocks(labels, len(labels), seed=seed)
    try:
        pair = pairs.function_pair(
            _fitting_function(networks.source, shown),
            _fitting_function(networks.target, shown),
            shown,
            blocks,
            jax.random.key(seed),
            epsilon=epsilon,
            num_steps=num_steps,
            advance=advance,
        )
    except jax.errors.JaxRuntimeError as error:
        if (fault := callback_fault(error)) is not None:
            raise SourceError(fault) from error
        raise
    measures = pair_measures.pair_measures(pair, blocks)
    output_names = ByRole(*map(_output_names, (networks.source, networks.target)))
    classes = (labels, images.class_names, output_names)
    hits = pair_measures.correct_outputs(pair, *classes)
    names = ByRole(networks.source.name, networks.target.name)
    theorems = pair_theorems.theorem_measures(pair, blocks, _places(*classes))
    with jax.enable_x64(True):
        noise_floor = float(adversarial.noise_floor(len(labels)))
    return PairSummary(
        source=_paired_network(networks.source, pair.source_outputs, hits.source),
        target=_paired_network(networks.target, pair.target_outputs, hits.target),
        data=name,
        data_hash=images_fingerprint(shown, labels),
        n=len(labels),
        image_shape=list(shown.shape[1:]),
        attack=PairAttack(epsilon=epsilon, num_steps=num_steps),
        noise_floor=noise_floor,
        measures=measures,
        singular_values=pair_measures.singular_values(pair),
        classes=pair_measures.class_measures(pair, *classes),
        warnings=[
            *pair_theorems.theorem_warnings(theorems, names, len(labels)),
            *pair_measures.pair_warnings(pair, measures, names),
        ],
        **environment(seed=seed),
        seconds=round(time.perf_counter() - start, 1),
        theorems=theorems,
    )


def _fitting_function(network: Source, images: np.ndarray) -> Callable:
    function = network.function()
    try:
        _batches.num_outputs(function, images)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{network.name}: {one_line(error)}") from error
    return function


def _output_names(network: Source) -> list[str]:
    facts = network.facts
    return list(facts.get("source_classes") or facts.get("class_names") or ())


def _places(labels, class_names, output_names) -> ByRole[np.ndarray]:
    both = output_names.source, output_names.target
    return ByRole(
        *(pair_measures.output_places(labels, class_names, names) for names in both)
    )


def _paired_network(
    network: Source, outputs: np.ndarray, hits: np.ndarray
) -> PairedNetwork:
    plain = {k: v for k, v in network.facts.items() if not isinstance(v, list)}
    return PairedNetwork(
        name=network.name,
        hash=network.digest() if network.digest else None,
        num_outputs=outputs.shape[1],
        accuracy=pair_measures.known_mean(hits),
        facts=plain,
    )
