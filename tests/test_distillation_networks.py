"""Tests of jtransfer.distillation on networks: gradients, noise, data sets."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtransfer import distillation

INPUTS, HIDDEN, OUTPUTS = 3, 5, 4
EVERY = np.arange(OUTPUTS, dtype=np.int32)
seeds = st.integers(0, 2**16)


def parameters(seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    shapes = (HIDDEN, INPUTS), (HIDDEN,), (OUTPUTS, HIDDEN), (OUTPUTS,)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def examples(seed, n=4, dtype=np.float64):
    return np.random.default_rng(1000 + seed).normal(size=(n, INPUTS)).astype(dtype)


def network(activation, params, x):
    inner, offset, outer, shift = params
    return outer @ activation(inner @ x + offset) + shift


def linear(params, x):
    return network(lambda z: z, params, x)


curved = functools.partial(network, jnp.tanh)
kinked = functools.partial(network, jax.nn.relu)


def jacobians(f, x):
    gradients = distillation.selected_output_gradients
    return jax.vmap(lambda x: gradients(f, x, EVERY))(x)


def tanh_jacobian(params, x):
    inner, offset, outer, _ = params
    return outer @ ((1 - np.tanh(inner @ x + offset) ** 2)[:, None] * inner)


def axis_noise(sigma, n=1):
    """Noise with the first three moments of the Gaussian, one point a direction."""
    points = sigma * np.sqrt(INPUTS) * np.concatenate([np.eye(INPUTS), -np.eye(INPUTS)])
    return np.repeat(points[:, None], n, axis=1)


@given(seeds)
def test_selected_gradients_are_rows_of_the_jacobian(seed):
    params, x = parameters(seed), examples(seed)[0]
    expected = tanh_jacobian(params, x)
    outputs = np.asarray(network(np.tanh, params, x))
    order = np.argsort(-outputs)
    with jax.enable_x64(True):
        every, one, largest, top = _selections(params, x, np.int8(2))
        close = functools.partial(np.testing.assert_allclose, rtol=1e-9)
        close(every, expected)
        close(one, expected[2])
        close(largest.gradient, expected[order[0]])
        close(top.gradient, expected[order[:2]])
        assert largest.index == order[0]
        assert top.index.tolist() == order[:2].tolist()


@jax.jit
def _selections(params, x, index):
    f = functools.partial(curved, params)
    return (
        distillation.selected_output_gradients(f, x, EVERY),
        distillation.selected_output_gradient(f, x, index),
        distillation.largest_output_gradient(f, x),
        distillation.top_output_gradients(f, x, num_outputs=2),
    )


def test_outputs_outside_have_no_gradient_and_small_indices_do_not_wrap():
    gradient = distillation.selected_output_gradient
    x = np.ones(300, np.float32)
    for index in (-1, 300):
        np.testing.assert_array_equal(gradient(lambda x: x, x, index), 0)
    assert gradient(lambda x: x, x, np.uint8(200)).tolist().index(1.0) == 200
    negative = np.array([-9.0, 2.0, 1.0], np.float32)
    assert distillation.largest_output_gradient(lambda x: x, negative).index == 1


@given(seeds)
def test_jacobians_do_not_change_when_hidden_units_are_permuted(seed):
    inner, offset, outer, shift = parameters(seed)
    order = np.random.default_rng(seed).permutation(HIDDEN)
    permuted = [inner[order], offset[order], outer[:, order], shift]
    with jax.enable_x64(True):
        expected = _curved_jacobians([inner, offset, outer, shift], examples(seed))
        value = _curved_jacobians(permuted, examples(seed))
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)


@jax.jit
def _curved_jacobians(params, x):
    return jacobians(functools.partial(curved, params), x)


JACOBIAN_LOSSES = {
    "all outputs": lambda t, s, x: distillation.match_jacobians(
        jacobians(t, x), jacobians(s, x)
    ),
    "norm": lambda t, s, x: distillation.jacobian_norm(jacobians(s, x)),
    "largest output": lambda t, s, x: _largest(t, s, x),
    "attention peak": lambda t, s, x: _peaks(t, s, x),
    "printed cross-entropy": lambda t, s, x: (
        distillation.printed_cross_entropy_match_jacobians(
            jax.vmap(t)(x), jax.vmap(s)(x), jacobians(t, x), jacobians(s, x)
        )
    ),
    "covariance": lambda t, s, x: distillation.jacobian_covariance(
        jax.vmap(s)(x), jacobians(s, x)
    ),
    "projections": lambda t, s, x: distillation.stochastic_match_jacobians(
        t, s, x, jax.random.key(0), num_projections=2
    ),
}


def _largest(teacher, student, x):
    target, index = jax.vmap(
        functools.partial(distillation.largest_output_gradient, teacher)
    )(x)
    gradient = functools.partial(distillation.selected_output_gradient, student)
    return distillation.match_jacobians(
        target[:, None], jax.vmap(gradient)(x, index)[:, None]
    )


def _peaks(teacher, student, x):
    def features(f, x):
        return f(x).reshape(2, 2, 1)

    def losses(x):
        target, index = distillation.attention_peak_gradient(
            functools.partial(features, teacher), x, window=1
        )
        gradient, _ = distillation.attention_peak_gradient(
            functools.partial(features, student), x, window=1, index=index
        )
        return target, gradient

    return distillation.match_normalized_jacobians(*jax.vmap(losses)(x))


@functools.cache
def _derivatives(name, f):
    loss = JACOBIAN_LOSSES[name]

    def all_three(teacher, student, x, direction):
        def of(params):
            return loss(functools.partial(f, teacher), functools.partial(f, params), x)

        gradient, curvature = jax.jvp(jax.grad(of), (student,), (direction,))
        return of(student), gradient, curvature

    return jax.jit(all_three)


@pytest.mark.parametrize("name", JACOBIAN_LOSSES)
def test_training_through_a_jacobian_agrees_with_differences(name):
    teacher, student, direction = (parameters(seed) for seed in (0, 1, 2))
    x, step = examples(0), 1e-5
    with jax.enable_x64(True):
        all_three = _derivatives(name, curved)
        _, gradient, curvature = all_three(teacher, student, x, direction)

        def moved(sign):
            pairs = zip(student, direction, strict=True)
            moved = [p + sign * step * d for p, d in pairs]
            return all_three(teacher, moved, x, direction)

        (high, up, _), (low, down, _) = moved(1), moved(-1)
        slope = sum(
            np.sum(np.asarray(g) * d) for g, d in zip(gradient, direction, strict=True)
        )
        np.testing.assert_allclose(slope, (high - low) / (2 * step), 1e-6, 1e-8)
        differences = jax.tree.map(lambda u, d: (u - d) / (2 * step), up, down)
        chex.assert_trees_all_close(curvature, differences, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", JACOBIAN_LOSSES)
@pytest.mark.parametrize("state", ["zero", "dead", "equal"])
def test_second_derivatives_are_finite(name, state):
    teacher, student, direction = (parameters(s, np.float32) for s in (0, 1, 2))
    if state == "zero":
        student = [0 * p for p in student]
    elif state == "dead":
        student[1] = student[1] - 1000
        student[3] = 0 * student[3]
    else:
        student = teacher
    x = examples(0, dtype=np.float32)
    derivatives = _derivatives(name, kinked)(teacher, student, x, direction)
    chex.assert_tree_all_finite(derivatives)


# Propositions 1 and 2 as printed drop the Laplacians of the networks, and hold exactly
# (for every sigma, not only small ones) on LINEAR networks alone: noise expectations
# are tested there, and test_printed_proposition_is_false_for_curved_networks says what
# is true beyond.


@given(seeds, st.sampled_from([1e-2, 1.0, 10.0]))
def test_propositions_1_and_2_on_linear_networks(seed, sigma):
    teacher, student = parameters(seed), parameters(seed + 1)
    constant = [teacher[0], teacher[1], 0 * teacher[2], teacher[3]]
    x = examples(seed)
    with jax.enable_x64(True):
        for target in (teacher, constant):
            noisy, plain, jacobian, norm = _noise_terms(
                target, student, x, axis_noise(sigma, len(x))
            )
            np.testing.assert_allclose(noisy, plain + sigma**2 * jacobian, rtol=1e-9)
        # With targets that do not see the noise the Jacobian term is the norm.
        np.testing.assert_allclose(jacobian, norm, rtol=1e-9)


@jax.jit
def _noise_terms(teacher, student, x, noise):
    t, s = functools.partial(linear, teacher), functools.partial(linear, student)
    return (
        distillation.noisy_matching(t, s, x, noise),
        distillation.match_activations(jax.vmap(t)(x), jax.vmap(s)(x)),
        distillation.match_jacobians(jacobians(t, x), jacobians(s, x)),
        distillation.jacobian_norm(jacobians(s, x)),
    )


def test_gaussian_draws_have_the_expectation_of_proposition_1():
    teacher, student = (parameters(seed, np.float32) for seed in (0, 1))
    x, sigma = examples(0, n=2, dtype=np.float32), 0.7
    t, s = functools.partial(linear, teacher), functools.partial(linear, student)
    drawn = distillation.noise_augmented_matching(
        t, s, x, jax.random.key(0), sigma=sigma, num_draws=20_000
    )
    _, plain, jacobian, _ = _noise_terms(teacher, student, x, np.zeros((1, *x.shape)))
    np.testing.assert_allclose(drawn, plain + sigma**2 * jacobian, rtol=0.02)


def test_draws_come_in_pairs():
    """Odd orders cancel: at 0 the sign of an offset of linear functions is lost."""
    x, key = np.zeros((2, 3), np.float32), jax.random.key(0)
    draw = functools.partial(distillation.noise_augmented_matching, sigma=1.0)
    above, below = (
        draw(lambda x: 2 * x, lambda x, b=b: x + b, x, key, num_draws=4)
        for b in (1.0, -1.0)
    )
    np.testing.assert_allclose(above, below, rtol=1e-6)
    odd = draw(lambda x: 2 * x, lambda x: x, x, key, num_draws=3)
    assert odd > 0


@given(seeds, st.sampled_from([1e-2, 1.0, 10.0]))
def test_normalised_noise_on_linear_functions(seed, sigma):
    """Section 5.2.2: noise scaled by each gradient's length, exact for linear f, g."""
    gradients = np.random.default_rng(seed).normal(size=(2, INPUTS))
    gradients[1] *= 100
    scales = np.linalg.norm(gradients, axis=1)
    noise = axis_noise(sigma)[:, 0]
    responses = [noise @ g / s for g, s in zip(gradients, scales, strict=True)]
    for response in responses:
        np.testing.assert_allclose(np.mean(response**2), sigma**2, rtol=1e-12)
    with jax.enable_x64(True):
        loss = float(
            distillation.match_normalized_jacobians(gradients[:1], gradients[1:])
        )
    difference = np.mean((responses[0] - responses[1]) ** 2)
    np.testing.assert_allclose(difference, sigma**2 * loss, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_noise_turns_the_gradient_towards_jacobian_matching(seed):
    """Of rectifiers, once the noise does not reach the kinks any more.

    Before that the kinks, whose effect is of the order sigma, outweigh the second order
    and the direction is far off; it is not a matter of a merely small sigma.
    """
    teacher, student = parameters(seed), parameters(seed + 100)
    candidates = examples(seed, n=1000)
    distances = np.min([kink_distances(p, candidates) for p in (teacher, student)], 0)
    x = candidates[np.argsort(-distances)[:3]]
    reach = np.sort(distances)[-3]
    with jax.enable_x64(True):
        far, near, at = (
            float(_cosine(teacher, student, x, jax.random.key(0), sigma))
            for sigma in (10 * reach, reach / 5, reach / 1000)
        )
    assert far < 0.98
    assert near > 0.999
    # Below, nothing changes: the networks are linear there.
    np.testing.assert_allclose(at, near, atol=1e-5)


def kink_distances(params, x):
    """Distances `[n]` of examples to the nearest switch of a hidden unit."""
    inner, offset, _, _ = params
    return np.min(np.abs(x @ inner.T + offset) / np.linalg.norm(inner, axis=1), axis=1)


@jax.jit
def _cosine(teacher, student, x, key, sigma):
    t = functools.partial(kinked, teacher)

    def excess(params):
        s = functools.partial(kinked, params)
        noisy = distillation.noise_augmented_matching(
            t, s, x, key, sigma=sigma, num_draws=5000
        )
        plain = distillation.match_activations(jax.vmap(t)(x), jax.vmap(s)(x))
        return (noisy - plain) / sigma**2

    def matching(params):
        s = functools.partial(kinked, params)
        return distillation.match_jacobians(jacobians(t, x), jacobians(s, x))

    a, b = (
        jnp.concatenate([g.ravel() for g in jax.grad(loss)(student)])
        for loss in (excess, matching)
    )
    return jnp.sum(a * b) / jnp.linalg.norm(a) / jnp.linalg.norm(b)


def test_printed_proposition_is_false_for_curved_networks():
    """The exact second order has (T - S)(lap T - lap S) besides the Jacobians."""
    with jax.enable_x64(True):
        excess, printed, correction = _curved_excess(
            parameters(0), parameters(1), examples(0), 1e-3
        )
        np.testing.assert_allclose(excess, printed + correction, rtol=1e-4)
        assert abs(excess - printed) > 0.1 * abs(excess)


@jax.jit
def _curved_excess(teacher, student, x, sigma):
    t, s = functools.partial(curved, teacher), functools.partial(curved, student)
    noisy = distillation.noisy_matching(t, s, x, sigma * axis_noise(1, len(x)))
    plain = distillation.match_activations(jax.vmap(t)(x), jax.vmap(s)(x))
    printed = distillation.match_jacobians(jacobians(t, x), jacobians(s, x))

    def difference(x):
        return t(x) - s(x)

    def dropped(x):
        return jnp.sum(difference(x) * laplacian(difference)(x))

    return (noisy - plain) / sigma**2, printed, jnp.mean(jax.vmap(dropped)(x))


def laplacian(f):
    return lambda x: jnp.trace(jax.hessian(f)(x), axis1=1, axis2=2)


def test_label_cross_entropy_under_noise():
    """Of linear logits: the covariance is its second order, Eq. (3) is not."""
    with jax.enable_x64(True):
        excess, exact, printed = _label_excess(parameters(1), examples(0), 1e-3)
        np.testing.assert_allclose(excess, exact, rtol=1e-3)
        assert abs(printed - exact) > 0.1 * exact


@jax.jit
def _label_excess(params, x, sigma):
    f, labels = functools.partial(linear, params), np.arange(4, dtype=np.int32)
    logits, rows = jax.vmap(f)(x), jacobians(f, x)

    def loss(_, logits):
        every = jnp.tile(labels, len(logits) // len(labels))
        return distillation.cross_entropy(logits, every)

    noise = sigma * axis_noise(1, len(x))
    noisy = distillation.noisy_matching(f, f, x, noise, loss=loss)
    return (
        (noisy - loss(None, logits)) / sigma**2,
        distillation.jacobian_covariance(logits, rows) / 2,
        distillation.printed_cross_entropy_jacobian_norm(logits, rows, labels),
    )


def test_soft_cross_entropy_under_noise():
    """Of linear logits: Eq. (2) keeps one term of its second order."""
    with jax.enable_x64(True):
        excess, kept, dropped = _soft_excess(
            parameters(0), parameters(1), examples(0), 1e-3
        )
        np.testing.assert_allclose(excess, kept + dropped, rtol=1e-3)
        assert abs(dropped) > 0.1 * abs(kept)


@jax.jit
def _soft_excess(teacher, student, x, sigma):
    t, s = functools.partial(linear, teacher), functools.partial(linear, student)
    values = [jax.vmap(f)(x) for f in (t, s)]

    def loss(teacher, student):
        products = jax.nn.softmax(teacher) * jax.nn.log_softmax(student)
        return -jnp.mean(jnp.sum(products, axis=1))

    def dropped(x):
        def probs(x):
            return jax.nn.softmax(t(x))

        def logs(x):
            return jax.nn.log_softmax(s(x))

        terms = laplacian(probs)(x) * logs(x) + probs(x) * laplacian(logs)(x)
        return -jnp.sum(terms) / 2

    noise = sigma * axis_noise(1, len(x))
    noisy = distillation.noisy_matching(t, s, x, noise, loss=loss)
    kept = distillation.printed_cross_entropy_match_jacobians(
        *values, jacobians(t, x), jacobians(s, x)
    )
    return (noisy - loss(*values)) / sigma**2, kept, jnp.mean(jax.vmap(dropped)(x))


@given(seeds)
def test_projections_are_unbiased(seed):
    """Over all signs, each as likely as any other, the mean is exact."""
    params, x = parameters(seed), examples(seed)[0]
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=OUTPUTS)))
    with jax.enable_x64(True):
        rows = _projected(params, x, signs)
    norms = np.sum(np.asarray(rows) ** 2, axis=1)
    expected = np.sum(tanh_jacobian(params, x) ** 2)
    np.testing.assert_allclose(np.mean(norms), expected, rtol=1e-9)


@jax.jit
def _projected(params, x, projection):
    f = functools.partial(curved, params)
    return distillation.projected_jacobian(f, x, projection)


def test_random_projections_are_independent_signs():
    n, rows = 4**6, 4
    drawn = distillation.random_projection(
        jax.random.key(0), num_projections=n * rows, num_outputs=3
    )
    # The rows of one draw are as independent as draws: n projections of 4 rows each.
    drawn = np.asarray(drawn, np.float64).reshape(n, rows, 3) * n**0.5
    np.testing.assert_array_equal(np.abs(drawn), 0.5)
    np.testing.assert_allclose(np.mean(drawn, axis=0), 0, atol=5 * 0.5 / n**0.5)
    products = np.einsum("nsi,nsj->ij", drawn, drawn) / n
    np.testing.assert_allclose(products, np.eye(3), atol=5 * 0.5 / n**0.5)


def test_stochastic_penalties_have_the_mean_of_the_full_ones():
    teacher, student = (parameters(seed, np.float32) for seed in (0, 1))
    x, keys = examples(0, dtype=np.float32), jax.random.split(jax.random.key(0), 2000)
    t = functools.partial(curved, teacher)

    def stochastic(params, key):
        s = functools.partial(curved, params)
        return distillation.stochastic_match_jacobians(
            t, s, x, key, num_projections=1
        ) + distillation.stochastic_jacobian_norm(s, x, key, num_projections=1)

    def full(params):
        s = functools.partial(curved, params)
        rows = jacobians(s, x)
        return distillation.match_jacobians(
            jacobians(t, x), rows
        ) + distillation.jacobian_norm(rows)

    drawn = jax.jit(jax.vmap(jax.value_and_grad(stochastic), (None, 0)))(student, keys)
    expected = jax.jit(jax.value_and_grad(full))(student)
    for samples, mean in zip(
        jax.tree.leaves(drawn), jax.tree.leaves(expected), strict=True
    ):
        error = np.std(samples, axis=0) / len(keys) ** 0.5
        assert np.all(np.abs(np.mean(samples, axis=0) - mean) <= 5 * error + 1e-4)


@given(seeds)
def test_proposition_3_and_its_corollary(seed):
    rng = np.random.default_rng(seed)
    source, target, more = (rng.normal(size=(n, INPUTS)) for n in (7, 4, 5))
    # The distance of two linear functions is Lipschitz with the norm of their
    # difference.
    difference = rng.normal(size=INPUTS)
    on_source, on_target = (np.abs(a @ difference) for a in (source, target))
    superset = np.concatenate([target, more])
    with jax.enable_x64(True):
        bound = distillation.source_loss_bound(
            on_target, source, target, lipschitz_constant=np.linalg.norm(difference)
        )
        far = distillation.asymmetric_hausdorff(source, target)
        near = distillation.asymmetric_hausdorff(source, superset)
        inside = distillation.asymmetric_hausdorff(target, superset)
        assert np.mean(on_source) <= bound + 1e-12
        assert near <= far
        assert inside == 0


def feature_map(x):
    return x[..., None]


def test_attention_peak_is_the_window_of_the_largest_mean():
    # The largest pixel, 3.5 at the top left, is not in the window of the largest mean.
    x = np.array([[3.5, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 3]], np.float32)
    gradient, index = distillation.attention_peak_gradient(feature_map, x, window=2)
    # Every 2 x 2 window that fits (stride 1, VALID): two rows of three.
    np.testing.assert_allclose(
        distillation.pooled_attention_map(feature_map(x), window=2),
        np.array([[12.25, 1, 5], [0, 1, 14]]) / 4,
    )
    assert index == 5
    # d mean(x^2) / dx = 2 x / 4 inside the window, 0 outside.
    expected = [[0, 0, 0, 0], [0, 0, 0.5, 1], [0, 0, 0, 1.5]]
    np.testing.assert_allclose(gradient.reshape(3, 4), expected)


def test_the_teachers_peak_is_used_for_the_student():
    x = np.array([[1.0, 2.0, 5.0], [1.0, 1.0, 1.0]], np.float32)

    def teacher(x):
        return feature_map(x[:, ::-1])

    target, index = distillation.attention_peak_gradient(teacher, x, window=1)
    own, elsewhere = distillation.attention_peak_gradient(feature_map, x, window=1)
    assert (int(index), int(elsewhere)) == (0, 2)
    gradient, same = distillation.attention_peak_gradient(
        feature_map, x, window=1, index=index
    )
    assert same == index
    assert target.tolist() == [0, 0, 10, 0, 0, 0]
    assert own.tolist() == [0, 0, 10, 0, 0, 0]
    assert gradient.tolist() == [2, 0, 0, 0, 0, 0]


def test_peak_of_equal_windows_is_the_first_and_outside_there_is_none():
    peak = functools.partial(
        distillation.attention_peak_gradient, feature_map, np.ones((3, 3), np.float32)
    )
    assert peak(window=2).index == 0
    assert peak(window=3).gradient.tolist() == pytest.approx([2 / 9] * 9)
    assert not np.any(peak(window=2, index=4).gradient)
    batch = jax.vmap(
        lambda x: distillation.attention_peak_gradient(feature_map, x, window=1)
    )(np.eye(4, dtype=np.float32).reshape(4, 2, 2))
    assert batch.index.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(batch.gradient, 2 * np.eye(4))
