"""Transferability: the H-score of a source's features in units of the best one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.moments import Moments, class_moments, merge
from jtransfer.scores._h_score import h_score


class TransferabilityInterval(NamedTuple):
    """A transferability with its standard error and 95% interval."""

    value: jax.Array
    """The estimate, `[]`."""
    standard_error: jax.Array
    """Its standard error, `[]`."""
    low: jax.Array
    """Lower end, `[]`."""
    high: jax.Array
    """Upper end, `[]`."""


@jax.jit
def task_transferability(h_source: ArrayLike, h_optimal: ArrayLike) -> jax.Array:
    r"""Computes the transferability of a source feature to a target task.

    .. math:: T(S, T) = H(f_S) / H(f_{opt}).

    It is 1 when the source feature is as good as the best one of the target. The
    estimate may exceed 1 by sampling, or because the optimum was not reached; see
    `transferability_interval` for how far that goes.

    Args:
      h_source: H-score of the source's features on the target, any shape.
      h_optimal: H-score of the target's optimal features, of the same shape or ``[]``.

    Returns:
      The ratio, not clipped, in the broadcast shape; 0 where `h_optimal` is 0, and
      NaN where it is NaN.

    Example:
      >>> float(task_transferability(1.5, 2.0))
      0.75

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Definition 3.
    """
    h_source, h_optimal = jnp.asarray(h_source), jnp.asarray(h_optimal)
    none = h_optimal <= 0
    return jnp.where(none, 0, h_source / jnp.where(none, 1, h_optimal))


@jax.jit(static_argnames=("num_classes", "num_blocks"))
def transferability_interval(
    source_features: ArrayLike,
    optimal_features: ArrayLike,
    labels: ArrayLike,
    key: jax.Array,
    *,
    num_classes: int,
    num_blocks: int = 10,
) -> TransferabilityInterval:
    r"""Computes the transferability of features with its 95% interval.

    The interval is that of the jackknife: the examples fall at random into `num_blocks`
    blocks alike in classes, and the ratio :math:`r_b` without each block gives

    .. math:: s^2 = \frac{g - 1}{g} \sum_b (r_b - \bar r)^2, \quad
              T \pm t_{g-1} s.

    Both H-scores are of the same examples, so that what moves them together does not
    widen it. It covers the draw of these examples, not the training of either feature,
    and no bias: an H-score exceeds the population's by about ``(C - 1) d / n``. **It is
    not clipped.** Above 1 it says that by these examples the optimum is not told from
    the source, that it was not reached, or that the source has more features than the
    examples bear. Neither feature should be trained on these examples.

    Args:
      source_features: features of the source, shape ``[n, d]``.
      optimal_features: the target's optimal features for the same examples, for
        instance of `jtransfer.transfer` or `jtransfer.hgr.modes`, ``[n, k]``.
      labels: integer classes of the target, ``[n]``; an example with a label outside
        ``[0, num_classes)`` is left out.
      key: random key of the blocks.
      num_classes: number of classes; static.
      num_blocks: number of blocks, at least 2; static. The cost is that of so many
        H-scores.

    Returns:
      The interval; all zeros where the optimal features have an H-score of 0.

    Raises:
      ValueError: if the shapes do not agree or there is one block only.
      TypeError: if the features are not floating-point or the labels not integers.

    Example:
      >>> labels = jnp.arange(60) % 3
      >>> best = jax.nn.one_hot(labels, 3)
      >>> options = dict(key=jax.random.key(0), num_classes=3)
      >>> interval = transferability_interval(best[:, :1], best, labels, **options)
      >>> round(float(interval.value), 3)
      0.5

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Definition 3.
      Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 11.
    """
    from scipy import special

    labels = jnp.asarray(labels)
    pair = jnp.asarray(source_features), jnp.asarray(optimal_features)
    for features in pair:
        checks.labelled(features, labels, num_classes)
    if num_blocks < 2:
        raise ValueError(f"num_blocks must be at least 2, got {num_blocks}.")
    labels = checks.class_labels(labels, num_classes)
    positions, dealt = _dealt(labels, key, num_blocks)
    scores = (
        _block_scores(features[positions], dealt, num_classes) for features in pair
    )
    ratios = task_transferability(*scores)
    value, left_out = ratios[0], ratios[1:]
    spread = jnp.sum((left_out - left_out.mean(keepdims=True)) ** 2)
    error = jnp.sqrt(spread * (num_blocks - 1) / num_blocks)
    width = float(special.stdtrit(num_blocks - 1, 0.975)) * error
    return TransferabilityInterval(value, error, value - width, value + width)


def _dealt(labels: jax.Array, key: jax.Array, num_blocks: int):
    """Returns positions of examples and their labels by block, -1 where filled up."""
    n = len(labels)
    # By class, at random within it: dealing in turn gives each block its share.
    order = jnp.lexsort((jax.random.uniform(key, (n,)), labels))
    filled = jnp.pad(order, (0, -n % num_blocks), constant_values=-1)
    positions = filled.reshape(-1, num_blocks).T
    return positions, jnp.where(positions < 0, -1, labels[positions])


def _block_scores(features: jax.Array, labels: jax.Array, num_classes: int):
    """Returns the H-score of all blocks together, then without each of them."""
    blocks = jax.vmap(lambda f, y: class_moments(f, y, num_classes=num_classes))(
        features, labels
    )
    first = jax.tree.map(lambda leaf: leaf[0], blocks)
    others = jax.tree.map(lambda leaf: leaf[1:], blocks)
    nothing = jax.tree.map(jnp.zeros_like, first)

    def without(block):
        # The moments of no example are zeros; block -1 leaves nothing out.
        def united(before, numbered):
            number, part = numbered
            part = _where(number == block, nothing, part)
            return merge(before, part), None

        numbers = jnp.arange(1, len(labels))
        start = _where(block == 0, nothing, first)
        return h_score(jax.lax.scan(united, start, (numbers, others))[0])

    return jax.lax.map(without, jnp.arange(-1, len(labels)))


def _where(condition: jax.Array, chosen: Moments, other: Moments) -> Moments:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), chosen, other)
