"""Tests of the reader of files of PyTorch and of pretrained networks."""

import collections
import importlib.util
import io
import os
import pickle
import struct
import sys
import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jtransfer import models, networks
from jtransfer.data import DataError
from jtransfer.networks import pretrained
from jtransfer.networks._torch_files import torch_arrays


def abstract(**arguments):
    model = nnx.eval_shape(
        lambda: models.EfficientNetLite0(rngs=nnx.Rngs(0), **arguments)
    )
    return models.functional(model)


def test_shapes_and_parameters_are_the_published_ones():
    apply_fn, variables = abstract(num_classes=1000)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables.params)) == 4_652_008
    x = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    logits, out = jax.eval_shape(apply_fn, variables, x)
    assert (logits.shape, out["embedding"].shape) == ((2, 1000), (2, 1280))
    sides = (112, 56, 28, 14, 14, 7, 7, 7)
    channels = (16, 24, 40, 80, 112, 192, 320, 1280)
    assert [a.shape[1:] for a in out["feature_maps"]] == [
        (side, side, c) for side, c in zip(sides, channels, strict=True)
    ]


# Kernel, stride, expansion and number of blocks.
STAGES = ((3, 1, 1, 1), (3, 2, 6, 2), (5, 2, 6, 2), (3, 2, 6, 3))
STAGES += ((5, 1, 6, 3), (5, 2, 6, 4), (3, 1, 6, 1))


def reference_logits(state, x):
    """The network of the publication, by the names of PyTorch, float64; x [h, w, c]."""

    def conv(x, name, stride=1):
        kernel = state[f"{name}.weight"]  # [outputs, inputs of a group, k, k]
        k = kernel.shape[2]
        sizes = [-(-side // stride) for side in x.shape[:2]]
        total = [
            max((size - 1) * stride + k - side, 0)
            for size, side in zip(sizes, x.shape[:2], strict=True)
        ]
        x = np.pad(x, [*((t // 2, t - t // 2) for t in total), (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(0, 1))
        windows = windows[::stride, ::stride]  # [h, w, c, k, k]
        if kernel.shape[1] == 1 and x.shape[2] > 1:
            return np.einsum("hwcij,cij->hwc", windows, kernel[:, 0])
        return np.einsum("hwcij,ocij->hwo", windows, kernel)

    def norm(x, name):
        mean, var, scale, bias = (
            state[f"{name}.{leaf}"]
            for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + 1e-3) * scale + bias

    def relu6(x):
        return np.clip(x, 0, 6)

    x = relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    number = 0
    for _, stride, expansion, count in STAGES:
        for i in range(count):
            name, y = f"_blocks.{number}.", x
            if expansion > 1:
                y = relu6(norm(conv(y, f"{name}_expand_conv"), f"{name}_bn0"))
            step = stride if i == 0 else 1
            y = relu6(norm(conv(y, f"{name}_depthwise_conv", step), f"{name}_bn1"))
            y = norm(conv(y, f"{name}_project_conv"), f"{name}_bn2")
            x = x + y if i > 0 else y
            number += 1
    x = relu6(norm(conv(x, "_conv_head"), "_bn1")).mean(axis=(0, 1))
    return state["_fc.weight"] @ x + state["_fc.bias"]


def drawn_state(architecture, seed, names=pretrained.torch_name):
    """Random arrays for a network, by their names there and in PyTorch."""
    rng = np.random.default_rng(seed)
    leaves = jax.tree.leaves(networks.abstract(architecture)[1])
    arrays = {}
    for name, leaf in zip(networks.variable_names(architecture), leaves, strict=True):
        array = rng.normal(size=leaf.shape)
        if name.endswith("kernel"):
            array *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
        if name.endswith(("scale", "var")):
            array = rng.uniform(0.5, 1.5, size=leaf.shape)
        arrays[name] = array.astype(np.float32)
    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
    state = {
        names(name): np.transpose(array, axes[array.ndim])
        for name, array in arrays.items()
    }
    return arrays, state


def test_logits_agree_with_the_published_network():
    """At odd sides too, where padding differs from that at even ones."""
    architecture = networks.Architecture(
        model="efficientnet_lite0", num_classes=5, base_width=4, image_size=33
    )
    arrays, state = drawn_state(architecture, 0)
    variables = networks.variables_in(architecture, arrays, "arrays")
    apply_fn, _ = networks.apply_fn_of(architecture)
    x = np.random.default_rng(1).normal(size=(33, 33, 3)).astype(np.float32)
    logits, _ = jax.jit(apply_fn)(variables, x)
    expected = reference_logits(state, x.astype(np.float64))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


class Storage(NamedTuple):
    """What the pickler of a test makes a storage of."""

    numbers: np.ndarray
    name: type


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *args):
        """Takes the function and its arguments."""
        self.call = function, args

    def __reduce__(self):
        """The function and its arguments, which a pickle would call."""
        return self.call


@pytest.fixture
def torch(monkeypatch):
    """Modules with the names that a file of PyTorch refers to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    utils._rebuild_tensor_v2 = type("_rebuild_tensor_v2", (), {})
    utils._rebuild_tensor_v2.__module__ = "torch._utils"
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {}))
        getattr(torch, name).__module__ = "torch"
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    def tensor(array, *, shape=None, strides=None, start=0):
        """The pickle of a tensor; a transposed array is stored as it lies in memory."""
        array = np.asarray(array)
        base = array if array.base is None else array.base
        kind = torch.FloatStorage if array.dtype == np.float32 else torch.LongStorage
        steps = strides or tuple(step // array.itemsize for step in array.strides)
        return Call(
            utils._rebuild_tensor_v2,
            Storage(base.ravel(), kind),
            start,
            tuple(shape or array.shape),
            steps,
            False,
            collections.OrderedDict(),
        )

    return types.SimpleNamespace(tensor=tensor, **vars(torch))


def written(path, content):
    """Writes a state dict in the old form of `torch.save`."""
    storages, stream = {}, io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            storages[str(id(value))] = value
            size = len(value.numbers)
            return ("storage", value.name, str(id(value)), "cpu", size, None)

    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, content):
        Pickler(stream, protocol=2).dump(part)
    pickle.dump(list(storages), stream, protocol=2)
    for storage in storages.values():
        stream.write(struct.pack("<q", len(storage.numbers)))
        stream.write(storage.numbers.tobytes())
    path.write_bytes(stream.getvalue())
    return path


def test_tensors_are_read_as_they_were(tmp_path, torch):
    rng = np.random.default_rng(0)
    arrays = {
        "plain": rng.normal(size=(2, 3)).astype(np.float32),
        "transposed": rng.normal(size=(4, 3, 2)).astype(np.float32).T,
        "number": np.array(7),
        "empty": np.zeros((0, 3), np.float32),
    }
    state = collections.OrderedDict(
        (name, torch.tensor(array)) for name, array in arrays.items()
    )
    state._metadata = {"version": 1}  # As the state dict of a module has it.
    result = torch_arrays(written(tmp_path / "state.pth", state))
    assert result.keys() == arrays.keys()
    for name, array in arrays.items():
        assert result[name].dtype == array.dtype
        np.testing.assert_array_equal(result[name], array)


def test_tensors_of_one_storage_need_no_more_memory_than_the_file(tmp_path, torch):
    tensor = torch.tensor(np.arange(6, dtype=np.float32))
    result = torch_arrays(written(tmp_path / "s.pth", {"a": tensor, "b": tensor}))
    assert np.shares_memory(result["a"], result["b"])
    assert not result["a"].flags.writeable


def test_what_is_no_tensor_is_refused_and_not_run(tmp_path, torch):
    harm = tmp_path / "harm"
    numbers = np.arange(4, dtype=np.float32)
    bad = [
        {"a": Call(os.mkdir, str(harm))},
        {"a": Call(eval, f"__import__('os').mkdir({str(harm)!r})")},
        {"a": Call(getattr, dict, "fromkeys")},
        {"a": Call(types.SimpleNamespace)},
        {"a": collections.Counter()},
        {"a": 1},
        [torch.tensor(numbers)],
        {"a": torch.tensor(numbers, shape=(5,))},
        {"a": torch.tensor(numbers, start=1)},
        {"a": torch.tensor(numbers, start=-1)},
        {"a": torch.tensor(numbers, strides=(2,))},
        {"a": torch.tensor(numbers, strides=(-1,))},
        {"a": torch.tensor(numbers, shape=(10**6, 10**6), strides=(0, 0))},
        {"a": torch.tensor(numbers, shape=("4",))},
        {1: torch.tensor(numbers)},
    ]
    for content in bad:
        path = written(tmp_path / "bad.pth", content)
        with pytest.raises(DataError, match=r"bad\.pth cannot be read"):
            torch_arrays(path)
        assert not harm.exists()
    for code in (b"cos\nmkdir\n(V%s\ntR.", b"cnt\nmkdir\n(V%s\ntR."):
        path.write_bytes(code % str(harm).encode())
        with pytest.raises(DataError, match="mkdir, not for a tensor"):
            torch_arrays(path)
        assert not harm.exists()


def test_one_storage_cannot_be_of_two_kinds(tmp_path, torch):
    numbers = np.arange(4, dtype=np.float32)
    one, other = torch.tensor(numbers), torch.tensor(numbers)
    storages = one.call[1][0], other.call[1][0]._replace(name=torch.LongStorage)
    path = written(tmp_path / "two.pth", {"a": one, "b": _with(other, storages[1])})
    keys = [str(id(storage)).encode() for storage in storages]
    assert len(keys[0]) == len(keys[1])
    path.write_bytes(path.read_bytes().replace(keys[1], keys[0]))
    with pytest.raises(DataError, match="do not fit its storages"):
        torch_arrays(path)


def _with(tensor, storage):
    function, (_, *others) = tensor.call
    return Call(function, storage, *others)


def test_damaged_files_are_refused(tmp_path, torch):
    state = {"a": torch.tensor(np.arange(9, dtype=np.float32))}
    path = written(tmp_path / "state.pth", state)
    whole = path.read_bytes()
    for part in (b"", whole[:20], whole[:-20], whole[:-1], whole + b"x"):
        path.write_bytes(part)
        with pytest.raises(DataError, match="cannot be read"):
            torch_arrays(path)
    path.write_bytes(b"PK\3\4" + whole)
    with pytest.raises(DataError, match=r"a zip, as PyTorch has them from 1\.6 on"):
        torch_arrays(path)
    with pytest.raises(DataError, match="cannot be read"):
        torch_arrays(tmp_path / "absent.pth")


def test_a_state_dict_becomes_a_network(tmp_path, torch):
    architecture = networks.Architecture(
        model="efficientnet_lite0", num_classes=3, image_size=224
    )
    arrays, state = drawn_state(architecture, 0)
    state = {name: torch.tensor(array.copy()) for name, array in state.items()}
    state["_bn0.num_batches_tracked"] = torch.tensor(np.array(1))
    network = pretrained.efficientnet_lite_of(written(tmp_path / "s.pth", state), 0)
    assert network.architecture == architecture
    names = networks.variable_names(architecture)
    for name, leaf in zip(names, jax.tree.leaves(network.variables), strict=True):
        np.testing.assert_array_equal(leaf, arrays[name])

    wrong = {**state, "_conv_head.weight": state["_conv_stem.weight"]}
    with pytest.raises(DataError, match=r"head/conv/kernel .* float32\[3, 3, 3, 32\]"):
        pretrained.efficientnet_lite_of(written(tmp_path / "w.pth", wrong), 0)
    more = {**state, "_fc2.bias": state["_fc.bias"]}
    with pytest.raises(DataError, match="_fc2"):
        pretrained.efficientnet_lite_of(written(tmp_path / "m.pth", more), 0)
    state.pop("_blocks.3._bn1.bias")
    with pytest.raises(DataError, match=r"holds no _blocks\.3\._bn1\.bias"):
        pretrained.efficientnet_lite_of(written(tmp_path / "l.pth", state), 0)
    for bias in ({}, {"_fc.bias": torch.tensor(np.array(7))}):
        path = written(tmp_path / "other.pth", bias)
        with pytest.raises(DataError, match=r"other\.pth"):
            pretrained.efficientnet_lite_of(path, 0)


def test_names(monkeypatch, tmp_path):
    with pytest.raises(DataError, match="there is imagenet:efficientnet_lite0"):
        pretrained.network("imagenet:resnet999")
    with pytest.raises(DataError, match="does not exist"):
        pretrained.network(str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"jtransfer\[imagenet\]"):
        pretrained.network(pretrained.IMAGENET[0])


def test_the_published_weights_give_the_logits_that_pytorch_gives():
    """Logits by efficientnet-lite-pytorch 0.1.0 on PyTorch 2.13, in float64."""
    try:
        network = pretrained.network(pretrained.IMAGENET[0])
    except DataError as error:
        pytest.skip(str(error))
    i = np.arange(64)
    waves = ((1, 2, 0), (3, 1, 1), (2, 5, 2))
    image = np.stack(
        [
            np.sin((a * i[:, None] + b * i[None]) * 2 * np.pi / 64 + c)
            for a, b, c in waves
        ],
        axis=-1,
    )
    image = (127.5 + 127.5 * image).round().astype(np.uint8)
    apply_fn, _ = networks.apply_fn_of(network.architecture)
    x = (image / 255 - network.statistics.mean) / network.statistics.std
    logits, _ = jax.jit(apply_fn)(network.variables, x.astype(np.float32))
    expected = [-5.6698, 3.84155, 1.08321, -4.45785, -2.64824, -2.91673]
    np.testing.assert_allclose(logits[:6], expected, atol=2e-4)
    assert int(logits.argmax()) == 616
    np.testing.assert_allclose(logits[616], 26.88397, atol=2e-4)


def reference_resnet_logits(state, image):
    """Torchvision's ResNet-50 by its own names, one image `[h, w, 3]`, float64."""

    def conv(x, name, stride=1):
        weight = state[f"{name}.weight"].astype(np.float64)
        size = weight.shape[2]
        x = np.pad(x, [(size // 2, size // 2)] * 2 + [(0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (0, 1))
        return np.einsum("ijckl,ockl->ijo", windows[::stride, ::stride], weight)

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scaled = (x - mean) / np.sqrt(var.astype(np.float64) + 1e-5)
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    x = np.maximum(norm(conv(image, "conv1", 2), "bn1"), 0)
    x = np.pad(x, [(1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))
    x = windows[::2, ::2].max(axis=(3, 4))
    for i, count in enumerate((3, 4, 6, 3), 1):
        for j in range(count):
            name, stride = f"layer{i}.{j}", 2 if i > 1 and j == 0 else 1
            y = np.maximum(norm(conv(x, f"{name}.conv1"), f"{name}.bn1"), 0)
            y = np.maximum(norm(conv(y, f"{name}.conv2", stride), f"{name}.bn2"), 0)
            y = norm(conv(y, f"{name}.conv3"), f"{name}.bn3")
            if j == 0:
                shorter = conv(x, f"{name}.downsample.0", stride)
                x = norm(shorter, f"{name}.downsample.1")
            x = np.maximum(x + y, 0)
    return state["fc.weight"] @ x.mean(axis=(0, 1)) + state["fc.bias"]


def test_a_resnet_of_torchvision(tmp_path):
    architecture = networks.Architecture(
        model="resnet50-imagenet", num_classes=5, image_size=224, base_width=2
    )
    _, state = drawn_state(architecture, 0, names=pretrained.resnet_name)
    path = tmp_path / "resnet50.npz"
    np.savez(path, **state, **{"bn1.num_batches_tracked": np.array(3)})
    network = pretrained.resnet_of(path)
    assert network.architecture == architecture
    assert network.statistics.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
    apply_fn, _ = networks.apply_fn_of(architecture)
    x = np.random.default_rng(1).normal(size=(45, 45, 3)).astype(np.float32)
    logits, _ = jax.jit(apply_fn)(network.variables, x)
    expected = reference_resnet_logits(state, x.astype(np.float64))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)

    np.savez(path, **state, other=np.zeros(2))
    with pytest.raises(DataError, match="more than a ResNet-50: other"):
        pretrained.resnet_of(path)
    np.savez(path, **{k: v for k, v in state.items() if k != "layer4.2.bn3.bias"})
    with pytest.raises(DataError, match=r"layer4\.2\.bn3\.bias"):
        pretrained.resnet_of(path)
