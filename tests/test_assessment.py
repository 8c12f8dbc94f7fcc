"""Tests of jtransfer.assessment: Eq. (24) and the fictitious student."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import EDGES, NUM_CLASSES, edge_task, gaussian_task
from transport import NUM, minimiser, problem, references

from jtransfer import assessment, sinkhorn
from jtransfer.assessment import fictitious_student, sinkhorn_score

seeds = st.integers(0, 2**16)
student_of = functools.partial(fictitious_student, num_classes=NUM_CLASSES)
assessed = functools.partial(
    assessment.sinkhorn_assessment, epsilon=0.1, threshold=1e-4
)


def task(seed, n=60, d=8, separation=1.0):
    features, labels = gaussian_task(seed, n, d, separation)
    return features, labels.astype(np.int32)


def test_score_is_minus_the_mean_distance():
    for seed in range(3):
        teacher, student, cost = problem(seed)
        distances, plans, _ = references(teacher, student, cost)
        result = assessed(teacher, student, cost)
        np.testing.assert_allclose(result.score, -distances.mean(), atol=1e-5)
        np.testing.assert_allclose(result.plan, plans.mean(axis=0), atol=1e-4)
        assert result.converged == 1
        bounds = 0.1 - cost.max(), 0.1 * (1 + np.log(cost.size)) - cost.min()
        assert bounds[0] <= result.score <= bounds[1]


def test_share_of_converged_examples():
    teacher, student, cost = problem(0)
    student[:2] *= 0.9  # which leaves no plan
    assert assessed(teacher, student, cost).converged == 0.75


def test_no_example_counts_for_nothing():
    teacher, student, cost = problem(0)
    result = assessed(teacher[:0], student[:0], cost)
    assert result.score == 0
    assert result.converged == 0
    np.testing.assert_array_equal(result.plan, np.zeros(cost.shape))


def test_score_follows_the_students_gradients_and_dtype():
    teacher, student, cost = problem(1)
    score, gradient = jax.jit(jax.value_and_grad(sinkhorn_score, argnums=1))(
        teacher, student, cost
    )
    np.testing.assert_allclose(score, assessed(teacher, student, cost).score, atol=1e-4)
    ours, potentials = -NUM * gradient, references(teacher, student, cost)[2]
    ours, danskin = (
        (b - np.sum(b * student, axis=1, keepdims=True)) * student
        for b in (ours, potentials)
    )
    np.testing.assert_allclose(ours, danskin, atol=2e-3)
    with jax.enable_x64(True):
        wide = (x.astype(np.float64) for x in (teacher, student, cost))
        assert jax.eval_shape(sinkhorn_score, *wide).dtype == jnp.float64
    size = assessed.func._cache_size()
    assessed(teacher[::-1], student, 2 * cost, epsilon=0.2)
    assert assessed.func._cache_size() == size


def test_a_teacher_whose_head_is_permuted_is_worse():
    """Algorithm 4: the student that its features give takes the classes as they are."""
    features, labels = task(0, n=60, separation=2.0)
    centers = sinkhorn.normalized_centers(
        sinkhorn.class_centers(features, labels, num_classes=NUM_CLASSES)
    )
    cost = sinkhorn.cost_matrix(centers, centers)
    student = jax.nn.softmax(student_of(features, labels, weight_decay=1e-2) / 3)
    teacher = np.asarray(jax.nn.softmax(features @ np.asarray(centers).T))
    scores = [
        assessed(np.roll(teacher, shift, axis=1), student, cost).score
        for shift in range(NUM_CLASSES)
    ]
    assert np.argmax(scores) == 0


@pytest.mark.parametrize("shape", ["n > d", "n < d"])
@pytest.mark.parametrize("edge", EDGES)
def test_fictitious_student_is_the_minimiser(edge, shape):
    features, labels = edge_task(edge, shape)
    decay = 1e-2 * max(float(np.mean(features**2)), 1e-30)
    labels, occurs = labels.astype(np.int32), np.isin(np.arange(NUM_CLASSES), labels)
    # Logits are determined up to a constant: the bias is free.
    expected = centred(minimiser(features, labels, decay), occurs)
    logits = student_of(features, labels, weight_decay=decay)
    np.testing.assert_allclose(centred(logits, occurs), expected, atol=5e-3)
    if shape == "n > d":
        with jax.enable_x64(True):
            wide = student_of(features.astype(np.float64), labels, weight_decay=decay)
        np.testing.assert_allclose(centred(wide, occurs), expected, atol=1e-4)


def centred(logits, occurs):
    logits = np.asarray(logits, np.float64)[:, occurs]
    return logits - logits.mean(axis=1, keepdims=True)


def test_fictitious_student_leaves_out_what_does_not_count():
    features, labels = task(3)
    labels[labels == 2] = 0
    logits = np.asarray(student_of(features, labels, weight_decay=1e-2))
    present = np.delete(logits, 2, axis=1)
    np.testing.assert_allclose(logits[:, 2], present.min(axis=1) - 30, rtol=1e-5)
    outside = labels.copy()
    outside[50:] = [-1, 5, 99, -7, 5, 5, 5, 5, 5, 5]
    fitted = student_of(features, outside, weight_decay=1e-2)
    alone = minimiser(features[:50], labels[:50], 1e-2)
    occurs = np.arange(NUM_CLASSES) != 2
    np.testing.assert_allclose(
        centred(fitted[:50], occurs), centred(alone, occurs), atol=2e-3
    )
    assert np.isfinite(fitted).all()
    nothing = student_of(features, np.full(60, -1, np.int32), weight_decay=1e-2)
    probs = jax.nn.softmax(nothing)
    np.testing.assert_allclose(probs, np.full((60, NUM_CLASSES), 0.2), rtol=1e-6)


@settings(max_examples=5)
@given(seeds)
def test_fictitious_student_depends_on_units_by_the_penalty_only(seed):
    features, labels = task(seed)
    plain = student_of(features, labels, weight_decay=1e-2)
    moved = student_of(100 * features + 500, labels, weight_decay=1e-2 * 100**2)
    np.testing.assert_allclose(moved, plain, atol=2e-2)


def test_fictitious_student_keeps_the_dtype_and_does_not_compile_again():
    features, labels = task(0)
    plain = student_of(features, labels, weight_decay=1e-2)
    with jax.enable_x64(True):
        wide = student_of(features.astype(np.float64), labels, weight_decay=1e-2)
    assert (plain.dtype, wide.dtype) == (jnp.float32, jnp.float64)
    size = fictitious_student._cache_size()
    student_of(features + 1, labels, weight_decay=1e-3)
    assert fictitious_student._cache_size() == size


PROBS, COST = np.full((3, 4), 0.25, np.float32), np.ones((4, 4), np.float32)
LABELS = np.zeros(3, np.int32)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: sinkhorn_score(PROBS[0], PROBS, COST), ValueError, "teacher_probs"),
        (lambda: sinkhorn_score(PROBS, PROBS[1:], COST), ValueError, "length"),
        (lambda: sinkhorn_score(PROBS, PROBS, COST[1:]), ValueError, "cost"),
        (lambda: sinkhorn_score(PROBS > 0, PROBS, COST), TypeError, "teacher_probs"),
        (
            lambda: student_of(PROBS[0], LABELS, weight_decay=1e-2),
            ValueError,
            "features",
        ),
        (
            lambda: student_of(PROBS, LABELS[1:], weight_decay=1e-2),
            ValueError,
            "length",
        ),
        (
            lambda: student_of(PROBS, PROBS[:, 0], weight_decay=1e-2),
            TypeError,
            "labels",
        ),
        (
            lambda: fictitious_student(PROBS, LABELS, num_classes=0, weight_decay=1.0),
            ValueError,
            "num_classes",
        ),
    ],
)
def test_rejects(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_fictitious_assessment_is_the_score_of_the_fictitious_student():
    """From its parts, and what is left out counts neither there nor here."""
    features, labels = task(4)
    rng = np.random.default_rng(4)
    head = rng.normal(size=(3, features.shape[1])).astype(np.float32)
    logits, kept = features @ head.T, np.arange(50)
    shown = labels.copy()
    shown[50:] = [-1, 5, 99, -7, 5, 5, 5, 5, 5, 5]
    chosen = assessment.AssessmentSettings(temperature=2.0, epsilon=0.2)
    # By default the penalty is the mean variance of a feature over the examples.
    penalty = float(np.var(features, axis=0).mean() / len(features))
    result = assessment.fictitious_assessment(
        features, logits, head, shown, num_classes=NUM_CLASSES, settings=chosen
    )
    student = student_of(features[kept], labels[kept], weight_decay=penalty)
    means = sinkhorn.class_centers(
        features[kept], labels[kept], num_classes=NUM_CLASSES
    )
    expected = assessment.sinkhorn_assessment(
        *(jax.nn.softmax(jnp.asarray(x) / 2) for x in (logits[kept], student)),
        sinkhorn.cost_matrix(
            *(
                sinkhorn.normalized_centers(x - x.mean(axis=0))
                for x in map(np.asarray, (head, means))
            )
        ),
        epsilon=0.2,
    )
    np.testing.assert_allclose(result.score, expected.score, atol=1e-4)
    np.testing.assert_allclose(result.transport, expected.transport, atol=1e-4)
    np.testing.assert_allclose(result.plan, expected.plan, atol=1e-3)
    assert result.converged == 1
    explicit = assessment.fictitious_assessment(
        features,
        logits,
        head,
        shown,
        num_classes=NUM_CLASSES,
        settings=assessment.AssessmentSettings(
            temperature=2.0, epsilon=0.2, weight_decay=penalty
        ),
    )
    np.testing.assert_allclose(explicit.score, result.score, atol=1e-5)
    nothing = assessment.fictitious_assessment(
        features,
        logits,
        head,
        np.full(60, -1),
        num_classes=NUM_CLASSES,
        settings=chosen,
    )
    assert nothing.score == 0
    assert nothing.converged == 0
    padded = assessment.fictitious_assessment(
        features,
        np.pad(logits, ((0, 0), (0, 2)), constant_values=-np.inf),
        np.pad(head, ((0, 2), (0, 0))),
        shown,
        num_classes=NUM_CLASSES,
        teacher_counts=np.array([1, 1, 1, 0, 0]),
        settings=chosen,
    )
    np.testing.assert_allclose(padded.score, result.score, atol=1e-5)
    np.testing.assert_allclose(padded.plan[:3], result.plan, atol=1e-5)


def test_an_assessment_does_not_see_what_a_network_would_not():
    """Features that are moved or turned, and a vector in all columns of the head."""
    features, labels = task(4)
    rng = np.random.default_rng(1)
    head = rng.normal(size=(3, features.shape[1])).astype(np.float32)
    logits = features @ head.T
    turn, _ = np.linalg.qr(rng.normal(size=(features.shape[1],) * 2))
    moved = (features @ turn + 7).astype(np.float32)
    also = ((head + rng.normal(size=(1, head.shape[1]))) @ turn).astype(np.float32)
    same = [
        assessment.fictitious_assessment(x, logits, h, labels, num_classes=NUM_CLASSES)
        for x, h in ((features, head), (moved, also))
    ]
    np.testing.assert_allclose(same[0].score, same[1].score, atol=2e-4)
    np.testing.assert_allclose(same[0].plan, same[1].plan, atol=2e-3)
