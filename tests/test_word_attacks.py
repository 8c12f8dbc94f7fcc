"""Tests of the word-level attack against the algorithm written out as a loop."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from jtransfer import models
from jtransfer.attacks import word_attack, words

seeds = st.integers(0, 2**16)
N, L, D, V, C = 4, 6, 3, 40, 3
CLS, SEP, PAD = 0, 1, 2
SETTINGS = {
    "num_steps": 25,
    "learning_rate": 0.2,
    "margin_weight": 3.0,
    "confidence": 1.0,
}


class Task(NamedTuple):
    """Texts, a linear classifier of mean word vectors, and a vocabulary; float64."""

    weights: np.ndarray  # [D, C]
    vocabulary: np.ndarray  # [V, D]
    ids: np.ndarray  # [N, L]
    words: np.ndarray  # [N, L]
    labels: np.ndarray  # [N]
    allowed: np.ndarray  # [V]


def task(seed):
    """The third text is one word, the fourth has none; some tokens are not allowed."""
    rng = np.random.default_rng(seed)
    weights, vocabulary = rng.normal(size=(D, C)), rng.normal(size=(V, D))
    lengths = np.array([[4], [3], [1], [0]])
    places = np.arange(L)[None]
    is_word = (places >= 1) & (places <= lengths)
    ids = np.where(is_word, rng.integers(3, V, (N, L)), PAD)
    ids[:, 0] = CLS
    ids[places == lengths + 1] = SEP
    allowed = rng.uniform(size=V) < 0.7
    allowed[:3] = False
    labels = (vocabulary[ids].mean(axis=1) @ weights).argmax(axis=1)
    return Task(weights, vocabulary, ids.astype(np.int32), is_word, labels, allowed)


def logits_of(weights):
    return lambda vectors: (
        jnp.mean(vectors, axis=1) @ jnp.asarray(weights, vectors.dtype)
    )


@functools.partial(jax.jit, static_argnames="num_steps")
def linear_attack(t, targets=None, **settings):
    """The attack in the precision of the vocabulary."""
    return word_attack(
        logits_of(t.weights),
        t.vocabulary[t.ids],
        t.ids,
        t.words,
        t.labels,
        vocabulary=t.vocabulary,
        allowed=t.allowed,
        targets=targets,
        **settings,
    )


def margin_of(logits, label, target):
    """Negative of a success."""
    if target is None:
        return logits[label] - np.delete(logits, label).max()
    return np.delete(logits, target).max() - logits[target]


def loop(t, i, target, *, num_steps, learning_rate, margin_weight, confidence):
    """The attack on one text, one sentence of the algorithm a line."""
    text, label = t.vocabulary[t.ids[i]], t.labels[i]
    base, base_ids = text.copy(), t.ids[i].copy()
    delta, first, second = np.zeros((3, L, D))
    steps = []
    for number in range(1, num_steps + 1):
        for j in np.flatnonzero(t.words[i]):
            candidates = {*np.flatnonzero(t.allowed), t.ids[i, j]}
            distances = {
                k: np.linalg.norm(base[j] + delta[j] - t.vocabulary[k])
                for k in candidates
            }
            base_ids[j] = min(distances, key=distances.get)
        base = t.vocabulary[base_ids].copy()
        logits = base.mean(axis=0) @ t.weights
        margin = margin_of(logits, label, target)
        changed = (base_ids != t.ids[i]).sum()
        distance = np.linalg.norm(base - text)
        steps.append((margin >= 0, changed, distance, margin, base_ids.copy()))
        # Of the margin: the slopes of the two logits that it is made of.
        own = label if target is None else target
        other = np.where(np.arange(C) == own, -np.inf, logits).argmax()
        direction = (t.weights[:, own] - t.weights[:, other]) / L
        direction = direction if target is None else -direction
        gradient = 2 * (base - text)
        if margin + confidence > 0:
            gradient = gradient + margin_weight * direction
        gradient[~t.words[i]] = 0
        gradient *= min(1, 0.5 / max(np.linalg.norm(gradient), 1e-300))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        mean = first / (1 - 0.9**number)
        square = second / (1 - 0.999**number)
        delta = delta - learning_rate * mean / (np.sqrt(square) + 1e-8)
    won = [step for step in steps if not step[0]]
    # Python's min takes the first of equals.
    if won:
        return min(won, key=lambda step: step[1:3])
    return min(steps, key=lambda step: step[3])


@given(seeds, st.booleans(), st.sampled_from([0.1, 3.0, 100.0]))
def test_the_attack_is_the_loop(seed, targeted, margin_weight):
    t = task(seed)
    targets = (t.labels + 1) % C if targeted else None
    settings = SETTINGS | {"margin_weight": margin_weight}
    with jax.enable_x64(True):
        result = linear_attack(t, targets, **settings)
    assert result.margin.dtype == np.float64
    for i in range(N):
        target = targets[i] if targeted else None
        failed, changed, distance, margin, ids = loop(t, i, target, **settings)
        np.testing.assert_array_equal(result.ids[i], ids)
        assert result.success[i] == (not failed)
        assert result.num_changed[i] == changed
        np.testing.assert_allclose(result.distance[i], distance, atol=1e-12)
        np.testing.assert_allclose(result.margin[i], margin, atol=1e-12)


def test_the_loop_meets_successes_failures_and_all_numbers_of_changes():
    with jax.enable_x64(True):
        results = [linear_attack(task(seed), **SETTINGS) for seed in range(20)]
    success = np.array([r.success for r in results])
    changed = np.array([r.num_changed for r in results])
    assert 0.3 < success[:, :2].mean() < 1
    assert set(changed[success]) >= {1, 2}
    assert not success[:, 3].any()
    assert not changed[:, 3].any()


@given(seeds)
def test_only_words_move_and_to_allowed_tokens_only(seed):
    t = task(seed)
    narrow = t._replace(
        weights=t.weights.astype(np.float32),
        vocabulary=t.vocabulary.astype(np.float32),
    )
    result = jax.tree.map(np.asarray, linear_attack(narrow, **SETTINGS))
    assert result.margin.dtype == result.distance.dtype == np.float32
    moved = result.ids != t.ids
    assert not moved[~t.words].any()
    assert t.allowed[result.ids[moved]].all()
    np.testing.assert_array_equal(result.num_changed, moved.sum(axis=1))
    # A success is one of the tokens, judged from outside.
    logits = t.vocabulary[result.ids].mean(axis=1) @ t.weights
    np.testing.assert_array_equal(result.success, logits.argmax(axis=1) != t.labels)
    margins = [
        margin_of(row, label, None) for row, label in zip(logits, t.labels, strict=True)
    ]
    np.testing.assert_allclose(result.margin, margins, atol=1e-5)
    lengths = np.linalg.norm(
        (t.vocabulary[result.ids] - t.vocabulary[t.ids]).reshape(N, -1), axis=1
    )
    np.testing.assert_allclose(result.distance, lengths, rtol=1e-5, atol=1e-6)


@given(seeds)
def test_texts_do_not_influence_one_another(seed):
    t = task(seed)
    with jax.enable_x64(True):
        result = linear_attack(t, **SETTINGS)
        # The last text stands in the place of all the others but one.
        for i in (0, 2):
            alone = [3] * N
            alone[i] = i
            part = t._replace(
                ids=t.ids[alone], words=t.words[alone], labels=t.labels[alone]
            )
            other = linear_attack(part, **SETTINGS)
            for a, b in zip(result, other, strict=True):
                np.testing.assert_allclose(a[i], b[i], rtol=1e-12)


def test_nothing_moves_where_nothing_is_allowed():
    t = task(0)._replace(allowed=np.zeros(V, bool))
    result = linear_attack(t, **SETTINGS)
    np.testing.assert_array_equal(result.ids, t.ids)
    assert not result.success.any()
    assert not result.num_changed.any()
    assert not result.distance.any()
    assert (result.margin > 0).all()


def test_a_text_of_another_class_needs_no_change():
    t = task(0)
    result = linear_attack(t._replace(labels=(t.labels + 1) % C), **SETTINGS)
    np.testing.assert_array_equal(result.ids, t.ids)
    assert result.success.all()
    assert (result.margin < 0).all()


def test_a_text_of_one_token_takes_the_only_one_that_wins():
    vocabulary = np.array([[0.0], [-1.0], [-2.0], [5.0], [-3.0]], np.float32)
    allowed = np.array([False, True, True, True, False])
    result = word_attack(
        lambda vectors: jnp.concatenate([vectors[:, 0] + 1.5, -vectors[:, 0]], axis=1),
        vocabulary[[[0]]],
        np.array([[0]]),
        np.array([[True]]),
        np.array([0]),
        vocabulary=vocabulary,
        allowed=allowed,
        num_steps=60,
    )
    # Logits x + 1.5 and -x: the other class wins below -0.75, nearest at -1.
    assert result.ids.tolist() == [[1]]
    np.testing.assert_allclose([result.margin[0], result.distance[0]], [-0.5, 1.0])


def test_the_text_keeps_its_token_where_another_one_is_equal():
    vocabulary = np.array([[1.0, 0.0]] * 3 + [[-1.0, 0.0]], np.float32)
    ids = np.array([[2, 1]])
    result = word_attack(
        lambda vectors: vectors.sum(axis=1) * jnp.array([[1.0, -1.0]]),
        vocabulary[ids],
        ids,
        np.ones((1, 2), bool),
        np.array([0]),
        vocabulary=vocabulary,
        allowed=np.array([True, True, True, False]),
        num_steps=10,
    )
    # All allowed tokens have the vector of the text's own.
    np.testing.assert_array_equal(result.ids, ids)
    assert not result.success[0]


@pytest.mark.parametrize("scale", [1e-15, 1e4, 1e19])
def test_the_scale_of_the_vectors_does_not_matter_where_the_step_has_it(scale):
    t = task(3)
    small, other = (
        t._replace(
            weights=(t.weights / s).astype(np.float32),
            vocabulary=(t.vocabulary * s).astype(np.float32),
        )
        for s in (1, scale)
    )
    # Without the distance, whose scale is another one.
    settings = SETTINGS | {"margin_weight": 1e6}
    expected = linear_attack(small, **settings)
    result = linear_attack(
        other,
        **settings | {"learning_rate": 0.2 * scale, "margin_weight": 1e6 * scale},
    )
    assert expected.success[:2].any()
    assert np.isfinite(result.distance).all()
    np.testing.assert_array_equal(result.success, expected.success)
    np.testing.assert_array_equal(result.ids, expected.ids)
    np.testing.assert_allclose(
        result.distance / scale, expected.distance, rtol=1e-4, atol=1e-6
    )


def test_logits_that_are_no_numbers_are_no_success():
    t = task(0)
    result = word_attack(
        lambda vectors: jnp.full((N, C), jnp.nan),
        jnp.asarray(t.vocabulary[t.ids]),
        t.ids,
        t.words,
        t.labels,
        vocabulary=t.vocabulary,
        allowed=t.allowed,
        num_steps=3,
    )
    assert not result.success.any()
    np.testing.assert_array_equal(result.ids, t.ids)


def test_blocks_do_not_change_what_is_nearest(monkeypatch):
    t = task(5)
    rng = np.random.default_rng(0)
    points = rng.normal(size=(N, L, D))
    with jax.enable_x64(True):
        for size in (words._BLOCK_SIZE, 7 * V, 1):
            monkeypatch.setattr(words, "_BLOCK_SIZE", size)
            nearest = words._nearest(jnp.asarray(t.vocabulary), jnp.asarray(t.allowed))
            ids = nearest(jnp.asarray(points), t.vocabulary[t.ids], jnp.asarray(t.ids))
            for i, j in np.ndindex(N, L):
                distances = np.linalg.norm(points[i, j] - t.vocabulary, axis=1)
                candidates = t.allowed | (np.arange(V) == t.ids[i, j])
                best = np.where(candidates, distances, np.inf).argmin()
                assert ids[i, j] == best


def test_distances_to_the_vocabulary_are_never_all_in_memory():
    shapes = {
        "vectors": jax.ShapeDtypeStruct((4, 128, 64), jnp.float32),
        "ids": jax.ShapeDtypeStruct((4, 128), jnp.int32),
        "words": jax.ShapeDtypeStruct((4, 128), bool),
        "labels": jax.ShapeDtypeStruct((4,), jnp.int32),
        "vocabulary": jax.ShapeDtypeStruct((60_000, 64), jnp.float32),
        "allowed": jax.ShapeDtypeStruct((60_000,), bool),
    }
    lowered = jax.jit(
        lambda vectors, ids, words, labels, vocabulary, allowed: word_attack(
            lambda v: v.mean(axis=1)[:, :3],
            vectors,
            ids,
            words,
            labels,
            vocabulary=vocabulary,
            allowed=allowed,
            num_steps=2,
        )
    ).lower(*shapes.values())
    used = lowered.compile().memory_analysis().temp_size_in_bytes
    # All distances are 123 MB, all differences 7.9 GB.
    assert used < 110e6


def test_a_bert_is_attacked_through_its_word_vectors():
    shapes = nnx.eval_shape(
        lambda: models.Bert(
            num_classes=2,
            vocab_size=V,
            num_layers=2,
            num_heads=2,
            width=8,
            hidden_width=16,
            max_length=L,
            pad_id=PAD,
            separator_id=SEP,
            rngs=nnx.Rngs(0),
        )
    )
    apply_fn, specs = models.functional(shapes)
    rng = np.random.default_rng(0)

    def weights(path, leaf):
        values = rng.normal(size=leaf.shape).astype(np.float32)
        if path[-1].key in ("scale", "bias"):
            return (path[-1].key == "scale") + np.float32(0.3) * values
        return values / 8**0.5 if path[-1].key == "kernel" else values

    params = jax.tree.map_with_path(weights, specs)
    t = task(1)
    rows = params.params["words"]

    @jax.jit
    def attack(params, ids, labels):
        types = np.zeros((N, L), np.int32)
        return word_attack(
            lambda v: apply_fn(params, models.TokenVectors(v, ids != PAD, types))[0],
            params.params["words"][ids],
            ids,
            t.words,
            labels,
            vocabulary=params.params["words"],
            allowed=t.allowed,
            num_steps=20,
        )

    labels = jnp.argmax(apply_fn(params, t.ids)[0], axis=1)
    result = attack(params, t.ids, labels)
    again = jnp.argmax(apply_fn(params, np.asarray(result.ids))[0], axis=1)
    np.testing.assert_array_equal(result.success, again != labels)
    assert result.success[:3].any()
    np.testing.assert_array_equal(result.ids[3], t.ids[3])
    np.testing.assert_allclose(
        result.distance,
        np.linalg.norm((rows[result.ids] - rows[t.ids]).reshape(N, -1), axis=1),
        rtol=1e-4,
    )


def test_what_does_not_fit_is_refused():
    t = task(0)
    vectors = t.vocabulary[t.ids].astype(np.float32)

    def call(function=None, **changes):
        arguments = {
            "vectors": vectors,
            "ids": t.ids,
            "words": t.words,
            "labels": t.labels,
            "vocabulary": t.vocabulary,
            "allowed": t.allowed,
        }
        word_attack(function or logits_of(t.weights), **arguments | changes)

    for changes, message in [
        ({"ids": t.ids[:, :5]}, "ids must have shape"),
        ({"words": t.words[:2]}, "words must have shape"),
        ({"labels": t.labels[:2]}, "labels must have shape"),
        ({"targets": t.labels[:2]}, "targets must have shape"),
        ({"vocabulary": t.vocabulary[:, :2]}, "vocabulary must have shape"),
        ({"allowed": t.allowed[:3]}, "allowed must have shape"),
        ({"vectors": vectors[0]}, "vectors must have 3 axes"),
        ({"num_steps": 0}, "num_steps must be at least 1"),
        (
            {"vocabulary": t.vocabulary[:0], "allowed": t.allowed[:0]},
            "there is no token to put in",
        ),
        ({"function": lambda v: v.sum(axis=(1, 2))}, "logits_of must return"),
        ({"function": lambda v: v[:, 0, :1]}, "two classes or more"),
    ]:
        with pytest.raises(ValueError, match=message):
            call(**changes)
    for changes, message in [
        ({"vectors": t.ids[:, :, None]}, "vectors must hold float"),
        ({"ids": t.words}, "ids must hold integers"),
        ({"labels": np.ones(N)}, "labels must hold integers"),
    ]:
        with pytest.raises(TypeError, match=message):
            call(**changes)
