"""Tests of the command line, in processes of its own."""

import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import exit_code, jtransfer

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A target and a zoo of three sources, one of them faulty."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    np.savez(folder / "target.npz", labels=labels)
    (folder / "zoo").mkdir()
    for name, separation in (("strong", 3), ("weak", 1)):
        features = rng.normal(size=(60, 4)) + separation * np.eye(3, 4)[labels]
        np.savez(folder / "zoo" / f"{name}.npz", features=features, logits=features)
    np.savez(folder / "zoo" / "short.npz", features=features[:50])
    return folder


@pytest.fixture(scope="module")
def ranked(folder):
    arguments = ("rank", "--target", "target.npz", "--zoo", "zoo", "--out", "out")
    return jtransfer(*arguments, folder=folder)


def test_rank_orders_the_good_and_names_the_faulty(ranked, folder):
    assert ranked.returncode == 1
    assert ranked.stdout.index("strong") < ranked.stdout.index("weak")
    assert "short: failed: features have 50 rows" in ranked.stderr
    assert "Traceback" not in ranked.stderr
    lines = (folder / "out" / "ranking.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert (rows[0]["source"], rows[0]["score"], rows[0]["rank"]) == (
        "strong",
        "logme",
        1,
    )
    contract = {
        "source", "score", "value", "standard_error", "low", "high", "chance", "rank",
        "n", "d", "seconds", "source_hash", "target_hash", "versions",
    }  # fmt: skip
    assert contract <= rows[0].keys()
    (failed,) = (row for row in rows if row["source"] == "short")
    assert {"source", "reason"} <= failed.keys()
    with (folder / "out" / "ranking.csv").open() as file:
        table = list(csv.DictReader(file))
    assert table[0]["source"] == "strong"
    assert float(table[0]["value"]) == pytest.approx(rows[0]["value"])
    assert "<html" in (folder / "out" / "report.html").read_text()


def test_rank_continues_and_report_shows_it_again(ranked, folder):
    arguments = ("rank", "--target", "target.npz", "--zoo", "zoo/[sw]*[gk].npz")
    again = jtransfer(*arguments, "--out", "out", "--json", folder=folder)
    assert again.returncode == 0
    assert again.stderr.count("found finished") == 2
    rows = [json.loads(line) for line in again.stdout.splitlines()]
    assert rows[0]["source"] == "strong"
    (folder / "out" / "report.html").unlink()
    report = jtransfer("report", "out", folder=folder)
    assert report.returncode == 0
    assert "strong" in report.stdout
    assert (folder / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("rank --target target.npz", "--target needs --zoo"),
        ("rank --zoo zoo", "--zoo needs --target"),
        ("rank --layers", "--layers needs --target and --zoo"),
        ("rank --target none.npz --zoo zoo", "no file none.npz"),
        ("rank --target target.npz --zoo none", "--zoo: No source in none"),
        ("rank --scores logmee", "did you mean logme"),
        ("rank --seed -1", "--seed"),
        ("rank --target target.npz --zoo zoo --out target.npz/x", "not writable"),
        ("report nowhere", "holds none of"),
        ("rank --verify --fine-tune", "exclude each other"),
        ("rank --per-class 2", "--per-class does nothing"),
        ("rank --target target.npz --zoo zoo --num-test 7", "--num-test does"),
        ("rank --target target.npz --zoo zoo --image-size 9", "--image-size does"),
        ("rank --target target.npz --zoo zoo --data-dir X", "--data-dir does"),
        ("rank --num-examples 5", "--num-examples does nothing without"),
        ("train --model vgg4 --data x --out y --epochs 0", "--epochs must be"),
        ("train --model vgg4 --data x --out y --batch-size -4", "--batch-size must"),
        ("train --model vgg4 --data x --out y --seed -1", "--seed must not"),
        ("train --model vgg4 --data x --out y --width 0", "--width must be"),
    ],
    ids=lambda value: value if " " in value and "-" in value[:8] else None,
)
def test_a_wrong_request_is_one_line_and_exit_2(arguments, fault, folder, capsys):
    assert exit_code(*arguments.split(), folder=folder) == 2
    printed = capsys.readouterr()
    assert fault in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_a_request_in_a_process_of_its_own_is_one_line(folder):
    run = jtransfer("rank", "--zoo", "zoo", folder=folder)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert not run.stdout


def test_unknown_options_are_exit_2(folder):
    run = jtransfer("rank", "--score", folder=folder)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr + run.stdout


def test_help_is_quick_and_leaves_jax_alone(folder):
    start = time.perf_counter()
    run = jtransfer("rank", "--help", folder=folder)
    assert time.perf_counter() - start < 5  # Under 1 s when nothing else runs.
    assert run.returncode == 0
    assert "jtransfer rank --target labels.npz" in run.stdout
    code = (
        "import sys; sys.argv = ['jtransfer', '--help']\n"
        "from jtransfer import cli\n"
        "try: cli.main()\n"
        "except SystemExit: print('jax' in sys.modules, 'numpy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "False False"


def test_a_killed_run_loses_no_finished_source(folder):
    rng = np.random.default_rng(0)
    zoo = folder / "many"
    zoo.mkdir()
    for number in range(40):
        np.savez(zoo / f"s{number}.npz", features=rng.normal(size=(60, 4 + number)))
    command = [sys.executable, "-m", "jtransfer", "rank", "--target", "target.npz"]
    command += ["--zoo", "many", "--out", "killed"]
    finished = folder / "killed" / "sources"
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (finished.exists() and len(list(finished.glob("s*.json"))) >= 2):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    kept = sorted(path.name for path in finished.glob("s*.json"))
    assert 2 <= len(kept) < 40
    for path in finished.glob("s*.json"):
        assert json.loads(path.read_text())["rows"]
    arguments = ("rank", "--target", "target.npz", "--zoo", "many/s[01].npz")
    again = jtransfer(*arguments, "--out", "killed", folder=folder)
    assert again.stderr.count("found finished") == 2


def test_names_are_not_markup_and_damaged_rankings_are_one_line(folder, capsys):
    np.savez(
        folder / "x[v2].npz", features=np.random.default_rng(0).normal(size=(60, 4))
    )
    (folder / "z.toml").write_text(
        '[[source]]\npath = "x[v2].npz"\n'
        '[[source]]\nname = "y[/b]"\npath = "x[v2].npz"\n'
    )
    arguments = ("rank", "--target", "target.npz", "--zoo", "z.toml")
    arguments += ("--scores", "logme", "--out", "markup")
    assert exit_code(*arguments, folder=folder) == 0
    printed = capsys.readouterr()
    assert "x[v2]" in printed.out
    assert "y[/b]" in printed.out
    (folder / "markup" / "ranking.jsonl").write_text('{"source": "x", "value": 1}\n')
    assert exit_code("report", "markup", folder=folder) == 2
    printed = capsys.readouterr()
    assert "cannot be read" in printed.err
    assert printed.err.count("\n") == 1


def test_ls_lists_scores_and_networks(folder, capsys):
    assert exit_code("ls", folder=folder) == 0
    printed = capsys.readouterr().out
    assert "regularized_h_score" in printed
    (probe,) = (line for line in printed.splitlines() if "ridge_probe" in line)
    assert "features" in probe
    assert "untrained" in printed


@pytest.mark.parametrize(
    "setting",
    ["JAX_NUMPY_DTYPE_PROMOTION=strict", "JAX_ENABLE_X64=1", "JAX_DEBUG_NANS=1"],
)
def test_settings_of_jax_change_no_result(setting, ranked, folder, monkeypatch):
    monkeypatch.setenv(*setting.split("="))
    arguments = ("rank", "--target", "target.npz", "--zoo", "zoo/strong.npz", "--json")
    run = jtransfer(*arguments, "--scores", "logme", folder=folder)
    assert run.returncode == 0, run.stderr
    rows = {row["score"]: row for row in map(json.loads, run.stdout.splitlines())}
    lines = (folder / "out" / "ranking.jsonl").read_text().splitlines()
    usual = [json.loads(line) for line in lines]
    for row in (r for r in usual if r["source"] == "strong" and r["score"] in rows):
        for field in ("value", "standard_error", "chance"):
            assert rows[row["score"]].get(field) == row.get(field), field
