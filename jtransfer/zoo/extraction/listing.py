"""Models of a library that match a pattern: which are here, how large, which licence.

It runs in a process of its own, as whatever imports the library does.
"""

import fnmatch
from pathlib import Path
from typing import Any

from jtransfer._internal.errors import SourceError

MOST = 200
"""Models that are described, at most: the size of one takes a moment."""


def described_models(library: str, pattern: str) -> list[dict[str, Any]]:
    """Returns `model`, `here`, `megabytes` and `licence` of each model that matches.

    Args:
      library: timm, torchvision or hf.
      pattern: as of a shell; of hf `organisation/name`.

    Raises:
      SourceError: if they are too many.
    """
    listed = {"timm": _timm, "torchvision": _torchvision, "hf": _hub}[library]
    models = listed(pattern)
    if len(models) > MOST:
        raise SourceError(f"{len(models)} models match, more than {MOST}.")
    return models


def _timm(pattern: str) -> list[dict[str, Any]]:
    import timm
    import torch
    from huggingface_hub import try_to_load_from_cache

    names = timm.list_models(pattern, pretrained=True)
    if len(names) > MOST:
        return [{} for _ in names]
    models = []
    for name in names:
        with torch.device("meta"):  # Shapes alone.
            model = timm.create_model(name, pretrained=False)
        config = model.pretrained_cfg or {}
        place = config.get("hf_hub_id")
        cached = place and try_to_load_from_cache(place, "model.safetensors")
        size = 4 * sum(p.numel() for p in model.parameters()) / 1e6
        licence = config.get("license") or "not stated"
        models.append(_record(name, isinstance(cached, str), size, licence))
    return models


def _torchvision(pattern: str) -> list[dict[str, Any]]:
    import torch
    import torchvision

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    names = torchvision.models.list_models(module=torchvision.models)
    models = []
    for name in fnmatch.filter(names, pattern):
        weights = torchvision.models.get_model_weights(name).DEFAULT
        is_here = (folder / Path(weights.url).name).is_file()
        size = weights.meta.get("_file_size")
        models.append(_record(name, is_here, size, "not stated"))
    return models


def _hub(pattern: str) -> list[dict[str, Any]]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        held = scan_cache_dir().repos
    except CacheNotFound:
        return []
    names = (r for r in held if r.repo_type == "model")
    return [
        _record(r.repo_id, True, r.size_on_disk / 1e6, "see its card")
        for r in sorted(names, key=lambda r: r.repo_id)
        if fnmatch.fnmatch(r.repo_id, pattern)
    ]


def _record(model: str, here: bool, megabytes, licence: str) -> dict[str, Any]:
    return {"model": model, "here": here, "megabytes": megabytes, "licence": licence}
