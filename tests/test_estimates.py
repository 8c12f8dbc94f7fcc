"""The estimates of a ranking against the definitions, on each subset of examples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tasks import gaussian_task

from jtransfer import intervals, scores
from jtransfer.moments import class_moments
from jtransfer.ranking.estimates import (
    accumulator,
    deletion,
    dense,
    kernel,
    ridge,
    scaled,
    shifted,
    subsets,
    sums,
)
from jtransfer.ranking.estimates import features as feature_estimates
from jtransfer.ranking.estimates import moments as moment_estimates

C = 5
FUNCTIONS = {
    "logme": scores.logme,
    "regularized_h_score": scores.regularized_h_score,
    "h_score": scores.h_score,
    "bhattacharyya": scores.bhattacharyya,
}
SHAPES = {
    "n > d": (60, 8),
    "n = 1.1 d": (60, 55),
    "n < d": (60, 90),
    "d = 1": (60, 1),
    "few": (25, 6),
}


def constant(x, y):
    x[:, 0], x[:, 1], x[5, 1] = 0.1, 0, 1
    x[:, 2:4] = x[:, 4:6]


def scale_first(factor):
    def change(x, y):
        x[:, 0] *= factor

    return change


def shift_all(x, y):
    x += 1e4


def copy_half(x, y):
    x[30:] = x[:30]
    y[30:] = y[:30]


def silence_negative(x, y):
    np.maximum(x, 0, out=x)


def leave_one(x, y):
    y[y == 2] = 1
    y[7] = 2


def withhold(x, y):
    y[::7] = -1


def two_classes(x, y):
    y %= 2


def name_classes(x, y):
    x[:, :C] = np.eye(C)[y]


KINDS = {
    "plain": lambda x, y: None,
    "after a rectifier": silence_negative,
    "constant, silent, repeated features": constant,
    "one feature wider by 1e4": scale_first(1e4),
    "one feature wider by 1e8": scale_first(1e8),
    "offset by 1e4": shift_all,
    "copies": copy_half,
    "a class of one example": leave_one,
    "examples withheld": withhold,
    "two classes": two_classes,
    "names of the classes among the features": name_classes,
    "tiny": lambda x, y: np.multiply(x, 1e-30, out=x),
    "huge": lambda x, y: np.multiply(x, 1e30, out=x),
}
NOISELESS = ("copies", "names of the classes among the features")
OF_ONE_FEATURE = ("plain", "after a rectifier", "offset by 1e4", "examples withheld")
KINDS_OF = {
    "d = 1": OF_ONE_FEATURE,
    "few": ("plain", "two classes", "names of the classes among the features"),
}
"""Of shapes that not all kinds make sense of."""


def task(kind, shape):
    x, y = gaussian_task(11, *SHAPES[shape])
    x, y = x.astype(float), y.copy()
    if kind != "constant, silent, repeated features" or x.shape[1] > 5:
        KINDS[kind](x, y)
    return x, y


@functools.cache
def defined(function):
    """A score of features, labels and which to leave out, compiled once a shape."""

    @jax.jit
    def score(x, y):
        return function(class_moments(x, y, num_classes=C)._replace(within=None))

    return score


def replicates(dealt, x):
    """Labels of all examples, then without each block, -1 where left out."""
    yield dealt.labels
    for block in range(intervals.NUM_BLOCKS):
        labels, out = dealt.labels.copy(), dealt.order[:, block].ravel()
        labels[out[out >= 0]] = -1
        yield labels


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(kind, shape) for shape in SHAPES for kind in KINDS_OF.get(shape, KINDS)],
)
def test_estimates_are_the_definitions_on_every_subset(kind, shape):
    x, y = task(kind, shape)
    dealt = intervals.dealt_labels(y, num_classes=C, batch_rows=40, seed=0)
    statistics = feature_estimates.feature_statistics(lambda: x, dealt)
    with jax.enable_x64(True):
        estimates, classifiers = moment_estimates.moment_estimates(
            FUNCTIONS, statistics, probes=True
        )
        probe = ridge.probe_estimate(classifiers, statistics, dealt)
        for name, function in FUNCTIONS.items():
            values = [defined(function)(x, labels) for labels in replicates(dealt, x)]
            chance = [defined(function)(x, dealt.shuffled[i]) for i in (0, 19)]
            estimate = estimates[name]
            # What the features fit exactly leaves rounding for noise.
            noiseless = kind in NOISELESS and name == "logme"
            tolerance = {"rtol": 0.1 if noiseless else 1e-8, "atol": 1e-9}
            np.testing.assert_allclose(estimate.value, values[0], **tolerance)
            np.testing.assert_allclose(estimate.replicates, values[1:], **tolerance)
            np.testing.assert_allclose(estimate.shuffled[[0, 19]], chance, **tolerance)
            error = intervals.standard_error(np.array(values[1:]))
            np.testing.assert_allclose(
                intervals.standard_error(estimate.replicates),
                error,
                rtol=1e-6,
                atol=abs(values[0]) * (0.1 if noiseless else 1e-6),
            )
        expected = [_correct(x, labels, dealt) for labels in replicates(dealt, x)][1:]
    sizes = np.bincount(dealt.labels[dealt.labels >= 0], minlength=C)
    assert probe.value == pytest.approx(np.concatenate(expected).mean())
    assert probe.shuffled.min() >= sizes.max() / sizes.sum()


def _correct(x, labels, dealt):
    """Whether examples that a classifier has not seen are classified as labelled."""
    out = (labels < 0) & (dealt.labels >= 0)
    if not out.any():
        return np.zeros(0)
    moments = class_moments(x, labels, num_classes=C)._replace(within=None)
    classifier = scores.ridge_classifier(moments)
    total = np.bincount(dealt.labels[dealt.labels >= 0], minlength=C)
    left = np.bincount(labels[labels >= 0], minlength=C)
    shift = np.where(
        left > 0, total / total.sum() / np.maximum(left, 1) * left.sum(), 1
    )
    weights, bias = map(np.asarray, classifier)
    outputs = (x[out] @ weights + bias) * shift
    return np.argmax(outputs, axis=1) == dealt.labels[out]


@pytest.mark.parametrize("m", [1, 2, 3, 40])
def test_shifted_forms_are_those_of_dense_solves(m):
    rng = np.random.default_rng(m)
    rows, right = rng.normal(size=(m + 2, m)), rng.normal(size=(m, 3))
    matrix = rows.T @ rows
    forms = shifted.Tridiagonal(matrix, right)
    for shift in (1e-3, 1.0, 1e3):
        dense = matrix + shift * np.eye(m)
        solved = np.linalg.solve(dense, right)
        squares, along, log_det = forms.forms(shift)
        np.testing.assert_allclose(squares, np.sum(right * solved, axis=0), 1e-10)
        np.testing.assert_allclose(along, right[:, -1] @ solved, 1e-9, 1e-12)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(dense)[1], 1e-10, 1e-10)
        trace = np.trace(np.linalg.inv(dense))
        np.testing.assert_allclose(forms.inverse_trace(shift), trace, 1e-10)
        first = forms.solution_outside(shift, slice(0, 2))
        np.testing.assert_allclose(first, solved[:, :2], 1e-9, 1e-12)
    values = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(forms.eigenvalues(), values, 1e-10, 1e-12)
    np.testing.assert_allclose(forms.eigenvalue(-1), values[-1], 1e-10)
    with pytest.raises(np.linalg.LinAlgError):
        forms.forms(-2 * values[-1] - 1)


@pytest.mark.parametrize("by", ["platform", "axes"])
@pytest.mark.parametrize(("m", "count"), [(1, 1), (2, 1), (12, 2)])
def test_the_kernel_of_accelerators_gives_what_lapack_gives(m, count, by):
    rng = np.random.default_rng(m)
    rows = rng.normal(size=(count, m + 2, m))
    matrices, right = rows.mT @ rows, rng.normal(size=(count, m, 3))
    shifts = np.array([1e-2, 1.0, 1e3])
    by_axes = jax.jit(kernel._by_axes)
    function = kernel.shifted_forms if by == "platform" else by_axes
    for x64, tolerance in ((True, 1e-10), (False, 2e-3)):
        with jax.enable_x64(x64):
            lower = jnp.tril(jnp.asarray(matrices))
            forms = jax.vmap(function, (0, 0, None))(lower, jnp.asarray(right), shifts)
        for matrix, sides, *own in zip(matrices, right, *forms, strict=True):
            lapack = shifted.Tridiagonal(matrix, sides)
            each = [lapack.forms(shift) for shift in shifts]
            for value, expected in zip(own, zip(*each, strict=True), strict=True):
                scale = np.abs(expected).max()
                np.testing.assert_allclose(value, expected, 0, tolerance * scale)
                assert value.dtype == (np.float64 if x64 else np.float32)


@pytest.mark.parametrize("d", [7, 80])
def test_forms_without_a_block_are_those_of_the_rows_left(d):
    rng = np.random.default_rng(d)
    rows, left_out = rng.normal(size=(40, d)), np.arange(40) % 10 == 3
    rows -= rows.mean(axis=0)
    kept = rows[~left_out] - rows[~left_out].mean(axis=0)
    right = rng.normal(size=(36, 3))
    right -= right.mean(axis=0)
    values, axes = np.linalg.eigh(rows @ rows.T)
    forms = deletion.Deletion(values, axes, left_out, right)
    assert forms.largest >= np.linalg.eigvalsh(kept @ kept.T)[-1]
    for shift in (forms.noise, 1.0, 1e4):
        dense = kept @ kept.T + shift * np.eye(36)
        solved = np.linalg.solve(dense, right)
        squares, along, log_det = forms.forms(shift)
        np.testing.assert_allclose(squares, np.sum(right * solved, axis=0), 1e-8)
        np.testing.assert_allclose(along, right[:, -1] @ solved, 1e-7, 1e-9 / shift)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(dense)[1], 1e-8)


def test_with_no_row_left_out_nothing_is_lost_and_nothing_is_printed(capfd):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 6))
    rows -= rows.mean(axis=0)
    right = rng.normal(size=(4, 2))
    right -= right.mean(axis=0)
    values, axes = np.linalg.eigh(rows @ rows.T)
    squares, along, log_det = deletion.Deletion(
        values, axes, np.zeros(4, bool), right
    ).forms(1.0)
    dense = rows @ rows.T + np.eye(4)
    solved = np.linalg.solve(dense, right)
    np.testing.assert_allclose(squares, np.sum(right * solved, axis=0), 1e-10)
    np.testing.assert_allclose(along, right[:, -1] @ solved, 1e-10)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(dense)[1], 1e-10)
    # LAPACK writes its complaints to the screen, among the rows of --json.
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "few"])
@pytest.mark.parametrize("kind", OF_ONE_FEATURE[:2] + ("copies",))
def test_h_scores_are_the_same_by_either_factorisation(kind, shape):
    x, y = task(kind, shape)
    dealt = intervals.dealt_labels(y, num_classes=C, batch_rows=40, seed=0)
    statistics = feature_estimates.feature_statistics(lambda: x, dealt)
    for subset in subsets.subsets(statistics.blocks, statistics.kept):
        system = scaled.scaled_features(subset, subsets.own_target(subset))
        both = [scaled.h_scores(system, reduced=reduced) for reduced in (True, False)]
        np.testing.assert_allclose(*both, rtol=1e-10)


@pytest.mark.parametrize("steps", [2**23, 1])
@pytest.mark.parametrize("shape", ["n > d", "n = 1.1 d", "n < d"])
def test_h_scores_of_pixels_are_the_definition_on_every_subset(
    shape, steps, monkeypatch
):
    monkeypatch.setattr(dense, "_ENTRIES", steps)
    x, y = task("constant, silent, repeated features", shape)
    rng = np.random.default_rng(1)
    levels = rng.integers(-1, 4, size=(len(x), 2, 3))
    levels[..., 0] = y[:, None] % 4
    levels[7] = -1
    blocks = rng.integers(0, intervals.NUM_BLOCKS, len(x))
    values = dense.dense_h_scores(x, levels.reshape(-1, 6), blocks, num_levels=4)
    with jax.enable_x64(True):
        for left_out in (-1, 0, 4):
            kept = np.where(blocks[:, None, None] == left_out, -1, levels)
            expected = scores.dense_h_score(x, kept, num_levels=4)
            np.testing.assert_allclose(values[left_out + 1], expected.ravel(), 1e-8)


def test_unions_are_exact_and_leave_constant_features_constant():
    x, y = task("constant, silent, repeated features", "n > d")
    blocks = np.arange(len(x)) % intervals.NUM_BLOCKS
    parts = []
    for block in range(intervals.NUM_BLOCKS):
        own = np.flatnonzero(blocks == block)
        block_sums = accumulator.Accumulator(x.shape[1], C, scattered=True)
        for i in (own[:2], own[:0], own[2:]):
            block_sums.add(x[i], y[i])
        parts.append(block_sums.sums())
    unions = [sums.union(parts), *sums.without_each(parts)]
    for union, left_out in zip(unions, range(-1, intervals.NUM_BLOCKS), strict=True):
        labels = np.where(blocks == left_out, -1, y)
        with jax.enable_x64(True):
            expected = class_moments(jnp.asarray(x), labels, num_classes=C)
        expected = expected._replace(within=None)
        for value, other in zip(sums.moments(union), expected, strict=True):
            if other is not None:
                np.testing.assert_allclose(value, other, 1e-9, 1e-10)
        assert union.scatter[0, 0] == 0
        assert union.mean[0] == 0.1
        if blocks[5] == left_out:
            assert union.scatter[1, 1] == 0


def test_batches_that_drift_are_added_exactly():
    rng = np.random.default_rng(3)
    y = np.repeat(np.arange(C), 12)
    x = rng.normal(size=(60, 4)) + 50 * y[:, None] + 1e4  # A batch a class.
    block = accumulator.Accumulator(4, C, scattered=True)
    for rows, labels in zip(np.split(x, C), np.split(y, C), strict=True):
        block.add(rows, labels)
    with jax.enable_x64(True):
        expected = class_moments(jnp.asarray(x), y, num_classes=C)
    expected = expected._replace(within=None)
    for value, other in zip(sums.moments(block.sums()), expected, strict=True):
        if other is not None:
            np.testing.assert_allclose(value, other, 1e-10, 1e-6)


@pytest.mark.parametrize("shape", ["n > d", "n < d"])
def test_a_score_of_moments_that_is_new_needs_nothing_else(shape):
    @jax.jit
    def spread(moments):
        within = jnp.sum(moments.class_squares) / jnp.trace(moments.scatter)
        return within + jnp.max(moments.class_sums) + moments.quartic

    x, y = task("plain", shape)
    dealt = intervals.dealt_labels(y, num_classes=C, batch_rows=40, seed=0)
    statistics = feature_estimates.feature_statistics(lambda: x, dealt)
    with jax.enable_x64(True):
        estimates, classifiers = moment_estimates.moment_estimates(
            {"spread": spread}, statistics, probes=False
        )
        labels = [*replicates(dealt, x), dealt.shuffled[7]]
        values = [defined(spread)(x, of_subset) for of_subset in labels]
    assert classifiers == []
    estimate = estimates["spread"]
    np.testing.assert_allclose(estimate.value, values[0], 1e-9)
    np.testing.assert_allclose(estimate.replicates, values[1:-1], 1e-9)
    np.testing.assert_allclose(estimate.shuffled[7], values[-1], 1e-9)
