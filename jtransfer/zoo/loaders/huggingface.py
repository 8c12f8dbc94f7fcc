"""`hf:FOLDER` and `hf:ORG/NAME@REVISION`: models of transformers for images."""

from pathlib import Path

import numpy as np

from jtransfer._internal.errors import SourceError, one_line
from jtransfer._internal.files import json_value
from jtransfer.zoo.loaders import _torch
from jtransfer.zoo.loaders.images import rgb
from jtransfer.zoo.loaders.types import LoadedModel
from jtransfer.zoo.specs import ModelSpec

_PACKAGES = ("transformers", "torch", "pillow")
POOLINGS = ("mean", "cls")


def hugging_face_model(spec: ModelSpec, *, download: bool) -> LoadedModel:
    """Loads an image model in the layout of the Hugging Face hub.

    Args:
      spec: a folder, or a repository with `@revision`; `pool` the tokens by their mean
        (the default) or `cls`; `layer` is an index of the hidden states.
      download: whether files may be fetched.

    Returns:
      The model; logits where it was saved with a classifier.

    Raises:
      SourceError: if it is not here, damaged, no model of images, or needs code of its
        own.
    """
    import torch
    import transformers

    options = dict(spec.options)
    pool = options.get("pool", "mean")
    if pool not in POOLINGS:
        raise SourceError(f"pool is one of {', '.join(POOLINGS)}, got {pool!r}.")
    place, _, revision = spec.model.partition("@")
    folder = model_folder(place, revision, download=download)
    configuration = checked_configuration(folder)
    named = configuration.get("architectures") or [""]
    has_head = named[0].endswith("ForImageClassification")
    kind = "AutoModelForImageClassification" if has_head else "AutoModel"
    given = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **given)
        model, loading = getattr(transformers, kind).from_pretrained(
            folder,
            use_safetensors=True,
            output_loading_info=True,
            output_hidden_states=True,
            dtype=torch.float32,
            **given,
        )
    except Exception as error:  # Of many kinds.
        raise SourceError(loading_reason(error)) from error
    absent = sorted(loading["missing_keys"])
    absent = [name for name in absent if not name.startswith("pooler.")]
    if any(not name.startswith(("classifier", "head")) for name in absent):
        raise SourceError(f"Its weights lack {absent[0]}, which would be random.")
    model, index = model.eval(), int(options.get("layer", -1))

    def outputs(images: np.ndarray):
        given = processor(images=list(rgb(images)), return_tensors="pt")
        with torch.inference_mode():
            result = model(**given)
        states = result.hidden_states
        if not -len(states) <= index < len(states):
            raise SourceError(f"layer is below {len(states)}, got {index}.")
        state = states[index]
        features = state[:, 0].numpy() if pool == "cls" and state.ndim == 3 else None
        features = _torch.pooled(state) if features is None else features
        keeps_logits = has_head and not absent
        return features, result.logits.numpy() if keeps_logits else None

    return LoadedModel(
        outputs=outputs,
        facts={
            "parameters": _torch.num_weights(model),
            "revision": revision or folder.name,
        },
        files=tuple(sorted(p for p in folder.iterdir() if counts_as_file(p))),
        resolved={"pool": pool, "layer": index},
        packages=_PACKAGES,
    )


def checked_configuration(folder: Path) -> dict:
    """Reads the configuration of a model that needs no code of its own.

    Raises:
      SourceError: if it does, or the file is no JSON.
    """
    try:
        held = json_value((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"config.json cannot be read: {one_line(error)}") from error
    if "auto_map" in held:
        raise SourceError("It needs its own code; load it yourself and give py:.")
    return held


def counts_as_file(path: Path) -> bool:
    """Tells whether a file of a saved model may change its outputs."""
    return path.suffix in (".json", ".safetensors", ".txt", ".model") and path.is_file()


def model_folder(place: str, revision: str, *, download: bool) -> Path:
    """Returns the folder of a saved model, here or in the cache of the hub.

    Raises:
      SourceError: if there is none.
    """
    folder = Path(place).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise SourceError(f"{folder} has no config.json: it is no saved model.")
        return folder
    if place.startswith((".", "/", "~")):
        raise SourceError(f"There is no folder {folder}.")
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.txt", "*.model"]
    try:
        return Path(
            snapshot_download(
                place,
                revision=revision or None,
                allow_patterns=patterns,
                local_files_only=not download,
            )
        )
    except Exception as error:  # Of many kinds.
        if download:
            raise SourceError(
                f"{place} cannot be fetched: {one_line(error)[:200]}"
            ) from error
        raise SourceError(
            f"{place} is not on this machine, as a folder or in the cache of the hub; "
            "it takes a download."
        ) from error


def loading_reason(error: Exception) -> str:
    """Returns a line about a model that cannot be loaded."""
    text = one_line(error)
    if type(error).__name__ == "SafetensorError" or "metadata" in text:
        return (
            f"model.safetensors is damaged (cut short?), fetch it again: {text[:200]}"
        )
    return f"{type(error).__name__}: {text[:300]}"
