"""A network in training mode that returns its batch statistics."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jtransfer.models.functions import trainable

_MOMENTUM = 0.9  # of jtransfer.models.layers.batch_norm


def self_normalized(model: nnx.Module) -> Callable[..., Any]:
    """Returns a network in training mode as a function that tells its statistics.

    `trainable` returns running statistics, of which a batch is a tenth, as constants.
    Here they are those of the batch itself, and functions of the parameters. Given to
    the function of `functional` they make the examples independent of each other while
    the outputs stay the same; and a derivative by the parameters knows that the
    statistics follow them. As with `functional`, one architecture has one function.

    Args:
      model: a network of this package.

    Returns:
      ``normalized_fn(params, stats, x, key) -> ((logits, out), batch_stats)`` with the
      outputs of `trainable`. Only shapes and dtypes of `stats` count.

    Raises:
      ValueError: if `model` holds variables other than parameters and statistics, or
        another batch normalisation than those of this package.

    Example:
      >>> from jtransfer.models import VGG, functional
      >>> model = VGG(depth=4, num_classes=3, base_width=1, rngs=nnx.Rngs(0))
      >>> apply_fn, (params, stats) = functional(model)
      >>> x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
      >>> (logits, _), stats = self_normalized(model)(params, stats, x, None)
      >>> bool(jnp.allclose(apply_fn((params, stats), x)[0], logits, atol=1e-5))
      True
    """
    model = nnx.view(model, deterministic=False, raise_if_not_found=False)
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.BatchNorm):
            if type(module) is not nnx.BatchNorm or module.momentum != _MOMENTUM:
                raise ValueError(f"{module} is not that of jtransfer.models.layers.")
            module.__class__ = _SelfNormalized  # the same variables, another call
    return trainable(model)[0]


def moved_statistics(stats: Any, batch_stats: Any) -> Any:
    """Returns running statistics after one more batch, as `trainable` does.

    Args:
      stats: before the batch.
      batch_stats: those of the batch, see `self_normalized`.

    Returns:
      `stats`, moved a tenth of the way to the batch, without derivatives.

    Example:
      >>> round(float(moved_statistics(jnp.array(0.0), jnp.array(1.0))), 3)
      0.1
    """
    return jax.tree.map(
        lambda old, new: _MOMENTUM * old + (1 - _MOMENTUM) * jax.lax.stop_gradient(new),
        stats,
        batch_stats,
    )


class _SelfNormalized(nnx.BatchNorm):
    """Batch normalisation that keeps the statistics of each batch as they are."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises `[..., c]` by its own means and variances."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        axes = tuple(range(x.ndim - 1))
        mean, square = jnp.mean(wide, axes), jnp.mean(jax.lax.square(wide), axes)
        self.mean[...] = mean
        self.var[...] = jnp.maximum(0.0, square - jax.lax.square(mean))
        return super().__call__(x, use_running_average=True)
