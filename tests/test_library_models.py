"""Tests of the loaders of timm, transformers, PyTorch and ONNX, where installed.

Models are random and made here; weights that would come from a network are not asked
for, and the processes are offline.
"""

import functools
import hashlib
import http.server
import itertools
import json
import pickle
import textwrap
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

from jtransfer import zoo
from jtransfer._internal.errors import RequestError, SourceError
from jtransfer.commands.ls import ls_command
from jtransfer.zoo import specs
from jtransfer.zoo.extraction import features
from jtransfer.zoo.loaders import torchvision

WHY = "pip install 'jtransfer[timm,hf,onnx]'"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("TORCH_HOME", "HF_HOME"):  # What a user has there is not looked at.
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def images(n=20, side=32):
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(n, side, side, 3)).astype(np.uint8)


def extracted(folder, spec, x):
    settings = features.Extraction(cache=folder / "cache")
    path = features.extracted(specs.model_spec(spec), x, settings).folder
    (part,) = path.glob("part-*.npz")
    return dict(np.load(part))


def reason(folder, spec, x=None):
    with pytest.raises(SourceError) as error:
        extracted(folder, spec, images() if x is None else x)
    return str(error.value)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason=WHY)


@pytest.fixture
def network(folder, torch):
    """A small network of PyTorch in a module, and the same here."""
    (folder / "own_torch.py").write_text(
        textwrap.dedent(
            """
            from torch import nn

            def net(num_classes=5):
                return nn.Sequential(
                    nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(),
                    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes),
                )
            """
        )
    )
    torch.manual_seed(7)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    ).eval()


def test_torch_networks_with_weights(folder, torch, network):
    pytest.importorskip("safetensors", reason=WHY)
    from safetensors.torch import save_file

    save_file(network.state_dict(), folder / "w.safetensors")
    torch.save(network.state_dict(), folder / "w.pt")
    x = images()
    with torch.no_grad():
        pixels = (x.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
        hidden = network[:5](torch.tensor(pixels, dtype=torch.float32)).numpy()
        maps = network[:3](torch.tensor(pixels, dtype=torch.float32)).numpy()
    for name in ("w.safetensors", "w.pt"):
        spec = f"torch:own_torch:net?weights={name}&mean=.5&std=.25"
        held = extracted(folder, spec, x)
        np.testing.assert_allclose(held["features"], hidden, rtol=1e-4, atol=1e-5)
        weight = network[5].weight.detach().numpy()
        np.testing.assert_allclose(held["classifier"], weight.T)
        bias = held["logits"] - held["features"] @ held["classifier"]
        np.testing.assert_allclose(bias, bias[:1].repeat(20, 0), atol=1e-5)
    layer = extracted(folder, f"{spec}&layer=2", x)
    np.testing.assert_allclose(layer["features"], maps.mean(axis=(2, 3)), 1e-4, 1e-5)
    assert "logits" not in layer
    resized = extracted(folder, f"{spec}&size=16&interpolation=bicubic", x)
    assert resized["features"].shape == (20, 6)


def test_weights_that_do_not_fit_or_are_not_trusted(folder, torch, network):
    base = "torch:own_torch:net?weights="
    state = network.state_dict()
    torch.save(state, folder / "w.pt")
    assert "5.weight is [5, 6] in w.pt, [9, 6] in the model" in reason(
        folder, f"{base}w.pt&num_classes=9"
    )
    assert "no file of weights" in reason(folder, f"{base}absent.pt")
    torch.save({k: v for k, v in state.items() if k != "0.bias"}, folder / "less.pt")
    assert "less.pt lacks 0.bias" in reason(folder, f"{base}less.pt")
    torch.save(network, folder / "module.pt")
    assert "holds objects, not only tensors" in reason(folder, f"{base}module.pt")
    (folder / "cut.pt").write_bytes((folder / "w.pt").read_bytes()[:500])
    assert "damaged" in reason(folder, f"{base}cut.pt")

    class Payload:
        def __reduce__(self):
            return (Path.touch, (folder / "ran",))

    (folder / "evil.pt").write_bytes(pickle.dumps(Payload(), protocol=2))
    torch.save({"w": Payload()}, folder / "evil2.pt")
    for name in ("evil.pt", "evil2.pt"):
        assert "holds objects" in reason(folder, f"{base}{name}")
    assert not (folder / "ran").exists()
    assert "no layer 'x'" in reason(folder, "torch:own_torch:net?layer=x")


def test_weights_are_fetched_whole_and_as_named_or_not_at_all(folder, torch):
    pytest.importorskip("torchvision", reason=WHY)
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()[:8]
    (folder / "served").mkdir()
    for name in (f"net-{digest}.pth", "net-00000000.pth"):
        (folder / "served" / name).write_bytes(content)
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=folder / "served"
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        place = folder / "new" / "checkpoints" / f"net-{digest}.pth"
        torchvision.fetch_weights(f"{url}/{place.name}", place)
        assert place.read_bytes() == content
        for name in ("net-00000000.pth", "absent-00000000.pth"):
            other = place.with_name(name)
            with pytest.raises(SourceError, match=f"{name} cannot be fetched"):
                torchvision.fetch_weights(f"{url}/{name}", other)
        server.shutdown()
    assert list(place.parent.iterdir()) == [place]


def test_torchvision(folder, torch):
    torchvision = pytest.importorskip("torchvision", reason=WHY)
    torch.manual_seed(0)
    model = torchvision.models.get_model("mobilenet_v3_small", weights=None).eval()
    torch.save(model.state_dict(), folder / "w.pt")
    x = images(8, side=64)
    held = extracted(folder, "torchvision:mobilenet_v3_small?weights=w.pt", x)
    weights = torchvision.models.get_model_weights("mobilenet_v3_small").DEFAULT
    transform = weights.transforms()
    from PIL import Image

    batch = torch.stack([transform(Image.fromarray(image)) for image in x])
    with torch.no_grad():
        expected = model.classifier[:-1](
            model.avgpool(model.features(batch)).flatten(1)
        )
    np.testing.assert_allclose(held["features"], expected.numpy(), 1e-3, 1e-4)
    assert "nearest: resnet" in reason(folder, "torchvision:resnet19", x)
    assert "would fetch" in reason(folder, "torchvision:mobilenet_v3_small", x)


def test_timm(folder, torch):
    timm = pytest.importorskip("timm", reason=WHY)
    from safetensors.torch import save_file

    torch.manual_seed(3)
    model = timm.create_model("test_vit", pretrained=False).eval()
    save_file(model.state_dict(), folder / "w.safetensors")
    x = images(side=160)
    held = extracted(folder, "timm:test_vit?weights=w.safetensors", x)
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    from PIL import Image

    batch = torch.stack([transform(Image.fromarray(image)) for image in x])
    with torch.no_grad():
        maps = model.forward_features(batch)
        expected = model.forward_head(maps, pre_logits=True).numpy()
        logits = model.forward_head(maps).numpy()
    np.testing.assert_allclose(held["features"], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(held["logits"], logits, rtol=1e-3, atol=1e-4)
    assert held["classifier"].shape == (expected.shape[1], logits.shape[1])
    assert "timm has no resnet19; nearest: resnet" in reason(folder, "timm:resnet19")
    absent = reason(folder, "timm:resnet18")
    assert "not on this machine; a download would fetch timm/resnet18" in absent
    assert ", 47 MB" in absent
    assert "licence: apache-2.0" in absent
    content = (folder / "w.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(content[:2000])
    cut = reason(folder, "timm:test_vit?weights=cut.safetensors")
    assert "cut.safetensors is damaged" in cut


def test_hugging_face(folder, torch):
    pytest.importorskip("transformers", reason=WHY)
    model, processor = small_vit(folder, torch)
    x = images()
    given = processor(images=list(x), return_tensors="pt")
    with torch.no_grad():
        result = model(**given, output_hidden_states=True)
        last = model.base_model(**given).last_hidden_state.numpy()
    held = extracted(folder, "hf:vit", x)
    np.testing.assert_allclose(held["features"], last.mean(axis=1), 1e-3, 1e-4)
    np.testing.assert_allclose(held["logits"], result.logits.numpy(), 1e-3, 1e-4)
    of_class = extracted(folder, "hf:vit?pool=cls&layer=1", x)["features"]
    expected = result.hidden_states[1][:, 0].numpy()
    np.testing.assert_allclose(of_class, expected, 1e-3, 1e-4)
    assert "pool is one of mean, cls" in reason(folder, "hf:vit?pool=max")
    assert "no folder" in reason(folder, "hf:./absent")
    assert "is not on this machine" in reason(folder, "hf:some-one/some-model@main")
    text = (folder / "vit" / "config.json").read_text()
    (folder / "vit" / "config.json").write_text(
        text.replace("{", '{"auto_map": {"AutoModel": "evil.Model"},', 1)
    )
    assert "needs its own code" in reason(folder, "hf:vit")
    (folder / "vit" / "config.json").write_text(text)
    weights = folder / "vit" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:3000])
    assert "damaged" in reason(folder, "hf:vit")


@pytest.fixture
def bert(folder, torch):
    """A folder of a small random model of texts, its tokenizer and itself."""
    transformers = pytest.importorskip("transformers", reason=WHY)
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"]
    letters += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(letters))
    tokenizer = transformers.BertTokenizerFast(
        vocab={word: i for i, word in enumerate(letters)}, model_max_length=24
    )
    config = transformers.BertConfig(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        num_labels=3,
    )
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config).eval()
    model.save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    return tokenizer, model


def test_hugging_face_models_of_texts(folder, torch, bert):
    tokenizer, model = bert
    texts = ["good", "a much longer text than others, cut at its end", "bad one"] * 4
    batch = tokenizer(
        texts, padding=True, truncation=True, max_length=24, return_tensors="pt"
    )
    with torch.no_grad():
        result = model(**batch, output_hidden_states=True)
    states, mask = result.hidden_states[-1].numpy(), batch["attention_mask"].numpy()
    mean = (states * mask[..., None]).sum(axis=1) / mask.sum(axis=1)[:, None]
    held = extracted(folder, "hf:bert", texts)
    np.testing.assert_allclose(held["features"], mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(held["logits"], result.logits.numpy(), 1e-3, 1e-4)
    first = extracted(folder, "hf:bert?pool=cls&layer=1", texts)["features"]
    expected = result.hidden_states[1][:, 0].numpy()
    np.testing.assert_allclose(first, expected, rtol=1e-3, atol=1e-4)
    last = extracted(folder, "hf:bert?pool=last", texts)["features"]
    expected = states[np.arange(12), mask.sum(axis=1) - 1]
    np.testing.assert_allclose(last, expected, rtol=1e-3, atol=1e-4)
    pairs = extracted(folder, "hf:bert", list(map(list, itertools.pairwise(texts))))
    assert pairs["features"].shape == (11, 16)
    (folder / "bert" / "1_Pooling").mkdir()
    (folder / "bert" / "modules.json").write_text("[]")
    (folder / "bert" / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": true}'
    )
    declared = extracted(folder, "hf:bert", texts)["features"]
    np.testing.assert_allclose(declared, states[:, 0], rtol=1e-3, atol=1e-4)
    assert "pool is one of mean, cls, last" in reason(folder, "hf:bert?pool=x", texts)


def test_onnx(folder):
    onnx = pytest.importorskip("onnx", reason=WHY)
    pytest.importorskip("onnxruntime", reason=WHY)
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(12, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("Relu", ["flat"], ["hidden"]),
            helper.make_node("Gemm", ["hidden", "w"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", floats, ["n", 3, 2, 2])],
        [helper.make_tensor_value_info("y", floats, ["n", 3])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.save(model, folder / "net.onnx")
    x = images(side=2)
    held = extracted(folder, "onnx:net.onnx?mean=.5&std=.25", x)
    pixels = (np.float32(x) / 255 - 0.5) / 0.25
    hidden = np.maximum(pixels.transpose(0, 3, 1, 2).reshape(20, -1), 0)
    np.testing.assert_allclose(held["features"], hidden, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(held["logits"], hidden @ weights, rtol=1e-4, atol=1e-4)
    swapped = extracted(folder, "onnx:net.onnx?mean=.5&std=.25&order=bgr", x)
    turned = pixels[..., ::-1].transpose(0, 3, 1, 2).reshape(20, -1)
    np.testing.assert_allclose(swapped["features"], np.maximum(turned, 0), 1e-4, 1e-5)
    large = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
    spec = "onnx:net.onnx?mean=.5&std=.25&size=2&interpolation=nearest"
    smaller = extracted(folder, spec, large)
    np.testing.assert_allclose(smaller["features"], hidden, rtol=1e-4, atol=1e-5)
    flat = extracted(folder, "onnx:net.onnx?mean=.5&std=.25&layer=flat", x)
    assert flat["features"].min() < 0
    assert "no value 'z'" in reason(folder, "onnx:net.onnx?layer=z", x)
    assert "no file" in reason(folder, "onnx:absent.onnx", x)
    (folder / "cut.onnx").write_bytes((folder / "net.onnx").read_bytes()[:90])
    assert "cut.onnx is" in reason(folder, "onnx:cut.onnx", x)
    onnx.save_model(
        model,
        folder / "outside.onnx",
        save_as_external_data=True,
        location="elsewhere.bin",
        size_threshold=0,
    )
    assert "weights in other files" in reason(folder, "onnx:outside.onnx", x)
    # As constants, and with a path to any file of this machine.
    constant = onnx.numpy_helper.from_array(weights)
    graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=constant))
    del graph.initializer[:]
    inner = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.save(inner, folder / "constant.onnx")
    held = extracted(folder, "onnx:constant.onnx?mean=.5&std=.25", x)
    np.testing.assert_allclose(held["logits"], hidden @ weights, rtol=1e-4, atol=1e-4)
    records = (folder / "cache" / "features").glob("*/complete.json")
    facts = [json.loads(record.read_text())["facts"] for record in records]
    assert {fact["parameters"] for fact in facts} == {36}
    tensor = inner.graph.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    (folder / "evil.onnx").write_bytes(inner.SerializeToString())
    assert "weights in other files" in reason(folder, "onnx:evil.onnx", x)


def target_of(x):
    labels = np.arange(len(x)) % 2
    return zoo.labelled_target("t", labels, digest="")._replace(images=x)


def function_of(folder, spec, x):
    settings = features.Extraction(cache=folder / "cache", progress=False)
    return zoo.named_source(spec, target_of(x), extraction=settings).function()


def test_gradients_are_those_of_torch(folder, torch, network):
    torch.save(network.state_dict(), folder / "w.pt")
    x = images(4, side=12)
    function = function_of(
        folder, "torch:own_torch:net?weights=w.pt&mean=.5&std=.25", x
    )
    pixels = x.astype(np.float32) / 255

    def own(image):
        return network(((image.permute(2, 0, 1) - 0.5) / 0.25)[None])[0]

    for parameter in network.parameters():
        parameter.requires_grad_(requires_grad=False)
    expected = torch.func.vmap(torch.func.jacrev(own))(torch.tensor(pixels)).numpy()
    jacobian = jax.jit(jax.vmap(jax.jacrev(function)))(pixels)
    np.testing.assert_allclose(jacobian, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "side"),
    [
        ("timm:test_vit?weights=none", 40),
        ("timm:test_efficientnet?weights=none", 200),
        ("torchvision:mobilenet_v3_small?weights=none", 40),
        ("hf:vit", 24),
    ],
)
def test_smooth_preprocessing_is_the_models_own(folder, torch, spec, side):
    library = {"hf": "transformers"}.get(spec.partition(":")[0], spec.partition(":")[0])
    pytest.importorskip(library, reason=WHY)
    if library == "transformers":
        small_vit(folder, torch)
    rng = np.random.default_rng(0)
    small = rng.integers(256, size=(4, 6, 6, 3)).astype(np.uint8)
    from PIL import Image

    x = np.stack([np.asarray(Image.fromarray(s).resize((side, side))) for s in small])
    function = function_of(folder, spec, x)
    logits = jax.vmap(function)(x.astype(np.float32) / 255)
    own = extracted(folder, spec, x)["logits"]
    assert np.linalg.norm(logits - own) < 0.03 * np.linalg.norm(own)
    slope = jax.grad(lambda x: function(x)[0])(x[0].astype(np.float32) / 255)
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def small_vit(folder, torch):
    """Saves a small random classifier; returns it and its processor."""
    import transformers

    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        num_labels=4,
    )
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(folder / "vit")
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder / "vit")
    return model, processor


def layers_of(folder, spec, target):
    settings = features.Extraction(cache=folder / "cache", progress=False)
    kept = zoo.sources(spec, target, layers=True, extraction=settings)
    return {s.name.rpartition(":")[2]: np.concatenate(list(s.features())) for s in kept}


def test_all_layers_in_one_pass(folder, torch, network):
    torch.save(network.state_dict(), folder / "w.pt")
    x, spec = images(12), "torch:own_torch:net?weights=w.pt"
    held = layers_of(folder, spec, target_of(x))
    assert list(held) == ["0", "1", "embedding", "5"]
    for name in ("0", "1"):
        alone = extracted(folder, f"{spec}&layer={name}", x)["features"]
        np.testing.assert_allclose(held[name], alone, rtol=1e-5, atol=1e-6)
    whole = extracted(folder, spec, x)
    np.testing.assert_allclose(held["embedding"], whole["features"], rtol=1e-5)
    np.testing.assert_allclose(held["5"], whole["logits"], rtol=1e-5)


def test_layers_of_maps_with_channels_last(folder, torch):
    pytest.importorskip("torchvision", reason=WHY)
    from jtransfer.zoo.loaders import _torch

    maps = torch.randn(2, 7, 7, 3)
    np.testing.assert_allclose(_torch.pooled(maps), maps.mean(dim=(1, 2)), 1e-5, 1e-6)
    maps = torch.randn(2, 3, 7, 7)
    np.testing.assert_allclose(_torch.pooled(maps), maps.mean(dim=(2, 3)), 1e-5, 1e-6)


def test_all_layers_of_texts(folder, torch, bert):
    texts = ["good", "a much longer text than others, cut at its end", "bad one"] * 4
    target = target_of(np.zeros((12, 1)))._replace(images=None, texts=tuple(texts))
    held = layers_of(folder, "hf:bert", target)
    assert list(held) == ["0", "1", "2"]
    for name in held:
        alone = extracted(folder, f"hf:bert?layer={name}", texts)["features"]
        np.testing.assert_allclose(held[name], alone, rtol=1e-4, atol=1e-5)


def test_texts_are_taken_by_their_length(folder, torch, bert):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdef"), 3)) for _ in range(30)]
    texts = [" ".join(rng.permutation(words)[: 1 + i * 7 % 30]) for i in range(40)]
    settings = features.Extraction(cache=folder / "cache", progress=False)
    spec = specs.model_spec("hf:bert")
    kept = features.extracted(spec, texts, settings)
    share = kept.record["facts"]["share_cut"]
    assert 0.5 < share < 0.9  # Of up to 30 words of 3 tokens, at most 24 tokens.
    held = extracted(folder, "hf:bert", texts)["features"]
    for i in (0, 7, 21, 39):
        alone = extracted(folder, "hf:bert", texts[i : i + 2])["features"][0]
        np.testing.assert_allclose(held[i], alone, rtol=1e-4, atol=1e-5)


def test_patterns_stand_for_what_is_here(folder, torch, capsys):
    pytest.importorskip("torchvision", reason=WHY)
    pytest.importorskip("timm", reason=WHY)
    import torchvision

    place = folder / "TORCH_HOME" / "hub" / "checkpoints"
    place.mkdir(parents=True)
    weights = torchvision.models.get_model_weights("mobilenet_v3_small").DEFAULT
    (place / Path(weights.url).name).write_bytes(b"")
    (one,) = zoo.sources("torchvision:mobilenet_v3_*")
    assert one.facts["spec"] == "torchvision:mobilenet_v3_small"
    with pytest.raises(RequestError, match="no such model are on this.*; 1 others"):
        zoo.sources("timm:test_vit.*")
    with pytest.raises(RequestError, match="models match, more than 200"):
        zoo.sources("timm:*")
    assert ls_command("torchvision:mobilenet_v3_*") == 0
    printed = capsys.readouterr().out
    assert "2 models match; 1 are on this machine" in printed
    with pytest.raises(RequestError, match="none of timm:PATTERN"):
        ls_command("py:a:b")


def test_patterns_of_files(folder):
    for name in ("one", "two"):
        (folder / "models" / name).mkdir(parents=True)
        (folder / "models" / name / "config.json").write_text("{}")
        (folder / f"{name}.onnx").write_bytes(b"")
    for package, pattern in (("transformers", "hf:models/*"), ("onnx", "onnx:*.onnx")):
        pytest.importorskip(package, reason=WHY)
        kept = zoo.sources(pattern)
        assert [Path(source.name).stem for source in kept] == ["one", "two"]
    with pytest.raises(RequestError, match="no file matches"):
        zoo.sources("onnx:a*.onnx")
    with pytest.raises(RequestError, match="several models cannot have one name"):
        zoo.sources("onnx:*.onnx?name=x")
    with pytest.raises(RequestError, match=r"\* is for models of"):
        zoo.sources("py:a:b*")


def test_devices(folder, torch, network):
    torch.save(network.state_dict(), folder / "w.pt")
    x, spec = images(), "torch:own_torch:net?weights=w.pt"
    named = extracted(folder, f"{spec}&device=cpu", x)
    np.testing.assert_array_equal(
        named["features"], extracted(folder, spec, x)["features"]
    )
    absent = reason(folder, f"{spec}&device=nonsense", x)
    assert "There is no device 'nonsense' here" in absent
