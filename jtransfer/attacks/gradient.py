"""Attacks by gradients: FGSM, PGD and momentum, one loop."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
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

    def inside(delta):
        return _clipped(norm.project(delta, epsilon).astype(x.dtype), x, bounds)

    def step(state, _):
        delta, momentum = state
        gradient = jax.grad(_scalar(loss))(x + delta)
        # The sum of magnitudes may overflow where the greatest of them does not.
        gradient /= divisor(jnp.max(jnp.abs(gradient)))
        gradient /= divisor(jnp.sum(jnp.abs(gradient)))
        momentum = (decay * momentum + gradient).astype(x.dtype)
        return (inside(delta + step_size * norm.steepest(momentum)), momentum), None

    state = inside(start), jnp.zeros_like(x)
    (delta, _), _ = jax.lax.scan(step, state, length=num_steps, unroll=unroll)
    return jax.lax.stop_gradient(delta)


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
    losses = jax.vmap(_scalar(loss))(x[None] + deltas)
    best = jnp.argmax(jnp.where(jnp.isnan(losses), -jnp.inf, losses))
    return jax.lax.stop_gradient(deltas[best])


def _clipped(delta: jax.Array, x: jax.Array, bounds) -> jax.Array:
    if bounds is None:
        return delta
    low, high = (jnp.asarray(bound, x.dtype) for bound in bounds)
    # Zero stays allowed, also of an entry that lies outside: the ball is kept.
    return jnp.clip(delta, jnp.minimum(low - x, 0), jnp.maximum(high - x, 0))


def _scalar(loss: Callable) -> Callable:
    def checked(x):
        value = loss(x)
        if jnp.shape(value) != ():
            raise ValueError(
                f"loss must return a scalar for one example, got {jnp.shape(value)}; "
                "for a batch use jax.vmap around the attack."
            )
        return value

    return checked
