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
from jtransfer.pairs import _attacks, _batches, _sums

NUM_VALUES = 100
"""Singular values that are kept, at most."""


def pair_measures(found: pairs.Pair, blocks: np.ndarray) -> dict[str, dict[str, dict]]:
    """Returns every measure of a pair, both ways, with intervals and chance.

    Args:
      found: the pair.
      blocks: the blocks of its examples.

    Returns:
      By measure and direction a dict with `value, standard_error, low, high, chance,
      chance_high`; for alpha2 and alpha12 also `square` and `unbiased_square`, for
      alpha2 `ceiling`. Attacks go `to_source` (made on the target's model) or
      `to_target`; distances and explained shares are `of_target` (by a map of the
      source) or `of_source`.
    """
    transfers = {"to_source": found.to_source, "to_target": found.to_target}
    gradients = (found.gradients.blocks, found.gradients.mismatched)
    grams = {
        "gradient": {
            "of_target": gradients,
            "of_source": tuple(map(_sums.swapped, gradients)),
        },
        "function": {
            "of_target": _output_grams(
                found.target_outputs, found.source_outputs, blocks
            ),
            "of_source": _output_grams(
                found.source_outputs, found.target_outputs, blocks
            ),
        },
    }
    rows = {
        name: {way: _attack_row(function, t) for way, t in transfers.items()}
        for name, function in (
            ("alpha1", _sums.alpha1_of_sums),
            ("alpha2", _sums.alpha2_of_sums),
            ("alpha12", _sums.alpha12_of_sums),
        )
    }
    for way, transfer in transfers.items():
        rows["alpha2"][way]["ceiling"] = transfer.ceiling
    for of, sums in grams.items():
        for name, function in (
            (f"{of}_matching_distance", _sums.distance),
            (f"explained_{of}", _sums.explained_share),
        ):
            rows[name] = {way: _row(function, *both) for way, both in sums.items()}
    return rows


def _row(function, blocks, mismatched) -> dict:
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


def _attack_row(function, transfer: _attacks.Transfer) -> dict:
    row = _row(function, transfer.blocks, transfer.mismatched)
    if function is _sums.alpha1_of_sums:
        return row
    sums = _sums.merged(transfer.blocks)
    own = sums.moved if function is _sums.alpha2_of_sums else sums.alpha1_square
    with jax.enable_x64(True):
        unbiased = adversarial.unbiased_square(
            np.float64(row["value"]), sums.count, self_term=own / sums.count
        )
    return {**row, "square": row["value"] ** 2, "unbiased_square": float(unbiased)}


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


def class_rows(
    found: pairs.Pair,
    labels: np.ndarray,
    class_names: Sequence[str],
    known: dict[str, Sequence[str]],
) -> list[dict]:
    """Returns alpha1 both ways and the accuracies, class by class.

    Args:
      found: the pair.
      labels: classes of its examples, `[n]`.
      class_names: their names.
      known: the names of the outputs of `source` and `target`; a model has an accuracy
        on the classes that it knows by name.

    Returns:
      For each class that occurs `name`, `n`, `alpha1` (`to_source`, `to_target`: mean
      and 95% interval) and `accuracy` (`source`, `target`; None if unknown).
    """
    right = correct_outputs(found, labels, class_names, known)
    ratios = {
        "to_source": found.to_source.alpha1,
        "to_target": found.to_target.alpha1,
    }
    rows = []
    for label in np.unique(labels):
        own = labels == label
        accuracies = {who: known_mean(hits[own]) for who, hits in right.items()}
        rows.append(
            {
                "name": str(class_names[label]),
                "n": int(own.sum()),
                "alpha1": {
                    way: mean_interval(f[own])._asdict() for way, f in ratios.items()
                },
                "accuracy": accuracies,
            }
        )
    return rows


def correct_outputs(
    found: pairs.Pair, labels, class_names, known
) -> dict[str, np.ndarray]:
    """Returns 1, 0, or NaN for a class that the model does not know, by model."""
    outputs = {"source": found.source_outputs, "target": found.target_outputs}
    result = {}
    for who, names in known.items():
        index = {name: i for i, name in enumerate(names)}
        wanted = np.array([index.get(str(name), -1) for name in class_names])[labels]
        hits = (outputs[who].argmax(axis=1) == wanted).astype(float)
        result[who] = np.where(wanted < 0, np.nan, hits)
    return result


def known_mean(values: np.ndarray) -> float | None:
    """Returns the mean of what is not NaN, or None."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else None


def pair_warnings(found: pairs.Pair, rows: dict, names: dict[str, str]) -> list[str]:
    """Returns where the numbers mean little."""
    said, n = [], len(found.to_source.alpha1)
    for way, transfer in (
        ("to_source", found.to_source),
        ("to_target", found.to_target),
    ):
        who, at = names[way.removeprefix("to_")], f"alpha1 {way.replace('_', ' the ')}"
        if transfer.still > 0.02:
            share = f"{transfer.still:.0%} of the images"
            said.append(f"{share}: no attack moves {who}; {at} is 0 there.")
        if transfer.overtaken > 0.1:
            share = f"{transfer.overtaken:.0%} of the images"
            said.append(
                f"{share}: the transferred attack moves {who} further than its own "
                f"attack, which is weak; {at} is 1 there."
            )
        for name in ("alpha1", "alpha2"):
            if rows[name][way]["value"] <= rows[name][way]["chance_high"]:
                said.append(f"{name}{at.removeprefix('alpha1')} is not above chance.")
    if n < 30:
        said.append(f"n = {n}: too few images for sound intervals.")
    return said


def singular_values(found: pairs.Pair) -> dict[str, list[float]]:
    """Returns the mean singular values of both Jacobians, the largest first."""
    return {
        "source": found.gradients.source_values[:NUM_VALUES].tolist(),
        "target": found.gradients.reference_values[:NUM_VALUES].tolist(),
    }


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
