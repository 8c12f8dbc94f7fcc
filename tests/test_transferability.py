"""Tests of transferability, its interval and the training of optimal features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import references
import scipy.stats
from flax import nnx

from jtransfer import hgr, models, scores
from jtransfer.moments import class_moments
from jtransfer.scores import h_score, transferability_interval
from jtransfer.transfer import SymbolTable, features_of, optimal_features

KEY = jax.random.key(0)


CENTERS = 1.5 * np.array([[0, 0], [1, 0], [0.5, 1]])


def task(seed, n):
    """Three classes in the plane, Gaussians of unit variance."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n).astype(np.int32)
    features = CENTERS[labels] + rng.normal(size=(n, 2))
    return features.astype(np.float32), labels


def test_interval_is_that_of_the_jackknife():
    """With a block an example it does not matter how they are dealt."""
    features, labels = task(0, 12)
    source = features[:, :1] + 1000
    with jax.enable_x64(True):
        interval = transferability_interval(
            source.astype(np.float64),
            features.astype(np.float64),
            labels,
            KEY,
            num_classes=3,
            num_blocks=12,
        )

    def ratio(kept):
        return references.h_score(source[kept], labels[kept]) / references.h_score(
            features[kept], labels[kept]
        )

    examples = np.arange(12)
    ratios = np.array([ratio(examples != i) for i in examples])
    error = np.sqrt(11 / 12 * np.sum((ratios - ratios.mean()) ** 2))
    np.testing.assert_allclose(interval.value, ratio(examples >= 0), 1e-9)
    np.testing.assert_allclose(interval.standard_error, error, 1e-6)
    width = scipy.stats.t.ppf(0.975, 11) * error
    np.testing.assert_allclose(interval.high - interval.value, width, 1e-6)
    np.testing.assert_allclose(interval.value - interval.low, width, 1e-6)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, 0))
def _intervals(features, labels, key):
    return transferability_interval(
        features[:, :1], features, labels, key, num_classes=3
    )


def test_the_interval_covers_and_its_error_is_that_of_the_sampling():
    features, labels = (
        np.stack(part) for part in zip(*(task(s, 600) for s in range(150)), strict=True)
    )
    interval = _intervals(features, labels, jax.random.split(KEY, 150))
    between = np.cov(CENTERS.T, bias=True)
    optimum = np.trace(np.linalg.solve(between + np.eye(2), between))
    truth = between[0, 0] / (between[0, 0] + 1) / optimum
    covered = np.mean((interval.low <= truth) & (truth <= interval.high))
    assert 0.88 <= covered <= 1
    spread, error = np.std(interval.value), np.mean(interval.standard_error)
    np.testing.assert_allclose(error, spread, rtol=0.25)


def test_transferability_is_a_ratio_and_hides_no_fault():
    sources = jnp.array([1.5, 1.5, 0, 1.5, jnp.nan])
    optima = jnp.array([2.0, 0, 0, jnp.nan, 2])
    ratios = scores.task_transferability(sources, optima)
    np.testing.assert_array_equal(ratios, [0.75, 0, 0, np.nan, np.nan])


def test_interval_is_not_clipped_and_edges():
    features, labels = task(0, 600)
    options = {"num_classes": 3}
    turned = features @ np.array([[2, 1], [0, 1]], np.float32)
    same = transferability_interval(features, turned, labels, KEY, **options)
    np.testing.assert_allclose(same.value, 1, 1e-4)
    np.testing.assert_allclose(same.standard_error, 0, atol=1e-4)
    first = features * np.array([1, 0], np.float32)
    above = transferability_interval(features, first, labels, KEY, **options)
    assert above.low > 1
    none = transferability_interval(features, 0 * features, labels, KEY, **options)
    np.testing.assert_array_equal(jnp.stack(none), 0)
    spoilt = np.where(np.arange(600)[:, None] < 5, np.nan, features)
    left_out = np.append([-1, 3, 9, -7, 3], labels[5:]).astype(np.int32)
    interval = transferability_interval(features, first, left_out, KEY, **options)
    other = transferability_interval(spoilt, first, left_out, KEY, **options)
    np.testing.assert_allclose(other.value, interval.value, 1e-6)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"num_blocks": 1}, ValueError, "num_blocks must be at least 2"),
        ({"labels": np.zeros(5, np.int32)}, ValueError, "equal length"),
        ({"labels": np.zeros(6)}, TypeError, "labels must hold integers"),
        ({"optimal_features": np.zeros((6, 1), int)}, TypeError, "must hold float32"),
    ],
)
def test_interval_rejects(change, error, words):
    features = np.zeros((6, 1), np.float32)
    call = {
        "source_features": features,
        "optimal_features": features,
        "labels": np.zeros(6, np.int32),
        "key": KEY,
        "num_classes": 2,
    }
    with pytest.raises(error, match=words):
        transferability_interval(**{**call, **change})


def test_optimal_features_of_a_discrete_input_are_the_modes():
    """With any functions of the symbols the optimum is that of the singular values."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(400, rng.dirichlet(np.ones(28))).reshape(4, 7)
    y, x = np.divmod(np.repeat(np.arange(28), counts.ravel()), 7)
    x, y = x.astype(np.int32), y.astype(np.int32)
    f, g = (
        SymbolTable(num_symbols=size, num_features=2, rngs=nnx.Rngs(size))
        for size in (7, 4)
    )
    options = {"num_steps": 400, "batch_size": 400, "learning_rate": 0.05, "seed": 0}
    trained = optimal_features(f, g, x, y, **options)
    joint = hgr.joint_distribution(x, y, num_x=7, num_y=4)
    bound = hgr.h_score_bound(joint, num_features=2)
    np.testing.assert_allclose(2 * trained.history[-1]["soft_hgr"], bound, rtol=1e-3)
    features = features_of(f, trained.f, x)
    value = h_score(class_moments(features, y, num_classes=4))
    np.testing.assert_allclose(value, bound, rtol=1e-3)
    best = hgr.modes(joint, num_modes=2).x_functions[x]
    own = transferability_interval(features, best, y, KEY, num_classes=4)
    np.testing.assert_allclose(own.value, 1, 1e-2)


def corners(seed, n):
    """Classes at opposite corners of a square; their posterior has a closed form."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(4, size=n)
    centers = 1.2 * np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]])
    x = centers[corner] + rng.normal(size=(n, 2))
    densities = np.exp(-((x[:, None] - centers[None]) ** 2).sum(axis=2) / 2)
    posterior = densities[:, :2].sum(axis=1) / densities.sum(axis=1)
    return x.astype(np.float32), (corner // 2).astype(np.int32), posterior


def test_optimal_features_of_a_mixture_of_gaussians():
    """H(f_opt) = E[sum_y P(y|x)^2 / P(y)] - 1; the inputs themselves say nothing."""
    x, y, _ = corners(0, 4000)
    f = models.FullyConnected(
        num_features=2, num_classes=1, base_width=32, rngs=nnx.Rngs(0)
    )
    g = SymbolTable(num_symbols=2, num_features=1, rngs=nnx.Rngs(1))
    trained = optimal_features(
        *(f, g, x, y),
        num_steps=200,
        batch_size=500,
        learning_rate=2e-2,
        held_out=corners(1, 2000)[:2],
        seed=0,
    )
    fresh, labels, posterior = corners(2, 20_000)
    optimum = np.mean(2 * posterior**2 + 2 * (1 - posterior) ** 2) - 1
    features = features_of(f, trained.f, fresh)
    value = h_score(class_moments(features, labels, num_classes=2))
    assert 0.95 * optimum < value < 1.03 * optimum
    plain = h_score(class_moments(fresh, labels, num_classes=2))
    assert plain < 0.01
    assert scores.task_transferability(plain, value) < 0.02
    validations = [row for row in trained.history if "validation" in row]
    assert [row["step"] for row in validations] == [100, 200]
    assert validations[-1]["validation"]["soft_hgr"] > 0.9 * optimum / 2


def test_soft_hgr_memorises_where_inputs_are_more_than_examples():
    """288 examples of 744 inputs: 2.0 of 2 on its own, far less on others.

    What it holds for the best on other examples is what early stopping gives.
    """
    rng = np.random.default_rng(0)
    labels = (np.arange(576) % 3).astype(np.int32)
    x = rng.normal(size=(576, 744)).astype(np.float32)
    x[:, :3] += 2.0 * np.eye(3)[labels]
    own, others = slice(0, 288), slice(288, 576)

    def networks_of(seed):
        f = models.FullyConnected(
            num_features=744, num_classes=2, base_width=16, rngs=nnx.Rngs(seed)
        )
        return f, SymbolTable(num_symbols=3, num_features=2, rngs=nnx.Rngs(seed + 1))

    def h_of(f, variables, part):
        features = features_of(f, variables, x[part])
        return float(h_score(class_moments(features, labels[part], num_classes=3)))

    options = {"num_steps": 120, "batch_size": 288, "learning_rate": 0.01, "seed": 0}
    f, g = networks_of(0)
    last = optimal_features(f, g, x[own], labels[own], **options)
    assert h_of(f, last.f, own) > 1.95
    assert h_of(f, last.f, others) < 1.5
    stopped = optimal_features(
        *(f, g, x[own], labels[own]),
        held_out=(x[others], labels[others]),
        validate_every=5,
        **options,
    )
    found = [
        row["validation"]["soft_hgr"] for row in stopped.history if "validation" in row
    ]
    assert max(found) > found[-1]
    ours = (
        features_of(*each)
        for each in ((f, stopped.f, x[others]), (g, stopped.g, labels[others]))
    )
    np.testing.assert_allclose(hgr.soft_hgr(*ours), max(found), rtol=1e-4)


def test_optimal_features_of_continuous_labels():
    """Of two Gaussians of correlation r the best feature has an H-score of r^2."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 1))
    y = 0.8 * x + 0.6 * rng.normal(size=(5000, 1))
    f, g = (
        models.FullyConnected(
            num_features=1, num_classes=1, base_width=8, rngs=nnx.Rngs(seed)
        )
        for seed in (0, 1)
    )
    examples = x.astype(np.float32), y.astype(np.float32)
    options = {"num_steps": 150, "batch_size": 1000, "learning_rate": 0.02, "seed": 0}
    trained = optimal_features(f, g, *examples, **options)
    networks, variables = (f, g), (trained.f, trained.g)
    ours = map(features_of, networks, variables, examples)
    np.testing.assert_allclose(2 * hgr.soft_hgr(*ours), 0.64, atol=0.03)


def test_networks_must_agree_in_their_features():
    f, g = (
        SymbolTable(num_symbols=3, num_features=size, rngs=nnx.Rngs(0))
        for size in (1, 2)
    )
    symbols = np.arange(3)
    with pytest.raises(ValueError, match="equal shapes"):
        optimal_features(f, g, symbols, symbols, num_steps=1, batch_size=3, seed=0)
