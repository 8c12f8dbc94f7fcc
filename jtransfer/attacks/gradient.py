"""Attacks by gradients: FGSM, PGD and momentum, one loop."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.attacks.losses import scalar_loss
from jtransfer.attacks.norms import Norm, divisor


def pgd(
    loss: Callable,
    x: ArrayLike,
    start: ArrayLike,
    *,
    norm: Norm,
    epsilon: ArrayLike,
    step_size: ArrayLike,
    num_steps: int,
    decay: ArrayLike = 0.0,
    bounds: tuple[ArrayLike, ArrayLike] | None = None,
    unroll: int | bool = 1,
) -> jax.Array:
    r"""Maximises a loss near one example by projected gradient ascent.

    .. math:: g \leftarrow \mu g + \frac{\nabla \ell(x + \delta)}
              {\|\nabla \ell(x + \delta)\|_1}, \quad
              \delta \leftarrow \operatorname{clip}(\operatorname{project}(
              \delta + s \cdot \operatorname{steepest}(g))).

    PGD is the case :math:`\mu = 0`, MI-FGSM :math:`\mu = 1` with `LINF` from a start at
    zero. A gradient of zero moves nothing. Where the start breaks a limit it is moved
    inside first. The result is a constant for differentiation.

    This is one example: use ``jax.vmap`` for a batch, and ``jax.jit`` around it.

    Args:
      loss: function of one example that returns a scalar; it is maximised. See
        `cross_entropy_loss`, `prediction_loss`, `deviation_loss`.
      x: one clean example, of any shape. An entry outside of `bounds` may come nearer
        to them or stay, and so does not leave the ball.
      start: first delta, in the shape of `x`: ``norm.uniform(key, x, epsilon)`` or
        zeros. From zeros `deviation_loss` never moves.
      norm: `LINF`, `L2` or another triple of functions.
      epsilon: radius of the ball.
      step_size: length of a step; commonly ``5 * epsilon / num_steps``.
      num_steps: number of gradients; static.
      decay: weight of the momentum, :math:`\mu`.
      bounds: least and greatest value of an entry of ``x + delta``.
      unroll: steps that are one body of the loop. On a processor convolutions in a
        loop are slow, and ``unroll=True`` takes more to compile and less to run.

    Returns:
      The last delta, in the shape of `x`.

    Raises:
      ValueError: if shapes do not agree, the loss is not a scalar or `num_steps` is
        negative.
      TypeError: if `x` is not floating-point.

    Example:
      >>> from jtransfer.attacks import LINF
      >>> delta = pgd(
      ...     lambda x: x[0] - 3 * x[1], jnp.array([0.5, 0.1]), jnp.zeros(2),
      ...     norm=LINF, epsilon=0.2, step_size=0.1, num_steps=4, bounds=(0, 1),
      ... )
      >>> print(delta)
      [ 0.2 -0.1]

    References:
      Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks",
      2018, section 2.1. Dong et al., "Boosting Adversarial Attacks with Momentum",
      2018, Algorithm 1.
    """
    x = jnp.asarray(x)
    checks.floating("x", x)
    start = jnp.asarray(start, x.dtype)
    checks.same_shape(x=x, start=start)
    if num_steps < 0:
        raise ValueError(f"num_steps must not be negative, got {num_steps}.")

    def step(state, _):
        moved = _ascended(loss, x, *state, norm, epsilon, step_size, decay, bounds)
        return moved, None

    state = _inside(start, x, norm, epsilon, bounds), jnp.zeros_like(x)
    (delta, _), _ = jax.lax.scan(step, state, length=num_steps, unroll=unroll)
    return jax.lax.stop_gradient(delta)


def pgd_step(
    loss: Callable,
    x: ArrayLike,
    delta: ArrayLike,
    momentum: ArrayLike,
    *,
    norm: Norm,
    epsilon: ArrayLike,
    step_size: ArrayLike,
    decay: ArrayLike = 0.0,
    bounds: tuple[ArrayLike, ArrayLike] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Makes one step of `pgd`, for loops that compile a single step.

    As many steps from the same start, the first with a momentum of zeros, give the
    delta of `pgd`.

    Args:
      loss: function of one example that returns a scalar; it is maximised.
      x: one clean example, of any shape; see `pgd` for entries outside of `bounds`.
      delta: that of the last step, in the shape of `x`; one that breaks a limit is
        moved inside first.
      momentum: that of the last step, in the shape of `x`.
      norm: `LINF`, `L2` or another triple of functions.
      epsilon: radius of the ball.
      step_size: length of the step.
      decay: weight of the momentum.
      bounds: least and greatest value of an entry of `x + delta`.

    Returns:
      The new delta and the new momentum; constants for differentiation.

    Raises:
      ValueError: if shapes do not agree or the loss is not a scalar.
      TypeError: if `x` is not floating-point.

    Example:
      >>> from jtransfer.attacks import LINF
      >>> delta, momentum = pgd_step(
      ...     lambda x: x[0] - 3 * x[1], jnp.zeros(2), jnp.zeros(2), jnp.zeros(2),
      ...     norm=LINF, epsilon=0.2, step_size=0.1,
      ... )
      >>> print(delta, momentum)
      [ 0.1 -0.1] [ 0.25 -0.75]

    References:
      Dong et al., "Boosting Adversarial Attacks with Momentum", 2018, Algorithm 1.
    """
    x = jnp.asarray(x)
    checks.floating("x", x)
    delta, momentum = (jnp.asarray(array, x.dtype) for array in (delta, momentum))
    checks.same_shape(x=x, delta=delta, momentum=momentum)
    delta = _inside(delta, x, norm, epsilon, bounds)
    moved = _ascended(loss, x, delta, momentum, norm, epsilon, step_size, decay, bounds)
    return jax.lax.stop_gradient(moved)


def fgsm(
    loss: Callable,
    x: ArrayLike,
    start: ArrayLike,
    *,
    norm: Norm,
    epsilon: ArrayLike,
    bounds: tuple[ArrayLike, ArrayLike] | None = None,
) -> jax.Array:
    """Attacks one example by one step of the whole radius.

    With a random start this is what the paper calls FGSM; from zeros it is the fast
    gradient sign method as first published.

    Args:
      loss: function of one example that returns a scalar; it is maximised.
      x: one clean example, of any shape; see `pgd` for entries outside of `bounds`.
      start: delta from which the step is made, in the shape of `x`.
      norm: `LINF`, `L2` or another triple of functions.
      epsilon: radius of the ball and length of the step.
      bounds: least and greatest value of an entry of `x + delta`.

    Returns:
      The delta, in the shape of `x`; a constant for differentiation.

    Raises:
      ValueError: if shapes do not agree or the loss is not a scalar.
      TypeError: if `x` is not floating-point.

    Example:
      >>> from jtransfer.attacks import LINF
      >>> loss = lambda x: -jnp.sum(x**2)
      >>> print(fgsm(loss, jnp.array([2.0, -1.0]), jnp.zeros(2), norm=LINF, epsilon=1))
      [-1.  1.]

    References:
      Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial
      Examples", 2015.
    """
    return pgd(
        loss,
        x,
        start,
        norm=norm,
        epsilon=epsilon,
        step_size=epsilon,
        num_steps=1,
        bounds=bounds,
    )


def _ascended(loss, x, delta, momentum, norm, epsilon, step_size, decay, bounds):
    """The delta and the momentum after a step from a delta within the limits."""
    gradient = jax.grad(scalar_loss(loss))(x + delta)
    # The sum of magnitudes may overflow where the greatest of them does not.
    gradient /= divisor(jnp.max(jnp.abs(gradient)))
    gradient /= divisor(jnp.sum(jnp.abs(gradient)))
    momentum = (decay * momentum + gradient).astype(x.dtype)
    delta = delta + step_size * norm.steepest(momentum)
    return _inside(delta, x, norm, epsilon, bounds), momentum


def _inside(delta, x, norm, epsilon, bounds) -> jax.Array:
    """The delta moved into the ball and the box."""
    return _clipped(norm.project(delta, epsilon).astype(x.dtype), x, bounds)


def _clipped(delta: jax.Array, x: jax.Array, bounds) -> jax.Array:
    if bounds is None:
        return delta
    low, high = (jnp.asarray(bound, x.dtype) for bound in bounds)
    # Zero stays allowed, also of an entry that lies outside: the ball is kept.
    return jnp.clip(delta, jnp.minimum(low - x, 0), jnp.maximum(high - x, 0))
