"""The word-level attack of T3 on texts."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.attacks.norms import divisor

_LARGEST_GRADIENT = 0.5
_BLOCK_SIZE = 2**23
"""Distances that are in memory at once, 32 MiB in float32."""


class WordAttackResult(NamedTuple):
    """Adversarial texts, judged by their tokens alone."""

    ids: jax.Array
    """Token ids, ``[n, L]``."""
    success: jax.Array
    """Whether the text is of another class than its label, or of its target;
    ``[n]``."""
    margin: jax.Array
    """Logit of the label less the largest other one, or the largest other one less that
    of the target, ``[n]``; negative of a success."""
    num_changed: jax.Array
    """Number of changed tokens, ``[n]``."""
    distance: jax.Array
    """Euclidean length of the change of the word vectors, ``[n]``."""


class _Attempt(NamedTuple):
    """Tokens of one step, and what is known of them."""

    ids: jax.Array
    margin: jax.Array
    num_changed: jax.Array
    distance: jax.Array


def word_attack(
    logits_of: Callable[[jax.Array], jax.Array],
    vectors: ArrayLike,
    ids: ArrayLike,
    words: ArrayLike,
    labels: ArrayLike,
    *,
    vocabulary: ArrayLike,
    allowed: ArrayLike,
    targets: ArrayLike | None = None,
    num_steps: int = 100,
    learning_rate: ArrayLike = 0.2,
    margin_weight: ArrayLike = 100.0,
    confidence: ArrayLike = 100.0,
) -> WordAttackResult:
    r"""Replaces words of texts until a classifier changes its prediction.

    A change :math:`\delta` of the word vectors is optimised by Adam, with the tokens as
    the base from which it is taken: with the vectors :math:`x_t` of step t, from
    :math:`x_0 = E`, those of the text,

    .. math:: x_{t + 1} = \operatorname{nearest}(x_t + \delta_t), \quad
              \ell = c \max(m + \kappa, 0) + \|x_{t + 1} - E\|^2,

    where :math:`m` is the margin, see `WordAttackResult`, and the gradient passes
    straight through the choice of the nearest allowed token; the token of the text is
    allowed in its place. A gradient is shortened to 0.5 a text, and one that is not
    finite moves nothing. Of the steps, the first of which is the text itself, the one
    is returned that succeeds with the fewest changed tokens, of these the nearest to
    the text; if none succeeds, that of the smallest margin. Texts do not influence one
    another.

    It differs from the released code where that is faulty: only words move, not
    separators and padding; steps are judged by their tokens; gradients are shortened
    for each text, not for the batch. A text whose prediction is not its label from the
    start is a success without a change. Use ``jax.jit`` around it.

    Args:
      logits_of: function of word vectors ``[n, L, d]`` that returns logits ``[n, C]``,
        each row from its text alone; it closes over masks.
      vectors: word vectors of the texts, floating, shape ``[n, L, d]``.
      ids: token ids, integers ``[n, L]``; `vectors` are their rows of `vocabulary`.
      words: True where a token may change, ``[n, L]``; False for special tokens and
        padding. A text without a word stays as it is.
      labels: classes to lead away from, integers ``[n]`` in ``[0, C)``; commonly the
        predictions.
      vocabulary: word vectors of all tokens, shape ``[V, d]``.
      allowed: True for tokens that may be put in, ``[V]``. If all are False, texts
        stay as they are.
      targets: classes to lead to, ``[n]``, in place of leading away from the labels.
      num_steps: number of gradients; static.
      learning_rate: step of Adam for each coordinate.
      margin_weight: weight of the margin against the squared distance, :math:`c`. Adam
        takes the scale out: large values ignore the distance.
      confidence: margin :math:`\kappa` beyond which there is nothing to win.

    Returns:
      The result; its numbers are those of `logits_of` at the tokens returned.

    Raises:
      ValueError: if shapes do not fit, `vocabulary` has no rows, there are fewer than
        two classes or `num_steps` is not positive.
      TypeError: if `vectors` is not floating or ids or labels are not integers.

    Example:
      >>> vocabulary = jnp.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.1]])
      >>> ids = jnp.array([[0, 1, 0]])
      >>> result = word_attack(
      ...     lambda vectors: vectors.sum(axis=1) * jnp.array([[1.0, -1.0]]),
      ...     vocabulary[ids], ids, ids == 1, jnp.array([0]),
      ...     vocabulary=vocabulary, allowed=jnp.array([False, True, True]),
      ... )
      >>> result.ids.tolist(), result.success.tolist(), result.num_changed.tolist()
      ([[0, 2, 0]], [True], [1])

    References:
      Wang et al., "T3: Tree-Autoencoder Constrained Adversarial Text Generation for
      Targeted Attack", 2020, section 3. Liang et al., "Uncovering the Connections
      Between Adversarial Transferability and Knowledge Transferability", 2021, whose
      settings are the defaults.
    """
    vectors, ids, words, labels = map(jnp.asarray, (vectors, ids, words, labels))
    vocabulary, allowed = jnp.asarray(vocabulary, vectors.dtype), jnp.asarray(allowed)
    _check(vectors, ids, words, labels, vocabulary, allowed, targets)
    checks.positive("num_steps", num_steps)
    # A narrow type might not hold all ids of the vocabulary.
    ids = ids.astype(jnp.int32) if ids.dtype.itemsize < 4 else ids
    words, allowed = words.astype(bool), allowed.astype(bool)
    classes, sign = (labels, 1) if targets is None else (jnp.asarray(targets), -1)
    nearest = _nearest(vocabulary, allowed)

    def vectors_at(ids_now):
        # Those of the text itself may not be the rows of its ids.
        changed = (ids_now != ids)[:, :, None]
        return jnp.where(changed, vocabulary[ids_now], vectors)

    def attempt(ids_now, margin):
        num_changed = jnp.sum(ids_now != ids, axis=1, dtype=jnp.int32)
        distance = _length(vectors_at(ids_now) - vectors)
        return _Attempt(ids_now, margin, num_changed, distance)

    def loss(vectors_now):
        margin = sign * _margin(logits_of(vectors_now), classes)
        hinge = margin_weight * jnp.maximum(margin + confidence, 0)
        return jnp.sum(hinge) + jnp.sum((vectors_now - vectors) ** 2), margin

    def step(state, number):
        base, delta, moments, best = state
        ids_now = jnp.where(words, nearest(base + delta, vectors, ids), ids)
        vectors_now = vectors_at(ids_now)
        gradient, margin = jax.grad(loss, has_aux=True)(vectors_now)
        gradient = _shortened(jnp.where(words[:, :, None], gradient, 0))
        direction, moments = _adam(gradient, moments, number)
        best = _better(best, attempt(ids_now, margin))
        delta = delta - learning_rate * direction
        return (vectors_now, delta, moments, best), None

    zero = jnp.zeros_like(vectors)
    worst = jnp.full(len(ids), jnp.inf, vectors.dtype)
    state = vectors, zero, (zero, zero), attempt(ids, worst)
    numbers = jnp.arange(1, num_steps + 1, dtype=vectors.dtype)
    (*_, best), _ = jax.lax.scan(step, state, numbers)
    margin = sign * _margin(logits_of(vectors_at(best.ids)), classes)
    _, _, num_changed, distance = best
    result = WordAttackResult(best.ids, margin < 0, margin, num_changed, distance)
    return jax.lax.stop_gradient(result)


def _nearest(vocabulary: jax.Array, allowed: jax.Array) -> Callable:
    """The function that returns the ids nearest to vectors."""
    # Squares of huge vectors would overflow.
    scale = divisor(jnp.max(jnp.abs(vocabulary)))
    # Transposed once: products with the rows as they are take twice as long.
    columns = (vocabulary / scale).T
    squares = jnp.where(allowed, jnp.sum(columns**2, axis=0), jnp.inf)
    width, num_rows = columns.shape
    numbers = jnp.arange(num_rows, dtype=jnp.int32)

    def nearest_row(points):
        """Ids of points ``[b, d]``: the first where |w|^2 - 2 x w is least."""
        excess = squares[None] - 2 * points @ columns
        least = excess == jnp.min(excess, axis=1, keepdims=True)
        # On a processor the least of numbers is twice as fast as an argmin.
        return jnp.min(jnp.where(least, numbers[None], num_rows - 1), axis=1)

    def nearest(points, vectors, ids):
        """Ids ``[n, L]``: the nearest allowed row, or the text's own token."""
        flat = points.reshape(ids.size, width) / scale
        block = max(1, min(len(flat), _BLOCK_SIZE // num_rows))
        padded = jnp.pad(flat, ((0, -len(flat) % block), (0, 0)))
        blocks = padded.reshape(-1, block, width)
        chosen = jax.lax.map(nearest_row, blocks).reshape(-1)[: len(flat)]
        chosen = chosen.reshape(ids.shape).astype(ids.dtype)
        # Differences, not the expanded squares: equal rows must be equally far.
        own, other = (
            jnp.sum(((points - other) / scale) ** 2, axis=2)
            for other in (vectors, vocabulary[chosen])
        )
        return jnp.where(allowed[chosen] & (other < own), chosen, ids)

    return nearest


def _margin(logits: jax.Array, classes: jax.Array) -> jax.Array:
    """Logit of a class less the largest of the others; not-a-number if none."""
    if logits.ndim != 2 or len(logits) != len(classes) or logits.shape[1] < 2:
        raise ValueError(
            f"logits_of must return [{len(classes)}, C] with two classes or more, "
            f"got {logits.shape}."
        )
    classes = checks.class_labels(classes, logits.shape[1])[:, None]
    own = jnp.arange(logits.shape[1], dtype=classes.dtype)[None] == classes
    others = jnp.max(jnp.where(own, -jnp.inf, logits), axis=1)
    margin = jnp.sum(jnp.where(own, logits, 0), axis=1) - others
    return jnp.where(jnp.any(own, axis=1), margin, jnp.nan)


def _length(changes: jax.Array) -> jax.Array:
    """Euclidean lengths ``[n]`` of arrays ``[n, L, d]``, also of huge ones."""
    peak = divisor(jnp.max(jnp.abs(changes), axis=(1, 2)))
    scaled = changes / peak[:, None, None]
    return peak * jnp.sqrt(jnp.sum(scaled**2, axis=(1, 2)))


def _shortened(gradient: jax.Array) -> jax.Array:
    """Gradients ``[n, L, d]``, each no longer than the limit; zero if not finite."""
    length = _length(gradient)
    factor = _LARGEST_GRADIENT / jnp.maximum(length, _LARGEST_GRADIENT)
    finite = jnp.isfinite(length)[:, None, None]
    return jnp.where(finite, gradient * factor[:, None, None], 0)


def _adam(gradient: jax.Array, moments: tuple, number: jax.Array) -> tuple:
    """The direction of a step of Adam, counted from 1, and the new moments."""
    first = 0.9 * moments[0] + 0.1 * gradient
    second = 0.999 * moments[1] + 0.001 * gradient**2
    size = jnp.sqrt(second / (1 - 0.999**number)) + 1e-8
    return first / (1 - 0.9**number) / size, (first, second)


def _better(best: _Attempt, new: _Attempt) -> _Attempt:
    """Of two attempts on each text the better one, of equals the first."""
    succeeds, did = new.margin < 0, best.margin < 0
    fewer = new.num_changed < best.num_changed
    nearer = (new.num_changed == best.num_changed) & (new.distance < best.distance)
    wins = jnp.where(did, succeeds & (fewer | nearer), new.margin < best.margin)

    def chosen(a, b):
        return jnp.where(wins if a.ndim == 1 else wins[:, None], b, a)

    return jax.tree.map(chosen, best, new)


def _check(vectors, ids, words, labels, vocabulary, allowed, targets):
    """Raises unless the arrays fit together."""
    checks.num_axes("vectors", vectors, 3)
    checks.floating("vectors", vectors)
    checks.num_axes("vocabulary", vocabulary, 2)
    n, length, width = vectors.shape
    expected = {
        "ids": (ids, (n, length)),
        "words": (words, (n, length)),
        "labels": (labels, (n,)),
        "vocabulary": (vocabulary, (len(vocabulary), width)),
        "allowed": (allowed, (len(vocabulary),)),
    }
    if targets is not None:
        expected["targets"] = (jnp.asarray(targets), (n,))
    for name in expected.keys() & {"ids", "labels", "targets"}:
        checks.integer(name, expected[name][0])
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}.")
    if not len(vocabulary):
        raise ValueError("vocabulary must have rows: there is no token to put in.")
