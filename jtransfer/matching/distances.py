"""Distances of a function from the best affine map of another, and that map."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal.linalg import matmul, scaled
from jtransfer.jacobians import weighted_outputs
from jtransfer.matching._least_squares import (
    checked_functions,
    least_squares,
    root_mean_square,
    stacked_rows,
)


class Affine(NamedTuple):
    """The map `v -> matrix v + offset` from `k` to `m` outputs."""

    matrix: jax.Array
    """`[m, k]`."""
    offset: jax.Array
    """`[m]`."""


@jax.jit
def gradient_matching_distance(
    reference: ArrayLike, source: ArrayLike, *, hessian: ArrayLike | None = None
) -> jax.Array:
    r"""Computes how far Jacobians are from the best linear map of others.

    .. math:: \min_W \sqrt{\frac1n \sum_x \|J_*(x) - W J_\circ(x)\|_H^2}, \quad
              \|M\|_H^2 = \operatorname{tr}(M^T H M).

    It is the residual itself at the best map, in ``O(n p (m + k) k)``, and so keeps its
    precision near 0, where the difference of two squares would cancel. Theorem 3.1 says
    the same through attacks, see `explained_gradient`. Dead and duplicated outputs of
    the source change nothing, nor does any invertible linear map of them.

    It is differentiable in both Jacobians, with gradient 0 at distance 0; ``hessian``
    is a constant.

    Args:
      reference: Jacobians of the reference, shape ``[n, m, p]``.
      source: Jacobians of the source, shape ``[n, k, p]``.
      hessian: positive semi-definite metric of the outputs of the reference, shape
        ``[m, m]``, see `jacobians.deviation_hessian`; the identity by default.

    Returns:
      The distance, in units of `reference`, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> reference = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]])
      >>> float(gradient_matching_distance(reference, 3 * reference))
      0.0
      >>> float(gradient_matching_distance(reference, reference[::-1]))
      1.0

    References:
      Liang et al., 2021, Eq. (7) and Lemma D.1.
    """
    reference, source = checked_functions(reference, source, 3)
    return _distance(
        stacked_rows(reference), stacked_rows(source), len(reference), hessian
    )


@jax.jit
def gradient_matching_map(reference: ArrayLike, source: ArrayLike) -> Affine:
    """Computes the map that attains `gradient_matching_distance`, in every metric.

    Of several maps it is one that leaves out directions without variation. Gradients do
    not see an offset; it is zero.

    Args:
      reference: Jacobians of the reference, shape `[n, m, p]`.
      source: Jacobians of the source, shape `[n, k, p]`.

    Returns:
      The map from the outputs of the source to those of the reference; a constant for
      differentiation.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> jacobians = jnp.eye(2)[None]
      >>> gradient_matching_map(2 * jacobians, jacobians).matrix.round(4).tolist()
      [[2.0, 0.0], [0.0, 2.0]]

    References:
      Liang et al., 2021, Eq. (27).
    """
    reference, source = checked_functions(reference, source, 3)
    matrix = _map(stacked_rows(reference), stacked_rows(source))
    return Affine(matrix, jnp.zeros_like(matrix[:, 0]))


@jax.jit
def function_matching_distance(
    reference: ArrayLike, source: ArrayLike, *, hessian: ArrayLike | None = None
) -> jax.Array:
    r"""Computes how far outputs are from the best affine map of other outputs.

    .. math:: \min_{W, b} \sqrt{\frac1n \sum_x \|f_*(x) - W f_\circ(x) - b\|_H^2}.

    With the targets ``y`` as reference it is the **knowledge transfer distance**, what
    a new linear layer on the source leaves of them. It is the residual itself, whatever
    the offset of the outputs. Constant and duplicated outputs of the source change
    nothing, nor does any invertible affine map of them.

    It is differentiable in both arrays, with gradient 0 at distance 0; ``hessian`` is
    a constant.

    Args:
      reference: outputs of the reference, or targets, shape ``[n, m]``.
      source: outputs of the source, shape ``[n, k]``.
      hessian: positive semi-definite metric of the outputs of the reference, shape
        ``[m, m]``; the identity by default.

    Returns:
      The distance, in units of `reference`, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> x = jnp.array([[-1.0], [0.0], [1.0]])
      >>> float(function_matching_distance(2 * x + 5, x))
      0.0

    References:
      Liang et al., 2021, Eqs. (13), (16), (17) and (18).
    """
    reference, source = checked_functions(reference, source, 2)
    (reference, _), (source, _) = _centred(reference), _centred(source)
    return _distance(reference, source, len(reference), hessian)


@jax.jit
def function_matching_map(reference: ArrayLike, source: ArrayLike) -> Affine:
    """Computes the map that attains `function_matching_distance`, in every metric.

    Args:
      reference: outputs of the reference, or targets, shape `[n, m]`.
      source: outputs of the source, shape `[n, k]`.

    Returns:
      The map from the outputs of the source to those of the reference; a constant for
      differentiation. Constant outputs of the source have weight 0.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> x = jnp.array([[-1.0], [0.0], [1.0]])
      >>> matrix, offset = function_matching_map(2 * x + 5, x)
      >>> round(float(matrix[0, 0]), 4), float(offset[0])
      (2.0, 5.0)
    """
    reference, source = checked_functions(reference, source, 2)
    (reference, means), (source, source_means) = _centred(reference), _centred(source)
    matrix = _map(reference, source)
    offset = jax.lax.stop_gradient(means - matmul(matrix, source_means))
    return Affine(matrix, offset)


def _distance(reference: jax.Array, source: jax.Array, n: int, hessian) -> jax.Array:
    """Length of `reference` less the best linear map of `source` `[n p, k]`."""
    flat, peak = scaled(reference.ravel())
    reference, source = flat.reshape(reference.shape), scaled(source, axis=0)[0]
    # The map minimises the residual, so it counts as a constant in the derivative.
    residual = reference - matmul(source, least_squares(reference, source))
    residual = weighted_outputs("hessian", residual, hessian, axis=1)
    return root_mean_square(residual, n) * peak[0]


def _map(reference: jax.Array, source: jax.Array) -> jax.Array:
    """The best linear map itself, `[m, k]`."""
    source, peak = scaled(source, axis=0)
    return least_squares(reference, source).T / peak


def _centred(outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Outputs less their mean, and the mean."""
    # Differences from one example are exact in a constant output.
    differences = outputs - outputs[:1]
    shift = jnp.mean(differences, axis=0)
    return differences - shift[None], outputs[0] + shift
