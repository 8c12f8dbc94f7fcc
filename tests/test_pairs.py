"""Tests of jtransfer.pairs against definitions in float64, closed forms and edges."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtransfer import adversarial, attacks, matching, pairs
from jtransfer.attacks import L2, LINF
from jtransfer.intervals import Estimate, jackknife_interval
from jtransfer.pairs import _by_attack, _gradients, theorems
from jtransfer.pairs.results import ByRole

N, SHAPE = 14, (2, 2, 1)
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0.3, 0.7, size=(N, *SHAPE)).astype(np.float32)
BLOCKS = np.arange(N) % 4
WEIGHTS = RNG.normal(size=(4, 3, 4)).astype(np.float32)


def _linear(weights, x):
    return weights @ x.ravel()


def _curved(weights, x):
    return jnp.tanh(3 * weights @ x.ravel())


def linear(weights):
    """A linear function; all of one shape share what is compiled."""
    return jax.tree_util.Partial(_linear, np.asarray(weights, np.float32))


def curved(seed, num_outputs=3):
    """A function whose gradients change from image to image."""
    return jax.tree_util.Partial(_curved, jnp.asarray(WEIGHTS[seed, :num_outputs]))


@pytest.fixture(autouse=True, scope="module")
def _small_batches():
    """Two batches, the second of them filled up."""
    patch = pytest.MonkeyPatch()
    patch.setattr(_gradients, "BATCH_SIZE", 10)
    for function in (pairs.attacked, pairs.transfer):
        patch.setitem(function.__kwdefaults__, "batch_size", 10)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def pair():
    return pairs.function_pair(curved(0), curved(1), IMAGES, BLOCKS, KEY, num_steps=4)


def deviations(weights, weights_2):
    """Deviations of a linear classifier of two classes and of another under attack.

    The cross-entropy rises along the difference of the two rows, whose sign does not
    change: PGD ends in the corner of the box there.
    """
    w, v = (np.asarray(f, np.float64) for f in (weights, weights_2))
    x = IMAGES.reshape(N, -1).astype(np.float64)
    away = np.where((x @ w.T).argmax(axis=1)[:, None] == 0, 1, -1) * (w[1] - w[0])
    delta = 0.1 * np.sign(away)
    return delta @ w.T, delta @ v.T


def definition(own, transferred, white_box):
    """alpha1, alpha2 and alpha12 as they are defined, the norms over all pairs."""
    lengths = [np.linalg.norm(f, axis=1) for f in (own, transferred, white_box)]
    ratio = lengths[1] / np.maximum(lengths[1], lengths[2])
    u, v = own / lengths[0][:, None], transferred / lengths[1][:, None]
    cosines = (u @ u.T) * (v @ v.T)
    combined = (cosines * np.outer(ratio, ratio)).mean()
    return ratio.mean(), cosines.mean() ** 0.5, combined**0.5


def values(sums):
    return (
        pairs.alpha1_of_sums(sums),
        pairs.alpha2_of_sums(sums),
        pairs.alpha12_of_sums(sums),
    )


def test_linear_classifiers_in_closed_form():
    weights = WEIGHTS[0, :2], WEIGHTS[1, :2]
    result = pairs.function_pair(
        linear(weights[1]), linear(weights[0]), IMAGES, BLOCKS, KEY
    )
    (own, moved), (other_own, other_moved) = (
        deviations(*both) for both in (weights, weights[::-1])
    )
    to_source, to_target = (
        values(pairs.merged(t.blocks)) for t in (result.to_source, result.to_target)
    )
    assert to_source == pytest.approx(definition(own, moved, other_own), rel=1e-4)
    assert to_target == pytest.approx(definition(other_own, other_moved, own), rel=1e-4)


def test_a_single_output_is_attacked_through_its_deviation():
    w, v = WEIGHTS[2, :1], WEIGHTS[3, :1]
    result = pairs.function_pair(linear(v), linear(w), IMAGES, BLOCKS, KEY).to_source
    expected = abs(v @ np.sign(w[0])) / np.abs(v).sum()
    np.testing.assert_allclose(result.alpha1, np.full(N, expected[0]), rtol=1e-4)
    assert pairs.alpha2_of_sums(pairs.merged(result.blocks)) == pytest.approx(1)
    assert result.ceiling == pytest.approx(1)


@pytest.mark.parametrize("function", [linear(WEIGHTS[0, :1]), curved(0)])
def test_a_function_and_itself(function):
    result = pairs.function_pair(function, function, IMAGES, BLOCKS, KEY, num_steps=4)
    for transfer in (result.to_source, result.to_target):
        sums = pairs.merged(transfer.blocks)
        assert pairs.alpha1_of_sums(sums) == 1
        assert pairs.alpha2_of_sums(sums) == pytest.approx(transfer.ceiling)
        assert (transfer.overtaken, transfer.still) == (0, 0)
    sums = pairs.merged(result.gradients.blocks)
    assert pairs.distance(sums) < 1e-6
    assert pairs.explained_share(sums) == pytest.approx(1)


def test_gradients_are_those_of_the_matching_distance(pair):
    with jax.enable_x64(True):
        first, second = (
            jax.vmap(jax.jacobian(lambda x, f=f: f(x)))(jnp.asarray(IMAGES))
            for f in (curved(1), curved(0))
        )
        first, second = (
            jnp.asarray(f, jnp.float64).reshape(N, 3, -1) for f in (first, second)
        )
        distances = [
            float(matching.gradient_matching_distance(a, b))
            for a, b in ((first, second), (second, first))
        ]
        share = float(matching.explained_gradient(first, second))
        singular = np.linalg.svd(first, compute_uv=False).mean(axis=0)
    sums = pairs.merged(pair.gradients.blocks)
    result = pairs.distance(sums), pairs.distance(pairs.swapped(sums))
    assert result == pytest.approx(distances, rel=1e-5)
    assert pairs.explained_share(sums) == pytest.approx(share, rel=1e-5)
    np.testing.assert_allclose(pair.gradients.reference_values, singular, rtol=1e-5)


def float64_jacobians(function, images=IMAGES):
    one = jax.vmap(jax.jacobian(lambda x: function(x)))(jnp.asarray(images))
    return np.asarray(one, np.float64).reshape(*one.shape[:2], -1)


def by_attack(attacks, grams):
    """Shares, A1 and A2 of sums over one set of examples."""
    return (
        pairs.cumulative_shares(attacks, grams),
        pairs.mean_alpha1(attacks),
        pairs.mean_alpha2(attacks, grams),
    )


def assert_shares(result, first, second):
    """They are those of `matching.attack_shares` of float64 Jacobians."""
    with jax.enable_x64(True):
        expected = matching.attack_shares(first, second)
    for value, one in zip(result, expected, strict=True):
        np.testing.assert_allclose(value, one, rtol=1e-4)


@pytest.mark.parametrize("num_outputs", [1, 2])
def test_shares_of_attacks_both_ways_with_and_without_a_block(num_outputs):
    functions = curved(1), curved(0, num_outputs)
    result = pairs.gradients(*functions, IMAGES, BLOCKS, most_attacks=10)
    first, second = map(float64_jacobians, functions)
    grams, attacks = result.blocks, result.attacks
    there = attacks.reference, grams
    back = attacks.source, pairs.swapped(grams)
    rest = BLOCKS != 2
    assert_shares(by_attack(*pairs.merged(there)), first, second)
    assert_shares(by_attack(*pairs.merged(back)), second, first)
    assert_shares(by_attack(*pairs.without(there, 2)), first[rest], second[rest])
    assert_shares(by_attack(*pairs.without(back, 2)), second[rest], first[rest])


def test_chance_of_the_shares_of_attacks_is_another_example(monkeypatch):
    monkeypatch.setattr(_gradients, "BATCH_SIZE", N)  # Others come from the batch.
    functions = curved(1), curved(0)
    result = pairs.gradients(*functions, IMAGES, BLOCKS, most_attacks=10)
    first, second = map(float64_jacobians, functions)
    wrong = result.mismatched_attacks.reference, result.mismatched
    rolled = np.roll(second, -3, axis=0)
    assert_shares(by_attack(*pairs.at(wrong, 2)), first, rolled)
    wrong = result.mismatched_attacks.source, pairs.swapped(result.mismatched)
    assert_shares(by_attack(*pairs.at(wrong, 2)), rolled, first)


def test_shares_of_attacks_cost_no_further_jacobian(monkeypatch):
    made, jacobians = [], _gradients._jacobians
    monkeypatch.setattr(
        _gradients, "_jacobians", lambda f, x: made.append(len(x)) or jacobians(f, x)
    )
    pairs.function_pair(curved(0), curved(1), IMAGES, BLOCKS, KEY, num_steps=1)
    assert made == [10] * 4  # Two batches of two functions.


def test_sums_of_attacks_fit_into_memory():
    def count(m, k):
        return _by_attack.fitting_attacks(10, m, k, num_inputs=3072, num_sets=10)

    assert (count(3, 200), count(10, 10), count(200, 3)) == (3, 10, 10)
    assert (count(500, 500), count(3000, 3000)) == (3, 1)
    few = pairs.gradients(curved(1), curved(0), IMAGES, BLOCKS, most_attacks=2)
    most = pairs.gradients(curved(1), curved(0), IMAGES, BLOCKS, most_attacks=3)
    for first, second in zip(few.attacks.source, most.attacks.source, strict=True):
        np.testing.assert_allclose(first, second[:, :2], rtol=1e-9, atol=1e-9)
    sums = [pairs.merged((f.attacks.source, f.blocks)) for f in (few, most)]
    shares = [pairs.cumulative_shares(a, pairs.swapped(g)) for a, g in sums]
    np.testing.assert_allclose(shares[0], shares[1][:2], rtol=1e-9)


def test_a_dead_direction_in_float32_is_no_attack():
    weights = RNG.normal(size=(3, 2)) @ RNG.normal(size=(2, 4))
    flat, other = linear(weights), curved(0)
    result = pairs.gradients(flat, other, IMAGES, BLOCKS, most_attacks=10)
    assert result.reference_values[2] > 0  # What rounding has left.
    sums = pairs.merged((result.attacks.reference, result.blocks))
    shares, *means = by_attack(*sums)
    np.testing.assert_allclose(shares[1:], 1, rtol=1e-6)
    assert sums[0].exists.tolist() == [N, N, 0]
    for mean in means:
        assert np.isfinite(mean[:2]).all()
        assert np.isnan(mean[2])


def test_shares_of_unrelated_gradients_are_not_defined_in_float32():
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    weights = turn[:2].astype(np.float32), turn[2:].astype(np.float32)
    result = pairs.gradients(*map(linear, weights), IMAGES, BLOCKS, most_attacks=10)
    attacks, grams = pairs.merged((result.attacks.reference, result.blocks))
    assert 0 < pairs.explained_share(grams) < 1e-12  # What rounding has left.
    assert np.isnan(pairs.cumulative_shares(attacks, grams)).all()
    np.testing.assert_allclose(pairs.mean_alpha1(attacks), [0, 0], atol=1e-6)


def theorem_measures(pair, blocks=BLOCKS, places=None):
    places = np.arange(N) % 3 if places is None else places
    return theorems.theorem_measures(pair, blocks, ByRole(places, places))


def test_intervals_and_chance_of_the_shares(pair):
    there = theorem_measures(pair).attacked_gradients.to_source
    both = pair.gradients.attacks.reference, pair.gradients.blocks
    without = np.array([by_attack(*pairs.without(both, i)) for i in range(4)])
    value = np.array(by_attack(*pairs.merged(both)))
    wrong = pair.gradients.mismatched_attacks.reference, pair.gradients.mismatched
    chance = np.array([by_attack(*pairs.at(wrong, i)) for i in range(5)])
    for row, name in enumerate(("shares", "alpha1", "alpha2")):
        for i, one in enumerate(getattr(there, name)):
            estimate = Estimate(value[row, i], without[:, row, i], chance[:, row, i])
            interval = jackknife_interval(estimate)
            np.testing.assert_allclose((one.value, one.low, one.high), interval)
            assert one.chance == pytest.approx(estimate.shuffled.mean())
            assert one.chance_high == pytest.approx(estimate.shuffled.max())
    assert (there.num_attacks, there.num_images) == (3, [N] * 3)
    assert there.shares[-1].value == pytest.approx(1)


def test_theorem_3_3_is_that_of_matching(pair):
    places = np.where(np.arange(N) < 3, -1, np.arange(N) % 3)
    transfer = theorem_measures(pair, places=places).knowledge_transfer.of_target
    known = places >= 0
    labels = np.eye(3)[places[known]]
    target, source = (
        np.asarray(f[known], np.float64)
        for f in (pair.target_outputs, pair.source_outputs)
    )
    columns = np.column_stack([source, np.ones(len(source))])

    def left(reference):
        rest = reference - columns @ np.linalg.lstsq(columns, reference)[0]
        return np.sqrt((rest**2).sum(axis=1).mean())

    assert transfer.n == N - 3
    assert transfer.loss.value == pytest.approx(left(labels))
    assert transfer.constant == pytest.approx(
        np.sqrt(((labels - labels.mean(axis=0)) ** 2).sum(axis=1).mean())
    )
    probs = np.exp(target) / np.exp(target).sum(axis=1, keepdims=True)
    both = (target, transfer.of_outputs), (probs, transfer.of_probabilities)
    for reference, bound in both:
        with jax.enable_x64(True):
            expected = matching.knowledge_transfer_bounds(reference, source, labels)
        expected = [float(one) for one in expected]
        assert [bound.low, bound.high] == pytest.approx(expected, abs=1e-7)
        assert bound.surrogate.value == pytest.approx(left(reference))
        difference = left(labels) - left(reference)
        assert bound.difference.value == pytest.approx(difference)
        assert abs(difference) <= bound.error
        assert bound.difference.low < difference < bound.difference.high
        width = (bound.high - bound.low) / left(labels)
        assert transfer.relative_width(bound) == pytest.approx(width)


def test_what_the_theorems_cannot_say_is_a_warning(pair):
    still = linear(np.zeros((3, 4)))
    result = pairs.function_pair(still, curved(0), IMAGES, BLOCKS, KEY, num_steps=1)
    few = np.where(np.arange(N) < 9, 0, -1)
    numbers = theorem_measures(result, places=few)
    for gradient in (
        numbers.attacked_gradients.to_source,
        numbers.attacked_gradients.to_target,
    ):
        assert gradient.num_images == [0, 0, 0]
        rows = (gradient.shares, gradient.alpha1, gradient.alpha2)
        assert np.isnan([one.value for row in rows for one in row]).all()
    assert numbers.knowledge_transfer.of_target is None
    lines = theorems.theorem_warnings(numbers, ByRole("still", "moved"), N)
    assert [line.split(":")[0] for line in lines] == [
        "still explains nothing of the gradients of moved",
        "100% of the images",
        "moved explains nothing of the gradients of still",
        "100% of the images",
        "moved knows too few of the images by name",
    ]
    sound = theorem_measures(pair)
    assert not theorems.theorem_warnings(sound, ByRole("one", "other"), N)


def test_outputs_are_those_of_the_function_matching_distance(pair):
    outputs = pair.target_outputs, pair.source_outputs
    sums = pairs.merged(pairs.output_grams(*outputs, blocks=BLOCKS, num_blocks=4))
    expected = float(matching.function_matching_distance(*outputs))
    assert pairs.distance(sums) == pytest.approx(expected, rel=1e-4)
    shifted = pairs.output_grams(
        *(f + 100 for f in outputs), blocks=BLOCKS, num_blocks=4
    )
    assert pairs.distance(pairs.merged(shifted)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("block", [0, 3])
def test_sums_without_a_block_are_those_of_the_other_examples(pair, block):
    attacked = [pairs.attacked(curved(i), IMAGES, KEY, num_steps=4) for i in (1, 0)]
    result = pairs.transfer(*attacked, IMAGES, BLOCKS)
    x = jnp.asarray(np.clip(IMAGES + attacked[0].deltas, 0, 1))
    own, moved = (
        np.asarray(jax.vmap(a.function)(x) - a.clean)[block != BLOCKS] for a in attacked
    )
    sums = pairs.without(result.blocks, block)
    assert sums.count == (block != BLOCKS).sum()
    assert pairs.alpha1_of_sums(sums) == pytest.approx(
        result.alpha1[block != BLOCKS].mean()
    )
    expected = float(adversarial.alpha2(own, moved))
    assert pairs.alpha2_of_sums(sums) == pytest.approx(expected, rel=1e-4)
    rest = block != BLOCKS
    subset = pairs.gradients(curved(1), curved(0), IMAGES[rest], BLOCKS[rest])
    alone = pairs.distance(pairs.merged(subset.blocks))
    without = pairs.distance(pairs.without(pair.gradients.blocks, block))
    assert without == pytest.approx(alone, rel=1e-6)


def test_chance_is_the_attack_of_another_example():
    weights = WEIGHTS[0, :2], WEIGHTS[1, :2]
    attacked = [pairs.attacked(linear(w), IMAGES, KEY) for w in weights]
    result = pairs.transfer(*attacked, IMAGES, BLOCKS)
    own, moved = (np.roll(f, -2, axis=0) for f in deviations(*weights))
    right = deviations(*weights)[1]
    white_box = deviations(*weights[::-1])[0]
    longer = np.linalg.norm(right, axis=1) > np.linalg.norm(white_box, axis=1)
    white_box = np.where(longer[:, None], right, white_box)
    expected = definition(own, moved, white_box)
    assert values(pairs.at(result.mismatched, 1)) == pytest.approx(expected, rel=1e-4)


def test_attacks_stay_in_the_box_and_do_not_hang_on_the_batches():
    images = RNG.integers(0, 256, size=(N, *SHAPE)).astype(np.uint8)
    small = pairs.attacked(curved(2), images, KEY, num_steps=4)
    floats = images.astype(np.float32) / np.float32(255)
    whole = pairs.attacked(curved(2), floats, KEY, num_steps=4, batch_size=64)
    np.testing.assert_allclose(small.deltas, whole.deltas, atol=1e-6)
    assert np.abs(small.deltas).max() <= 0.1 + 1e-7
    changed = floats + small.deltas
    assert changed.min() >= -1e-7
    assert changed.max() <= 1 + 1e-7


@pytest.mark.parametrize(
    "settings",
    [
        pairs.AttackSettings(num_steps=3),
        pairs.AttackSettings(norm=L2, epsilon=0.3, num_steps=3),
        pairs.AttackSettings(num_steps=1, step_size=0.07),
        pairs.AttackSettings(norm=L2, num_steps=3, step_size=0.04, decay=5.0),
        pairs.AttackSettings(num_steps=2, random_start=False),
        pairs.AttackSettings(num_steps=0),
    ],
    ids=["plain", "norm", "step_size", "decay", "no random start", "no step"],
)
def test_settings_are_those_of_attacks_on_one_example(settings):
    function = curved(0)
    result = pairs.attacked(function, IMAGES, KEY, settings=settings)

    @jax.jit
    def alone(x, index):
        start = jnp.zeros_like(x)
        if settings.random_start:
            key = jax.random.fold_in(KEY, index)
            start = settings.norm.uniform(key, x, settings.epsilon)
        step_size = settings.step_size
        if step_size is None:
            step_size = 5 * settings.epsilon / max(settings.num_steps, 1)
        return attacks.pgd(
            attacks.prediction_loss(function, x),
            x,
            start,
            norm=settings.norm,
            epsilon=settings.epsilon,
            step_size=step_size,
            num_steps=settings.num_steps,
            decay=settings.decay,
            bounds=(0, 1),
        )

    for i, delta in enumerate(result.deltas):
        np.testing.assert_allclose(delta, alone(IMAGES[i], i), atol=1e-6)
    assert np.abs(result.deltas).max() > 0.01


def test_each_setting_changes_the_attack():
    def deltas(**changed):
        # In this norm momentum turns a step even where no sign changes.
        settings = pairs.AttackSettings(
            norm=L2, epsilon=0.2, num_steps=3, step_size=0.05
        )
        settings = dataclasses.replace(settings, **changed)
        return pairs.attacked(curved(0), IMAGES, KEY, settings=settings).deltas

    plain = deltas()
    for changed in (
        {"norm": LINF},
        {"epsilon": 0.1},
        {"num_steps": 2},
        {"step_size": 0.02},
        {"decay": 5.0},
        {"random_start": False},
    ):
        assert np.abs(deltas(**changed) - plain).max() > 1e-3, changed


def test_a_radius_and_steps_may_stand_beside_the_settings():
    settings = pairs.AttackSettings(decay=1.0)
    short = {"epsilon": 0.05, "num_steps": 2}
    result = pairs.attacked(curved(0), IMAGES, KEY, settings=settings, **short)
    settings = pairs.AttackSettings(decay=1.0, **short)
    expected = pairs.attacked(curved(0), IMAGES, KEY, settings=settings)
    np.testing.assert_array_equal(result.deltas, expected.deltas)
    pair = pairs.function_pair(
        curved(1), curved(0), IMAGES, BLOCKS, KEY, settings=settings
    )
    again = pairs.transfer(
        expected,
        pairs.attacked(curved(1), IMAGES, KEY, settings=settings),
        IMAGES,
        BLOCKS,
    )
    np.testing.assert_array_equal(pair.to_source.alpha1, again.alpha1)


@given(seed=st.integers(0, 2**16))
def test_shares_lie_between_0_and_1(seed):
    rng = np.random.default_rng(seed)
    one, other = (
        jax.tree_util.Partial(_curved, rng.normal(size=(3, 4)).astype(np.float32))
        for _ in range(2)
    )
    images = rng.random(size=(N, *SHAPE)).astype(np.float32)
    result = pairs.function_pair(one, other, images, BLOCKS, KEY, num_steps=2)
    for transfer in (result.to_source, result.to_target):
        assert 0 <= transfer.alpha1.min() <= transfer.alpha1.max() <= 1
        alpha2 = pairs.alpha2_of_sums(pairs.merged(transfer.blocks))
        assert 0 <= alpha2 <= transfer.ceiling + 1e-6
        for i in range(pairs.NUM_PAIRINGS):
            assert 0 <= pairs.alpha1_of_sums(pairs.at(transfer.mismatched, i)) <= 1
    sums = pairs.merged(result.gradients.blocks)
    assert 0 <= pairs.explained_share(sums) <= 1


def test_one_compiled_function_serves_all_weights():
    traced = []

    def function(weights, x):
        traced.append(1)
        return weights @ x.ravel()

    counts = []
    for weights in WEIGHTS[:3]:
        one = jax.tree_util.Partial(function, jnp.asarray(weights))
        pairs.function_pair(one, one, IMAGES, BLOCKS, KEY, num_steps=2)
        counts.append(len(traced))
    # Only the shape of the outputs is asked for anew.
    assert counts[2] - counts[1] == counts[1] - counts[0] == 1 < counts[0]


def test_what_does_not_move_counts_zero():
    still = linear(np.zeros((3, 4)))
    result = pairs.function_pair(still, curved(0), IMAGES, BLOCKS, KEY, num_steps=2)
    assert values(pairs.merged(result.to_source.blocks)) == (0, 0, 0)
    assert result.to_source.still == 1
    sums = pairs.merged(result.gradients.blocks)
    assert pairs.explained_share(sums) == 0
    assert pairs.explained_share(pairs.swapped(sums)) == 0
    np.testing.assert_array_equal(result.gradients.source_values, np.zeros(3))


def test_what_is_not_finite_shows():
    broken = linear(np.full((3, 4), np.nan))
    result = pairs.function_pair(broken, curved(0), IMAGES, BLOCKS, KEY, num_steps=2)
    assert np.isnan(pairs.alpha2_of_sums(pairs.merged(result.to_source.blocks)))
    assert np.isnan(pairs.distance(pairs.merged(result.gradients.blocks)))
    assert np.isnan(result.gradients.source_values).all()


def test_faults_are_told():
    with pytest.raises(ValueError, match="at least 10 images, got 9"):
        pairs.attacked(curved(0), IMAGES[:9], KEY)
    still = pairs.AttackSettings(random_start=False)
    with pytest.raises(ValueError, match="needs a random start"):
        pairs.attacked(curved(0, 1), IMAGES, KEY, settings=still)
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        pairs.attacked(curved(0), IMAGES, KEY, num_steps=-1)
    with pytest.raises(ValueError, match=r"shape \[m\]"):
        pairs.gradients(curved(0), lambda x: x.sum(), IMAGES, BLOCKS)
