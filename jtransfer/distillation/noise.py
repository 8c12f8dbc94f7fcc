"""Matching of networks under noise on their inputs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.distillation.activations import match_activations


def noise_augmented_matching(
    teacher_fn: Callable,
    student_fn: Callable,
    x: ArrayLike,
    key: jax.Array,
    *,
    sigma: ArrayLike,
    num_draws: int,
    loss: Callable = match_activations,
) -> jax.Array:
    r"""Computes the matching loss under Gaussian noise on the inputs of both networks.

    .. math:: \frac{1}{S n} \sum_{s=1}^S \sum_x \ell(T(x + \xi_s), S(x + \xi_s)), \quad
              \xi_s \sim N(0, \sigma^2 I).

    Draws come in pairs :math:`\pm \xi`: the expectation stays the same, and all odd
    orders in :math:`\sigma` cancel, which otherwise hide the second one.

    Its expectation is `match_activations` plus :math:`\sigma^2` times `match_jacobians`
    **only where both networks are linear wherever the noise reaches**. A network of
    rectifiers is linear around almost every input: once :math:`\sigma` is well below
    the distance to the nearest kink, the gradient of the excess points where that of
    Jacobian matching does, while noise that reaches kinks adds a term of the order
    :math:`\sigma` that outweighs it. For curved networks the proposition as printed is
    false, see `match_jacobians`.

    Args:
      teacher_fn: function of one example with outputs ``[k]``.
      student_fn: function of one example with outputs ``[k]``.
      x: examples, shape ``[n, ...]``.
      key: randomness of the noise.
      sigma: deviation of the noise in the units of `x`.
      num_draws: number ``S`` of noises an example; static. An odd number leaves one
        without its pair.
      loss: function of the outputs ``[S n, k]`` of teacher and student, a mean over
        examples.

    Returns:
      The loss, shape ``[]``.

    Raises:
      ValueError: if `num_draws` is less than 1 or `loss` rejects the shapes.
      TypeError: if `x` is not floating-point.

    Example:
      >>> float(noise_augmented_matching(
      ...     lambda x: x, lambda x: x + 1, jnp.zeros((4, 3)), jax.random.key(0),
      ...     sigma=0.0, num_draws=2))
      3.0

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018,
      Proposition 1 and Figure 1.
    """
    x = jnp.asarray(x)
    checks.floating("x", x)
    checks.positive("num_draws", num_draws)
    half = jax.random.normal(key, (-(-num_draws // 2), *x.shape), x.dtype)
    noise = sigma * jnp.concatenate([half, -half])[:num_draws]
    return noisy_matching(teacher_fn, student_fn, x, noise, loss=loss)


def noisy_matching(
    teacher_fn: Callable,
    student_fn: Callable,
    x: ArrayLike,
    noise: ArrayLike,
    *,
    loss: Callable = match_activations,
) -> jax.Array:
    r"""Computes the matching loss under given noises on the inputs of both networks.

    .. math:: \frac{1}{S n} \sum_{s=1}^S \sum_x \ell(T(x + \xi_{s,x}),
              S(x + \xi_{s,x})).

    Args:
      teacher_fn: function of one example with outputs ``[k]``.
      student_fn: function of one example with outputs ``[k]``.
      x: examples, shape ``[n, ...]``.
      noise: what is added to them, shape ``[S, n, ...]``.
      loss: function of the outputs ``[S n, k]`` of teacher and student, a mean over
        examples.

    Returns:
      The loss, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or `loss` rejects the outputs'.
      TypeError: if `x` is not floating-point.

    Example:
      >>> noise = jnp.array([[[1.0]], [[-1.0]]])
      >>> float(noisy_matching(lambda x: 3 * x, lambda x: x, jnp.zeros((1, 1)), noise))
      4.0

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018,
      Proposition 1.
    """
    x, noise = jnp.asarray(x), jnp.asarray(noise)
    checks.floating("x", x)
    if noise.shape[1:] != x.shape:
        raise ValueError(f"noise must have shape {('S', *x.shape)}, got {noise.shape}.")
    noisy = (x[None] + noise).reshape(-1, *x.shape[1:])
    return loss(jax.vmap(teacher_fn)(noisy), jax.vmap(student_fn)(noisy))
