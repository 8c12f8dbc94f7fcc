"""BERT in the files of Hugging Face: settings and weights."""

import re
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jtransfer import models
from jtransfer._internal.errors import DataError, one_line
from jtransfer.models import layers
from jtransfer.networks.bert_tokens import json_object, vocabulary, vocabulary_file

_MODULES = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "hidden": "intermediate.dense",
    "projection": "output.dense",
    "output_norm": "output.LayerNorm",
}
_SETTINGS = (
    "vocab_size",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "pad_token_id",
    "layer_norm_eps",
)
"""Names of Hugging Face, in the order of `BertConfig`."""
_DEFAULTS = {"type_vocab_size": 2, "pad_token_id": 0, "layer_norm_eps": 1e-12}


class BertConfig(NamedTuple):
    """Settings of a `models.Bert` that the files of a folder decide."""

    vocab_size: int
    num_layers: int
    num_heads: int
    width: int
    hidden_width: int
    max_length: int
    num_types: int
    pad_id: int
    norm_epsilon: float


def bert_config(folder: Path) -> BertConfig:
    """Reads the settings of a BERT from `config.json`.

    Args:
      folder: as `save_pretrained` of Hugging Face leaves it.

    Returns:
      The settings.

    Raises:
      DataError: if the file is missing or damaged, or describes a network that
        `models.Bert` is not.
    """
    path = Path(folder) / "config.json"
    described = json_object(path)
    refused = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "is_decoder": False,
    }
    for name, value in refused.items():
        # Files leave out what is the default; a type they always give.
        given = described.get(name, None if name == "model_type" else value)
        if given != value:
            raise DataError(f"{path} has {name} {given!r}; only {value!r} can be read.")
    described = _DEFAULTS | described
    for name in _SETTINGS:
        least = 0 if name in ("pad_token_id", "layer_norm_eps") else 1
        kinds = (int, float) if name == "layer_norm_eps" else (int,)
        value = described.get(name)
        if type(value) not in kinds or value < least:
            raise DataError(f"{path} is damaged: {name} is {value!r}.")
    config = BertConfig(*(described[name] for name in _SETTINGS))
    if config.width % config.num_heads:
        raise DataError(
            f"{path} is damaged: {config.num_heads} heads do not divide the width "
            f"{config.width}."
        )
    return config


def read_bert(folder: Path, *, num_classes: int, rngs: nnx.Rngs) -> models.Bert:
    """Reads a BERT from a folder of Hugging Face, with a new classifier.

    The weights are those of `model.safetensors`, never of a pickle; names may begin
    with `bert.`. The pooler and any head of the file are left out.

    Args:
      folder: as `save_pretrained` leaves it, with `config.json`.
      num_classes: outputs of the classifier.
      rngs: source of the classifier's weights.

    Returns:
      The network in float32. It knows pairs of texts by the separator if the folder
      has a vocabulary.

    Raises:
      DataError: if a file is missing or damaged, the network is not one of
        `bert_config`, a tensor is missing or of another shape, or the vocabulary is of
        another size.
    """
    folder = Path(folder)
    config = bert_config(folder)
    separator = None
    if vocabulary_file(folder).is_file():
        tokens, _ = vocabulary(folder)
        separator = tokens.index("[SEP]") if "[SEP]" in tokens else None
        if len(tokens) != config.vocab_size:
            raise DataError(
                f"{vocabulary_file(folder)} has {len(tokens)} tokens, config.json "
                f"{config.vocab_size}; take both from one model."
            )
    abstract = nnx.eval_shape(
        lambda: models.Bert(
            num_classes=num_classes,
            separator_id=separator,
            rngs=nnx.Rngs(0),
            **config._asdict(),
        )
    )
    graphdef, state = nnx.split(abstract)
    path = folder / "model.safetensors"
    tensors = _tensors(path)
    classifier = layers.linear(config.width, num_classes, rngs=rngs)

    def array(keys, leaf):
        """The weights in the place of a shape."""
        place, own = [key.key for key in keys], keys[-1].key
        if place[0] == "classifier":
            return getattr(classifier, own)[...]
        return _array(tensors, place, leaf.shape, path)

    arrays = jax.tree.map_with_path(array, nnx.to_pure_dict(state))
    if tensors:
        raise DataError(
            f"{path} holds more than config.json describes: {min(tensors)}."
        )
    nnx.replace_by_pure_dict(state, arrays)
    return nnx.merge(graphdef, state)


def _array(
    tensors: dict[str, jax.Array], place: list, shape: tuple[int, ...], path: Path
) -> jax.Array:
    """Takes the tensor of a place in the network out of those of a file."""
    where = f"encoder.layer.{place.pop(1)}." if place[0] == "blocks" else ""
    *_, module, leaf = (*place, "embedding") if len(place) == 1 else place
    name = f"{where}{_MODULES[module]}.{'bias' if leaf == 'bias' else 'weight'}"
    if name not in tensors:
        raise DataError(f"{path} holds no {name}.")
    tensor = tensors.pop(name)
    # PyTorch has outputs first.
    tensor = tensor.T if leaf == "kernel" else tensor
    if tensor.shape != shape or not jnp.issubdtype(tensor.dtype, jnp.floating):
        raise DataError(
            f"{name} in {path} is {tensor.dtype}{list(tensor.shape)}, config.json "
            f"describes floats {list(shape)}."
        )
    return tensor.astype(jnp.float32)


def _tensors(path: Path) -> dict[str, jax.Array]:
    """Reads the tensors of the encoder by their names in a `BertModel`."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise DataError(
            f"{path} needs safetensors; pip install safetensors."
        ) from error
    if not path.is_file():
        raise DataError(f"{path} does not exist; save the model as safetensors.")
    try:
        # That of Flax knows half precision; it imports JAX alone.
        with safe_open(path, framework="flax") as file:
            names = {name: name.removeprefix("bert.") for name in file.keys()}  # noqa: SIM118
            return {
                # Early files call the parameters of a normalisation otherwise.
                re.sub(
                    r"Norm\.(gamma|beta)$",
                    lambda m: f"Norm.{'weight' if m[1] == 'gamma' else 'bias'}",
                    own,
                ): file.get_tensor(name)
                for name, own in names.items()
                if own.startswith(("embeddings.", "encoder."))
                and own != "embeddings.position_ids"
            }
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is damaged: {one_line(error)}.") from error
