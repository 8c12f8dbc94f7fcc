"""Tests of jtransfer.scores, each score against its definition in tests/references."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import references
from hypothesis import given
from hypothesis import strategies as st
from tasks import EDGES, NUM_CLASSES, SHAPES, edge_task, gaussian_task

from jtransfer import scores
from jtransfer.moments import class_moments, merge

seeds = st.integers(0, 2**16)
moments_of = functools.partial(class_moments, num_classes=NUM_CLASSES)
OF_MOMENTS = {
    scores.h_score: references.h_score,
    scores.regularized_h_score: references.regularized_h_score,
    scores.logme: lambda x, y: references.logme(x, y, NUM_CLASSES),
    scores.bhattacharyya: references.bhattacharyya,
}
ILL_CONDITIONED = ("well separated", "offset by 1000 deviations")
of_moments = pytest.mark.parametrize(
    "score", OF_MOMENTS, ids=lambda score: score.__name__
)


@of_moments
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("edge", EDGES)
def test_agrees_with_definition(score, edge, shape):
    features, labels = edge_task(edge, shape)
    if edge == "all columns constant" and score is not scores.logme:
        assert float(score(moments_of(features, labels))) == pytest.approx(
            -np.log(NUM_CLASSES * (NUM_CLASSES - 1))
            if score is scores.bhattacharyya
            else 0
        )
        return
    expected = OF_MOMENTS[score](features.astype(np.float64), labels)
    # LogME counts every eigenvalue, and float32 does not resolve those that are 1e-6
    # of the largest: there only the rough value is right.
    hard = score is scores.logme and shape == "n < d" and edge in ILL_CONDITIONED
    value = score(moments_of(features, labels))
    np.testing.assert_allclose(value, expected, rtol=2e-3, atol=0.1 if hard else 1e-3)
    with jax.enable_x64(True):
        exact = score(moments_of(features.astype(np.float64), labels))
    np.testing.assert_allclose(exact, expected, 1e-6)


@given(seeds)
def test_h_score_takes_no_rounding_within_classes_for_real(seed):
    """One-hot features leave nothing within the classes but what merging rounds."""
    labels = np.arange(60) % 3
    moments = class_moments(np.eye(3, dtype=np.float32)[labels], labels, num_classes=3)
    noise = np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32) * 1e-7
    moments = moments._replace(within=noise.T @ noise)
    np.testing.assert_allclose(scores.h_score(moments), 2, 1e-5)


@pytest.mark.parametrize("gap", [50, 200, 1000, 10_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_h_score_keeps_what_lies_beside_far_classes(shape, gap):
    features, labels = gaussian_task(3, *SHAPES[shape])
    features += np.float32(gap) * labels[:, None].astype(np.float32)
    expected = references.h_score(features.astype(np.float64), labels)
    halves = features[::2], labels[::2], features[1::2], labels[1::2]
    for moments in (
        moments_of(features, labels),
        merge(moments_of(*halves[:2]), moments_of(*halves[2:])),
    ):
        value = scores.h_score(moments)
        np.testing.assert_allclose(value, expected, rtol=2e-3)


@pytest.mark.parametrize("gap", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_near_copies_of_features_set_no_classes_apart(gap):
    """Along their difference rounding hides what varies within the classes."""
    features, labels = gaussian_task(3, 60, 8)
    copies = np.random.default_rng(0).normal(size=(60, 4))
    features[:, 4:] = features[:, :4] + gap * copies
    value = scores.h_score(moments_of(features, labels))
    alone = references.h_score(features[:, :4], labels)
    together = references.h_score(features, labels)
    assert alone - 2e-3 < value < together + 2e-3


@of_moments
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("edge", EDGES)
def test_gradients_are_finite(score, edge, shape):
    features, labels = edge_task(edge, shape)
    gradient = _gradient(score)(jnp.asarray(features), labels)
    chex.assert_tree_all_finite(gradient)


@of_moments
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_agree_with_differences(score, shape):
    features, labels = gaussian_task(5, *SHAPES[shape])
    with jax.enable_x64(True):
        x = jnp.asarray(features, jnp.float64)
        direction = jax.random.normal(jax.random.key(0), x.shape, jnp.float64)
        if score is scores.h_score and shape == "n < d":
            expected = 0.0  # Saturated: the rank of the features decides, not they.
        else:
            step = 1e-5
            up, down = (
                score(moments_of(x + s * direction, labels)) for s in (step, -step)
            )
            expected = (up - down) / (2 * step)
        slope = jnp.sum(_gradient(score)(x, labels) * direction)
        np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-7)


@functools.cache
def _gradient(score):
    return jax.jit(jax.grad(lambda x, y: score(moments_of(x, y))))


@given(seeds)
def test_h_scores_are_bounded_and_invariant(seed):
    features, labels = gaussian_task(seed, 60, 8)
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(rng.normal(size=(8, 8)))[0] * rng.uniform(0.5, 2, size=8)
    mixed = (features @ mixing + rng.normal(size=8)).astype(np.float32)
    plain, regular = scores.h_score, scores.regularized_h_score
    assert 0 <= float(regular(moments_of(features, labels))) <= NUM_CLASSES - 1
    assert 0 <= float(plain(moments_of(features, labels))) <= NUM_CLASSES - 1 + 1e-5
    np.testing.assert_allclose(
        plain(moments_of(mixed, labels)), plain(moments_of(features, labels)), 1e-3
    )
    np.testing.assert_allclose(
        regular(moments_of(3 - 2 * features, labels)),
        regular(moments_of(features, labels)),
        1e-4,
    )


@given(seeds)
def test_scores_do_not_depend_on_order_or_names_of_classes(seed):
    features, labels = gaussian_task(seed, 60, 8)
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(60), rng.permutation(NUM_CLASSES)
    moments = moments_of(features, labels)
    renamed = moments_of(features[order], names[labels[order]])
    for score in OF_MOMENTS:
        np.testing.assert_allclose(score(renamed), score(moments), 1e-4)


@given(seeds)
def test_useful_features_beat_noise_when_n_is_less_than_d(seed):
    """Where the H-score says nothing, and LogME without its log-determinant errs."""
    noise, labels = gaussian_task(seed, 30, 48, separation=0)
    useful = noise.copy()
    useful[:, :NUM_CLASSES] += 4 * np.eye(NUM_CLASSES, dtype=np.float32)[labels]
    of_useful, of_noise = moments_of(useful, labels), moments_of(noise, labels)
    assert scores.logme(of_useful) > scores.logme(of_noise)
    assert scores.regularized_h_score(of_useful) > scores.regularized_h_score(of_noise)
    saturated = len(np.unique(labels)) - 1
    np.testing.assert_allclose(scores.h_score(of_useful), saturated, 1e-4)
    np.testing.assert_allclose(scores.h_score(of_noise), saturated, 1e-4)


@of_moments
@pytest.mark.parametrize("exponent", [-14, -12, 12, 14])
def test_float32_scales(score, exponent):
    """No score depends on one factor for all features, nor does its gradient break."""
    features, labels = gaussian_task(5, 60, 8)
    expected = score(moments_of(features, labels))
    scaled = jnp.asarray(features * np.float32(10.0**exponent))
    np.testing.assert_allclose(score(moments_of(scaled, labels)), expected, 1e-3)
    chex.assert_tree_all_finite(_gradient(score)(scaled, labels))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32", "int64"])
def test_labels_of_any_integer_type(dtype):
    features, labels = gaussian_task(0, 60, 8)
    few, many = labels.astype(dtype), 300
    expected = scores.logme(class_moments(features, labels, num_classes=many))
    value = scores.logme(class_moments(features, few, num_classes=many))
    np.testing.assert_allclose(value, expected, 1e-6)
    probs, source_labels, labels = predictions(0)
    arguments = {"num_source_classes": 100, "num_classes": 100}
    value = scores.nce(source_labels.astype(dtype), labels.astype(dtype), **arguments)
    np.testing.assert_allclose(value, references.nce(source_labels, labels), 1e-5)
    value = scores.leep(probs, labels.astype(dtype), num_classes=many)
    np.testing.assert_allclose(value, references.leep(probs, labels), 1e-5)


SCALES = {
    "as they are": ([1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]),
    "one wider by 1e3": ([1e3, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]),
    "one wider by 1e7": ([1, 1e7, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]),
    "one wider by 1e12": ([1e12, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]),
    "three wider": ([1e3, 1, 1e6, 1, 1e9, 1], [0, 0, 0, 0, 0, 0]),
    "one narrower": ([1, 1, 1e-9, 1, 1, 1], [0, 0, 0, 0, 0, 0]),
    "one narrower and one constant": ([1, 1e-7, 1, 0, 1, 1], [0, 0, 0, 0.1, 0, 0]),
    "one offset by 1e5": ([1, 1, 1, 1, 1, 1], [0, 1e5, 0, 0, 0, 0]),
    "one offset by 1e12": ([1, 1, 1, 1, 1, 1], [1e12, 0, 0, 0, 0, 0]),
    "wide and offset": ([1e4, 1, 1, 1, 1, 1e8], [1e6, 0, 0, 0, 0, 1e10]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scales", SCALES)
def test_logme_keeps_features_beside_wide_ones(scales, dtype):
    factors, offsets = SCALES[scales]
    features, labels = gaussian_task(5, 60, 6)
    features = features * np.array(factors) + np.array(offsets)
    with jax.enable_x64(dtype is np.float64):
        features = features.astype(dtype)
        value = scores.logme(moments_of(features, labels))
        gradient = _gradient(scores.logme)(jnp.asarray(features), labels)
    expected = references.logme_of_graded_features(features, labels, NUM_CLASSES)
    np.testing.assert_allclose(
        value, expected, rtol=2e-5 if dtype is np.float32 else 1e-7
    )
    chex.assert_tree_all_finite(gradient)


def test_logme_of_a_wide_feature_has_the_gradient_of_differences():
    features, labels = gaussian_task(6, 40, 5)
    factors = np.array([1, 1e6, 1, 1, 1e-5])
    with jax.enable_x64(True):
        features = jnp.asarray(features * factors)
        direction = np.random.default_rng(0).normal(size=features.shape) * factors
        slope = jnp.sum(_gradient(scores.logme)(features, labels) * direction)
        above, below = (
            scores.logme(moments_of(features + step * direction, labels))
            for step in (1e-5, -1e-5)
        )
        np.testing.assert_allclose(slope, (above - below) / 2e-5, rtol=1e-5)


def test_logme_of_targets_that_are_zero_is_finite():
    features, _ = gaussian_task(0, 60, 8)
    assert np.isfinite(scores.logme_regression(features, np.zeros((60, 1), np.float32)))


def test_logme_of_a_perfect_fit_is_finite_and_large():
    labels = np.arange(60) % NUM_CLASSES
    features = np.eye(NUM_CLASSES, dtype=np.float32)[labels]
    score = scores.logme(moments_of(features, labels))
    noisy = features + 0.1 * gaussian_task(0, 60, NUM_CLASSES)[0]
    assert np.isfinite(score)
    assert score > 2 + scores.logme(moments_of(noisy, labels))


@pytest.mark.parametrize("shape", SHAPES)
def test_logme_regression_agrees_with_definition(shape):
    features, _ = gaussian_task(0, *SHAPES[shape])
    rng = np.random.default_rng(0)
    targets = features[:, :3] + rng.normal(size=(len(features), 3)) + [0, 5, -300]
    expected = references.logme_regression(features.astype(np.float64), targets)
    value = scores.logme_regression(features, targets.astype(np.float32))
    np.testing.assert_allclose(value, expected, 2e-3)
    with jax.enable_x64(True):
        exact = scores.logme_regression(features.astype(np.float64), targets)
    np.testing.assert_allclose(exact, expected, 1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 3e5])
def test_logme_regression_leaves_out_columns_that_do_not_vary(value):
    rng = np.random.default_rng(3)
    features = rng.normal(size=(60, 4)).astype(np.float32) + 2
    targets = rng.normal(size=(60, 2)).astype(np.float32)
    still = np.full((60, 1), value, np.float32)
    expected = float(scores.logme_regression(features, targets))
    both = np.concatenate([targets[:, :1], still, targets[:, 1:]], axis=1)
    value = float(scores.logme_regression(features, both))
    assert value == pytest.approx(expected, rel=1e-6)
    assert scores.logme_regression(features, still) == 0
    gradient = jax.grad(scores.logme_regression)(jnp.asarray(features), both)
    expected = jax.grad(scores.logme_regression)(jnp.asarray(features), targets)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)


def test_logme_regression_follows_the_unit_of_its_targets():
    features, _ = gaussian_task(0, 60, 8)
    targets = features[:, :2] + 0.3
    a, b = (scores.logme_regression(features, c * targets) for c in (1, 10))
    np.testing.assert_allclose(a - b, np.log(10), atol=1e-3)


@given(seeds)
def test_leep_and_nce_agree_with_their_definitions(seed):
    probs, source_labels, labels = predictions(seed)
    value = scores.leep(probs, labels, num_classes=NUM_CLASSES)
    np.testing.assert_allclose(value, references.leep(probs, labels), 1e-5)
    value = scores.nce(
        source_labels, labels, num_source_classes=7, num_classes=NUM_CLASSES
    )
    np.testing.assert_allclose(value, references.nce(source_labels, labels), 1e-5)


@given(seeds)
def test_leave_one_out_leep_agrees_with_its_definition(seed):
    probs, _, labels = predictions(seed)
    labels[0] = NUM_CLASSES + 1  # Of this class there is no other example.
    for alpha in (1.0, 0.2):
        value = scores.leave_one_out_leep(
            probs, labels, num_classes=NUM_CLASSES + 2, concentration=alpha
        )
        expected = references.leave_one_out_leep(probs, labels, alpha)
        np.testing.assert_allclose(value, expected, 2e-5)
        assert value <= 1e-6
    gradient = jax.grad(scores.leave_one_out_leep)(
        jnp.asarray(probs), labels, num_classes=NUM_CLASSES + 2
    )
    assert np.isfinite(gradient).all()


def test_leave_one_out_leep_is_at_chance_on_noise_whatever_the_classes():
    """-1.65, -1.67, -1.61 for 5, 100, 1000 source classes; LEEP -1.58, -1.26, -.84."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 5
    flattered = []
    for num_source in (5, 100, 1000):
        logits = 3 * rng.normal(size=(200, num_source))
        probs = np.asarray(jax.nn.softmax(logits.astype(np.float32)))
        value = scores.leave_one_out_leep(probs, labels, num_classes=5)
        assert abs(float(value) + np.log(5)) < 0.1
        flattered.append(float(scores.leep(probs, labels, num_classes=5)))
    assert flattered[2] > flattered[1] > flattered[0]
    assert flattered[2] > -np.log(5) + 0.5
    # What tells the classes is told from noise by both.
    useful = np.eye(1000, dtype=np.float32)[labels]
    assert scores.leave_one_out_leep(useful, labels, num_classes=5) > -0.1


def test_leave_one_out_leep_at_its_edges():
    leep = functools.partial(scores.leave_one_out_leep, num_classes=3)
    probs = np.full((4, 2), 0.5, np.float32)
    assert leep(probs, np.full(4, 2)) == 0  # one class
    assert leep(probs, np.full(4, 7)) == 0  # no example
    assert leep(probs[:1], np.array([1])) == 0
    outside = np.array([0, 1, 1, 9])
    np.testing.assert_allclose(
        leep(probs, outside),
        references.leave_one_out_leep(probs[:3], outside[:3]),
        1e-5,
    )


def predictions(seed, n=60):
    """Probabilities of 7 source classes, two of them without mass, and the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(NUM_CLASSES, size=n)
    logits = 2 * rng.normal(size=(NUM_CLASSES, 7))[labels] + rng.normal(size=(n, 7))
    logits[:, [2, 6]] = -1e4
    probs = np.asarray(jax.nn.softmax(logits.astype(np.float32)))
    return probs, probs.argmax(axis=1), labels


def test_leep_and_nce_at_their_ends():
    labels = np.arange(60) % NUM_CLASSES
    decisive = np.eye(NUM_CLASSES, dtype=np.float32)[(labels + 1) % NUM_CLASSES]
    silent = np.full((60, 7), 1 / 7, np.float32)
    leep = functools.partial(scores.leep, num_classes=NUM_CLASSES)
    assert leep(decisive, labels) == 0
    np.testing.assert_allclose(leep(silent, labels), -np.log(NUM_CLASSES), 1e-5)
    nce = functools.partial(
        scores.nce, num_source_classes=NUM_CLASSES, num_classes=NUM_CLASSES
    )
    assert nce(decisive.argmax(axis=1), labels) == 0
    np.testing.assert_allclose(
        nce(np.zeros(60, int), labels), -np.log(NUM_CLASSES), 1e-6
    )


@given(seeds)
def test_leep_is_at_least_nce_of_hard_labels(seed):
    """Of one-hot probabilities the two are the same number."""
    _, source_labels, labels = predictions(seed)
    hard = np.eye(7, dtype=np.float32)[source_labels]
    leep = scores.leep(hard, labels, num_classes=NUM_CLASSES)
    nce = scores.nce(
        source_labels, labels, num_source_classes=7, num_classes=NUM_CLASSES
    )
    np.testing.assert_allclose(leep, nce, rtol=1e-5, atol=1e-6)


def test_leep_gradients_are_finite_without_mass():
    probs, _, labels = predictions(0)
    gradient = jax.grad(scores.leep)(jnp.asarray(probs), labels, num_classes=5)
    chex.assert_tree_all_finite(gradient)


@jax.jit
def of_logits(logits, labels):
    """LEEP and the conditional entropy of a softmax of logits."""
    probs = jax.nn.softmax(logits)
    table = scores.probability_table(probs, labels, num_classes=3)
    leep = scores.leep(probs, labels, num_classes=3)
    return jnp.stack([leep, scores.negative_conditional_entropy(table)])


slopes_of_logits = jax.jit(jax.jacrev(of_logits))


@pytest.mark.parametrize("gap", [5, 30, 50, 80, 87, 95, 103, 200])
@pytest.mark.parametrize("sure", ["of the class", "of one class for all"])
def test_gradients_where_a_softmax_underflows(sure, gap):
    labels = np.arange(12) % 3
    logits = np.zeros((12, 4), np.float32)
    logits[np.arange(12), labels if sure == "of the class" else 0] = gap
    logits[:, 3] -= gap

    gradients = slopes_of_logits(logits, labels)
    chex.assert_tree_all_finite(gradients)
    with jax.enable_x64(True):
        exact = of_logits(logits.astype(np.float64), labels)
        exact_gradients = slopes_of_logits(logits.astype(np.float64), labels)
    np.testing.assert_allclose(of_logits(logits, labels), exact, 1e-5, 1e-6)
    np.testing.assert_allclose(gradients, exact_gradients, 1e-3, 1e-5)


def test_examples_out_of_range_count_for_nothing():
    probs, source_labels, labels = predictions(0)
    outside = labels.copy()
    outside[50:] = -1
    leep = functools.partial(scores.leep, num_classes=NUM_CLASSES)
    np.testing.assert_allclose(
        leep(probs, outside), references.leep(probs[:50], labels[:50]), 1e-5
    )
    nce = scores.nce(
        source_labels, outside, num_source_classes=7, num_classes=NUM_CLASSES
    )
    np.testing.assert_allclose(
        nce, references.nce(source_labels[:50], labels[:50]), 1e-5
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("edge", sorted(set(EDGES) - {"all columns constant"}))
def test_ridge_classifier_solves_the_normal_equations(edge, shape):
    """For the penalty it chose, which must be the best of its grid by brute force."""
    features, labels = edge_task(edge, shape)
    features = features.astype(np.float64)
    onehot = np.eye(NUM_CLASSES)[labels]
    with jax.enable_x64(True):
        fitted = scores.ridge_classifier(moments_of(features, labels))
    outputs = features @ np.asarray(fitted.weights)
    outputs = outputs + np.where(np.isinf(fitted.bias), 0, fitted.bias)

    n, centred = len(labels), features - features.mean(axis=0)
    spread = centred.std(axis=0)
    scaled = (centred / np.where(spread > 1e-12 * np.abs(features).max(), spread, 1))[
        :, spread > 1e-12 * np.abs(features).max()
    ]
    # The library sums over examples: its penalty is in units of n.
    unit = np.trace(scaled.T @ scaled / n) / scaled.shape[1]
    errors, fits = [], []
    for penalty in n * unit * np.logspace(-5, 4, 37):
        hat = scaled @ np.linalg.solve(
            scaled.T @ scaled + penalty * np.eye(scaled.shape[1]), scaled.T
        )
        fit = hat @ (onehot - onehot.mean(axis=0)) + onehot.mean(axis=0)
        freedom = 1 - (1 + np.trace(hat)) / n
        errors.append(np.sum((onehot - fit) ** 2) / n / freedom**2)
        fits.append(fit)
    best = int(np.argmin(errors))
    occurs = onehot.sum(axis=0) > 0
    near = min(
        np.abs((outputs - fit)[:, occurs]).max()
        for fit in fits[max(best - 1, 0) : best + 2]
    )
    assert near < 1e-4


def test_ridge_probe_accuracy():
    features, labels = gaussian_task(0, 120, 8, separation=3)
    accuracy = functools.partial(scores.ridge_probe_accuracy, num_classes=NUM_CLASSES)
    parts = features[:60], labels[:60], features[60:], labels[60:]
    value = accuracy(*parts)
    assert 0.9 < value <= 1
    scaled = [np.float32(1e4) * x + 7 if x.ndim == 2 else x for x in parts]
    np.testing.assert_allclose(accuracy(*scaled), value, atol=0.02)
    assert accuracy(*parts[:3], np.full(60, -1)) == 0


def test_softmax_classifier_is_at_its_minimum():
    features, labels = gaussian_task(0, 60, 8)
    labels = np.where(labels == 4, 0, labels)
    with jax.enable_x64(True):
        x = jnp.asarray(features, jnp.float64)
        head = scores.softmax_classifier(
            x, labels, num_classes=NUM_CLASSES, weight_decay=1e-2
        )
    assert np.isneginf(head.bias[4])
    weights, bias = np.asarray(head.weights)[:, :4], np.asarray(head.bias)[:4]
    logits = features.astype(np.float64) @ weights + bias
    probs = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    errors = (probs - np.eye(4)[labels]) / 60
    assert np.abs(errors.sum(axis=0)).max() < 1e-8
    gradient = features.T.astype(np.float64) @ errors + 1e-2 * weights
    assert np.abs(gradient).max() < 1e-8


@given(seeds)
def test_dense_h_score_is_the_h_score_of_each_pixel(seed):
    features, _ = gaussian_task(seed, 40, 6)
    maps = np.random.default_rng(seed).integers(-1, 3, size=(40, 2, 3))
    dense = scores.dense_h_score(features, maps, num_levels=3)
    assert dense.shape == (2, 3)
    for row, column in np.ndindex(2, 3):
        labels = maps[:, row, column]
        between = np.zeros((6, 6))
        centred = features.astype(np.float64) - features.mean(axis=0)
        for level in range(3):
            chosen = centred[labels == level]
            if len(chosen):
                mean = chosen.mean(axis=0)
                between += len(chosen) * np.outer(mean, mean)
        expected = np.trace(np.linalg.solve(centred.T @ centred, between))
        np.testing.assert_allclose(dense[row, column], expected, 1e-3)


def test_task_transferability():
    values = scores.task_transferability(jnp.array([1.0, 3.0]), jnp.array([2.0, 0.0]))
    np.testing.assert_array_equal(values, [0.5, 0.0])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: scores.leep(np.ones(4), np.zeros(4, int), num_classes=2), ValueError),
        (lambda: scores.leep(np.ones((4, 2)), np.zeros(4), num_classes=2), TypeError),
        (
            lambda: scores.nce(
                np.zeros(3, int), np.zeros(4, int), num_source_classes=2, num_classes=2
            ),
            ValueError,
        ),
        (lambda: scores.logme_regression(np.ones((4, 2)), np.ones(4)), ValueError),
        (
            lambda: scores.dense_h_score(
                np.ones((4, 2)), np.zeros((4, 2), int), num_levels=2
            ),
            ValueError,
        ),
    ],
    ids=["leep rank", "leep labels", "nce length", "targets rank", "maps rank"],
)
def test_rejects(call, error):
    with pytest.raises(error):
        call()


def test_scores_are_the_same_inside_jit_and_vmap():
    tasks = [gaussian_task(seed, 60, 8)[0] for seed in range(2)]
    labels = np.arange(60, dtype=np.int32) % NUM_CLASSES
    maps = np.arange(60 * 4, dtype=np.int32).reshape(60, 2, 2) % 3

    def all_scores(features):
        moments = moments_of(features, labels)
        both = merge(moments, moments_of(2 * features, labels))
        probs = jax.nn.softmax(features)
        return (
            both.within,
            [score(moments) for score in OF_MOMENTS],
            scores.leep(probs, labels, num_classes=NUM_CLASSES),
            scores.dense_h_score(features, maps, num_levels=3),
            scores.ridge_probe_accuracy(
                *(features[:40], labels[:40], features[40:], labels[40:]),
                num_classes=NUM_CLASSES,
            ),
            scores.task_transferability(features[0], features[1]),
        )

    mapped = jax.jit(jax.vmap(all_scores))(jnp.stack(tasks))
    plain = all_scores(jnp.asarray(tasks[1]))
    last = jax.tree.map(lambda leaf: leaf[1], mapped)
    chex.assert_trees_all_close(last, plain, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("seed", range(6))
def test_logme_of_features_that_are_mostly_dead(seed):
    """Wide features that nearly combine each other, narrow ones, constant ones."""
    rng = np.random.default_rng(seed)
    n, labels = 300, np.arange(300) % 5
    hidden = np.maximum(rng.normal(size=(n, 2)) + 1, 0) * [1, 0.05]
    wide = hidden @ rng.uniform(0.2, 2, size=(2, 8))
    wide += 1e-3 * rng.normal(size=wide.shape) ** 2
    narrow = np.zeros((n, 4))
    for column, size in zip(narrow.T, (1e-5, 3e-5, 3e-4, 1e-3), strict=True):
        rows = rng.choice(n, rng.integers(2, 20), replace=False)
        column[rows] = size * rng.uniform(size=len(rows))
    features = np.hstack([wide, narrow, np.zeros((n, 20))]).astype(np.float32)
    value = scores.logme(class_moments(features, labels, num_classes=5))
    with jax.enable_x64(True):
        exact = scores.logme(
            class_moments(features.astype(np.float64), labels, num_classes=5)
        )
    np.testing.assert_allclose(value, exact, atol=5e-3)
