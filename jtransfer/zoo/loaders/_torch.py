"""What loaders of PyTorch models share: weights, hooks, pooling."""

import contextlib
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jtransfer._internal.errors import SourceError, one_line
from jtransfer.zoo.loaders.images import normalizing
from jtransfer.zoo.loaders.types import EMBEDDING, LoadedModel
from jtransfer.zoo.specs import unsafe_torch

if TYPE_CHECKING:
    import torch


def state_dict(path: Path) -> "dict[str, torch.Tensor]":
    """Reads weights that hold nothing but tensors.

    Raises:
      SourceError: if the file is absent or damaged, or holds other objects.
    """
    import torch

    if not path.is_file():
        raise SourceError(f"There is no file of weights {path}.")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise SourceError(
                f"{path.name} is damaged (cut short?), fetch it again: {_short(error)}"
            ) from error
    if (fault := unsafe_torch(torch.__version__)) is not None:
        raise SourceError(f"{path.name} is a pickle, and {fault}")
    try:
        mapped = zipfile.is_zipfile(path)  # Older files cannot be.
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise SourceError(
            f"{path.name} holds objects, not only tensors; save model.state_dict() or "
            "safetensors."
        ) from error
    except (OSError, RuntimeError, EOFError) as error:
        raise SourceError(
            f"{path.name} is damaged (cut short?), fetch it again: {_short(error)}"
        ) from error
    held = held.get("state_dict", held) if isinstance(held, dict) else held
    if not isinstance(held, dict) or not all(map(torch.is_tensor, held.values())):
        raise SourceError(f"{path.name} holds no state dict; save model.state_dict().")
    return held


def load_weights(
    model: "torch.nn.Module", path: Path, *, match: str | None = None
) -> None:
    """Puts weights of a file into a model.

    Args:
      model: is changed.
      path: the file.
      match: "order" takes them by order and shape, whatever their names.

    Raises:
      SourceError: if they do not fit; the line names the first that does not.
    """
    own, held = model.state_dict(), state_dict(path)
    if match == "order":
        if [tuple(t.shape) for t in own.values()] != [
            tuple(t.shape) for t in held.values()
        ]:
            raise SourceError(
                f"{path.name} has other shapes, or another order of them."
            )
        held = dict(zip(own, held.values(), strict=True))
    elif match is not None:
        raise SourceError(f"match is 'order' or left out, got {match!r}.")
    for name, tensor in own.items():
        if name in held and held[name].shape != tensor.shape:
            raise SourceError(
                f"{name} is {list(held[name].shape)} in {path.name}, "
                f"{list(tensor.shape)} in the model; num_classes is the first number "
                "of the classifier's."
            )
    absent, surplus = sorted(own.keys() - held.keys()), sorted(held.keys() - own.keys())
    if absent or surplus:
        what = f"lacks {absent[0]}" if absent else f"has {surplus[0]}, the model not"
        raise SourceError(
            f"{path.name} {what}; are these weights of this architecture?"
        )
    model.load_state_dict(held)


def torch_device(name: str | None) -> "torch.device":
    """Returns the device of an option, the processors by default.

    Raises:
      SourceError: if there is no such device here.
    """
    import torch

    try:
        device = torch.device(name or "cpu")
        torch.zeros(1, device=device)
    except Exception as error:  # Of many kinds.
        raise SourceError(
            f"There is no device {name!r} here: {_short(error)}"
        ) from error
    return device


def hooked_model(
    model: "torch.nn.Module",
    batch_of: "Callable[[np.ndarray], torch.Tensor]",
    *,
    layer: str | None,
    device: str | None = None,
    **others: Any,
) -> LoadedModel:
    """Returns a network whose features are what its last linear layer takes.

    Args:
      model: from a batch to logits.
      batch_of: from images `[b, h, w, c]` to what the model takes.
      layer: a name of `named_modules()` whose output is taken instead.
      device: where it runs; on the processors if None.
      **others: fields of `LoadedModel`.

    Raises:
      SourceError: if there is no such layer, or no linear one.
    """
    import torch

    place = torch_device(device)
    model = model.eval().to(place)
    modules = dict(model.named_modules())
    linear = [m for m in modules.values() if isinstance(m, torch.nn.Linear)]
    if layer is not None and layer not in modules:
        raise SourceError(f"There is no layer {layer!r}; it has {_some(modules)}.")
    if layer is None and not linear:
        raise SourceError("It has no linear layer; name one of its layers.")

    def outputs(images: np.ndarray):
        names = () if layer is None else (layer,)
        last = linear[-1] if layer is None else None
        features, logits = caught(model, batch_of(images).to(place), names, last)
        return next(iter(features.values())), logits if layer is None else None

    def layers(images: np.ndarray):
        batch = batch_of(images).to(place)
        return caught(model, batch, block_names(model), linear[-1])

    def head():
        return linear[-1].weight.detach().cpu().numpy().T if layer is None else None

    return LoadedModel(
        outputs=outputs, head=head, layers=layers if linear else None, **others
    )


def caught(
    model: "torch.nn.Module",
    batch: "torch.Tensor",
    names: Sequence[str],
    last: "torch.nn.Module | None",
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Returns pooled outputs of modules, what a last one takes, and the logits.

    Args:
      model: the network.
      batch: what it takes.
      names: of the modules.
      last: a module whose input is `EMBEDDING`, or None.

    Raises:
      SourceError: if none of them takes part.
    """
    import torch

    modules, held = dict(model.named_modules()), {}

    def keep(name, value):
        value = value[0] if isinstance(value, tuple) and value else value
        if torch.is_tensor(value) and value.is_floating_point():
            held[name] = value

    # The module may be the user's: nothing is left hanging on it.
    with contextlib.ExitStack() as hooks:
        for name in names:
            hooks.enter_context(
                modules[name].register_forward_hook(
                    lambda *given, name=name: keep(name, given[2])
                )
            )
        if last is not None:
            hooks.enter_context(
                last.register_forward_pre_hook(
                    lambda _, given: keep(EMBEDDING, given[0])
                )
            )
        with torch.inference_mode():
            logits = logits_of(model(batch))
    if not held:
        raise SourceError("The layer takes no part in what the model computes.")
    few = len(names) + (last is not None) == 1  # Then a wrong shape is the reason.
    kept = {k: pooled(v) for k, v in held.items() if few or v.ndim in (2, 3, 4)}
    if logits is None or logits.ndim != 2:
        return kept, None
    return kept, logits.cpu().numpy()


def logits_of(result):
    """Returns the logits in what a network of any library returns."""
    result = result[0] if isinstance(result, tuple) else result
    return getattr(result, "logits", result)


def block_names(model: "torch.nn.Module") -> list[str]:
    """Returns the names of a network's parts that have weights, in their order.

    Parts of sequences and lists are looked into, and so is a part that is the only one.
    """
    import torch

    containers = (torch.nn.Sequential, torch.nn.ModuleList)

    def names(module, prefix: str) -> list[str]:
        children = list(module.named_children())
        kept = []
        for name, child in children:
            has_parts = next(child.children(), None) is not None
            if has_parts and (isinstance(child, containers) or len(children) == 1):
                kept += names(child, f"{prefix}{name}.")
            elif next(child.parameters(), None) is not None:
                kept.append(f"{prefix}{name}")
        return kept

    return names(model, "")


def pooled(activations) -> np.ndarray:
    """Averages maps over space and `[b, t, c]` over tokens: `[b, d]`.

    Maps are `[b, c, h, w]`; `[b, h, w, c]` where the first two axes are equal and the
    last differs, as of square images.

    Raises:
      SourceError: if that is no batch of vectors, tokens or maps.
    """
    if isinstance(activations, tuple):
        activations = activations[0]
    array = activations.float().cpu().numpy()
    if array.ndim == 4:
        _, first, second, third = array.shape
        return array.mean(axis=(1, 2) if first == second != third else (2, 3))
    if array.ndim == 3:
        return array.mean(axis=1)
    if array.ndim != 2:
        raise SourceError(f"The layer gives {list(array.shape)}, no features [n, d].")
    return array


def num_weights(model: "torch.nn.Module") -> int:
    """Returns the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def normalized_batches(options: Mapping[str, str]):
    """Returns a function from images to a batch `[b, c, h, w]`, and its settings.

    Args:
      options: those of `images.normalizing`.
    """
    import torch

    normalized, settings = normalizing(options)

    def batch(images: np.ndarray) -> "torch.Tensor":
        x = normalized(images).transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(x))

    return batch, settings


def _short(error: Exception) -> str:
    return one_line(error)[:200]


def _some(names) -> str:
    kept = [name for name in names if name]
    return ", ".join(kept[:12]) + (
        f" and {len(kept) - 12} more" if len(kept) > 12 else ""
    )
