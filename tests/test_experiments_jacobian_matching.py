"""Tests of experiments/jacobian_matching: the script that needs no data, the rules."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

harness = pytest.importorskip("experiments.harness", reason="experiments are not here")
from experiments.jacobian_matching import figure1_curves as figure1
from experiments.jacobian_matching.support import training


def test_figure1_writes_rows_and_pictures(tmp_path):
    _, config = figure1.PRESETS["smoke"]
    config = dataclasses.replace(config, results=tmp_path)
    figure1.main(config, "smoke")
    rows = harness.rows(
        harness.Table("jacobian_matching", "figure1", "smoke", tmp_path)
    )
    errors = [row for row in rows if "mean squared error" in row["cell"]]
    assert len(errors) == len(figure1.WAYS) * config.num_seeds
    assert all(0 < row["value"] < 10 for row in errors)
    # Before training the student is zero nearly everywhere.
    assert errors[0]["value"] < 2 * np.mean(np.square(figure1.teacher(figure1.GRID)))
    gains = [row for row in rows if row["verdict"]]
    assert len(gains) == 2
    assert all(row["low"] < row["value"] < row["high"] for row in gains)
    names = sorted(path.suffix for path in tmp_path.rglob("figure1.smoke.*"))
    assert names == [".jsonl", ".png", ".svg"]
    figure1.main(config, "smoke")
    path = harness.Table("jacobian_matching", "figure1", "smoke", tmp_path).path
    assert len(path.read_text().splitlines()) == len(rows)


def test_intervals():
    result = training.accuracy(0.3, 50)
    expected = scipy.stats.binomtest(15, 50).proportion_ci(method="wilson")
    assert result.value == pytest.approx(30)
    assert (result.low, result.high) == pytest.approx(
        (100 * expected.low, 100 * expected.high)
    )
    first, second = np.array([3.0, 5.0, 4.0]), np.array([1.0, 1.5, 2.5])
    result = training.paired_difference(first, second)
    expected = scipy.stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("difference", "word"),
    [
        (harness.Value(1.0, 0.5, 1.5), "holds"),
        (harness.Value(-1.0, -1.5, -0.5), "contradicted"),
        (harness.Value(1.0, -0.5, 2.5), "not decided"),
        (harness.Value(1.0), "no verdict"),
    ],
)
def test_verdict_follows_the_interval(difference, word):
    sentence = training.verdict(difference, "noise hurts")
    assert word in sentence
    assert "noise hurts" in sentence
