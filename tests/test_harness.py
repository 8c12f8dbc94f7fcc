"""Tests of experiments/harness.py."""

import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np
import optax
import pytest

from jtransfer import training

harness = pytest.importorskip("experiments.harness", reason="experiments are not here")
dry_run = pytest.importorskip("experiments.dry_run", reason="experiments are not here")

KEYS = [
    "paper",
    "table",
    "cell",
    "preset",
    "seed",
    "value",
    "low",
    "high",
    "paper_value",
    "verdict",
    "config",
    "versions",
    "device",
    "seconds",
]


def test_a_row_is_written_once_and_found_again(tmp_path):
    table = harness.Table("p", "t", "smoke", tmp_path)
    calls = []

    def compute():
        calls.append(1)
        return harness.Value(0.5, 0.4, 0.6)

    arguments = {"seed": 0, "config": {"n": 3}, "paper_value": 0.7}
    row = harness.write_row(table, "cell", compute, **arguments)
    assert list(row) == KEYS
    assert harness.write_row(table, "cell", compute, **arguments) == row
    assert len(calls) == 1
    harness.write_row(table, "cell", compute, seed=1, config={"n": 3})
    harness.write_row(table, "cell", compute, seed=0, config={"n": 4})
    assert len(calls) == 3
    lines = table.path.read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [0, 1, 0]


def test_a_half_written_line_is_computed_again(tmp_path):
    table = harness.Table("p", "t", "smoke", tmp_path)
    value = harness.Value(1.0)
    harness.write_row(table, "a", lambda: value, seed=0, config={})
    with table.path.open("a") as file:
        file.write('{"paper": "p", "cel')
    assert len(harness.rows(table)) == 1
    harness.write_row(table, "b", lambda: value, seed=0, config={})
    assert [row["cell"] for row in harness.rows(table)] == ["a", "b"]


def test_bootstrap_interval_covers_the_mean():
    rng = np.random.default_rng(0)
    sample = rng.normal(size=200)
    mean = harness.bootstrap_interval(np.mean, sample, seed=0)
    assert mean.value == sample.mean()
    assert mean.low < mean.value < mean.high
    expected = 1.96 * sample.std() / np.sqrt(200)
    assert mean.high - mean.value == pytest.approx(expected, rel=0.15)


@dataclasses.dataclass(frozen=True)
class Config:
    """Of a script that needs no data."""

    size: int
    results: Path = Path("results")


PRESETS = {"smoke": ("seconds", Config(1)), "cpu": ("minutes", Config(2))}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], (Config(2), "cpu")),
        (["smoke"], (Config(1), "smoke")),
        (["smoke", "--size", "7"], (Config(7), "smoke")),
    ],
)
def test_a_preset_is_chosen_by_its_name(words, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script", *words])
    calls = []
    harness.run_script(lambda *arguments: calls.append(arguments), PRESETS)
    assert calls == [expected]


def test_data_that_are_missing_are_one_line_and_exit_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script", "smoke"])

    def main(config, preset):
        raise harness.DataError("no_such_set is not prepared in\nDIR")

    with pytest.raises(SystemExit) as error:
        harness.run_script(main, PRESETS)
    assert error.value.code == 2
    printed = capsys.readouterr().err
    assert printed == "not run: no_such_set is not prepared in DIR\n"


def test_settings_leave_out_what_changes_no_number():
    assert harness.settings(Config(3)) == {"size": 3}
    assert harness.settings(Config(3), "size") == {}


def test_a_verdict_may_be_a_rule(tmp_path):
    table = harness.Table("p", "t", "smoke", tmp_path)
    value = harness.Value(1.5)
    row = harness.write_known(
        table, "a", value, seed=0, config={}, verdict=lambda v: f"It is {v.value}."
    )
    assert row["verdict"] == "It is 1.5."


def test_a_dry_run_times_the_steps_and_writes_nothing(tmp_path, monkeypatch, capsys):
    @dataclasses.dataclass(frozen=True)
    class Config:
        results: Path = tmp_path

    def main(config, preset):
        def train_fn(params, stats, x, key):
            return (x @ params, {}), stats

        objective, optimizer = training.supervised(train_fn), optax.sgd(0.1)
        x = np.array([[-1.0], [1.0]], np.float32)
        for num_steps in (100, 300):
            result = training.fit(
                objective,
                (np.zeros((1, 2), np.float32), {}),
                {"images": x, "labels": np.array([0, 1])},
                optimizer=optimizer,
                num_steps=num_steps,
                batch_size=2,
                seed=0,
                progress=False,
            )
            assert int(result.state.step) == 0
        table = harness.Table("paper", "table", preset, config.results)
        harness.write_row(table, "a", lambda: harness.Value(1), seed=0, config={})

    monkeypatch.setattr(sys, "argv", ["script", "paper", "--dry-run"])
    harness.run_script(main, {"cpu": ("", Config()), "paper": ("", Config())})
    printed = capsys.readouterr().out
    assert "100 steps of 2 of 2 examples:\n  the first in" in printed
    assert printed.count("the first in") == 1  # The second has the same shape.
    assert "2 trainings, 400 steps: " in printed
    assert not list(tmp_path.iterdir())


def test_a_dry_run_ends_in_time(monkeypatch, capsys):
    monkeypatch.setattr(dry_run, "LIMIT", 1)
    config = dataclasses.make_dataclass("Config", [])()
    dry_run.rehearse(lambda *_: time.sleep(60), config, "paper")
    assert "0 trainings, 0 steps: at least 0 hours" in capsys.readouterr().out
