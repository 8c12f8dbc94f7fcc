"""Tests of jtransfer.moments."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tasks import EDGES, NUM_CLASSES, SHAPES, edge_task, gaussian_task

from jtransfer import class_moments, empty_moments, merge

seeds = st.integers(0, 2**16)
moments_of = functools.partial(class_moments, num_classes=NUM_CLASSES)


def reference(features, labels):
    """Every sum as its docstring says, in float64, one example at a time."""
    x = np.asarray(features, np.float64)
    n, d = x.shape
    mean = x.mean(axis=0)
    counts = np.zeros(NUM_CLASSES, int)
    sums, squares = np.zeros((2, NUM_CLASSES, d))
    for c in range(NUM_CLASSES):
        rows = x[labels == c]
        counts[c] = len(rows)
        if len(rows):
            sums[c] = (rows - mean).sum(axis=0)
            squares[c] = ((rows - rows.mean(axis=0)) ** 2).sum(axis=0)
    scatter = sum(np.outer(row - mean, row - mean) for row in x)
    own = np.array([x[labels == c].mean(axis=0) for c in labels])
    within = (x - own).T @ (x - own)
    s = np.sqrt(np.trace(scatter) / n)
    z = (x - mean) / (s if s > 0 else 1)
    cubic = sum(np.dot(row, row) * row for row in z)
    quartic = sum(np.dot(row, row) ** 2 for row in z)
    return counts, mean, scatter, sums, squares, cubic, quartic, within


def assert_close(moments, expected, rtol):
    """Compares each statistic relative to its own size, odd moments to their terms."""
    for name, a, b in zip(moments._fields, moments, expected, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        scale = np.abs(expected[-2] if name == "cubic" else b).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale, err_msg=name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("edge", sorted(set(EDGES) - {"all columns constant"}))
def test_agrees_with_reference(edge, shape):
    features, labels = edge_task(edge, shape)
    expected = reference(features, labels)
    # The features' own rounding is part of an offset task; the statistics add little.
    tolerance = 2e-3 if edge.startswith("offset") else 1e-5
    assert_close(moments_of(features, labels), expected, tolerance)
    with jax.enable_x64(True):
        exact = moments_of(features.astype(np.float64), labels)
    assert_close(exact, expected, 1e-9)


def test_scatter_in_blocks_is_that_of_all_features():
    # Three blocks, the last of them not full.
    features = np.random.default_rng(0).normal(size=(9, 1100)).astype(np.float32)
    scatter = np.asarray(moments_of(features, np.arange(9) % NUM_CLASSES).scatter)
    exact = features - features.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(scatter, exact.T @ exact, atol=2e-5)
    np.testing.assert_array_equal(scatter, scatter.T)


def test_constant_columns_have_no_scatter_at_all():
    features, labels = edge_task("all columns constant", "n > d")
    half = len(labels) // 2
    parts = [moments_of(features[i], labels[i]) for i in np.split(np.arange(60), 2)]
    assert half == 30
    for moments in (moments_of(features, labels), merge(*parts)):
        chex.assert_tree_all_finite(moments)
        assert not np.any(moments.scatter)
        assert not np.any(moments.class_sums)


@given(seeds, st.sampled_from([(10, 50), (30, 30), (59, 1)]))
def test_merge_is_the_whole_and_commutes(seed, sizes):
    features, labels = gaussian_task(seed, 60, 8)
    features += 100
    a, b = (
        moments_of(features[part], labels[part])
        for part in np.split(np.arange(60), [sizes[0]])
    )
    whole = reference(features, labels)
    assert_close(merge(a, b), whole, 1e-4)
    assert_close(merge(b, a), whole, 1e-4)


@given(seeds)
def test_merge_is_associative_and_empty_is_neutral(seed):
    features, labels = gaussian_task(seed, 60, 8)
    a, b, c = (
        moments_of(features[i : i + 20], labels[i : i + 20]) for i in (0, 20, 40)
    )
    assert_close(merge(merge(a, b), c), merge(a, merge(b, c)), 2e-5)
    empty = empty_moments(8, num_classes=NUM_CLASSES, dtype="float32")
    assert_close(merge(empty, a), a, 1e-6)
    assert_close(merge(a, empty), a, 1e-6)


def test_many_merges_keep_their_precision_at_a_large_offset():
    features, labels = edge_task("offset by 1000 deviations", "n > d")
    features, labels = np.tile(features, (20, 1)), np.tile(labels, 20)
    parts = jax.vmap(moments_of)(features.reshape(-1, 12, 8), labels.reshape(-1, 12))
    first, rest = (
        jax.tree.map(lambda x, i=i: x[i], parts) for i in (0, slice(1, None))
    )
    folded = jax.lax.scan(lambda m, part: (merge(m, part), None), first, rest)[0]
    assert_close(folded, reference(features, labels), 2e-3)


def test_labels_out_of_range_are_padding():
    features, labels = gaussian_task(0, 60, 8)
    padded = np.vstack([features, np.full((4, 8), np.nan, np.float32)])
    more = np.concatenate([labels, [-1, NUM_CLASSES, -7, 99]])
    chex.assert_trees_all_close(
        moments_of(padded, more), moments_of(features, labels), rtol=1e-5, atol=1e-4
    )
    nothing = moments_of(padded, np.full(64, -1))
    chex.assert_tree_all_finite(nothing)
    assert int(nothing.counts.sum()) == 0


def test_does_not_depend_on_sharding_or_devices():
    features, labels = gaussian_task(0, 64, 8)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("batch"))
    expected = moments_of(features, labels)
    sharded = moments_of(*jax.device_put((features, labels), sharding))
    assert_close(sharded, expected, 1e-5)

    @functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=PartitionSpec("batch"),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    def reduced(features, labels):
        parts = jax.lax.all_gather(moments_of(features, labels), "batch")
        first, rest = (
            jax.tree.map(lambda x, i=i: x[i], parts) for i in (0, slice(1, 9))
        )
        return jax.lax.scan(lambda m, part: (merge(m, part), None), first, rest)[0]

    assert_close(reduced(features, labels), expected, 1e-5)


@pytest.mark.parametrize("edge", ["plain", "all columns constant", "low rank"])
def test_gradients_are_finite(edge):
    features, labels = edge_task(edge, "n > d")

    def total(features):
        first, second = (
            moments_of(features[part], labels[part])
            for part in np.split(np.arange(len(labels)), 2)
        )
        merged = merge(first, second)
        return sum(jnp.sum(leaf) for leaf in merged if leaf.dtype == jnp.float32)

    chex.assert_tree_all_finite(jax.grad(total)(jnp.asarray(features)))


@pytest.mark.parametrize(
    ("features", "labels", "error", "name"),
    [
        (np.ones(4), np.zeros(4, int), ValueError, "features"),
        (np.ones((4, 2)), np.zeros((4, 1), int), ValueError, "labels"),
        (np.ones((4, 2)), np.zeros(3, int), ValueError, "length"),
        (np.ones((4, 2)), np.zeros(4), TypeError, "labels"),
        (np.ones((4, 2), int), np.zeros(4, int), TypeError, "features"),
        (np.ones((4, 2), np.float16), np.zeros(4, int), TypeError, "float32"),
        (np.ones((4, 0)), np.zeros(4, int), ValueError, "columns"),
    ],
    ids=["rank", "label rank", "length", "label dtype", "integers", "half", "empty"],
)
def test_rejects(features, labels, error, name):
    with pytest.raises(error, match=name):
        class_moments(features, labels, num_classes=2)


def test_rejects_merging_different_shapes():
    a, b = (empty_moments(d, num_classes=2, dtype="float32") for d in (2, 3))
    with pytest.raises(ValueError, match="shape"):
        merge(a, b)
