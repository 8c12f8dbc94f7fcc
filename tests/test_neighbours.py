"""Tests of the nearest-neighbour vote: the score, and its row in a ranking."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import references
from hypothesis import given
from hypothesis import strategies as st

from jtransfer import intervals, ranking, scores, zoo
from jtransfer.ranking.estimates import neighbours
from jtransfer.ranking.estimates.features import feature_statistics
from jtransfer.scores import _neighbours

seeds = st.integers(0, 2**16)
accuracy = functools.partial(scores.knn_probe_accuracy, num_classes=4)


def task(seed, n=40, d=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    features = rng.normal(size=(n, d)) + 1.5 * rng.normal(size=(3, d))[labels]
    return features.astype(np.float32), labels


@given(seeds, st.sampled_from([1, 2, 5]))
def test_the_vote_is_that_of_the_definition(seed, k):
    features, labels = task(seed)
    value = accuracy(features, labels, num_neighbors=k)
    expected = references.knn_probe_accuracy(features, labels, k)
    np.testing.assert_allclose(value, expected, 1e-6)
    wide = features.astype(np.float64)
    with jax.enable_x64(True):
        value = accuracy(wide, labels, num_neighbors=k)
    np.testing.assert_allclose(value, expected, 1e-12)


@given(seeds)
def test_ties_go_to_the_nearest_and_of_equals_to_the_first(seed):
    """Whole numbers: many equal distances, copies among them."""
    rng = np.random.default_rng(seed)
    features = rng.integers(3, size=(30, 2)).astype(np.float32)
    labels = rng.integers(3, size=30)
    for k in (1, 2, 4):
        value = accuracy(features, labels, num_neighbors=k)
        # Exact: the mean of whole numbers may round, so it is taken off by whole ones.
        expected = references.knn_probe_accuracy(features, labels, k)
        assert abs(float(value) - expected) <= 3 / 30 + 1e-6
    halves = np.repeat(features, 2, axis=0)
    assert accuracy(halves, np.repeat(labels, 2), num_neighbors=1) > 0.3


def test_offsets_and_scales_change_nothing():
    features, labels = task(1, n=60)
    value = float(accuracy(features, labels))
    assert 0.4 < value < 1
    assert float(accuracy(features + 300, labels)) == pytest.approx(value, abs=0.04)
    for scale in (1e-20, 1e18):
        scaled = features * np.float32(scale)
        assert float(accuracy(scaled, labels)) == pytest.approx(value, abs=0.02)


def test_edges():
    features, labels = task(2)
    # All others vote where there are no more than k of them.
    value = accuracy(features[:6], labels[:6], num_neighbors=50)
    expected = references.knn_probe_accuracy(features[:6], labels[:6], 50)
    np.testing.assert_allclose(value, expected, 1e-6)
    assert accuracy(features, np.full(40, 2)) == 0  # one class
    assert accuracy(features, np.full(40, 9)) == 0  # no example
    assert accuracy(features[:1], labels[:1]) == 0
    assert accuracy(np.zeros((40, 3), np.float32), labels) <= 1
    # Examples without a class take no part, whatever their features.
    spoilt, outside = features.copy(), labels.copy()
    spoilt[::4], outside[::4] = np.nan, -1
    kept = outside >= 0
    expected = references.knn_probe_accuracy(features[kept], labels[kept])
    np.testing.assert_allclose(accuracy(spoilt, outside), expected, 1e-6)
    gradient = jax.grad(lambda f: accuracy(f, labels))(jnp.asarray(features))
    assert (gradient == 0).all()
    before = features.copy()
    accuracy(features, labels)
    np.testing.assert_array_equal(features, before)
    for bad, error in [
        ((features, labels.astype(float)), TypeError),
        ((features[:5], labels), ValueError),
    ]:
        with pytest.raises(error):
            accuracy(*bad)
    with pytest.raises(ValueError, match="num_neighbors must be at least 1"):
        accuracy(features, labels, num_neighbors=0)


def test_blocks_of_rows_change_nothing(monkeypatch):
    features, labels = task(3, n=37)
    whole = float(accuracy(features, labels))
    monkeypatch.setattr(_neighbours, "_BLOCK_SIZE", 5 * 37)
    blocked = scores.knn_probe_accuracy.__wrapped__
    assert float(blocked(features, labels, num_classes=4)) == whole


def dealt(labels, groups=None):
    return intervals.dealt_labels(
        labels, num_classes=3, batch_rows=64, seed=0, groups=groups
    )


@pytest.mark.parametrize("grouped", [False, True])
def test_the_row_has_the_vote_its_jackknife_and_chance(grouped):
    features, labels = task(4, n=60)
    groups = np.arange(60) // 2 if grouped else None
    if grouped:  # Copies would vote for themselves.
        features[1::2], labels[1::2] = features[::2], labels[::2]
    target = dealt(labels, groups)
    statistics = feature_statistics(lambda: features, target)
    estimate = neighbours.neighbour_estimate(statistics, target)
    order = statistics.row_indices
    x, y = features[order], labels[order]
    of = np.arange(60)[order] if groups is None else groups[order]
    expected = references.knn_probe_accuracy(x, y, 5, of)
    assert estimate.value == pytest.approx(expected)
    for block in range(10):
        left = statistics.row_blocks != block
        expected = references.knn_probe_accuracy(x[left], y[left], 5, of[left])
        assert estimate.replicates[block] == pytest.approx(expected)
    for shuffle, value in zip(target.shuffled, estimate.shuffled, strict=True):
        expected = references.knn_probe_accuracy(x, shuffle[order], 5, of)
        assert value == pytest.approx(expected)


def test_neighbours_without_a_block_are_found_where_few_were_kept(monkeypatch):
    features, labels = task(5, n=60)
    target = dealt(labels)
    statistics = feature_statistics(lambda: features, target)
    whole = neighbours.neighbour_estimate(statistics, target)
    monkeypatch.setattr(neighbours, "_KEPT", neighbours.NUM_NEIGHBORS)
    monkeypatch.setattr(neighbours, "_BLOCK_SIZE", 7 * 60)
    few = neighbours.neighbour_estimate(statistics, target)
    np.testing.assert_array_equal(few.replicates, whole.replicates)
    np.testing.assert_array_equal(few.shuffled, whole.shuffled)


def test_it_is_computed_by_name_and_says_its_examples(monkeypatch):
    features, labels = task(6, n=80)
    target = zoo.labelled_target("t", labels, digest="")
    source = zoo.Source("s", {}, features=lambda: features)
    usual = ranking.rank([source], target)
    assert "knn_probe" not in {row["score"] for row in usual}
    (row,) = [
        row
        for row in ranking.rank([source], target, ["knn_probe"])
        if row["score"] == "knn_probe"
    ]
    assert row["value"] == pytest.approx(
        references.knn_probe_accuracy(features, labels), abs=0.03
    )
    assert row["n"] == 80
    assert abs(row["chance"] - 1 / 3) < 0.15
