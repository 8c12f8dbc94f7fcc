"""Tests of trained networks on disk, their use on images, and their fine-tuning."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx

from jtransfer import data, models, networks, transfer, zoo
from jtransfer.networks import Architecture, Network

ARCHITECTURE = Architecture(
    model="lenet", num_classes=3, image_size=16, base_width=2, num_channels=3
)
STATISTICS = data.ChannelStatistics(
    np.array([0.4, 0.5, 0.6], np.float32), np.array([0.2, 0.3, 0.4], np.float32)
)


@pytest.fixture(scope="module")
def network():
    model = networks.model(ARCHITECTURE, rngs=nnx.Rngs(0))
    _, variables = models.functional(model)
    facts = {"parameters": networks.count(variables), "source_accuracy": 0.5}
    return Network(ARCHITECTURE, variables, STATISTICS, ("a", "b", "c"), facts)


@pytest.fixture(scope="module")
def images():
    """Sixty images whose colour is their class, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int32) % 3
    pixels = rng.integers(0, 100, size=(60, 16, 16, 3))
    pixels[np.arange(60), :, :, labels] += 120
    return data.Images(pixels.astype(np.uint8), labels, ("red", "green", "blue"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fully_connected", models.FullyConnected),
        ("alexnet", models.AlexNet),
        ("vgg9", models.VGG),
        ("resnet34", models.ResNet),
        ("wrn-16-2", models.WideResNet),
        ("mobilenet", models.MobileNet),
    ],
)
def test_architectures_by_name(name, kind):
    architecture = Architecture(model=name, num_classes=5)
    model = nnx.eval_shape(lambda: networks.model(architecture, rngs=nnx.Rngs(0)))
    assert isinstance(model, kind)
    width = Architecture(model="resnet18", num_classes=10)
    abstract = nnx.eval_shape(lambda: networks.model(width, rngs=nnx.Rngs(0)))
    assert networks.count(models.functional(abstract)[1]) == 11_173_962


@pytest.mark.parametrize("name", ["resnet19", "wrn-16", "wrn-1600-1", "", "../lenet"])
def test_rejects_unknown_architectures(name):
    with pytest.raises(data.DataError, match="no model"):
        networks.model(Architecture(model=name, num_classes=2), rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lenet", "There is no such lenet: image_size must be 16 or more, got 8"),
        ("vgg9", "A vgg9 cannot take images of 8 x 8: x must be 32 x 32 pixels"),
    ],
)
def test_images_that_are_too_small_are_one_line(name, words, images, tmp_path):
    small = images._replace(images=images.images[:, :8, :8])
    architecture = Architecture(model=name, num_classes=3, image_size=8, base_width=2)
    with pytest.raises(data.DataError, match=words):
        transfer.train_network(
            architecture,
            small,
            None,
            recipe=transfer.Recipe(num_epochs=1),
            folder=tmp_path / "net",
            seed=0,
            facts={},
        )
    assert not (tmp_path / "net").exists()
    networks.check_images(Architecture(model=name, num_classes=3, image_size=32))


def test_a_network_survives_the_disk(network, images, tmp_path):
    networks.write_network(tmp_path / "net", network)
    again = networks.read_network(tmp_path / "net")
    assert again.architecture == network.architecture
    assert again.class_names == network.class_names
    assert again.facts == network.facts
    jax.tree.map(np.testing.assert_array_equal, again.variables, network.variables)
    first = np.concatenate([f for f, _ in networks.outputs(network, images.images)])
    second = np.concatenate([f for f, _ in networks.outputs(again, images.images)])
    np.testing.assert_array_equal(first, second)


def test_class_centres_are_kept_with_a_network_and_decide_the_cost(
    network, images, tmp_path
):
    features = np.concatenate([f for f, _ in networks.outputs(network, images.images)])
    centers = np.stack([features[images.labels == c].mean(axis=0) for c in range(3)])
    centers = centers[::-1].astype(np.float32)
    networks.write_network(tmp_path / "net", network._replace(class_centers=centers))
    again = networks.read_network(tmp_path / "net")
    np.testing.assert_array_equal(again.class_centers, centers)
    networks.write_network(tmp_path / "bare", network)
    assert networks.read_network(tmp_path / "bare").class_centers is None
    # The same classes backwards: the cost is nothing off the diagonal.
    cost = np.asarray(transfer.class_cost(again, images))
    np.testing.assert_allclose(cost[[0, 1, 2], [2, 1, 0]], 0, atol=1e-3)
    assert transfer.class_cost(network, images)[0, 2] > 0.01
    bad = network._replace(class_centers=centers[:2])
    networks.write_network(tmp_path / "net", bad)
    with pytest.raises(data.DataError, match=r"class_centers in .* floats \[3, "):
        networks.read_network(tmp_path / "net")


def test_outputs_are_those_of_the_function_on_pixels(network, images):
    x = images.images.astype(np.float32) / 255
    logits = jax.vmap(networks.function(network))(x[:5])
    (_, batch), *_ = networks.outputs(network, images.images[:5], batch_size=8)
    np.testing.assert_allclose(batch, logits, rtol=1e-4, atol=1e-5)


def test_outputs_of_any_batch_size_layer_and_image_size(network, images):
    whole = np.concatenate([f for f, _ in networks.outputs(network, images.images)])
    parts = networks.outputs(network, images.images, batch_size=7)
    np.testing.assert_allclose(
        np.concatenate([f for f, _ in parts]), whole, rtol=1e-4, atol=1e-5
    )
    assert "feature_maps.1" in networks.layers(network)
    ((maps, _),) = networks.outputs(network, images.images, layer="feature_maps.1")
    assert maps.shape[0] == 60
    grey = images.images[:4, ::2, ::2, :1]
    ((features, _),) = networks.outputs(network, grey)
    assert features.shape == (4, whole.shape[1])
    with pytest.raises(data.DataError, match="no layer"):
        list(networks.outputs(network, images.images, layer="feature_maps.9"))
    with pytest.raises(data.DataError, match="channels"):
        list(networks.outputs(network, np.zeros((2, 16, 16, 4), np.uint8)))


@pytest.mark.parametrize(
    "fault",
    ["missing", "json", "model", "size", "unknown", "shape", "lost array", "truncated"],
)
def test_a_damaged_network_is_one_line(fault, network, tmp_path):
    folder = tmp_path / "net"
    networks.write_network(folder, network)
    described = json.loads((folder / "network.json").read_text())
    if fault == "missing":
        (folder / "network.json").unlink()
    elif fault == "json":
        (folder / "network.json").write_text("{")
    elif fault == "truncated":
        content = (folder / "variables.npz").read_bytes()
        (folder / "variables.npz").write_bytes(content[:-100])
    elif fault == "lost array":
        np.savez(folder / "variables.npz", nothing=np.zeros(2))
    else:
        described["architecture"] |= {
            "model": {"model": "vgg9"},
            "size": {"num_classes": 0},
            "unknown": {"model": 5},
            "shape": {"num_classes": 4},
        }[fault]
        (folder / "network.json").write_text(json.dumps(described))
    with pytest.raises(data.DataError) as error:
        networks.read_network(folder)
    assert "\n" not in str(error.value)


def test_networks_are_sources_of_a_target_of_images(network, images, tmp_path):
    networks.write_network(tmp_path / "zoo" / "net", network)
    np.savez(tmp_path / "t.npz", images=images.images, labels=images.labels)
    target = zoo.image_target(
        f"npz:{tmp_path / 't.npz'}", per_class=5, num_test=None, seed=0
    )
    assert np.bincount(target.labels).tolist() == [5, 5, 5]
    assert target.test_labels is None
    (source,) = zoo.sources(str(tmp_path / "zoo"), target)
    assert source.name == "net"
    assert source.facts["parameters"] == network.facts["parameters"]
    assert np.concatenate(list(source.features())).shape[0] == 15
    assert source.function()(images.images[0] / np.float32(255)).shape == (3,)
    (bare,) = zoo.sources(str(tmp_path / "zoo" / "net"))
    with pytest.raises(zoo.SourceError, match="images"):
        list(bare.features())
    with pytest.raises(zoo.RequestError, match="no file"):
        zoo.image_target("npz:none.npz", per_class=5, num_test=None, seed=0)
    with pytest.raises(zoo.RequestError, match="per_class asks for 50"):
        zoo.image_target(
            f"npz:{tmp_path / 't.npz'}", per_class=50, num_test=None, seed=0
        )


def test_fine_tuning_learns_and_leaves_the_source_alone(network, images):
    before = jax.tree.map(np.array, network.variables)
    train, test = np.arange(30), np.arange(30, 60)
    arguments = (images.images[train], images.labels[train], images.class_names)
    head = transfer.fine_tune_head(network, *arguments, num_epochs=30, seed=0)
    # The last layer alone has changed.
    body, tuned_body = (
        {k: v for k, v in n.variables.params.items() if k != "classifier"}
        for n in (network, head)
    )
    jax.tree.map(np.testing.assert_array_equal, body, tuned_body)
    full = transfer.fine_tune_network(network, *arguments, num_epochs=30, seed=0)
    for tuned in (head, full):
        right = transfer.is_classified_correctly(
            tuned, images.images[test], images.labels[test]
        )
        assert right.mean() > 0.6
    jax.tree.map(np.testing.assert_array_equal, before, network.variables)


def test_classes_by_name_number_and_range(images):
    chosen = data.named_class_subset(images, ("blue", "0"))
    assert chosen.class_names == ("blue", "red")
    assert len(chosen.labels) == 40
    for wrong in (("pink",), ("0-5",), ("0", "red")):
        with pytest.raises(data.DataError):
            data.named_class_subset(images, wrong)


def test_a_recipe_trains_and_records_its_facts(images, tmp_path):
    recipe = dataclasses.replace(
        transfer.TRAINING_PRESETS["cpu"],
        num_epochs=20,
        batch_size=16,
        padding=1,
        warm_up_epochs=0,
    )
    network = transfer.train_network(
        ARCHITECTURE,
        images,
        images,
        recipe=recipe,
        folder=tmp_path,
        seed=0,
        facts={"source": "colours"},
    )
    assert network.facts["source_accuracy"] > 0.6
    assert networks.read_network(tmp_path).facts["source"] == "colours"


def test_without_held_out_images_the_last_network_is_taken(images, tmp_path):
    recipe = transfer.Recipe(
        num_epochs=2,
        batch_size=16,
        padding=0,
        warm_up_epochs=0,
        decay_epochs=(0.5, 1.5),
        validation_fraction=0,
    )
    statistics = data.ChannelStatistics(*np.full((2, 3), 0.25, np.float32))
    options = {"recipe": recipe, "folder": tmp_path, "seed": 0, "facts": {}}
    network = transfer.train_network(
        ARCHITECTURE, images, None, **options, statistics=statistics, keep_centers=True
    )
    features = np.concatenate([f for f, _ in networks.outputs(network, images.images)])
    for label, center in enumerate(networks.read_network(tmp_path).class_centers):
        own = features[images.labels == label].mean(axis=0)
        np.testing.assert_allclose(center, own, rtol=1e-4, atol=1e-5)
    assert network.facts["best_step"] == 2 * (len(images.labels) // 16)
    assert "source_accuracy" not in network.facts
    jax.tree.map(np.testing.assert_array_equal, network.statistics, statistics)
    log = (tmp_path / "log.jsonl").read_text()
    assert "validation" not in log
    # Other statistics are another run.
    with pytest.raises(data.DataError, match="holds a run with statistics"):
        transfer.train_network(ARCHITECTURE, images, None, **options)
