"""Tests of the baselines with extra training, each against a NumPy reference."""

import functools
import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
from flax import nnx

from jtransfer import distillation, models

NUM, CLASSES = 4, 3
LABELS = np.array([0, 2, 1, 2], np.int32)
GROUPS = [np.array([1, 0, 1, 1, 2], np.int32), np.array([2, 0], np.int32)]
"""Of three student channels all have teacher channels, then two of them."""


def channel_costs(teacher, student):
    costs = np.zeros((student.shape[3], teacher.shape[3]))
    for i, j in np.ndindex(costs.shape):
        for x in range(NUM):
            s, t = student[x, :, :, i], teacher[x, :, :, j]
            costs[i, j] += np.sum(
                (s / np.sqrt(np.sum(s**2)) - t / np.linalg.norm(t)) ** 2
            )
    return costs / NUM


def mgd(*arrays):
    """MGD's loss of two stages by loops over maps, channels and pixels."""
    total = 0.0
    for stage, groups in enumerate(GROUPS):
        scale, shift, margin, teacher, student = arrays[5 * stage : 5 * stage + 5]
        losses = []
        for i in sorted(set(groups)):
            pixels = student[..., i]
            spread = math.sqrt(np.var(pixels) + 1e-5)
            for place in np.ndindex(pixels.shape):
                s = (pixels[place] - np.mean(pixels)) / spread * scale[i] + shift[i]
                targets = [
                    max(teacher[(*place, j)], margin[j])
                    for j in np.flatnonzero(groups == i)
                ]
                target = max(targets, key=abs)
                losses.append((s - target) ** 2 if s > target or target > 0 else 0.0)
        total += np.mean(losses) / (2, 1)[stage]
    return total


def softmax(logits, temperature=1.0):
    return scipy.special.softmax(np.asarray(logits) / temperature)


def divergence(teacher, student, temperature):
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    return np.sum(p * np.log(p / q))


def label_entropy(logits):
    return -np.mean(
        [np.log(softmax(z)[y]) for z, y in zip(logits, LABELS, strict=True)]
    )


def rotated_rows(views):
    return [views[x, r] for x in range(len(views)) for r in (1, 2, 3)]


def cosines(projections):
    return np.array(
        [
            [z @ o / np.linalg.norm(z) / np.linalg.norm(o) for o in projections[:, 0]]
            for z in rotated_rows(projections)
        ]
    )


def kept(scores, truths, fraction):
    """Indices, by sorting a list."""
    ranked = []
    for i, (row, truth) in enumerate(zip(scores, truths, strict=True)):
        order = sorted(range(len(row)), key=lambda k: (-row[k], k))
        ranked.append((order.index(truth), i))
    right = [i for rank, i in ranked if rank == 0]
    wrong = [i for rank, i in sorted(ranked) if rank > 0]
    return right + wrong[: int(fraction * len(wrong))]


def rotated_predictions(teacher, student):
    teacher, student = rotated_rows(teacher), rotated_rows(student)
    rows = kept(teacher, np.repeat(LABELS, 3), 0.5)
    assert 3 < len(rows) < 12
    return np.mean([divergence(teacher[i], student[i], 4.0) for i in rows])


def similarities(teacher, student):
    teacher, student = cosines(teacher), cosines(student)
    rows = kept(teacher, [x for x in range(NUM) for _ in range(3)], 0.75)
    assert 3 < len(rows) < 12
    return np.mean([divergence(teacher[i], student[i], 0.5) for i in rows])


def contrastive(projections):
    rows = cosines(projections)
    return -np.mean([np.log(softmax(row)[i // 3]) for i, row in enumerate(rows)])


def sftn(teacher, *branches):
    total = label_entropy(teacher)
    for branch in branches:
        rows = zip(teacher, branch, strict=True)
        total += label_entropy(branch)
        total += 3 * np.mean([divergence(*pair, 1.0) for pair in rows])
    return total


def mgd_loss(*arrays):
    scales, shifts, low, teachers, students = (arrays[i::5] for i in range(5))
    norms = [
        distillation.ChannelNorm(*norm) for norm in zip(scales, shifts, strict=True)
    ]
    return distillation.mgd_loss(norms, teachers, students, GROUPS, low)


VIEWS = (NUM, 4, 5)
CASES = {
    "channel_costs": (
        [(NUM, 3, 2, 4), (NUM, 3, 2, 3)],
        distillation.channel_costs,
        channel_costs,
    ),
    "mgd_loss": (
        [(3,), (3,), (5,), (NUM, 2, 3, 5), (NUM, 2, 3, 3)]
        + [(3,), (3,), (2,), (NUM, 2, 1, 2), (NUM, 2, 1, 3)],
        mgd_loss,
        mgd,
    ),
    "contrastive_logits": ([VIEWS], distillation.contrastive_logits, cosines),
    "contrastive_loss": ([VIEWS], distillation.contrastive_loss, contrastive),
    "match_rotated_predictions": (
        [(NUM, 4, CLASSES)] * 2,
        lambda t, s: distillation.match_rotated_predictions(t, s, LABELS, fraction=0.5),
        rotated_predictions,
    ),
    "match_similarities": (
        [VIEWS, (NUM, 4, 2)],
        distillation.match_similarities,
        similarities,
    ),
    "sftn_loss": (
        [(NUM, CLASSES)] * 3,
        lambda t, *branches: distillation.sftn_loss(t, branches, LABELS),
        sftn,
    ),
}


@functools.cache
def compiled(name):
    """The value, the sum of its weighted entries and the gradients by all arrays."""
    shapes, function, _ = CASES[name]

    def weighted(*arrays):
        value = function(*arrays)
        weights = jnp.cos(jnp.arange(value.size)).reshape(value.shape)
        return jnp.sum(value * weights.astype(value.dtype)), value

    arguments = tuple(range(len(shapes)))
    return jax.jit(jax.value_and_grad(weighted, argnums=arguments, has_aux=True))


def arrays_of(name, seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape) for shape in CASES[name][0]]
    if name == "mgd_loss":  # Margins are negative.
        arrays[2::5] = [-1 - np.abs(margin) for margin in arrays[2::5]]
    return arrays


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_agree_with_definition(name):
    arrays, reference = arrays_of(name), CASES[name][2]
    expected = reference(*arrays)
    weights = np.cos(np.arange(expected.size)).reshape(np.shape(expected))
    with jax.enable_x64(True):
        (_, value), gradients = compiled(name)(*map(jnp.asarray, arrays))
    np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-12)
    rng = np.random.default_rng(1)
    for i, gradient in enumerate(gradients):
        direction = rng.normal(size=gradient.shape)
        up, down = (
            np.sum(
                weights
                * reference(*arrays[:i], arrays[i] + step * direction, *arrays[i + 1 :])
            )
            for step in (1e-6, -1e-6)
        )
        slope = np.sum(np.asarray(gradient) * direction)
        np.testing.assert_allclose(slope, (up - down) / 2e-6, rtol=1e-5, atol=1e-7)


EDGES = {
    "duplicated rows": lambda x: np.repeat(x[:1], len(x), axis=0),
    "zeros": np.zeros_like,
    "huge": lambda x: 1e12 * x,
    "tiny": lambda x: 1e-30 * x,
    "one example": lambda x: x[:1],
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_finite_at_the_edges(name):
    """Of what has examples; the parameters of a network stay as they are."""
    plain = [array.astype(np.float32) for array in arrays_of(name)]
    labelled = name in ("match_rotated_predictions", "sftn_loss")
    for edge, change in EDGES.items():
        if edge == "one example" and labelled:
            continue  # Their labels are those of four.
        arrays = [x if x.ndim == 1 else change(x) for x in plain]
        (_, value), gradients = compiled(name)(*arrays)
        chex.assert_tree_all_finite((value, gradients))
        assert value.dtype == "float32"
    last = [*plain[:-1], EDGES["zeros"](plain[-1])]
    chex.assert_tree_all_finite(compiled(name)(*last))


@pytest.mark.parametrize("name", ["match_rotated_predictions", "sftn_loss"])
def test_huge_logits_are_finite(name):
    arrays = [1e30 * array.astype(np.float32) for array in arrays_of(name)]
    chex.assert_tree_all_finite(compiled(name)(*arrays))
    one = np.float32([[3e30, -3e30, 0]])
    value, gradient = jax.value_and_grad(distillation.sftn_loss)(
        one, [-one], np.array([0], np.int32)
    )
    chex.assert_tree_all_finite((value, gradient))
    views = np.broadcast_to(one, (1, 4, 3))
    value, gradient = jax.value_and_grad(distillation.match_rotated_predictions)(
        views, -views, np.array([1], np.int32)
    )
    chex.assert_tree_all_finite((value, gradient))


def test_losses_that_vanish():
    """Where the student is the teacher, in its own units."""
    logits = arrays_of("sftn_loss")[0].astype(np.float32)
    views = np.stack([logits, logits[::-1], 2 * logits, -logits], axis=1)
    for value in (
        distillation.match_rotated_predictions(views, views + 7, LABELS),
        distillation.match_similarities(views, 3 * views),
        distillation.sftn_loss(logits, [logits + 2], LABELS, branch_weight=0)
        - distillation.cross_entropy(logits, LABELS),
    ):
        np.testing.assert_allclose(value, 0, atol=1e-6)
    maps = np.random.default_rng(0).normal(size=(NUM, 3, 3, 2)).astype(np.float32)
    costs = distillation.channel_costs(maps, 5 * maps)
    np.testing.assert_allclose(np.diag(costs), 0, atol=1e-6)
    # The student's map is normalised first: a target of that scale is met.
    axes = (0, 1, 2)
    target = (maps - maps.mean(axis=axes)) / np.sqrt(maps.var(axis=axes) + 1e-5)
    value = distillation.mgd_loss(
        distillation.mgd_norms(student_channels=[2], dtype="float32"),
        [target[..., ::-1]],
        [9 * maps + 4],
        [np.array([1, 0], np.int32)],
        [np.full(2, -9, np.float32)],
    )
    np.testing.assert_allclose(value, 0, atol=1e-6)


# Channel matching.


@pytest.mark.parametrize(
    "shape", [(3, 7), (4, 4), (5, 2), (1, 3), (3, 1), (8, 9), (2, 6)], ids=str
)
def test_assignments_are_optimal(shape):
    costs = np.random.default_rng(sum(shape)).uniform(0, 4, shape).astype(np.float32)
    copies = math.ceil(shape[1] / shape[0])
    tiled = np.concatenate([costs] * copies)
    assigned = np.asarray(jax.jit(distillation.channel_assignment)(costs))
    assert assigned.dtype == "int32"
    assert assigned.shape == shape[1:]
    assert np.bincount(assigned, minlength=shape[0]).max() <= copies
    total = sum(costs[i, j] for j, i in enumerate(assigned))
    least = tiled[scipy.optimize.linear_sum_assignment(tiled)].sum()
    np.testing.assert_allclose(total, least, rtol=1e-5)


def test_assignments_agree_with_all_permutations_and_survive_nan():
    costs = np.random.default_rng(3).uniform(size=(4, 4)).astype(np.float32)
    best = min(
        itertools.permutations(range(4)),
        key=lambda order: sum(costs[i, j] for j, i in enumerate(order)),
    )
    assert distillation.channel_assignment(costs).tolist() == list(best)
    both = jax.vmap(distillation.channel_assignment)(np.stack([costs, costs.T]))
    assert both[0].tolist() == list(best)
    assert both[1].tolist() == list(np.argsort(best))
    for worst in (np.nan, np.inf, -np.inf):
        blank = distillation.channel_assignment(np.full((2, 4), worst, np.float32))
        assert sorted(blank.tolist()) == [0, 0, 1, 1]
    costs[best[0], 0] = np.nan
    assert distillation.channel_assignment(costs)[0] != best[0]


def test_matchings_are_renewed_when_due():
    shapes = [(2, 4), (3, 2)]
    rng = np.random.default_rng(0)
    batches = [
        [rng.uniform(0, 4, shape).astype(np.float32) for shape in shapes]
        for _ in range(7)
    ]
    state = distillation.matching_state(
        teacher_channels=[4, 2], student_channels=[2, 3], dtype="float32"
    )
    assert [a.tolist() for a in state.assignments] == [[0, 1, 0, 1], [0, 1]]
    for number, batch in enumerate(batches, start=1):
        before = state
        state = distillation.renewed_matching(state, batch, period=3)
        assert state.count == number % 3
        chex.assert_trees_all_equal_shapes_and_dtypes(state, before)
        if number % 3:
            chex.assert_trees_all_equal(state.assignments, before.assignments)
            continue
        for stage, assigned in enumerate(state.assignments):
            mean = sum(part[stage] for part in batches[number - 3 : number]) / 3
            tiled = np.concatenate([mean] * math.ceil(mean.shape[1] / len(mean)))
            rows, columns = scipy.optimize.linear_sum_assignment(tiled)
            expected = dict(zip(columns, rows % len(mean), strict=True))
            assert assigned.tolist() == [expected[j] for j in range(mean.shape[1])]
            assert not state.cost_sums[stage].any()
    np.testing.assert_allclose(state.cost_sums[0], batches[-1][0])
    assert "callback" not in str(
        jax.make_jaxpr(distillation.renewed_matching)(state, batches[0], period=3)
    )


def mean_of_negatives(mean, std):
    """By integration, over `u = -x` with the density of its largest value scaled."""
    peak = max(0.0, -mean)

    def density(u):
        return math.exp(((peak + mean) ** 2 - (u + mean) ** 2) / (2 * std**2))

    start, end = max(0.0, peak - 12 * std), peak + 12 * std
    if mean > 0:
        end = min(end, 60 * std**2 / mean)
    settings = {"epsabs": 0, "epsrel": 1e-12, "limit": 500}
    mass = scipy.integrate.quad(density, start, end, **settings)[0]
    return (
        -scipy.integrate.quad(lambda u: u * density(u), start, end, **settings)[0]
        / mass
    )


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-11), ("float32", 1e-5)])
def test_margins_agree_with_integrals(dtype, rtol):
    mean = [-40, -5, -0.3, 0, 0.7, 1.9, 2.9, 3.1, 6, 40, 8, -8]
    std = [1.0] * 10 + [0.2, 0.2]
    with jax.enable_x64(True):
        values = distillation.margins(jnp.array(mean, dtype), jnp.array(std, dtype))
    assert values.dtype == dtype
    expected = [mean_of_negatives(*pair) for pair in zip(mean, std, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=rtol)


def test_margins_are_finite_in_the_tails():
    mean = np.float32([3, -3, 0, 1e30, -1e30, 1e6, 1e-30, 40, -40, 1])
    std = np.float32([0, 0, 0, 1, 1, 1, 1e30, 1, 1, 1e-30])
    value, gradients = jax.value_and_grad(
        lambda *pair: jnp.sum(distillation.margins(*pair)), argnums=(0, 1)
    )(mean, std)
    chex.assert_tree_all_finite((value, gradients))
    values = distillation.margins(mean, std)
    np.testing.assert_allclose(values[:3], [0, -3, 0])
    assert (values <= 0).all()


@pytest.mark.parametrize(
    ("value", "teacher", "low", "expected"),
    [
        (0.3, [0.05], [-1], 0.0625),  # too much
        (-0.2, [0.05], [-1], 0.0625),  # the teacher's is positive
        (-0.7, [-0.2], [-1], 0.0),  # both are off after the ReLU
        (0.3, [-0.2], [-1], 0.25),
        (0.0, [-3], [-1], 1.0),  # as far as the margin only
        (-1.5, [-3], [-1], 0.0),
        (0.0, [-0.8, 0.5], [-1, -1], 0.64),  # -0.8 is the larger
        (0.0, [-9, 0.5], [-0.4, -1], 0.25),  # the margin comes first
        (0.0, [0.5, -0.5], [-1, -1], 0.25),
        (0.5, [0.5, -0.5], [-1, -1], 0.0),  # the first of equal ones
        (0.5, [-0.5, 0.5], [-1, -1], 1.0),
    ],
)
def test_distances_of_one_pixel(value, teacher, low, expected):
    """A scale of zero leaves the shift of a student's channel."""
    norm = distillation.ChannelNorm(np.zeros(1, np.float32), np.float32([value]))
    loss = distillation.mgd_loss(
        [norm],
        [np.float32(teacher)[None, None, None]],
        [np.ones((1, 1, 1, 1), np.float32)],
        [np.zeros(len(teacher), np.int32)],
        [np.float32(low)],
    )
    np.testing.assert_allclose(loss, expected, atol=1e-6)


def test_channels_without_partners_are_left_out():
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(NUM, 2, 2, 3)).astype(np.float32)
    student = rng.normal(size=(NUM, 2, 2, 4)).astype(np.float32)
    low = np.full(3, -1, np.float32)
    loss = functools.partial(
        distillation.mgd_loss,
        distillation.mgd_norms(student_channels=[4], dtype="float32"),
    )
    groups = np.array([2, -1, 0], np.int8)
    value, (gradient,) = jax.value_and_grad(loss, argnums=1)(
        [teacher], [student], [groups], [low]
    )
    assert not gradient[..., [1, 3]].any()
    assert gradient[..., [0, 2]].any()
    smaller = distillation.mgd_loss(
        distillation.mgd_norms(student_channels=[2], dtype="float32"),
        [teacher[..., [0, 2]]],
        [student[..., [2, 0]]],
        [np.array([0, 1], np.int32)],
        [low[:2]],
    )
    np.testing.assert_allclose(value, smaller, rtol=1e-6)
    none = loss([teacher], [student], [np.full(3, 7, np.int32)], [low])
    assert none == 0
    # NaN is not lost on the way through the groups.
    teacher[0, 0, 0, 2] = np.nan
    assert np.isnan(loss([teacher], [student], [groups], [low]))


def test_the_larger_map_is_averaged():
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(NUM, 4, 4, 2)).astype(np.float32)
    student = rng.normal(size=(NUM, 2, 2, 2)).astype(np.float32)
    small = teacher.reshape(NUM, 2, 2, 2, 2, 2).mean(axis=(2, 4))
    low, groups = [np.zeros(2, np.float32)], [np.array([0, 1], np.int32)]
    norms = distillation.mgd_norms(student_channels=[2], dtype="float32")
    for pair in ((teacher, student), (student, teacher)):
        means = [small if maps is teacher else maps for maps in pair]
        np.testing.assert_allclose(
            distillation.channel_costs(*pair), distillation.channel_costs(*means), 1e-5
        )
        np.testing.assert_allclose(
            distillation.mgd_loss(norms, pair[:1], pair[1:], groups, low),
            distillation.mgd_loss(norms, means[:1], means[1:], groups, low),
            rtol=1e-5,
        )


# Rotated views.


def test_views_are_quarter_turns():
    images = np.random.default_rng(0).normal(size=(2, 3, 3, 2)).astype(np.float32)
    views = np.asarray(distillation.rotated_views(images))
    for a, b in np.ndindex(3, 3):
        np.testing.assert_array_equal(views[:, 0, a, b], images[:, a, b])
        np.testing.assert_array_equal(views[:, 1, 2 - b, a], images[:, a, b])
        np.testing.assert_array_equal(views[:, 2, 2 - a, 2 - b], images[:, a, b])
        np.testing.assert_array_equal(views[:, 3, b, 2 - a], images[:, a, b])


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 0.99, 1.0])
def test_kept_views_are_the_right_ones_and_the_best_of_the_others(fraction):
    """Scores are small integers, so that ties abound."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = rng.integers(0, 3, (9, 4)).astype(np.float32)
        truths = rng.integers(0, 4, 9).astype(np.int32)
        mask = distillation.kept_views(scores, truths, fraction=fraction)
        assert np.flatnonzero(mask).tolist() == sorted(kept(scores, truths, fraction))


def test_a_truth_out_of_range_ranks_last():
    scores = np.float32([[1, 2, 3], [3, 2, 1], [1, 2, 3]])
    truths = np.array([-1, 0, 0], np.int32)
    mask = distillation.kept_views(scores, truths, fraction=0.5)
    assert mask.tolist() == [False, True, True]


def test_heads_are_two_layers():
    head = distillation.projection_head(jax.random.key(0), dim=64)
    np.testing.assert_allclose(head.kernels[0].std(), np.sqrt(2 / 64), rtol=0.1)
    assert not np.array_equal(*head.kernels)
    rng = np.random.default_rng(0)
    first, second, a, b, x = (
        rng.normal(size=shape) for shape in [(3, 3), (3, 3), (3,), (3,), (2, 4, 3)]
    )
    expected = np.zeros((2, 4, 3))
    for place in np.ndindex(2, 4):
        hidden = [max(0.0, sum(x[place] * first[:, k]) + a[k]) for k in range(3)]
        for k in range(3):
            expected[place][k] = sum(hidden[j] * second[j, k] for j in range(3)) + b[k]
    with jax.enable_x64(True):
        head = distillation.ProjectionHead((first, second), (a, b))
        head = jax.tree.map(jnp.asarray, head)
        value = distillation.projected(head, jnp.asarray(x))
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        chex.assert_trees_all_close(distillation.projected(head, x[0, 0]), value[0, 0])


def test_a_teacher_in_sftn_is_not_held_fixed():
    teacher, branch, _ = (x.astype(np.float32) for x in arrays_of("sftn_loss"))
    matched, plain = (
        jax.grad(distillation.sftn_loss)(teacher, [branch], LABELS, match_weight=weight)
        for weight in (3.0, 0.0)
    )
    assert np.abs(matched - plain).max() > 0.01


# Branches of a student on a teacher.


def vgg(width, seed=0, **settings):
    return models.VGG(
        depth=4, num_classes=3, base_width=width, rngs=nnx.Rngs(seed), **settings
    )


def wide_resnet(width, seed=0, depth=10):
    return models.WideResNet(
        depth=depth, width=1, num_classes=3, base_width=width, rngs=nnx.Rngs(seed)
    )


PAIRS = {
    "VGG": (functools.partial(vgg, 2), functools.partial(vgg, 1, 1)),
    "WideResNet": (
        functools.partial(wide_resnet, 2, depth=16),
        functools.partial(wide_resnet, 1, 1),
    ),
    "VGG to WideResNet": (functools.partial(vgg, 2), functools.partial(wide_resnet, 1)),
}
IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("pair", PAIRS)
def test_branched_teachers_compute_what_they_did(pair):
    teacher, student = (make() for make in PAIRS[pair])
    alone, variables = models.functional(teacher)
    before = nnx.to_pure_dict(nnx.state(student))
    model = models.Branched(teacher, student, rngs=nnx.Rngs(5))
    chex.assert_trees_all_equal(nnx.to_pure_dict(nnx.state(student)), before)
    apply_fn, params = models.functional(model)
    logits, out = jax.jit(apply_fn)(params, IMAGES)
    expected, expected_out = jax.jit(alone)(variables, IMAGES)
    np.testing.assert_allclose(logits, expected, rtol=1e-6)
    assert set(out) == {*expected_out, "branch_logits"}
    assert [branch.shape for branch in out["branch_logits"]] == [(2, 3)] * 2
    one, one_out = apply_fn(params, IMAGES[1])
    np.testing.assert_allclose(one, logits[1], rtol=1e-4, atol=1e-5)
    for branch, row in zip(out["branch_logits"], one_out["branch_logits"], strict=True):
        np.testing.assert_allclose(row, branch[1], rtol=1e-4, atol=1e-5)
    # Its variables are those that the teacher has alone.
    for part, kind in zip(params, variables, strict=True):
        chex.assert_trees_all_equal(part["teacher"], kind)


@pytest.mark.parametrize("make", [f for pair in PAIRS.values() for f in pair[:2]][:4])
def test_stages_run_from_one_on(make):
    """On the maps that enter them, which for a WideResNet are sums of its blocks."""
    network = make()
    logits, out = network(IMAGES)
    entry = network.stem(IMAGES) if hasattr(network, "stem") else IMAGES
    assert network.stage_channels == tuple(m.shape[3] for m in out["feature_maps"])
    for stage in range(3):
        for runner in (network, network.tail(stage)):
            value, rest = runner.from_stage(entry, stage)
            np.testing.assert_allclose(value, logits, rtol=1e-5, atol=1e-6)
            assert len(rest["feature_maps"]) == 3 - stage
        if hasattr(network, "stem"):
            length = len(network.blocks) // 3
            for block in network.blocks[stage * length : (stage + 1) * length]:
                entry, _ = block(entry)
        else:
            entry = out["feature_maps"][stage]


@pytest.mark.parametrize("pair", PAIRS)
def test_branches_are_trained_with_their_teacher(pair):
    teacher, student = (make() for make in PAIRS[pair])
    model = models.Branched(teacher, student, rngs=nnx.Rngs(5))
    train_fn, params, stats = models.trainable(model)

    @jax.jit
    def step(params, stats):
        def loss(params):
            (logits, out), new_stats = train_fn(params, stats, IMAGES, None)
            labels = np.array([0, 2], np.int32)
            return distillation.sftn_loss(
                logits, out["branch_logits"], labels
            ), new_stats

        return jax.value_and_grad(loss, has_aux=True)(params)

    (value, new_stats), gradients = step(params, stats)
    chex.assert_tree_all_finite((value, gradients))
    # Every parameter takes part: none of the student's first stages is kept.
    assert all(leaf.any() for leaf in jax.tree.leaves(gradients))
    moved = jax.tree.map(lambda old, new: bool((old != new).any()), stats, new_stats)
    assert all(jax.tree.leaves(moved))
    tails = params["tails"]
    kernels = [tail["classifier"]["kernel"] for tail in tails.values()]
    np.testing.assert_array_equal(*kernels)
    given = nnx.to_pure_dict(nnx.state(student, nnx.Param))
    np.testing.assert_array_equal(kernels[0], given["classifier"]["kernel"])


def test_dropout_of_the_teacher_is_that_of_the_teacher_alone():
    settings = {"dropout_rate": 0.5}
    teacher, student = vgg(4, **settings), vgg(2, **settings)
    model = models.Branched(teacher, student, rngs=nnx.Rngs(5))
    train_fn, params, stats = models.trainable(model)
    alone, *variables = models.trainable(teacher)
    key = jax.random.key(3)
    (logits, out), _ = train_fn(params, stats, IMAGES, key)
    np.testing.assert_allclose(
        logits, alone(*variables, IMAGES, key)[0][0], rtol=1e-5, atol=1e-6
    )
    (_, other), _ = train_fn(params, stats, IMAGES, jax.random.key(4))
    for pair in zip(out["branch_logits"], other["branch_logits"], strict=True):
        assert not np.array_equal(*pair)
    with pytest.raises(ValueError, match="key"):
        train_fn(params, stats, IMAGES, None)


MAP, ROWS = np.ones((NUM, 2, 2, 3), np.float32), np.ones((NUM, 3), np.float32)
SQUARE = np.ones((NUM, 4, 3), np.float32)
NORMS = distillation.mgd_norms(student_channels=[3], dtype="float32")
DEALT, LOW = np.arange(3, dtype=np.int32), -np.ones(3, np.float32)
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: distillation.channel_costs(MAP, MAP[1:]), ValueError, "length"),
        (lambda: distillation.channel_costs(MAP > 0, MAP), TypeError, "teacher"),
        (lambda: distillation.channel_assignment(ROWS[0]), ValueError, "2 axes"),
        (lambda: distillation.channel_assignment(ROWS[:, :0]), ValueError, "channels"),
        (lambda: distillation.channel_assignment(ROWS > 0), TypeError, "costs"),
        (
            lambda: distillation.matching_state(
                teacher_channels=[1], student_channels=[]
            ),
            ValueError,
            "stages",
        ),
        (
            lambda: distillation.renewed_matching(
                distillation.matching_state(teacher_channels=[2], student_channels=[3]),
                [ROWS],
                period=1,
            ),
            ValueError,
            "costs",
        ),
        (
            lambda: distillation.renewed_matching(
                distillation.matching_state(teacher_channels=[3], student_channels=[4]),
                [ROWS > 0],
                period=1,
            ),
            TypeError,
            "costs",
        ),
        (lambda: distillation.margins(LOW, LOW[1:]), ValueError, "shapes"),
        (lambda: distillation.mgd_norms(student_channels=[]), ValueError, "stages"),
        (
            lambda: distillation.mgd_loss(NORMS, [], [], [DEALT], [LOW]),
            ValueError,
            "stages",
        ),
        (
            lambda: distillation.mgd_loss(NORMS, [MAP], [MAP], [], [LOW]),
            ValueError,
            "stages",
        ),
        (
            lambda: distillation.mgd_loss(NORMS, [MAP], [MAP], [LOW], [LOW]),
            TypeError,
            "assignments",
        ),
        (
            lambda: distillation.mgd_loss(NORMS, [MAP], [MAP], [DEALT], [DEALT]),
            TypeError,
            "teacher_margins",
        ),
        (
            lambda: distillation.mgd_loss(NORMS, [MAP], [MAP], [DEALT[1:]], [LOW]),
            ValueError,
            "assignments",
        ),
        (
            lambda: distillation.mgd_loss(NORMS, [MAP], [MAP[..., 1:]], [DEALT], [LOW]),
            ValueError,
            "norm",
        ),
        (lambda: distillation.rotated_views(MAP[:, :1]), ValueError, "square"),
        (lambda: distillation.rotated_views(MAP > 0), TypeError, "images"),
        (lambda: distillation.projection_head(KEY, dim=0), ValueError, "dim"),
        (
            lambda: distillation.projected(
                distillation.projection_head(KEY, dim=2), ROWS
            ),
            ValueError,
            "entries",
        ),
        (lambda: distillation.contrastive_logits(SQUARE[:, 1:]), ValueError, "4 views"),
        (lambda: distillation.contrastive_loss(SQUARE[:0]), ValueError, "examples"),
        (
            lambda: distillation.kept_views(ROWS, LABELS[1:], fraction=1.0),
            ValueError,
            "length",
        ),
        (lambda: distillation.kept_views(ROWS, LOW, fraction=1.0), TypeError, "labels"),
        (
            lambda: distillation.match_rotated_predictions(
                SQUARE, SQUARE[..., 1:], LABELS
            ),
            ValueError,
            "shapes",
        ),
        (
            lambda: distillation.match_rotated_predictions(SQUARE, SQUARE, LABELS[1:]),
            ValueError,
            "length",
        ),
        (
            lambda: distillation.match_similarities(SQUARE, SQUARE[1:]),
            ValueError,
            "length",
        ),
        (lambda: distillation.sftn_loss(ROWS, [], LABELS), ValueError, "branch"),
        (
            lambda: distillation.sftn_loss(ROWS, [ROWS[1:]], LABELS),
            ValueError,
            "length",
        ),
        (
            lambda: models.Branched(
                vgg(1), models.LeNet(num_classes=3, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0)
            ),
            TypeError,
            "student",
        ),
        (
            lambda: models.Branched(
                vgg(1),
                models.VGG(depth=9, num_classes=3, base_width=1, rngs=nnx.Rngs(0)),
                rngs=nnx.Rngs(0),
            ),
            ValueError,
            "stages",
        ),
        (
            lambda: models.Branched(
                vgg(1),
                models.VGG(depth=4, num_classes=2, base_width=1, rngs=nnx.Rngs(0)),
                rngs=nnx.Rngs(0),
            ),
            ValueError,
            "classes",
        ),
    ],
)
def test_rejects(call, error, words):
    with pytest.raises(error, match=words):
        call()
