"""`torchvision:NAME`: its models with their own pre-processing."""

import difflib
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import SourceError, one_line
from jtransfer.zoo.loaders import _torch
from jtransfer.zoo.loaders._torch_gradients import Preprocessing, pixel_function
from jtransfer.zoo.loaders.images import rgb
from jtransfer.zoo.loaders.types import Download, Fetching, LoadedModel, absent
from jtransfer.zoo.specs import ModelSpec


def torchvision_model(spec: ModelSpec, *, fetching: Fetching) -> LoadedModel:
    """Loads a classifier of torchvision with its default weights.

    Args:
      spec: `weights` a file, or `none` for an untrained network; `layer`.
      fetching: see `Fetching`; weights are looked for where torch keeps them, for the
        library itself would fetch them at once.

    Raises:
      SourceError: if there is no such model, or its weights are not here.
    """
    import torch
    import torchvision
    from PIL import Image

    options = dict(spec.options)
    known = torchvision.models.list_models(module=torchvision.models)
    if spec.model not in known:
        nearest = difflib.get_close_matches(spec.model, known, n=1, cutoff=0)
        raise SourceError(f"torchvision has no {spec.model}; nearest: {nearest[0]}.")
    default = torchvision.models.get_model_weights(spec.model).DEFAULT
    torch.manual_seed(0)
    model = torchvision.models.get_model(spec.model, weights=None)
    weights, files = options.get("weights"), ()
    facts = {"parameters": _torch.num_weights(model), "licence": "not stated"}
    if weights != "none":
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(default.url).name
        files = (Path(weights) if weights else place,)
        if not weights and not place.is_file():
            size = default.meta.get("_file_size")
            needed = Download(str(default), megabytes=size)
            if fetching is None:
                raise SourceError(absent(needed))
            fetching(needed)
            fetch_weights(default.url, place)
        _torch.load_weights(model, files[0])
        measured = default.meta.get("_metrics", {}).get("ImageNet-1K", {})
        if not weights and "acc@1" in measured:
            facts["source_accuracy"] = measured["acc@1"] / 100
    transform, layer = default.transforms(), options.get("layer")

    def batch(images: np.ndarray) -> torch.Tensor:
        pictures = (Image.fromarray(image) for image in rgb(images))
        return torch.stack([transform(picture) for picture in pictures])

    return _torch.hooked_model(
        model,
        batch,
        layer=layer,
        device=options.get("device"),
        facts=facts,
        files=files,
        resolved={"transform": str(transform), "layer": layer or "last linear"},
        packages=("torchvision", "torch", "pillow"),
        pixel_function=lambda: pixel_function(model, _steps(transform)),
    )


def _steps(transform) -> Preprocessing:
    """The steps of the transform that its classifiers have."""
    try:
        return Preprocessing(
            tuple(transform.mean),
            tuple(transform.std),
            resize=transform.resize_size[0],
            crop=(transform.crop_size[0],) * 2,
            interpolation=transform.interpolation.value,
        )
    except AttributeError as error:
        raise SourceError(
            "It needs gradients, which its transform does not give."
        ) from error


def fetch_weights(url: str, place: Path) -> None:
    """Fetches weights whose name ends with the beginning of their SHA-256.

    Raises:
      SourceError: if that fails, or they are others; then no file is left.
    """
    import torch

    digest = place.stem.rpartition("-")[2]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, place, hash_prefix=digest, progress=False)
    except (OSError, RuntimeError) as error:
        reason = one_line(error)[:200]
        raise SourceError(f"{place.name} cannot be fetched: {reason}") from error
