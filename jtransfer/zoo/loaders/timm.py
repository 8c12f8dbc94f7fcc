"""`timm:NAME`: image models by their names, with their own pre-processing."""

import difflib
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import SourceError, one_line
from jtransfer.zoo.loaders import _torch
from jtransfer.zoo.loaders._torch_gradients import pixel_function, timm_preprocessing
from jtransfer.zoo.loaders.huggingface import reference_file
from jtransfer.zoo.loaders.images import rgb
from jtransfer.zoo.loaders.types import Download, Fetching, LoadedModel, absent
from jtransfer.zoo.specs import ModelSpec

_PACKAGES = ("timm", "torch", "pillow")


def timm_model(spec: ModelSpec, *, fetching: Fetching) -> LoadedModel:
    """Loads a model of timm.

    Args:
      spec: `weights` a file, or `none` for an untrained network; `match=order`;
        `num_classes`; `size` in place of the model's own; `layer`.
      fetching: see `Fetching`.

    Returns:
      The model; features are what its classifier takes.

    Raises:
      SourceError: if there is no such model, or its weights are not here.
    """
    import timm
    import torch
    from PIL import Image

    options = dict(spec.options)
    if not timm.is_model(spec.model):
        known = timm.list_models() + timm.list_models(pretrained=True)
        nearest = difflib.get_close_matches(spec.model, known, n=1, cutoff=0)
        raise SourceError(f"timm has no {spec.model}; nearest: {nearest[0]}.")
    weights = options.get("weights")
    classes = (
        {"num_classes": int(options["num_classes"])} if "num_classes" in options else {}
    )
    torch.manual_seed(0)
    files: tuple[Path, ...] = ()
    if weights is not None:
        model = timm.create_model(spec.model, pretrained=False, **classes)
        if weights != "none":
            files = (Path(weights),)
            _torch.load_weights(model, files[0], match=options.get("match"))
    else:
        model, files = _published(spec.model, classes, fetching)
    config = timm.data.resolve_model_data_config(model)
    if "size" in options:
        side = int(options["size"])
        config["input_size"] = (config["input_size"][0], side, side)
    transform = timm.data.create_transform(**config, is_training=False)
    channels = config["input_size"][0]

    def batch(images: np.ndarray) -> torch.Tensor:
        images = rgb(images) if channels == 3 else images
        pictures = (Image.fromarray(image.squeeze()) for image in images)
        return torch.stack([transform(picture) for picture in pictures])

    pretrained = model.pretrained_cfg or {}
    facts = {"parameters": _torch.num_weights(model)}
    if weights is None:
        facts |= {
            "licence": pretrained.get("license") or "not stated",
            "revision": pretrained.get("hf_hub_id") or pretrained.get("tag") or "",
        }
    resolved = {k: str(v) for k, v in config.items()}
    common = {
        "facts": facts,
        "files": files,
        "resolved": {**resolved, "layer": options.get("layer", "pre-logits")},
        "packages": _PACKAGES,
        "pixel_function": lambda: pixel_function(model, timm_preprocessing(config)),
    }
    if "layer" in options:
        return _torch.hooked_model(
            model, batch, layer=options["layer"], device=options.get("device"), **common
        )
    place = _torch.torch_device(options.get("device"))
    model = model.eval().to(place)

    def outputs(images: np.ndarray):
        with torch.inference_mode():
            maps = model.forward_features(batch(images).to(place))
            features = model.forward_head(maps, pre_logits=True)
            logits = model.forward_head(maps)
        of_classes = logits.cpu().numpy() if model.num_classes else None
        return _torch.pooled(features), of_classes

    def head():
        last = model.get_classifier()
        return (
            last.weight.detach().cpu().numpy().T
            if isinstance(last, torch.nn.Linear)
            else None
        )

    def layers(images: np.ndarray):
        last = model.get_classifier()
        last = last if isinstance(last, torch.nn.Linear) else None
        names = _torch.block_names(model)
        return _torch.caught(model, batch(images).to(place), names, last)

    return LoadedModel(outputs=outputs, head=head, layers=layers, **common)


def _published(name: str, classes: dict, fetching: Fetching):
    """The model with its own weights, and the file they were read from."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    model = timm.create_model(name, pretrained=False, **classes)
    repository = (model.pretrained_cfg or {}).get("hf_hub_id")
    if not repository and not (model.pretrained_cfg or {}).get("url"):
        raise SourceError(f"There are no weights of {name}; weights=none is untrained.")
    cached = repository and try_to_load_from_cache(repository, "model.safetensors")
    if not isinstance(cached, str):
        needed = Download(
            repository or name,
            megabytes=4 * _torch.num_weights(model) / 1e6,
            licence=model.pretrained_cfg.get("license") or "not stated",
        )
        if fetching is None:
            raise SourceError(absent(needed))
        fetching(needed)
    try:
        model = timm.create_model(name, pretrained=True, **classes)
    except Exception as error:  # Of many kinds.
        raise SourceError(
            f"The weights of {repository or name} cannot be read or fetched: "
            f"{one_line(error)[:200]}"
        ) from error
    cached = repository and try_to_load_from_cache(repository, "model.safetensors")
    if not isinstance(cached, str):
        return model, ()
    return model, (Path(cached), *reference_file(Path(cached).parent, ""))
