"""`hf:FOLDER` and `hf:ORG/NAME@REVISION`: models of transformers for images."""

import contextlib
import fnmatch
import re
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import SourceError, one_line
from jtransfer._internal.files import json_value
from jtransfer.zoo.loaders import _torch
from jtransfer.zoo.loaders._torch_gradients import (
    hugging_face_preprocessing,
    pixel_function,
)
from jtransfer.zoo.loaders.images import rgb
from jtransfer.zoo.loaders.types import EMBEDDING, Download, Fetching, LoadedModel
from jtransfer.zoo.specs import ModelSpec

_PACKAGES = ("transformers", "torch", "pillow")
POOLINGS = ("mean", "cls")


def hugging_face_model(spec: ModelSpec, *, fetching: Fetching) -> LoadedModel:
    """Loads an image model in the layout of the Hugging Face hub.

    Args:
      spec: a folder, or a repository with `@revision`; `pool` the tokens by their mean
        (the default) or `cls`; `layer` is an index of the hidden states.
      fetching: see `Fetching`.

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
    place, revision = place_and_revision(spec.model)
    folder = model_folder(place, revision, fetching)
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
    device = _torch.torch_device(options.get("device"))
    layer = options.get("layer")
    model, index = model.eval().to(device), -1 if layer is None else int(layer)

    def states_of(images: np.ndarray):
        given = processor(images=list(rgb(images)), return_tensors="pt").to(device)
        last = []  # The body's own last state, behind its last normalisation.
        hook = model.base_model.register_forward_hook(
            lambda *passed: last.append(passed[2])
        )
        with hook, torch.inference_mode():
            result = model(**given)
        body = last[-1] if last else result
        states = (*result.hidden_states, getattr(body, "last_hidden_state", None))
        logits = result.logits.cpu().numpy() if has_head and not absent else None
        return states, logits

    def pooled(state) -> np.ndarray:
        if pool == "cls" and state.ndim == 3:
            return state[:, 0].cpu().numpy()
        return _torch.pooled(state)

    def outputs(images: np.ndarray):
        (*states, last), logits = states_of(images)
        if layer is None and last is not None:
            return pooled(last), logits
        return pooled(states[checked_index(index, len(states))]), logits

    def layers(images: np.ndarray):
        (*states, last), logits = states_of(images)
        held = {str(i): pooled(state) for i, state in enumerate(states)}
        return held | ({} if last is None else {EMBEDDING: pooled(last)}), logits

    def function():
        if not has_head or absent:
            raise SourceError("It needs logits, which the model does not give.")
        return pixel_function(model, hugging_face_preprocessing(processor))

    return LoadedModel(
        outputs=outputs,
        facts=known_facts(folder, revision) | {"parameters": _torch.num_weights(model)},
        files=tuple(sorted(p for p in folder.iterdir() if counts_as_file(p)))
        + reference_file(folder, revision),
        resolved={"pool": pool, "layer": "last" if layer is None else index},
        packages=_PACKAGES,
        layers=layers,
        pixel_function=function,
    )


def checked_index(index: int, count: int) -> int:
    """Returns the index of a hidden state, counted from the end if negative.

    Raises:
      SourceError: if there is no such state.
    """
    if not -count <= index < count:
        raise SourceError(f"layer is below {count}, got {index}.")
    return index


def known_facts(folder: Path, revision: str) -> dict[str, str]:
    """Returns the revision and the licence, where its card states it."""
    licence = "not stated"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        card = (folder / "README.md").read_text(encoding="utf-8")
        head = card.split("---")[1] if card.startswith("---") else ""
        stated = re.search(r"^license:\s*['\"]?([\w.+-]+)", head, re.MULTILINE)
        licence = stated[1] if stated else licence
    return {"revision": revision or folder.name, "licence": licence}


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
    """Tells whether a file of a saved model may change its outputs or its facts."""
    suffixes = (".json", ".safetensors", ".txt", ".model")
    return path.is_file() and (path.suffix in suffixes or path.name == "README.md")


_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "README.md")


def place_and_revision(model: str) -> tuple[str, str]:
    """Returns a folder and nothing, or a repository and its revision.

    Example:
      >>> place_and_revision("org/name@v2"), place_and_revision("./a@b")
      (('org/name', 'v2'), ('./a@b', ''))
    """
    if model.startswith((".", "/", "~")) or Path(model).is_dir():
        return model, ""
    place, _, revision = model.partition("@")
    return place, revision


def reference_file(folder: Path, revision: str) -> tuple[Path, ...]:
    """Returns the file that says which snapshot of a repository is meant, if any."""
    folder = folder.absolute()
    file = folder.parent.parent / "refs" / (revision or "main")
    return (file,) if folder.parent.name == "snapshots" and file.is_file() else ()


def model_folder(place: str, revision: str, fetching: Fetching) -> Path:
    """Returns the folder of a saved model, here or in the cache of the hub.

    Args:
      place: a folder, or the name of a repository.
      revision: of the repository; the newest if empty.
      fetching: see `Fetching`.

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

    options = {"revision": revision or None, "allow_patterns": list(_PATTERNS)}
    with contextlib.suppress(Exception):  # Of many kinds; then it is not here.
        held = Path(snapshot_download(place, local_files_only=True, **options))
        if (held / "config.json").is_file() and any(held.glob("*.safetensors")):
            return held
    if fetching is None:
        raise SourceError(
            f"{place} is not on this machine, as a folder or in the cache of the hub; "
            "it takes a download."
        )
    try:
        needed = _needed(place, revision)
        fetching(needed)
        return Path(snapshot_download(place, **options))
    except SourceError:
        raise
    except Exception as error:  # Of many kinds.
        raise SourceError(
            f"{place} cannot be fetched: {one_line(error)[:200]}"
        ) from error


def _needed(place: str, revision: str) -> Download:
    """Revision, size and licence, as the hub states them."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(place, revision=revision or None, files_metadata=True)
    sizes = [
        file.size or 0
        for file in info.siblings or []
        if any(fnmatch.fnmatch(file.rfilename, pattern) for pattern in _PATTERNS)
    ]
    card = info.card_data.to_dict() if info.card_data else {}
    licence = str(card.get("license") or "not stated")
    return Download(place, info.sha or revision, sum(sizes) / 1e6, licence)


def loading_reason(error: Exception) -> str:
    """Returns a line about a model that cannot be loaded."""
    text = one_line(error)
    if type(error).__name__ == "SafetensorError" or "metadata" in text:
        return (
            f"model.safetensors is damaged (cut short?), fetch it again: {text[:200]}"
        )
    return f"{type(error).__name__}: {text[:300]}"
