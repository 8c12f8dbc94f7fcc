"""Tests of jtransfer.matching against least squares and the theorems of paper A."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtransfer import matching
from jtransfer.adversarial import generalized_alpha1, generalized_alpha2
from jtransfer.jacobians import singular_attacks
from jtransfer.matching import (
    attack_shares,
    explained_gradient,
    function_matching_distance,
    function_matching_map,
    gradient_matching_distance,
    gradient_matching_map,
    knowledge_transfer_bounds,
    reverse_matching_bound,
)

seeds = st.integers(0, 2**16)
N, M, K, P = 6, 3, 2, 4
"""Examples, outputs of the reference and of the source, inputs."""
SIZES = st.sampled_from([(M, K), (K, M)])


def random_hessian(rng, m, rank=None):
    factor = rng.normal(size=(m, m if rank is None else rank))
    return factor @ factor.T


def jacobians(seed, m, k, rank=None):
    """Of two functions that share something, with as many as `rank` directions."""
    rng = np.random.default_rng(seed)
    reference, source = rng.normal(size=(N, m, P)), rng.normal(size=(N, k, P))
    if rank is not None:
        source = rng.normal(size=(k, rank)) @ source[:, :rank]
    reference += rng.normal(size=(m, k)) @ source
    return reference, source, random_hessian(rng, m), random_hessian(rng, k)


def norm(differences, hessian):
    """`sqrt(E ||M||_H^2)` of [n, m, p] or [n, m], example by example."""
    total = 0.0
    for matrix in differences.reshape(*differences.shape[:2], -1):
        total += np.trace(matrix.T @ hessian @ matrix)
    return np.sqrt(max(total, 0) / len(differences))


def gradient_reference(reference, source, hessian):
    """Eq. (7) of paper A: the map by least squares on stacked rows."""
    stacked = (np.concatenate([j.T for j in f]) for f in (source, reference))
    matrix = np.linalg.lstsq(*stacked, rcond=1e-10)[0].T
    return norm(reference - matrix @ source, hessian)


def function_reference(reference, source, hessian):
    """Eq. (13) of paper A, with the offset as a column of ones."""
    columns = np.column_stack([source, np.ones(len(source))])
    fit = np.linalg.lstsq(columns, reference, rcond=1e-10)[0]
    return norm(reference - columns @ fit, hessian)


@given(seeds, SIZES, st.sampled_from([None, 1]), st.sampled_from([None, 1]))
def test_gradient_matching_is_least_squares(seed, sizes, rank, order):
    reference, source, hessian, _ = jacobians(seed, *sizes, rank)
    hessian = random_hessian(np.random.default_rng(seed), sizes[0], order)
    with jax.enable_x64(True):
        value = gradient_matching_distance(reference, source, hessian=hessian)
        matrix, offset = gradient_matching_map(reference, source)
    expected = gradient_reference(reference, source, hessian)
    np.testing.assert_allclose(value, expected, rtol=1e-7)
    attained = norm(reference - np.asarray(matrix) @ source, hessian)
    np.testing.assert_allclose(attained, expected, rtol=1e-7)
    assert offset.shape == (sizes[0],)


@given(seeds, SIZES)
def test_function_matching_is_least_squares_with_an_offset(seed, sizes):
    rng = np.random.default_rng(seed)
    reference, source = (rng.normal(size=(N, size)) + 50 for size in sizes)
    hessian = random_hessian(rng, sizes[0])
    with jax.enable_x64(True):
        value = function_matching_distance(reference, source, hessian=hessian)
        matrix, offset = (
            np.asarray(a) for a in function_matching_map(reference, source)
        )
    expected = function_reference(reference, source, hessian)
    np.testing.assert_allclose(value, expected, rtol=1e-7)
    attained = norm(reference - source @ matrix.T - offset, hessian)
    np.testing.assert_allclose(attained, expected, rtol=1e-7)


@given(seeds, SIZES)
def test_maps_of_the_source_and_turned_inputs_change_nothing(seed, sizes):
    reference, source, hessian, _ = jacobians(seed, *sizes)
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(P, P)))[0]
    mixing = rng.normal(size=(sizes[1], sizes[1])) + 3 * np.eye(sizes[1])
    mixing *= np.logspace(0, 6, sizes[1])[:, None]
    with jax.enable_x64(True):
        value, *changed = (
            gradient_matching_distance(*pair, hessian=metric)
            for *pair, metric in (
                (reference, source, hessian),
                (reference @ turn, source @ turn, hessian),
                (reference, mixing @ source, hessian),
                (reference[:, ::-1], source[:, ::-1], hessian[::-1, ::-1]),
            )
        )
    np.testing.assert_allclose(changed, np.full(3, value), rtol=1e-6)


@functools.cache
def all_pairs():
    """A1 of every example and A2 of every pair, by the public functions."""

    def measures(reference, source, inverse, h1, h2):
        first = jax.vmap(
            lambda a, b: generalized_alpha1(a, b, hessian_1=h1, hessian_2=h2)
        )(reference, source)
        pair = lambda i, j: generalized_alpha2(  # noqa: E731
            reference[jnp.stack([i, j])],
            source[jnp.stack([i, j])],
            inverse,
            hessian_1=h1,
            hessian_2=h2,
        )
        i, j = jnp.divmod(jnp.arange(N * N), N)
        return first, jax.vmap(pair)(i, j)

    values = lambda f, h: jax.vmap(  # noqa: E731
        lambda a: singular_attacks(a, hessian=h).values
    )(f)
    return jax.jit(measures), jax.jit(values)


@given(seeds, SIZES, st.sampled_from([None, 1]), st.sampled_from([None, 1]))
def test_theorem_3_1_and_proposition_3_1(seed, sizes, rank, order):
    """The distance and the explained gradient equal the sums over A1 and A2."""
    reference, source, h1, h2 = jacobians(seed, *sizes, rank)
    h1 = random_hessian(np.random.default_rng(seed), sizes[0], order)
    inverse = np.linalg.pinv(np.mean([b @ b.T for b in source], 0), rcond=1e-10)
    measures, values = all_pairs()
    with jax.enable_x64(True):
        a1, a2 = (np.asarray(a) for a in measures(reference, source, inverse, h1, h2))
        sigma, others = (
            np.asarray(values(*f)) for f in ((reference, h1), (source, h2))
        )
        distance = gradient_matching_distance(reference, source, hessian=h1)
        explained = explained_gradient(
            reference, source, reference_hessian=h1, source_hessian=h2
        )
    v = others[:, :1] * sigma * a1
    mean = np.mean([v[p // N] @ a2[p] @ v[p % N] for p in range(N * N)])
    size = np.sqrt(np.trace(inverse.T @ h2 @ inverse))
    total = norm(reference, h1)
    share = mean * size / total**2
    assert -1e-12 <= share <= 1 + 1e-12
    np.testing.assert_allclose(explained, share, rtol=1e-6)
    expected = np.sqrt(max(1 - share, 0)) * total
    np.testing.assert_allclose(distance, expected, rtol=1e-5, atol=1e-6 * total)


def by_attack(reference, source, h1, h2):
    """Theorem 3.1 as it stands, by SVDs, A1 and A2 of each example and each pair."""
    n, r = len(source), min(reference.shape[1:])
    roots = [np.linalg.cholesky(h).T for h in (h1, h2)]
    inverse = np.linalg.pinv(np.mean([b @ b.T for b in source], 0), rcond=1e-10)
    metric = inverse / np.sqrt(np.trace(inverse.T @ h2 @ inverse))
    a1, v = np.full((n, r), np.nan), np.zeros((n, r))
    first, second = np.zeros((n, r, len(h1))), np.zeros((n, r, len(h2)))
    for x in range(n):
        _, sigma, directions = np.linalg.svd(roots[0] @ reference[x])
        strongest = np.linalg.svd(roots[1] @ source[x])[1][0]
        for a in range(r):
            if sigma[a] <= 1e-9 * sigma[0] or strongest == 0:
                continue
            own, moved = (f[x] @ directions[a] for f in (reference, source))
            a1[x, a] = np.sqrt(moved @ h2 @ moved) / strongest
            v[x, a] = strongest * sigma[a] * a1[x, a]
            first[x, a] = own / np.sqrt(own @ h1 @ own)
            second[x, a] = moved / np.sqrt(moved @ h2 @ moved)
    forms, alpha2 = np.zeros((r, r)), np.full(r, np.nan)
    for a in range(r):
        for b in range(r):
            a2 = (first[:, a] @ h1 @ first[:, b].T) * (
                second[:, a] @ metric @ second[:, b].T
            )
            forms[a, b] = v[:, a] @ a2 @ v[:, b]
            if a == b:
                kept = np.isfinite(a1[:, a])
                alpha2[a] = a2[np.ix_(kept, kept)].mean() if kept.any() else np.nan
    shares = [forms[:i, :i].sum() for i in range(1, r + 1)]
    alpha1 = [c[np.isfinite(c)].mean() if np.isfinite(c).any() else c[0] for c in a1.T]
    return np.array(shares) / forms.sum(), np.array(alpha1), alpha2


@given(seeds, SIZES, st.sampled_from([None, 1]))
def test_shares_of_attacks_are_those_of_theorem_3_1(seed, sizes, rank):
    reference, source, h1, h2 = jacobians(seed, *sizes, rank)
    h1, h2 = h1 + np.eye(sizes[0]), h2 + np.eye(sizes[1])
    with jax.enable_x64(True):
        result = attack_shares(
            reference, source, reference_hessian=h1, source_hessian=h2
        )
    for value, expected in zip(
        result, by_attack(reference, source, h1, h2), strict=True
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(result.shares[-1], 1, rtol=1e-12)


def test_attacks_that_some_examples_lack_are_left_out():
    reference, source, *_ = jacobians(0, M, K)
    reference[0, 1:] = reference[0, :1] * np.array([[2.0], [3.0]])
    source[1] = 0
    reference[2] = 0
    with jax.enable_x64(True):
        result = attack_shares(reference, source)
    expected = by_attack(reference, source, np.eye(M), np.eye(K))
    for value, one in zip(result, expected, strict=True):
        np.testing.assert_allclose(value, one, rtol=1e-6)
    duplicated = np.repeat(reference[3:, :1], 2, axis=1)
    shares, *means = attack_shares(duplicated, source[3:])
    np.testing.assert_allclose(shares, [1, 1], rtol=1e-5)
    assert all(np.isfinite(mean[0]) and np.isnan(mean[1]) for mean in means)


def test_shares_of_attacks_on_an_unrelated_function_are_not_defined():
    """Neither 0 nor 1, whatever rounding leaves."""
    reference, source, *_ = (f.astype(np.float32) for f in jacobians(0, M, K)[:2])
    apart = np.concatenate([0 * source, source], axis=2)
    wide = np.concatenate([reference, 0 * reference], axis=2)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(2 * P, 2 * P)))[0]
    turn = turn.astype(np.float32)
    for pair in (
        (0 * reference, source),
        (reference, 0 * source),
        (wide, apart),
        (wide @ turn, apart @ turn),
    ):
        assert np.isnan(attack_shares(*pair).shares).all()
    # The attacks themselves are there, and move nothing.
    np.testing.assert_allclose(attack_shares(wide, apart).alpha1, np.zeros(M))


@given(seeds)
def test_shares_of_attacks_rise_for_one_example(seed):
    reference, source, *_ = jacobians(seed, M, K)
    with jax.enable_x64(True):
        shares = np.asarray(attack_shares(reference[:1], source[:1]).shares)
    assert shares[0] >= 0
    assert np.diff(shares).min() >= -1e-9


def test_shares_of_attacks_may_fall():
    """The second attacks point where the first of the other example do."""
    reference = np.array([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [2.0, 0.0]]])
    source = np.array([[[1.0, -1.0]], [[1.0, -1.0]]])
    shares, alpha1, _ = attack_shares(reference, source)
    np.testing.assert_allclose(shares, [4, 1], rtol=1e-5)
    np.testing.assert_allclose(alpha1, [0.5**0.5] * 2, rtol=1e-5)


@given(seeds, SIZES)
def test_what_leaves_shares_of_attacks_alone(seed, sizes):
    reference, source, *_ = jacobians(seed, *sizes)
    rng = np.random.default_rng(seed)
    turn, mixing, within = (
        np.linalg.qr(rng.normal(size=(size, size)))[0] for size in (P, *sizes[::-1])
    )
    stretch = mixing * np.logspace(0, 3, sizes[1])[:, None]
    with jax.enable_x64(True):
        plain = attack_shares(reference, source)
        for pair in (
            (reference @ turn, source @ turn),
            (within @ reference, 1e-150 * mixing @ source),
            (1e150 * reference[::-1], source[::-1]),
        ):
            chex.assert_trees_all_close(attack_shares(*pair), plain, rtol=1e-6)
        mixed = attack_shares(reference, stretch @ source)
    np.testing.assert_allclose(mixed.shares, plain.shares, rtol=1e-5)
    assert np.abs(mixed.alpha1 - plain.alpha1).max() > 1e-3 or sizes[1] == 1


def test_shares_of_attacks_are_constants_for_differentiation():
    reference, source, *_ = (f.astype(np.float32) for f in jacobians(0, M, K)[:2])
    for pair in ((reference, source), (0 * reference, source)):
        slopes = jax.grad(lambda a, b: attack_shares(a, b).alpha1.sum(), (0, 1))(*pair)
        chex.assert_trees_all_equal(slopes, jax.tree.map(np.zeros_like, pair))


def quadratics(rng, num, n):
    """Functions x^T A x + b.x, their matrices and the functions themselves."""
    curvature = rng.normal(size=(num, n, n))
    curvature = curvature + np.swapaxes(curvature, 1, 2)
    slope = rng.normal(size=(num, n))

    def values(x):
        return np.einsum("ni,aij,nj->na", x, curvature, x) + x @ slope.T

    def gradients(x):
        return 2 * np.einsum("aij,nj->nai", curvature, x) + slope[None]

    return curvature, values, gradients


@given(seeds, st.sampled_from([0.1, 1.0, 10.0]))
def test_theorem_3_2_with_the_distribution_of_its_proof(seed, tau):
    """Its second inequality: gradients are close where values are, on D2."""
    rng = np.random.default_rng(seed)
    (a, f, df), (b, g, dg) = (quadratics(rng, m, P) for m in (M, K))
    x, hessian = rng.normal(size=(N, P)), random_hessian(rng, M)
    with jax.enable_x64(True):
        fit = [np.asarray(p) for p in function_matching_map(f(x), g(x))]
        distance = gradient_matching_distance(df(x), dg(x), hessian=hessian)
    rest = a - np.einsum("ab,bij->aij", fit[0], b)
    # The gradient of h moves by 2 rest (x - y): its greatest speed in the norm of H.
    speed = 4 * np.einsum("ab,aij,bik->jk", hessian, rest, rest)
    beta = np.sqrt(np.linalg.eigvalsh(speed)[-1])

    def h(x):
        return f(x) - g(x) @ fit[0].T - fit[1]

    shifted = [norm(h(x + tau * u), hessian) ** 2 for u in np.eye(P)]
    on_d2 = norm(h(x), hessian) ** 2 / 2 + np.sum(shifted) / (2 * P)
    assert float(distance) ** 2 / (3 * P) <= 2 / tau**2 * on_d2 + beta**2 * tau**2


@given(seeds)
def test_theorem_3_3_bounds_the_knowledge_transfer_distance(seed):
    rng = np.random.default_rng(seed)
    reference, source = rng.normal(size=(N, M)), rng.normal(size=(N, K))
    targets = reference + rng.uniform(0, 2) * rng.normal(size=(N, M))
    hessian = random_hessian(rng, M)
    with jax.enable_x64(True):
        bounds = knowledge_transfer_bounds(reference, source, targets, hessian=hessian)
    lower, upper = (float(bound) for bound in bounds)
    distance = function_reference(targets, source, hessian)
    assert lower - 1e-9 <= distance <= upper + 1e-9
    middle = function_reference(reference, source, hessian)
    error = norm(reference - targets, hessian)
    np.testing.assert_allclose(upper, middle + error, rtol=1e-7)
    np.testing.assert_allclose(lower, max(middle - error, 0), rtol=1e-6, atol=1e-9)


@given(seeds)
def test_theorem_b_1_bounds_the_reverse_distance(seed):
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(N, K))
    reference = source @ rng.normal(size=(K, M)) + 0.3 * rng.normal(size=(N, M))
    hessian = random_hessian(rng, K)
    with jax.enable_x64(True):
        bound = reverse_matching_bound(reference, source, hessian=hessian)
        matrix = np.asarray(function_matching_map(reference, source).matrix)
    assert function_reference(source, reference, hessian) <= float(bound)
    inverse = np.linalg.norm(np.linalg.inv(matrix.T @ matrix))
    expected = np.sqrt(inverse * np.linalg.norm(hessian))
    expected *= function_reference(reference, source, np.eye(M))
    np.testing.assert_allclose(bound, expected, rtol=1e-6)


def test_example_of_appendix_a():
    """f_T = x^2 and f_S = sign(x) x^2 on a fine grid of [-1, 1]."""
    x = (np.arange(4000, dtype=np.float32) + 0.5) / 2000 - 1
    target, source = x[:, None] ** 2, np.sign(x)[:, None] * x[:, None] ** 2
    slopes = 2 * x[:, None, None], 2 * np.abs(x)[:, None, None]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
    close(gradient_matching_distance(*slopes), np.sqrt(4 / 3))
    close(gradient_matching_distance(*slopes[::-1]), np.sqrt(4 / 3))
    close(function_matching_distance(target, source), np.sqrt(4 / 45))
    assert explained_gradient(*slopes) < 1e-6
    positive = slopes[0][2000:], slopes[1][2000:]
    assert gradient_matching_distance(*positive) < 1e-6
    np.testing.assert_allclose(explained_gradient(*positive), 1, rtol=1e-5)


@pytest.mark.parametrize("gap", [0, 1e-5, 1e-3, 1e-1])
def test_float32_is_accurate_near_zero(gap):
    rng = np.random.default_rng(0)
    source = rng.normal(size=(50, 5, 20)) * np.array([1, 10, 1e-3, 0.3, 5])[:, None]
    source[:, 4] = source[:, 0] + 0.1 * source[:, 4]
    source = source.astype(np.float32)
    reference = source[:, :3] + gap * rng.normal(size=(50, 3, 20)).astype(np.float32)
    exact = gradient_reference(
        reference.astype(np.float64), source.astype(np.float64), np.eye(3)
    )
    value = gradient_matching_distance(reference, source)
    size = norm(reference, np.eye(3))
    np.testing.assert_allclose(value, exact, rtol=1e-4, atol=3e-7 * size)
    lines = [np.swapaxes(f, 1, 2).reshape(1000, -1) + 100 for f in (reference, source)]
    exact = function_reference(*(f.astype(np.float64) for f in lines), np.eye(3))
    value = function_matching_distance(*lines)
    np.testing.assert_allclose(value, exact, rtol=1e-3, atol=1e-6)


def test_dead_and_duplicated_outputs_of_the_source_change_nothing():
    reference, source, _, _ = jacobians(0, M, K)
    source = np.concatenate([source, 0 * source, 3 * source[:, :1]], axis=1)
    reference, source = reference.astype(np.float32), source.astype(np.float32)
    expected = gradient_matching_distance(reference, source[:, :K])
    value = gradient_matching_distance(reference, source)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    share, plain = (explained_gradient(reference, s) for s in (source, source[:, :K]))
    np.testing.assert_allclose(share, plain, rtol=1e-4)
    outputs = source[..., 0] + np.float32(7)
    np.testing.assert_allclose(
        function_matching_distance(reference[..., 0], outputs),
        function_matching_distance(reference[..., 0], outputs[:, :K]),
        rtol=1e-4,
    )
    matrix, _ = function_matching_map(reference[..., 0], outputs)
    np.testing.assert_array_equal(matrix[:, K : 2 * K], 0)


def test_functions_without_variation():
    one = np.ones((N, M, P), np.float32)
    zero = np.zeros_like(one)
    assert gradient_matching_distance(zero, one) == 0
    assert explained_gradient(zero, one) == 0
    np.testing.assert_allclose(gradient_matching_distance(one, zero), np.sqrt(M * P))
    assert explained_gradient(one, zero) == 0
    assert function_matching_distance(one[..., 0], zero[..., 0]) == 0
    assert np.isposinf(reverse_matching_bound(one[..., 0], zero[..., 0]))
    rng = np.random.default_rng(0)
    single = rng.normal(size=(2, 1, M)).astype(np.float32)
    assert function_matching_distance(*single) == 0
    lower, upper = knowledge_transfer_bounds(single[0], single[1], single[0])
    assert lower == upper == 0


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_is_no_matter_in_float32(scale):
    reference, source, _, _ = (a.astype(np.float32) for a in jacobians(0, M, K))
    scale = np.float32(scale)
    value = gradient_matching_distance(reference, source)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
    close(gradient_matching_distance(scale * reference, source) / scale, value)
    close(gradient_matching_distance(reference, scale * source), value)
    tiny = scale * reference, source / scale
    close(explained_gradient(*tiny), explained_gradient(reference, source))
    chex.assert_tree_all_finite(gradients()(reference, scale * source))


@functools.cache
def gradients():
    def both(a, b):
        return gradient_matching_distance(a, b) + function_matching_distance(
            a[..., 0], b[..., 0]
        )

    return jax.jit(jax.grad(both, (0, 1)))


def test_gradients_are_right_and_finite_at_zero():
    reference, source, _, _ = jacobians(0, M, K)
    rng = np.random.default_rng(0)
    da, db = rng.normal(size=reference.shape), rng.normal(size=source.shape)
    with jax.enable_x64(True):
        gradient = [np.asarray(g) for g in gradients()(reference, source)]
        alike = gradients()(source, source)
        chex.assert_tree_all_finite(alike)
        repeated = np.concatenate([source, source[:, :1]], axis=1)[:, [0, 2]]
        chex.assert_tree_all_finite(gradients()(reference, repeated))
    slope = np.sum(gradient[0] * da) + np.sum(gradient[1] * db)

    def total(step):
        a, b = reference + step * da, source + step * db
        return gradient_reference(a, b, np.eye(M)) + function_reference(
            a[..., 0], b[..., 0], np.eye(M)
        )

    np.testing.assert_allclose(slope, (total(1e-6) - total(-1e-6)) / 2e-6, rtol=1e-6)
    zero = np.zeros((N, M, P), np.float32)
    assert not any(np.any(g) for g in gradients()(zero, zero[:, :K]))


CALLS = {
    "gradient_matching_distance": lambda a, b, h: gradient_matching_distance(
        a, b, hessian=h
    ),
    "gradient_matching_map": lambda a, b, h: gradient_matching_map(a, b),
    "function_matching_distance": lambda a, b, h: function_matching_distance(
        a[..., 0], b[..., 0], hessian=h
    ),
    "function_matching_map": lambda a, b, h: function_matching_map(
        a[..., 0], b[..., 0]
    ),
    "knowledge_transfer_bounds": lambda a, b, h: knowledge_transfer_bounds(
        a[..., 0], b[..., 0], a[..., 1]
    ),
    "reverse_matching_bound": lambda a, b, h: reverse_matching_bound(
        a[..., 0], b[..., 0]
    ),
    "explained_gradient": lambda a, b, h: explained_gradient(a, b),
}


@pytest.mark.parametrize("name", CALLS)
def test_jit_eager_and_vmap_agree_without_compiling_again(name):
    call, function = CALLS[name], getattr(matching, name)
    arrays = [
        tuple(a.astype(np.float32) for a in jacobians(seed, M, K)[:3])
        for seed in (0, 1)
    ]
    expected = call(*arrays[0])
    compiled = function._cache_size()
    other = call(*arrays[1])
    assert function._cache_size() == compiled
    chex.assert_type(jax.tree.leaves(expected), jnp.float32)
    close = functools.partial(chex.assert_trees_all_close, rtol=1e-3, atol=1e-4)
    close(jax.jit(call)(*arrays[0]), expected)
    mapped = jax.vmap(call)(*jax.tree.map(lambda *leaves: np.stack(leaves), *arrays))
    close(mapped, jax.tree.map(lambda *leaves: jnp.stack(leaves), expected, other))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda j, f: gradient_matching_distance(f, f), ValueError, "reference"),
        (lambda j, f: gradient_matching_distance(j, f), ValueError, "source"),
        (lambda j, f: gradient_matching_distance(j, j[:2]), ValueError, "source"),
        (lambda j, f: gradient_matching_distance(j, j[..., :2]), ValueError, "inputs"),
        (lambda j, f: gradient_matching_distance(j[:0], j[:0]), ValueError, "examples"),
        (
            lambda j, f: gradient_matching_distance(j, j.astype(int)),
            TypeError,
            "source",
        ),
        (
            lambda j, f: gradient_matching_distance(j, j, hessian=np.eye(2)),
            ValueError,
            "hessian",
        ),
        (lambda j, f: function_matching_distance(j, f), ValueError, "reference"),
        (lambda j, f: function_matching_map(f, f[:2]), ValueError, "source"),
        (lambda j, f: knowledge_transfer_bounds(f, f, f[:, :1]), ValueError, "targets"),
        (lambda j, f: reverse_matching_bound(f[:, :2], f), ValueError, "source"),
        (
            lambda j, f: reverse_matching_bound(f, f, hessian=np.eye(2)),
            ValueError,
            "hessian",
        ),
        (
            lambda j, f: explained_gradient(j, j, source_hessian=np.eye(2)),
            ValueError,
            "source_hessian",
        ),
        (
            lambda j, f: explained_gradient(j, j, reference_hessian=np.eye(2)),
            ValueError,
            "reference_hessian",
        ),
    ],
)
def test_rejects(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((N, M, P), np.float32), np.ones((N, M), np.float32))
