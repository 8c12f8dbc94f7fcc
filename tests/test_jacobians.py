"""Tests of jtransfer.jacobians against closed forms and the decomposition itself."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtransfer._internal import linalg
from jtransfer.jacobians import deviation_hessian, jacobian, singular_attacks

seeds = st.integers(0, 2**16)
SHAPES = [(3, 5), (4, 2)]
"""Of Jacobians: wide, for the Gram of outputs; tall, for that of inputs."""


def random_jacobian(rng, m, n, rank=None):
    rank = min(m, n) if rank is None else rank
    return rng.normal(size=(m, rank)) @ rng.normal(size=(rank, n))


def random_hessian(rng, m, rank=None):
    factor = rng.normal(size=(m, m if rank is None else rank))
    return factor @ factor.T


def square_root(hessian):
    """T with `T^T T = H`, upside down from the library's: a symmetric one."""
    values, axes = np.linalg.eigh(hessian)
    return (axes * np.sqrt(np.maximum(values, 0))) @ axes.T


def singular_reference(jacobian, hessian):
    """Right singular vectors and values of T J by the decomposition itself."""
    _, values, attacks = np.linalg.svd(square_root(hessian) @ jacobian)
    return attacks[: len(values)], values


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 10])
@pytest.mark.parametrize("m", [3, 7])
def test_jacobian_has_its_closed_form_in_both_modes(m, chunk_size):
    rng = np.random.default_rng(0)
    weights, x = rng.normal(size=(m, 4)), rng.normal(size=(2, 2))
    expected = (1 - np.tanh(weights @ x.ravel()) ** 2)[:, None] * weights
    with jax.enable_x64(True):

        def f(x):
            return jnp.tanh(weights @ x.ravel())

        value = jax.jit(jacobian(f, chunk_size=chunk_size))(x)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for mode in (jax.jacrev, jax.jacfwd):
            same = jax.jit(mode(f))(x).reshape(m, 4)
            np.testing.assert_allclose(value, same, rtol=1e-12)


def test_jacobian_of_a_batch_is_the_stack_of_each():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(5, 6)).astype(np.float32)
    xs = rng.normal(size=(3, 2, 3)).astype(np.float32)
    f = jacobian(lambda x: jnp.sin(weights @ x.ravel()), chunk_size=2)
    batch = jax.jit(jax.vmap(f))(xs)
    np.testing.assert_allclose(batch, jnp.stack([f(x) for x in xs]), rtol=1e-5)


def test_chunks_bound_the_memory():
    weights, hidden = np.ones((48, 512), np.float32), np.ones((512, 64), np.float32)

    def temporaries(chunk_size):
        f = jacobian(lambda x: weights @ jnp.tanh(hidden @ x), chunk_size=chunk_size)
        compiled = jax.jit(jax.vmap(f)).lower(np.ones((16, 64), np.float32)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(4) < temporaries(None) / 3


@pytest.mark.parametrize("m", [2, 6])
def test_jacobians_can_be_differentiated(m):
    def squared_norm(weight):
        f = jacobian(lambda x: weight * jnp.tile(x, 2)[:m], chunk_size=1)
        return jnp.sum(f(jnp.ones(3)) ** 2)

    np.testing.assert_allclose(jax.jit(jax.grad(squared_norm))(1.5), 3 * m, rtol=1e-6)


def test_jacobian_takes_the_mode_that_the_shape_asks_for():
    """Loops of unknown length have no reverse mode, custom_vjp no forward mode."""

    def halved(x):
        return jax.lax.while_loop(lambda y: jnp.max(y) > 1, lambda y: y / 2, x)

    few, many = jnp.array([3.0]), jnp.array([3.0, 3.0, 1.0])
    doubled = jax.custom_vjp(lambda x: 2 * x[:2])
    doubled.defvjp(lambda x: (2 * x[:2], None), lambda _, t: (jnp.append(2 * t, 0.0),))
    np.testing.assert_array_equal(
        jacobian(lambda x: jnp.tile(halved(x), 3))(few), np.full((3, 1), 0.25)
    )
    np.testing.assert_array_equal(jacobian(doubled)(many), 2 * np.eye(2, 3))
    with pytest.raises(ValueError, match="[Rr]everse"):
        jacobian(lambda x: halved(x)[:2])(many)


@given(seeds, st.sampled_from(SHAPES), st.integers(1, 4), st.integers(1, 4))
def test_singular_attacks_are_those_of_the_decomposition(seed, shape, rank, order):
    rng = np.random.default_rng(seed)
    m, n = shape
    matrix = random_jacobian(rng, m, n, min(rank, m, n))
    hessian = random_hessian(rng, m, min(order, m))
    expected_attacks, expected = singular_reference(matrix, hessian)
    with jax.enable_x64(True):
        attacks, values = singular_attacks(matrix, hessian=hessian)
    attacks, values = np.asarray(attacks), np.asarray(values)
    np.testing.assert_allclose(values, expected, atol=1e-7 * expected[0])
    assert np.all(np.diff(values) <= 0)
    kept = values > 0
    assert kept.sum() == min(rank, order, m, n)
    np.testing.assert_array_equal(attacks[~kept], 0)
    agreement = np.abs(np.sum(attacks * expected_attacks, axis=1))[kept]
    gaps = np.min(np.abs(np.subtract.outer(expected, expected)) + np.eye(len(kept)), 0)
    clear = gaps[kept] > 1e-3 * expected[0]
    np.testing.assert_allclose(agreement[clear], 1, atol=1e-6)
    np.testing.assert_allclose(
        attacks @ attacks.T, np.diag(kept.astype(float)), atol=1e-6
    )


@given(seeds, st.sampled_from(SHAPES))
def test_the_identity_is_the_default_metric_and_inputs_may_turn(seed, shape):
    rng = np.random.default_rng(seed)
    matrix = random_jacobian(rng, *shape)
    turn = np.linalg.qr(rng.normal(size=(shape[1], shape[1])))[0]
    with jax.enable_x64(True):
        attacks, values = singular_attacks(matrix)
        turned = singular_attacks(matrix @ turn)
        same = singular_attacks(matrix, hessian=np.eye(shape[0]))
    np.testing.assert_allclose(values, np.linalg.svd(matrix)[1], rtol=1e-9)
    np.testing.assert_allclose(turned.values, values, rtol=1e-9)
    np.testing.assert_allclose(same.values, values, rtol=1e-9)
    overlap = np.sum((np.asarray(attacks) @ turn) * np.asarray(turned.attacks), axis=1)
    np.testing.assert_allclose(np.abs(overlap), 1, atol=1e-6)


@functools.cache
def sum_of_values():
    """Gradients in both directions of differentiation, compiled once a shape."""

    def weighted(matrix, weights):
        return jnp.vdot(weights, singular_attacks(matrix).values)

    return jax.jit(jax.grad(weighted)), jax.jit(
        lambda matrix, weights, tangent: jax.jvp(
            lambda a: weighted(a, weights), (matrix,), (tangent,)
        )[1]
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_values_have_the_derivative_of_singular_values(shape):
    rng = np.random.default_rng(0)
    matrix = random_jacobian(rng, *shape)
    weights, tangent = rng.normal(size=min(shape)), rng.normal(size=shape)
    up, down = (
        np.linalg.svd(matrix + step * tangent)[1] @ weights for step in (1e-5, -1e-5)
    )
    reverse, forward = sum_of_values()
    with jax.enable_x64(True):
        gradient, slope = reverse(matrix, weights), forward(matrix, weights, tangent)
    np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-8)
    along = np.sum(np.asarray(gradient) * tangent)
    np.testing.assert_allclose(along, slope, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_repeated_values_have_finite_derivatives(shape):
    """Of the sum of values it is the polar factor U V^T, whatever the basis."""
    rng = np.random.default_rng(0)
    r = min(shape)
    polar = random_jacobian(rng, *shape)
    left, _, right = np.linalg.svd(polar, full_matrices=False)
    reverse, _ = sum_of_values()
    with jax.enable_x64(True):
        attacks, values = map(np.asarray, singular_attacks(3 * left @ right))
        gradient = reverse(3 * left @ right, np.ones(r))
    np.testing.assert_allclose(values, 3, rtol=1e-12)
    assert np.all(np.diff(values) <= 0)
    np.testing.assert_allclose(attacks @ attacks.T, np.eye(r), atol=1e-12)
    np.testing.assert_allclose(gradient, left @ right, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_zero_values_have_derivative_zero(shape):
    rng = np.random.default_rng(0)
    reverse, _ = sum_of_values()
    zero = np.zeros(shape, np.float32)
    attacks, values = singular_attacks(zero)
    assert not np.any(attacks)
    assert not np.any(values)
    assert not np.any(reverse(zero, np.ones(min(shape), np.float32)))
    dead = random_jacobian(rng, *shape).astype(np.float32)
    dead[1:] = 0
    gradient = reverse(dead, np.ones(min(shape), np.float32))
    expected = np.zeros(shape)
    expected[0] = dead[0] / np.linalg.norm(dead[0])
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_attacks_are_constants():
    tangent = jax.jvp(
        lambda a: singular_attacks(a).attacks, (jnp.ones((3, 5)),), (jnp.ones((3, 5)),)
    )[1]
    assert not np.any(tangent)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_is_no_matter_in_float32(scale):
    matrix = random_jacobian(np.random.default_rng(0), 3, 5).astype(np.float32)
    attacks, values = singular_attacks(matrix)
    scaled = singular_attacks(matrix * np.float32(scale))
    np.testing.assert_allclose(scaled.values / np.float32(scale), values, rtol=1e-5)
    np.testing.assert_allclose(scaled.attacks, attacks, atol=1e-5)
    hessian = np.diag(np.float32([scale, 1, 1 / scale]))
    values = singular_attacks(np.eye(3, dtype=np.float32), hessian=hessian).values
    np.testing.assert_allclose(values[0], 1e15, rtol=1e-5)


def test_float32_values_keep_small_ones():
    """A hundredth of the largest to six digits: the Gram's own root keeps three."""
    rng = np.random.default_rng(0)
    left, _, right = np.linalg.svd(rng.normal(size=(3, 400)), full_matrices=False)
    exact = np.array([1, 1e-1, 1e-2])
    matrix = (left * exact @ right).astype(np.float32)
    exact = np.linalg.svd(matrix.astype(np.float64))[1]
    np.testing.assert_allclose(singular_attacks(matrix).values, exact, rtol=3e-6)


def test_not_a_number_stays_visible():
    matrix = np.full((3, 5), np.nan, np.float32)
    assert np.all(np.isnan(singular_attacks(matrix).values))


def test_jit_eager_and_vmap_agree_without_compiling_again():
    matrices = np.random.default_rng(0).normal(size=(3, 3, 5)).astype(np.float32)
    eager = [singular_attacks(matrix) for matrix in matrices[:1]]
    compiled = singular_attacks._cache_size()
    eager += [singular_attacks(matrix) for matrix in matrices[1:]]
    assert singular_attacks._cache_size() == compiled
    jitted = [jax.jit(singular_attacks)(matrix) for matrix in matrices]
    mapped = jax.vmap(singular_attacks)(matrices)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *eager)
    chex.assert_trees_all_close(stacked, mapped, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(eager, jitted, rtol=1e-5, atol=1e-5)
    chex.assert_type(jax.tree.leaves(mapped), jnp.float32)


def test_deviation_hessian_is_half_the_hessian_of_the_square():
    weights = np.array([1.0, 4.0, 0.5])
    target = jnp.array([0.2, 0.3, 0.5])

    def kullback(deviation):
        moved = jnp.log(target) + deviation
        return 2 * (jax.nn.logsumexp(moved) - target @ deviation)

    def half(loss):
        return jax.jit(lambda: deviation_hessian(loss, 3))()

    with jax.enable_x64(True):
        hessian = half(lambda d: 2 * weights @ jnp.log(jnp.cosh(d)))
        np.testing.assert_allclose(hessian, np.diag(weights), atol=1e-12)
    expected = np.diag(target) - np.outer(target, target)
    np.testing.assert_allclose(half(kullback), expected, atol=1e-6)
    attacks, values = singular_attacks(np.eye(3, dtype=np.float32), hessian=expected)
    assert values[2] == 0
    np.testing.assert_allclose(attacks.sum(axis=1), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: jacobian(lambda x: x, chunk_size=0), ValueError, "chunk_size"),
        (lambda: jacobian(lambda x: x)(np.arange(3)), TypeError, "x must"),
        (lambda: jacobian(jnp.sum)(np.ones(3)), ValueError, "f must"),
        (lambda: jacobian(lambda x: x)(np.ones((2, 3))), ValueError, "jax.vmap"),
        (
            lambda: jacobian(lambda x: jnp.argsort(x))(np.ones(3)),
            TypeError,
            "outputs of f",
        ),
        (lambda: singular_attacks(np.ones(3)), ValueError, "jacobian"),
        (lambda: singular_attacks(np.ones((2, 3), int)), TypeError, "jacobian"),
        (
            lambda: singular_attacks(np.ones((2, 3)), hessian=np.eye(3)),
            ValueError,
            "hessian",
        ),
        (
            lambda: singular_attacks(np.ones((2, 3)), hessian=np.eye(2, dtype=int)),
            TypeError,
            "hessian",
        ),
        (lambda: deviation_hessian(lambda d: d, 2), ValueError, "squared_loss"),
        (lambda: deviation_hessian(jnp.sum, 0), ValueError, "num_outputs"),
    ],
)
def test_rejects(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_lengths_without_direction_have_gradient_zero():
    vectors = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    unit = jax.jit(linalg.unit)(vectors)
    np.testing.assert_allclose(unit, [[0, 0], [0.6, 0.8]], rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(linalg.unit(v))))(vectors)
    chex.assert_tree_all_finite(gradient)
    assert not np.any(gradient[0])
