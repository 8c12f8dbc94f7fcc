"""Tests of the baselines that compare embeddings, each against a NumPy reference."""

import collections
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
from jtransfer.distillation import afd, pair_memory

NUM, DIM = 6, 3
LABELS = np.array([0, 1, 0, 2, 1, 0], np.int32)
NEGATIVES = np.array([[1, 4], [0, 2], [5, 5], [1, 0], [3, 2], [4, 6]], np.int32)
EPSILON = 0.2
LOCAL = {"epsilon": EPSILON, "max_iterations": 3000, "threshold": 1e-9}


def unit(row):
    return row / np.sqrt(sum(x * x for x in row.ravel()))


def normalized(layer, rows):
    """One column of the outputs after the other, with its own statistics."""
    columns = []
    for j in range(layer.kernel.shape[1]):
        column = np.array([np.dot(row, layer.kernel[:, j]) for row in rows])
        deviation = np.sqrt(np.var(column) + 1e-5)
        column = (column - np.mean(column)) / deviation
        columns.append(column * layer.scale[j] + layer.shift[j])
    return np.stack(columns, axis=1)


def pooled(image, size):
    """Means over the windows of adaptive pooling."""
    edges = [
        [(i * old // new, -(-(i + 1) * old // new)) for i in range(new)]
        for old, new in zip(image.shape, size, strict=True)
    ]
    return np.array(
        [[image[a:b, c:d].mean() for c, d in edges[1]] for a, b in edges[0]]
    )


def afd_reference(params, teacher, student):
    """A sum over all pairs of maps and all examples."""
    queries = [
        normalized(layer, maps.mean(axis=(1, 2)))
        for layer, maps in zip(params.queries, teacher, strict=True)
    ]
    hidden = [
        np.maximum(normalized(layer, maps.mean(axis=(1, 2))), 0)
        for layer, maps in zip(params.keys, student, strict=True)
    ]
    keys = normalized(params.bilinear, np.concatenate(hidden))  # of one map, then next
    total = 0.0
    for (t, maps), x in itertools.product(enumerate(teacher), range(NUM)):
        logits, errors = [], []
        for s, others in enumerate(student):
            key = keys[s * NUM + x, t * DIM : (t + 1) * DIM]
            position = params.teacher_positions[t] @ params.student_positions[s]
            logits.append((key @ queries[t][x] + position) / np.sqrt(DIM))
            size = np.minimum(maps.shape[1:3], others.shape[1:3])
            first, second = (
                unit(pooled(np.mean(m[x] ** 2, axis=2), size)) for m in (maps, others)
            )
            errors.append(np.mean((first - second) ** 2))
        total += scipy.special.softmax(logits) @ errors / NUM
    return total


def seed_reference(teacher, student, queue):
    total = 0.0
    for t, s in zip(teacher, student, strict=True):
        others = [unit(t), *queue]
        p = scipy.special.softmax([unit(t) @ row / 0.3 for row in others])
        log_q = scipy.special.log_softmax([unit(s) @ row / 0.2 for row in others])
        total -= p @ log_q
    return total / NUM


def aml_reference(teacher, student):
    total = 0.0
    for a, label in enumerate(LABELS):
        positives, negatives = [], []
        for x, other in enumerate(LABELS):
            similarity = unit(student[a]) @ unit(teacher[x])
            if label == other:
                positives.append(similarity)
            else:
                negatives.append(max(similarity - 0.1, 0))
        total += np.mean(negatives) - np.mean(positives)
    return total / NUM


def regression_reference(teacher, student):
    """Half the squared distance between directions is one less their cosine."""
    pairs = zip(teacher, student, strict=True)
    return np.mean([np.sum((unit(s) - unit(t)) ** 2) / 2 for t, s in pairs])


def outputs_of(head, rows):
    return np.array([unit(head.kernel.T @ row + head.bias) for row in rows])


def critic(params, teacher, student):
    """With the spectral norm of an exact decomposition."""
    kernel = params.critic.kernel / np.linalg.svd(params.critic.kernel)[1][0]
    hidden = np.concatenate([teacher, student]) @ kernel + params.critic.bias
    return unit(params.critic_output) @ np.maximum(hidden, 0)


def global_reference(params, teacher, student):
    memory = random_memory()
    teacher, student = (
        outputs_of(head, rows)
        for head, rows in zip(params, (teacher, student), strict=False)
    )
    total = 0.0
    for i, row in enumerate(NEGATIVES):
        total -= 2 * critic(params, teacher[i], student[i])
        for k in row:
            total += critic(params, memory.teacher[k], student[i]) / len(row)
            total += critic(params, teacher[i], memory.student[k]) / len(row)
    return total / NUM


def transport_of(params, teacher, student):
    """The cost, and the minimum of the regularised problem with its plan."""
    teacher, student = (
        outputs_of(head, rows)
        for head, rows in zip(params, (teacher, student), strict=False)
    )
    cost = np.array([[1 - t @ s for s in student] for t in teacher])
    weights = np.full(NUM, 1 / NUM)
    return cost, *transport(weights, weights, cost, epsilon=EPSILON)[:2]


def local_reference(*arrays):
    cost, _, plan = transport_of(*arrays)
    return np.sum(plan * cost)


def random_like(tree, seed=0):
    """Normal numbers in float64 in the shapes of a tree."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=np.shape(leaf)), tree)


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def memory_for(kernel, memory):
    """The memory with the exact singular vector of the critic's first layer."""
    return memory._replace(direction=np.linalg.svd(kernel)[2][0])


@functools.cache
def random_memory():
    return pair_memory.Memory(
        *(np.array([unit(row) for row in rows(7, DIM, seed=i)]) for i in (3, 4)),
        direction=np.ones(DIM),
    )


def global_loss(params, teacher, student):
    """In the dtype of the arrays, with the direction of the first parameters."""
    kernel = random_like(PROJECTIONS).critic.kernel
    memory = memory_for(kernel, random_memory())
    memory = jax.tree.map(lambda leaf: jnp.asarray(leaf, teacher.dtype), memory)
    return distillation.wcord_global_loss(params, memory, teacher, student, NEGATIVES)


ATTENTION = distillation.afd_attention(
    jax.random.key(0), teacher_channels=(3, 2), student_channels=(2, 4, 1), dim=DIM
)
PROJECTIONS = distillation.wcord_parameters(
    jax.random.key(0), teacher_dim=5, student_dim=4, dim=DIM
)
TEACHER_MAPS = [(NUM, 6, 6, 3), (NUM, 4, 3, 2)]
STUDENT_MAPS = [(NUM, 4, 4, 2), (NUM, 7, 7, 4), (NUM, 2, 4, 1)]


def zeros(shapes):
    return [np.zeros(shape) for shape in shapes]


PAIR = [np.zeros((NUM, 4)), np.zeros((NUM, 4))]
HEADED = [PROJECTIONS, np.zeros((NUM, 5)), np.zeros((NUM, 4))]
CASES = {
    "afd_loss": (
        [ATTENTION, zeros(TEACHER_MAPS), zeros(STUDENT_MAPS)],
        distillation.afd_loss,
        afd_reference,
    ),
    "seed_loss": (
        [*PAIR, np.zeros((9, 4))],
        functools.partial(distillation.seed_loss, teacher_temperature=0.3),
        seed_reference,
    ),
    "aml_loss": (
        PAIR,
        lambda t, s: distillation.aml_loss(t, s, LABELS, margin=0.1),
        aml_reference,
    ),
    "asymmetric_regression": (
        PAIR,
        distillation.asymmetric_regression,
        regression_reference,
    ),
    "wcord_global_loss": (HEADED, global_loss, global_reference),
    "wcord_local_loss": (
        HEADED,
        lambda *arrays: distillation.wcord_local_loss(*arrays, **LOCAL),
        local_reference,
    ),
}
"""Shapes of the arguments, the loss and its definition."""


@functools.cache
def compiled(name):
    """The value and its gradients by all arguments, for both tests and dtypes."""
    shapes, loss, _ = CASES[name]
    return jax.jit(jax.value_and_grad(loss, argnums=tuple(range(len(shapes)))))


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_agree_with_definition(name):
    shapes, _, definition = CASES[name]
    arrays = random_like(shapes)
    with jax.enable_x64(True):
        value, gradients = compiled(name)(*jax.tree.map(jnp.asarray, arrays))
    assert value.dtype == "float64"
    np.testing.assert_allclose(value, definition(*arrays), rtol=1e-7, atol=1e-9)
    # The gradient of the local loss is that of the regularised problem's minimum.
    local = name == "wcord_local_loss"
    primitive = (lambda *inputs: transport_of(*inputs)[1]) if local else definition
    for seed in (1, 2, 3):
        direction = random_like(shapes, seed=seed)
        up, down = (primitive(*moved(arrays, direction, h)) for h in (1e-5, -1e-5))
        slope = inner_product(list(gradients), direction)
        np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-5, atol=1e-8)


def moved(tree, direction, step):
    return jax.tree.map(lambda x, d: x + step * d, tree, direction)


def inner_product(tree, other):
    products = jax.tree.map(lambda x, y: np.sum(np.asarray(x) * y), tree, other)
    return sum(jax.tree.leaves(products))


EDGES = {
    "duplicated rows": lambda x: np.repeat(x[:1], len(x), axis=0),
    "two equal rows": lambda x: np.concatenate([x[:1], x[:-1]]),
    "zeros": np.zeros_like,
    "huge": lambda x: np.float32(1e30) * x,
    "tiny": lambda x: np.float32(1e-30) * x,
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_finite_at_the_edges(name):
    """For the student alone, and for both networks."""
    arrays = jax.tree.map(np.float32, random_like(CASES[name][0]))
    teacher = int(name.startswith(("afd", "wcord")))
    for edge in EDGES.values():
        for first in (teacher, teacher + 1):
            changed = list(arrays)
            for i in range(first, teacher + 2):
                changed[i] = jax.tree.map(edge, arrays[i])
            value, gradients = compiled(name)(*changed)
            chex.assert_tree_all_finite((value, gradients))
            assert value.dtype == "float32"


@pytest.mark.parametrize("name", CASES)
def test_a_batch_of_one(name):
    shapes, loss, _ = CASES[name]
    shapes = [
        shape if hasattr(shape, "_fields") else jax.tree.map(lambda x: x[:1], shape)
        for shape in shapes
    ]
    arrays = jax.tree.map(np.float32, random_like(shapes))
    if name == "aml_loss":
        loss = functools.partial(
            distillation.aml_loss, labels=LABELS[:1], margin=np.float32(0.1)
        )
    if name == "wcord_global_loss":
        loss = functools.partial(
            distillation.wcord_global_loss,
            memory=jax.tree.map(np.float32, random_memory()),
            negatives=NEGATIVES[:1],
        )
        names = ("params", "teacher_embeddings", "student_embeddings")
        value, gradients = jax.value_and_grad(lambda kwargs: loss(**kwargs))(
            dict(zip(names, arrays, strict=True))
        )
    else:
        value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(*arrays)
    chex.assert_tree_all_finite((value, gradients))


def test_attention_among_maps_that_are_all_one_has_no_choice():
    """Whatever the parameters: the weights of the student's maps sum to one."""
    teacher, student = (rows(NUM, 4, 4, 2, seed=i).astype(np.float32) for i in (0, 1))
    loss = distillation.attention_transfer([teacher], [student])
    for seed in range(2):
        params = distillation.afd_attention(
            jax.random.key(seed), teacher_channels=(2, 2), student_channels=(2,) * 3
        )
        value = distillation.afd_loss(params, [teacher] * 2, [student] * 3)
        np.testing.assert_allclose(value, 2 * loss, rtol=1e-5)


def test_attention_by_positions_alone():
    """Where queries are zero, the positions choose one map of the student."""
    params = jax.tree.map(np.float32, random_like(ATTENTION))
    queries = tuple(
        layer._replace(scale=np.zeros(DIM), shift=np.zeros(DIM))
        for layer in params.queries
    )
    position = np.full((2, DIM), 50, np.float32)
    signs = np.array([[-1], [1], [-1]], np.float32)
    params = params._replace(
        queries=queries,
        teacher_positions=position,
        student_positions=signs * position[:1],
    )
    teacher, student = (
        [m.astype(np.float32) for m in random_like(zeros(shapes))]
        for shapes in (TEACHER_MAPS, STUDENT_MAPS)
    )
    expected = 0.0
    for maps in teacher:
        for x in range(NUM):
            size = np.minimum(maps.shape[1:3], student[1].shape[1:3])
            first, second = (
                unit(pooled(np.mean(m[x] ** 2, axis=2), size))
                for m in (maps, student[1])
            )
            expected += np.mean((first - second) ** 2) / NUM
    value = distillation.afd_loss(params, teacher, student)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_attention_loss_does_not_see_the_scale_of_a_map():
    params, teacher, student = (
        jax.tree.map(np.float32, tree) for tree in random_like(CASES["afd_loss"][0])
    )
    value = distillation.afd_loss(params, teacher, student)
    larger = [[np.float32(1e30) * m for m in maps] for maps in (teacher, student)]
    for other in (larger[0], student), (teacher, larger[1]):
        changed = distillation.afd_loss(params, *other)
        np.testing.assert_allclose(changed, value, rtol=1e-3)


def test_queue_is_first_in_first_out():
    """Against a deque, for batches shorter and longer than the queue."""
    queue = np.asarray(distillation.seed_queue(jax.random.key(0), length=5, dim=DIM))
    np.testing.assert_allclose(np.linalg.norm(queue, axis=1), 1, rtol=1e-6)
    expected = collections.deque(queue, maxlen=5)
    for seed, size in enumerate((2, 2, 5, 1, 8)):
        batch = rows(size, DIM, seed=seed).astype(np.float32)
        queue = distillation.renewed_queue(queue, batch)
        expected.extend(map(unit, batch))
        np.testing.assert_allclose(queue, np.stack(expected), rtol=1e-5)


def test_similarities_to_a_queue():
    teacher, student, queue = (
        x.astype(np.float32) for x in random_like(CASES["seed_loss"][0])
    )
    queue = np.stack([unit(row) for row in queue]).astype(np.float32)
    loss = distillation.seed_loss(teacher, student, queue)
    for other in (
        distillation.seed_loss(7 * teacher, 3 * student, queue),
        distillation.seed_loss(teacher, student, queue[::-1]),
    ):
        np.testing.assert_allclose(other, loss, rtol=1e-5)
    # At the default temperature the teacher names its own embedding alone.
    classes = np.array(
        [
            [unit(s) @ d / 0.2 for d in (unit(t), *queue)]
            for t, s in zip(teacher, student, strict=True)
        ]
    )
    log_probs = scipy.special.log_softmax(classes, axis=1)
    np.testing.assert_allclose(loss, -np.mean(log_probs[:, 0]), rtol=1e-4)
    # Equal rows and temperatures leave the entropy, below all other students'.
    equal = {"teacher_temperature": 0.2, "student_temperature": 0.2}
    least = distillation.seed_loss(teacher, teacher, queue, **equal)
    assert 0 < least < distillation.seed_loss(teacher, student, queue, **equal)


def test_asymmetric_learning_does_not_see_the_size_of_a_batch():
    teacher, student = (x.astype(np.float32) for x in random_like(PAIR))
    once, twice = (
        distillation.aml_loss(
            *(np.tile(x, (n, 1)) for x in (teacher, student)),
            np.tile(LABELS, n),
            margin=0.1,
        )
        for n in (1, 2)
    )
    np.testing.assert_allclose(twice, once, rtol=1e-5)


def test_asymmetric_learning_of_one_class_and_of_none_twice():
    teacher, student = (x.astype(np.float32) for x in random_like(PAIR))
    cosines = np.array([[unit(s) @ unit(t) for t in teacher] for s in student])
    one = distillation.aml_loss(teacher, student, np.zeros_like(LABELS), margin=0.1)
    np.testing.assert_allclose(one, -cosines.mean(), rtol=1e-5)
    own = distillation.aml_loss(teacher, student, np.arange(NUM), margin=1.0)
    regression = distillation.asymmetric_regression(teacher, student)
    np.testing.assert_allclose(own, regression - 1, rtol=1e-5)
    opposite = distillation.asymmetric_regression(teacher, -2 * teacher)
    np.testing.assert_allclose(opposite, 2, rtol=1e-6)


def test_negatives_are_all_others_and_equally_often():
    indices = np.array([0, 3, 4], np.int8)
    drawn = distillation.drawn_negatives(
        jax.random.key(0), indices, num_examples=5, num_negatives=4000
    )
    assert drawn.shape == (3, 4000)
    for index, row in zip(indices, drawn, strict=True):
        counts = np.bincount(row, minlength=5)
        assert len(counts) == 5
        assert counts[index] == 0
        np.testing.assert_allclose(np.delete(counts, index), 1000, atol=120)


def heads(dim):
    """Projections that leave an embedding as it is; the critic's are for the tests."""
    head = pair_memory.LinearHead(
        np.eye(dim, dtype=np.float32), np.zeros(dim, np.float32)
    )
    params = distillation.wcord_parameters(
        jax.random.key(3), teacher_dim=dim, student_dim=dim, dim=dim
    )
    return params._replace(teacher=head, student=head)


def test_memory_moves_towards_the_batch():
    """Row by row; of an index that occurs twice the mean of both counts."""
    params = jax.tree.map(np.float32, random_like(PROJECTIONS))
    memory = jax.tree.map(np.float32, random_memory())
    teacher, student = (rows(4, size, seed=size).astype(np.float32) for size in (5, 4))
    indices = np.array([5, 1, 5, 0], np.int8)
    renewed = distillation.renewed_memory(
        params, memory, teacher, student, indices, momentum=0.3
    )
    for old, new, head, batch in (
        (memory.teacher, renewed.teacher, params.teacher, teacher),
        (memory.student, renewed.student, params.student, student),
    ):
        expected = old.copy()
        for index in (0, 1, 5):
            present = outputs_of(head, batch[indices == index]).mean(axis=0)
            expected[index] = unit(0.3 * old[index] + 0.7 * present)
        np.testing.assert_allclose(new, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(np.asarray(new)[[2, 3, 4, 6]], old[[2, 3, 4, 6]])
    order = np.array([2, 0, 3, 1])
    other = distillation.renewed_memory(
        params, memory, teacher[order], student[order], indices[order], momentum=0.3
    )
    chex.assert_trees_all_close(other, renewed, rtol=1e-5, atol=1e-6)


def test_memory_stays_finite():
    params = heads(DIM)
    memory = jax.tree.map(np.float32, random_memory())
    nothing = np.zeros((3, DIM), np.float32)
    renewed = distillation.renewed_memory(params, memory, nothing, nothing, LABELS[:3])
    chex.assert_trees_all_close(renewed.teacher, memory.teacher, rtol=1e-6)
    zero = params._replace(critic=jax.tree.map(jnp.zeros_like, params.critic))
    kept = distillation.renewed_memory(zero, memory, nothing, nothing, LABELS[:3])
    np.testing.assert_array_equal(kept.direction, memory.direction)


def test_critic_of_zeros_and_the_memory_as_a_constant():
    params, teacher, student = jax.tree.map(np.float32, random_like(HEADED))
    memory = jax.tree.map(np.float32, random_memory())
    gradient = jax.grad(distillation.wcord_global_loss, argnums=(0, 1))
    by_params, by_memory = gradient(params, memory, teacher, student, NEGATIVES)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(by_params))
    assert not any(np.any(leaf != 0) for leaf in jax.tree.leaves(by_memory))
    zero = jax.tree.map(np.zeros_like, params)
    gradients = gradient(zero, memory, teacher, student, NEGATIVES)
    chex.assert_tree_all_finite(gradients)
    assert (
        distillation.wcord_global_loss(zero, memory, teacher, student, NEGATIVES) == 0
    )


def test_critic_is_lipschitz_once_the_power_iteration_has_converged():
    """By the loss of one pair and one stranger on each side, which is a difference."""
    dim, num = 4, 300
    params, rng = heads(dim), np.random.default_rng(5)
    left, right = (np.linalg.qr(rng.normal(size=(s, s)))[0] for s in (2 * dim, dim))
    kernel = (left[:, :dim] * np.array([9.0, 3.0, 1.0, 0.1])) @ right.T
    params = params._replace(
        critic=pair_memory.LinearHead(
            kernel.astype(np.float32), np.ones(dim, np.float32)
        ),
        critic_output=np.float32(right[:, 0]),
    )
    units = rng.normal(size=(4, num, dim)).astype(np.float32)
    units /= np.linalg.norm(units, axis=2, keepdims=True)
    t, s, m, v = units
    bounds = np.linalg.norm(t - m, axis=1) + np.linalg.norm(s - v, axis=1)

    def losses(direction):
        def loss(t, s, m, v):
            memory = pair_memory.Memory(m[None], v[None], direction)
            strangers = np.zeros((1, 1), np.int32)
            return distillation.wcord_global_loss(
                params, memory, t[None], s[None], strangers
            )

        return np.abs(jax.vmap(loss)(t, s, m, v))

    poor = np.float32(right[:, 2] + 1e-3 * right[:, 0])
    assert np.max(losses(poor) / bounds) > 1.1
    memory = pair_memory.Memory(t[:5], s[:5], poor)
    for _ in range(30):
        memory = distillation.renewed_memory(params, memory, t[:1], s[:1], LABELS[:1])
    np.testing.assert_allclose(abs(memory.direction @ right[:, 0]), 1, rtol=1e-5)
    converged = losses(memory.direction) / bounds
    assert 0.5 < np.max(converged) <= 1 + 1e-5
    assert np.max(losses(memory.direction)) <= 4


def trained_critic_loss(teacher, student):
    """The loss after gradient steps of the critic alone, among fresh strangers."""
    num, indices = len(teacher), np.arange(len(teacher))
    params = heads(DIM)
    memory = distillation.wcord_memory(jax.random.key(0), num_examples=num, dim=DIM)
    renewed = functools.partial(distillation.renewed_memory, momentum=0.0)

    def step(state, key):
        params, memory = state
        memory = renewed(params, memory, teacher, student, indices)
        negatives = distillation.drawn_negatives(
            key, indices, num_examples=num, num_negatives=8
        )
        value, slopes = jax.value_and_grad(distillation.wcord_global_loss)(
            params, memory, teacher, student, negatives
        )
        later = jax.tree.map(lambda p, g: p - g, params, slopes)
        later = later._replace(teacher=params.teacher, student=params.student)
        return (later, memory), value

    keys = jax.random.split(jax.random.key(1), 200)
    _, values = jax.jit(lambda state: jax.lax.scan(step, state, keys))((params, memory))
    return float(np.mean(values[-20:]))


def test_critic_learns_pairs_from_strangers():
    """The loss falls where the networks have something in common."""
    embeddings, other = (rows(64, DIM, seed=i).astype(np.float32) for i in (0, 1))
    together = trained_critic_loss(embeddings, embeddings)
    apart = trained_critic_loss(embeddings, other)
    assert together < -0.3
    assert together < apart - 0.2


def local_loss(teacher, student, epsilon):
    return distillation.wcord_local_loss(
        heads(teacher.shape[1]),
        teacher,
        student,
        epsilon=epsilon,
        max_iterations=5000,
        threshold=1e-4,
    )


def test_transport_within_a_batch():
    teacher, student = (rows(NUM, 4, seed=i).astype(np.float32) for i in (0, 1))
    loss = local_loss(teacher, student, EPSILON)
    order = np.array([3, 0, 5, 1, 4, 2])
    permuted = local_loss(teacher, student[order], EPSILON)
    np.testing.assert_allclose(permuted, loss, rtol=1e-3)
    for epsilon in (0.5, 0.1, 0.02):  # of equal features the entropy alone is left
        same = local_loss(teacher, 4 * teacher[order], epsilon)
        assert 0 <= same <= epsilon * np.log(NUM) + 1e-4
    assert same < 1e-2
    # A batch of one has one plan.
    one = local_loss(teacher[:1], student[:1], EPSILON)
    cosine = unit(teacher[0]) @ unit(student[0])
    np.testing.assert_allclose(one, 1 - cosine, rtol=1e-5)


def test_parameters_are_drawn_in_their_shapes():
    params = distillation.afd_attention(
        jax.random.key(0), teacher_channels=(64, 8), student_channels=(8, 4, 2)
    )
    assert [layer.kernel.shape[0] for layer in params.keys] == [8, 4, 2]
    assert params.bilinear.kernel.shape == (128, 256)
    np.testing.assert_allclose(params.bilinear.kernel.std(), (2 / 128) ** 0.5, rtol=0.1)
    np.testing.assert_allclose(
        params.student_positions.std(), (2 / 131) ** 0.5, rtol=0.1
    )
    projections = distillation.wcord_parameters(
        jax.random.key(0), teacher_dim=64, student_dim=32
    )
    for kernel, inputs in (
        (projections.teacher.kernel, 64),
        (projections.student.kernel, 32),
        (projections.critic.kernel, 256),
    ):
        assert kernel.shape == (inputs, 128)
        np.testing.assert_allclose(kernel.std(), inputs**-0.5, rtol=0.1)
    memory = distillation.wcord_memory(jax.random.key(0), num_examples=9)
    for leaf in memory:
        np.testing.assert_allclose(jnp.linalg.norm(leaf, axis=-1), 1, rtol=1e-5)
    assert np.abs(memory.teacher - memory.student).min(axis=1).max() > 0


ROWS = np.ones((NUM, 4), np.float32)
FIVE = np.ones((NUM, 5), np.float32)
MAP = np.ones((NUM, 2, 2, 1), np.float32)
LAYER = afd.NormalizedLayer(
    np.ones((1, DIM), np.float32), np.ones(DIM, np.float32), np.ones(DIM, np.float32)
)
SMALL = ATTENTION._replace(queries=(LAYER,), keys=(LAYER,))
KEY = jax.random.key(0)


def global_of(
    memory=None, teacher=FIVE, student=ROWS, negatives=NEGATIVES, params=PROJECTIONS
):
    memory = memory or jax.tree.map(np.float32, random_memory())
    return distillation.wcord_global_loss(params, memory, teacher, student, negatives)


def renewed_of(indices):
    memory = jax.tree.map(np.float32, random_memory())
    return distillation.renewed_memory(PROJECTIONS, memory, FIVE, ROWS, indices)


SETTINGS = {"epsilon": 0.1, "max_iterations": 9}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: distillation.afd_loss(SMALL, [], [MAP]), ValueError, "teacher_maps"),
        (lambda: distillation.afd_loss(SMALL, [MAP], [MAP] * 2), ValueError, "as many"),
        (lambda: distillation.afd_loss(SMALL, [MAP], [ROWS]), ValueError, "4 axes"),
        (lambda: distillation.afd_loss(SMALL, [MAP], [MAP[1:]]), ValueError, "length"),
        (
            lambda: distillation.afd_loss(SMALL, [np.ones((NUM, 2, 2, 2))], [MAP]),
            ValueError,
            "channels",
        ),
        (
            lambda: distillation.afd_loss(SMALL, [MAP], [MAP > 0]),
            TypeError,
            r"student_maps\[0\]",
        ),
        (
            lambda: distillation.afd_attention(
                KEY, teacher_channels=(1,), student_channels=()
            ),
            ValueError,
            "student's maps",
        ),
        (lambda: distillation.seed_queue(KEY, length=0, dim=2), ValueError, "length"),
        (lambda: distillation.seed_loss(ROWS, FIVE, ROWS), ValueError, "equal shapes"),
        (lambda: distillation.seed_loss(ROWS, ROWS, FIVE), ValueError, "queue"),
        (lambda: distillation.seed_loss(ROWS, ROWS > 0, ROWS), TypeError, "student"),
        (lambda: distillation.renewed_queue(ROWS, FIVE), ValueError, "queue"),
        (lambda: distillation.renewed_queue(ROWS, ROWS[:0]), ValueError, "examples"),
        (
            lambda: distillation.aml_loss(ROWS, FIVE, LABELS, margin=0.1),
            ValueError,
            "equal shapes",
        ),
        (
            lambda: distillation.aml_loss(ROWS, ROWS, LABELS[1:], margin=0.1),
            ValueError,
            "length",
        ),
        (
            lambda: distillation.aml_loss(ROWS, ROWS, ROWS[:, 0], margin=0.1),
            TypeError,
            "labels",
        ),
        (
            lambda: distillation.asymmetric_regression(ROWS, ROWS[1:]),
            ValueError,
            "shapes",
        ),
        (
            lambda: distillation.wcord_parameters(KEY, teacher_dim=1, student_dim=0),
            ValueError,
            "student_dim",
        ),
        (
            lambda: distillation.wcord_memory(KEY, num_examples=0),
            ValueError,
            "num_examples",
        ),
        (
            lambda: distillation.drawn_negatives(
                KEY, LABELS, num_examples=1, num_negatives=1
            ),
            ValueError,
            "other examples",
        ),
        (
            lambda: distillation.drawn_negatives(
                KEY, ROWS[:, 0], num_examples=2, num_negatives=1
            ),
            TypeError,
            "indices",
        ),
        (lambda: global_of(teacher=ROWS), ValueError, "teacher_embeddings"),
        (lambda: global_of(student=ROWS[1:]), ValueError, "length"),
        (lambda: global_of(negatives=NEGATIVES[1:]), ValueError, "length"),
        (lambda: global_of(negatives=NEGATIVES[:, :0]), ValueError, "negatives"),
        (lambda: global_of(negatives=ROWS), TypeError, "negatives"),
        (
            lambda: global_of(memory=distillation.wcord_memory(KEY, num_examples=2)),
            ValueError,
            "memory",
        ),
        (lambda: renewed_of(LABELS[1:]), ValueError, "length"),
        (lambda: renewed_of(ROWS[:, 0]), TypeError, "indices"),
        (
            lambda: distillation.wcord_local_loss(PROJECTIONS, FIVE, FIVE, **SETTINGS),
            ValueError,
            "student_embeddings",
        ),
    ],
)
def test_rejects(call, error, words):
    with pytest.raises(error, match=words):
        call()
