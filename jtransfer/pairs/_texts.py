"""Attacks on networks of texts, their effect on others, and Jacobians there."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer import attacks, networks
from jtransfer._internal.batches import equal_batches
from jtransfer.pairs._attacks import Transfer, transfer_of_deviations
from jtransfer.pairs._batches import (
    MIN_EXAMPLES,
    NUM_PAIRINGS,
    BatchAdvance,
    no_advance,
)
from jtransfer.pairs._gradients import (
    JACOBIAN_NUMBERS,
    Gradients,
    gradients_of_jacobians,
)

if TYPE_CHECKING:
    from jtransfer.networks import TextFunction, TextNetwork

_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordAttackSettings:
    """Settings of `attacks.word_attack`, as published but for the number of steps."""

    num_steps: int = 20
    """Number of gradients; the paper makes 100."""
    learning_rate: float = 0.2
    """Step of Adam for each coordinate of a word vector."""
    margin_weight: float = 100.0
    """Weight of the margin against the squared distance."""
    confidence: float = 100.0
    """Margin beyond which there is nothing to win."""

    def __post_init__(self):
        """Refuses an attack that could try nothing but the text itself."""
        if self.num_steps < 2:
            raise ValueError(
                "num_steps must be 2 or more, for the first gradient is at the text "
                f"itself, got {self.num_steps}."
            )


DEFAULT_WORD_ATTACK = WordAttackSettings()


class AttackedTexts(NamedTuple):
    """A network of texts and the attacks on it."""

    function: "TextFunction"
    ids: np.ndarray
    """Token ids of the attacked texts, `[n, L]`."""
    clean: np.ndarray
    """Outputs at the texts as they are, `[n, m]`."""
    own: np.ndarray
    """By how much the attacks move them, `[n, m]`."""


@dataclasses.dataclass(frozen=True)
class TextExamples:
    """Texts in the tokens that both networks of a pair take, and their attack."""

    ids: np.ndarray
    """Token ids, `[n, L]`."""
    words: np.ndarray
    """True where an attack may change a token, `[n, L]`."""
    allowed: np.ndarray
    """True for tokens that it may put in, `[V]`."""
    settings: WordAttackSettings = DEFAULT_WORD_ATTACK

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.ids)

    def num_outputs(self, function: "TextFunction") -> int:
        """Checks that a network takes these texts, and returns how many outputs it has.

        Raises:
          ValueError: if there are fewer than `MIN_EXAMPLES` texts, the network has
            another vocabulary, or fewer than two outputs.
        """
        if len(self) < MIN_EXAMPLES:
            raise ValueError(
                f"A pair takes at least {MIN_EXAMPLES} texts, got {len(self)}."
            )
        num_rows = len(function.vocabulary)
        if num_rows != len(self.allowed):
            raise ValueError(
                f"The network has {num_rows} tokens, the texts are in "
                f"{len(self.allowed)}; take networks of one vocabulary."
            )
        size = jax.eval_shape(_logits, function, self.ids[:1]).shape[1]
        if size < 2:
            raise ValueError(
                f"A network of texts needs two outputs or more, got {size}."
            )
        return size

    def attacked(
        self, function: "TextFunction", *, advance: BatchAdvance = no_advance
    ) -> AttackedTexts:
        """Attacks a network at every text: leads away from its own prediction.

        Args:
          function: the network.
          advance: called with the number of texts of each finished batch.

        Raises:
          ValueError: as `num_outputs`.
        """
        self.num_outputs(function)
        parts = []
        for rows, valid in self._batches():
            result = _attacked(
                function,
                self.ids[rows],
                self.words[rows],
                self.allowed,
                settings=self.settings,
            )
            parts.append([np.asarray(part)[:valid] for part in result])
            advance(valid)
        return AttackedTexts(function, *map(np.concatenate, zip(*parts, strict=True)))

    def transferred(
        self,
        first: AttackedTexts,
        second: AttackedTexts,
        blocks: np.ndarray,
        *,
        advance: BatchAdvance = no_advance,
    ) -> Transfer:
        """Feeds the attacks on one network to another.

        Args:
          first: the attacked network.
          second: the one that the attacks are fed to, and the attacks on it.
          blocks: block of each text, integers from 0, `[n]`.
          advance: called with the number of texts of each finished batch.

        Returns:
          Sums by block, and by wrong pairing: the words that an attack has put into
          another text, at the same places of this one where it has words.
        """
        moved = [[] for _ in range(1 + NUM_PAIRINGS)]
        for rows, valid in self._batches():
            for shift, pairing in enumerate(moved):
                others = (rows + shift) % len(self)
                put_in = first.ids[others] != self.ids[others]
                ids = np.where(
                    put_in & self.words[rows], first.ids[others], self.ids[rows]
                )
                outputs = np.asarray(_logits(second.function, ids))
                pairing.append((outputs - second.clean[rows])[:valid])
            advance(valid)
        deviations = list(map(np.concatenate, moved))
        return transfer_of_deviations(first.own, second.own, deviations, blocks)

    def gradients(
        self,
        reference: "TextFunction",
        source: "TextFunction",
        blocks: np.ndarray,
        *,
        most_attacks: int = 0,
        advance: BatchAdvance = no_advance,
    ) -> Gradients:
        r"""Compares the Jacobians of two networks at the texts.

        The input is the weight of every allowed token at every word: a text has the
        weight 1 for its own token. So networks of different word vectors can be
        compared: the product of two Jacobians by these weights is
        :math:`J_1 W_1^\top W_2 J_2^\top` of those by the word vectors, with the vectors
        :math:`W` of the allowed tokens, summed over the words.

        Args:
          reference: the model of the target.
          source: the other one, of the same tokens.
          blocks: block of each text, integers from 0, `[n]`.
          most_attacks: as `pairs.gradients` takes it.
          advance: called with the number of texts of each finished batch.

        Returns:
          Sums by block and by wrong pairing, and the singular values.

        Raises:
          ValueError: as `num_outputs`.
        """
        functions = reference, source
        sizes = [self.num_outputs(function) for function in functions]
        roots = _common_coordinates(*functions, self.allowed)
        num_inputs = self.ids.shape[1] * len(roots[0])
        fitting = max(JACOBIAN_NUMBERS // (sum(sizes) * num_inputs), MIN_EXAMPLES)

        def batches() -> Iterator[tuple]:
            for rows, valid in self._batches(fitting):
                first, second = (
                    np.asarray(
                        _jacobians(f, self.ids[rows], self.words[rows], root), float
                    )
                    for f, root in zip(functions, roots, strict=True)
                )
                yield rows[:valid], first[:valid], second

        return gradients_of_jacobians(
            batches(),
            blocks,
            sizes=sizes,
            num_inputs=num_inputs,
            most_attacks=most_attacks,
            advance=advance,
        )

    def _batches(self, most: int = _BATCH_SIZE) -> Iterator[tuple[np.ndarray, int]]:
        return equal_batches(len(self), min(_BATCH_SIZE, most, len(self)))


def text_examples(
    network: "TextNetwork",
    texts: Sequence,
    *,
    settings: WordAttackSettings = DEFAULT_WORD_ATTACK,
) -> TextExamples:
    """Returns texts in the tokens of a network, for it and others of its tokenizer.

    Args:
      network: a network of texts.
      texts: texts, or pairs of texts.
      settings: of the attack.

    Raises:
      DataError: if tokenizers is not installed, or a file is damaged.
    """
    tokens = networks.tokenized(network, texts)
    allowed = networks.token_mask(network.tokenizer)
    return TextExamples(tokens.ids, tokens.words, allowed, settings)


def _common_coordinates(
    reference: "TextFunction", source: "TextFunction", allowed: np.ndarray
) -> list[np.ndarray]:
    """Matrices `[D, d]` of both with the products of their word vectors."""
    vectors = [np.asarray(f.vocabulary, float)[allowed] for f in (reference, source)]
    both = np.concatenate(vectors, axis=1)
    squares, axes = np.linalg.eigh(both.T @ both)
    kept = squares > len(squares) * np.finfo(float).eps * squares[-1]
    root = np.sqrt(squares[kept])[:, None] * axes[:, kept].T
    width = vectors[0].shape[1]
    return [root[:, :width].astype(np.float32), root[:, width:].astype(np.float32)]


@jax.jit
def _logits(function, ids):
    return function.logits(function.vocabulary[ids], ids)


@functools.partial(jax.jit, static_argnames=("settings",))
def _attacked(function, ids, words, allowed, *, settings):
    def logits_of(vectors):
        return function.logits(vectors, ids)

    vectors = function.vocabulary[ids]
    clean = logits_of(vectors)
    result = attacks.word_attack(
        logits_of,
        vectors,
        ids,
        words,
        jnp.argmax(clean, axis=1),
        vocabulary=function.vocabulary,
        allowed=allowed,
        **dataclasses.asdict(settings),
    )
    return result.ids, clean, _logits(function, result.ids) - clean


@jax.jit
def _jacobians(function, ids, words, root):
    """Jacobians `[n, m, L D]` in coordinates that two networks share."""

    def logits_of(vectors):
        return function.logits(vectors, ids)

    logits, pull = jax.vjp(logits_of, function.vocabulary[ids])
    # Each row of logits comes from its text alone: one pass gives them all.
    by_output = [
        pull(jnp.zeros_like(logits).at[:, output].set(1))[0]
        for output in range(logits.shape[1])
    ]
    jacobian = jnp.stack(by_output, axis=1) * words[:, None, :, None]
    return (jacobian @ root.T).reshape(*logits.shape, -1)
