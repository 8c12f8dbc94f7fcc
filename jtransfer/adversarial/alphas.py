"""Adversarial transferability from deviations: how far, and in which direction."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul, root, scaled, unit
from jtransfer.jacobians import weighted_outputs


@jax.jit
def alpha1(
    transferred: ArrayLike, white_box: ArrayLike, *, hessian: ArrayLike | None = None
) -> jax.Array:
    r"""Computes the first adversarial transferability of each example.

    .. math:: \alpha_1(x) = \frac{\|f_2(x + \delta_1) - f_2(x)\|_H}
              {\|f_2(x + \delta_2) - f_2(x)\|_H},

    how far an attack on ``f1`` moves ``f2``, as a share of what its own attack does.
    The paper's tables print the mean over the examples. With exact attacks it lies
    in ``[0, 1]``. It is not clipped: PGD may fall short of the maximum and then give
    more than 1, unless the own attack comes from `attacks.best_attack`.

    ``0 / 0`` is 0; infinite, with gradient 0, where only the own attack does nothing.

    Args:
      transferred: deviations of ``f2`` by the attack on ``f1``, shape ``[n, k]``.
      white_box: deviations of ``f2`` by its own attack, shape ``[n, k]``.
      hessian: metric of the outputs of ``f2``, shape ``[k, k]``; the identity by
        default. A constant for differentiation.

    Returns:
      The ratio for each example, shape ``[n]``.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if an array is not floating-point.

    Example:
      >>> transferred = jnp.array([[3.0, 0.0], [0.0, 0.0]])
      >>> alpha1(transferred, jnp.array([[0.0, 4.0], [0.0, 0.0]]))
      Array([0.75, 0.  ], dtype=float32)

    References:
      Liang et al., 2021, Definition 1.
    """
    transferred = _deviations("transferred", transferred)
    white_box = _deviations("white_box", white_box)
    checks.same_shape(transferred=transferred, white_box=white_box)
    return ratios(
        weighted_outputs("hessian", transferred, hessian, axis=1),
        weighted_outputs("hessian", white_box, hessian, axis=1),
    )


@jax.jit
def alpha2(own: ArrayLike, transferred: ArrayLike) -> jax.Array:
    r"""Computes the second adversarial transferability of a set of examples.

    .. math:: \alpha_2 = \left\|\frac1n \sum_x \hat\Delta_{11}(x)
              \hat\Delta_{12}(x)^T\right\|_F,

    with deviations scaled to unit length: whether the outputs of ``f1`` and ``f2``
    turn together from example to example. It lies in ``[0, 1]``. A deviation of zero
    counts as a zero vector.

    Directions that have nothing to do with each other still give about `noise_floor`:
    never average alpha2 over batches, and compare values of different ``n`` by
    `unbiased_square`. The plain norm is the definition; Tables 1, 3, 5 and 6 of the
    paper fit its square, `alpha2_squared`.

    Args:
      own: deviations of ``f1`` by the attack on it, shape ``[n, m]``.
      transferred: deviations of ``f2`` by the same attack, shape ``[n, k]``.

    Returns:
      The transferability, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> own = jnp.array([[1.0], [3.0]])
      >>> float(alpha2(own, 2 * own)), float(alpha2(own, jnp.array([[1.0], [-1.0]])))
      (1.0, 0.0)

    References:
      Liang et al., 2021, Definition 2.
    """
    return root(alpha2_squared(own, transferred))


@jax.jit
def alpha2_squared(own: ArrayLike, transferred: ArrayLike) -> jax.Array:
    r"""Computes the square of `alpha2`, by Proposition 2.1 a mean over pairs.

    .. math:: \alpha_2^2 = \frac1{n^2} \sum_{x_1, x_2}
              \cos(\Delta_{11}(x_1), \Delta_{11}(x_2))
              \cos(\Delta_{12}(x_1), \Delta_{12}(x_2)).

    It is what Tables 1, 3, 5 and 6 of the paper fit in the column of alpha2.

    Args:
      own: deviations of ``f1`` by the attack on it, shape ``[n, m]``.
      transferred: deviations of ``f2`` by the same attack, shape ``[n, k]``.

    Returns:
      The square, shape ``[]``.

    Example:
      >>> own = jnp.array([[1.0, 0.0], [0.0, 2.0]])
      >>> float(alpha2_squared(own, own))
      0.5
    """
    own, transferred = _pair(own, transferred)
    return _squared_mean(unit(own), unit(transferred))


@jax.jit
def alpha12(
    own: ArrayLike,
    transferred: ArrayLike,
    white_box: ArrayLike,
    *,
    hessian: ArrayLike | None = None,
) -> jax.Array:
    r"""Computes the combined adversarial transferability of a set of examples.

    .. math:: (\alpha_1 * \alpha_2) = \left\|\frac1n \sum_x \alpha_1(x)
              \hat\Delta_{11}(x) \hat\Delta_{12}(x)^T\right\|_F,

    a norm of a weighted mean and not the product of the two. It is at most the largest
    `alpha1`, and not finite where one of those is not. Tables 1, 3, 5 and 6 of the
    paper fit its square, `alpha12_squared`.

    Args:
      own: deviations of ``f1`` by the attack on it, shape ``[n, m]``.
      transferred: deviations of ``f2`` by the same attack, shape ``[n, k]``.
      white_box: deviations of ``f2`` by its own attack, shape ``[n, k]``.
      hessian: metric of the outputs of ``f2`` in `alpha1`, shape ``[k, k]``.

    Returns:
      The transferability, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> own, white_box = jnp.array([[1.0]]), jnp.array([[2.0]])
      >>> float(alpha12(own, jnp.array([[-1.0]]), white_box))
      0.5

    References:
      Liang et al., 2021, section 2.
    """
    return root(alpha12_squared(own, transferred, white_box, hessian=hessian))


@jax.jit
def alpha12_squared(
    own: ArrayLike,
    transferred: ArrayLike,
    white_box: ArrayLike,
    *,
    hessian: ArrayLike | None = None,
) -> jax.Array:
    """Computes the square of `alpha12`, which Tables 1, 3, 5 and 6 of the paper fit.

    Args:
      own: deviations of `f1` by the attack on it, shape `[n, m]`.
      transferred: deviations of `f2` by the same attack, shape `[n, k]`.
      white_box: deviations of `f2` by its own attack, shape `[n, k]`.
      hessian: metric of the outputs of `f2` in `alpha1`, shape `[k, k]`.

    Returns:
      The square, shape `[]`.

    Example:
      >>> own, white_box = jnp.array([[1.0]]), jnp.array([[2.0]])
      >>> float(alpha12_squared(own, jnp.array([[-1.0]]), white_box))
      0.25
    """
    own, transferred = _pair(own, transferred)
    weights = alpha1(transferred, white_box, hessian=hessian)
    return _squared_mean(weights[:, None] * unit(own), unit(transferred))


@jax.jit
def unbiased_square(
    alpha: ArrayLike, num_examples: ArrayLike, *, self_term: ArrayLike = 1.0
) -> jax.Array:
    r"""Squares an `alpha2` without what each example contributes with itself.

    .. math:: \frac{n \alpha_2^2 - 1}{n - 1},

    the mean over pairs of *different* examples. Its expectation does not depend on
    ``n``, and is 0 for directions without relation; it may be negative.

    Args:
      alpha: `alpha2` or `alpha12`, not squared, of any shape.
      num_examples: number ``n`` of examples.
      self_term: mean over the examples of the term of an example with itself: 1 for
        `alpha2` (less the share of zero deviations), ``mean(alpha1**2)`` for `alpha12`.

    Returns:
      The estimate, in the shape of `alpha`; 0 for one example, which has no pair.

    Example:
      >>> float(unbiased_square(0.5, 4)), float(unbiased_square(1.0, 4))
      (0.0, 1.0)
    """
    alpha, n = jnp.asarray(alpha), jnp.asarray(num_examples)
    checks.floating("alpha", alpha)
    n = n.astype(alpha.dtype)
    return jnp.where(n > 1, (n * alpha**2 - self_term) / jnp.maximum(n - 1, 1), 0)


@jax.jit
def noise_floor(num_examples: ArrayLike) -> jax.Array:
    r"""Computes the `alpha2` of directions that have nothing in common.

    .. math:: \sqrt{E[\alpha_2^2]} = \frac1{\sqrt n}

    Args:
      num_examples: number ``n`` of examples, at least 1.

    Returns:
      The floor, in the shape of `num_examples` and the default dtype.

    Example:
      >>> float(noise_floor(16))
      0.25
    """
    return 1 / jnp.sqrt(jnp.maximum(jnp.asarray(num_examples), 1))


def ratios(vectors: jax.Array, others: jax.Array) -> jax.Array:
    """Returns the lengths of vectors `[n, k]` over those of others; 0 / 0 is 0."""
    (vectors, peak), (others, other_peak) = scaled(vectors), scaled(others)
    length = root(jnp.sum(vectors**2, axis=1)) * (peak / other_peak)[:, 0]
    other = root(jnp.sum(others**2, axis=1))
    zero = other == 0
    undefined = jnp.where(length == 0, 0, jnp.inf).astype(length.dtype)
    return jnp.where(zero, undefined, length / jnp.where(zero, 1, other))


def _squared_mean(first: jax.Array, second: jax.Array) -> jax.Array:
    return jnp.sum((matmul(first.T, second) / len(first)) ** 2)


def _pair(own: ArrayLike, transferred: ArrayLike) -> tuple[jax.Array, jax.Array]:
    own = _deviations("own", own)
    transferred = _deviations("transferred", transferred)
    checks.same_length(own=own, transferred=transferred)
    checks.positive("the number of examples", len(own))
    return own, transferred


def _deviations(name: str, array: ArrayLike) -> jax.Array:
    array = jnp.asarray(array)
    checks.num_axes(name, array, 2)
    checks.floating(name, array)
    return array
