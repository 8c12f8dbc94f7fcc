"""Tests of jtransfer.hgr and of the theory of the H-score that it carries."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import references
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import logsumexp

from jtransfer import hgr
from jtransfer.moments import class_moments
from jtransfer.scores import h_score

NUM_X, NUM_Y = 7, 4
seeds = st.integers(0, 2**16)
as_numpy = functools.partial(jax.tree.map, np.asarray)


def table(seed, concentration=0.5, shape=(NUM_Y, NUM_X)):
    """A random joint distribution, rather dependent."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(np.prod(shape), concentration)).reshape(shape)


def near_independence(epsilon, shape=(NUM_Y, NUM_X), seed=0):
    """A joint distribution at a distance of the order of epsilon from independence."""
    rng = np.random.default_rng(seed)
    p_y, p_x = rng.dirichlet(np.full(shape[0], 5)), rng.dirichlet(np.full(shape[1], 5))
    tilt = rng.normal(size=shape)
    tilt -= p_y @ tilt
    tilt -= (tilt @ p_x)[:, None]
    return np.outer(p_y, p_x) * (1 + epsilon * tilt)


def expanded(counts):
    """The symbols and labels of a table of integer counts, int32."""
    y, x = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), counts.shape[1])
    return x.astype(np.int32), y.astype(np.int32)


def count_table(seed, n=200):
    counts = np.random.default_rng(seed).multinomial(n, table(seed, 1).ravel())
    return counts.reshape(NUM_Y, NUM_X)


@jax.jit
def _h_score(features, labels):
    return h_score(class_moments(features, labels, num_classes=NUM_Y))


def exact_h_score(features, labels):
    """The library's H-score in float64, filled up to one shape with what is no part."""
    rows, columns = 210 - len(labels), NUM_X - features.shape[1]
    features = np.pad(np.asarray(features, np.float64), [(0, rows), (0, columns)])
    labels = np.pad(labels, (0, rows), constant_values=-1)
    with jax.enable_x64(True):
        return float(_h_score(features, labels))


def population_h_score(features, joint):
    """H-score of features [X, k] under a joint distribution, by its definition."""
    p_y, p_x = joint.sum(axis=1), joint.sum(axis=0)
    centred = features - p_x @ features
    means = joint @ centred / p_y[:, None]
    covariance = centred.T @ (p_x[:, None] * centred)
    return np.trace(np.linalg.pinv(covariance) @ means.T @ (p_y[:, None] * means))


def assert_orthonormal(functions, probs, atol):
    np.testing.assert_allclose(probs @ functions, 0, atol=atol)
    gram = functions.T @ (probs[:, None] * functions)
    np.testing.assert_allclose(gram, np.eye(gram.shape[0]), atol=atol)


@given(seeds)
def test_matrix_and_information_agree_with_their_definitions(seed):
    joint = table(seed)
    for empty in ((), (1,)):
        joint[:, empty], joint[empty, :] = 0, 0
        joint /= joint.sum()
        single = joint.astype(np.float32)
        expected = references.divergence_transition_matrix(joint)
        matrix = hgr.divergence_transition_matrix(single)
        np.testing.assert_allclose(matrix, expected, atol=2e-6)
        info = references.mutual_information(joint)
        np.testing.assert_allclose(hgr.mutual_information(single), info, 1e-4, 1e-6)
        with jax.enable_x64(True):
            matrix = hgr.divergence_transition_matrix(joint)
            np.testing.assert_allclose(matrix, expected, atol=1e-14)
            np.testing.assert_allclose(hgr.mutual_information(joint), info, 1e-12)


@given(seeds)
def test_modes_expand_the_matrix(seed):
    joint, k = table(seed), NUM_Y - 1
    matrix = references.divergence_transition_matrix(joint)
    with jax.enable_x64(True):
        strongest = as_numpy(hgr.modes(joint, num_modes=k))
    p_y, p_x = joint.sum(axis=1), joint.sum(axis=0)
    expected = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(strongest.correlations, expected[:k], atol=1e-12)
    np.testing.assert_allclose(expected[k], 0, atol=1e-12)
    assert_orthonormal(strongest.x_functions, p_x, 1e-10)
    assert_orthonormal(strongest.y_functions, p_y, 1e-10)
    terms = strongest.y_functions * strongest.correlations @ strongest.x_functions.T
    np.testing.assert_allclose(np.outer(p_y, p_x) ** 0.5 * terms, matrix, atol=1e-10)
    single = hgr.modes(joint.astype(np.float32), num_modes=k)
    np.testing.assert_allclose(single.correlations, strongest.correlations, atol=2e-6)


SIZES = {"num_x": NUM_X, "num_y": NUM_Y}
ACE = functools.partial(hgr.ace, **SIZES, num_modes=2, num_steps=2000)


# A table of 28 cells is kept where there are 200 examples, not where there are 20.
SAMPLES = pytest.mark.parametrize("n", [200, 20], ids=["table", "samples"])


@SAMPLES
@given(seed=seeds)
def test_ace_finds_the_modes(n, seed):
    x, y = expanded(count_table(seed, n))
    with jax.enable_x64(True):
        joint = hgr.joint_distribution(x, y, **SIZES)
        expected = as_numpy(hgr.modes(joint, num_modes=2))
    single = as_numpy(ACE(x, y, jax.random.key(seed)))
    np.testing.assert_allclose(single.correlations, expected.correlations, atol=1e-5)
    p_y, p_x = (np.asarray(joint).sum(axis=axis) for axis in (1, 0))
    present = expected.correlations > 1e-3
    assert_orthonormal(single.x_functions[:, present], p_x, 1e-4)
    assert_orthonormal(single.y_functions[:, present], p_y, 1e-4)
    if n == 200:
        with jax.enable_x64(True):
            strongest = ACE(x, y, jax.random.key(seed))
        chex.assert_trees_all_close(strongest, expected, atol=1e-6)


def test_ace_approaches_the_modes_of_large_alphabets_from_below():
    rng = np.random.default_rng(0)
    x = rng.integers(40, size=900).astype(np.int32)
    y = np.where(rng.random(900) < 0.4, x % 25, rng.integers(25, size=900))
    counts = np.zeros((25, 40))
    np.add.at(counts, (y, x), 1)
    matrix = references.divergence_transition_matrix(counts / 900)
    best = np.linalg.svd(matrix, compute_uv=False)[:2]
    key, options = jax.random.key(1), {"num_x": 40, "num_y": 25, "num_modes": 2}
    late = hgr.ace(x, y.astype(np.int32), key, **options, num_steps=2000)
    np.testing.assert_allclose(late.correlations, best, atol=1e-4)
    early = hgr.ace(x, y.astype(np.int32), key, **options, num_steps=1)
    assert 0 < early.correlations.sum() < best.sum() - 0.01


OUT_OF_RANGE = np.array([[-1, NUM_X, 0, 1], [0, 1, -1, NUM_Y]], np.int32)


@SAMPLES
def test_examples_out_of_range_count_for_nothing(n):
    counts = count_table(0, n - 4)
    x, y = np.append(expanded(counts), OUT_OF_RANGE, axis=1)
    joint = hgr.joint_distribution(x, y, **SIZES)
    np.testing.assert_allclose(joint, counts / counts.sum(), 1e-6)
    expected = hgr.modes(joint, num_modes=2)
    assert expected.correlations.min() > 0.1
    chex.assert_trees_all_close(ACE(x, y, jax.random.key(0)), expected, atol=1e-3)


def test_symbols_of_eight_bits_stay_what_they_are():
    x, y = np.array([100, 100, 3, -3], np.int8), np.array([0, 1, 1, 1], np.uint8)
    joint = hgr.joint_distribution(x, y, num_x=200, num_y=300)
    assert joint[0, 100] == joint[1, 100] == joint[1, 3] == np.float32(1 / 3)


@given(seeds)
def test_soft_hgr_agrees_with_its_definition(seed):
    rng = np.random.default_rng(seed)
    f, g = rng.normal(size=(2, 30, 3)).astype(np.float32) + 5
    expected = references.soft_hgr(f, g)
    np.testing.assert_allclose(hgr.soft_hgr(f, g), expected, atol=1e-4)
    with jax.enable_x64(True):
        exact = hgr.soft_hgr(f.astype(np.float64), g.astype(np.float64))
    np.testing.assert_allclose(exact, expected, 1e-10)


@given(seeds)
def test_soft_hgr_is_greatest_at_the_modes(seed):
    """Where it is half the sum of squared correlations; for fixed f, half of H(f)."""
    x, y = expanded(count_table(seed))
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        joint = hgr.joint_distribution(x, y, num_x=NUM_X, num_y=NUM_Y)
        best = as_numpy(hgr.modes(joint, num_modes=2))
        f, g = best.x_functions[x], (best.y_functions * best.correlations)[y]
        bound = hgr.h_score_bound(joint, num_features=2)
        np.testing.assert_allclose(hgr.soft_hgr(f, g), bound / 2, 1e-10)
        # No function of the input, and none of the label, is a way upwards.
        slope_f, slope_g = _soft_hgr_slopes(f, g)
        assert jnp.abs(jax.ops.segment_sum(slope_f, x, NUM_X)).max() < 1e-10
        assert jnp.abs(jax.ops.segment_sum(slope_g, y, NUM_Y)).max() < 1e-10
        f, other = rng.normal(size=(NUM_X, 2))[x], rng.normal(size=(NUM_Y, 2))[y]
        assert hgr.soft_hgr(f, other) <= bound / 2
        means = np.array(
            [f[y == c].mean(axis=0) if (y == c).any() else 0 * f[0] for c in range(4)]
        )
        g = (means - f.mean(axis=0)) @ np.linalg.inv(references.covariance(f))
        np.testing.assert_allclose(
            2 * hgr.soft_hgr(f, g[y]), references.h_score(f, y), 1e-8
        )


_soft_hgr_slopes = jax.jit(jax.grad(hgr.soft_hgr, argnums=(0, 1)))


@given(seeds)
def test_h_score_of_one_hot_inputs_is_the_squared_norm(seed):
    counts = count_table(seed)
    x, y = expanded(counts)
    expected = np.sum(references.divergence_transition_matrix(counts / 200) ** 2)
    value = exact_h_score(np.eye(NUM_X)[x], y)
    np.testing.assert_allclose(value, expected, 1e-9, 1e-9)
    np.testing.assert_allclose(
        2 * hgr.local_mutual_information(counts.astype(np.float32)), expected, 1e-4
    )


@given(seeds)
def test_h_score_is_bounded_by_the_modes_and_the_features(seed):
    """Corollary 1; the best functions reach the bound, which ends at K - 1."""
    counts = count_table(seed)
    x, y = expanded(counts)
    features = np.random.default_rng(seed).normal(size=(NUM_X, 2))
    with jax.enable_x64(True):
        joint = counts / 200
        bounds = [float(hgr.h_score_bound(joint, num_features=k)) for k in range(1, 6)]
        best = as_numpy(hgr.modes(joint, num_modes=2))
    assert exact_h_score(features[x], y) <= bounds[1] + 1e-9
    assert all(bound <= k + 1e-9 for k, bound in enumerate(bounds, 1))
    assert bounds == sorted(bounds)
    np.testing.assert_allclose(bounds[NUM_Y - 2 :], bounds[-1], 1e-9)
    value = exact_h_score(best.x_functions[x], y)
    np.testing.assert_allclose(value, bounds[1], 1e-8)


@given(seeds)
def test_h_score_is_invariant_to_affine_maps_and_falls_under_others(seed):
    """A linear map that merges features, or a map that merges symbols, loses."""
    rng, counts = np.random.default_rng(seed), count_table(seed)
    x, y = expanded(counts)
    features = rng.normal(size=(NUM_X, 3))[x]
    value = exact_h_score(features, y)
    mixed = features @ rng.normal(size=(3, 3)) + rng.normal(size=3)
    np.testing.assert_allclose(exact_h_score(mixed, y), value, 1e-6)
    merged = features @ rng.normal(size=(3, 2)) @ rng.normal(size=(2, 3))
    assert exact_h_score(merged, y) <= value + 1e-8
    symbols = exact_h_score(np.eye(NUM_X)[x], y)
    assert value <= symbols + 1e-8
    fewer = rng.integers(NUM_X, size=NUM_X)[x]
    assert exact_h_score(np.eye(NUM_X)[fewer], y) <= symbols + 1e-8
    channel = rng.dirichlet(np.ones(NUM_X), size=NUM_X)
    noisy = references.divergence_transition_matrix(counts / 200 @ channel)
    assert np.sum(noisy**2) <= symbols + 1e-8


def test_h_score_can_rise_under_a_nonlinear_map_of_a_feature():
    """It speaks of the linear span of the features: their data is not processed."""
    f = np.array([-1.0, 0, 1])[:, None].repeat(4, axis=0).reshape(12, 1)
    y = (np.abs(f[:, 0]) > 0).astype(np.int32)
    assert exact_h_score(f, y) < 1e-9
    np.testing.assert_allclose(exact_h_score(f**2, y), 1, 1e-9)


@given(seeds)
def test_h_score_adds_over_independent_blocks(seed):
    """Every pair of symbols occurs equally often; the label depends on both."""
    rng = np.random.default_rng(seed)
    first, second = (i.ravel() for i in np.indices((NUM_X, 6)))
    first, second = np.tile(first, 5), np.tile(second, 5)
    y = rng.integers(NUM_Y, size=len(first)).astype(np.int32)
    f, g = rng.normal(size=(NUM_X, 2))[first], rng.normal(size=(6, 1))[second]
    both = exact_h_score(np.hstack([f, g]), y)
    np.testing.assert_allclose(both, exact_h_score(f, y) + exact_h_score(g, y), 1e-7)


@given(seeds)
def test_the_maximal_correlation_satisfies_renyi(seed):
    rng = np.random.default_rng(seed)
    joint = table(seed)

    def correlation(joint):
        with jax.enable_x64(True):
            return float(hgr.modes(joint, num_modes=3).correlations[0])

    value = correlation(joint)
    assert 0 < value <= 1 + 1e-12
    np.testing.assert_allclose(correlation(np.array(joint.T)), value, 1e-9)
    shuffled = joint[rng.permutation(NUM_Y)][:, rng.permutation(NUM_X)]
    np.testing.assert_allclose(correlation(shuffled), value, 1e-9)
    p_y, p_x = joint.sum(axis=1), joint.sum(axis=0)
    assert correlation(np.outer(p_y, p_x)) == 0
    function = rng.permutation(NUM_X) % NUM_Y  # Takes every value.
    determined = np.eye(NUM_Y)[function].T * p_x
    np.testing.assert_allclose(correlation(determined), 1, 1e-9)
    # Not the correlation of any two functions is larger.
    f, g = rng.normal(size=NUM_X), rng.normal(size=NUM_Y)
    f, g = (f - p_x @ f), (g - p_y @ g)
    assert abs(g @ joint @ f) <= value * np.sqrt((p_x @ f**2) * (p_y @ g**2)) + 1e-12
    # And a relation within parts of the alphabets, strict between them, gives one.
    blocks = np.zeros((NUM_Y, NUM_X))
    blocks[:2, :3], blocks[2:, 3:] = joint[:2, :3], joint[2:, 3:]
    np.testing.assert_allclose(correlation(blocks), 1, 1e-9)


@pytest.mark.parametrize("r", [-0.3, 0.8])
def test_the_maximal_correlation_of_gaussians_is_theirs(r):
    """Renyi's last postulate; further modes are its powers (Mehler's formula)."""
    grid = np.linspace(-6, 6, 61)
    x, y = np.meshgrid(grid, grid)
    joint = np.exp(-(x**2 + y**2 - 2 * r * x * y) / (2 * (1 - r**2)))
    with jax.enable_x64(True):
        strongest = hgr.modes(joint, num_modes=3)
    powers = abs(r) ** np.arange(1, 4)
    np.testing.assert_allclose(strongest.correlations, powers, rtol=1e-4)


def rate(f, probs, threshold):
    """Cramer's rate of the mean of f at a threshold, by a convex minimisation."""
    log_moment = functools.partial(logsumexp, b=probs)
    fit = minimize_scalar(lambda t: log_moment(t * (f - threshold)), tol=1e-12)
    return -fit.fun


@pytest.mark.parametrize("p0", [0.5, 0.2])
def test_theorem_1_error_exponent_of_the_mean_of_a_feature(p0):
    """It tends to H(f) / (8 p0 p1) as the two hypotheses approach each other.

    The constant of the published theorem, with the normalisation of the feature over
    both hypotheses together.
    """
    priors = np.array([p0, 1 - p0])
    errors = []
    for epsilon in (0.2, 0.02):
        joint = near_independence(epsilon, (2, 5))
        conditional = joint / joint.sum(axis=1, keepdims=True)
        joint = conditional * priors[:, None]
        f = np.random.default_rng(1).normal(size=5)
        low, high = conditional @ f

        def difference(threshold, conditional=conditional, f=f):
            return rate(f, conditional[0], threshold) - rate(
                f, conditional[1], threshold
            )

        # The best threshold is where both errors are equally rare.
        inset = 0.1 * (high - low)
        threshold = brentq(difference, low + inset, high - inset)
        exponent = rate(f, conditional[0], threshold)
        expected = population_h_score(f[:, None], joint) / (8 * p0 * (1 - p0))
        errors.append(abs(exponent / expected - 1))
    assert errors[1] < 0.01
    assert errors[1] < errors[0]


def best_exponent(f, conditional):
    """Exponent of the best decision by the means of k features, `[x, k]`.

    The means are most likely wrong at the point where the rates of both hypotheses are
    equal and least: the dual of that is a maximum over their mixtures.
    """
    start = np.zeros(f.shape[1])

    def rate_at(point, probs):
        values = f - point
        fit = minimize(
            lambda t: logsumexp(values @ t, b=probs), start, tol=1e-14, method="BFGS"
        )
        return -fit.fun

    def mixture(share):
        """The least of a mixture of both rates: over the points, by duality."""

        def least(point):
            first, second = (rate_at(point, probs) for probs in conditional)
            return share * first + (1 - share) * second

        middle = (conditional.mean(axis=0)) @ f
        return minimize(least, middle, tol=1e-12, method="Nelder-Mead").fun

    fit = minimize_scalar(
        lambda share: -mixture(share), bounds=(0.3, 0.7), method="bounded"
    )
    return -fit.fun


def test_lemma_3_exponents_of_uncorrelated_features_add_up():
    """Of k features together it tends to their H-score over 8 p0 p1 (Theorem 1)."""
    k, priors, errors = 2, np.array([0.5, 0.5]), []
    for epsilon in (0.3, 0.03):
        joint = near_independence(epsilon, (2, 6))
        conditional = joint / joint.sum(axis=1, keepdims=True)
        joint = conditional * priors[:, None]
        f = np.random.default_rng(2).normal(size=(6, k))
        expected = population_h_score(f, joint) / (8 * priors[0] * priors[1])
        # With unit covariance the H-score is the sum of those of the features.
        probs = joint.sum(axis=0)
        centred = f - probs @ f
        root = np.linalg.cholesky(np.linalg.inv((centred.T * probs) @ centred))
        white = centred @ root
        alone = sum(population_h_score(white[:, [i]], joint) for i in range(k))
        assert alone / (8 * priors[0] * priors[1]) == pytest.approx(expected)
        errors.append(abs(best_exponent(white, conditional) / expected - 1))
    assert errors[1] < 0.01
    assert errors[1] < errors[0]


def test_theorem_2_sampling_deviation():
    """The rate of a relative error D is D^2 E[fg]^2 / (2 var[fg]) as D tends to 0.

    That is for fixed functions. Those estimated from the same samples are normalised
    in them, which takes sigma (f^2 + g^2) / 2 off the product: the correlation found
    deviates less than the theorem says.
    """
    joint = table(3, 2)
    with jax.enable_x64(True):
        true = as_numpy(hgr.modes(joint, num_modes=3))
    sigma, f, g = true.correlations[0], true.x_functions.T[:1], true.y_functions[:, :1]
    product = f * g
    variance = np.sum(joint * product**2) - sigma**2
    for delta in (0.02, -0.02):
        ratio = rate(product.ravel(), joint.ravel(), sigma * (1 + delta)) / delta**2
        np.testing.assert_allclose(ratio, sigma**2 / (2 * variance), rtol=0.05)

    m, rng = 4000, np.random.default_rng(0)
    counts = rng.multinomial(m, joint.ravel(), size=1000)
    fixed = counts @ product.ravel() / m
    np.testing.assert_allclose(fixed.std(), np.sqrt(variance / m), rtol=0.1)
    with jax.enable_x64(True):
        tables = counts.reshape(-1, NUM_Y, NUM_X) / m
        estimated = np.asarray(_first_correlations(tables))
    influence = product - sigma * (f**2 + g**2) / 2
    deviation = np.sqrt(np.sum(joint * influence**2) / m)
    np.testing.assert_allclose(estimated.std(), deviation, rtol=0.1)
    assert deviation < np.sqrt(variance / m)
    np.testing.assert_allclose(estimated.mean(), sigma, atol=0.02)


@jax.jit
@jax.vmap
def _first_correlations(joint):
    return hgr.modes(joint, num_modes=1).correlations[0]


def test_log_loss_is_the_entropy_less_half_the_h_score_locally():
    """Appendix E, of the best linear softmax on fixed features; slope -1/2 in nats."""
    features = np.random.default_rng(2).normal(size=(NUM_X, 2))
    errors = []
    for epsilon in (0.3, 0.03):
        joint = near_independence(epsilon)
        p_y = joint.sum(axis=1)
        start = np.vstack([np.log(p_y), np.zeros((2, NUM_Y))]).ravel()
        loss = functools.partial(_log_loss, joint=joint, features=features)
        fit = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-10})
        gain = -np.sum(p_y * np.log(p_y)) - fit.fun
        half = population_h_score(features, joint) / 2
        errors.append(abs(gain / half - 1))
    assert errors[1] < 0.02
    assert errors[1] < errors[0] / 3


def _log_loss(weights, joint, features):
    """The expected cross-entropy, and its gradient."""
    inputs = np.hstack([np.ones((NUM_X, 1)), features])
    logits = inputs @ weights.reshape(3, NUM_Y)
    log_probs = logits - logsumexp(logits, axis=1, keepdims=True)
    errors = joint.sum(axis=0)[:, None] * np.exp(log_probs) - joint.T
    return -np.sum(joint.T * log_probs), (inputs.T @ errors).ravel()


def test_information_is_half_the_squared_norm_near_independence():
    """To second order: the relative error falls with the distance."""
    errors = []
    with jax.enable_x64(True):
        for epsilon in (0.3, 0.03, 0.003):
            joint = near_independence(epsilon)
            exact = float(hgr.mutual_information(joint))
            errors.append(abs(float(hgr.local_mutual_information(joint)) / exact - 1))
    assert errors[0] < 0.2
    assert errors[1] < errors[0] / 3
    assert errors[2] < errors[1] / 3


def test_h_score_exceeds_twice_the_information_away_from_independence():
    """Erratum of section 4.3, which has H(f) <= 2 I(X; Y) for every feature.

    It holds where the local approximation does. A label that is a function of the
    input, with 6 classes in equal parts, has H = 5 and 2 I = 2 log 6 = 3.58.
    """
    joint = np.eye(6, dtype=np.float32)
    labels = np.arange(6, dtype=np.int32)
    moments = class_moments(np.tile(joint, (5, 1)), np.tile(labels, 5), num_classes=6)
    np.testing.assert_allclose(h_score(moments), 5, 1e-4)
    np.testing.assert_allclose(hgr.h_score_bound(joint, num_features=6), 5, 1e-5)
    information = hgr.mutual_information(joint)
    np.testing.assert_allclose(information, np.log(6), 1e-5)
    assert 2 * information < 5
    # The local approximation fails to the other side too, for rare events.
    rare = np.array([[0.98, 0.01], [0.01, 0.0]])
    assert hgr.local_mutual_information(rare) < hgr.mutual_information(rare)


EDGES = {
    "no mass": np.zeros((NUM_Y, NUM_X)),
    "one cell": np.eye(NUM_Y, NUM_X) * (np.arange(NUM_X) == 0),
    "independent": np.full((NUM_Y, NUM_X), 1 / 28),
    "ties": np.eye(NUM_Y, NUM_X) / NUM_Y,
    "empty row and column": np.pad(table(0, shape=(3, 6)), ((0, 1), (1, 0))),
    "rare": np.array(np.eye(NUM_Y, NUM_X) + 1e-12 * (np.arange(NUM_X) == 6)),
}


@pytest.mark.parametrize("edge", EDGES)
def test_edges_are_finite_with_finite_derivatives(edge):
    joint = jnp.asarray(EDGES[edge], jnp.float32)
    strongest = hgr.modes(joint, num_modes=3)
    chex.assert_tree_all_finite(strongest)
    assert strongest.correlations.min() >= 0
    assert strongest.correlations.max() <= 1 + 1e-6
    if edge in ("no mass", "one cell", "independent"):
        chex.assert_trees_all_equal(strongest, jax.tree.map(jnp.zeros_like, strongest))
        assert hgr.mutual_information(joint) < 1e-6
    if edge == "ties":
        np.testing.assert_allclose(strongest.correlations, 1, 1e-5)
        assert_orthonormal(strongest.x_functions, np.sum(EDGES[edge], axis=0), 1e-5)
    chex.assert_tree_all_finite(_values_and_slopes(joint))


@jax.jit
def _values_and_slopes(joint):
    functions = (
        hgr.mutual_information,
        hgr.local_mutual_information,
        lambda p: hgr.h_score_bound(p, num_features=2),
        lambda p: hgr.modes(p, num_modes=3).correlations.sum(),
    )
    return [jax.value_and_grad(function)(joint) for function in functions]


def test_derivatives_of_the_correlations_agree_with_differences():
    joint, direction = table(1, 2), table(2, 2) - table(4, 2)
    with jax.enable_x64(True):

        def total(step):
            strongest = hgr.modes(joint + step * direction, num_modes=2)
            return strongest.correlations @ jnp.array([1.0, 2.0])

        slope = jax.jit(jax.grad(total))(0.0)
        expected = (total(1e-6) - total(-1e-6)) / 2e-6
    np.testing.assert_allclose(slope, expected, 1e-6)


@pytest.mark.parametrize("counts", [0, 7], ids=["nothing", "independent"])
def test_ace_of_nothing_and_of_independent_samples(counts):
    x, y = expanded(np.full((NUM_Y, NUM_X), counts))
    rest = np.tile(OUT_OF_RANGE[:, :1], 200 - len(x))
    strongest = ACE(*np.append([x, y], rest, axis=1), jax.random.key(0))
    chex.assert_trees_all_equal(strongest, jax.tree.map(jnp.zeros_like, strongest))


CALLS = {
    "divergence_transition_matrix": hgr.divergence_transition_matrix,
    "modes": lambda p: hgr.modes(p, num_modes=2),
    "mutual_information": hgr.mutual_information,
    "local_mutual_information": hgr.local_mutual_information,
    "h_score_bound": lambda p: hgr.h_score_bound(p, num_features=2),
    "soft_hgr": lambda p: hgr.soft_hgr(p, p**2),
}


def test_vmap_agrees_and_the_dtype_is_kept():
    def all_results(joint):
        return {name: call(joint) for name, call in CALLS.items()}

    joints = np.stack([table(1), table(0)]).astype(np.float32)
    last = jax.tree.map(lambda leaf: leaf[1], jax.jit(jax.vmap(all_results))(joints))
    chex.assert_trees_all_close(last, jax.jit(all_results)(joints[1]), atol=1e-5)
    with jax.enable_x64(True):
        for dtype in (np.float32, np.float64):
            shapes = jax.eval_shape(all_results, joints[0].astype(dtype))
            assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype(dtype)}


X, Y, KEY = np.zeros(4, np.int32), np.zeros(4, np.int32), jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: hgr.modes(np.eye(3), num_modes=3),
            ValueError,
            "at most .* 2, got 3",
        ),
        (
            lambda: hgr.modes(np.eye(3), num_modes=0),
            ValueError,
            "num_modes",
        ),
        (
            lambda: hgr.modes(np.eye(3, dtype=int), num_modes=1),
            TypeError,
            "joint",
        ),
        (lambda: hgr.mutual_information(np.ones(3)), ValueError, "joint"),
        (lambda: ACE(X, Y, KEY, num_modes=NUM_Y), ValueError, "num_modes"),
        (lambda: ACE(X, Y[:3], KEY), ValueError, "length"),
        (lambda: ACE(X + 0.5, Y, KEY), TypeError, "x must hold"),
        (lambda: ACE(X[None], Y, KEY), ValueError, "x must have"),
        (lambda: hgr.soft_hgr(np.ones((4, 2)), np.ones((4, 3))), ValueError, "shapes"),
        (lambda: hgr.soft_hgr(X[:, None], X[:, None]), TypeError, "f must hold"),
        (
            lambda: hgr.h_score_bound(np.eye(3), num_features=0),
            ValueError,
            "num_features",
        ),
    ],
)
def test_rejects(call, error, words):
    with pytest.raises(error, match=words):
        call()
