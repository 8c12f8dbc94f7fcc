"""`hf:` for texts: encoders, decoders and sentence embedders of transformers."""

from pathlib import Path

import numpy as np

from jtransfer._internal.errors import SourceError
from jtransfer._internal.files import json_value
from jtransfer.zoo.loaders import _torch
from jtransfer.zoo.loaders.huggingface import (
    POOLINGS,
    checked_configuration,
    checked_index,
    counts_as_file,
    known_facts,
    loading_reason,
    model_folder,
    place_and_revision,
    reference_file,
)
from jtransfer.zoo.loaders.types import Fetching, LoadedModel
from jtransfer.zoo.specs import ModelSpec

_LONGEST = 512
_DECODERS = ("bloom", "falcon", "gemma", "gpt", "llama", "mistral", "mixtral", "mpt")
_DECODERS += ("opt", "phi", "qwen")
"""Beginnings of the types of models that read from left to right."""
_UNBOUNDED = 10**6


def hugging_face_text_model(spec: ModelSpec, *, fetching: Fetching) -> LoadedModel:
    """Loads a model of texts in the layout of the Hugging Face hub.

    Args:
      spec: a folder, or a repository with `@revision`. `pool` is `mean` over the
        tokens, `cls` or `last`; by default what a folder of sentence-transformers says,
        else the mean, of decoders the last token. `layer` is an index of hidden states.
      fetching: see `Fetching`.

    Returns:
      The model; logits where it was saved with a classifier of sequences.

    Raises:
      SourceError: if it is not here, damaged, no model of texts, or needs code of its
        own.
    """
    import torch
    import transformers

    options = dict(spec.options)
    place, revision = place_and_revision(spec.model)
    folder = model_folder(place, revision, fetching)
    configuration = checked_configuration(folder)
    named = (configuration.get("architectures") or [""])[0]
    has_head = named.endswith("ForSequenceClassification")
    pool = (
        options.get("pool")
        or _declared_pooling(folder)
        or _usual_pooling(named, configuration)
    )
    if pool not in (*POOLINGS, "last"):
        raise SourceError(f"pool is one of mean, cls, last, got {pool!r}.")
    kind = "AutoModelForSequenceClassification" if has_head else "AutoModel"
    given = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, padding_side="right", **given
        )
        model, loading = getattr(transformers, kind).from_pretrained(
            folder,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
            **given,
        )
    except Exception as error:  # Of many kinds.
        raise SourceError(loading_reason(error)) from error
    absent = [n for n in sorted(loading["missing_keys"]) if "pooler." not in n]
    if any(not name.startswith(("classifier", "score")) for name in absent):
        raise SourceError(f"Its weights lack {absent[0]}, which would be random.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        model.config.pad_token_id = tokenizer.pad_token_id
    device = _torch.torch_device(options.get("device"))
    model, index = model.eval().to(device), int(options.get("layer", -1))
    longest = _longest(tokenizer, model.config)

    def tokens_of(texts: list, **how):
        pairs = isinstance(texts[0], list)
        parts = [list(p) for p in zip(*texts, strict=True)] if pairs else [texts]
        return tokenizer(*parts, **how)

    def states_of(texts: list):
        batch = tokens_of(
            texts,
            padding=True,
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        )
        batch = batch.to(device)
        with torch.inference_mode():
            result = model(**batch, output_hidden_states=True)
        logits = result.logits.cpu().numpy() if has_head and not absent else None
        return result.hidden_states, batch["attention_mask"], logits

    def outputs(texts: list) -> tuple[np.ndarray, np.ndarray | None]:
        states, mask, logits = states_of(texts)
        return _pooled(states[checked_index(index, len(states))], mask, pool), logits

    def layers(texts: list):
        states, mask, logits = states_of(texts)
        return {str(i): _pooled(s, mask, pool) for i, s in enumerate(states)}, logits

    def num_tokens(texts: list) -> np.ndarray:
        return np.array([len(row) for row in tokens_of(texts, verbose=False).input_ids])

    return LoadedModel(
        outputs=outputs,
        facts=known_facts(folder, revision) | {"parameters": _torch.num_weights(model)},
        files=tuple(sorted(p for p in folder.rglob("*") if counts_as_file(p)))
        + reference_file(folder, revision),
        resolved={"pool": pool, "layer": index, "tokens": longest},
        packages=("transformers", "tokenizers", "torch"),
        layers=layers,
        num_tokens=num_tokens,
        max_tokens=longest,
    )


def _pooled(states, mask, pool: str) -> np.ndarray:
    if pool == "cls":
        return states[:, 0].cpu().numpy()
    if pool == "last":
        last = mask.sum(dim=1) - 1
        return states[range(len(states)), last].cpu().numpy()
    weights = mask[..., None].to(states.dtype)
    sums = (states * weights).sum(dim=1)
    return (sums / weights.sum(dim=1).clamp(min=1)).cpu().numpy()


def _declared_pooling(folder: Path) -> str | None:
    """The pooling of a folder of sentence-transformers, None of any other."""
    file = folder / "1_Pooling" / "config.json"
    if not (folder / "modules.json").is_file() or not file.is_file():
        return None
    held = json_value(file.read_text(encoding="utf-8"))
    if held.get("pooling_mode_cls_token"):
        return "cls"
    if held.get("pooling_mode_lasttoken"):
        return "last"
    return "mean"


def _usual_pooling(architecture: str, configuration: dict) -> str:
    is_decoder = architecture.endswith(("ForCausalLM", "LMHeadModel"))
    is_decoder |= str(configuration.get("model_type")).startswith(_DECODERS)
    return "last" if is_decoder else "mean"


def _longest(tokenizer, config) -> int:
    limits = [_LONGEST]
    if tokenizer.model_max_length < _UNBOUNDED:
        limits.append(tokenizer.model_max_length)
    positions = getattr(config, "max_position_embeddings", None)
    if positions:
        limits.append(positions)
    return int(min(limits))
