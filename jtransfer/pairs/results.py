"""Results of a pair of networks as typed values, and how `pair.json` stores them."""

import dataclasses
import math
from typing import Any, Generic, TypeVar

from jtransfer._internal.typed_json import typed_value
from jtransfer.intervals import Interval
from jtransfer.pairs.shown_examples import ShownExample

_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True)
class ByRole(Generic[_Value]):
    """A value for each of the two networks."""

    source: _Value
    target: _Value


@dataclasses.dataclass(frozen=True)
class ByDirection(Generic[_Value]):
    """A value for each direction in which attacks are transferred."""

    to_source: _Value
    """Attacks made on the target's model, fed to the source."""
    to_target: _Value
    """Attacks made on the source, fed to the target's model."""


@dataclasses.dataclass(frozen=True)
class ByImitated(Generic[_Value]):
    """A value for each network that an affine map of the other one imitates."""

    of_target: _Value
    of_source: _Value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Number:
    """A number of a pair with its 95% interval."""

    value: float
    standard_error: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure(Number):
    """A number with its level by chance."""

    chance: float
    """Mean over pairings of wrong examples."""
    chance_high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class SquaredMeasure(Measure):
    """A measure whose square is what published tables print."""

    square: float
    unbiased_square: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoundedMeasure(SquaredMeasure):
    """A measure that reaches less than 1 even for a network with itself."""

    ceiling: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairMeasures:
    """All measures of a pair."""

    alpha1: ByDirection[Measure]
    alpha2: ByDirection[BoundedMeasure]
    alpha12: ByDirection[SquaredMeasure]
    gradient_matching_distance: ByImitated[Measure]
    explained_gradient: ByImitated[Measure]
    function_matching_distance: ByImitated[Measure]
    explained_function: ByImitated[Measure]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackedGradient:
    """Shares of a gradient that the singular attacks explain, by attack."""

    num_attacks: int
    """All there are; the lists may have only the first."""
    num_images: list[int]
    """Images that have an attack i, and where the other network has a gradient."""
    shares: list[Measure]
    """Of the explained gradient, by attacks 1 to i; NaN where nothing is explained."""
    alpha1: list[Measure]
    """Mean A1 of attack i; NaN for one that no image has."""
    alpha2: list[Measure]
    """Mean A2 of attack i, over all pairs of images."""

    def __post_init__(self):
        """Refuses lists that are not about the same attacks."""
        lists = (self.num_images, self.shares, self.alpha1, self.alpha2)
        if len(set(map(len, lists))) > 1:
            raise ValueError("pair has attacks with and without numbers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferBound:
    """Theorem 3.3 with one form of a network's outputs: an interval of the loss."""

    surrogate: Number
    """Eq. (16): what the best affine map of the other network leaves of them."""
    difference: Number
    """Eq. (17) less Eq. (16)."""
    error: float
    """Root mean square of the outputs less the labels, most of the difference."""
    low: float
    """Of the interval that holds Eq. (17)."""
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnowledgeTransfer:
    """The labels of a network's task, learnt by a map of the other network."""

    n: int
    """Images of the classes that the network knows by name."""
    loss: Number
    """Eq. (17): what the best affine map of the other network leaves of the labels."""
    constant: float
    """What a constant leaves of them, the most that the loss can be."""
    of_outputs: TransferBound
    of_probabilities: TransferBound
    """With the softmax of the outputs in their place."""

    def relative_width(self, bound: TransferBound) -> float:
        """Returns the width of a bound over the loss that it bounds, NaN at loss 0."""
        return (bound.high - bound.low) / (self.loss.value or math.nan)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TheoremMeasures:
    """Theorem 3.1, attack by attack, and Theorem 3.3 of a pair."""

    attacked_gradients: ByDirection[AttackedGradient]
    knowledge_transfer: ByImitated[KnowledgeTransfer | None]
    """None where the network knows no more than a few images by name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassMeasures:
    """One class: alpha1 over its images, and the accuracies on them."""

    name: str
    n: int
    alpha1: ByDirection[Interval]
    accuracy: ByRole[float | None]
    """None for a network that does not know the class by name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedNetwork:
    """One network of a pair, as it was compared."""

    name: str
    hash: str | None
    num_outputs: int
    accuracy: float | None
    """On the images of the classes that it knows by name; None if it knows none."""
    facts: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairAttack:
    """The attack that both networks are exposed to."""

    epsilon: float | None
    """Largest change of a pixel, of values in [0, 1]; None of texts, whose words are
    replaced."""
    num_steps: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairSummary:
    """All that is known of a pair of networks on the same examples."""

    source: PairedNetwork
    target: PairedNetwork
    data: str
    """Name of the examples."""
    data_hash: str
    n: int
    """Number of examples."""
    image_shape: list[int]
    """Of an example: of an image, or the tokens of a text."""
    attack: PairAttack
    noise_floor: float
    """The alpha2 of directions without relation."""
    measures: PairMeasures
    singular_values: ByRole[list[float]]
    """Of the Jacobians, means over the images, the largest first."""
    classes: list[ClassMeasures]
    warnings: list[str]
    code_hash: str
    versions: dict[str, str]
    device: str
    seed: int
    created: str
    seconds: float
    theorems: TheoremMeasures | None = None
    """None in files of versions before this one."""
    examples: list[ShownExample] = dataclasses.field(default_factory=list)
    """A few of them; none in files of versions before this one."""

    @property
    def unit(self) -> str:
        """The word for the examples."""
        return "texts" if self.attack.epsilon is None else "images"

    @property
    def networks(self) -> ByRole[PairedNetwork]:
        """The two networks."""
        return ByRole(self.source, self.target)


def pair_json(summary: PairSummary) -> dict[str, Any]:
    """Returns a pair as it stands in `pair.json`."""
    fields = dataclasses.asdict(summary)
    for one, row in zip(summary.classes, fields["classes"], strict=True):
        ratios = one.alpha1
        row["alpha1"] = {
            "to_source": ratios.to_source._asdict(),
            "to_target": ratios.to_target._asdict(),
        }
    return fields


def pair_from_json(fields: Any) -> PairSummary:
    """Returns the pair that `pair_json` has written.

    Args:
      fields: what JSON has read.

    Returns:
      The pair; numbers that were not finite are NaN.

    Raises:
      ValueError: if it is none.
    """
    return typed_value(PairSummary, fields, "pair")
