"""Tests of the layers of a network as sources."""

import functools

import numpy as np
import pytest
from flax import nnx

from jtransfer import data, models, networks, zoo

NAMES = ["embedding", "feature_maps.0", "feature_maps.1"]
LABELS = np.arange(60, dtype=np.int32) % 3


@pytest.fixture(scope="module")
def network():
    architecture = networks.Architecture(
        model="lenet", num_classes=3, image_size=16, base_width=2
    )
    model = networks.model(architecture, rngs=nnx.Rngs(0))
    half = np.full(3, 0.5, np.float32)
    facts = {"parameters": 7, "source": "colours"}
    variables = models.functional(model)[1]
    names = ("a", "b", "c")
    statistics = data.ChannelStatistics(half, half)
    return networks.Network(architecture, variables, statistics, names, facts)


@pytest.fixture(scope="module")
def target():
    images = np.random.default_rng(0).integers(0, 100, size=(60, 16, 16, 3))
    images[np.arange(60), :, :, LABELS] += 120
    images = images.astype(np.uint8)
    result = zoo.labelled_target("colours", LABELS, digest="", test_labels=LABELS[:9])
    return result._replace(images=images, test_images=images[:9])


def test_each_layer_is_a_source(network, target, tmp_path):
    networks.write_network(tmp_path / "net", network)
    np.savez(tmp_path / "file.npz", features=np.ones((60, 2)))
    result = zoo.sources(str(tmp_path), target, layers=True)
    names = [layer.name for layer in result]
    assert set(names) > {f"net:{name}" for name in NAMES}
    assert names.count("file") == 1
    assert len({source.digest() for source in result}) == len(result)
    by_name = {source.name: source for source in result}
    for name in NAMES:
        facts = by_name[f"net:{name}"].facts
        assert facts == {"source": "colours", "source_classes": ["a", "b", "c"]}
    source = by_name["net:feature_maps.1"]
    batches = networks.outputs(network, target.images, layer="feature_maps.1")
    expected = np.concatenate([features for features, _ in batches])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(source.features(), expected)
    close(source.test_features(), expected[:9])
    assert source.logits is source.network is source.function is None


def test_layers_need_images_and_a_network_that_can_be_read(network, tmp_path):
    networks.write_network(tmp_path / "net", network)
    labels = zoo.labelled_target("labels", LABELS, digest="")
    layer = zoo.sources(str(tmp_path / "net"), labels, layers=True)[0]
    with pytest.raises(zoo.SourceError, match="data set of images"):
        layer.features()
    (tmp_path / "net" / "variables.npz").write_bytes(b"")
    (broken,) = zoo.sources(str(tmp_path / "net"), labels, layers=True)
    assert broken.name == "net"


def test_published_weights_are_a_zoo_and_may_be_declared(tmp_path):
    (source,) = zoo.sources("imagenet:efficientnet_lite0")
    assert (source.name, source.facts) == (
        "imagenet:efficientnet_lite0",
        {"source": "ImageNet"},
    )
    declared = '[[source]]\nname = "lite"\npath = "imagenet:efficientnet_lite0"\n'
    (tmp_path / "zoo.toml").write_text(declared)
    (source,) = zoo.sources(str(tmp_path / "zoo.toml"))
    assert source.name == "lite"
    (unknown,) = zoo.sources("imagenet:nothing")
    with pytest.raises(zoo.SourceError, match="no network imagenet:nothing"):
        unknown.network()
