"""The optimal feature of a target whose inputs are continuous, by training.

For discrete inputs `jtransfer.hgr.modes` has it in closed form. Here two networks `f`
of the inputs and `g` of the labels are trained to maximise the soft HGR objective.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jtransfer import models, training
from jtransfer._internal.batches import equal_batches
from jtransfer.hgr import soft_hgr
from jtransfer.models import layers


class OptimalFeatures(NamedTuple):
    """Two trained networks.

    Attributes:
      f: variables of the network of the inputs, whose logits are the features.
      g: variables of the network of the labels.
      history: rows of training, see `jtransfer.training.FitResult`; `soft_hgr` is the
        objective, half an H-score.
    """

    f: models.Variables
    g: models.Variables
    history: list[dict[str, Any]]


class SymbolTable(nnx.Module):
    """Any function of a discrete variable: one vector of features a symbol.

    Args:
      num_symbols: number of symbols.
      num_features: number of features.
      rngs: source of the initial features, standard normal.

    Raises:
      ValueError: if a size is not a positive integer.

    Example:
      >>> table = SymbolTable(num_symbols=3, num_features=2, rngs=nnx.Rngs(0))
      >>> features, _ = table(jnp.array([2, 0, 0, 1]))
      >>> features.shape
      (4, 2)
    """

    def __init__(self, *, num_symbols: int, num_features: int, rngs: nnx.Rngs):
        """Draws the features; see the class."""
        layers.check_image_sizes(num_symbols=num_symbols, num_features=num_features)
        draws = jax.random.normal(rngs.params(), (num_symbols, num_features))
        self.features = nnx.Param(draws)

    def __call__(
        self, symbols: ArrayLike, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns the features of symbols, ``[n]`` to ``[n, k]``, and nothing more."""
        del key
        return self.features[jnp.asarray(symbols)], {}


def optimal_features(
    f: nnx.Module,
    g: nnx.Module,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    num_steps: int,
    batch_size: int,
    learning_rate: float = 1e-3,
    held_out: tuple[np.ndarray, np.ndarray] | None = None,
    validate_every: int = 100,
    seed: int,
) -> OptimalFeatures:
    r"""Trains a feature of the inputs to have the largest H-score for the labels.

    .. math:: \max_{f, g} E[\bar f(X)^T \bar g(Y)]
              - \tfrac12 \operatorname{tr}(\operatorname{cov}(f) \operatorname{cov}(g))

    by Adam on batches, the learning rate falling to zero along a cosine. With networks
    that can be any function the maximum is half the H-score of the optimal feature;
    networks that cannot reach it give less, and on the examples of the training the
    H-score is too high: take that of others. The covariances are those of a batch, so
    that batches should hold many times as many examples as there are features.

    Args:
      f: network of the inputs, of `jtransfer.models` with `num_classes` the number k of
        features.
      g: network of the labels with as many features; `SymbolTable` for classes.
      inputs: what `f` takes, shape ``[n, ...]``.
      labels: what `g` takes, shape ``[n, ...]``.
      num_steps: number of steps.
      batch_size: examples a step.
      learning_rate: of the first step.
      held_out: inputs and labels of other examples, on which the best variables are
        chosen; those after the last step if None.
      validate_every: steps between two looks at them.
      seed: of the order of the examples.

    Returns:
      The trained networks; `features_of` gives their features for any inputs.

    Raises:
      ValueError: if `f` and `g` differ in their number of features.
      jtransfer.training.NonFiniteLoss: if training diverges.

    Example:
      >>> x = y = np.arange(64) % 4
      >>> f, g = (
      ...     SymbolTable(num_symbols=4, num_features=3, rngs=nnx.Rngs(seed))
      ...     for seed in (0, 1)
      ... )
      >>> options = dict(num_steps=500, batch_size=64, learning_rate=0.03, seed=0)
      >>> trained = optimal_features(f, g, x, y, **options)
      >>> round(2 * trained.history[-1]["soft_hgr"], 2)
      3.0

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Eq. (3) and Figure 2b.
      Wang et al., "An Efficient Approach to Informative Feature Extraction from
      Multimodal Data", 2019.
    """
    (f_fn, *f_start), (g_fn, *g_start) = (models.trainable(model) for model in (f, g))
    start = tuple(
        {"f": of_f, "g": of_g} for of_f, of_g in zip(f_start, g_start, strict=True)
    )
    validation = None
    if held_out is not None:
        validation = training.Validation(
            evaluate=functools.partial(_on_held_out, f, g, held_out),
            every=validate_every,
            criterion=lambda metrics: metrics["soft_hgr"],
        )
    result = training.fit(
        soft_hgr_objective(f_fn, g_fn),
        start,
        {"inputs": inputs, "labels": labels},
        optimizer=_adam(learning_rate, num_steps),
        num_steps=num_steps,
        batch_size=batch_size,
        seed=seed,
        validation=validation,
        progress=False,
    )
    params, stats = result.best
    of_f, of_g = (models.Variables(params[name], stats[name]) for name in ("f", "g"))
    return OptimalFeatures(of_f, of_g, result.history)


def features_of(
    model: nnx.Module,
    variables: models.Variables,
    inputs: np.ndarray,
    *,
    batch_size: int = 256,
) -> np.ndarray:
    """Computes the logits of a network, batch by batch, in evaluation mode.

    Args:
      model: the network, of which the architecture counts.
      variables: its variables.
      inputs: shape ``[n, ...]``, n at least 1.
      batch_size: inputs at a time; the last batch is filled up to it.

    Returns:
      The features, shape ``[n, k]``.
    """
    apply_fn = models.functional(model)[0]
    parts = []
    for rows, num_new in equal_batches(len(inputs), batch_size):
        batch = np.asarray(inputs)[rows]
        parts.append(np.asarray(_logits(apply_fn, variables, batch))[:num_new])
    return np.concatenate(parts)


def soft_hgr_objective(
    f_fn: Callable[..., Any], g_fn: Callable[..., Any]
) -> Callable[..., Any]:
    """Returns minus the soft HGR objective of two networks, for `training.fit`.

    Args:
      f_fn: of `jtransfer.models.trainable`; it gets `inputs` of the batch.
      g_fn: the same; it gets `labels`.

    Returns:
      ``objective(params, stats, batch, key) -> (value, (parts, new_stats))``, where
      `params` and `stats` are dicts of those of `f` and `g`. Equal functions give equal
      objectives, which `fit` compiles once.
    """
    return _SoftHgrObjective(f_fn, g_fn)


@dataclasses.dataclass(frozen=True)
class _SoftHgrObjective:
    f_fn: Callable[..., Any]
    g_fn: Callable[..., Any]

    def __call__(self, params, stats, batch, key):
        """Returns value, parts and new statistics of a batch."""
        f_key, g_key = jax.random.split(key)
        (f, _), f_stats = self.f_fn(params["f"], stats["f"], batch["inputs"], f_key)
        (g, _), g_stats = self.g_fn(params["g"], stats["g"], batch["labels"], g_key)
        value = soft_hgr(f, g)
        return -value, ({"soft_hgr": value}, {"f": f_stats, "g": g_stats})


@jax.jit(static_argnames=("apply_fn",))
def _logits(apply_fn, variables, x):
    return apply_fn(variables, x)[0]


@functools.lru_cache(maxsize=16)
def _adam(learning_rate: float, num_steps: int):
    # One object for equal arguments, so that `fit` compiles once for equal networks.
    import optax

    return optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))


def _on_held_out(f, g, examples, variables) -> dict[str, float]:
    features = (
        features_of(
            model,
            models.Variables(variables.params[name], variables.stats[name]),
            np.asarray(array),
        )
        for model, name, array in zip((f, g), ("f", "g"), examples, strict=True)
    )
    return {"soft_hgr": float(soft_hgr(*features))}
