"""Tests of jtransfer.training.devices, and of training on several devices."""

import functools
import json
import os
import pathlib
import socket
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jtransfer
from jtransfer import data, models, training
from jtransfer.training import devices, schedules

ENVIRONMENT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def images_and_labels(n, seed=0):
    rng = np.random.default_rng(seed)
    # The brightness drifts with the position, so every device sees other statistics.
    images = (
        rng.integers(0, 128, (n, 8, 8, 3)) + np.arange(n)[:, None, None, None] % 128
    )
    return {"images": images.astype(np.uint8), "labels": np.arange(n) % 3}


@functools.cache
def network():
    model = models.VGG(depth=4, num_classes=3, base_width=1, rngs=nnx.Rngs(0))
    return (models.trainable(model)[0], *models.functional(model))


@functools.cache
def objective():
    statistics = data.ChannelStatistics(
        np.full(3, 0.4, np.float32), np.full(3, 0.3, np.float32)
    )
    augment = functools.partial(data.augmented, padding=1)
    preprocess = training.preprocessing(statistics, augment=augment)
    return training.supervised(network()[0], preprocess=preprocess)


@functools.cache
def optimizer():
    return schedules.sgd(0.1)


def test_there_are_eight_devices():
    assert jax.device_count() == 8


@pytest.mark.parametrize(("num_devices", "size"), [(None, 8), (8, 8), (1, 1), (3, 3)])
def test_data_mesh(num_devices, size):
    mesh = devices.data_mesh(num_devices)
    assert mesh.size == size
    assert mesh.axis_types == (jax.sharding.AxisType.Auto,)
    assert devices.is_on_one_host(mesh)
    assert devices.is_first_process()
    assert devices.in_any_process(True, mesh)
    assert not devices.in_any_process(False, mesh)


@pytest.mark.parametrize("num_devices", [0, 9])
def test_data_mesh_rejects(num_devices):
    with pytest.raises(ValueError, match=f"must be 1 to 8, got {num_devices}"):
        devices.data_mesh(num_devices)


@pytest.mark.parametrize(("shape", "axis"), [((16, 2), 0), ((3, 16, 2), 1)])
def test_on_mesh_distributes_the_examples(shape, axis):
    batch = {"x": np.arange(np.prod(shape)).reshape(shape), "y": np.zeros(shape)}
    placed = devices.on_mesh(batch, devices.data_mesh(), axis=axis)
    chex.assert_trees_all_equal(placed, jax.tree.map(jnp.asarray, batch))
    for array in placed.values():
        pieces = {shard.data.shape[axis] for shard in array.addressable_shards}
        assert pieces == {2}
        assert len(array.addressable_shards) == 8


def test_batches_that_do_not_divide_are_refused():
    mesh = devices.data_mesh()
    line = "12 examples cannot be shared out evenly among 8 devices; take a multiple"
    with pytest.raises(ValueError, match=line):
        devices.on_mesh(np.zeros((12, 2)), mesh)
    with pytest.raises(ValueError, match=line):
        devices.local_rows(12, mesh)
    train_fn, apply_fn, variables = network()
    examples = images_and_labels(16)
    with pytest.raises(ValueError, match=line):
        training.evaluated(apply_fn, variables, **examples, batch_size=12, mesh=mesh)
    with pytest.raises(ValueError, match="accumulate 2 times 8 devices"):
        training.fit(
            objective(),
            variables,
            examples,
            optimizer=optimizer(),
            num_steps=1,
            batch_size=24,
            seed=0,
            accumulate=2,
            mesh=mesh,
        )


def test_replicated_is_everywhere():
    tree = {"a": np.arange(3), "key": jax.random.key(0)}
    placed = devices.replicated(tree, devices.data_mesh())
    assert placed["a"].is_fully_replicated
    assert len(placed["a"].devices()) == len(placed["key"].devices()) == 8
    chex.assert_trees_all_equal(placed["a"], tree["a"])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_and_eight_devices_train_alike(accumulate):
    _, apply_fn, variables = network()
    examples = images_and_labels(48)
    held_out = images_and_labels(20, seed=1)
    held_out["images"] = held_out["images"] / np.float32(255)
    results = {}
    for count in (1, 8):
        mesh = devices.data_mesh(count)
        evaluate = functools.partial(
            training.evaluated, apply_fn, **held_out, batch_size=16, mesh=mesh
        )
        results[count] = training.fit(
            objective(),
            variables,
            examples,
            optimizer=optimizer(),
            num_steps=8,
            batch_size=32,
            seed=0,
            accumulate=accumulate,
            mesh=mesh,
            steps_per_dispatch=3 if accumulate == 1 else 1,
            validation=training.Validation(evaluate=evaluate, every=4),
            progress=False,
        )
    one, eight = results[1], results[8]
    for a, b in zip(one.history, eight.history, strict=True):
        assert a["step"] == b["step"]
        if "loss" in a:
            assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
        else:
            assert a["validation"] == pytest.approx(b["validation"], abs=1e-5)
    chex.assert_trees_all_close(one.state.params, eight.state.params, atol=1e-5)
    chex.assert_trees_all_close(one.state.stats, eight.state.stats, atol=1e-5)
    for leaf in jax.tree.leaves(eight.state.params):
        assert leaf.is_fully_replicated
        assert len(leaf.devices()) == 8


def test_batch_statistics_are_those_of_the_whole_batch():
    train_fn, _, variables = network()
    images = images_and_labels(64)["images"] / np.float32(255)
    mesh = devices.data_mesh()
    run = jax.jit(lambda params, stats, x: train_fn(params, stats, x, None)[1])
    whole = run(*variables, images)
    spread = run(*devices.replicated(variables, mesh), devices.on_mesh(images, mesh))
    chex.assert_trees_all_close(spread, whole, atol=1e-6)
    first = run(*variables, images[:8])
    mean = functools.partial(jax.tree.map, lambda stats: stats.sum())
    assert abs(mean(first)["stages"][0][0]["norm"]["mean"]) < 0.9 * abs(
        mean(whole)["stages"][0][0]["norm"]["mean"]
    )


def test_a_run_goes_on_with_another_number_of_devices(tmp_path):
    options = {"optimizer": optimizer(), "batch_size": 16, "seed": 0, "progress": False}
    checkpoints = training.Checkpoints(folder=tmp_path, every=2)
    start, examples = network()[2], images_and_labels(48)
    whole = training.fit(objective(), start, examples, num_steps=4, **options)
    for num_steps, mesh in ((2, devices.data_mesh()), (4, None)):
        result = training.fit(
            objective(),
            start,
            examples,
            num_steps=num_steps,
            checkpoints=checkpoints,
            mesh=mesh,
            **options,
        )
    chex.assert_trees_all_close(result.state.params, whole.state.params, atol=1e-5)


def test_pmap_of_a_metric_agrees():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (8, 40))
    features = rng.standard_normal((8, 40, 5)).astype(np.float32) + labels[..., None]
    moments_of = functools.partial(jtransfer.class_moments, num_classes=3)
    moments = jax.pmap(moments_of)(features, labels)
    scores = jax.pmap(jtransfer.h_score)(moments)
    plain = [
        jtransfer.h_score(moments_of(x, y))
        for x, y in zip(features, labels, strict=True)
    ]
    np.testing.assert_allclose(scores, plain, rtol=1e-5)
    # The pieces of all devices make up the whole.
    pieces = [
        jax.tree.map(lambda x, i=i: x[i], jax.device_get(moments)) for i in range(8)
    ]
    merged = functools.reduce(jtransfer.merge, pieces)
    whole = moments_of(features.reshape(-1, 5), labels.ravel())
    np.testing.assert_allclose(
        jtransfer.h_score(merged), jtransfer.h_score(whole), rtol=1e-5
    )


# Several hosts.


def test_initialize_does_nothing_unasked(monkeypatch):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    assert not devices.initialize()
    assert not jax.distributed.is_initialized()


@pytest.mark.parametrize("numbers", [("2", None), (None, "0"), ("two", "0")])
def test_initialize_rejects(numbers, monkeypatch):
    for name, value in zip(ENVIRONMENT, ("127.0.0.1:1", *numbers), strict=True):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="must both be numbers"):
        devices.initialize()


HOST = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
sys.path.insert(0, {tests!r})
from jtransfer import devices
assert devices.initialize() and devices.initialize()
assert (jax.process_count(), jax.device_count()) == (2, 4)
import test_devices
mesh = devices.data_mesh()
assert not devices.is_on_one_host(mesh)
assert devices.in_any_process(jax.process_index() == 1, mesh)
rows = test_devices.rows_of_a_run(mesh, {folder!r})
print(json.dumps([jax.process_index(), devices.local_rows(8, mesh).tolist(), rows]))
"""


def rows_of_a_run(mesh, folder):
    """Losses and evaluations of a run that stops once and goes on."""
    rng = np.random.default_rng(0)
    examples = {
        "images": rng.standard_normal((48, 3)).astype(np.float32),
        "labels": rng.integers(0, 2, 48),
    }

    def train_fn(params, stats, x, key):
        noisy = x + 0.1 * jax.random.normal(key, x.shape)
        return (noisy @ params, {}), jnp.mean(x)

    evaluate = functools.partial(
        training.evaluated,
        lambda variables, x: (x @ variables.params, {}),
        **examples,
        batch_size=32,
        mesh=mesh,
    )
    for num_steps in (2, 3):
        result = training.fit(
            training.supervised(train_fn),
            (np.ones((3, 2), np.float32), np.float32(0)),
            examples,
            optimizer=optimizer(),
            num_steps=num_steps,
            batch_size=16,
            seed=0,
            mesh=mesh,
            validation=training.Validation(evaluate=evaluate, every=2),
            checkpoints=training.Checkpoints(folder=folder, every=2),
            progress=False,
        )
    rows = [
        [row["loss"]] if "loss" in row else [*row["validation"].values()]
        for row in result.history
    ]
    return [*rows, [float(result.state.stats)]]


@pytest.mark.timeout(120)
def test_two_hosts_train_as_one(tmp_path):
    here = pathlib.Path(__file__).parent
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    code = HOST.format(tests=str(here), folder=str(tmp_path / "two"))
    hosts = []
    for index in range(2):
        asked = dict(zip(ENVIRONMENT, (address, "2", str(index)), strict=True))
        environment = {
            **os.environ,
            **asked,
            "PYTHONPATH": str(here.parent),
            "JAX_PLATFORMS": "cpu",
        }
        hosts.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                env=environment,
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        outputs = [host.communicate(timeout=100) for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    assert [host.returncode for host in hosts] == [0, 0], outputs
    expected = rows_of_a_run(devices.data_mesh(4), tmp_path / "one")
    for index, (out, _) in enumerate(outputs):
        result, rows, history = json.loads(out.splitlines()[-1])
        assert (result, rows) == (index, list(range(4 * index, 4 * index + 4)))
        for ours, theirs in zip(history, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
