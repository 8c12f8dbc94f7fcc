"""`py:` and `torch:`: the user's own functions and networks of PyTorch."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import SourceError, one_line
from jtransfer.zoo.loaders import _torch
from jtransfer.zoo.loaders._torch_gradients import option_preprocessing, pixel_function
from jtransfer.zoo.loaders.types import Fetching, LoadedModel
from jtransfer.zoo.specs import ModelSpec


def python_function(spec: ModelSpec, *, fetching: Fetching) -> LoadedModel:
    """Loads `py:package.module:function`, which does all by itself.

    Args:
      spec: the function takes uint8 images `[b, h, w, c]` and returns features
        `[b, d]`, or these and logits `[b, Z]`; `version` names what it depends on.
      fetching: means nothing here.

    Raises:
      SourceError: if there is no such function.
    """
    function, module = user_object(spec)
    return function_network(function)._replace(
        module=module, resolved={"version": dict(spec.options).get("version")}
    )


def function_network(function: Callable) -> LoadedModel:
    """Returns a function from images to features, or to these and logits."""

    def outputs(images: np.ndarray):
        result = function(images)
        features, logits = result if isinstance(result, tuple) else (result, None)
        return np.asarray(features), None if logits is None else np.asarray(logits)

    return LoadedModel(outputs=outputs, facts={}, packages=("numpy",))


def torch_model(spec: ModelSpec, *, fetching: Fetching) -> LoadedModel:
    """Loads `torch:package.module:factory`, a network of PyTorch.

    Args:
      spec: the factory takes nothing, or `num_classes`; `weights` a file, `size`,
        `mean`, `std`, `interpolation` of the images; `layer`.
      fetching: means nothing here.

    Raises:
      SourceError: if there is no such factory, or the weights do not fit.
    """
    import torch

    factory, module = user_object(spec)
    options = dict(spec.options)
    torch.manual_seed(0)
    classes = options.get("num_classes")
    model = factory(**({"num_classes": int(classes)} if classes else {}))
    if not isinstance(model, torch.nn.Module):
        raise SourceError(f"{spec.model} returns {type(model).__name__}, no network.")
    weights = options.get("weights", "none")
    files = () if weights == "none" else (Path(weights),)
    for file in files:
        _torch.load_weights(model, file)
    batch, settings = _torch.normalized_batches(options)
    layer = options.get("layer")
    return _torch.hooked_model(
        model,
        batch,
        layer=layer,
        device=options.get("device"),
        facts={"parameters": _torch.num_weights(model)},
        files=files,
        module=module,
        resolved={**settings, "layer": layer or "last linear"},
        packages=("torch", "pillow"),
        pixel_function=lambda: pixel_function(model, option_preprocessing(settings)),
    )


def user_object(spec: ModelSpec) -> tuple[Callable, str]:
    """Imports `package.module:name`, at last from the working directory.

    Returns:
      The object, and the name of its module.

    Raises:
      SourceError: if there is none; the line has the reason.
    """
    place, colon, name = spec.model.partition(":")
    if not colon or not name:
        raise SourceError(f"{spec.text} must be {spec.library}:package.module:name.")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(place)
    except Exception as error:  # The code of a user is not ours.
        reason = f"{type(error).__name__}: {one_line(error)[:200]}"
        raise SourceError(f"{place} cannot be imported: {reason}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise SourceError(f"{place} has no function {name!r}.")
    return function, place
