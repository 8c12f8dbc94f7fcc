"""Tests of jtransfer.distillation: each formula against a NumPy reference."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtransfer import distillation

NUM, OUTPUTS, INPUTS = 4, 3, 5
LABELS = np.array([2, 0, 1, 2], np.int32)
TAU = 3.0
SHAPES = {
    "logits": [(NUM, OUTPUTS)],
    "logit pairs": [(NUM, OUTPUTS)] * 2,
    "vectors": [(NUM, INPUTS)] * 2,
    "jacobians": [(NUM, OUTPUTS, INPUTS)],
    "jacobian pairs": [(NUM, OUTPUTS, INPUTS)] * 2,
    "logits, jacobians": [(NUM, OUTPUTS), (NUM, OUTPUTS, INPUTS)],
    "all": [(NUM, OUTPUTS)] * 2 + [(NUM, OUTPUTS, INPUTS)] * 2,
    "heads": [(NUM, 2), (NUM, 2), (NUM, OUTPUTS)],
    "losses, points": [(NUM,), (6, 2), (NUM, 2)],
}


def probabilities(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def probability_gradients(logits, jacobian, temperature=1.0):
    """Rows: gradient of each probability, with the softmax's own Jacobian."""
    p = probabilities(logits / temperature)
    return p, (np.diag(p) - np.outer(p, p)) @ jacobian / temperature


def printed_match(t_logits, s_logits, t_jacobians, s_jacobians):
    total = 0.0
    for t, s, jt, js in zip(t_logits, s_logits, t_jacobians, s_jacobians, strict=True):
        _, teacher = probability_gradients(t, jt, TAU)
        p, student = probability_gradients(s, js, TAU)
        total -= sum(teacher[i] @ student[i] / p[i] for i in range(OUTPUTS))
    return total / NUM


def printed_norm(logits, jacobians):
    total = 0.0
    for z, jacobian, y in zip(logits, jacobians, LABELS, strict=True):
        p, gradients = probability_gradients(z, jacobian)
        total += np.sum(gradients[y] ** 2) / p[y] ** 2
    return total / NUM


def covariance(logits, jacobians):
    total = 0.0
    for z, jacobian in zip(logits, jacobians, strict=True):
        total += np.trace(
            np.cov(jacobian.T, aweights=probabilities(z), bias=True, ddof=0)
        )
    return total / NUM


def divergence(teacher, student):
    total = 0.0
    for t, s in zip(teacher, student, strict=True):
        p, q = probabilities(t / TAU), probabilities(s / TAU)
        total += np.sum(p * np.log(p / q))
    return total / NUM


def label_entropy(logits):
    pairs = zip(logits, LABELS, strict=True)
    return -np.mean([np.log(probabilities(z)[y]) for z, y in pairs])


def direction_distances(teacher, student):
    pairs = zip(teacher, student, strict=True)
    return np.array(
        [
            np.linalg.norm(t / np.linalg.norm(t) - s / np.linalg.norm(s))
            for t, s in pairs
        ]
    )


def hausdorff(a, b):
    return max(min(np.linalg.norm(p - q) for q in b) for p in a)


def squares(teacher, student):
    return np.sum((teacher - student) ** 2) / NUM


def as_maps(teacher, student):
    """Five numbers are no map of two sides: attention maps of 1 x 5 pixels."""
    return teacher[:, None], student[:, None]


CASES = {
    "match_activations": ("logit pairs", distillation.match_activations, squares),
    "soft_targets": (
        "logit pairs",
        functools.partial(distillation.soft_targets, temperature=TAU),
        divergence,
    ),
    "cross_entropy": (
        "logits",
        lambda z: distillation.cross_entropy(z, LABELS),
        label_entropy,
    ),
    "match_jacobians": ("jacobian pairs", distillation.match_jacobians, squares),
    "match_normalized_jacobians": (
        "vectors",
        distillation.match_normalized_jacobians,
        lambda t, s: np.mean(direction_distances(t, s) ** 2),
    ),
    "jacobian_norm": (
        "jacobians",
        distillation.jacobian_norm,
        lambda j: squares(j, 0),
    ),
    "printed_cross_entropy_match_jacobians": (
        "all",
        functools.partial(
            distillation.printed_cross_entropy_match_jacobians, temperature=TAU
        ),
        printed_match,
    ),
    "printed_cross_entropy_jacobian_norm": (
        "logits, jacobians",
        lambda z, j: distillation.printed_cross_entropy_jacobian_norm(z, j, LABELS),
        printed_norm,
    ),
    "jacobian_covariance": (
        "logits, jacobians",
        distillation.jacobian_covariance,
        covariance,
    ),
    "match_attention": (
        "vectors",
        lambda t, s: distillation.match_attention(*as_maps(t, s)),
        lambda t, s: np.mean(direction_distances(t, s)),
    ),
    "match_attention_mean_square": (
        "vectors",
        lambda t, s: distillation.match_attention_mean_square(*as_maps(t, s)),
        lambda t, s: np.mean(direction_distances(t, s) ** 2) / INPUTS,
    ),
    "lwf_loss": (
        "heads",
        lambda t, r, s: distillation.lwf_loss(
            t, r, s, LABELS, label_weight=2.0, matching_weight=0.5
        ),
        lambda t, r, s: 2 * label_entropy(s) + squares(t, r) / 2,
    ),
    "source_loss_bound": (
        "losses, points",
        functools.partial(distillation.source_loss_bound, lipschitz_constant=1.5),
        lambda losses, a, b: losses.max() + 1.5 * hausdorff(a, b),
    ),
}
OF_PROBABILITIES = [
    name
    for name in CASES
    if "cross_entropy" in name or name in ("soft_targets", "jacobian_covariance")
]
cases = pytest.mark.parametrize("name", CASES)


def arrays(name, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in SHAPES[CASES[name][0]]]


@functools.cache
def derivatives(name):
    """Value, gradient and a product with the second derivative, compiled once."""
    loss = CASES[name][1]

    def all_three(values, direction):
        gradient = jax.grad(lambda v: loss(*v))
        _, curvature = jax.jvp(gradient, (values,), (direction,))
        return loss(*values), gradient(values), curvature

    return jax.jit(all_three)


@cases
def test_losses_agree_with_references(name):
    _, loss, reference = CASES[name]
    for seed in range(3):
        given = arrays(name, seed)
        expected = reference(*given)
        single = loss(*(a.astype(np.float32) for a in given))
        assert single.shape == ()
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(single, expected, rtol=1e-4)
        with jax.enable_x64(True):
            np.testing.assert_allclose(loss(*given), expected, rtol=1e-10)
            assert loss(*(a.astype(np.float32) for a in given)).dtype == jnp.float32


@cases
@pytest.mark.parametrize("edge", ["zero", "equal", "one zero", "tiny", "large"])
def test_values_and_two_derivatives_are_finite(name, edge):
    given = [a.astype(np.float32) for a in arrays(name)]
    if edge == "zero":
        given = [0 * a for a in given]
    elif edge == "equal":
        shared = {a.shape: a for a in given}
        given = [shared[a.shape] for a in given]
    elif edge == "one zero":
        given[-1] = 0 * given[-1]
    else:
        given = [a * np.float32(1e-30 if edge == "tiny" else 1e6) for a in given]
    direction = [a.astype(np.float32) for a in arrays(name, 1)]
    chex.assert_tree_all_finite(derivatives(name)(given, direction))


@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_huge_logits(name):
    given = [a.astype(np.float32) for a in arrays(name)]
    given = [a * np.float32(1e30) if a.ndim == 2 else a for a in given]
    direction = [a.astype(np.float32) for a in arrays(name, 1)]
    chex.assert_tree_all_finite(derivatives(name)(given, direction))


@pytest.mark.parametrize("name", ["match_normalized_jacobians", "match_attention"])
def test_lengths_have_the_derivatives_of_the_plain_formula(name):
    """Their unit is a constant for differentiation, which changes no derivative."""

    def plain(teacher, student):
        t = teacher / jnp.linalg.norm(teacher, axis=1, keepdims=True)
        s = student / jnp.linalg.norm(student, axis=1, keepdims=True)
        distances = jnp.linalg.norm(t - s, axis=1)
        return jnp.mean(distances if name == "match_attention" else distances**2)

    def curvature(loss, values, direction):
        return jax.jvp(jax.grad(loss, 1), values, direction)

    with jax.enable_x64(True):
        values, direction = tuple(arrays(name)), tuple(arrays(name, 1))
        chex.assert_trees_all_close(
            jax.jit(curvature, static_argnums=0)(CASES[name][1], values, direction),
            jax.jit(curvature, static_argnums=0)(plain, values, direction),
            rtol=1e-9,
        )


def test_equal_networks_cost_nothing():
    for name in ("match_activations", "soft_targets", "match_jacobians"):
        given = arrays(name)[0].astype(np.float32)
        assert CASES[name][1](given, given) == 0
    for name in ("match_normalized_jacobians", "match_attention"):
        given = arrays(name)[0].astype(np.float32)
        # One direction, another length: also in float32 without over- or underflow.
        for factor in (1, 1e-12, 1e12, 1e30):
            scaled = given * np.float32(factor)
            np.testing.assert_allclose(CASES[name][1](given, scaled), 0, atol=1e-6)
    gradient = jax.grad(CASES["match_attention"][1], 1)(given, given)
    np.testing.assert_array_equal(gradient, 0)


def test_a_zero_direction_is_one_away_and_passes_on_no_gradient():
    teacher = np.array([[3.0, 4.0]], np.float32)
    loss = distillation.match_normalized_jacobians
    value, gradient = jax.value_and_grad(loss, 1)(teacher, 0 * teacher)
    np.testing.assert_allclose(value, 1, rtol=1e-6)
    np.testing.assert_array_equal(gradient, 0)


def test_printed_penalty_averaged_over_labels_is_the_covariance():
    logits, jacobians = arrays("jacobian_covariance")
    with jax.enable_x64(True):
        average = sum(
            jax.nn.softmax(logits[0])[y]
            * distillation.printed_cross_entropy_jacobian_norm(
                logits[:1], jacobians[:1], np.array([y], np.int32)
            )
            for y in range(OUTPUTS)
        )
        exact = distillation.jacobian_covariance(logits[:1], jacobians[:1])
    np.testing.assert_allclose(average, exact, rtol=1e-10)


def test_labels_outside_contribute_nothing():
    logits = np.zeros((2, 3), np.float32)
    for labels in ([0, 3], [0, -1]):
        value = distillation.cross_entropy(logits, np.array(labels, np.int8))
        np.testing.assert_allclose(value, np.log(3) / 2, rtol=1e-6)


@pytest.mark.parametrize("offset", [0, 1e4, 1e8, -1e30])
def test_an_offset_of_the_logits_costs_the_cross_entropy_nothing(offset):
    logits = np.full((2, 3), offset, np.float32)
    labels = np.array([0, 2], np.int32)
    value, gradient = jax.value_and_grad(distillation.cross_entropy)(logits, labels)
    np.testing.assert_allclose(value, np.log(3), rtol=1e-6)
    expected = (1 / 3 - np.eye(3)[labels]) / 2
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_forms_of_attention_matching_differ_by_a_square_and_the_pixels():
    maps = np.ones((2, 1, 2, 3), np.float32)
    maps[1, 0, 0, 0] = 5
    printed = distillation.match_attention(*maps)
    mean_square = distillation.match_attention_mean_square(*maps)
    np.testing.assert_allclose(mean_square, printed**2 / 6, rtol=1e-5)


def test_attention_map_sums_squares_over_channels():
    features = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    expected = sum(features[:, :, i].astype(np.float64) ** 2 for i in range(4))
    np.testing.assert_allclose(distillation.attention_map(features), expected, 1e-5)


two, three = np.ones((4, 3), np.float32), np.ones((4, 3, 5), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: distillation.match_activations(two, two[:2]), ValueError, "equal"),
        (lambda: distillation.match_activations(two[:0], two[:0]), ValueError, "hold"),
        (lambda: distillation.match_jacobians(two, two), ValueError, "3 axes"),
        (
            lambda: distillation.match_jacobians(three, three[:, :1]),
            ValueError,
            "equal",
        ),
        (lambda: distillation.jacobian_norm(three.astype(int)), TypeError, "jacobians"),
        (lambda: distillation.jacobian_covariance(two[:2], three), ValueError, "shape"),
        (lambda: distillation.cross_entropy(two, two[:, 0]), TypeError, "labels"),
        (lambda: distillation.attention_map(two), ValueError, "features"),
        (
            lambda: distillation.attention_peak_gradient(lambda x: x, three, window=4),
            ValueError,
            "does not fit",
        ),
        (
            lambda: distillation.pooled_attention_map(three, window=0),
            ValueError,
            "window",
        ),
        (lambda: distillation.asymmetric_hausdorff(two, two[:, :1]), ValueError, "col"),
        (
            lambda: distillation.source_loss_bound(
                two[:2, 0], two, two, lipschitz_constant=1.0
            ),
            ValueError,
            "target_losses",
        ),
        (
            lambda: distillation.selected_output_gradient(lambda x: x.sum(), two, 0),
            ValueError,
            "shape",
        ),
        (
            lambda: distillation.selected_output_gradient(jnp.ravel, two, 0.5),
            TypeError,
            "indices",
        ),
        (
            lambda: distillation.selected_output_gradient(jnp.ravel, LABELS, 0),
            TypeError,
            "x must hold",
        ),
        (
            lambda: distillation.top_output_gradients(jnp.ravel, two, num_outputs=13),
            ValueError,
            "at most 12",
        ),
        (
            lambda: distillation.projected_jacobian(jnp.ravel, two, two),
            ValueError,
            "projection",
        ),
        (
            lambda: distillation.noisy_matching(jnp.ravel, jnp.ravel, two, two),
            ValueError,
            "noise",
        ),
    ],
)
def test_rejections(call, error, message):
    with pytest.raises(error, match=message):
        call()
