"""A pair of networks in sentences, and the names of its measures on pages."""

from typing import NamedTuple

from markupsafe import Markup

from jtransfer.pairs.results import (
    AttackedGradient,
    BoundedMeasure,
    ByDirection,
    ByImitated,
    KnowledgeTransfer,
    Measure,
    PairAttack,
    PairSummary,
    SquaredMeasure,
)
from jtransfer.report.pages.formats import finite, number

TO_SOURCE = "target \N{RIGHTWARDS ARROW} source"
TO_TARGET = "source \N{RIGHTWARDS ARROW} target"
"""The network that is attacked, and the one that the attack is fed to."""


class NamedMeasure(NamedTuple):
    """A measure of a pair in one direction, with the words of the page for it."""

    title: str
    way: str
    measure: Measure

    @property
    def square(self) -> float | None:
        """The square of the measure, if published tables print it."""
        squared = isinstance(self.measure, SquaredMeasure)
        return self.measure.square if squared else None

    @property
    def unbiased_square(self) -> float | None:
        """An estimate of the square without the part of chance."""
        squared = isinstance(self.measure, SquaredMeasure)
        return self.measure.unbiased_square if squared else None

    @property
    def ceiling(self) -> float | None:
        """The most that the measure can be, if that is less than 1."""
        bounded = isinstance(self.measure, BoundedMeasure)
        return self.measure.ceiling if bounded else None


def charted_measures(pair: PairSummary) -> list[list[NamedMeasure]]:
    """Returns the measures between 0 and 1, both ways, by kind."""
    measures = pair.measures
    return [
        _short_ways("Alpha 1", measures.alpha1),
        _short_ways("Alpha 2", measures.alpha2),
        _short_ways("Alpha 1 \N{ASTERISK OPERATOR} 2", measures.alpha12),
        _imitated("Gradients", measures.explained_gradient),
        _imitated("Outputs", measures.explained_function),
    ]


def all_measures(pair: PairSummary) -> list[NamedMeasure]:
    """Returns all measures, both ways."""
    measures = pair.measures
    return [
        *_ways("Alpha 1", measures.alpha1),
        *_ways("Alpha 2", measures.alpha2),
        *_ways("Alpha 1 \N{ASTERISK OPERATOR} 2", measures.alpha12),
        *_imitated("Gradient matching distance", measures.gradient_matching_distance),
        *_imitated("Explained gradient", measures.explained_gradient),
        *_imitated("Function matching distance", measures.function_matching_distance),
        *_imitated("Explained outputs", measures.explained_function),
    ]


def _ways(title: str, both: ByDirection[Measure]) -> list[NamedMeasure]:
    return [
        NamedMeasure(title, TO_SOURCE, both.to_source),
        NamedMeasure(title, TO_TARGET, both.to_target),
    ]


def _short_ways(title: str, both: ByDirection[Measure]) -> list[NamedMeasure]:
    return [
        NamedMeasure(title, "\N{RIGHTWARDS ARROW} source", both.to_source),
        NamedMeasure(title, "\N{RIGHTWARDS ARROW} target", both.to_target),
    ]


def _imitated(title: str, both: ByImitated[Measure]) -> list[NamedMeasure]:
    return [
        NamedMeasure(title, "of target", both.of_target),
        NamedMeasure(title, "of source", both.of_source),
    ]


def pair_verdict(pair: PairSummary) -> list[Markup]:
    """Returns sentences with names in bold, the most important first."""
    measures = pair.measures
    there, back = measures.alpha1.to_source, measures.alpha1.to_target
    turns = measures.alpha2.to_source
    words = {
        "source": Markup("<b>{}</b>").format(pair.source.name),
        "target": Markup("<b>{}</b>").format(pair.target.name),
        "there": percent(there.value),
        "there_by_chance": percent(there.chance),
        "back": percent(back.value),
        "back_by_chance": percent(back.chance),
        "turns": number(turns.value, 2),
        "possible": number(turns.ceiling, 2),
        "turns_by_chance": number(turns.chance, 2),
        "gradients": percent(measures.explained_gradient.of_target.value),
        "outputs": percent(measures.explained_function.of_target.value),
    }
    return [sentence.format(**words) for sentence in _SENTENCES]


_SENTENCES = (
    Markup(
        "Attacks on {target} move {source} {there} as far as its own do; those of "
        "other examples {there_by_chance}."
    ),
    Markup(
        "The other way round, attacks on {source} move {target} {back} as far as its "
        "own do; those of other examples {back_by_chance}."
    ),
    Markup(
        "Under the attacks on {target} the outputs turn together to {turns}, of "
        "{possible} possible; chance gives {turns_by_chance}."
    ),
    Markup(
        "The best affine map of {source} explains {gradients} of the gradients of "
        "{target} and {outputs} of its outputs."
    ),
)


def attack_words(attack: PairAttack) -> str:
    """Returns the kind of an attack, and its size if it has one."""
    if attack.epsilon is None:
        return "words replaced (T3)"
    return f"PGD, largest change {attack.epsilon:g}"


def attack_sentence(gradient: AttackedGradient, name: str, other: str) -> str:
    """Returns a sentence on the shares of a gradient that the first attacks explain.

    Args:
      gradient: the shares of the attacks on the network.
      name: that of the network.
      other: that of the one whose map explains the gradient.
    """
    shares = [finite(share.value) for share in gradient.shares]
    if all(share is None for share in shares):
        return f"{other} explains nothing of the gradients of {name}."
    text = (
        f"The first attack on {name} alone gives {percent(shares[0])} of what {other} "
        f"explains of its gradients; {percent(gradient.shares[0].chance)} if "
        "examples are paired wrongly."
    )
    most = next((i for i, x in enumerate(shares, 1) if x is not None and x >= 0.9), 0)
    if most > 1:
        text = f"{text} 90% takes {most} of {gradient.num_attacks} attacks."
    return text


def transfer_sentence(transfer: KnowledgeTransfer, name: str, other: str) -> str:
    """Returns how much Theorem 3.3 says of the labels of a network's task.

    Args:
      transfer: the numbers.
      name: that of the network whose task it is.
      other: that of the one which is to learn it.
    """
    bound, loss = transfer.of_probabilities, transfer.loss.value
    raw = transfer.of_outputs
    widths = [transfer.relative_width(one) for one in (bound, raw)]
    return (
        f"A new linear layer on {other} leaves {number(loss, 2)} of the labels of "
        f"{name}; a constant leaves {number(transfer.constant, 2)}. Theorem 3.3 only "
        f"says {number(bound.low, 2)} to {number(bound.high, 2)}, from the softmax of "
        f"{name}: an interval {number(widths[0], 1)} times as wide as what it bounds. "
        f"From its raw outputs it says {number(raw.low, 2)} to {number(raw.high, 2)}, "
        f"{number(widths[1], 1)} times as wide."
    )


def percent(share: float | None) -> str:
    """Returns a share in percent, or a dash where it is not known."""
    known = finite(share)
    return "\N{EN DASH}" if known is None else f"{100 * known:.0f}%"
