"""Tests of jtransfer.ranking, its estimates and the verification of a ranking."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import references
from tasks import NUM_CLASSES, gaussian_task

from jtransfer import intervals, pairs, ranking, report, zoo
from jtransfer._internal import files
from jtransfer.commands import ls, rank
from jtransfer.moments import class_moments
from jtransfer.ranking import ordering, verification
from jtransfer.ranking.estimates import batches, functions
from jtransfer.ranking.source_rows import source_rows as typed_rows
from jtransfer.scores import probes

SHAPE = (60, 8)
HEAD = verification.head_accuracy
OF_FEATURES = {
    "h_score": references.h_score,
    "regularized_h_score": references.regularized_h_score,
    "logme": lambda x, y: references.logme(x, y, NUM_CLASSES),
    "bhattacharyya": references.bhattacharyya,
}


def source(name, seed=0, separation=1.0, **facts):
    features, _ = gaussian_task(seed, *SHAPE, separation=separation)
    return zoo.Source(
        name,
        facts,
        lambda: features,
        lambda: 2 * features,
        digest=lambda: f"{name}{seed}",
    )


def source_rows(source, target, *names):
    expected = {name: ranking.SCORES[name] for name in names}
    rows = typed_rows(source, target, expected, seed=0)
    return [ranking.to_json(row) for row in rows]


def typed(rows):
    return [ranking.from_json(row) for row in rows]


@pytest.fixture(scope="module")
def target():
    _, labels = gaussian_task(0, *SHAPE)
    return zoo.labelled_target("gaussians", labels, digest="gaussians")


@pytest.fixture(scope="module")
def dealt(target):
    return intervals.dealt_labels(
        target.labels,
        num_classes=target.num_classes,
        batch_rows=batches.BATCH_ROWS,
        seed=0,
    )


@pytest.fixture(scope="module")
def blocks(dealt):
    """The block of each example."""
    result = np.full(len(dealt.labels), -1)
    for block in range(intervals.NUM_BLOCKS):
        indices = dealt.order[:, block].ravel()
        result[indices[indices >= 0]] = block
    return result


@pytest.fixture(scope="module")
def rows(target):
    result = source_rows(source("s"), target, *ranking.SCORES)
    return {row["score"]: row for row in result}


def test_blocks_share_the_examples_and_the_classes(dealt, blocks):
    assert set(np.bincount(blocks)) == {len(blocks) // intervals.NUM_BLOCKS}
    for label in range(NUM_CLASSES):
        counts = np.bincount(blocks[dealt.labels == label], minlength=10)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("per_class", "within"), [(20, True), (3, False)])
def test_shuffles_permute_the_labels(per_class, within):
    """Within blocks where each has every class; else blocks would tell the classes."""
    labels = np.arange(5 * per_class) % 5
    labels[-1] = -1  # withheld
    dealt = intervals.dealt_labels(
        labels, num_classes=5, batch_rows=batches.BATCH_ROWS, seed=0
    )
    assert not np.array_equal(dealt.shuffled[0], dealt.shuffled[1])
    kept = 0
    for shuffle in dealt.shuffled:
        assert sorted(shuffle) == sorted(labels)
        assert shuffle[-1] == -1
        for block in range(intervals.NUM_BLOCKS):
            own = dealt.order[:, block].ravel()
            own = own[own >= 0]
            kept += sorted(shuffle[own]) == sorted(labels[own])
    assert (kept == 200) == within


def test_chance_of_few_shots_is_that_of_free_permutations():
    labels = np.arange(20, dtype=np.int32) % 10
    features = (
        np.random.default_rng(0).normal(size=(20, 20)) + 5 * np.eye(10, 20)[labels]
    )
    few = zoo.labelled_target("few", labels, digest="")
    rows = source_rows(
        zoo.Source("s", {}, lambda: features), few, "logme", "ridge_probe"
    )
    rng = np.random.default_rng(0)
    free = [references.logme(features, rng.permutation(labels), 10) for _ in range(20)]
    assert abs(rows[0]["chance"] - np.mean(free)) < 0.05
    assert 0.1 <= rows[1]["chance"] < 0.3


@pytest.mark.parametrize("name", OF_FEATURES)
def test_feature_scores_with_their_jackknife_and_chance(name, rows, dealt, blocks):
    features = source("s").features().astype(np.float64)
    score, row = OF_FEATURES[name], rows[name]
    assert row["value"] == pytest.approx(score(features, dealt.labels), rel=1e-6)
    error = references.jackknife(score, features, dealt.labels, blocks)
    assert row["standard_error"] == pytest.approx(error, rel=1e-4)
    assert row["high"] - row["value"] == pytest.approx(2.262157 * error, rel=1e-4)
    chance = [score(features, shuffle) for shuffle in dealt.shuffled]
    assert row["chance"] == pytest.approx(np.mean(chance), rel=1e-5)
    assert row["chance_high"] == pytest.approx(np.max(chance), rel=1e-5)


@pytest.mark.parametrize("name", ["leep", "nce"])
def test_logit_scores_with_their_jackknife_and_chance(name, rows, dealt, blocks):
    logits = source("s").logits().astype(np.float64)
    probs = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))

    def score(probs, labels):
        if name == "leep":
            return references.leep(probs, labels)
        return references.nce(probs.argmax(axis=1), labels)

    row = rows[name]
    assert row["value"] == pytest.approx(score(probs, dealt.labels))
    error = references.jackknife(score, probs, dealt.labels, blocks)
    assert row["standard_error"] == pytest.approx(error)
    chance = [score(probs, shuffle) for shuffle in dealt.shuffled]
    assert row["chance"] == pytest.approx(np.mean(chance))


def test_leave_one_out_leep_with_its_jackknife_and_chance(target, dealt, blocks):
    asked = ranking.rank([source("s")], target, ["leave_one_out_leep"])
    (row,) = [r for r in asked if r["score"] == "leave_one_out_leep"]
    logits = source("s").logits().astype(np.float64)
    probs = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    score = references.leave_one_out_leep
    assert row["value"] == pytest.approx(score(probs, dealt.labels))
    error = references.jackknife(score, probs, dealt.labels, blocks)
    assert row["standard_error"] == pytest.approx(error)
    chance = [score(probs, shuffle) for shuffle in dealt.shuffled]
    assert row["chance"] == pytest.approx(np.mean(chance))


def test_all_stands_for_every_score_that_the_request_allows(target):
    usual = ranking.score_names()
    assert "leave_one_out_leep" not in usual
    assert "sinkhorn" not in usual
    every = ranking.score_names(["all"])
    assert set(usual) < set(every)
    assert {"leave_one_out_leep", "sinkhorn", "sinkhorn_exact"} <= set(every)
    assert not {"alpha1", "sinkhorn_approximation_1"} & set(every)
    with_reference = ranking.score_names(["nce", "all"], with_reference=True)
    assert with_reference[0] == "nce"
    assert set(with_reference) == set(ranking.SCORES)
    rows = ranking.rank([source("s")], target, ["all"])
    assert {row["score"] for row in rows if "value" in row} >= set(usual)


def test_the_probe_is_cross_validated_by_blocks(rows, dealt, blocks):
    """With the shares of the classes among all examples, not among those left."""
    features = source("s").features().astype(np.float64)
    shares = np.bincount(dealt.labels, minlength=NUM_CLASSES) / len(features)
    hits = np.zeros(len(features))
    for block in range(intervals.NUM_BLOCKS):
        own = blocks == block
        left = dealt.labels[~own].astype(np.int32)
        with jax.enable_x64(True):
            moments = class_moments(features[~own], left, num_classes=NUM_CLASSES)
            weights, bias = map(np.asarray, probes.ridge_classifier(moments))
        outputs = features[own] @ weights + bias
        outputs *= shares / (np.bincount(left, minlength=NUM_CLASSES) / len(left))
        hits[own] = outputs.argmax(axis=1) == dealt.labels[own]
    assert rows["ridge_probe"]["value"] == pytest.approx(hits.mean(), abs=1e-9)
    assert abs(rows["ridge_probe"]["chance"] - 1 / NUM_CLASSES) < 0.1


def test_streams_in_any_pieces_give_the_same(rows, target):
    features = source("s").features()
    for cuts in ([1, 2, 3], [59], list(range(7, 60, 7))):
        pieces = zoo.Source("s", {}, lambda cuts=cuts: iter(np.split(features, cuts)))
        row = source_rows(pieces, target, "logme")[0]
        assert row["value"] == pytest.approx(rows["logme"]["value"], abs=1e-12)
        assert row["standard_error"] == pytest.approx(rows["logme"]["standard_error"])


def test_values_that_overflow_are_a_reason_and_the_rest_goes_on(target, tmp_path):
    huge = source("huge")._replace(features=lambda: 1e160 * np.ones((60, 8)))
    noisy = source("noisy")._replace(
        features=lambda: 1e160 * np.random.default_rng(0).normal(size=(60, 8))
    )
    call = {"folder": tmp_path}
    for _ in range(2):
        rows = ranking.rank([huge, noisy, source("good")], target, ["logme"], **call)
        assert rows[0]["source"] == "good"
        assert np.isfinite(rows[0]["value"])
        report.ranking_page(typed(rows))
        (reason,) = (
            row["reason"]
            for row in rows
            if row["source"] == "noisy" and row.get("score") == "logme"
        )
        assert "rescale" in reason


def test_a_source_whose_code_fails_is_a_row(target):
    def broken():
        yield np.ones((30, 8))
        raise FileNotFoundError("the disk is gone\nreally")

    def ragged():
        yield np.ones((30, 8))
        yield np.ones((30, 7))

    sources = [
        zoo.Source("broken", {}, broken),
        zoo.Source("ragged", {}, ragged),
        source("good"),
    ]
    rows = ranking.rank(sources, target, ["logme"])
    reasons = {row["source"]: row["reason"] for row in rows if "reason" in row}
    assert reasons["broken"] == "FileNotFoundError: the disk is gone really"
    assert "different lengths" in reasons["ragged"]
    assert rows[0]["source"] == "good"


def test_declared_facts_may_change_between_runs(target, tmp_path):
    for parameters in (10, 1000):
        rows = ranking.rank(
            [source("a", parameters=parameters)], target, ["logme"], folder=tmp_path
        )
        (static,) = (row for row in rows if row.get("score") == "parameters")
        assert static["value"] == parameters
    rows = ranking.rank([source("a", parameters=float("nan"))], target, ["logme"])
    assert not [row for row in rows if row.get("score") == "parameters"]


def test_scores_with_needs_that_nothing_meets_are_rows(monkeypatch, target):
    extra = ranking.Score(lambda f: 0.0, "functions", "nowhere")
    monkeypatch.setitem(ranking.SCORES, "extra", extra)
    other = ranking.Score(ranking.SCORES["leep"].function, "probabilities", "")
    monkeypatch.setitem(ranking.SCORES, "leep_again", other)
    rows = ranking.rank([source("a")], target)
    result = {row["score"]: row for row in rows}
    assert "functions" in result["extra"]["reason"]
    assert result["leep_again"]["value"] == result["leep"]["value"]


def test_many_batches_give_the_same_value(monkeypatch, rows, target):
    monkeypatch.setattr("jtransfer.ranking.source_rows.BATCH_ROWS", 20)
    row = source_rows(source("s"), target, "h_score", "leep")
    assert row[0]["value"] == pytest.approx(rows["h_score"]["value"], abs=1e-10)
    assert row[0]["chance"] < rows["h_score"]["value"] / 2
    assert row[1]["value"] == pytest.approx(rows["leep"]["value"], abs=1e-10)


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (np.ones((59, 8)), "59 rows"),
        (np.ones((61, 8)), "more rows"),
        (np.ones(60), r"\[n, d\]"),
        (np.where(np.arange(60)[:, None] == 17, np.nan, np.ones((60, 8))), "row 17"),
    ],
    ids=["too few", "too many", "rank", "nan"],
)
def test_a_faulty_source_is_a_row_with_its_reason(features, reason, target):
    faulty = zoo.Source("faulty", {}, lambda: features)
    good = source("good")
    rows = ranking.rank([faulty, good], target, ["logme"])
    assert rows[0]["source"] == "good"
    (failed,) = (row for row in rows if row["source"] == "faulty")
    assert "score" not in failed
    assert re.search(reason, failed["reason"])


def test_a_source_without_logits_says_so(target):
    bare = source("bare")._replace(logits=None)
    rows = ranking.rank([bare], target)
    reasons = {row["score"]: row["reason"] for row in rows if "reason" in row}
    assert set(reasons) == {"leep", "nce"}
    assert "logits" in reasons["leep"]
    only_logits = source("other")._replace(features=None)
    rows = ranking.rank([only_logits], target, ["leep"])
    assert [row["score"] for row in rows if "value" in row] == ["leep"]


def test_ranks_groups_and_probabilities(target):
    sources = [
        source("none", seed=1, separation=0, parameters=3),
        source("strong", separation=3, parameters=1),
        source("twin", separation=3, parameters=2),
        source("weak", separation=0.7),
    ]
    rows = ranking.rank(sources, target, ["logme"])
    primary = [row for row in rows if row["score"] == "logme"]
    assert [row["rank"] for row in primary] == [1, 1, 3, 4]
    assert {row["source"] for row in primary[:2]} == {"strong", "twin"}
    assert [row["group"] for row in primary[:3]] == [1, 1, 2]
    assert primary[0]["beats_next"] == pytest.approx(0.5)
    assert primary[1]["beats_next"] > 0.99
    assert primary[3]["beats_next"] is None
    assert any("shuffled" in warning for warning in primary[3]["warnings"])
    static = [row for row in rows if row.get("score") == "parameters"]
    assert [row["source"] for row in static] == ["none", "twin", "strong"]
    assert json.loads(files.json_line(rows[0]))["source"] in ("strong", "twin")


def test_alpha1_is_ordered_by_what_it_is_above_chance():
    def row(source, value, chance, order, accuracy):
        return ranking.Scored(
            source=source,
            score="alpha1",
            value=value,
            chance=chance,
            ordered_by=order,
            replicates=list(value + 1e-3 * np.arange(10)),
            facts={"accuracy": accuracy},
        )

    rows = [
        row("untrained", 0.53, 0.48, 0.05, 0.2),
        row("trained", 0.51, 0.38, 0.13, 0.9),
        row("weak", 0.3, 0.2, 0.1, 0.5),
    ]
    result = ordering.ranked(rows, ["alpha1"])
    assert [r.source for r in result] == ["trained", "weak", "untrained"]
    assert [r.rank for r in result] == [1, 2, 3]
    assert all(r.beats_next > 0.99 for r in result[:2])
    (agreement,) = ordering.agreements(result)
    assert agreement.spearman == 1
    assert ranking.to_json(result[0])["ordered_by"] == 0.13
    assert ranking.from_json(ranking.to_json(result[0])).order == 0.13
    (agreement,) = ordering.agreement(map(ranking.to_json, result))
    assert agreement["spearman"] == 1
    assert ranking.SCORES["alpha1"].less_chance
    assert not ranking.SCORES["alpha2"].less_chance


def test_always_computed_scores_and_their_order(target):
    rows = ranking.rank([source("a")], target, ["nce"])
    assert rows[0]["score"] == "nce"
    names = [row["score"] for row in rows]
    assert set(ranking.ALWAYS) < set(names)


def test_results_are_found_again_and_only_if_nothing_changed(target, tmp_path):
    log = []
    call = {"folder": tmp_path, "announce": lambda _, outcome: log.append(outcome)}
    first = ranking.rank([source("a"), source("b")], target, ["logme"], **call)
    again = ranking.rank([source("a"), source("b", seed=1)], target, ["logme"], **call)
    assert [outcome == "found finished" for outcome in log] == [
        False,
        False,
        True,
        False,
    ]
    values = [row["value"] for row in first if row["source"] == "a"]
    assert values == [row["value"] for row in again if row["source"] == "a"]
    log.clear()
    ranking.rank([source("a")], target, ["nce"], **call)
    ranking.rank([source("a")], target, ["nce"], seed=1, **call)
    ranking.rank([source("a")], target._replace(digest="other"), ["nce"], **call)
    assert "found finished" not in log
    for file in (tmp_path / "sources").iterdir():
        file.write_text("{ truncated")
    ranking.rank([source("a")], target, ["logme"], **call)
    assert log[-1] != "found finished"


def test_failures_are_not_kept(target, tmp_path):
    faulty = source("x")._replace(features=lambda: np.ones((3, 3)))
    ranking.rank([faulty], target, folder=tmp_path)
    rows = ranking.rank([source("x")], target, folder=tmp_path)
    assert "value" in rows[0]


def test_names_of_sources_are_not_paths(target, tmp_path):
    ranking.rank([source("../../evil")], target, ["logme"], folder=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_warns_where_the_plain_h_score_is_saturated():
    rng = np.random.default_rng(0)
    small = zoo.labelled_target("small", np.arange(60) % 5, digest="")
    wide = zoo.Source("wide", {}, lambda: rng.normal(size=(60, 64)))
    rows = ranking.rank([wide], small, ["h_score"])
    assert rows[0]["value"] == pytest.approx(4)
    assert any("at its maximum" in warning for warning in rows[0]["warnings"])


def test_verification_tests_on_examples_that_no_score_saw(target):
    reduced = verification.without_test_part(target, seed=0)
    withheld = reduced.labels < 0
    assert 0.1 < withheld.mean() < 0.3
    rows = ranking.rank([source("a", separation=3)], target, ["logme"], verify=HEAD)
    facts = rows[0]["facts"]
    assert facts["num_test"] == withheld.sum()
    assert rows[0]["n"] == (~withheld).sum()
    assert facts["accuracy_low"] < facts["accuracy"] <= facts["accuracy_high"]
    assert facts["accuracy"] > 0.8


def test_verification_of_few_shots():
    labels = np.arange(20, dtype=np.int32) % 10
    features = np.eye(10)[labels]
    few = zoo.labelled_target("few", labels, digest="")
    rows = ranking.rank([zoo.Source("s", {}, lambda: features)], few, verify=HEAD)
    assert rows[0]["facts"]["num_test"] == 10
    single = zoo.labelled_target("single", np.arange(10), digest="")
    rows = ranking.rank(
        [zoo.Source("s", {}, lambda: features[:10])], single, verify=HEAD
    )
    assert "Too few" in report.failure_lines(typed(rows))[0]


def test_verification_is_kept_only_for_the_same_test_examples(target, tmp_path):
    features, labels = gaussian_task(0, 120, 8, separation=3)
    for size in (20, 60):
        split = zoo.labelled_target(
            "split", labels[:60], test_labels=labels[60 : 60 + size], digest="split"
        )
        tested = zoo.Source(
            "s",
            {},
            lambda: features[:60],
            digest=lambda: "s",
            test_features=lambda size=size: features[60 : 60 + size],
        )
        rows = ranking.rank([tested], split, ["logme"], verify=HEAD, folder=tmp_path)
        assert rows[0]["facts"]["num_test"] == size


def test_verification_uses_test_labels_where_there_are_some():
    features, labels = gaussian_task(0, 120, 8, separation=3)
    target = zoo.labelled_target(
        "split", labels[:60], test_labels=labels[60:], digest="split"
    )
    split = zoo.Source(
        "s", {}, lambda: features[:60], test_features=lambda: features[60:]
    )
    (row, *_) = ranking.rank([split], target, ["logme"], verify=HEAD)
    assert (row["n"], row["facts"]["num_test"]) == (60, 60)
    missing = split._replace(test_features=None)
    rows = ranking.rank([missing], target, ["logme"], verify=HEAD)
    (failed,) = (row for row in rows if row.get("score") == "accuracy")
    assert "test_features" in failed["reason"]
    assert "test_features" in report.failure_lines(typed(rows))[0]


def test_agreement_with_known_accuracies(target):
    sources = [
        source("a", separation=3, accuracy=0.9),
        source("b", separation=1, accuracy=0.7),
        source("c", seed=1, separation=0, accuracy=0.2),
    ]
    rows = ranking.rank(sources, target, ["logme"])
    result = {row["score"]: row for row in ranking.agreement(rows)}
    assert result["logme"]["spearman"] == pytest.approx(1)
    assert result["logme"]["regret_1"] == 0
    assert result["logme"]["n_sources"] == 3
    matrix = ranking.rank_correlation(typed(rows))
    assert matrix.matrix[0][0] == pytest.approx(1)
    assert not ranking.agreement(rows[:1])


OF_FUNCTIONS = ("alpha1", "alpha2", "alpha12", "gradient_matching")
PIXELS = np.random.default_rng(5).uniform(0.3, 0.7, (60, 2, 2, 1)).astype(np.float32)
MATRICES = np.random.default_rng(6).normal(size=(3, 2, 4)).astype(np.float32)


def _curved(weights, x):
    return jnp.tanh(3 * weights @ x.ravel())


def function_source(name, matrix, apply=_curved):
    function = jax.tree_util.Partial(apply, matrix)
    return source(name)._replace(
        function=lambda: function, digest=lambda: f"{name}{matrix.sum()}"
    )


@pytest.fixture(scope="module")
def shown(target):
    return target._replace(images=PIXELS)


@pytest.fixture(scope="module")
def reference():
    return zoo.Reference(function_source("own", MATRICES[0]))


@pytest.fixture(scope="module")
def function_rows(shown, reference):
    """The scores of three sources, one of them the reference, one without function."""
    same, other = (function_source(f"f{i}", MATRICES[i]) for i in range(2))
    return ranking.rank(
        [other, same, source("bare")], shown, OF_FUNCTIONS, reference=reference
    )


def test_scores_of_functions_are_those_of_the_pair(function_rows, shown, reference):
    comparison = functions.comparison(reference, shown, seed=0)
    both = (
        reference.source.function(),
        jax.tree_util.Partial(_curved, MATRICES[1]),
    )
    images, key = comparison.examples.images, comparison.examples.key
    own, other = (pairs.attacked(f, images, key) for f in both)
    result = pairs.transfer(own, other, images, comparison.blocks).blocks
    grams = pairs.gradients(*both, images, comparison.blocks).blocks
    expected = {
        "alpha1": (pairs.alpha1_of_sums, result),
        "alpha2": (pairs.alpha2_of_sums, result),
        "alpha12": (pairs.alpha12_of_sums, result),
        "gradient_matching": (lambda sums: -pairs.distance(sums), grams),
    }
    for row in function_rows:
        if row["source"] == "f1" and row["score"] in expected:
            function, sums = expected[row["score"]]
            assert row["value"] == pytest.approx(function(pairs.merged(sums)), rel=1e-5)
            without = [function(pairs.without(sums, i)) for i in range(10)]
            error = np.sqrt(0.9 * np.sum((without - np.mean(without)) ** 2))
            assert row["standard_error"] == pytest.approx(error, rel=1e-3)
            assert row["n"] == 60
            assert row["reference"] == "own"


def test_the_reference_itself_is_the_best_source(function_rows):
    best = {row["score"]: row for row in function_rows if row.get("rank") == 1}
    for name in OF_FUNCTIONS:
        assert best[name]["source"] == "f0"
    assert best["alpha1"]["value"] == 1
    for one in function_rows:
        if one.get("score") == "alpha1" and "value" in one:
            assert one["ordered_by"] == pytest.approx(one["value"] - one["chance"])
        elif one.get("score") == "alpha2":
            assert "ordered_by" not in one
    assert best["gradient_matching"]["value"] == pytest.approx(0, abs=1e-6)
    reasons = {r["score"]: r["reason"] for r in function_rows if "reason" in r}
    assert set(reasons) == set(OF_FUNCTIONS)
    assert "needs a function" in reasons["alpha1"]


def test_one_output_turns_as_itself(shown):
    """With one output all deviations lie on one line, so alpha2 is 1."""
    linear = function_source("line", MATRICES[0][:1], lambda w, x: w @ x.ravel())
    call = {"reference": zoo.Reference(linear)}
    rows = ranking.rank([linear], shown, ["alpha2", "alpha1"], **call)
    assert [row["value"] for row in rows[:2]] == pytest.approx([1, 1])


def test_scores_of_functions_wait_for_a_reference(shown):
    one = function_source("f0", MATRICES[0])
    rows = ranking.rank([one], shown)
    assert not {row.get("score") for row in rows} & set(OF_FUNCTIONS)
    rows = ranking.rank([one], shown, ["alpha1"])
    (row,) = (row for row in rows if row.get("score") == "alpha1")
    assert "needs a reference" in row["reason"]
    assert report.missing_lines(typed(rows), ["alpha1"]) == [
        f"alpha1 (all sources): {row['reason']}"
    ]
    assert not report.missing_lines(typed(rows), ["logme"])
    names = ranking.score_names(with_reference=True)
    assert set(OF_FUNCTIONS) < set(names)


def test_a_function_that_fails_is_a_reason_beside_the_other_scores(shown, reference):
    def broken(weights, x):
        raise KeyError("lost")

    wide = function_source("wide", np.ones((2, 5), np.float32))
    lost = function_source("lost", MATRICES[0], broken)
    nan = function_source("nan", MATRICES[0] * np.float32(np.nan))
    rows = ranking.rank(
        [wide, lost, nan], shown, ["gradient_matching"], reference=reference
    )
    result = {row["source"]: row for row in rows if row["score"] == "gradient_matching"}
    assert "KeyError: 'lost'" in result["lost"]["reason"]
    assert "Error" in result["wide"]["reason"]
    assert "not finite" in result["nan"]["reason"]
    assert len([row for row in rows if row["score"] == "logme"]) == 3


def test_withheld_and_surplus_images_take_no_part(shown, reference):
    labels = shown.labels.copy()
    labels[:20] = -1
    result = functions.comparison(reference, shown._replace(labels=labels), seed=0)
    assert len(result.examples) == 40
    kept = {image.tobytes() for image in PIXELS[20:]}
    assert {image.tobytes() for image in result.examples.images} == kept
    counts = [
        np.bincount(result.blocks[result.labels == y]) for y in range(NUM_CLASSES)
    ]
    assert all(count.max() - count.min() <= 1 for count in counts)
    few = reference._replace(num_images=17)
    assert len(functions.comparison(few, shown, seed=0).examples) == 17


def test_images_that_do_not_fit_the_reference_are_refused(shown, reference):
    with pytest.raises(zoo.RequestError, match="at least 10"):
        ranking.rank([], shown, reference=reference._replace(num_images=9))
    other = reference._replace(images=np.ones((20, 3, 3, 1), np.float32))
    with pytest.raises(zoo.RequestError, match="same shape"):
        ranking.rank([], shown, reference=other)
    with pytest.raises(zoo.RequestError, match="target lacks"):
        ranking.rank([], shown._replace(images=None), reference=reference)


def test_results_are_found_again_only_for_the_same_reference(
    shown, reference, tmp_path
):
    log = []
    one = function_source("f1", MATRICES[1])
    call = {"folder": tmp_path, "announce": lambda _, outcome: log.append(outcome)}
    changed = (
        reference,
        reference,
        None,
        zoo.Reference(function_source("own", MATRICES[2])),
        reference._replace(images=PIXELS[::-1].copy()),
        reference._replace(num_images=30),
        zoo.Reference(reference.source._replace(digest=None)),
        zoo.Reference(reference.source._replace(digest=None)),
    )
    for other in changed:
        ranking.rank([one], shown, ["alpha1"], reference=other, **call)
    assert [outcome == "found finished" for outcome in log] == [False, True] + 6 * [
        False
    ]


def test_references_by_name(shown, tmp_path):
    embedded = zoo.embedded_target()
    mnist = zoo.named_source("mnist", embedded)
    reference = zoo.reference(mnist, embedded, num_images=20)
    assert (reference.source.name, reference.images) == ("mnist", None)
    assert embedded.images.shape == (200, 8, 8, 1)
    bare = shown._replace(images=None)
    with pytest.raises(zoo.RequestError, match="needs images: a target that is"):
        zoo.reference(mnist, bare)
    with pytest.raises(zoo.RequestError, match="neither a folder"):
        zoo.named_source("nowhere", shown)
    with pytest.raises(zoo.RequestError, match="no file"):
        zoo.held_out_images("npz:none.npz")
    arrays = {"images": np.zeros((12, 8, 8, 1), np.uint8), "labels": np.arange(12) % 2}
    np.savez(tmp_path / "x.npz", **arrays)
    images = zoo.held_out_images(f"npz:{tmp_path / 'x.npz'}")
    assert zoo.reference(mnist, bare, images=images).images.shape == (12, 8, 8, 1)


def test_ls_tells_what_scores_need(capsys):
    assert ls.ls_command() == 0
    lines = capsys.readouterr().out.splitlines()
    for name in OF_FUNCTIONS:
        (line,) = (line for line in lines if f" {name} " in line)
        assert "--reference" in line


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"data": "npz:x.npz"}, "--data does nothing without --reference"),
        ({"num_examples": 20}, "--num-examples does nothing without"),
        ({"reference": "nowhere"}, "nowhere is neither a folder"),
    ],
)
def test_requests_of_a_reference_that_are_wrong(arguments, fault):
    with pytest.raises(zoo.RequestError, match=fault):
        rank.rank_command(**arguments)


def test_the_readme_has_the_table_of_scores():
    readme = Path(__file__).parents[1] / "README.md"
    named = {**ranking.SCORES, **ranking.DECLARED}
    for name, score in named.items():
        cells = (f"`{name}`", score.meaning, score.range, score.caveat)
        assert f"| {' | '.join(cells)} |\n" in readme.read_text(encoding="utf-8")
        assert score.title
