"""The strongest of several attacks on one example."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer.attacks.losses import scalar_loss


def best_attack(loss: Callable, x: ArrayLike, deltas: ArrayLike) -> jax.Array:
    """Picks the delta of the largest loss for one example.

    **It makes alpha1 at most 1**, to rounding. With `deviation_loss(f2, x)` as loss,
    in the metric of `alpha1`, and the attack on `f1` among the deltas, the own attack
    on `f2` deviates at least as far as the transferred one. A single PGD attack falls
    short of that on many examples.

    Args:
      loss: function of one example that returns a scalar.
      x: one clean example, of any shape.
      deltas: `s` attacks, shape `[s, *x.shape]`; own attack, transferred one, restarts.
        One whose loss is not a number never wins.

    Returns:
      The best delta, in the shape of `x`; of equals the first.

    Raises:
      ValueError: if the shapes do not agree or the loss is not a scalar.

    Example:
      >>> deltas = jnp.array([[0.1, 0.0], [0.0, -0.3]])
      >>> print(best_attack(jnp.linalg.norm, jnp.zeros(2), deltas))
      [ 0.  -0.3]
    """
    x, deltas = jnp.asarray(x), jnp.asarray(deltas)
    if deltas.shape[1:] != x.shape or not deltas.size:
        raise ValueError(
            f"deltas must have shape [s, *x.shape] with x of shape {x.shape}, "
            f"got {deltas.shape}."
        )
    losses = jax.vmap(scalar_loss(loss))(x[None] + deltas)
    best = jnp.argmax(jnp.where(jnp.isnan(losses), -jnp.inf, losses))
    return jax.lax.stop_gradient(deltas[best])
