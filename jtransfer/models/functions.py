"""A network as a pure function of its variables: evaluation and training."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jtransfer.models._variables import Variables


def functional(model: nnx.Module) -> tuple[Callable[..., Any], Variables]:
    """Splits a network into a pure function and its variables, in evaluation mode.

    Batch normalisation uses its running statistics and dropout is off, whatever the
    state of `model`. Networks of one architecture and configuration get the *same*
    function, so its compiled form serves every seed.

    Args:
      model: a network of this package, or any NNX module.

    Returns:
      `(apply_fn, params)`: `apply_fn(params, x)` returns what ``model(x)`` returns and
      works under `jax.jit`, `jax.vmap` (over examples or over variables) and
      differentiation; `params` is a `Variables`.

    Example:
      >>> from jtransfer.models import OneHiddenLayer
      >>> model = OneHiddenLayer(
      ...     num_features=3, num_classes=2, width=4, rngs=nnx.Rngs(0)
      ... )
      >>> apply_fn, params = functional(model)
      >>> logits, out = apply_fn(params, jnp.ones(3))
      >>> logits.shape, out["embedding"].shape
      ((2,), (4,))
    """
    model = nnx.view(
        model, deterministic=True, use_running_average=True, raise_if_not_found=False
    )
    graphdef, params, stats, rest = nnx.split(model, nnx.Param, nnx.BatchStat, ...)
    variables = Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(stats))
    if jax.tree.leaves(rest):  # for instance the random state of a foreign module
        return _evaluation(graphdef, rest), variables
    return _shared_evaluation(graphdef), variables


def _evaluation(graphdef, *rest):
    """The function that rebuilds the network from its variables and calls it."""

    def apply_fn(params, x):
        """Logits and named intermediates, in evaluation mode."""
        return nnx.merge(graphdef, *params, *rest)(x)

    return apply_fn


_shared_evaluation = functools.lru_cache(maxsize=128)(_evaluation)


def trainable(
    model: nnx.Module,
) -> tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]:
    """Splits a network into a pure function for training, parameters and statistics.

    Batch normalisation uses the statistics of the batch and dropout is on. As with
    `functional`, one architecture has one function.

    Args:
      model: a network of this package.

    Returns:
      `(train_fn, params, stats)`, where `train_fn(params, stats, x, key)` returns
      `((logits, out), new_stats)`. `key` feeds the dropout, None will do without
      it. `new_stats` is `stats` moved a tenth of the way to the batch, in the same
      dtype. After training, `Variables(params, stats)` is what `apply_fn` takes.

    Raises:
      ValueError: if `model` holds variables other than parameters and statistics.

    Example:
      >>> from jtransfer.models import VGG
      >>> model = VGG(depth=4, num_classes=3, base_width=1, rngs=nnx.Rngs(0))
      >>> train_fn, params, stats = trainable(model)
      >>> x = jnp.ones((2, 8, 8, 3))
      >>> (logits, out), stats = jax.jit(train_fn)(params, stats, x, None)
      >>> logits.shape
      (2, 3)
    """
    model = nnx.view(
        model, deterministic=False, use_running_average=False, raise_if_not_found=False
    )
    graphdef, params, stats, rest = nnx.split(model, nnx.Param, nnx.BatchStat, ...)
    if jax.tree.leaves(rest):
        raise ValueError("model must hold nnx.Param and nnx.BatchStat variables only.")
    return _training(graphdef), nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


@functools.lru_cache(maxsize=128)
def _training(graphdef):
    """The function that rebuilds the network, calls it and reads its statistics."""

    def train_fn(params, stats, x, key):
        """Logits and named intermediates in training mode, and the new statistics."""
        # A wide batch must not widen the statistics: the caller's loop carries them.
        wide = jnp.result_type(x, *jax.tree.leaves((params, stats)))
        model = nnx.merge(
            graphdef, params, jax.tree.map(lambda stat: stat.astype(wide), stats)
        )
        outputs = model(x, key=key)
        new_stats = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
        return outputs, jax.tree.map(
            lambda stat, new: new.astype(stat.dtype), stats, new_stats
        )

    return train_fn
