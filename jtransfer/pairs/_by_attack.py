"""Sums over examples from which Theorem 3.1 follows attack by attack.

The attacks are the singular ones, `jacobians.singular_attacks`. None of them is made
here: with the left singular vector `u` and the value `s` of a Jacobian `J` the attack
is `J^T u / s`, so that it moves its own function by `s u` and another one, of Jacobian
`K`, by `(J K^T)^T u / s`. Both follow from products of Jacobians, whatever the number
of inputs.
"""

from typing import NamedTuple

import numpy as np

from jtransfer.pairs._sums import Grams, explained_total, gradient_total, inverse_root

MOST_ATTACKS = 10
"""Attacks that are told apart, at most."""
_SUMMED_NUMBERS = 2**23  # In one field of the sums, about.
_ROUNDING = 10 * float(np.finfo(np.float32).eps)  # Of the Jacobians of networks.


class SingularSums(NamedTuple):
    """Sums of what the attacks on a function do, by attack; leading axes are sets."""

    explained: np.ndarray
    """Outer products of the deviations of both functions, `[a, m, k]`."""
    directions: np.ndarray
    """The same of unit deviations, `[a, m, k]`."""
    alpha1: np.ndarray
    """A1, `[a]`."""
    exists: np.ndarray
    """Examples with such an attack where the other function has a gradient, `[a]`."""
    moved: np.ndarray
    """Those among them where it moves the other function, `[a]`."""


class SingularVectors(NamedTuple):
    """Left singular vectors of Jacobians, the strongest first."""

    axes: np.ndarray
    """Of the first attacks, `[n, m, a]`."""
    values: np.ndarray
    """Of all, `[n, r]`; NaN where a Jacobian is not finite."""


def fitting_attacks(
    most_attacks: int, m: int, k: int, *, num_inputs: int, num_sets: int
) -> int:
    """Returns how many attacks are told apart: fewer where sums need much memory."""
    fitting = max(1, _SUMMED_NUMBERS // (num_sets * m * k))
    return min(m, num_inputs, most_attacks, fitting)


def empty_singular_sums(attacks: int, m: int, k: int, *, num_sets: int) -> SingularSums:
    """Returns the sums over no example, with a leading axis of sets.

    Args:
      attacks: that are told apart.
      m: outputs of the attacked function.
      k: outputs of the other one.
      num_sets: number of sets.
    """
    matrices, numbers = (num_sets, attacks, m, k), (num_sets, attacks)
    return SingularSums(
        np.zeros(matrices),
        np.zeros(matrices),
        np.zeros(numbers),
        np.zeros(numbers),
        np.zeros(numbers),
    )


def singular_vectors(
    gram: np.ndarray, num_inputs: int, *, attacks: int
) -> SingularVectors:
    """Returns the singular vectors from products of Jacobians with themselves.

    Args:
      gram: shape `[n, m, m]`.
      num_inputs: of the functions, `p`.
      attacks: so many of the vectors; without any the values cost much less.

    Returns:
      The vectors, and all `r = min(m, p)` values.
    """
    finite = np.isfinite(gram).all(axis=(1, 2))
    gram = np.where(finite[:, None, None], gram, 0)
    if attacks:
        squares, axes = np.linalg.eigh(gram)
    else:
        squares, axes = np.linalg.eigvalsh(gram), gram
    squares = np.where(finite[:, None], squares, np.nan)[:, ::-1][:, :num_inputs]
    return SingularVectors(
        axes[:, :, ::-1][:, :, :attacks], np.sqrt(np.maximum(squares, 0))
    )


def add_examples(
    sums: SingularSums,
    own: SingularVectors,
    cross: np.ndarray,
    strongest: np.ndarray,
    places: np.ndarray,
) -> None:
    """Adds examples to sums, in place.

    Args:
      sums: with a leading axis of sets.
      own: of the attacked function, with as many vectors as the sums have attacks.
      cross: products of its Jacobians with those of the other one, `[n, m, k]`.
      strongest: largest singular values of the other one, `[n]`.
      places: set of each example, `[n]`.
    """
    num_sets, attacks = sums.exists.shape
    axes, values = own.axes, own.values[:, :attacks]
    sets = np.eye(num_sets)[places]
    # What is left of a dead direction in float32 has no direction and no size.
    rounding = _ROUNDING * own.values.shape[1] ** 0.5 * own.values[:, :1]
    exists = (values > rounding) & (strongest[:, None] > 0)
    pulled = np.swapaxes(axes, 1, 2) @ cross
    moved = pulled / np.where(exists, values, np.inf)[:, :, None]
    lengths = np.linalg.norm(moved, axis=2)
    ratio = lengths / np.where(strongest > 0, strongest, 1)[:, None]
    unit = moved / np.where(lengths > 0, lengths, 1)[:, :, None]
    for i in range(attacks):
        for total, second in ((sums.explained, pulled), (sums.directions, unit)):
            total[:, i] += _outer_sums(sets, axes[:, :, i], second[:, i])
    sums.alpha1[...] += sets.T @ np.minimum(ratio, 1)
    sums.exists[...] += sets.T @ exists
    sums.moved[...] += sets.T @ (lengths > 0)


def _outer_sums(sets: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Outer products of vectors `[n, m]` and `[n, k]` by set, `[num_sets, m, k]`."""
    spread = sets[:, :, None] * first[:, None]
    sums = spread.reshape(len(first), -1).T @ second
    return sums.reshape(*spread.shape[1:], -1)


def cumulative_shares(sums: SingularSums, grams: Grams) -> np.ndarray:
    """Returns the shares of `matching.attack_shares`, `[a]`.

    Args:
      sums: of the attacks on the reference.
      grams: of the same examples.

    Returns:
      The share of the explained gradient by attacks 1 to `i`; NaN where nothing is
      explained, no more than the rounding of float32 leaves.
    """
    explained = explained_total(grams)
    if not explained > _ROUNDING**2 * gradient_total(grams):
        return np.full(len(sums.exists), np.nan)
    along = np.cumsum(sums.explained, axis=0) @ inverse_root(grams.source)
    return np.sum(along**2, axis=(1, 2)) / explained


def mean_alpha1(sums: SingularSums) -> np.ndarray:
    """Returns the mean A1 by attack, `[a]`, NaN for one that no example has."""
    return sums.alpha1 / np.where(sums.exists > 0, sums.exists, np.nan)


def mean_alpha2(sums: SingularSums, grams: Grams) -> np.ndarray:
    """Returns the mean over all pairs of examples of A2 by attack, `[a]`.

    It is NaN for an attack that moves the other function nowhere.
    """
    if not np.isfinite(grams.source).all():
        return np.full(len(sums.moved), np.nan)
    tolerance = len(grams.source) * np.finfo(float).eps
    inverse = np.linalg.pinv(grams.source, rcond=tolerance, hermitian=True)
    squares = np.sum((sums.directions @ inverse) * sums.directions, axis=(1, 2))
    norm = np.linalg.norm(inverse) or np.nan
    return squares / norm / np.where(sums.moved > 0, sums.moved, np.nan) ** 2
