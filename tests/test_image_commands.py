"""Tests of `jtransfer train`, `extract` and the ranking of networks."""

import json

import numpy as np
import pytest
from commands import jtransfer

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of 90 + 30 images whose colour is their class."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    labels = np.arange(120, dtype=np.int32) % 3
    images = rng.integers(0, 100, size=(120, 16, 16, 3))
    images[np.arange(120), :, :, labels] += 120
    images = images.astype(np.uint8)
    np.savez(
        folder / "colours.npz",
        images=images[:90],
        labels=labels[:90],
        class_names=["red", "green", "blue"],
        test_images=images[90:],
        test_labels=labels[90:],
    )
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    arguments = ("--model", "lenet", "--width", 2, "--data", "npz:colours.npz")
    more = ("--epochs", 10, "--batch-size", 27, "--out", "zoo/net")
    return jtransfer("train", *arguments, *more, folder=folder)


def test_train_writes_a_network(trained, folder):
    assert trained.returncode == 0, trained.stderr
    assert "test accuracy" in trained.stdout
    described = json.loads((folder / "zoo/net/network.json").read_text())
    assert described["class_names"] == ["red", "green", "blue"]
    assert (folder / "zoo/net/log.jsonl").exists()


def test_extract_serves_rank_as_source_and_target(trained, folder):
    command = ("extract", "--source", "zoo/net", "--data", "npz:colours.npz")
    run = jtransfer(*command, "--out", "f/net.npz", folder=folder)
    assert run.returncode == 0, run.stderr
    with np.load(folder / "f/net.npz") as arrays:
        assert arrays["features"].shape[0] == len(arrays["labels"]) == 90
        assert arrays["logits"].shape == (90, 3)
    run = jtransfer(
        *("rank", "--target", "f/net.npz", "--zoo", "f", "--json"), folder=folder
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[0])["n"] == 90
    run = jtransfer(*command, "--out", "x.npz", "--layer", "nose", folder=folder)
    assert run.returncode == 2
    assert "feature_maps.0" in run.stderr


def test_rank_networks_for_images_and_verify(trained, folder):
    arguments = ("rank", "--target", "npz:colours.npz", "--zoo", "zoo")
    run = jtransfer(
        *arguments, "--per-class", 10, "--fine-tune", "--json", folder=folder
    )
    assert run.returncode == 0, run.stderr
    row = json.loads(run.stdout.splitlines()[0])
    assert (row["source"], row["n"]) == ("net", 30)
    assert row["facts"]["num_test"] == 30
    assert row["facts"]["verified_by"] == "fine-tuning"
    assert row["facts"]["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("train --model lenet --data npz:none.npz --out x", "no file"),
        ("train --model lenets --data npz:colours.npz --out x", "no model"),
        ("train --model lenet --data nothing_such --out x", "prepare"),
        ("train --model lenet --data npz:colours.npz --classes pink --out x", "pink"),
        ("extract --source zoo --data npz:colours.npz --out x.npz", "does not exist"),
        ("rank --target npz:none.npz --zoo zoo", "no file"),
    ],
    ids=["data", "model", "not prepared", "class", "source", "target"],
)
def test_a_wrong_request_is_one_line_and_exit_2(arguments, fault, folder):
    run = jtransfer(*arguments.split(), folder=folder)
    assert run.returncode == 2
    assert fault in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stderr.count("\n") == 1
