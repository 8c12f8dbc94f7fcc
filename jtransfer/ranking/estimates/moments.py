"""Scores of statistics of features: value, jackknife and chance of all of them."""

import functools
from collections.abc import Callable, Mapping

import jax
import numpy as np

from jtransfer import scores
from jtransfer.intervals import Estimate
from jtransfer.moments import Moments
from jtransfer.ranking.estimates import overlap, raw, scaled, scores_of_sums
from jtransfer.ranking.estimates.features import FeatureStatistics
from jtransfer.ranking.estimates.subsets import (
    Subset,
    Targets,
    joined_targets,
    own_target,
    subsets,
)

_MAX_DEFINED = 4096
"""Features, at most, whose scatter is made although there are more than examples."""
BY_SHUFFLE = Moments(None, None, None, 0, 0, None, None)


def moment_estimates(
    functions: Mapping[str, Callable],
    statistics: FeatureStatistics,
    *,
    probes: bool,
) -> tuple[dict[str, Estimate], list[list[scaled.Classifier]]]:
    """Evaluates scores on all examples, without each block, and by chance.

    Args:
      functions: of `Moments`, by name.
      statistics: of the features.
      probes: whether ridge classifiers are needed as well.

    Returns:
      The estimates by name, not finite where the features are too large; and the
      classifiers without each block in turn: that of the labels, and for the first
      block those of their shuffles.
    """
    values: dict[str, list[np.ndarray]] = {name: [] for name in functions}
    classifiers = []
    with np.errstate(over="ignore", invalid="ignore"):
        axes = None
        for i, subset in enumerate(subsets(statistics.blocks, statistics.kept)):
            request = _Request(subset, statistics, i - 1, axes, probes=probes)
            for name, function in functions.items():
                values[name].append(request.score(function))
            if probes and i > 0:
                classifiers.append(request.classifiers())
            if i == 0:
                axes = request.shared_axes()
            del request, subset  # Before the next one is made.
    estimates = {
        name: Estimate(
            np.asarray(whole[0]),
            np.array([float(value[0]) for value in without]),
            np.asarray(whole[1:]),
        )
        for name, (whole, *without) in values.items()
    }
    return estimates, classifiers


class _Request:
    """The scores of one subset; each decomposition is made once, when it is needed."""

    def __init__(
        self,
        subset: Subset,
        statistics: FeatureStatistics,
        left_out: int,
        whole_axes: raw.Axes | None,
        *,
        probes: bool,
    ):
        self._subset, self._statistics, self._left_out = subset, statistics, left_out
        self._whole_axes, self._probes = whole_axes, probes
        self._is_finite = bool(np.isfinite(subset.spreads).all())

    @functools.cached_property
    def _targets(self) -> Targets:
        own = own_target(self._subset)
        return joined_targets(own, self._by_chance) if self._left_out < 0 else own

    @functools.cached_property
    def _by_chance(self) -> Targets:
        return _shuffled(self._subset, self._statistics, self._left_out)

    @functools.cached_property
    def _raw(self) -> raw.Raw:
        subset, targets = self._subset, self._targets
        if self._whole_axes is not None:
            return raw.deleted(subset, targets, self._whole_axes)
        if self._left_out < 0 or subset.centred is not None:
            return self._exact  # Many targets share one decomposition.
        return raw.primal(subset, targets)

    @functools.cached_property
    def _axes(self) -> raw.Axes:
        return raw.axes_of(self._subset)

    def shared_axes(self) -> raw.Axes | None:
        """Returns the axes of all rows, which serve where a block is left out."""
        is_kept = self._subset.centred is not None
        return self._axes if is_kept and self._is_finite else None

    @functools.cached_property
    def _exact(self) -> raw.Raw:
        return raw.spectral(self._subset, self._targets, self._axes)

    @functools.cached_property
    def _scaled(self) -> scaled.Scaled:
        targets = self._targets
        if self._left_out == 0:  # On this block the probe is tested by chance.
            targets = joined_targets(targets, self._by_chance)
        return scaled.scaled_features(self._subset, targets)

    def score(self, function: Callable) -> np.ndarray:
        """Returns a score of the labels, and of all examples of the shuffles, `[g]`."""
        if not self._is_finite:
            return np.full(len(self._targets.counts), np.nan)
        if function is scores.logme:
            return self._logme()
        if function is scores.regularized_h_score:
            value = scores_of_sums.regularized_h_scores(self._raw)
            if value is None:
                value = scores_of_sums.regularized_h_scores(self._exact)
            return value
        if function is scores.h_score:
            reduced = self._probes and self._left_out >= 0
            value = scaled.h_scores(self._scaled, reduced=reduced)
            return value[: len(self._targets.counts)]
        classes = _classes(self._subset, self._statistics, self._left_out)
        if function is scores.bhattacharyya:
            return overlap.bhattacharyya_scores(self._subset, *classes)
        return _defined(function, self._subset, *classes)

    def _logme(self) -> np.ndarray:
        value = scores_of_sums.logme_scores(self._raw)
        subset, targets = self._subset, self._targets
        rows_kept = subset.centred is not None
        if value is None and (rows_kept or not self._raw.needs_definition):
            is_large = len(subset.sums.mean) > _MAX_DEFINED
            value = scores_of_sums.logme_scores(self._exact, noiseless=is_large)
        if value is not None:
            return value
        # A fit without noise, or a feature that hides others.
        sums = targets.class_sums
        if sums is None:
            sums = targets.columns().T @ subset.centred
            sums = sums.reshape(*targets.counts.shape, -1)
        squares = np.zeros_like(sums)
        return _defined(scores.logme, subset, targets.counts, sums, squares)

    def classifiers(self) -> list[scaled.Classifier]:
        """Returns the ridge classifiers of the labels, and of shuffles if there are."""
        return scaled.ridge_classifiers(self._scaled)


def _shuffled(subset: Subset, statistics: FeatureStatistics, left_out: int) -> Targets:
    """The shuffles of the labels, of all examples or without the first block."""
    kept = statistics.kept
    if kept is not None:
        labels = kept.shuffled[:, kept.blocks != left_out]
        num_classes = len(subset.sums.counts)
        counts = [np.bincount(row, minlength=num_classes) for row in labels]
        return Targets(np.array(counts), None, labels)
    sums, counts = _shuffled_sums(subset, statistics, left_out)
    return Targets(counts, sums)


def _shuffled_sums(subset, statistics, left_out: int):
    """Class sums about the subset's mean `[s, C, d]`, and sizes of the classes."""
    shuffled = statistics.shuffled
    total = sum(block.counts for block in statistics.blocks)
    counts = np.tile(total, (len(shuffled.sums), 1))
    sums = shuffled.sums
    if left_out == 0:
        sums, counts = sums - shuffled.first_sums, counts - shuffled.first_counts
    return sums - counts[..., None] * (subset.sums.mean - shuffled.shift), counts


def _classes(subset: Subset, statistics: FeatureStatistics, left_out: int):
    """Sizes, sums and squares of the classes, and of all examples those of shuffles."""
    sums = subset.sums
    own = sums.counts[None], sums.class_sums[None], sums.class_squares[None]
    if left_out >= 0:
        return own
    by_class, counts = _shuffled_sums(subset, statistics, -1)
    shuffled = statistics.shuffled
    squares = shuffled.sums**2 / np.maximum(counts, 1)[..., None]
    squares = np.maximum(shuffled.squares - squares, 0)
    return tuple(
        np.concatenate(pair)
        for pair in zip(own, (counts, by_class, squares), strict=True)
    )


def _defined(function, subset, counts, class_sums, class_squares) -> np.ndarray:
    """A score as it is defined, on the moments of each set of classes, `[g]`."""
    moments = subset.moments()._replace(
        class_sums=class_sums, class_squares=class_squares
    )
    return np.asarray(_by_classes(function, moments))


@jax.jit(static_argnames=("function",))
def _by_classes(function, moments: Moments):
    return jax.vmap(function, in_axes=(BY_SHUFFLE,))(moments)
