"""The measures of a pair of functions, as plain numbers with intervals and chance."""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from jtransfer import adversarial, pairs
from jtransfer.intervals import (
    Estimate,
    jackknife_interval,
    mean_interval,
    standard_error,
)
from jtransfer.pairs import _batches, _sums
from jtransfer.pairs.results import (
    BoundedMeasure,
    ByDirection,
    ByImitated,
    ByRole,
    ClassMeasures,
    Measure,
    PairMeasures,
    SquaredMeasure,
)

NUM_VALUES = 100
"""Singular values that are kept, at most."""


def pair_measures(pair: pairs.Pair, blocks: np.ndarray) -> PairMeasures:
    """Returns every measure of a pair, both ways, with intervals and chance.

    Args:
      pair: the pair.
      blocks: the blocks of its examples.
    """
    both = (pair.to_source, pair.to_target)
    gradients = (pair.gradients.blocks, pair.gradients.mismatched)
    imitated_gradients = (gradients, tuple(map(_sums.swapped, gradients)))
    imitated_outputs = (
        _output_grams(pair.target_outputs, pair.source_outputs, blocks),
        _output_grams(pair.source_outputs, pair.target_outputs, blocks),
    )
    return PairMeasures(
        alpha1=ByDirection(*(Measure(**_alpha1_numbers(t)) for t in both)),
        alpha2=ByDirection(*map(_alpha2_measure, both)),
        alpha12=ByDirection(*map(_alpha12_measure, both)),
        gradient_matching_distance=_by_imitated(_sums.distance, imitated_gradients),
        explained_gradient=_by_imitated(_sums.explained_share, imitated_gradients),
        function_matching_distance=_by_imitated(_sums.distance, imitated_outputs),
        explained_function=_by_imitated(_sums.explained_share, imitated_outputs),
    )


def _by_imitated(function, sums) -> ByImitated[Measure]:
    return ByImitated(*(Measure(**_numbers(function, *grams)) for grams in sums))


def _alpha1_numbers(transfer: pairs.Transfer) -> dict[str, float]:
    return _numbers(_sums.alpha1_of_sums, transfer.blocks, transfer.mismatched)


def _alpha2_measure(transfer: pairs.Transfer) -> BoundedMeasure:
    numbers = _numbers(_sums.alpha2_of_sums, transfer.blocks, transfer.mismatched)
    sums = _sums.merged(transfer.blocks)
    squares = _squares(numbers["value"], sums.moved, sums.count)
    return BoundedMeasure(**numbers, **squares, ceiling=transfer.ceiling)


def _alpha12_measure(transfer: pairs.Transfer) -> SquaredMeasure:
    numbers = _numbers(_sums.alpha12_of_sums, transfer.blocks, transfer.mismatched)
    sums = _sums.merged(transfer.blocks)
    squares = _squares(numbers["value"], sums.alpha1_square, sums.count)
    return SquaredMeasure(**numbers, **squares)


def _numbers(function, blocks, mismatched) -> dict[str, float]:
    """The fields of a `Measure`."""
    estimate = estimate_of_sums(function, blocks, mismatched)
    value, low, high = jackknife_interval(estimate)
    return {
        "value": value,
        "standard_error": standard_error(estimate.replicates),
        "low": low,
        "high": high,
        "chance": float(estimate.shuffled.mean()),
        "chance_high": float(estimate.shuffled.max()),
    }


def _squares(value: float, own, count) -> dict[str, float]:
    """The fields that a `SquaredMeasure` has besides."""
    with jax.enable_x64(True):
        unbiased = adversarial.unbiased_square(
            np.float64(value), count, self_term=own / count
        )
    return {"square": value**2, "unbiased_square": float(unbiased)}


def _output_grams(reference, source, blocks) -> tuple[_sums.Grams, _sums.Grams]:
    """Sums by block, and by wrong pairing."""
    n, num_blocks = len(blocks), int(blocks.max()) + 1
    wrong = [
        _sums.output_grams(
            reference, np.roll(source, -shift, 0), blocks=np.zeros(n, int), num_blocks=1
        )
        for shift in range(1, 1 + _batches.NUM_PAIRINGS)
    ]
    return (
        _sums.output_grams(reference, source, blocks=blocks, num_blocks=num_blocks),
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *wrong),
    )


def class_measures(
    pair: pairs.Pair,
    labels: np.ndarray,
    class_names: Sequence[str],
    output_names: ByRole[Sequence[str]],
) -> list[ClassMeasures]:
    """Returns alpha1 both ways and the accuracies for each class that occurs.

    Args:
      pair: the pair.
      labels: classes of its examples, `[n]`.
      class_names: their names.
      output_names: the names of the outputs of each network; it has an accuracy on the
        classes that it knows by name.
    """
    hits = correct_outputs(pair, labels, class_names, output_names)
    rows = []
    for label in np.unique(labels):
        own = labels == label
        ratios = ByDirection(
            mean_interval(pair.to_source.alpha1[own]),
            mean_interval(pair.to_target.alpha1[own]),
        )
        accuracy = ByRole(known_mean(hits.source[own]), known_mean(hits.target[own]))
        row = ClassMeasures(
            name=str(class_names[label]),
            n=int(own.sum()),
            alpha1=ratios,
            accuracy=accuracy,
        )
        rows.append(row)
    return rows


def correct_outputs(
    pair: pairs.Pair,
    labels: np.ndarray,
    class_names: Sequence[str],
    output_names: ByRole[Sequence[str]],
) -> ByRole[np.ndarray]:
    """Returns 1, 0, or NaN where a network does not know the class, `[n]` for each."""

    def hits(outputs, names):
        places = output_places(labels, class_names, names)
        right = (outputs.argmax(axis=1) == places).astype(float)
        return np.where(places < 0, np.nan, right)

    return ByRole(
        hits(pair.source_outputs, output_names.source),
        hits(pair.target_outputs, output_names.target),
    )


def output_places(
    labels: np.ndarray, class_names: Sequence[str], output_names: Sequence[str]
) -> np.ndarray:
    """Returns the output of a network that bears each label's name, or -1, `[n]`."""
    index = {name: i for i, name in enumerate(output_names)}
    return np.array([index.get(str(name), -1) for name in class_names])[labels]


def known_mean(values: np.ndarray) -> float | None:
    """Returns the mean of the numbers that are not NaN, or None."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else None


def pair_warnings(
    pair: pairs.Pair, measures: PairMeasures, names: ByRole[str], unit: str = "images"
) -> list[str]:
    """Returns a line for each reason why the numbers of a pair mean little.

    Args:
      pair: the pair.
      measures: its measures.
      names: of the two networks.
      unit: the word for the examples.
    """
    alpha1, alpha2 = measures.alpha1, measures.alpha2
    lines = [
        *_transfer_warnings(pair.to_source, names.source, "to the source", unit),
        *_chance_warnings(alpha1.to_source, alpha2.to_source, "to the source"),
        *_transfer_warnings(pair.to_target, names.target, "to the target", unit),
        *_chance_warnings(alpha1.to_target, alpha2.to_target, "to the target"),
    ]
    n = len(pair.to_source.alpha1)
    if n < 30:
        lines.append(f"n = {n}: too few {unit} for sound intervals.")
    return lines


def _transfer_warnings(
    transfer: pairs.Transfer, name: str, way: str, unit: str
) -> list[str]:
    lines = []
    if transfer.still > 0.02:
        share = f"{transfer.still:.0%} of the {unit}"
        lines.append(f"{share}: no attack moves {name}; alpha1 {way} is 0 there.")
    if transfer.overtaken > 0.1:
        share = f"{transfer.overtaken:.0%} of the {unit}"
        lines.append(
            f"{share}: the transferred attack moves {name} further than its own "
            f"attack, which is weak; alpha1 {way} is 1 there."
        )
    return lines


def _chance_warnings(alpha1: Measure, alpha2: Measure, way: str) -> list[str]:
    return [
        f"{name} {way} is not above chance."
        for name, measure in (("alpha1", alpha1), ("alpha2", alpha2))
        if measure.value <= measure.chance_high
    ]


def singular_values(pair: pairs.Pair) -> ByRole[list[float]]:
    """Returns the mean singular values of both Jacobians, the largest first."""
    return ByRole(
        pair.gradients.source_values[:NUM_VALUES].tolist(),
        pair.gradients.reference_values[:NUM_VALUES].tolist(),
    )


def estimate_of_sums(function: Callable, blocks, mismatched) -> Estimate:
    """Evaluates a function of sums, its jackknife and its chance.

    Args:
      function: of the sums over a set of examples, returns a number.
      blocks: sums of disjoint sets, with a leading axis.
      mismatched: sums over wrong pairings of all examples, with a leading axis.

    Returns:
      The estimate.
    """
    without = [function(pairs.without(blocks, i)) for i in range(len(blocks.count))]
    wrong = [function(pairs.at(mismatched, i)) for i in range(len(mismatched.count))]
    value = function(pairs.merged(blocks))
    return Estimate(np.asarray(value), np.asarray(without), np.asarray(wrong))
