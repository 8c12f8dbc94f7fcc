"""Tests of experiments/cross_task: the scripts that train nothing, and the rules."""

import dataclasses

import numpy as np
import pytest

harness = pytest.importorskip("experiments.harness", reason="experiments are not here")
from experiments import sheets
from experiments.cross_task import figure3_convergence as figure3
from experiments.cross_task import table11_recomputed as table11
from experiments.cross_task import table14_figure5_sliding_window as sliding
from experiments.cross_task.support import assessments, correlations
from experiments.harness import Table, Value, mean_interval, rows
from jtransfer import assessment, sinkhorn
from jtransfer.data import Images


def test_printed_table_11_disagrees_with_the_printed_tables_16_to_20(tmp_path):
    table11.main(table11.Config(tmp_path), "paper")
    table = Table("cross_task", "table11_printed", "paper", tmp_path)
    result = {row["cell"]: row for row in rows(table)}
    columns = table11.printed()
    for score in table11.TABLE_11:
        for task in range(5):
            row = result[f"{score}, task {task + 1}"]
            pair = columns[score][task], columns["accuracy"][task]
            assert row["value"] == pytest.approx(np.corrcoef(*pair)[0, 1])
            agrees = abs(row["value"] - row["paper_value"]) < 0.0125
            assert row["verdict"].startswith("Agrees" if agrees else "Disagrees")
    disagree = [
        cell for cell in result if "Disagrees" in (result[cell]["verdict"] or "")
    ]
    assert disagree == [f"sinkhorn, task {task}" for task in (1, 4, 5)]
    difference = result["sinkhorn less logme, average, 95% bootstrap over teachers"]
    assert difference["low"] < 0 < difference["value"] < difference["paper_value"]
    table11.main(table11.Config(tmp_path), "paper")
    assert len(rows(table)) == len(result)


def test_the_interval_of_rounding_holds_what_rounding_does():
    rng = np.random.default_rng(0)
    pair = rng.uniform(size=(2, 10)).round(2)
    result = table11.rounding_interval(*pair)
    noise = rng.uniform(-0.005, 0.005, size=(500, 2, 10))
    noisy = [np.corrcoef(*(pair + one))[0, 1] for one in noise]
    assert result.low < min(noisy) < result.value < max(noisy) < result.high
    # A half unit of the worst sign everywhere reaches the ends.
    slopes = [
        np.corrcoef(*(pair + step))[0, 1] - result.value
        for step in 0.005 * np.eye(20).reshape(20, 2, 10)
    ]
    assert np.sum(np.abs(slopes)) == pytest.approx(result.high - result.value, rel=0.05)


def test_figure3_smoke(tmp_path):
    images = np.random.default_rng(0).integers(256, size=(80, 8, 8, 3))
    labels = np.arange(80) % 10
    file = tmp_path / "images.npz"
    np.savez(
        file,
        images=images.astype(np.uint8),
        labels=labels,
        test_images=images[:10].astype(np.uint8),
        test_labels=labels[:10],
    )
    config = dataclasses.replace(
        figure3.PRESETS["smoke"][1],
        dataset=f"npz:{file}",
        out=tmp_path / "runs",
        results=tmp_path,
    )
    figure3.main(config, "smoke")
    table = Table("cross_task", "figure3", "smoke", tmp_path)
    result = {row["cell"]: row["value"] for row in rows(table)}
    for name in figure3.COSTS:
        rate = result[f"{name}: kappa^2"]
        assert 0 <= rate <= 1
        # Proposition 4.3, up to the rounding of what counts as the truth.
        for step in figure3.STEPS:
            cell = f"{name}: error after {step} steps against the last t"
            assert result[f"{cell}, share of the first"] <= 1.01 * rate**step + 1e-5
    assert result["largest .1: max(cost) / epsilon"] == pytest.approx(1, rel=1e-5)
    for suffix in (".png", ".svg"):
        assert table.path.with_suffix(suffix).stat().st_size > 1000


def test_means_correlations_and_verdicts():
    result = mean_interval([0.1, 0.2, 0.3])
    half = 4.302653 * 0.1 / 3**0.5  # Student's t of two degrees of freedom
    assert result == pytest.approx((0.2, 0.2 - half, 0.2 + half), abs=1e-6)
    assert mean_interval([0.5]) == Value(0.5)
    assert sheets.gain(Value(0.02, 0.01, 0.03)).startswith("Better: +2.0")
    assert sheets.gain(Value(-0.02, -0.03, -0.01)).startswith("Worse: -2.0")
    assert sheets.gain(Value(0.02, -0.01, 0.05)).startswith("Not told apart")
    assert sheets.gain(Value(0.02)).endswith("no interval.")
    rng = np.random.default_rng(1)
    scores, worth = rng.normal(size=(2, 6, 3))
    expected = np.mean([np.corrcoef(scores[:, k], worth[:, k])[0, 1] for k in range(3)])
    assert correlations.mean_pearson(scores, worth) == pytest.approx(expected)
    assert correlations.mean_pearson(np.ones((6, 3)), worth) == 0
    assert correlations.mean_regret(worth.T, worth.T) == 0
    left = correlations.within_families(np.array([[1, 3, 9, 5]]), np.arange(4) // 2)
    assert left.tolist() == [[-1, 1, 2, -2]]
    assert correlations.correlation_verdict(Value(0.5, 0.1, 0.9)).startswith(
        "Goes with"
    )
    assert correlations.correlation_verdict(Value(-0.5, -0.9, -0.1)).startswith(
        "Goes against"
    )
    assert correlations.correlation_verdict(Value(0.5, -0.1, 0.9)).startswith(
        "No evidence"
    )


@pytest.mark.parametrize(("preset", "expected"), [("paper", 0.7417), ("cub", 0.6572)])
def test_students_of_birds_stand_beside_the_table_of_birds(preset, expected):
    _, config = sliding.PRESETS[preset]
    last = len(config.students) - 1
    (ours,) = (
        line
        for line in sliding.lines(config, [0.0, 1.0])
        if (line.student, line.method) == (last, "Ours")
    )
    assert ours.printed[-1] == pytest.approx(expected)


def test_approximation_2_is_that_of_the_library_from_outputs_and_centres():
    rng = np.random.default_rng(0)
    features, head = rng.normal(size=(12, 3)), rng.normal(size=(4, 3))
    logits, labels = rng.normal(size=(12, 4)), np.arange(12, dtype=np.int32) % 3
    features, head, logits = (x.astype(np.float32) for x in (features, head, logits))
    student = assessment.fictitious_student(
        features, labels, num_classes=3, weight_decay=0.1
    )
    given = assessments.Evidence(
        Images(np.zeros((12, 1, 1, 3), np.uint8), labels, ("a", "b", "c")),
        features,
        logits,
        head,
        cost=None,
        uncentred_cost=None,
        true_cost=None,
        printed_cost=None,
        fictitious=student,
        true_head=-head,
        settings=assessment.AssessmentSettings(3.0, 0.1, weight_decay=0.1),
    )
    means = sinkhorn.class_centers(features, labels, num_classes=3)
    for score, centers in (("sinkhorn_2", head), ("sinkhorn_2_true", -head)):
        cost = sinkhorn.centred_cost(centers, means)
        expected = assessments.transport_score(given, student, cost)
        result = assessments.scorers(given)[score]()
        assert float(result) == pytest.approx(float(expected), abs=1e-5)
