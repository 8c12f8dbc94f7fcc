"""Two named networks on a set of examples -> the summary of the pair."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jtransfer import adversarial, pairs
from jtransfer import networks as library
from jtransfer._internal.errors import (
    DataError,
    RequestError,
    SourceError,
    callback_fault,
    one_line,
)
from jtransfer._internal.provenance import (
    arrays_fingerprint,
    environment,
    images_fingerprint,
)
from jtransfer.data import Images, Texts
from jtransfer.intervals import FEW_COPIES, dealt_blocks, drawn_examples
from jtransfer.pairs import measures as pair_measures
from jtransfer.pairs import theorems as pair_theorems
from jtransfer.pairs.results import ByRole, PairAttack, PairedNetwork, PairSummary
from jtransfer.pairs.shown_examples import shown_examples
from jtransfer.zoo import (
    DEFAULT_EXTRACTION,
    Extraction,
    Source,
    Target,
    embedded,
    equal_examples,
    named_source,
)


def pair_networks(
    source: str,
    target: str,
    examples: Images | Texts | None = None,
    *,
    extraction: Extraction = DEFAULT_EXTRACTION,
) -> ByRole[Source]:
    """Returns the two networks of a pair, with names that tell them apart.

    Args:
      source: as `zoo.named_source` takes it.
      target: likewise.
      examples: that both will see, if they are not the images inside the package.
      extraction: how models of other libraries are applied.

    Raises:
      RequestError: if there is no such network, or it takes no such examples.
    """
    seen = None
    if examples is not None:
        names = tuple(examples.class_names)
        seen = Target("", examples.labels, len(names), names, digest="")
        kind = "texts" if isinstance(examples, Texts) else "images"
        seen = seen._replace(**{kind: examples[0]})
    sources = []
    for name in (source, target):
        try:
            one = named_source(name, seen, extraction=extraction)
            _check_kind(name, one, examples)
        except RequestError as error:
            line = str(error) if name in str(error) else f"{name}: {error}"
            raise RequestError(line) from error
        sources.append(one)
    networks = ByRole(*sources)
    if networks.source.name == networks.target.name:
        networks = ByRole(
            networks.source._replace(name=source), networks.target._replace(name=target)
        )
    return networks


def _check_kind(name: str, source: Source, examples: Images | Texts | None) -> None:
    is_text = source.text_network is not None
    if is_text and not isinstance(examples, Texts):
        raise RequestError(
            f"{name} is a network of texts and needs data that are texts."
        )
    if isinstance(examples, Texts) and not is_text:
        raise RequestError(
            f"{name} is no network of texts, which the data are; make one with "
            "jtransfer train."
        )


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
    examples: Images | Texts,
    *,
    name: str,
    num_examples: int,
    epsilon: float | None,
    num_steps: int,
    seed: int,
    advance: Callable[[str, int], None],
) -> PairSummary:
    """Compares two networks on the same examples.

    Args:
      networks: those of `pair_networks`.
      examples: that both see.
      name: that of the examples.
      num_examples: how many of them, at most.
      epsilon: largest change of a pixel; None of texts.
      num_steps: number of gradients of an attack.
      seed: of the draw, the blocks and the attacks.
      advance: as `pairs.examples_pair` calls it.

    Returns:
      The summary.

    Raises:
      RequestError: if the examples do not fit a network.
      SourceError: if the process of a model fails.
    """
    start = time.perf_counter()
    chosen = drawn_examples(len(examples.labels), num_examples, seed=seed)
    labels = examples.labels[chosen]
    attack = PairAttack(epsilon=epsilon, num_steps=num_steps)
    met = _met(networks, examples, chosen, attack, seed=seed)
    groups = equal_examples(met.own)
    blocks = dealt_blocks(labels, len(labels), seed=seed, groups=groups)
    try:
        pair = pairs.examples_pair(
            _fitting_function(networks.source, met.examples),
            _fitting_function(networks.target, met.examples),
            met.examples,
            blocks,
            advance=advance,
        )
    except jax.errors.JaxRuntimeError as error:
        if (fault := callback_fault(error)) is not None:
            raise SourceError(fault) from error
        raise
    measures = pair_measures.pair_measures(pair, blocks)
    output_names = ByRole(*map(_output_names, (networks.source, networks.target)))
    classes = (labels, examples.class_names, output_names)
    hits = pair_measures.correct_outputs(pair, *classes)
    names = ByRole(networks.source.name, networks.target.name)
    theorems = pair_theorems.theorem_measures(pair, blocks, _places(*classes))
    with jax.enable_x64(True):
        noise_floor = float(adversarial.noise_floor(len(labels)))
    return PairSummary(
        source=_paired_network(networks.source, pair.source_outputs, hits.source),
        target=_paired_network(networks.target, pair.target_outputs, hits.target),
        data=name,
        data_hash=met.fingerprint,
        n=len(labels),
        image_shape=met.shape,
        attack=attack,
        noise_floor=noise_floor,
        measures=measures,
        singular_values=pair_measures.singular_values(pair),
        classes=pair_measures.class_measures(pair, *classes),
        warnings=[
            *pair_theorems.theorem_warnings(theorems, names, len(labels), met.unit),
            *pair_measures.pair_warnings(pair, measures, names, met.unit),
            *_copy_warnings(met),
        ],
        **environment(seed=seed),
        seconds=round(time.perf_counter() - start, 1),
        theorems=theorems,
        examples=shown_examples(
            pair,
            met.examples,
            [examples.class_names[label] for label in labels],
            target_names=output_names.target,
            source_names=output_names.source,
            tokens=met.tokens,
        ),
    )


class _Met(NamedTuple):
    """Where two networks meet."""

    examples: pairs.ImageExamples | pairs.TextExamples
    shape: list[int]
    fingerprint: str
    unit: str
    own: np.ndarray | Sequence
    """The images or texts themselves."""
    tokens: Sequence[str] = ()
    """The vocabulary of texts."""


def _met(networks, examples, chosen, attack: PairAttack, *, seed: int) -> _Met:
    labels = examples.labels[chosen]
    if isinstance(examples, Images):
        images = examples.images[chosen]
        settings = dataclasses.replace(
            pairs.DEFAULT_ATTACK, epsilon=attack.epsilon, num_steps=attack.num_steps
        )
        met = pairs.ImageExamples(images, jax.random.key(seed), settings)
        shape = list(images.shape[1:])
        digest = images_fingerprint(images, labels)
        return _Met(met, shape, digest, "images", images)
    texts = [examples.texts[i] for i in chosen]
    settings = pairs.WordAttackSettings(num_steps=attack.num_steps)
    try:
        reference = networks.target.text_network()
        library.check_same_tokens(networks.source.text_network(), reference, texts)
        met = pairs.text_examples(reference, texts, settings=settings)
        tokens, _ = library.vocabulary(reference.tokenizer)
    except (DataError, SourceError) as error:
        raise RequestError(str(error)) from error
    digest = arrays_fingerprint(met.ids, labels)
    return _Met(met, [met.ids.shape[1]], digest, "texts", texts, tokens)


def _copy_warnings(met: _Met) -> list[str]:
    n = len(met.own)
    distinct = len({x.tobytes() if hasattr(x, "tobytes") else str(x) for x in met.own})
    if n - distinct <= FEW_COPIES * n:
        return []
    return [
        f"{n - distinct} of {n} {met.unit} repeat another one: chance may pair one "
        "with its copy, and with few different ones intervals are too narrow."
    ]


def _fitting_function(network: Source, examples) -> Callable:
    function = network.function()
    try:
        examples.num_outputs(function)
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
