"""Theorems 3.1 and 3.3 on a pair of functions, as numbers with intervals.

They are those of Liang et al., "Uncovering the Connections Between Adversarial
Transferability and Knowledge Transferability", 2021: how much of the gradient that one
function explains of another is due to the first attacks, and how far the distance of
labels from a function is from that of a reference model.
"""

import dataclasses

import numpy as np
from scipy import special

from jtransfer import pairs
from jtransfer.intervals import Estimate, jackknife_interval, standard_error
from jtransfer.pairs import _by_attack, _sums
from jtransfer.pairs._batches import MIN_EXAMPLES
from jtransfer.pairs.results import (
    AttackedGradient,
    ByDirection,
    ByImitated,
    ByRole,
    KnowledgeTransfer,
    Measure,
    Number,
    TheoremMeasures,
    TransferBound,
)


def theorem_measures(
    pair: pairs.Pair, blocks: np.ndarray, places: ByRole[np.ndarray]
) -> TheoremMeasures:
    """Returns the numbers of Theorems 3.1 and 3.3 of a pair, both ways.

    Args:
      pair: the pair.
      blocks: the blocks of its examples.
      places: the output of each network that stands for the label of each example, -1
        where there is none, `[n]`.
    """
    compared = pair.gradients
    grams = compared.blocks, compared.mismatched
    outputs = pair.target_outputs, pair.source_outputs
    return TheoremMeasures(
        attacked_gradients=ByDirection(
            attacked_gradient(
                (compared.attacks.reference, grams[0]),
                (compared.mismatched_attacks.reference, grams[1]),
                num_attacks=len(compared.reference_values),
            ),
            attacked_gradient(
                (compared.attacks.source, _sums.swapped(grams[0])),
                (compared.mismatched_attacks.source, _sums.swapped(grams[1])),
                num_attacks=len(compared.source_values),
            ),
        ),
        knowledge_transfer=ByImitated(
            knowledge_transfer(*outputs, places.target, blocks),
            knowledge_transfer(*outputs[::-1], places.source, blocks),
        ),
    )


def attacked_gradient(blocks, mismatched, *, num_attacks: int) -> AttackedGradient:
    """Returns Theorem 3.1 attack by attack, with intervals and chance.

    Args:
      blocks: `SingularSums` of the attacks on the reference and `Grams`, by block.
      mismatched: the same by wrong pairing.
      num_attacks: all attacks there are.
    """

    def measures(function):
        numbers = _numbers(function, blocks)
        wrong = _rows(function, mismatched, _sums.at)
        return [
            Measure(
                **dataclasses.asdict(one),
                chance=float(chance.mean()),
                chance_high=float(chance.max()),
            )
            for one, chance in zip(numbers, wrong.T, strict=True)
        ]

    return AttackedGradient(
        num_attacks=num_attacks,
        num_images=blocks[0].exists.sum(axis=0).astype(int).tolist(),
        shares=measures(lambda both: _by_attack.cumulative_shares(*both)),
        alpha1=measures(lambda both: _by_attack.mean_alpha1(both[0])),
        alpha2=measures(lambda both: _by_attack.mean_alpha2(*both)),
    )


def _numbers(function, blocks) -> list[Number]:
    """One for each entry of a function of the sums over a set of examples."""
    values = np.atleast_1d(function(_sums.merged(blocks)))
    replicates = _rows(function, blocks, _sums.without)
    return [_number(*both) for both in zip(values, replicates.T, strict=True)]


def _rows(function, sums, part) -> np.ndarray:
    """The function of a part of the sums for each set, one row each."""
    count = len(sums[1].count)
    rows = [function(part(sums, i)) for i in range(count)]
    return np.stack(rows).reshape(count, -1)


def _number(value, replicates) -> Number:
    estimate = Estimate(np.asarray(value), replicates, np.zeros(0))
    value, low, high = jackknife_interval(estimate)
    error = standard_error(replicates)
    return Number(value=value, standard_error=error, low=low, high=high)


def knowledge_transfer(
    outputs: np.ndarray, others: np.ndarray, places: np.ndarray, blocks: np.ndarray
) -> KnowledgeTransfer | None:
    """Returns Theorem 3.3 for the labels of one network's task.

    Outputs of a classifier that are no probabilities are far from labels, whatever it
    has learnt, so that the theorem is also applied to their softmax.

    Args:
      outputs: of the network whose task it is, `[n, m]`.
      others: of the network that is to learn it, `[n, k]`.
      places: the output that stands for each label, -1 where there is none, `[n]`.
      blocks: block of each example, `[n]`.

    Returns:
      The numbers, or None where fewer than ten examples have a known label.
    """
    known = places >= 0
    if known.sum() < MIN_EXAMPLES:
        return None
    outputs, others = (np.asarray(f[known], np.float64) for f in (outputs, others))
    labels, num_blocks = np.eye(outputs.shape[1])[places[known]], int(blocks.max()) + 1
    sets = {"blocks": blocks[known], "num_blocks": num_blocks}
    of_labels = _sums.output_grams(labels, others, **sets)

    def bound(reference):
        grams = _sums.output_grams(reference, others, **sets)
        return _transfer_bound(reference - labels, grams, of_labels)

    return KnowledgeTransfer(
        n=int(known.sum()),
        loss=_one_number(lambda b: _sums.distance(b[0]), (of_labels, of_labels)),
        constant=float(np.sqrt(labels.var(axis=0).sum())),
        of_outputs=bound(outputs),
        of_probabilities=bound(special.softmax(outputs, axis=1)),
    )


def _transfer_bound(
    errors: np.ndarray, grams: _sums.Grams, of_labels: _sums.Grams
) -> TransferBound:
    """`matching.knowledge_transfer_bounds`, from the sums that give the intervals."""

    def difference(both):
        return _sums.distance(both[1]) - _sums.distance(both[0])

    both = grams, of_labels
    surrogate = _one_number(lambda b: _sums.distance(b[0]), both)
    error = float(np.sqrt(np.mean(np.sum(errors**2, axis=1))))
    return TransferBound(
        surrogate=surrogate,
        difference=_one_number(difference, both),
        error=error,
        low=max(surrogate.value - error, 0.0),
        high=surrogate.value + error,
    )


def _one_number(function, blocks) -> Number:
    return _numbers(function, blocks)[0]


def theorem_warnings(
    theorems: TheoremMeasures, names: ByRole[str], n: int, unit: str = "images"
) -> list[str]:
    """Returns a line for each number of the theorems that is not defined.

    Args:
      theorems: the numbers.
      names: of the two networks.
      n: number of examples.
      unit: the word for them.
    """
    gradients, transfer = theorems.attacked_gradients, theorems.knowledge_transfer
    both = names.source, names.target
    return [
        *_undefined(gradients.to_source, *both[::-1], n, unit),
        *_undefined(gradients.to_target, *both, n, unit),
        *_unlabelled(transfer.of_target, names.target, unit),
    ]


def _undefined(
    gradient: AttackedGradient, name: str, other: str, n: int, unit: str
) -> list[str]:
    lines = []
    if not any(np.isfinite(share.value) for share in gradient.shares):
        lines.append(
            f"{other} explains nothing of the gradients of {name}: the shares of the "
            f"attacks on {name} are not defined."
        )
    if (missing := n - gradient.num_images[0]) > 0.02 * n:
        lines.append(
            f"{missing / n:.0%} of the {unit}: {name} or {other} has no gradient; A1 "
            f"and A2 of the attacks on {name} leave them out."
        )
    return lines


def _unlabelled(transfer: KnowledgeTransfer | None, name: str, unit: str) -> list[str]:
    if transfer is not None:
        return []
    return [f"{name} knows too few of the {unit} by name: Theorem 3.3 is left out."]
