"""Tests of jtransfer.attacks against the attacks written out as loops."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtransfer import attacks
from jtransfer.adversarial import alpha1
from jtransfer.attacks import L2, LINF, best_attack, fgsm, pgd

seeds = st.integers(0, 2**16)
SHAPE = (2, 3)
RNG = np.random.default_rng(0)
WEIGHTS, OTHER_WEIGHTS = RNG.normal(size=(2, 4, 6))
EPSILON, STEP = 0.3, 0.1


def network(x):
    return jnp.tanh(jnp.asarray(WEIGHTS, x.dtype) @ x.ravel())


def other_network(x):
    return jnp.sin(jnp.asarray(OTHER_WEIGHTS, x.dtype) @ x.ravel())


def gradient_of_square(x, clean):
    """Of `|network(x) - network(clean)|^2`, by hand."""
    out, reference = (np.tanh(WEIGHTS @ y.ravel()) for y in (x, clean))
    return (2 * WEIGHTS.T @ ((out - reference) * (1 - out**2))).reshape(x.shape)


def loop(x, start, norm, num_steps, decay, bounds):
    """Projected ascent, one sentence of the definition a line."""
    delta, momentum = start, np.zeros_like(x)
    for _ in range(num_steps):
        gradient = gradient_of_square(x + delta, x)
        momentum = decay * momentum + gradient / np.abs(gradient).sum()
        if norm is LINF:
            delta = delta + STEP * np.sign(momentum)
            delta = np.clip(delta, -EPSILON, EPSILON)
        else:
            delta = delta + STEP * momentum / np.linalg.norm(momentum)
            delta = delta * min(1, EPSILON / np.linalg.norm(delta))
        delta = np.clip(x + delta, *bounds) - x
    return delta


@functools.cache
def deviating(norm, num_steps, decay, bounds, unroll=1):
    return jax.jit(
        lambda x, start: pgd(
            attacks.deviation_loss(network, x),
            x,
            start,
            norm=norm,
            epsilon=EPSILON,
            step_size=STEP,
            num_steps=num_steps,
            decay=decay,
            bounds=bounds,
            unroll=unroll,
        )
    )


def task(seed, norm):
    rng = np.random.default_rng(seed)
    start = rng.uniform(-0.1, 0.1, SHAPE)
    return rng.uniform(-0.9, 0.9, SHAPE), start


@given(seeds, st.sampled_from([LINF, L2]), st.sampled_from([0.0, 1.0]))
def test_pgd_is_the_loop(seed, norm, decay):
    x, start = task(seed, norm)
    start = np.clip(x + start, -1, 1) - x
    with jax.enable_x64(True):
        delta = deviating(norm, 5, decay, (-1, 1))(x, start)
    np.testing.assert_allclose(
        delta, loop(x, start, norm, 5, decay, (-1, 1)), atol=1e-12
    )


@pytest.mark.parametrize("norm", [LINF, L2])
def test_single_steps_from_any_start_are_the_loop(norm):
    x, start = task(0, norm)
    bounds = (-1, 1)
    with jax.enable_x64(True):
        step = jax.jit(
            lambda delta, momentum: attacks.pgd_step(
                attacks.deviation_loss(network, x),
                x,
                delta,
                momentum,
                norm=norm,
                epsilon=EPSILON,
                step_size=STEP,
                decay=1.0,
                bounds=bounds,
            )
        )
        # The start breaks the limits, and is moved inside as by `pgd`.
        state = 5 * start, np.zeros_like(x)
        for _ in range(5):
            state = step(*state)
        expected = deviating(norm, 5, 1.0, bounds)(x, 5 * start)
    np.testing.assert_allclose(state[0], expected, atol=1e-12)


@given(seeds, st.sampled_from([LINF, L2]))
def test_ball_and_box_are_kept_and_the_loss_rises_in_float32(seed, norm):
    x, start = (a.astype(np.float32) for a in task(seed, norm))
    delta = deviating(norm, 5, 0.0, (-1, 1))(x, start)
    assert delta.dtype == np.float32
    length = np.abs(delta).max() if norm is LINF else np.linalg.norm(delta)
    assert length <= EPSILON * (1 + 1e-6)
    assert np.abs(x + delta).max() <= 1
    loss = attacks.deviation_loss(network, x)
    assert loss(x + delta) >= loss(jnp.clip(x + start, -1, 1))


def test_a_start_outside_is_moved_inside():
    x = jnp.full(SHAPE, 0.9)
    for norm in (LINF, L2):
        delta = deviating(norm, 0, 0.0, (-1, 1))(x, jnp.full(SHAPE, 0.5))
        length = np.abs(delta).max() if norm is LINF else np.linalg.norm(delta)
        assert length <= EPSILON * (1 + 1e-6)
        assert np.max(x + delta) <= 1


def test_unrolled_and_mapped_loops_agree():
    with jax.enable_x64(True):
        xs, starts = np.stack([task(seed, L2) for seed in range(3)], axis=1)
        attack = deviating(L2, 5, 1.0, None)
        plain = [attack(*pair) for pair in zip(xs, starts, strict=True)]
        rolled = jax.vmap(attack)(xs, starts)
        unrolled = jax.vmap(deviating(L2, 5, 1.0, None, True))(xs, starts)
        chex.assert_trees_all_close(jnp.stack(plain), rolled, unrolled, atol=1e-12)


def test_fgsm_is_one_step_of_the_whole_radius():
    with jax.enable_x64(True):
        x, start = task(0, LINF)
        loss = attacks.deviation_loss(network, x)
        delta = fgsm(loss, x, start, norm=LINF, epsilon=EPSILON, bounds=(-1, 1))
    start = np.clip(x + start, -1, 1) - x
    step = EPSILON * np.sign(gradient_of_square(x + start, x))
    expected = np.clip(np.clip(start + step, -EPSILON, EPSILON), -1 - x, 1 - x)
    np.testing.assert_allclose(delta, expected, atol=1e-12)


@pytest.mark.parametrize("norm", [LINF, L2])
def test_without_a_gradient_nothing_moves_and_nothing_breaks(norm):
    x, zero = jnp.ones(3), jnp.zeros(3)
    attack = functools.partial(
        pgd, norm=norm, epsilon=1.0, step_size=0.5, num_steps=2, decay=1.0
    )
    still = jax.jit(lambda x: attack(lambda y: jnp.sum(y) * 0, x, zero))(x)
    np.testing.assert_array_equal(still, zero)
    for scale in (1e-42, 1e-30, 1e38):
        delta = jax.jit(lambda x, s: attack(lambda y: s * jnp.sum(y), x, zero))(
            x, scale
        )
        chex.assert_tree_all_finite(delta)
        if scale > 1e-40:
            expected = 1.0 if norm is LINF else 1 / np.sqrt(3)
            np.testing.assert_allclose(delta, np.full(3, expected), rtol=1e-6)


def test_tiny_radii_are_kept():
    x, start = jnp.ones(3), jnp.zeros(3)
    delta = fgsm(jnp.sum, x, start, norm=L2, epsilon=1e-25)
    np.testing.assert_allclose(np.linalg.norm(delta / 1e-25), 1, rtol=1e-6)
    project = jax.jit(L2.project)(delta, 1e-26)
    np.testing.assert_allclose(np.linalg.norm(project / 1e-26), 1, rtol=1e-6)


def test_random_starts_are_uniform_in_their_ball():
    x, n = jnp.zeros(SHAPE), 4000
    keys = jax.random.split(jax.random.key(0), n)
    cube, ball = (
        np.asarray(jax.jit(jax.vmap(lambda key, f=norm.uniform: f(key, x, 2.0)))(keys))
        for norm in (LINF, L2)
    )
    assert cube.shape == ball.shape == (n, *SHAPE)
    shares = [np.sort(np.abs(cube[:, 0, 0])) / 2]
    shares.append(np.sort(np.linalg.norm(ball.reshape(n, -1), axis=1) / 2) ** 6)
    for share in shares:  # The distance of Kolmogorov and Smirnov.
        assert np.abs(share - np.arange(n) / n).max() < 1.95 / np.sqrt(n)
    assert np.abs(ball.mean(axis=0)).max() < 0.06
    assert np.abs(cube.mean(axis=0)).max() < 0.08


def test_losses_have_their_values():
    x, moved = RNG.normal(size=(2, *SHAPE)).astype(np.float32)
    clean, out = (np.tanh(WEIGHTS @ y.ravel()) for y in (x, moved))
    deviation = out - clean
    log_probs = out - np.log(np.exp(out).sum())
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
    close(attacks.deviation_loss(network, x)(moved), deviation @ deviation)
    hessian = np.diag(np.float32([1, 2, 3, 4]))
    weighted = attacks.deviation_loss(network, x, hessian=hessian)(moved)
    close(weighted, deviation @ hessian @ deviation)
    close(attacks.cross_entropy_loss(network, 2)(moved), -log_probs[2])
    close(attacks.prediction_loss(network, x)(moved), -log_probs[clean.argmax()])
    gradient = jax.grad(attacks.deviation_loss(network, x))(x)
    np.testing.assert_array_equal(gradient, 0)


@functools.cache
def both_attacks():
    """PGD on either network from the same starts, and alpha1 of the second."""

    @jax.jit
    @jax.vmap
    def run(x, start):
        deltas = jnp.stack(
            [
                pgd(
                    attacks.deviation_loss(f, x),
                    x,
                    start,
                    norm=LINF,
                    epsilon=EPSILON,
                    step_size=STEP,
                    num_steps=3,
                )
                for f in (other_network, network)
            ]
        )
        own = best_attack(attacks.deviation_loss(other_network, x), x, deltas)
        moved = [other_network(x + d) for d in (deltas[0], deltas[1], own)]
        return [out - other_network(x) for out in moved]

    return run


@settings(max_examples=5)
@given(seeds)
def test_the_best_of_several_attacks_keeps_alpha1_below_one(seed):
    rng = np.random.default_rng(seed)
    x, start = rng.uniform(-1, 1, size=(2, 200, *SHAPE)).astype(np.float32)
    single, transferred, best = both_attacks()(x, EPSILON * start)
    assert np.max(alpha1(transferred, single)) > 1
    assert np.max(alpha1(transferred, best)) <= 1 + 1e-5
    assert np.max(alpha1(single, best)) <= 1 + 1e-5


def test_the_best_attack_is_the_first_that_is_a_number():
    deltas = jnp.array([[jnp.nan], [2.0], [-2.0], [1.0]])
    best = best_attack(lambda x: jnp.sum(x**2), jnp.zeros(1), deltas)
    np.testing.assert_array_equal(best, [2.0])


def test_small_attacks_find_the_leading_singular_direction():
    rng = np.random.default_rng(3)
    left = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    right = np.linalg.qr(rng.normal(size=(6, 4)))[0]
    sigma = np.array([2, 1, 0.5, 0.1])
    jacobian = left * sigma @ right.T

    @jax.jit
    def attack(epsilon, start):
        f = lambda x: jnp.tanh(jacobian @ x)  # noqa: E731
        delta = pgd(
            attacks.deviation_loss(f, jnp.zeros(6)),
            jnp.zeros(6),
            epsilon * start,
            norm=L2,
            epsilon=epsilon,
            step_size=epsilon / 2,
            num_steps=60,
        )
        return delta / epsilon, jnp.linalg.norm(f(delta)) / epsilon

    with jax.enable_x64(True):
        start = L2.uniform(jax.random.key(0), jnp.zeros(6), 1.0)
        for epsilon in (1e-1, 1e-2, 1e-4):
            delta, deviation = attack(epsilon, start)
            assert abs(deviation - 2) <= 4 * epsilon**2 + 1e-7
            assert abs(np.asarray(delta) @ right[:, 0]) >= 1 - epsilon**2 - 1e-9


def test_attacks_are_constants():
    def moved(scale):
        loss = lambda y: scale * jnp.sum(y**2)  # noqa: E731
        x = jnp.ones(2)
        return jnp.sum(fgsm(loss, x, jnp.zeros(2), norm=L2, epsilon=scale))

    assert jax.grad(moved)(1.0) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: fgsm(network, x, x, norm=L2, epsilon=1), ValueError, "loss"),
        (lambda x: fgsm(jnp.sum, x, x[0], norm=L2, epsilon=1), ValueError, "start"),
        (
            lambda x: fgsm(jnp.sum, x.astype(int), x, norm=L2, epsilon=1),
            TypeError,
            "x must",
        ),
        (
            lambda x: pgd(jnp.sum, x, x, norm=L2, epsilon=1, step_size=1, num_steps=-1),
            ValueError,
            "num_steps",
        ),
        (lambda x: best_attack(jnp.sum, x, x), ValueError, "deltas"),
        (lambda x: best_attack(network, x, x[None]), ValueError, "loss"),
        (lambda x: attacks.cross_entropy_loss(network, x), ValueError, "label"),
        (lambda x: attacks.cross_entropy_loss(network, 1.0), TypeError, "label"),
        (
            lambda x: attacks.deviation_loss(network, x, hessian=np.eye(3)),
            ValueError,
            "hessian",
        ),
    ],
)
def test_rejects(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones(SHAPE, np.float32))
