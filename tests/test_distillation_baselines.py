"""Tests of the baselines and of Sinkhorn matching, each against a NumPy reference."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from transport import reference as transport

from jtransfer import distillation

NUM, CLASSES = 8, 3
LABELS = np.array([0, 1, 0, 2, 2, 0, 1, 0], np.int32)
COST = np.random.default_rng(9).uniform(size=(5, CLASSES))
TRANSPORT = {"temperature": 3.0, "epsilon": 0.1, "max_iterations": 3000}


def softmax(logits, temperature):
    return scipy.special.softmax(logits / temperature, axis=1)


def divergence(p, q):
    return np.mean(np.sum(p * np.log(p / q), axis=1))


def label_entropy(logits):
    return -np.mean(np.log(softmax(logits, 1)[np.arange(NUM), LABELS]))


def huber(error):
    return error**2 / 2 if abs(error) < 1 else abs(error) - 0.5


def distances_of(rows):
    return np.array([[np.linalg.norm(a - b) for b in rows] for a in rows])


def relative_distances(teacher, student):
    """RKD-D: the mean is over pairs of two different examples."""
    scaled = []
    for rows in (teacher, student):
        distances = distances_of(rows)
        pairs = [distances[i, j] for i, j in itertools.permutations(range(NUM), 2)]
        scaled.append(distances / np.mean(pairs))
    return np.mean([huber(r) for r in (scaled[0] - scaled[1]).ravel()])


def cosine(rows, i, j, k):
    a, b = rows[i] - rows[j], rows[i] - rows[k]
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return 0.0 if lengths == 0 else a @ b / lengths


def angles(teacher, student):
    triples = itertools.product(range(NUM), repeat=3)
    return np.mean([huber(cosine(teacher, *t) - cosine(student, *t)) for t in triples])


def triplets(teacher, student):
    """The first stage of ReFilled, over the triplets as a list."""
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (teacher, student)]
    t, s = map(distances_of, unit)
    terms = []
    for a, p, m in itertools.product(range(NUM), repeat=3):
        if a == p or LABELS[a] != LABELS[p] or LABELS[a] == LABELS[m]:
            continue
        if 0 < s[a, m] - s[a, p] <= 0.2:
            probs = scipy.special.expit([(d[a, m] - d[a, p]) / 4 for d in (t, s)])
            terms.append(divergence(*(np.array([[q, 1 - q]]) for q in probs)))
    assert 5 < len(terms) < 60
    return np.mean(terms)


def local_classifiers(embeddings, centers, logits):
    """The second stage; the class that no label names plays no part."""
    present = sorted(set(LABELS))
    centers = centers / np.linalg.norm(centers, axis=1, keepdims=True)
    return divergence(
        softmax(embeddings @ centers[present].T, 2), softmax(logits[:, present], 2)
    )


def convolved(maps, kernel, stride):
    """A sum over every window, without padding."""
    n, height, width, _ = maps.shape
    rows, columns = (
        range(0, side - size + 1, stride)
        for side, size in zip((height, width), kernel.shape[:2], strict=True)
    )
    result = np.zeros((n, len(rows), len(columns), kernel.shape[3]))
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            window = maps[:, i : i + kernel.shape[0], j : j + kernel.shape[1]]
            result[:, a, b] = np.einsum("nhwc,hwcd->nd", window, kernel)
    return result


def fitnet(kernel, scale, shift, teacher, student):
    t, s = teacher.shape[1], student.shape[1]
    if s == 2 * t:
        hidden = convolved(np.pad(student, ((0, 0), (1, 1), (1, 1), (0, 0))), kernel, 2)
    elif t == 2 * s:  # A transposed convolution: every pixel adds its stamp.
        stamps = np.zeros((len(student), 2 * s + 2, 2 * s + 2, kernel.shape[3]))
        for i, j in itertools.product(range(s), repeat=2):
            stamp = np.einsum("nc,hwcd->nhwd", student[:, i, j], kernel[::-1, ::-1])
            stamps[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += stamp
        hidden = stamps[:, 1:-1, 1:-1]
    else:
        hidden = convolved(student, kernel, 1)
    mean, variance = hidden.mean(axis=(0, 1, 2)), hidden.var(axis=(0, 1, 2))
    hidden = (hidden - mean) / np.sqrt(variance + 1e-5) * scale + shift
    return np.mean((np.maximum(hidden, 0) - teacher) ** 2)


def pooled(maps, size):
    """Means over the windows of adaptive pooling."""
    side = maps.shape[1]
    edges = [(i * side // size, -(-(i + 1) * side // size)) for i in range(size)]
    return np.stack(
        [
            np.stack([maps[:, a:b, c:d].mean(axis=(1, 2)) for c, d in edges], axis=1)
            for a, b in edges
        ],
        axis=1,
    )


def of_one_size(teacher, student):
    size = min(teacher.shape[1], student.shape[1])
    return pooled(teacher, size), pooled(student, size)


def attention(*maps, squared=True):
    total = 0.0
    for teacher, student in zip(maps[:2], maps[2:], strict=True):
        flat = [
            np.mean(m**2, axis=3).reshape(NUM, -1)
            for m in of_one_size(teacher, student)
        ]
        t, s = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in flat)
        total += (
            np.mean((t - s) ** 2)
            if squared
            else np.mean([np.linalg.norm(x) for x in t - s])
        )
    return total


def vid(first, second, third, spread, teacher, student):
    teacher, student = of_one_size(teacher, student)
    mean = np.maximum(np.maximum(student @ first, 0) @ second, 0) @ third
    variance = np.log1p(np.exp(spread)) + 1e-5
    return np.mean((mean - teacher) ** 2 / variance + np.log(variance)) / 2


def sinkhorn(teacher, student):
    pairs = zip(softmax(teacher, 3.0), softmax(student, 3.0), strict=True)
    return np.mean([transport(p, q, COST)[0] for p, q in pairs])


def maps_of(teacher_side, student_side, channels=(3, 2)):
    return [(NUM, teacher_side, teacher_side, channels[0])], [
        (NUM, student_side, student_side, channels[1])
    ]


def fitnet_case(teacher_side, student_side, size):
    teacher, student = maps_of(teacher_side, student_side)
    return (
        [(size, size, 2, 3), (3,), (3,), *teacher, *student],
        lambda kernel, scale, shift, *maps: distillation.fitnet_loss(
            distillation.Regressor(kernel, scale, shift), *maps
        ),
        fitnet,
    )


STAGES = [(NUM, 6, 6, 3), (NUM, 4, 4, 5), (NUM, 4, 4, 2), (NUM, 8, 8, 5)]
EMBEDDINGS = [(NUM, 4), (NUM, 6)]
CASES = {
    "kd_loss": (
        [(NUM, CLASSES)] * 2,
        lambda t, s: distillation.kd_loss(
            t, s, LABELS, temperature=3.0, label_weight=0.1, matching_weight=7.0
        ),
        lambda t, s: (
            0.1 * label_entropy(s) + 7 * divergence(softmax(t, 3), softmax(s, 3))
        ),
    ),
    "ban_loss": (
        [(NUM, CLASSES)] * 2,
        lambda t, s: distillation.ban_loss(t, s, LABELS),
        lambda t, s: label_entropy(s) + divergence(softmax(t, 1), softmax(s, 1)),
    ),
    "sinkhorn_matching": (
        [(NUM, 5), (NUM, CLASSES)],
        lambda t, s: distillation.sinkhorn_matching(
            t, s, jnp.asarray(COST, t.dtype), threshold=1e-4, **TRANSPORT
        ),
        sinkhorn,
    ),
    "match_distances": (EMBEDDINGS, distillation.match_distances, relative_distances),
    "match_angles": (EMBEDDINGS, distillation.match_angles, angles),
    "match_triplets": (
        EMBEDDINGS,
        lambda t, s: distillation.match_triplets(t, s, LABELS),
        triplets,
    ),
    "match_local_classifiers": (
        [(NUM, 4), (4, 4), (NUM, 4)],
        lambda t, c, s: distillation.match_local_classifiers(t, c, s, LABELS),
        local_classifiers,
    ),
    "attention_transfer": (
        STAGES,
        lambda *maps: distillation.attention_transfer(maps[:2], maps[2:]),
        attention,
    ),
    "attention_transfer, as printed": (
        STAGES,
        lambda *maps: distillation.attention_transfer(
            maps[:2], maps[2:], distance=distillation.match_attention
        ),
        functools.partial(attention, squared=False),
    ),
    "fitnet_loss, half": fitnet_case(2, 4, 3),
    "fitnet_loss, double": fitnet_case(4, 2, 4),
    "fitnet_loss, other": fitnet_case(3, 5, 3),
    "vid_loss": (
        [(2, 3), (3, 3), (3, 3), (3,), (NUM, 4, 4, 3), (NUM, 7, 7, 2)],
        lambda a, b, c, spread, t, s: distillation.vid_loss(
            [distillation.Predictor((a, b, c), spread)], [t], [s]
        ),
        vid,
    ),
}


@functools.cache
def compiled(name):
    """The value and its gradients by all arrays, for both tests and dtypes."""
    shapes, loss, _ = CASES[name]
    return jax.jit(jax.value_and_grad(loss, argnums=tuple(range(len(shapes)))))


def arrays_of(name, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in CASES[name][0]]


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_agree_with_definition(name):
    arrays, loss = arrays_of(name), CASES[name][2]
    expected = loss(*arrays)
    with jax.enable_x64(True):
        value, gradients = compiled(name)(*map(jnp.asarray, arrays))
    exact = name != "sinkhorn_matching"  # which is as exact as its threshold
    np.testing.assert_allclose(value, expected, rtol=1e-10 if exact else 1e-6)
    rng = np.random.default_rng(1)
    for i, gradient in enumerate(gradients):
        direction = rng.normal(size=gradient.shape)
        up, down = (
            loss(*arrays[:i], arrays[i] + step * direction, *arrays[i + 1 :])
            for step in (1e-5, -1e-5)
        )
        slope = np.sum(np.asarray(gradient) * direction)
        np.testing.assert_allclose(
            slope, (up - down) / 2e-5, rtol=1e-5 if exact else 1e-2, atol=1e-8
        )


EDGES = {
    "duplicated rows": lambda x: np.repeat(x[:1], len(x), axis=0),
    "two equal rows": lambda x: np.concatenate([x[:1], x[:-1]]),
    "zeros": np.zeros_like,
    "huge": lambda x: 1e12 * x,
    "tiny": lambda x: 1e-30 * x,
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_finite_at_the_edges(name):
    """For the student alone, and for both networks."""
    num_parameters = {"fitnet_loss": 3, "vid_loss": 4}.get(name.split(",")[0], 0)
    plain = [array.astype(np.float32) for array in arrays_of(name)]
    for edge in EDGES.values():
        for first in (num_parameters, len(plain) - 1):
            arrays = [*plain[:first], *(edge(x) for x in plain[first:])]
            value, gradients = compiled(name)(*arrays)
            chex.assert_tree_all_finite((value, gradients))
            assert value.dtype == "float32"


def test_losses_that_vanish():
    """Where the student says what the teacher says, in its own units."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(NUM, 4)).astype(np.float32)
    maps = [rng.normal(size=(NUM, 4, 4, 2)).astype(np.float32)]
    for value in (
        distillation.match_distances(x, 5 * x - 2),
        distillation.match_angles(x, 5 * x - 2),
        distillation.match_triplets(x, 5 * x, LABELS),
        distillation.attention_transfer(maps, [3 * maps[0]]),
    ):
        np.testing.assert_allclose(value, 0, atol=1e-7)


def test_local_classifiers_at_a_low_temperature():
    """A class that no label names has no part in them, however cold they are."""
    embeddings, centers, logits = (
        x.astype(np.float32) for x in arrays_of("match_local_classifiers")
    )
    loss = functools.partial(distillation.match_local_classifiers, temperature=1e-3)
    value, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2))(
        embeddings, centers, logits, LABELS
    )
    chex.assert_tree_all_finite((value, gradients))
    assert value >= 0
    other = logits + 5 * (np.arange(4, dtype=np.float32) == 3)
    assert loss(embeddings, centers, other, LABELS) == value


def test_triplets_are_mined_with_the_student():
    far = np.eye(CLASSES, dtype=np.float32)[LABELS]
    assert distillation.match_triplets(-far[::-1], far, LABELS) == 0
    one_class = distillation.match_triplets(far, far[::-1], np.zeros_like(LABELS))
    assert one_class == 0
    # Nor is an example its own friend, however near a stranger is.
    near = 1 + np.float32(0.01) * arrays_of("match_triplets")[1].astype(np.float32)
    strangers = np.arange(NUM, dtype=np.int32)
    assert distillation.match_triplets(near[::-1], near, strangers) == 0


def test_gradient_of_sinkhorn_matching_has_the_factor_of_the_temperature():
    """Eq. (15) of the paper lacks it: at temperature 3 it is thrice too large."""
    teacher, student = arrays_of("sinkhorn_matching", seed=2)
    p, q = softmax(teacher, 3.0), softmax(student, 3.0)
    potentials = np.stack(
        [transport(*pair, COST)[2] for pair in zip(p, q, strict=True)]
    )
    printed = (potentials - np.sum(potentials * q, axis=1, keepdims=True)) * q
    with jax.enable_x64(True):
        _, (_, gradient) = compiled("sinkhorn_matching")(
            *map(jnp.asarray, (teacher, student))
        )
    gradient = np.asarray(gradient)
    np.testing.assert_allclose(NUM * gradient, printed / 3, atol=1e-4)


def test_matches_tell_their_convergence():
    teacher, student = (
        x.astype(np.float32) for x in arrays_of("sinkhorn_matching", seed=3)
    )
    cost = 20 * COST.astype(np.float32)
    matches = functools.partial(
        distillation.sinkhorn_matches, teacher, student, cost, temperature=3.0
    )
    early = matches(epsilon=0.1, max_iterations=3)
    assert not early.converged.any()
    late = matches(epsilon=0.1, max_iterations=3000)
    assert late.converged.all()
    np.testing.assert_allclose(late.plan.sum(axis=1), softmax(student, 3.0), atol=1e-3)


def test_trained_parameters_are_drawn_in_their_shapes():
    regressor = distillation.fitnet_regressor(
        jax.random.key(0), teacher_shape=(8, 4, 64), student_shape=(4, 4, 32)
    )
    assert regressor.kernel.shape == (4, 1, 32, 64)
    np.testing.assert_allclose(regressor.kernel.std(), np.sqrt(2 / 128), rtol=0.1)
    predictors = distillation.vid_predictors(
        jax.random.key(0), teacher_channels=(64,), student_channels=(32,)
    )
    assert [k.shape for k in predictors[0].kernels] == [(32, 64), (64, 64), (64, 64)]
    np.testing.assert_allclose(
        predictors[0].kernels[0].std(), np.sqrt(2 / 32), rtol=0.1
    )
    variances = jax.nn.softplus(predictors[0].spread) + 1e-5
    np.testing.assert_allclose(variances, 5.0, rtol=1e-6)


MAP, ROWS = np.ones((NUM, 2, 2, 3), np.float32), np.ones((NUM, 3), np.float32)
SMALL = distillation.Regressor(np.ones((1, 1, 3, 3)), np.ones(3), np.zeros(3))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: distillation.fitnet_loss(SMALL, MAP, MAP[..., :2]), ValueError, "ker"),
        (lambda: distillation.fitnet_loss(SMALL, MAP, MAP[:, :0]), ValueError, "small"),
        (lambda: distillation.fitnet_loss(SMALL, MAP, ROWS), ValueError, "4 axes"),
        (lambda: distillation.attention_transfer([], []), ValueError, "stages"),
        (lambda: distillation.attention_transfer([MAP], []), ValueError, "stages"),
        (lambda: distillation.vid_loss([], [MAP], [MAP]), ValueError, "stages"),
        (lambda: distillation.match_distances(ROWS, ROWS[1:]), ValueError, "length"),
        (lambda: distillation.match_angles(ROWS > 0, ROWS), TypeError, "teacher"),
        (lambda: distillation.match_triplets(ROWS, ROWS, ROWS), TypeError, "labels"),
        (
            lambda: distillation.match_local_classifiers(ROWS, ROWS, ROWS, LABELS),
            ValueError,
            "teacher_centers",
        ),
        (
            lambda: distillation.sinkhorn_matching(
                ROWS[:0], ROWS[:0], np.ones((3, 3), np.float32), **TRANSPORT
            ),
            ValueError,
            "examples",
        ),
        (
            lambda: distillation.vid_predictors(
                jax.random.key(0), teacher_channels=(1,), student_channels=()
            ),
            ValueError,
            "stages",
        ),
    ],
)
def test_rejects(call, error, words):
    with pytest.raises(error, match=words):
        call()
