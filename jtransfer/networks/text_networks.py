"""Networks of texts: a BERT with its classifier and its tokenizer."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jtransfer import models
from jtransfer._internal.batches import equal_batches
from jtransfer._internal.errors import DataError
from jtransfer._internal.files import (
    file_error,
    json_value,
    make_folder,
    write_atomically,
)
from jtransfer._internal.provenance import files_fingerprint
from jtransfer.data import npz_arrays
from jtransfer.networks.architectures import TextArchitecture, apply_fn_of
from jtransfer.networks.bert_files import BertConfig, bert_config, read_bert
from jtransfer.networks.bert_tokens import TokenizedTexts, bert_tokenizer, vocabulary
from jtransfer.networks.disk import (
    ARRAYS_FILE,
    JSON_FILE,
    named_arrays,
    variable_names,
    variables_in,
    write_described,
)

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")


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


def new_text_network(
    folder: Path, class_names: Sequence[str], *, num_tokens: int, seed: int
) -> TextNetwork:
    """Reads a BERT of Hugging Face and gives it a classifier that knows nothing yet.

    Args:
      folder: as `save_pretrained` leaves it, see `read_bert`; with its tokenizer.
      class_names: classes of the classifier.
      num_tokens: of every text; at most those that the network was made for.
      seed: of the classifier.

    Returns:
      The network.

    Raises:
      DataError: if a file is missing or damaged, or the network takes fewer tokens.
    """
    config = bert_config(folder)
    check_num_tokens(num_tokens, config, folder)
    _check_tokenizer(folder, config, num_tokens)
    module = read_bert(folder, num_classes=len(class_names), rngs=nnx.Rngs(seed))
    architecture = TextArchitecture(
        num_classes=len(class_names),
        num_tokens=num_tokens,
        bert=config,
        separator_id=module.separator_id,
    )
    _, variables = models.functional(module)
    return TextNetwork(architecture, variables, Path(folder), tuple(class_names), {})


def _check_tokenizer(folder: Path, config: BertConfig, num_tokens: int) -> None:
    """Raises DataError unless a tokenizer can be used, and pads as its network does."""
    bert_tokenizer(folder, max_length=num_tokens)
    tokens, _ = vocabulary(folder)
    if tokens[config.pad_id : config.pad_id + 1] != ["[PAD]"]:
        raise DataError(
            f"{folder}: the network takes token {config.pad_id} for padding, which is "
            "not [PAD] in its vocabulary; take both from one model."
        )


def check_tokenizer_place(folder: Path, network: TextNetwork) -> None:
    """Raises DataError if another tokenizer lies where a network is to be written."""
    if folder.absolute() == network.tokenizer.absolute():
        return
    theirs = {path.name: path for path in tokenizer_files(network.tokenizer)}
    for path in tokenizer_files(folder):
        own = theirs.get(path.name)
        if own is None or files_fingerprint([own]) != files_fingerprint([path]):
            raise DataError(
                f"{folder} holds {path.name} of another tokenizer; give another folder."
            )


def check_num_tokens(num_tokens: int, config: BertConfig, place: Path) -> None:
    """Raises DataError unless texts of so many tokens fit a network."""
    if not 5 <= num_tokens <= config.max_length:
        raise DataError(
            f"{place} takes texts of 5 to {config.max_length} tokens, not {num_tokens}."
        )


def write_text_network(folder: Path, network: TextNetwork) -> None:
    """Writes a network of texts to a folder, atomically, with its tokenizer.

    Args:
      folder: made if absent.
      network: the network.
    """
    a = network.architecture
    files = tokenizer_files(network.tokenizer)
    check_tokenizer_place(folder, network)
    make_folder(folder)
    for path in files:
        if path.parent != folder:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise file_error(path, error, use="read") from error
            write_atomically(folder / path.name, content)
    described = {
        **{k: v for k, v in dataclasses.asdict(a).items() if k != "bert"},
        "bert": a.bert._asdict(),
    }
    description = {
        "architecture": described,
        "tokenizer": files_fingerprint(folder / path.name for path in files),
        "class_names": list(network.class_names),
        "facts": network.facts,
    }
    write_described(folder, named_arrays(network.variables), description)


def read_text_network(folder: Path) -> TextNetwork:
    """Reads a network that `write_text_network` has written.

    Args:
      folder: the folder.

    Returns:
      The network.

    Raises:
      DataError: if a file is missing, damaged, or does not fit the architecture, or
        the tokenizer is not the one that the network was trained with.
    """
    file = folder / JSON_FILE
    try:
        described = json_value(file.read_text(encoding="utf-8"))
        class_names = tuple(str(name) for name in described["class_names"])
        architecture = _checked_architecture(described["architecture"], class_names)
        check_num_tokens(architecture.num_tokens, architecture.bert, folder)
        facts, tokenizer = dict(described["facts"]), described["tokenizer"]
        names = variable_names(architecture)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            f"{file} does not exist; make it with jtransfer train."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is damaged ({error!r}); train it again.") from error
    if files_fingerprint(tokenizer_files(folder)) != tokenizer:
        raise DataError(
            f"The tokenizer in {folder} is not the one that the network was trained "
            "with; copy its files back, or train it again."
        )
    _check_tokenizer(folder, architecture.bert, architecture.num_tokens)
    arrays_file = folder / ARRAYS_FILE
    arrays = npz_arrays(arrays_file, required=names)
    variables = variables_in(architecture, arrays, arrays_file)
    return TextNetwork(architecture, variables, folder, class_names, facts)


def _checked_architecture(
    described: dict, class_names: tuple[str, ...]
) -> TextArchitecture:
    """The architecture that JSON describes; ValueError if it can be none."""
    settings = dict(described)
    bert = BertConfig(**settings.pop("bert"))
    architecture = TextArchitecture(bert=bert, **settings)
    whole = {**bert._asdict(), **settings}
    epsilon, _ = whole.pop("norm_epsilon"), whole.pop("model")
    if whole["separator_id"] is None:
        whole.pop("separator_id")
    for name, value in whole.items():
        least = 0 if name in ("pad_id", "separator_id") else 1
        if type(value) is not int or value < least:
            raise ValueError(f"{name} is {value!r}")
    if not isinstance(epsilon, int | float) or not 0 <= epsilon < 1:
        raise ValueError(f"norm_epsilon is {epsilon!r}")
    if len(class_names) != architecture.num_classes:
        raise ValueError(f"{len(class_names)} class_names")
    return architecture


def tokenizer_files(folder: Path) -> list[Path]:
    """Returns the files of the tokenizer in a folder."""
    return [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]


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
