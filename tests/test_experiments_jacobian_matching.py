"""Tests of experiments/jacobian_matching: the script that needs no data, the rules."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

harness = pytest.importorskip("experiments.harness", reason="experiments are not here")
from experiments.jacobian_matching import figure1_curves as figure1
from experiments.jacobian_matching import table1_few_images as table1
from experiments.jacobian_matching.support import losses, training
from jtransfer.transfer import Student


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


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        (
            harness.Value(1.0, -1.9, 1.9),
            "'Labels are not crucial' holds: the interval lies within 2 points of 0.",
        ),
        (
            harness.Value(-1.0, -2.1, 0.1),
            "'Labels are not crucial' is not decided: the interval goes beyond 2 "
            "points.",
        ),
        (
            harness.Value(4.0, 2.1, 5.9),
            "'Labels are not crucial' is contradicted: the interval lies above 2 "
            "points.",
        ),
        (harness.Value(0.0), "'Labels are not crucial': one seed, no verdict."),
    ],
)
def test_labels_are_judged_by_a_margin(difference, sentence):
    assert table1.not_crucial(difference) == sentence


def test_the_cells_of_table_1():
    _, config = table1.PRESETS["cpu"]
    both = "CE + activations + Jacobians"
    few = table1.losses_of(config, 5)
    assert [gamma for name, gamma in few if name == both] == [1, 10, 100]
    assert [gamma for name, gamma in few if name == "CE + Jacobians"] == [1, 10, 100]
    assert [gamma for name, gamma in table1.losses_of(config, 500) if name == both] == [
        10
    ]
    assert table1.loss_name(both, 1) == both
    assert table1.loss_name(both, 10) == f"{both}, gamma 10"


def quadratic(x):
    """Three outputs of each image, with gradients 2 a x."""
    flat = x.reshape(len(x), -1)
    return (flat**2) @ A, {}


A = np.array([[1.0, 0.5, 2.0], [0.0, 1.0, -1.0]], np.float32)


def student(x):
    return Student(quadratic(x)[0], {}, jnp.asarray(x), quadratic)


def test_projections_give_the_whole_jacobian_in_the_mean():
    """The mean over many draws is the squared error over all outputs."""
    x = np.array([[[[0.3]], [[0.7]]], [[[1.0]], [[-0.5]]]], np.float32)

    def teacher(variables, x):
        return 3.0 * quadratic(x)[0], {}

    loss = losses.ProjectionLoss(teacher)
    batch = {"labels": np.array([0, 2]), "teacher_logits": quadratic(x)[0]}
    batch |= {"teacher_variables": None}

    def term(key):
        return loss(student(x), {**batch, "noise_key": key})[1]["jacobians"]

    terms = jax.vmap(term)(jax.random.split(jax.random.key(0), 4000))
    # The teacher's Jacobian is three times the student's: the error is twice it.
    own = 2 * x.reshape(2, 2)[:, :, None] * A[None]
    expected = np.mean(np.sum((2 * own) ** 2, axis=(1, 2)))
    assert float(terms.mean()) == pytest.approx(expected, rel=0.03)
    assert float(terms.std()) > 0.1 * expected


def test_the_penalty_of_the_log_probability():
    x = np.array([[[[0.3]], [[0.7]]], [[[1.0]], [[-0.5]]]], np.float32)
    batch = {"labels": np.array([0, 2])}
    for of_probability in (False, True):
        value, parts = losses.PenaltyLoss(0.5, of_probability)(student(x), batch)
        gradients = []
        for row, label in zip(x.reshape(2, 2), batch["labels"], strict=True):
            logits = row**2 @ A
            shares = np.exp(logits) / np.exp(logits).sum()
            by_logits = np.eye(3)[label] - (shares if of_probability else 0)
            gradients.append((2 * row[:, None] * A) @ by_logits)
        expected = np.mean(np.sum(np.square(gradients), axis=1))
        assert float(parts["norm"]) == pytest.approx(expected, rel=1e-5)
        total = parts["cross_entropy"] + 0.5 * parts["norm"]
        assert float(value) == pytest.approx(float(total))
