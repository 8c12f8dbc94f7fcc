"""Networks of texts on disk: as Hugging Face leaves a BERT, and as we write them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from flax import nnx

from jtransfer import models
from jtransfer._internal.errors import DataError
from jtransfer._internal.files import (
    file_error,
    json_value,
    make_folder,
    write_atomically,
)
from jtransfer._internal.provenance import files_fingerprint
from jtransfer.data import npz_arrays
from jtransfer.networks.architectures import TextArchitecture
from jtransfer.networks.bert_files import BertConfig, bert_config, read_bert
from jtransfer.networks.bert_tokens import bert_tokenizer, vocabulary
from jtransfer.networks.disk import (
    ARRAYS_FILE,
    JSON_FILE,
    damage_named,
    named_arrays,
    variable_names,
    variables_in,
    write_described,
)
from jtransfer.networks.text_networks import TextNetwork, check_num_tokens

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")


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
    with damage_named(file):
        described = json_value(file.read_text(encoding="utf-8"))
        class_names = tuple(str(name) for name in described["class_names"])
        architecture = _checked_architecture(described["architecture"], class_names)
        check_num_tokens(architecture.num_tokens, architecture.bert, folder)
        facts, tokenizer = dict(described["facts"]), described["tokenizer"]
        names = variable_names(architecture)
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


def tokenizer_files(folder: Path) -> list[Path]:
    """Returns the files of the tokenizer in a folder."""
    return [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]


def _check_tokenizer(folder: Path, config: BertConfig, num_tokens: int) -> None:
    """Raises DataError unless a tokenizer can be used, and pads as its network does."""
    bert_tokenizer(folder, max_length=num_tokens)
    tokens, _ = vocabulary(folder)
    if tokens[config.pad_id : config.pad_id + 1] != ["[PAD]"]:
        raise DataError(
            f"{folder}: the network takes token {config.pad_id} for padding, which is "
            "not [PAD] in its vocabulary; take both from one model."
        )


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
