"""Modes of dependence by singular values, and the bound that they give."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul
from jtransfer.hgr.joint import divergence_transition_matrix, quotient, roots


class Modes(NamedTuple):
    """The strongest modes of dependence, uncorrelated and in descending order."""

    correlations: jax.Array
    """Maximal correlations, the singular values ``sigma_i`` in ``[0, 1]``, ``[k]``."""
    x_functions: jax.Array
    """``f_i(x)`` of zero mean and unit variance, ``[X, k]``."""
    y_functions: jax.Array
    """``g_i(y)`` of zero mean and unit variance, ``[Y, k]``."""


@jax.jit(static_argnames=("num_modes",))
def modes(joint: ArrayLike, *, num_modes: int) -> Modes:
    r"""Computes the maximal correlation functions of a joint distribution.

    .. math:: f_i(x) = \phi_i(x) / \sqrt{P(x)}, \quad g_i(y) = \psi_i(y) / \sqrt{P(y)},

    with :math:`\psi_i, \phi_i` the singular vectors of the divergence transition
    matrix. They maximise ``E[f(X)^T g(Y)]``, then ``sum sigma_i``, among the functions
    of zero mean and covariance ``I``; ``f`` has the largest H-score, ``sum
    sigma_i^2``. The sign is that which makes the largest ``phi_i(x)`` positive.

    A mode that rounding cannot tell from none has zeros for its correlation and
    functions, and so has a function where there is no mass. The correlations have
    finite derivatives, also where they are equal; the functions are constants for
    differentiation.

    Args:
      joint: probabilities or counts, floating-point, shape ``[Y, X]``.
      num_modes: number ``k`` of modes, at most ``min(X, Y) - 1``; static.

    Returns:
      The modes, the strongest first.

    Raises:
      ValueError: if `joint` is not a matrix or `num_modes` is too large.
      TypeError: if `joint` does not hold floating-point numbers.

    Example:
      >>> strongest = modes(jnp.array([[0.4, 0.1], [0.1, 0.4]]), num_modes=1)
      >>> round(float(strongest.correlations[0]), 4)
      0.6
      >>> strongest.x_functions.round(4).ravel().tolist()
      [1.0, -1.0]

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Eq. (2).
    """
    joint, root_y, root_x = roots(joint)
    check_num_modes(num_modes, *joint.shape)
    matrix = divergence_transition_matrix(joint)
    # Singular values are at most 1: twice the trivial pair comes first, and what is
    # left has zero mean even where the correlation is zero.
    lifted = matrix + 2 * root_y[:, None] * root_x[None]
    left, _, right = jnp.linalg.svd(jax.lax.stop_gradient(lifted), full_matrices=False)
    psi, phi = left[:, 1 : num_modes + 1], right[1 : num_modes + 1].T
    # d sigma_i = psi_i^T dB phi_i, without derivatives of the vectors.
    correlations = jnp.sum(psi * matmul(matrix, phi), axis=0)
    return as_modes(correlations, phi, psi, root_x, root_y)


def check_num_modes(num_modes: int, num_y: int, num_x: int) -> None:
    """Raises ValueError unless a table can have `num_modes` modes."""
    checks.positive("num_modes", num_modes)
    if num_modes >= min(num_y, num_x):
        raise ValueError(
            f"num_modes must be at most min(num_x, num_y) - 1 = "
            f"{min(num_y, num_x) - 1}, got {num_modes}."
        )


def as_modes(correlations, phi, psi, root_x, root_y) -> Modes:
    """Returns modes `[k]` of singular vectors `[., k]`, zeros for those of rounding."""
    eps = jnp.finfo(correlations.dtype).eps
    rounding = 4 * eps * max(len(phi), len(psi)) ** 0.5
    largest = jnp.take_along_axis(phi, jnp.argmax(jnp.abs(phi), axis=0)[None], axis=0)
    present = correlations > rounding
    sign = jnp.where(present[None], jnp.where(largest < 0, -1, 1), 0).astype(phi.dtype)
    functions = (
        quotient(vectors * sign, root[:, None])
        for vectors, root in ((phi, root_x), (psi, root_y))
    )
    x_functions, y_functions = jax.lax.stop_gradient(tuple(functions))
    return Modes(jnp.where(present, correlations, 0), x_functions, y_functions)


@jax.jit(static_argnames=("num_features",))
def h_score_bound(joint: ArrayLike, *, num_features: int) -> jax.Array:
    r"""Computes the largest H-score of any k features of the input.

    .. math:: H(f) \le \sum_{i \le k} \sigma_i^2 \le \min(k, K - 1), \quad
              K = \min(X, Y).

    The functions of `modes` reach it. It levels off at ``k = K - 1``.

    Args:
      joint: probabilities or counts, floating-point, shape ``[Y, X]``.
      num_features: number ``k`` of features; static.

    Returns:
      The bound, shape ``[]``.

    Raises:
      ValueError: if `joint` is not a matrix or `num_features` is not positive.
      TypeError: if `joint` does not hold floating-point numbers.

    Example:
      >>> [float(h_score_bound(jnp.eye(3), num_features=k).round(3)) for k in (1, 2, 3)]
      [1.0, 2.0, 2.0]

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Corollary 1.
    """
    checks.positive("num_features", num_features)
    matrix = divergence_transition_matrix(joint)
    return jnp.sum(jnp.linalg.svd(matrix, compute_uv=False)[:num_features] ** 2)


@jax.jit
def soft_hgr(f: ArrayLike, g: ArrayLike) -> jax.Array:
    r"""Computes the soft HGR objective of two features, to be maximised.

    .. math:: E[\bar f(X)^T \bar g(Y)]
              - \tfrac12 \operatorname{tr}(\operatorname{cov}(f) \operatorname{cov}(g)),

    with the means taken off. Its maximum over all ``f`` and ``g`` is ``1/2 sum
    sigma_i^2`` over the first k modes, half the H-score of the optimal feature; its
    maximum over ``g`` alone is half the H-score of ``f``.

    Args:
      f: features of the inputs, floating-point, shape ``[n, k]``.
      g: features of their labels, shape ``[n, k]``.

    Returns:
      The objective, shape ``[]``; 0 without examples.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the features are not floating-point.

    Example:
      >>> f = jnp.array([[-1.0], [1.0]])
      >>> float(soft_hgr(f, f)), float(soft_hgr(f, 2 * f))
      (0.5, 0.0)

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Eq. (3).
      Wang et al., "An Efficient Approach to Informative Feature Extraction from
      Multimodal Data", 2019.
    """
    f, g = jnp.asarray(f), jnp.asarray(g)
    for name, array in (("f", f), ("g", g)):
        checks.num_axes(name, array, 2)
        checks.floating(name, array)
    checks.same_shape(f=f, g=g)
    n = max(len(f), 1)
    f, g = (a - a.sum(axis=0, keepdims=True) / n for a in (f, g))
    cov_f, cov_g = matmul(f.T, f) / n, matmul(g.T, g) / n
    return jnp.sum(f * g) / n - jnp.sum(cov_f * cov_g) / 2
