"""Tokenizers of BERT in the files of Hugging Face."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jtransfer._internal.errors import DataError, one_line
from jtransfer._internal.files import json_value

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class TokenizedTexts(NamedTuple):
    """Texts as tokens, padded to one length."""

    ids: np.ndarray
    """Token ids, int32 ``[n, L]``."""
    words: np.ndarray
    """True where an attack may change a token, ``[n, L]``: neither special nor
    padding."""
    starts: np.ndarray
    """True where a token begins a word, ``[n, L]``; a part of `words`."""


def bert_tokenizer(
    folder: Path, *, max_length: int
) -> Callable[[Sequence[str | Sequence[str]]], TokenizedTexts]:
    """Returns the function that cuts texts into the tokens of a BERT.

    Args:
      folder: with `tokenizer.json`, or with `vocab.txt`; then `tokenizer_config.json`
        may say whether letters are made small.
      max_length: tokens of every text; longer texts are cut, the others padded.

    Returns:
      A function of a list of texts, or of pairs of texts, that returns
      `TokenizedTexts` with ``L = max_length``. It raises `DataError` where an item is
      neither a text nor a pair.

    Raises:
      DataError: if a file is missing or damaged, or tokenizers is not installed.
      ValueError: if `max_length` leaves no room for a token of each text of a pair.
    """
    if max_length < 5:
        raise ValueError(f"max_length must be 5 or more, got {max_length}.")
    folder = Path(folder)
    tokens, special = vocabulary(folder)
    tokenizer = _tokenizer(folder)
    tokenizer.enable_truncation(max_length)
    if "[PAD]" not in tokens:
        raise DataError(
            f"{vocabulary_file(folder)} has no [PAD] to fill texts up with."
        )
    pad_id = tokens.index("[PAD]")
    tokenizer.enable_padding(length=max_length, pad_id=pad_id)

    def tokenized(texts):
        """Tokens of texts or of pairs of texts, see `TokenizedTexts`."""
        encodings = tokenizer.encode_batch([_checked(text) for text in texts])
        shape = (len(encodings), max_length)
        ids = np.array([e.ids for e in encodings], np.int32).reshape(shape)
        numbers = np.array(
            [[-1 if w is None else w for w in e.word_ids] for e in encodings], np.int32
        ).reshape(shape)
        words = (numbers >= 0) & ~np.isin(ids, sorted(special))
        before = np.pad(numbers[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
        return TokenizedTexts(ids, words, words & (numbers != before))

    return tokenized


def token_mask(folder: Path) -> np.ndarray:
    r"""Returns which tokens of a vocabulary may stand in the place of a word.

    Args:
      folder: with `tokenizer.json` or `vocab.txt`.

    Returns:
      Booleans ``[V]``: False for special tokens, for those that the vocabulary keeps
      free (`[unused0]`) and for pieces that continue a word (`##ing`).

    Raises:
      DataError: if the file is missing or damaged.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     words = ["[PAD]", "[unused0]", "play", "##ing"]
      ...     _ = Path(folder, "vocab.txt").write_text("\n".join(words))
      ...     token_mask(folder).tolist()
      [False, False, True, False]
    """
    tokens, special = vocabulary(Path(folder))
    return np.array(
        [
            number not in special
            and not token.startswith("##")
            and re.fullmatch(r"\[unused\d+\]", token) is None
            for number, token in enumerate(tokens)
        ]
    )


def _tokenizer(folder: Path):
    """The tokenizer of a folder, of the library tokenizers."""
    path = vocabulary_file(folder)
    try:
        import tokenizers
    except ImportError as error:
        raise DataError(f"{path} needs tokenizers; pip install tokenizers.") from error
    if path.name == "vocab.txt":
        config = folder / "tokenizer_config.json"
        described = json_object(config) if config.is_file() else {}
        tokens, _ = vocabulary(folder)
        missing = {"[UNK]", "[CLS]", "[SEP]"}.difference(tokens)
        if missing:
            raise DataError(
                f"{path} is no vocabulary of a BERT: it lacks {min(missing)}."
            )
        try:
            return tokenizers.BertWordPieceTokenizer(
                {token: number for number, token in enumerate(tokens)},
                lowercase=described.get("do_lower_case", True),
                strip_accents=described.get("strip_accents"),
                handle_chinese_chars=described.get("tokenize_chinese_chars", True),
            )
        except Exception as error:  # The library has no class of its own.
            raise DataError(f"{config} is damaged: {one_line(error)}.") from error
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # The library has no class of its own.
        raise DataError(f"{path} is damaged: {one_line(error)}.") from error


def _checked(text: str | Sequence[str]) -> str | tuple[str, ...]:
    try:
        parts = (text,) if isinstance(text, str) else tuple(text)
    except TypeError:
        parts = ()
    if len(parts) not in (1, 2) or not all(isinstance(part, str) for part in parts):
        raise DataError(f"A text must be a string or a pair of them, got {text!r}.")
    return parts[0] if len(parts) == 1 else parts


def vocabulary_file(folder: Path) -> Path:
    """Returns the file of a vocabulary, which may not be there."""
    path = folder / "tokenizer.json"
    return path if path.is_file() else folder / "vocab.txt"


def vocabulary(folder: Path) -> tuple[list[str], set[int]]:
    """Returns the tokens in the order of their ids, and the ids of special ones."""
    path = vocabulary_file(folder)
    if path.name == "vocab.txt":
        tokens = _text(path).removesuffix("\n").split("\n")
        return tokens, {i for i, token in enumerate(tokens) if token in _SPECIAL}
    described = json_object(path)
    try:
        ids = dict(described["model"]["vocab"])
        added = described.get("added_tokens") or []
        ids |= {token["content"]: token["id"] for token in added}
        special = {token["id"] for token in added if token["special"]}
        tokens = {number: token for token, number in ids.items()}
        return [tokens[number] for number in range(len(ids))], special
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is damaged or no WordPiece vocabulary: {error!r}."
        ) from error


def json_object(path: Path) -> dict:
    """Returns the object in a file of JSON, or raises DataError."""
    try:
        value = json_value(_text(path))
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is damaged: {one_line(error)}.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is damaged: it holds no object.")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist; give a folder of Hugging Face."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {one_line(error)}.") from error
