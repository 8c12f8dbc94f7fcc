"""Objectives of training, and the evaluation of networks."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.data import ChannelStatistics, normalized
from jtransfer.training import devices

if TYPE_CHECKING:
    from jtransfer.models import Variables

Preprocess = Callable[[ArrayLike, jax.Array | None], jax.Array]
Batch = Mapping[str, Any]
Parts = dict[str, jax.Array]


def preprocessing(
    statistics: ChannelStatistics,
    *,
    augment: Callable[[jax.Array, ArrayLike], jax.Array] | None = None,
) -> Preprocess:
    """Returns the way from stored images to the inputs of a network.

    One function serves training and evaluation: it augments where it gets a key.

    Args:
      statistics: mean and deviation of each channel, of the training images.
      augment: ``augment(key, images)`` changes the stored images at random, such as
        `jtransfer.data.augmented`.

    Returns:
      ``preprocess(images, key)``, pure; `key` None does not augment. Equal statistics
      and the same `augment` give equal functions.

    Example:
      >>> from jtransfer import data
      >>> images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
      >>> preprocess = preprocessing(data.channel_statistics(images))
      >>> preprocess(images, None).ravel().round(3)
      Array([-1.,  1.], dtype=float32)
    """
    values = tuple(np.asarray(part).tobytes() for part in statistics)
    return _Preprocessing(values, augment, statistics)


@dataclasses.dataclass(frozen=True)
class _Preprocessing:
    """The way to the inputs; equal values make equal ways, which compile once."""

    values: tuple[bytes, ...]
    augment: Callable[[jax.Array, ArrayLike], jax.Array] | None
    statistics: ChannelStatistics = dataclasses.field(compare=False)

    def __call__(self, images, key):
        """Returns the inputs of the network."""
        if self.augment is not None and key is not None:
            images = self.augment(key, images)
        mean, std = self.statistics
        return normalized(images, mean=mean, std=std)


def classification_loss(
    outputs: tuple[jax.Array, Any], batch: Batch
) -> tuple[jax.Array, Parts]:
    r"""Computes the cross-entropy with integer labels, and the accuracy.

    .. math:: \frac1n \sum_i -\log \operatorname{softmax}(z_i)_{y_i}

    Args:
      outputs: of a network, ``(logits, out)`` with logits ``[n, C]``.
      batch: holds `labels`, integers in ``[0, C)``, shape ``[n]``.

    Returns:
      The mean, shape ``[]``, and `accuracy` as its only part.

    Example:
      >>> logits = jnp.array([[0.0, 0.0], [3.0, 3.0]])
      >>> batch = {"labels": jnp.array([0, 1])}
      >>> value, parts = classification_loss((logits, {}), batch)
      >>> f"{value:.3f} {parts['accuracy']:.1f}"
      '0.693 0.5'
    """
    terms, hits = _terms(outputs[0], batch["labels"])
    return jnp.mean(terms), {"accuracy": jnp.mean(hits.astype(terms.dtype))}


def supervised(
    train_fn: Callable[..., Any],
    loss: Callable[[Any, Batch], tuple[jax.Array, Parts]] = classification_loss,
    *,
    preprocess: Preprocess | None = None,
    inputs: str = "images",
) -> Callable[..., Any]:
    """Returns the objective of a loss on the outputs of one network.

    Equal arguments give equal objectives, which `fit` compiles once.

    Args:
      train_fn: of `jtransfer.models.trainable`.
      loss: ``loss(outputs, batch) -> (value, parts)`` with the mean over the batch and
        a dict of scalars to log. `outputs` is ``(logits, out)``; `batch` holds the
        inputs as the network saw them, `labels` and every other array that `fit` was
        given, such as `teacher_logits`.
      preprocess: see `preprocessing`; None leaves the inputs as they are.
      inputs: the name of the inputs in the batch.

    Returns:
      ``objective(params, stats, batch, key) -> (value, (parts, new_stats))``.

    Example:
      >>> train_fn = lambda params, stats, x, key: ((x @ params, {}), stats)
      >>> batch = {"images": jnp.eye(2), "labels": jnp.array([0, 1])}
      >>> objective = supervised(train_fn)
      >>> value, (parts, _) = objective(jnp.eye(2), {}, batch, jax.random.key(0))
      >>> f"{value:.3f} {parts['accuracy']:.1f}"
      '0.313 1.0'
    """
    return _Supervised(train_fn, loss, preprocess, inputs)


@dataclasses.dataclass(frozen=True)
class _Supervised:
    """The objective of a loss; equal parts make equal objectives."""

    train_fn: Callable[..., Any]
    loss: Callable[[Any, Batch], tuple[jax.Array, Parts]]
    preprocess: Preprocess | None
    inputs: str

    def __call__(self, params, stats, batch, key):
        """Returns value, parts and new statistics of a batch."""
        augment_key, dropout_key = jax.random.split(key)
        x = batch[self.inputs]
        if self.preprocess is not None:
            x = self.preprocess(x, augment_key)
        outputs, new_stats = self.train_fn(params, stats, x, dropout_key)
        value, parts = self.loss(outputs, {**batch, self.inputs: x})
        return value, (parts, new_stats)


def evaluated(
    apply_fn: Callable[..., Any],
    variables: "Variables",
    images: ArrayLike,
    labels: ArrayLike,
    *,
    preprocess: Preprocess | None = None,
    batch_size: int = 256,
    mesh: Mesh | None = None,
) -> dict[str, float]:
    """Computes cross-entropy and accuracy over a whole set.

    All batches have one shape, the last one is filled up and the filling left out, so
    one architecture and preprocessing compiles once.

    Args:
      apply_fn: of `jtransfer.models.functional`, in evaluation mode.
      variables: of the network.
      images: on the host, shape ``[n, ...]``, n at least 1.
      labels: integers in ``[0, C)``, shape ``[n]``.
      preprocess: see `preprocessing`; it gets no key. None leaves images as they are.
      batch_size: images at once.
      mesh: devices that share a batch, see `training.devices`; one device if None.

    Returns:
      `loss` and `accuracy`.

    Raises:
      ValueError: if there are no images, their number is not that of the labels, or
        `batch_size` does not divide among the devices.

    Example:
      >>> apply_fn = lambda variables, x: (x @ variables, {})
      >>> x, y = np.eye(3, dtype=np.float32), np.array([0, 1, 1])
      >>> evaluated(apply_fn, 9 * jnp.eye(3), x, y, batch_size=2)["accuracy"]
      0.6666666666666666
    """
    images, labels = np.asarray(images), np.asarray(labels)
    checks.same_length(images=images, labels=labels)
    checks.positive("the number of images", len(images))
    mesh = devices.data_mesh(1) if mesh is None else mesh
    variables = devices.replicated(variables, mesh)
    sums = _sums(apply_fn, preprocess, mesh)
    parts = []
    for start in range(0, len(images), batch_size):
        rows = start + devices.local_rows(batch_size, mesh)
        valid = rows < len(images)
        rows = np.where(valid, rows, 0)
        batch = devices.on_mesh((images[rows], labels[rows], valid), mesh)
        parts.append(sums(variables, *batch))
    losses, hits = zip(*jax.device_get(parts), strict=True)
    return {
        "loss": float(np.sum(losses, dtype=np.float64) / len(images)),
        "accuracy": float(np.sum(hits) / len(images)),
    }


@functools.lru_cache(maxsize=8)
def _sums(apply_fn, preprocess, mesh):
    """The jitted sums of one batch: loss and right answers."""

    def sums(variables, images, labels, valid):
        x = images if preprocess is None else preprocess(images, None)
        terms, hits = _terms(apply_fn(variables, x)[0], labels)
        return jnp.sum(jnp.where(valid, terms, 0)), jnp.sum(valid & hits)

    return jax.jit(sums, out_shardings=devices.replication(mesh))


def _terms(logits, labels):
    """Cross-entropy of each example, in float32 or wider, and whether it is right."""
    import optax

    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses, jnp.argmax(logits, axis=1) == labels
