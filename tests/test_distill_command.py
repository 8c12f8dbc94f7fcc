"""Tests of `jtransfer distill`."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import CACHE, jtransfer
from flax import nnx

from jtransfer import data, models, networks, transfer, zoo
from jtransfer.commands import distill
from jtransfer.commands.options import RecipeOptions

pytestmark = pytest.mark.timeout(240)
OWN, OTHER = ("red", "green", "blue"), ("a", "b", "c", "d")


def write_teacher(folder, names):
    architecture = networks.Architecture(
        model="vgg4", num_classes=len(names), image_size=8, base_width=2
    )
    variables = models.functional(networks.model(architecture, rngs=nnx.Rngs(3)))[1]
    statistics = data.ChannelStatistics(*np.array([[0.4] * 3, [0.3] * 3], np.float32))
    network = networks.Network(architecture, variables, statistics, names, {})
    networks.write_network(folder, network)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images whose colour is their class, a teacher of them and one of other things."""
    folder = tmp_path_factory.mktemp("distill")
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int32) % 3
    images = rng.integers(0, 100, size=(60, 8, 8, 3))
    images[np.arange(60), :, :, labels] += 120
    images = images.astype(np.uint8)
    for name, pixels in (("colours", images), ("large", np.repeat(images, 2, axis=2))):
        np.savez(
            folder / f"{name}.npz",
            images=pixels[:48],
            labels=labels[:48],
            class_names=OWN,
            test_images=pixels[48:],
            test_labels=labels[48:],
        )
    write_teacher(folder / "same", OWN)
    write_teacher(folder / "other", OTHER)
    return folder


def test_sigterm_saves_and_a_rerun_goes_on_to_a_network_of_a_zoo(folder):
    arguments = [
        *("distill", "activations-and-jacobians", "--teacher", "same"),
        *("--student", "vgg4", "--width", "2", "--data", "npz:colours.npz"),
        *("--per-class", "8", "--epochs", "200", "--batch-size", "8"),
        *("--jacobian-weight", "2", "--out", "students/one"),
    ]
    command = [sys.executable, "-m", "jtransfer", *arguments]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(CACHE)}
    process = subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, text=True, env=environment
    )
    log = folder / "students/one/log.jsonl"
    while not (log.exists() and log.read_text()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate()[1]
    assert process.returncode == 143, errors
    assert "stopped by SIGTERM" in errors
    assert not (folder / "students/one/network.json").exists()
    before = len(log.read_text().splitlines())
    run = jtransfer(*arguments, folder=folder)
    assert run.returncode == 0, run.stderr
    assert "test accuracy" in run.stdout
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == list(range(1, 601))
    assert 0 < before < 600
    facts = json.loads((folder / "students/one/network.json").read_text())["facts"]
    assert (facts["method"], facts["teacher"]) == ("activations-and-jacobians", "same")
    assert facts["loss"]["jacobian_weight"] == 2
    assert facts["per_class"] == 8
    target = zoo.image_target(
        f"npz:{folder}/colours.npz", per_class=4, num_test=3, seed=0
    )
    (source,) = zoo.sources(str(folder / "students"), target)
    assert source.name == "one"
    assert np.concatenate(list(source.features())).shape[0] == 12


@pytest.mark.parametrize("method", ["attention-and-jacobians", "lwf"])
def test_a_student_of_a_teacher_of_other_things(method, folder, capsys):
    out = folder / method
    run = distill.StudentOptions(
        teacher=folder / "other",
        student="vgg4",
        data=f"npz:{folder}/colours.npz",
        out=out,
        cache=folder / "cache",
        recipe=RecipeOptions(width=2, epochs=4, batch_size=16),
    )
    code = distill.METHODS[method](run=run, label_weight=10, logits_weight=10)
    assert code == 0
    assert "test accuracy" in capsys.readouterr().out
    student = networks.read_network(out)
    assert student.class_names == OWN
    assert "teacher_classifier" not in student.variables.params
    assert student.facts["loss"]["label_weight"] == 10
    if method == "attention-and-jacobians":
        chosen = {"layer": 0, "window": 1}
        chosen |= {"attention_weight": 1.0, "jacobian_weight": 1.0}
        assert chosen.items() <= student.facts["loss"].items()
    assert not (out / "teacher_outputs").exists()


ATTENTION = "attention-and-jacobians"
NONE = {"label_weight": 0, "logits_weight": 0, "jacobian_weight": 0}
WRONG = {
    "teacher's classes": ({"teacher": "other"}, {}, "The teacher knows a, b, c"),
    "no teacher": ({"teacher": "none"}, {}, "--teacher: .* does not exist"),
    "size": ({"data": "npz:large.npz"}, {}, r"takes images \[8, 8, 3\]"),
    "student": ({"student": "vgg5"}, {}, "no model 'vgg5'"),
    "student too deep": ({"student": "vgg9"}, {}, "vgg9 cannot be the student"),
    "weights": ({}, NONE, "--label-weight, --logits-weight and .* not all zero"),
    "negative": ({}, {"jacobian_weight": -1}, "must not be negative"),
    "layers": (
        {"method": ATTENTION},
        {"teacher_layer": 0, "student_layer": 1},
        "no such feature maps of one size",
    ),
    "no maps": (
        {"method": ATTENTION, "student": "fully_connected"},
        {},
        "no such feature maps",
    ),
    "window": ({"method": ATTENTION}, {"window": 5}, "--window must be 1 to 4"),
    "epochs": ({"recipe": RecipeOptions(epochs=0)}, {}, "--epochs must be positive"),
    "width": ({"recipe": RecipeOptions(width=-1)}, {}, "--width must be positive"),
    "seed": ({"seed": -1}, {}, "--seed must not be negative"),
    "too few": ({"per_class": 99}, {}, "--per-class: .*16"),
    "data": ({"data": "npz:none.npz"}, {}, "--data: there is no file"),
    "classes": ({"classes": ("pink",)}, {}, "--classes: There is no class 'pink'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request(name, folder, monkeypatch):
    changes, options, fault = WRONG[name]
    monkeypatch.chdir(folder)
    request = {
        "method": "activations-and-jacobians",
        "teacher": "same",
        "student": "vgg4",
        "recipe": RecipeOptions(width=2),
        "data": "npz:colours.npz",
        "out": folder / "wrong",
        **changes,
    }
    request["teacher"] = folder / request["teacher"]
    command = distill.METHODS[request.pop("method")]
    with pytest.raises((data.DataError, zoo.RequestError), match=fault):
        command(run=distill.StudentOptions(**request), **options)
    assert not (folder / "wrong" / "network.json").exists()


@pytest.mark.parametrize(
    ("method", "notes"),
    [
        (("activations-and-jacobians",), 0),
        (("--method", "activations+jacobians", "--gamma", "3"), 2),
    ],
    ids=["now", "in November"],
)
def test_a_wrong_request_is_one_line_and_exit_2(folder, method, notes):
    arguments = ("--student", "vgg4", "--data", "npz:colours.npz", "--out", "x")
    run = jtransfer("distill", *method, "--teacher", "other", *arguments, folder=folder)
    assert run.returncode == 2
    *noted, fault = run.stderr.splitlines()
    assert "The teacher knows a, b, c" in fault
    assert len(noted) == notes
    assert all(line.startswith("Note: ") for line in noted)


def test_an_option_of_another_method_is_exit_2(folder):
    arguments = ("--student", "vgg4", "--data", "npz:colours.npz", "--out", "x")
    run = jtransfer(
        *("distill", "lwf", "--teacher", "other", *arguments, "--jacobian-weight", "1"),
        folder=folder,
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


def test_presets_are_named_after_their_papers():
    by_name = transfer.STUDENT_PRESETS
    assert by_name["paper"] == by_name["paper-b"]
    recipe = by_name["paper-c"]
    assert (recipe.num_epochs, recipe.batch_size, recipe.learning_rate) == (
        200,
        256,
        0.1,
    )
    assert recipe.optimizer == transfer.Momentum(momentum=0.9, weight_decay=5e-4)
    # At epochs 50, 100 and 150, to a fifth each time.
    assert [part * 200 for part in recipe.decay_at] == [50, 100, 150]
    assert recipe.decay_factor == 0.2
