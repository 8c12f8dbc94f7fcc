"""BERT: a transformer encoder of texts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.models import layers

# Module-level, so that two networks of one architecture are equal as static data.
_INIT = nnx.initializers.normal(0.02)


class TokenVectors(NamedTuple):
    """Texts as the vectors of their tokens; `Bert` takes them in place of ids."""

    vectors: jax.Array
    """Word vectors, ``[n, L, d]``, or ``[L, d]`` of one text."""
    mask: jax.Array
    """True where there is a token, ``[n, L]``, or ``[L]``."""
    types: jax.Array | None = None
    """Token types as in `Bert.token_types`; zeros if None."""


class Bert(nnx.Module):
    r"""Encoder of BERT with mean pooling and a linear classifier.

    Vectors of words, positions and token types are added and normalised. Each block is
    attention, :math:`\operatorname{softmax}(Q K^\top / \sqrt{d_h}) V` over the tokens
    that are no padding, and a layer of exact GELU units,
    :math:`x \Phi(x)`; each is added to its input and then normalised (post-norm). The
    embedding is the mean of the last states over the tokens of a text. Kernels and
    vectors start normal with deviation 0.02, the classifier LeCun normal, biases zero.

    Args:
      num_classes: number of outputs.
      vocab_size: number of token ids.
      num_layers: number of blocks.
      num_heads: heads of the attention; a divisor of `width`.
      width: length of the vector of a token, :math:`d`.
      hidden_width: units of the hidden layer of a block.
      max_length: number of positions, the longest text in tokens.
      num_types: number of token types.
      pad_id: id of padding.
      separator_id: id of the token that ends a text. What follows the first one, in
        pairs of texts, is of type 1; with None all tokens are of type 0.
      norm_epsilon: added to variances.
      dropout_rate: fraction dropped in training, of the first vectors, of the attention
        and of what each half of a block adds.
      rngs: source of the initial weights.

    Raises:
      ValueError: if a size is not a positive integer, `num_heads` does not divide
        `width` or `dropout_rate` is not in [0, 1).

    Example:
      >>> model = Bert(
      ...     num_classes=2, vocab_size=9, num_layers=1, num_heads=2, width=4,
      ...     hidden_width=8, max_length=6, rngs=nnx.Rngs(0),
      ... )
      >>> logits, out = model(jnp.array([[1, 5, 2, 0], [1, 7, 8, 2]]))
      >>> logits.shape, out["embedding"].shape, out["hidden_states"][0].shape
      ((2, 2), (2, 4), (2, 4, 4))

    References:
      Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for
      Language Understanding", 2019, section 3.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        vocab_size: int,
        num_layers: int = 12,
        num_heads: int = 12,
        width: int = 768,
        hidden_width: int = 3072,
        max_length: int = 512,
        num_types: int = 2,
        pad_id: int = 0,
        separator_id: int | None = None,
        norm_epsilon: float = 1e-12,
        dropout_rate: float = 0.0,
        rngs: nnx.Rngs,
    ):
        """Builds the network in evaluation mode; see the class."""
        layers.check_image_sizes(
            num_classes=num_classes,
            vocab_size=vocab_size,
            num_layers=num_layers,
            num_heads=num_heads,
            width=width,
            hidden_width=hidden_width,
            max_length=max_length,
            num_types=num_types,
        )
        if width % num_heads:
            raise ValueError(f"num_heads must divide width {width}, got {num_heads}.")
        if not 0 <= dropout_rate < 1:
            raise ValueError(f"dropout_rate must be in [0, 1), got {dropout_rate!r}.")
        self.example_shape = (None,)
        self.pad_id, self.separator_id = pad_id, separator_id
        self.words, self.positions, self.types = (
            nnx.Param(_INIT(rngs.params(), (size, width), jnp.float32))
            for size in (vocab_size, max_length, num_types)
        )
        self.norm = _norm(width, norm_epsilon, rngs)
        self.dropout = nnx.Dropout(dropout_rate, deterministic=True)
        self.blocks = nnx.List(
            _Block(width, hidden_width, num_heads, norm_epsilon, dropout_rate, rngs)
            for _ in range(num_layers)
        )
        self.classifier = layers.linear(width, num_classes, rngs=rngs)

    def __call__(
        self, x: ArrayLike | TokenVectors, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits and intermediates.

        Args:
          x: token ids, integers ``[n, L]``, or ``[L]`` of one text, with `pad_id` at
            what is no token; or `TokenVectors`. An id past the vocabulary gives
            not-a-number.
          key: randomness of the dropout; needed in training mode only.

        Returns:
          Logits ``[n, C]`` and `out`: `embedding` ``[n, width]``, zero for a text
          without a token, `hidden_states` (``[n, L, width]`` after each block) and no
          `feature_maps`.

        Raises:
          ValueError: if a shape does not fit, there are more than `max_length` tokens,
            or training with dropout lacks a key.
          TypeError: if ids are not integers.
        """
        if not isinstance(x, TokenVectors):
            ids = jnp.asarray(x)
            checks.integer("x", ids)
            mask, types = ids != self.pad_id, self.token_types(ids)
            x = TokenVectors(self.word_embeddings(ids), mask, types)
        if jnp.ndim(x.mask) == 1:
            batch = jax.tree.map(lambda array: jnp.asarray(array)[None], x)
            outputs = self.from_embeddings(*batch, key=key)
            return jax.tree.map(lambda y: jnp.squeeze(y, 0), outputs)
        return self.from_embeddings(*x, key=key)

    @property
    def vocabulary(self) -> jax.Array:
        """Word vectors of all ids, ``[vocab_size, width]``."""
        return self.words[...]

    def word_embeddings(self, ids: ArrayLike) -> jax.Array:
        """Returns the word vectors ``[..., L, width]`` of token ids ``[..., L]``."""
        return _rows(self.words, ids)

    def token_types(self, ids: ArrayLike) -> jax.Array:
        """Returns the types of tokens, see the function of this name."""
        return token_types(
            ids,
            pad_id=self.pad_id,
            separator_id=self.separator_id,
            num_types=len(self.types[...]),
        )

    def from_embeddings(
        self,
        word_vectors: ArrayLike,
        mask: ArrayLike,
        types: ArrayLike | None = None,
        *,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, dict]:
        """Returns the same as a call, of texts given as word vectors.

        Args:
          word_vectors: floating, shape ``[n, L, width]``; see `word_embeddings`.
          mask: True where there is a token, ``[n, L]``. Other vectors have no
            influence on logits and embedding.
          types: token types ``[n, L]``; zeros if None.
          key: randomness of the dropout.

        Raises:
          ValueError: if shapes do not fit or there are more than `max_length` tokens.
        """
        x, mask = jnp.asarray(word_vectors), jnp.asarray(mask, bool)
        most, width = self.positions[...].shape
        if mask.ndim != 2 or x.shape != (*mask.shape, width):
            raise ValueError(
                f"word_vectors must be [n, L, {width}] with a mask [n, L], got "
                f"{x.shape} and {mask.shape}."
            )
        if mask.shape[1] > most:
            raise ValueError(
                f"Texts must have {most} tokens or fewer, got {mask.shape[1]}."
            )
        keys = _keys(self.dropout, key, 1 + len(self.blocks))
        types = jnp.zeros(mask.shape, jnp.int32) if types is None else types
        x = x + self.positions[...][None, : mask.shape[1]] + _rows(self.types, types)
        x = self.dropout(self.norm(x), rngs=keys[0])
        states = []
        for block, block_key in zip(self.blocks, keys[1:], strict=True):
            x = block(x, mask, block_key)
            states.append(x)
        weights = mask.astype(x.dtype)[:, :, None]
        # A text without a token has the embedding zero.
        embedding = jnp.sum(x * weights, axis=1) / jnp.maximum(weights.sum(1), 1)
        out = {
            "embedding": layers.wide(embedding),
            "hidden_states": tuple(states),
            "feature_maps": (),
        }
        return self.classifier(out["embedding"]), out


def token_types(
    ids: ArrayLike, *, pad_id: int, separator_id: int | None, num_types: int
) -> jax.Array:
    """Returns the number of separators before each token, up to the last type.

    Args:
      ids: token ids, integers ``[..., L]``.
      pad_id: id of padding, which is of type 0.
      separator_id: id of the separator; with None all tokens are of type 0.
      num_types: number of types.

    Example:
      >>> ids = jnp.array([1, 5, 2, 7, 8, 2, 0])
      >>> token_types(ids, pad_id=0, separator_id=2, num_types=2).tolist()
      [0, 0, 0, 1, 1, 1, 0]
    """
    ids = jnp.asarray(ids)
    if separator_id is None:
        return jnp.zeros(ids.shape, jnp.int32)
    ends = (ids == separator_id).astype(jnp.int32)
    count = jnp.cumsum(ends, axis=-1) - ends
    return jnp.minimum(count, num_types - 1) * (ids != pad_id)


class _Block(nnx.Module):
    """Attention and a hidden layer, each added to its input and normalised."""

    def __init__(self, width, hidden_width, num_heads, epsilon, dropout_rate, rngs):
        init = {"kernel_init": _INIT, "rngs": rngs}
        self.num_heads = num_heads
        self.query, self.key, self.value, self.output = (
            layers.linear(width, width, **init) for _ in range(4)
        )
        self.attention_norm = _norm(width, epsilon, rngs)
        self.hidden = layers.linear(width, hidden_width, **init)
        self.projection = layers.linear(hidden_width, width, **init)
        self.output_norm = _norm(width, epsilon, rngs)
        self.dropout = nnx.Dropout(dropout_rate, deterministic=True)

    def __call__(self, x, mask, key):
        """Maps states ``[n, L, d]`` to those behind the block."""
        keys = _keys(self.dropout, key, 3)
        attended = self.output(self._attended(x, mask, keys[0]))
        x = self.attention_norm(x + self.dropout(attended, rngs=keys[1]))
        hidden = nnx.gelu(self.hidden(x), approximate=False)
        return self.output_norm(x + self.dropout(self.projection(hidden), rngs=keys[2]))

    def _attended(self, x, mask, key):
        n, length, width = x.shape
        heads = (n, length, self.num_heads, width // self.num_heads)
        query, keys, values = (
            layer(x).reshape(heads) for layer in (self.query, self.key, self.value)
        )
        scores = jnp.einsum("nihd,njhd->nhij", query, keys) / heads[3] ** 0.5
        # Not infinity: of a text without a token all scores would be not-a-number.
        scores = jnp.where(mask[:, None, None], scores, jnp.finfo(scores.dtype).min)
        weights = self.dropout(nnx.softmax(scores), rngs=key)
        return jnp.einsum("nhij,njhd->nihd", weights, values).reshape(x.shape)


def _rows(table: nnx.Param, ids: ArrayLike) -> jax.Array:
    # `nnx.Embed` would round the rows to the precision that they started in.
    return jnp.take(table[...], jnp.asarray(ids), axis=0)


def _norm(width, epsilon, rngs):
    # The fast variance, a difference of squares, loses small deviations.
    return nnx.LayerNorm(width, epsilon=epsilon, use_fast_variance=False, rngs=rngs)


def _keys(dropout: nnx.Dropout, key, count: int):
    """Keys of as many draws, None where nothing is dropped."""
    if dropout.deterministic or not dropout.rate:
        return [None] * count
    if key is None:
        raise ValueError("key must be given to train with dropout.")
    return list(jax.random.split(key, count))
