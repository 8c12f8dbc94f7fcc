"""Networks of texts: a BERT with its classifier and its tokenizer."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer import models
from jtransfer._internal.batches import equal_batches
from jtransfer._internal.errors import DataError
from jtransfer.networks.architectures import TextArchitecture, apply_fn_of
from jtransfer.networks.bert_files import BertConfig
from jtransfer.networks.bert_tokens import TokenizedTexts, bert_tokenizer, vocabulary


class TextNetwork(NamedTuple):
    """A network of texts with all that is needed to apply it to texts."""

    architecture: TextArchitecture
    variables: models.Variables
    tokenizer: Path
    """The folder of the files of its tokenizer."""
    class_names: tuple[str, ...]
    facts: dict
    """`parameters`, `source_accuracy` and how it was trained."""


class TextFunction(NamedTuple):
    """A network of texts as a function of word vectors; a pytree of its weights."""

    logits: jax.tree_util.Partial
    """Of word vectors ``[n, L, d]`` and the token ids of the texts ``[n, L]``, which
    tell padding and separators; returns ``[n, C]``, each row from its text alone."""
    vocabulary: jax.Array
    """Word vectors of all tokens, ``[V, d]``."""


def tokenized(network: TextNetwork, texts: Sequence) -> TokenizedTexts:
    """Cuts texts into the tokens of a network.

    Args:
      network: a network of texts.
      texts: texts, or pairs of texts.

    Returns:
      As many tokens of each as the network takes.

    Raises:
      DataError: if tokenizers is not installed, or a file is damaged.
    """
    return _tokenizer(network.tokenizer, network.architecture.num_tokens)(texts)


@functools.lru_cache(maxsize=8)
def _tokenizer(folder: Path, num_tokens: int):
    return bert_tokenizer(folder, max_length=num_tokens)


def text_outputs(
    network: TextNetwork, texts: Sequence, *, batch_size: int = 64
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Applies a network to texts, batch by batch.

    Args:
      network: a network of texts.
      texts: texts, or pairs of texts.
      batch_size: texts at a time; the last batch is filled up, so that one compiled
        function serves all.

    Yields:
      Features ``[m, d]``, the mean state of the tokens, and logits ``[m, C]``.

    Raises:
      DataError: as `tokenized`.
    """
    for layers, logits in text_layer_outputs(network, texts, batch_size=batch_size):
        yield layers[-1], logits


def text_layer_outputs(
    network: TextNetwork, texts: Sequence, *, batch_size: int = 64
) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """Applies a network to texts, as `text_outputs`, for all of its layers at once.

    Args:
      network: a network of texts.
      texts: texts, or pairs of texts.
      batch_size: texts at a time.

    Yields:
      Features ``[m, d]`` of each layer of `text_layers`, and logits ``[m, C]``.

    Raises:
      DataError: as `tokenized`.
    """
    ids = tokenized(network, texts).ids
    for rows, num_new in equal_batches(len(ids), min(batch_size, len(ids))):
        features, logits = _outputs(
            network.variables, ids[rows], architecture=network.architecture
        )
        features = [np.asarray(output)[:num_new] for output in features]
        yield features, np.asarray(logits)[:num_new]


def text_layers(network: TextNetwork) -> list[str]:
    """Returns the names of the layers that `text_layer_outputs` gives."""
    count = network.architecture.bert.num_layers
    return [f"hidden_states.{i}" for i in range(count - 1)] + ["embedding"]


@functools.partial(jax.jit, static_argnames=("architecture",))
def _outputs(variables, ids, *, architecture):
    apply_fn, _ = apply_fn_of(architecture)
    logits, out = apply_fn(variables, ids)
    weights = (ids != architecture.bert.pad_id).astype(jnp.float32)[:, :, None]
    counts = jnp.maximum(weights.sum(axis=1), 1)
    means = [(s * weights).sum(axis=1) / counts for s in out["hidden_states"][:-1]]
    return [*means, out["embedding"]], logits


def check_num_tokens(num_tokens: int, config: BertConfig, place: Path) -> None:
    """Raises DataError unless texts of so many tokens fit a network."""
    if not 5 <= num_tokens <= config.max_length:
        raise DataError(
            f"{place} takes texts of 5 to {config.max_length} tokens, not {num_tokens}."
        )


def check_same_tokens(
    network: TextNetwork, other: TextNetwork, texts: Sequence
) -> None:
    """Raises DataError unless two networks cut texts into the same tokens.

    Args:
      network: that is checked.
      other: whose tokens decide.
      texts: that both are to see.
    """
    num_tokens = other.architecture.num_tokens
    check_num_tokens(num_tokens, network.architecture.bert, network.tokenizer)
    folders = network.tokenizer, other.tokenizer
    first, second = (_tokenizer(folder, num_tokens)(texts) for folder in folders)
    first_tokens, second_tokens = (vocabulary(folder)[0] for folder in folders)
    if first_tokens != second_tokens or (first.ids != second.ids).any():
        raise DataError(
            "The networks cut texts into different tokens; take two with the same "
            "tokenizer."
        )


def text_function(network: TextNetwork) -> TextFunction:
    """Returns a network as a function of word vectors, for attacks and Jacobians.

    Args:
      network: a network of texts.

    Returns:
      The function; as an argument of a jitted function it compiles once an
      architecture.
    """
    logits = jax.tree_util.Partial(
        _vector_function(network.architecture), network.variables
    )
    return TextFunction(logits, network.variables.params["words"])


@functools.lru_cache(maxsize=64)
def _vector_function(architecture: TextArchitecture):
    apply_fn, _ = apply_fn_of(architecture)
    bert = architecture.bert

    def logits(variables, vectors, ids):
        """Logits of texts given as word vectors."""
        types = models.token_types(
            ids,
            pad_id=bert.pad_id,
            separator_id=architecture.separator_id,
            num_types=bert.num_types,
        )
        inputs = models.TokenVectors(vectors, ids != bert.pad_id, types)
        return apply_fn(variables, inputs)[0]

    return logits
