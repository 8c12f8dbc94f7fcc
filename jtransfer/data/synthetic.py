"""Synthetic tasks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jtransfer._internal.linalg import matmul


class RegressionTask(NamedTuple):
    """Inputs and real-valued targets.

    Attributes:
      inputs: shape ``[n, num_inputs]``.
      targets: shape ``[n, num_outputs]``.
    """

    inputs: jax.Array
    targets: jax.Array


@jax.jit(
    static_argnames=(
        "num_examples",
        "num_inputs",
        "num_outputs",
        "num_centers",
        "num_gaussians",
    )
)
def rbf_task(
    key: jax.Array,
    *,
    num_examples: int = 5000,
    num_inputs: int = 50,
    num_outputs: int = 10,
    num_centers: int = 100,
    num_gaussians: int = 10,
) -> RegressionTask:
    r"""Draws a task whose target is a sum of radial basis functions.

    .. math::
      y(x) = W \phi(x) + b, \qquad
      \phi_i(x) = \exp\left(-\|x - \mu_i\|_2^2 / \sigma_i^2\right)

    The inputs come from a mixture of Gaussians with unit covariance. The centres of
    the mixture, :math:`\mu_i`, :math:`W` and :math:`b` are uniform on (-0.5, 0.5),
    :math:`\sigma_i^2` on (0, 100). The defaults are the sizes of the paper.

    Args:
      key: a random key; one key is one task with its examples.
      num_examples: number ``n`` of examples; static, as are the others.
      num_inputs: dimension of an input.
      num_outputs: dimension of a target.
      num_centers: number of radial basis functions.
      num_gaussians: number of components of the mixture, equally likely.

    Returns:
      Inputs and targets, in JAX's default float dtype.

    Raises:
      ValueError: if a size is less than 1.

    Example:
      >>> task = rbf_task(jax.random.key(0), num_examples=6, num_inputs=3)
      >>> task.inputs.shape, task.targets.shape
      ((6, 3), (6, 10))

    References:
      Liang et al., "Uncovering the Connections Between Adversarial Transferability
      and Knowledge Transferability", ICML 2021, section 4 and appendix F.
    """
    sizes = (num_examples, num_inputs, num_outputs, num_centers, num_gaussians)
    if min(sizes) < 1:
        raise ValueError(f"all sizes must be at least 1, got {sizes}.")
    keys = jax.random.split(key, 7)

    def uniform(key: jax.Array, *shape: int) -> jax.Array:
        return jax.random.uniform(key, shape, minval=-0.5, maxval=0.5)

    means = uniform(keys[0], num_gaussians, num_inputs)
    component = jax.random.randint(keys[1], (num_examples,), 0, num_gaussians)
    inputs = means[component] + jax.random.normal(keys[2], (num_examples, num_inputs))

    centers = uniform(keys[3], num_centers, num_inputs)
    # Open at 0, where the exponent would be 0/0 at a centre.
    tiny = jnp.finfo(inputs.dtype).tiny
    widths = jax.random.uniform(keys[4], (num_centers,), minval=tiny, maxval=100)
    distances = jnp.sum((inputs[:, None, :] - centers[None, :, :]) ** 2, axis=-1)
    basis = jnp.exp(-distances / widths[None, :])

    weights = uniform(keys[5], num_outputs, num_centers)
    bias = uniform(keys[6], num_outputs)
    # In full precision on every device: this is the ground truth.
    outputs = matmul(basis, weights.T)
    return RegressionTask(inputs, outputs + bias[None, :])
