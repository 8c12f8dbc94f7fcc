"""Losses that an attack makes large."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks


def cross_entropy_loss(f: Callable, label: ArrayLike) -> Callable:
    """Makes the cross-entropy of `f` against a label.

    Where the network is so sure that the loss underflows, its gradient keeps its
    direction: that of the log-odds of the other classes.

    Args:
      f: function of one example with logits `[C]`; one of minus infinity masks a class.
      label: integer class in `[0, C)`, shape `[]`; of any other the loss is NaN.

    Returns:
      A function of one example that returns the loss in nats, shape `[]`.

    Raises:
      ValueError: if `label` is not a scalar; use `jax.vmap`.
      TypeError: if `label` is not an integer.

    Example:
      >>> loss = cross_entropy_loss(lambda x: x, 1)
      >>> round(float(loss(jnp.zeros(4))), 4)
      1.3863
    """
    label = jnp.asarray(label)
    checks.num_axes("label", label, 0)
    checks.integer("label", label)
    return lambda x: _softplus(_log_odds(f(x), label))


def _log_odds(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Log-odds of all other classes together against the label; NaN without it."""
    own = jnp.arange(logits.shape[-1]) == label
    others = jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits))
    # With a single class there is no other one: odds of zero, without a gradient.
    others = others if logits.shape[-1] > 1 else jnp.finfo(logits.dtype).min / 2
    mine = jnp.sum(jnp.where(own, logits, 0))
    return jnp.where(jnp.any(own), others - mine, jnp.nan)


@jax.custom_jvp
def _softplus(odds: jax.Array) -> jax.Array:
    """The cross-entropy from the log-odds, with a slope that never underflows."""
    return jax.nn.softplus(odds)


@_softplus.defjvp
def _softplus_jvp(primals, tangents):
    (odds,), (tangent,) = primals, tangents
    least = jnp.finfo(odds.dtype).tiny ** 0.75
    return jax.nn.softplus(odds), jnp.maximum(jax.nn.sigmoid(odds), least) * tangent


def prediction_loss(f: Callable, x: ArrayLike) -> Callable:
    """Makes the cross-entropy of `f` against its own prediction at the clean `x`.

    Unlike a deviation it has a gradient at the clean example, and it needs no label.

    Args:
      f: function of one example with logits `[C]`.
      x: one clean example, of any shape.

    Returns:
      A function of one example that returns the loss in nats, shape `[]`.

    Example:
      >>> loss = prediction_loss(lambda x: x, jnp.array([0.0, 2.0]))
      >>> bool(loss(jnp.array([1.0, 0.0])) > loss(jnp.array([0.0, 1.0])))
      True
    """
    return cross_entropy_loss(f, jnp.argmax(f(jnp.asarray(x))))


def deviation_loss(
    f: Callable, x: ArrayLike, *, hessian: ArrayLike | None = None
) -> Callable:
    r"""Makes the squared deviation of the outputs of `f` from those at `x`.

    .. math:: \ell(x') = \|f(x') - f(x)\|_H^2.

    Its gradient at the clean example is zero: start attacks at random. The unsquared
    norm would not help, it has no gradient there.

    Args:
      f: function of one example with outputs ``[m]``.
      x: one clean example, of any shape.
      hessian: metric of the outputs, shape ``[m, m]``; the identity by default.

    Returns:
      A function of one example that returns the loss, shape ``[]``.

    Raises:
      ValueError: if `hessian` is not ``[m, m]``.

    Example:
      >>> loss = deviation_loss(lambda x: 2 * x, jnp.zeros(2))
      >>> float(loss(jnp.array([3.0, 0.0])))
      36.0

    References:
      Liang et al., 2021, Eq. (3).
    """
    clean = jax.lax.stop_gradient(f(jnp.asarray(x)))
    metric = None if hessian is None else jnp.asarray(hessian)
    if metric is not None and metric.shape != (clean.size, clean.size):
        raise ValueError(
            f"hessian must be [m, m], got {metric.shape} for {clean.shape}."
        )

    def loss(x):
        deviation = f(x) - clean
        return deviation @ (deviation if metric is None else metric @ deviation)

    return loss


def scalar_loss(loss: Callable) -> Callable:
    """Returns a loss that refuses to be anything but a scalar for one example."""

    def checked(x):
        value = loss(x)
        if jnp.shape(value) != ():
            raise ValueError(
                f"loss must return a scalar for one example, got {jnp.shape(value)}; "
                "for a batch use jax.vmap around the attack."
            )
        return value

    return checked
