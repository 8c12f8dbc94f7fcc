"""A warm-up for the schedules of optax, and SGD as the papers use it.

A schedule is a function from the number of the step, from 0, to the learning rate:
what every optimiser of optax takes as its learning rate.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

if TYPE_CHECKING:
    import optax

Schedule = Callable[[ArrayLike], jax.Array]


def warm_up(schedule: Schedule | float, *, num_steps: int) -> Schedule:
    r"""Lets the learning rate grow linearly over the first steps.

    .. math:: \eta(t) = \min\left(\frac{t + 1}{T}, 1\right) \eta'(t)

    Args:
      schedule: :math:`\eta'`, a schedule or a constant. It is not shifted: its own
        step 0 is the first step of the warm-up.
      num_steps: :math:`T`; 0 is no warm-up.

    Returns:
      The schedule.

    Raises:
      ValueError: if `num_steps` is negative.

    Example:
      >>> schedule = warm_up(0.1, num_steps=4)
      >>> [round(float(schedule(t)), 4) for t in (0, 1, 3, 9)]
      [0.025, 0.05, 0.1, 0.1]

    References:
      Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2.
    """
    if num_steps < 0:
        raise ValueError(f"num_steps must not be negative, got {num_steps}.")
    after = schedule if callable(schedule) else lambda step: schedule

    def warmed(step):
        """The learning rate of a step."""
        return after(step) * jnp.minimum((jnp.asarray(step) + 1) / max(num_steps, 1), 1)

    return warmed


def kernels(params: Any) -> Any:
    """Marks the parameters that decay: those of rank 2 or more.

    Biases and the scales of normalisation are vectors. It serves as the mask of
    `optax.adamw` and `optax.add_decayed_weights`.

    Args:
      params: a tree of arrays.

    Returns:
      The same tree with True for kernels.

    Example:
      >>> kernels({"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)})
      {'bias': False, 'kernel': True}
    """
    return jax.tree.map(lambda param: jnp.ndim(param) > 1, params)


def sgd(
    learning_rate: Schedule | float,
    *,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    decays: Callable[[Any], Any] | None = kernels,
    nesterov: bool = False,
) -> "optax.GradientTransformation":
    r"""Returns stochastic gradient descent as the papers use it.

    .. math:: v \leftarrow \mu v + \nabla L + \lambda \theta, \qquad
              \theta \leftarrow \theta - \eta v

    Args:
      learning_rate: :math:`\eta`, a schedule or a constant.
      momentum: :math:`\mu`.
      weight_decay: :math:`\lambda`; so the penalty is half of it times the squared
        norm.
      decays: maps parameters to a mask of those that decay; None is all of them.
      nesterov: whether :math:`\theta` moves along the gradient and :math:`\mu v`
        instead of :math:`v`.

    Returns:
      An optax optimiser.

    Example:
      >>> optimizer = sgd(0.1, weight_decay=5e-4)
      >>> params = {"kernel": jnp.ones((1, 1)), "bias": jnp.ones(1)}
      >>> gradient = jax.tree.map(jnp.zeros_like, params)
      >>> updates, _ = optimizer.update(gradient, optimizer.init(params), params)
      >>> round(updates["kernel"].item(), 8), updates["bias"].item() == 0
      (-5e-05, True)
    """
    import optax

    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=decays),
        optax.sgd(learning_rate, momentum=momentum, nesterov=nesterov),
    )
