"""Tests of jtransfer.higher_order against H-scores of concatenated features."""

import functools
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import references
from hypothesis import given
from hypothesis import strategies as st
from tasks import NUM_CLASSES

from jtransfer.moments import class_moments, empty_moments
from jtransfer.scores import _factors, h_score, higher_order

SIZES = (3, 5, 2, 5)
seeds = st.integers(0, 2**16)
moments_of = jax.jit(functools.partial(class_moments, num_classes=NUM_CLASSES))
SUBSETS = {k: higher_order.source_subsets(4, order=k) for k in (1, 2, 3)}


def sources_and_labels(seed, n=80):
    """Sources of different sizes that share factors; float32 features and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(NUM_CLASSES, size=n).astype(np.int32)
    factors = rng.normal(size=(NUM_CLASSES, 6))[labels] + rng.normal(size=(n, 6))
    sources = [
        factors @ rng.normal(size=(6, size)) + rng.normal(size=(n, size))
        for size in SIZES
    ]
    return [source.astype(np.float32) for source in sources], labels


def concatenated(sources, subset):
    return np.concatenate([sources[s] for s in subset], axis=1)


def truncated(labels, n):
    """The labels of the first n examples, the others left out."""
    return np.where(np.arange(len(labels)) < n, labels, -1).astype(np.int32)


def expected_scores(sources, labels, subsets):
    return [references.h_score(concatenated(sources, s), labels) for s in subsets]


def scores_of_sets(sources, labels, subsets, dtype=np.float32):
    with jax.enable_x64(dtype == np.float64):
        moments = moments_of(np.concatenate(sources, axis=1).astype(dtype), labels)
        scores = higher_order.subset_h_scores(moments, subsets, sizes=SIZES)
        assert scores.dtype == dtype
        return np.asarray(scores)


def _shared(sources):
    sources[1][:, 1:4] = sources[0]


def _shared_after_a_map(sources):
    mixing = np.random.default_rng(0).normal(size=(5, 5))
    sources[3] = (7 - 3 * sources[1] @ mixing).astype(np.float32)


def _duplicated_within(sources):
    sources[1][:, 3:] = sources[1][:, :2]


def _low_rank_within(sources):
    mixing = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    sources[3] = sources[3][:, :2] @ mixing


def _constant(sources):
    sources[0][:, 1], sources[1][:, 0], sources[1][:, 4] = 0.1, 0.0, -3.3


def _nothing_but_constants(sources):
    sources[0][:], sources[2][:] = 0.3, 5.0


def _scales(sources):
    for source, scale in zip(sources, (1e4, 1e-9, 1, 1e6), strict=True):
        source *= np.float32(scale)


def _offset(sources):
    for source in sources:
        source += np.float32(1000)


EDGES = {
    "plain": lambda sources: None,
    "features shared between sources": _shared,
    "one source is a map of another": _shared_after_a_map,
    "duplicated features in a source": _duplicated_within,
    "a source of low rank": _low_rank_within,
    "constant features": _constant,
    "sources of constants": _nothing_but_constants,
    "scales": _scales,
    "offset by 1000 deviations": _offset,
}


@pytest.mark.parametrize("order", SUBSETS)
@pytest.mark.parametrize("edge", EDGES)
def test_scores_are_those_of_the_concatenated_features(edge, order):
    sources, labels = sources_and_labels(3)
    EDGES[edge](sources)
    subsets = SUBSETS[order]
    expected = expected_scores(sources, labels, subsets)
    value = scores_of_sets(sources, labels, subsets)
    np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-3)
    if order == 2:
        exact = scores_of_sets(sources, labels, subsets, np.float64)
        np.testing.assert_allclose(exact, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("n", [2, 3, 7, 9, 12])
def test_scores_with_few_examples(n):
    """Some sets have more features than there are examples, others have fewer."""
    sources, labels = sources_and_labels(0)
    few = [source[:n] for source in sources]
    for subsets in SUBSETS.values():
        value = scores_of_sets(sources, truncated(labels, n), subsets)
        expected = expected_scores(few, labels[:n], subsets)
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-3)


@given(seeds)
def test_what_rounding_leaves_of_a_shared_source_does_not_count(seed):
    sources, labels = sources_and_labels(seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))[0]
    sources[3] = (7 - 3 * sources[1] @ turn).astype(np.float32)
    value = scores_of_sets(sources, labels, SUBSETS[2])
    expected = expected_scores(sources, labels, SUBSETS[2])
    np.testing.assert_allclose(value, expected, 2e-3)


def test_classes_without_examples_and_labels_out_of_range():
    sources, labels = sources_and_labels(1)
    labels = np.where(labels == 2, 0, labels).astype(np.int32)
    kept = [source[:70] for source in sources]
    expected = expected_scores(kept, labels[:70], SUBSETS[2])
    value = scores_of_sets(sources, truncated(labels, 70), SUBSETS[2])
    np.testing.assert_allclose(value, expected, 1e-3)


@given(seeds)
def test_the_order_within_a_set_does_not_matter(seed):
    sources, labels = sources_and_labels(seed)
    value = scores_of_sets(sources, labels, SUBSETS[2])
    turned = scores_of_sets(sources, labels, SUBSETS[2][:, ::-1])
    np.testing.assert_allclose(turned, value, 1e-4)


@given(seeds)
def test_more_sources_never_score_less(seed):
    sources, labels = sources_and_labels(seed)
    by_set = {
        tuple(subset): score
        for subsets in SUBSETS.values()
        for subset, score in zip(
            subsets.tolist(), scores_of_sets(sources, labels, subsets), strict=True
        )
    }
    for subset, score in by_set.items():
        assert score <= NUM_CLASSES - 1 + 1e-4
        for fewer in combinations(subset, len(subset) - 1):
            assert not fewer or by_set[fewer] <= score + 1e-4


def test_a_source_beside_itself_says_no_more():
    sources, labels = sources_and_labels(0)
    pairs = np.array([[0, 0], [1, 1], [2, 2], [3, 3], [0, 0], [0, 0]], np.int32)
    value = scores_of_sets(sources, labels, pairs)
    single = scores_of_sets(sources, labels, SUBSETS[1])
    np.testing.assert_allclose(value[:4], single, 1e-3)


def test_ordinary_sets_need_no_eigendecomposition():
    """It is for what comes close to the cut of the rank: a feature that two share."""
    sources, labels = sources_and_labels(0)
    subsets = jnp.asarray(SUBSETS[2])

    @jax.jit
    def certain(features):
        whitened = _factors.factorised(moments_of(features, labels), SIZES)
        return jax.lax.map(
            lambda subset: _factors._triangular_score(whitened, subset)[1], subsets
        )

    assert certain(np.concatenate(sources, axis=1)).all()
    _shared(sources)
    shares = np.array([{0, 1} <= set(subset.tolist()) for subset in subsets])
    np.testing.assert_array_equal(certain(np.concatenate(sources, axis=1)), ~shares)


@pytest.mark.parametrize("gap", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_nearly_shared_features_follow_the_rule_of_the_h_score(gap):
    """On either side of its cut, and close to it."""
    sources, labels = sources_and_labels(0)
    noise = np.random.default_rng(0).normal(size=sources[0].shape)
    sources[1][:, 1:4] = sources[0] + gap * noise
    features = np.concatenate(sources, axis=1)
    value = scores_of_sets(sources, labels, SUBSETS[2])
    direct = h_score(moments_of(features[:, :8], labels)._replace(within=None))
    # Rounding by eps gives an eigenvalue of gap^2 a relative error of eps / gap^2.
    tolerance = 1e-4 + min(1, 1e-6 / gap**2)
    np.testing.assert_allclose(value[0], direct, rtol=tolerance)
    exact = scores_of_sets(sources, labels, SUBSETS[2], np.float64)
    expected = references.h_score(features[:, :8], labels)
    np.testing.assert_allclose(exact[0], expected, rtol=1e-6 + 1e-14 / gap**2)


@given(seeds)
def test_best_sources_are_those_of_the_highest_score(seed):
    sources, labels = sources_and_labels(seed)
    moments = moments_of(np.concatenate(sources, axis=1), labels)
    best = higher_order.best_sources(moments, sizes=SIZES)
    greedy = higher_order.greedy_sources(moments, sizes=SIZES)
    scores = expected_scores(sources, labels, SUBSETS[2])
    np.testing.assert_allclose(best.score, max(scores), 1e-3)
    for selection in (best, greedy):
        assert len(set(selection.sources.tolist())) == 2
        (expected,) = expected_scores(sources, labels, [selection.sources.tolist()])
        np.testing.assert_allclose(selection.score, expected, 1e-3)
    assert greedy.score <= best.score + 1e-4
    single = expected_scores(sources, labels, SUBSETS[1])
    assert int(greedy.sources[0]) == int(np.argmax(single))


def test_greedy_choice_can_miss_the_best_pair():
    """Two sources that each say nothing may determine the label together."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400).astype(np.int32)
    hidden = rng.normal(size=400)
    sources = [np.zeros((400, size), np.float32) for size in SIZES]
    sources[0][:, 0] = hidden
    sources[1][:, 0] = labels + 0.5 * rng.normal(size=400)
    sources[2][:, 0] = hidden + labels
    moments = moments_of(np.concatenate(sources, axis=1), labels)
    best = higher_order.best_sources(moments, sizes=SIZES)
    assert best.sources.tolist() == [0, 2]
    np.testing.assert_allclose(best.score, 1, 1e-4)
    greedy = higher_order.greedy_sources(moments, sizes=SIZES)
    assert greedy.sources[0] == 1
    assert greedy.score < 0.9


def test_no_examples_score_nothing():
    moments = empty_moments(15, num_classes=NUM_CLASSES, dtype=np.float32)
    for subsets in SUBSETS.values():
        value = higher_order.subset_h_scores(moments, subsets, sizes=SIZES)
        np.testing.assert_array_equal(value, 0)


def test_vmap_is_possible_and_derivatives_are_zero():
    sources, labels = sources_and_labels(0)
    features = np.concatenate(sources, axis=1)

    def scores(features):
        moments = moments_of(features, labels)
        return higher_order.subset_h_scores(moments, SUBSETS[1], sizes=SIZES)

    assert jax.eval_shape(jax.vmap(scores), np.stack([features] * 3)).shape == (3, 4)
    slope = jax.grad(lambda x: scores(x).sum())(features)
    np.testing.assert_array_equal(slope, 0)


MOMENTS = empty_moments(15, num_classes=2, dtype=np.float32)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: higher_order.subset_h_scores(MOMENTS, SUBSETS[2], sizes=(3, 5)),
            ValueError,
            "sum to the 15 features",
        ),
        (
            lambda: higher_order.subset_h_scores(MOMENTS, SUBSETS[2], sizes=(15, 0)),
            ValueError,
            "sizes",
        ),
        (
            lambda: higher_order.subset_h_scores(MOMENTS, [0, 1], sizes=SIZES),
            ValueError,
            "subsets must have 2 axes",
        ),
        (
            lambda: higher_order.subset_h_scores(MOMENTS, [[0.0]], sizes=SIZES),
            TypeError,
            "subsets must hold integers",
        ),
        (
            lambda: higher_order.best_sources(MOMENTS, sizes=SIZES, order=5),
            ValueError,
            "order must be at most 4",
        ),
        (
            lambda: higher_order.greedy_sources(MOMENTS, sizes=SIZES, order=0),
            ValueError,
            "order",
        ),
        (lambda: higher_order.source_subsets(3, order=4), ValueError, "at most 3"),
    ],
)
def test_rejects(call, error, words):
    with pytest.raises(error, match=words):
        call()
