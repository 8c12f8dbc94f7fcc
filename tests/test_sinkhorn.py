"""Tests of jtransfer.sinkhorn, its costs, its theory and the structure of centres."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.spatial
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import NUM_CLASSES, edge_task, gaussian_task
from transport import NUM, SHAPE, problem, reference, references

from jtransfer import sinkhorn
from jtransfer.scores import clustering
from jtransfer.sinkhorn import convergence, sinkhorn_distance, sinkhorn_distances
from jtransfer.sinkhorn._log_kernel import log_kernels, log_sums

seeds = st.integers(0, 2**16)
few = settings(max_examples=8)
EXACT = 1e-11
"""A threshold for float64."""


def distances_one_by_one(teacher, student, cost, **settings):
    """The function of one pair, for all pairs."""
    one = functools.partial(sinkhorn_distance, **settings)
    return jax.vmap(one, in_axes=(0, 0, None))(teacher, student, cost)


FORMS = {"one pair": distances_one_by_one, "batch": sinkhorn_distances}
forms = pytest.mark.parametrize("form", FORMS)


@functools.cache
def compiled(form):
    """The results and the gradients of the sum of distances, for all tests at once.

    The gradients are by both probabilities, the cost and epsilon.
    """

    def total(teacher, student, cost, epsilon, threshold):
        result = FORMS[form](
            teacher,
            student,
            cost,
            epsilon=epsilon,
            threshold=threshold,
            max_iterations=3000,
        )
        return result.distance.sum(), result

    return jax.jit(jax.grad(total, argnums=(0, 1, 2, 3), has_aux=True))


def solved(form, teacher, student, cost, epsilon=0.1, threshold=1e-3):
    """Results and gradients of NumPy, in float64 if the arrays are."""
    with jax.enable_x64(teacher.dtype == np.float64):
        gradients, result = compiled(form)(teacher, student, cost, epsilon, threshold)
    return jax.tree.map(np.asarray, (result, gradients))


@forms
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_agree_with_definition(form, dtype):
    for scale in (0.5, 2.0):
        arrays = problem(0, scale=scale, dtype=dtype)
        distances, plans, _ = references(*arrays)
        single = dtype == np.float32
        result, _ = solved(form, *arrays, threshold=1e-4 if single else EXACT)
        assert result.converged.all()
        assert result.distance.dtype == result.plan.dtype == dtype
        assert result.num_iterations.dtype == "int32"
        atol = 1e-5 if single else 1e-11
        np.testing.assert_allclose(result.distance, distances, rtol=0, atol=atol)
        np.testing.assert_allclose(result.plan, plans, rtol=0, atol=10 * atol)


@given(seeds)
def test_distance_of_two_classes_has_a_closed_form(seed):
    """The cross ratio of the plan is that of the kernel: one quadratic equation."""
    rng = np.random.default_rng(seed)
    p, q = rng.uniform(0.1, 0.9, size=2)
    cost, epsilon = rng.uniform(size=(2, 2)), 0.3
    ratio = np.exp(-(cost[0, 0] + cost[1, 1] - cost[0, 1] - cost[1, 0]) / epsilon)
    roots = np.roots([1 - ratio, 1 - p - q + ratio * (p + q), -ratio * p * q])
    corner = min(roots, key=lambda t: abs(t - np.clip(t, max(0, p + q - 1), min(p, q))))
    plan = np.array([[corner, p - corner], [q - corner, 1 - p - q + corner]])
    expected = np.sum(plan * cost) + epsilon * np.sum(plan * (np.log(plan) - 1))
    # The other classes have no mass.
    teacher, student = np.zeros((NUM, SHAPE[0])), np.zeros((NUM, SHAPE[1]))
    teacher[:, [1, 3]], student[:, [0, 4]] = [p, 1 - p], [q, 1 - q]
    whole = rng.uniform(size=SHAPE)
    whole[np.ix_([1, 3], [0, 4])] = cost
    for form in FORMS:
        result, _ = solved(form, teacher, student, whole, epsilon, EXACT)
        np.testing.assert_allclose(result.distance[0], expected, rtol=1e-9)
        inner = result.plan[0][np.ix_([1, 3], [0, 4])]
        np.testing.assert_allclose(inner, plan, atol=1e-9)


@few
@given(seeds, st.sampled_from([0.02, 0.5]))
def test_distance_is_near_that_without_entropy(seed, epsilon):
    """Between the linear programme less the largest and less the least entropy."""
    teacher, student, cost = problem(seed, dtype=np.float64)
    m, k = SHAPE
    marginals = np.concatenate(
        [np.kron(np.eye(m), np.ones(k)), np.kron(np.ones(m), np.eye(k))]
    )
    least = scipy.optimize.linprog(
        cost.ravel(), A_eq=marginals, b_eq=np.concatenate([teacher[0], student[0]])
    ).fun
    result, _ = solved("batch", teacher, student, cost, epsilon, 1e-6)
    value = float(result.distance[0])
    assert least - epsilon * (1 + np.log(m * k)) <= value <= least - epsilon + 1e-9


@forms
def test_gradients_agree_with_danskin_and_with_differences(form):
    """By both probabilities, the cost and epsilon."""
    arrays = problem(1, dtype=np.float64)
    point = [*arrays, np.float64(0.1)]
    _, gradients = solved(form, *point, EXACT)
    rng = np.random.default_rng(0)
    for i, gradient in enumerate(gradients):
        direction = rng.normal(size=gradient.shape)
        if i < 2:  # The sums of probabilities stay one.
            direction -= direction.mean(axis=1, keepdims=True)
        up, down = (
            solved(
                form, *point[:i], point[i] + step * direction, *point[i + 1 :], EXACT
            )[0].distance.sum()
            for step in (1e-5, -1e-5)
        )
        slope = np.sum(gradient * direction)
        np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-6, atol=1e-9)
    _, plans, potentials = references(*arrays)
    centred = potentials - potentials.mean(axis=1, keepdims=True)
    ours = gradients[1] - gradients[1].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, centred, atol=1e-10)
    np.testing.assert_allclose(gradients[2], plans.sum(axis=0), atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 5.0, 20.0])
def test_batch_agrees_with_single_pairs(scale):
    """The product with the kernel and ott-jax in the log domain, step for step."""
    arrays = problem(2, scale=scale)
    (batch, of_batch), (single, of_single) = (solved(form, *arrays) for form in FORMS)
    assert batch.converged.all()
    assert single.converged.all()
    np.testing.assert_allclose(batch.distance, single.distance, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(batch.plan, single.plan, atol=2e-4)
    np.testing.assert_allclose(batch.num_iterations, single.num_iterations, rtol=0.02)
    np.testing.assert_allclose(of_batch[1], of_single[1], rtol=1e-3, atol=1e-3 * scale)


def test_large_cost_over_epsilon_is_right_in_float32():
    """Where the kernel as such over- and underflows, and long before convergence."""
    teacher, student, cost = problem(3, shape=(30, 40), scale=20.0)
    with np.errstate(all="ignore"):
        kernel = np.exp(-cost / np.float32(0.1))
        v = np.ones_like(student)
        for _ in range(300):
            v = student / ((teacher / (v @ kernel.T)) @ kernel)
        assert not np.isfinite(v).all()
    result = sinkhorn_distances(teacher, student, cost, threshold=0.1)
    wide = [x.astype(np.float64) for x in (teacher, student, cost)]
    for i in range(3):
        steps = int(result.num_iterations[i])
        p, q = wide[0][i], wide[1][i]
        _, _, potentials = reference(p, q, wide[2], num_iterations=steps)
        # The dual value of the same potentials, the teacher's maximised out.
        log_sum = scipy.special.logsumexp((potentials[None] - wide[2]) / 0.1, axis=1)
        value = p @ (np.log(p) - log_sum) + q @ potentials / 0.1 - 1
        np.testing.assert_allclose(result.distance[i], 0.1 * value, rtol=1e-5)
    converged = sinkhorn_distances(teacher, student, cost, threshold=2e-4)
    assert converged.num_iterations[0] > 2 * result.num_iterations[0]
    expected = reference(teacher[0], student[0], cost, num_iterations=20_000)[0]
    assert converged.converged[0]
    np.testing.assert_allclose(converged.distance[0], expected, rtol=1e-5)


@given(seeds, st.sampled_from([1, 20, 80, 150, 300, 2000]))
def test_sums_of_exponentials_are_right_at_every_range(seed, scale):
    """Whether the product was taken for all, some or none of the rows."""
    rng = np.random.default_rng(seed)
    scores = scale * rng.uniform(size=SHAPE)
    if seed % 2:  # Plans come from such sums: one entry a row is what counts.
        scores[np.arange(SHAPE[0]), rng.integers(SHAPE[1], size=SHAPE[0])] = 0
    ranges = scale * np.linspace(0, 1, 20)[:, None]
    potentials = ranges * rng.normal(size=(20, SHAPE[1])) - 80 * (seed % 3)
    scores, potentials = scores.astype(np.float32), potentials.astype(np.float32)
    expected = scipy.special.logsumexp(
        potentials[:, None].astype(np.float64) - scores.astype(np.float64)[None], axis=2
    )
    for value, rows in (
        (_log_sums(potentials, scores), slice(None)),
        (_log_sums(potentials[::5], scores), slice(None, None, 5)),
    ):
        np.testing.assert_allclose(value, expected[rows], rtol=5e-7, atol=5e-6)


@jax.jit
def _log_sums(potentials, scores):
    return log_sums(potentials, log_kernels(scores)[0])


@forms
def test_probabilities_of_zero(form):
    """They change neither value nor gradient of the others, and break nothing."""
    teacher, student, cost = problem(4)
    teacher[:, 2] = student[:, 3] = 0
    teacher[0] = np.eye(4)[1]
    teacher /= teacher.sum(axis=1, keepdims=True)
    student /= student.sum(axis=1, keepdims=True)
    result, gradients = solved(form, teacher, student, cost, threshold=1e-4)
    assert result.converged.all()
    chex.assert_tree_all_finite((result, gradients))
    for i in range(3):
        kept = np.flatnonzero(teacher[i])
        q, rest = np.delete(student[i], 3), np.delete(cost[kept], 3, axis=1)
        expected, plan, potentials = reference(teacher[i, kept], q, rest)
        np.testing.assert_allclose(result.distance[i], expected, atol=1e-5)
        ours = np.delete(result.plan[i][kept], 3, axis=1)
        np.testing.assert_allclose(ours, plan, atol=1e-4)
        # By the logits of a softmax, whose gradient does not see a constant.
        ours = np.delete(gradients[1][i], 3)
        by_logits, danskin = ((b - b @ q) * q for b in (ours, potentials))
        np.testing.assert_allclose(by_logits, danskin, atol=1e-4)


def test_one_class_and_equal_distributions():
    _, student, cost = problem(5, shape=(1, 6))
    result = sinkhorn_distances(np.ones((NUM, 1), np.float32), student, cost)
    expected = student @ cost[0] + 0.1 * np.sum(student * (np.log(student) - 1), axis=1)
    np.testing.assert_allclose(result.distance, expected, atol=1e-5)
    np.testing.assert_allclose(result.plan[:, 0], student, rtol=1e-4)
    # Equal predictions stay where they are, at the price of their own entropy.
    teacher, _, _ = problem(5)
    student = np.pad(teacher, ((0, 0), (0, 2)))
    apart = 5 - 5 * np.eye(*SHAPE, dtype=np.float32)
    entropies = scipy.special.entr(teacher).sum(axis=1)
    for form in FORMS:
        same, _ = solved(form, teacher, student, apart)
        np.testing.assert_allclose(same.distance, -0.1 * (1 + entropies), atol=1e-5)
        np.testing.assert_allclose(
            same.plan[:, :, :4], np.stack([np.diag(p) for p in teacher]), atol=1e-5
        )


@few
@given(seeds)
def test_transposition_and_offsets(seed):
    teacher, student, cost = problem(seed, dtype=np.float64)
    rng = np.random.default_rng(seed)
    rows, columns = rng.normal(size=(4, 1)), rng.normal(size=(1, 6))
    plain, _ = solved("batch", teacher, student, cost, threshold=EXACT)
    moved, _ = solved("batch", teacher, student, cost + rows + columns, threshold=EXACT)
    expected = np.asarray(plain.distance) + (teacher @ rows + student @ columns.T)[:, 0]
    np.testing.assert_allclose(moved.distance, expected, rtol=1e-8)
    np.testing.assert_allclose(moved.plan, plain.plan, atol=1e-8)
    with jax.enable_x64(True):
        turned = sinkhorn_distances(student, teacher, cost.T, threshold=EXACT)
    np.testing.assert_allclose(turned.distance, plain.distance, rtol=1e-8)
    np.testing.assert_allclose(turned.plan, plain.plan.swapaxes(1, 2), atol=1e-8)


@few
@given(seeds, st.sampled_from([1e-2, 1e-3, 1e-5, 1e-8]))
def test_convergence_is_told_truthfully_for_each_problem(seed, threshold):
    """By the sums of the plans returned; some problems are easy, some hard."""
    teacher, student, cost = problem(seed, scale=8.0)
    student[:3] = 1 / 6
    teacher[:2] = 1 / 4
    result = sinkhorn_distances(
        teacher, student, cost, threshold=threshold, max_iterations=50
    )
    plans = np.asarray(result.plan, np.float64)
    errors = np.abs(plans.sum(axis=1) - student).sum(axis=1)
    rows = np.abs(plans.sum(axis=2) - teacher).sum(axis=1)
    assert (rows < 1e-4).all()
    assert (errors[np.asarray(result.converged)] <= threshold).all()
    assert (errors[~np.asarray(result.converged)] > threshold - 1e-4).all()
    assert (result.num_iterations[~result.converged] == 50).all()
    if threshold == 1e-8:  # Below the rounding of float32.
        assert not result.converged.any()


def test_a_stop_by_the_gradient_is_a_stop_by_the_marginals_over_epsilon():
    """An iteration moves the gradient by epsilon times the error of the marginals."""
    teacher, student, cost = problem(5)
    by_marginals = sinkhorn_distances(teacher, student, cost, threshold=1e-4)
    settings = {"gradient_threshold": 1e-5}
    result = sinkhorn_distances(teacher, student, cost, **settings)
    assert result.converged.all()
    gap = result.num_iterations - by_marginals.num_iterations
    assert np.abs(gap).max() <= 2
    assert result.num_iterations.max() > 5

    def gradient(**settings):
        def total(logits):
            probs = jax.nn.softmax(logits)
            return sinkhorn_distances(teacher, probs, cost, **settings).distance.sum()

        return jax.grad(total)(jnp.log(student))

    exact = gradient(threshold=EXACT, max_iterations=9999)
    errors = jnp.abs(gradient(**settings) - exact).sum(axis=1)
    assert errors.max() < 1e-4
    assert errors.max() < 0.1 * jnp.abs(gradient(max_iterations=2) - exact).sum(1).max()
    cut = sinkhorn_distances(teacher, student, cost, max_iterations=3, **settings)
    assert not cut.converged.any()
    assert (cut.num_iterations == 3).all()


@forms
def test_what_cannot_converge_says_so(form):
    teacher, student, cost = problem(6)
    assert solved(form, teacher, student, cost)[0].converged.all()
    for p, q, threshold in (
        (teacher, student, 1e-9),  # below the rounding of float32
        (teacher, 0.9 * student, 1e-3),
        (teacher, np.nan * student, 1e-3),
    ):
        result, _ = solved(form, p, q, cost, threshold=threshold)
        assert not result.converged.any()
        if np.isfinite(q).all():
            assert (result.num_iterations == 3000).all()


def test_the_result_of_a_problem_does_not_depend_on_the_others():
    teacher, student, cost = problem(7, scale=4.0)
    together, _ = solved("batch", teacher, student, cost)
    p, q, _ = problem(8, sharpness=4.0)
    p[2], q[2] = teacher[2], student[2]
    among_others, _ = solved("batch", p, q, cost)
    assert len(set(np.asarray(together.num_iterations))) > 1
    assert together.num_iterations[2] == among_others.num_iterations[2]
    np.testing.assert_allclose(
        together.distance[2], among_others.distance[2], rtol=1e-5
    )
    empty = sinkhorn_distances(teacher[:0], student[:0], cost)
    assert empty.plan.shape == (0, *SHAPE)


def test_vmap_over_costs_agrees():
    teacher, student, cost = problem(8)
    costs = np.stack([cost, 2 * cost])
    mapped = jax.vmap(sinkhorn_distances, in_axes=(None, None, 0))(
        teacher, student, costs
    )
    for i in range(2):
        plain, _ = solved("batch", teacher, student, costs[i])
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf, i=i: leaf[i], mapped), plain, rtol=1e-4, atol=1e-5
        )


def test_the_dtype_is_kept_and_other_values_do_not_compile_again():
    teacher, student, cost = problem(9)
    for solve, p, q in (
        (sinkhorn_distance, teacher[0], student[0]),
        (sinkhorn_distances, teacher, student),
    ):
        with jax.enable_x64(True):
            narrow = jax.eval_shape(solve, p, q, cost, epsilon=np.float64(0.1))
        assert narrow.distance.dtype == narrow.plan.dtype == "float32"
        solve = functools.partial(solve, max_iterations=50)
        solve(p, q, cost, epsilon=0.1, threshold=1e-3)
        size = solve.func._cache_size()
        solve(q[..., ::-1][..., :4], q, 30 * cost, epsilon=0.2, threshold=1e-2)
        assert solve.func._cache_size() == size


def hilbert_metric(log_x, log_y):
    """Hilbert's projective metric of two positive vectors (Definition B.1)."""
    return convergence.variation_seminorm(log_x - log_y)


@given(seeds)
def test_kernels_contract_the_hilbert_metric(seed):
    """Theorem B.2, with the constant by its definition over all quadruples."""
    rng = np.random.default_rng(seed)
    cost, epsilon = rng.uniform(0, 1, size=(4, 6)), 0.2
    x, y = rng.normal(scale=2, size=(2, 6))
    kernel = np.exp(-cost / epsilon)
    products = np.log(kernel @ np.exp(x)), np.log(kernel @ np.exp(y))
    psi = np.max(np.einsum("ik,jl,jk,il->ijkl", kernel, kernel, 1 / kernel, 1 / kernel))
    with jax.enable_x64(True):
        rate = convergence.contraction_rate(cost, epsilon=epsilon)
        before, after = hilbert_metric(x, y), hilbert_metric(*products)
    expected = (np.sqrt(psi) - 1) / (np.sqrt(psi) + 1)
    np.testing.assert_allclose(rate, expected, rtol=1e-10)
    ratios = np.exp(x[:, None] - y[:, None] - x[None] + y[None])
    np.testing.assert_allclose(before, np.log(ratios.max()), rtol=1e-10)
    assert float(after) <= float(rate) * float(before) * (1 + 1e-10)


@given(seeds, st.sampled_from([0.1, 0.5, 1.0]))
def test_gradients_converge_at_the_rate_of_proposition_43(seed, scale):
    teacher, student, cost = problem(seed, n=1, scale=scale, dtype=np.float64)
    _, _, limit = reference(teacher[0], student[0], cost)
    with jax.enable_x64(True):
        gradients = convergence.student_gradients(
            teacher[0], student[0], cost, num_iterations=12
        )
        errors = jax.vmap(convergence.variation_seminorm)(gradients - limit[None])
        bounds = convergence.gradient_bound(errors[0], cost, num_iterations=12)
        rate = convergence.contraction_rate(cost)
    errors, bounds, rate = map(np.asarray, (errors, bounds, rate))
    assert (errors <= bounds * (1 + 1e-9) + 1e-12).all()
    assert (errors[1:] <= rate**2 * errors[:-1] * (1 + 1e-9) + 1e-12).all()
    np.testing.assert_allclose(bounds, errors[0] * rate ** (2 * np.arange(13)), 1e-9)


def test_rate_and_bound_at_their_ends():
    bounds = functools.partial(convergence.gradient_bound, num_iterations=100_000)
    constant = np.full(SHAPE, 3.0, np.float32)
    assert convergence.contraction_rate(constant) == 0
    np.testing.assert_array_equal(bounds(2.0, constant)[:3], [2, 0, 0])
    huge = 20 * np.eye(*SHAPE, dtype=np.float32)
    assert convergence.contraction_rate(huge) == 1
    # psi is exp(400): the rate is one in every dtype, the bound does not overflow.
    np.testing.assert_array_equal(bounds(2.0, huge)[:3], [2, 2, 2])
    # At exp(40) the rate rounds to one, but 100,000 steps at it are not nothing.
    bound = bounds(1.0, huge / 10)[-1]
    np.testing.assert_allclose(bound, np.exp(-4e5 * np.exp(-20)), rtol=1e-5)


def test_class_centers_and_their_variants():
    features, labels = edge_task("classes without examples", "n > d")
    labels = labels.astype(np.int32)
    labels[:5] = [-1, 5, 99, -7, 5]
    centers = sinkhorn.class_centers(features, labels, num_classes=NUM_CLASSES)
    kept = (labels >= 0) & (labels < NUM_CLASSES)
    for label in range(NUM_CLASSES):
        chosen = features[labels == label] if label not in (1, 4) else features[kept]
        np.testing.assert_allclose(centers[label], chosen.mean(axis=0), atol=1e-5)
    weights = features[:8].copy()
    weights[:, 2] = 0
    scaled = sinkhorn.classifier_centers(weights)
    lengths = np.linalg.norm(weights, axis=0)
    np.testing.assert_allclose(
        scaled, (weights / np.where(lengths > 0, lengths, 1)).T, atol=1e-6
    )
    tiny = sinkhorn.normalized_centers(np.float32(1e-30) * weights.T)
    np.testing.assert_allclose(tiny, scaled, atol=1e-6)
    gradient = jax.grad(lambda w: sinkhorn.classifier_centers(w).sum())(weights)
    chex.assert_tree_all_finite(gradient)


def test_cost_matrix():
    features, _ = gaussian_task(0, 60, 8)
    teacher, student = features[:5].copy(), features[5:12].copy()
    student[1], student[4] = teacher[2], student[3]
    expected = scipy.spatial.distance.cdist(teacher, student)
    cost = sinkhorn.cost_matrix(teacher, student)
    np.testing.assert_allclose(cost, expected, rtol=1e-5)
    assert cost[2, 1] == 0
    far = sinkhorn.cost_matrix(teacher + 1000, student + 1000)
    np.testing.assert_allclose(far, expected, atol=1e-3)
    gradients = jax.grad(lambda *x: sinkhorn.cost_matrix(*x).sum(), argnums=(0, 1))
    chex.assert_tree_all_finite(gradients(teacher, student))
    unit = (teacher - student[0]) / expected[:, :1]
    slope = jax.grad(lambda t: sinkhorn.cost_matrix(t, student[:1]).sum())(teacher)
    np.testing.assert_allclose(slope, unit, atol=1e-5)


def test_constant_costs_go_by_class_and_not_by_index():
    cost = sinkhorn.constant_cost(["bee", "cat", "dog"], ["dog", "ape", "cat", "bee"])
    np.testing.assert_array_equal(cost, [[1, 1, 1, 0], [1, 1, 0, 1], [0, 1, 1, 1]])
    by_number = sinkhorn.constant_cost([30, 31, 32], np.array([32, 7, 31, 30]))
    np.testing.assert_array_equal(by_number, cost)
    superclasses = {"bee": "insect", "cat": "mammal", "dog": "mammal", "ape": "mammal"}
    cost = sinkhorn.superclass_cost(
        [superclasses[name] for name in ("bee", "cat", "dog")],
        [superclasses[name] for name in ("dog", "ape", "cat", "bee")],
    )
    np.testing.assert_array_equal(cost, [[1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]])
    assert cost.dtype == jnp.float32


@pytest.mark.parametrize("offset", [0, 1000])
def test_nearest_center_logits(offset):
    features, labels = gaussian_task(0, 60, 8, separation=3)
    features += np.float32(offset)
    centers = sinkhorn.class_centers(
        features, labels.astype(np.int32), num_classes=NUM_CLASSES
    )
    logits = clustering.nearest_center_logits(features, centers)
    expected = -(scipy.spatial.distance.cdist(features, centers) ** 2)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)
    assert np.mean(logits.argmax(axis=1) == labels) > 0.9
    if not offset:
        weights = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
        weights /= np.linalg.norm(weights, axis=0)
        approximate = clustering.nearest_center_logits(
            features, sinkhorn.classifier_centers(7 * weights)
        )
        np.testing.assert_array_equal(
            approximate.argmax(axis=1), (features @ weights).argmax(axis=1)
        )


clusters_of = functools.partial(
    clustering.k_means_labels, num_clusters=NUM_CLASSES, num_starts=20
)


def test_k_means_finds_clusters_and_their_agreement_is_measured():
    features, labels = gaussian_task(0, 60, 8, separation=8)
    agreement = functools.partial(
        clustering.normalized_mutual_information,
        num_labels=NUM_CLASSES,
        num_others=NUM_CLASSES,
    )
    clusters = clusters_of(features, jax.random.key(0))
    np.testing.assert_allclose(agreement(labels, clusters), 1, rtol=1e-5)
    again = clusters_of(features, jax.random.key(0))
    np.testing.assert_array_equal(clusters, again)
    # More clusters than distinct points.
    same = clusters_of(np.ones((60, 8), np.float32), jax.random.key(1))
    assert len(np.unique(same)) == 1


def test_k_means_is_as_good_as_that_of_scipy():
    from scipy.cluster.vq import kmeans2

    points = gaussian_task(1, 60, 8, separation=1)[0]

    def inertia(labels):
        labels = np.asarray(labels)
        return sum(
            np.sum((points[labels == k] - points[labels == k].mean(axis=0)) ** 2)
            for k in np.unique(labels)
        )

    ours = inertia(clusters_of(points, jax.random.key(0)))
    theirs = min(
        inertia(kmeans2(points, NUM_CLASSES, minit="++", rng=seed, iter=100)[1])
        for seed in range(20)
    )
    assert ours <= 1.02 * theirs


@given(seeds)
def test_normalized_mutual_information_agrees_with_definition(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(NUM_CLASSES, size=(2, 40)).astype(np.int32)
    b = np.where(rng.uniform(size=40) < 0.6, a, b)
    joint = np.histogram2d(a, b, bins=np.arange(NUM_CLASSES + 1))[0] / 40
    product = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    terms = joint[joint > 0] * np.log(joint[joint > 0] / product[joint > 0])
    entropies = [scipy.special.entr(joint.sum(axis=i)).sum() for i in (0, 1)]
    value = clustering.normalized_mutual_information(
        np.append(a, [-1, 0]), np.append(b, [0, 77]), num_labels=5, num_others=5
    )
    np.testing.assert_allclose(value, 2 * terms.sum() / sum(entropies), rtol=1e-4)


def test_normalized_mutual_information_at_its_ends():
    agreement = functools.partial(
        clustering.normalized_mutual_information, num_labels=5, num_others=5
    )
    zeros, split = np.zeros(40, np.int32), np.arange(40, dtype=np.int32) % 4
    assert agreement(zeros, zeros) == 1
    assert agreement(zeros, split) == 0
    np.testing.assert_allclose(agreement(split, (split + 2) % 5), 1, rtol=1e-6)
    assert agreement(split, np.arange(40, dtype=np.int32) // 20) < 1e-6


PROBS = np.full((3, 4), 0.25, np.float32)
COST = np.ones((4, 4), np.float32)
LABELS = np.zeros(3, np.int32)


def gradients_of(teacher, student, num_iterations=1):
    return convergence.student_gradients(
        teacher, student, COST, num_iterations=num_iterations
    )


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: sinkhorn_distance(PROBS, PROBS[0], COST), ValueError, "teacher_probs"),
        (lambda: sinkhorn_distance(PROBS[0], PROBS, COST), ValueError, "student_probs"),
        (lambda: sinkhorn_distance(PROBS[0], PROBS[0], COST[0]), ValueError, "cost"),
        (lambda: sinkhorn_distances(PROBS, PROBS, COST[1:]), ValueError, "cost"),
        (lambda: sinkhorn_distances(PROBS, PROBS[1:], COST), ValueError, "length"),
        (lambda: sinkhorn_distances(PROBS > 0, PROBS, COST), TypeError, "teacher"),
        (lambda: sinkhorn_distances(PROBS, PROBS, COST > 0), TypeError, "cost"),
        (
            lambda: sinkhorn_distances(PROBS, PROBS, COST, max_iterations=0),
            ValueError,
            "max_iterations",
        ),
        (lambda: sinkhorn.cost_matrix(COST, COST[:, 1:]), ValueError, "features"),
        (lambda: sinkhorn.cost_matrix(COST > 0, COST), TypeError, "teacher_centers"),
        (lambda: sinkhorn.classifier_centers(COST[0]), ValueError, "weights"),
        (lambda: sinkhorn.constant_cost([1], ["a"]), TypeError, "both sides"),
        (lambda: sinkhorn.constant_cost([0.5], [1]), TypeError, "teacher_classes"),
        (lambda: sinkhorn.constant_cost("cat", ["cat"]), ValueError, "teacher_classes"),
        (lambda: convergence.variation_seminorm(COST), ValueError, "x must have"),
        (lambda: convergence.contraction_rate(COST[0]), ValueError, "cost"),
        (lambda: gradients_of(PROBS[0, :1], PROBS[0]), ValueError, "teacher_probs"),
        (lambda: gradients_of(PROBS[0], PROBS[0, :3]), ValueError, "student_probs"),
        (lambda: gradients_of(PROBS[0], PROBS[0] > 0), TypeError, "student_probs"),
        (
            lambda: gradients_of(PROBS[0], PROBS[0], num_iterations=0),
            ValueError,
            "num_iterations",
        ),
        (
            lambda: clustering.nearest_center_logits(COST, COST[:, 1:]),
            ValueError,
            "features",
        ),
        (
            lambda: clustering.k_means_labels(COST, jax.random.key(0), num_clusters=0),
            ValueError,
            "num_clusters",
        ),
        (
            lambda: clustering.normalized_mutual_information(
                LABELS, LABELS > 0, num_labels=1, num_others=1
            ),
            TypeError,
            "others",
        ),
    ],
)
def test_rejects(call, error, words):
    with pytest.raises(error, match=words):
        call()


def centres(seed, num_classes=5, width=7, offset=0.0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(num_classes, width)) + offset).astype(np.float32)


def test_centred_cost_agrees_with_definition():
    teacher, student = centres(0, offset=3), centres(1, num_classes=4, offset=-2)
    unit = []
    for x in (teacher.astype(np.float64), student.astype(np.float64)):
        x = x - x.mean(axis=0)
        unit.append(x / np.linalg.norm(x, axis=1, keepdims=True))
    expected = scipy.spatial.distance.cdist(*unit)
    cost = sinkhorn.centred_cost(teacher, student)
    np.testing.assert_allclose(cost, expected, atol=1e-6)
    assert cost.max() <= 2


def test_centred_cost_does_not_see_offsets_rotations_and_scales():
    teacher, student = centres(2), centres(3)
    expected = sinkhorn.centred_cost(teacher, student)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(7, 7)))
    turn = turn.astype(np.float32)
    for other in (
        (teacher + 5, student),
        (teacher, student - 3),
        (teacher @ turn, student @ turn),
        (1e6 * teacher, 1e-6 * student),
    ):
        cost = sinkhorn.centred_cost(*other)
        np.testing.assert_allclose(cost, expected, atol=2e-5)


def test_classes_without_examples_are_neither_near_nor_far():
    teacher, student = centres(4), centres(5)
    counts = np.array([3, 0, 1, 2, 0])
    cost = np.asarray(sinkhorn.centred_cost(teacher, student, student_counts=counts))
    known = sinkhorn.centred_cost(teacher, student[counts > 0])
    np.testing.assert_allclose(cost[:, counts > 0], known, atol=1e-6)
    np.testing.assert_allclose(cost[:, counts == 0], np.mean(known), atol=1e-6)
    nothing = sinkhorn.centred_cost(teacher, student, student_counts=np.zeros(5))
    np.testing.assert_array_equal(nothing, np.zeros((5, 5)))
    alike = sinkhorn.centred_cost(np.ones((3, 2), np.float32), student[:3, :2])
    assert np.isfinite(alike).all()
    slopes = jax.grad(lambda x: sinkhorn.centred_cost(x, student).sum())
    assert np.isfinite(slopes(jnp.ones_like(teacher))).all()
    with pytest.raises(ValueError, match="counts must be one a class"):
        sinkhorn.centred_cost(teacher, student, student_counts=np.ones(3))


def test_transported_probs_are_the_optimum_of_the_distance():
    """No prediction is nearer to the teacher's; the gradient is zero there."""
    teacher, _, cost = problem(6)
    optimum = sinkhorn.transported_probs(teacher, cost, epsilon=0.1)
    np.testing.assert_allclose(optimum.sum(axis=1), 1, rtol=1e-5)

    def distance(logits):
        student = jax.nn.softmax(logits)
        return sinkhorn.sinkhorn_distances(
            jnp.asarray(teacher), student, cost, epsilon=0.1, threshold=1e-6
        ).distance

    logits = jnp.log(optimum)
    least = distance(logits)
    for seed in range(5):
        step = 0.1 * np.random.default_rng(seed).normal(size=logits.shape)
        assert (distance(logits + step.astype(np.float32)) >= least - 1e-5).all()
    slope = jax.grad(lambda x: distance(x).sum())(logits)
    np.testing.assert_allclose(slope, 0, atol=1e-3)
    kernel = np.exp(-cost.astype(np.float64) / 0.1)
    kernel /= kernel.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(optimum, teacher @ kernel, rtol=1e-5)
    # Printed costs of length 153 / epsilon: rows of the kernel stay finite.
    far = sinkhorn.transported_probs(teacher, 150 * cost, epsilon=0.1)
    assert np.isfinite(far).all()


def test_what_is_paid_for_a_class_is_added_to_the_distance():
    """S(M + 1 c^T) = S(M) + <c, p_S>: long centres would sell their classes."""
    teacher, student, cost = problem(7)
    paid = np.random.default_rng(0).uniform(size=cost.shape[1]).astype(np.float32)
    settings = {"epsilon": 0.1, "threshold": 1e-6}
    plain = sinkhorn.sinkhorn_distances(teacher, student, cost, **settings)
    other = sinkhorn.sinkhorn_distances(teacher, student, cost + paid, **settings)
    np.testing.assert_allclose(
        other.distance, plain.distance + student @ paid, atol=1e-5
    )


def test_cost_contrast_agrees_with_definition():
    cost = np.random.default_rng(8).uniform(size=(4, 6)).astype(np.float32)
    same = np.zeros((4, 6), bool)
    same[0, 3] = same[2, 1] = True
    own = np.where(same.any(axis=1), same.argmax(axis=1), cost.argmin(axis=1))
    gaps, masses = [], []
    for row, i in zip(cost.astype(np.float64), own, strict=True):
        gaps.append(np.delete(row, i).mean() - row[i])
        kernel = np.exp(-row / 0.1)
        masses.append(kernel[i] / kernel.sum())
    contrast = sinkhorn.cost_contrast(cost, epsilon=0.1, same=same)
    np.testing.assert_allclose(contrast.gap, np.mean(gaps) / 0.1, rtol=1e-5)
    np.testing.assert_allclose(contrast.own_mass, np.mean(masses), rtol=1e-5)
    single = sinkhorn.cost_contrast(cost[:, :1], epsilon=0.1)
    assert (float(single.gap), float(single.own_mass)) == (0, 1)
    with pytest.raises(ValueError, match="must agree"):
        sinkhorn.cost_contrast(cost, epsilon=0.1, same=same[:2])
    with pytest.raises(ValueError, match="one number"):
        sinkhorn.transported_probs(cost, cost, epsilon=0.1)


def test_centring_tells_classes_apart_that_share_a_mean():
    """Features after a ReLU: their classes' means lie on top of each other."""
    rng = np.random.default_rng(9)
    means = np.maximum(rng.normal(size=(20, 40)) * 0.3 + 1, 0).astype(np.float32)
    head = means - means.mean(axis=0) + 0.05 * rng.normal(size=means.shape)
    head = head.astype(np.float32)
    same = np.eye(20, dtype=bool)
    scaled = sinkhorn.cost_matrix(*map(sinkhorn.normalized_centers, (head, means)))
    without = sinkhorn.cost_contrast(scaled, epsilon=0.1, same=same)
    centred = sinkhorn.centred_cost(head, means)
    contrast = sinkhorn.cost_contrast(centred, epsilon=0.1, same=same)
    assert contrast.gap > 3 * without.gap
    assert contrast.own_mass > 0.9 > without.own_mass
