"""Distances between data sets, and the bound that they set a student's loss."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer.distillation import _vectors


@jax.jit
def asymmetric_hausdorff(a: ArrayLike, b: ArrayLike) -> jax.Array:
    r"""Computes the largest distance from a point of `a` to its nearest in `b`.

    .. math:: H_a(A, B) = \sup_{a \in A} \inf_{b \in B} \|a - b\|_2.

    It is 0 when `b` holds all points of `a`, and it does not grow when `b` does. The
    distances are computed row after row from differences, so that equal points are
    exactly 0 apart, in ``O(m d)`` memory. Equal distances share the gradient, and at
    distance 0 it is 0.

    Args:
      a: points, inputs or features, shape ``[n, d]``.
      b: points in the same space, shape ``[m, d]``.

    Returns:
      The distance, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or there are no points.
      TypeError: if an array is not floating-point.

    Example:
      >>> a, b = jnp.array([[0.0], [5.0]]), jnp.array([[0.0], [2.0]])
      >>> float(asymmetric_hausdorff(a, b)), float(asymmetric_hausdorff(b, a))
      (3.0, 2.0)

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, Eq. (5).
    """
    a, b = _vectors.checked_vectors(2, a=a, b=b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"a and b must have equal columns, got {a.shape} and {b.shape}."
        )

    # Computed again on the way back, which would else keep n m d differences.
    @jax.checkpoint
    def nearest(row):
        return jnp.min(_vectors.norms(row[None] - b))

    return jnp.max(jax.lax.map(nearest, a))


@jax.jit
def source_loss_bound(
    target_losses: ArrayLike,
    source: ArrayLike,
    target: ArrayLike,
    *,
    lipschitz_constant: ArrayLike,
) -> jax.Array:
    r"""Bounds the mean matching loss on the source by the losses on the target.

    .. math:: \frac{1}{|D_l|} \sum_{x \in D_l} \rho(x) \le
              \max_{x \in D_s} \rho(x) + K H_a(D_l, D_s),

    with the loss :math:`\rho(x) = \ell(f(x), g(x))` of matching teacher and student at
    one point, the source data set :math:`D_l` and the target data set :math:`D_s`. It
    holds where :math:`\rho` is K-Lipschitz in the Euclidean distance of the points.
    Points added to the target never increase the second term (the corollary), but they
    may increase the first.

    Args:
      target_losses: :math:`\rho` at each point of the target, shape ``[m]``.
      source: points of the source data set, shape ``[n, d]``.
      target: points of the target data set, shape ``[m, d]``.
      lipschitz_constant: ``K``.

    Returns:
      The bound on the mean loss on the source, shape ``[]``.

    Raises:
      ValueError: if the shapes do not agree or there are no points.
      TypeError: if an array is not floating-point.

    Example:
      >>> source, target = jnp.array([[0.0], [5.0]]), jnp.array([[0.0], [2.0]])
      >>> losses = jnp.abs(target[:, 0])
      >>> float(source_loss_bound(losses, source, target, lipschitz_constant=1.0))
      5.0

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018,
      Proposition 3.
    """
    (losses,) = _vectors.checked_vectors(1, target_losses=target_losses)
    (target,) = _vectors.checked_vectors(2, target=target)
    if len(losses) != len(target):
        raise ValueError(
            f"target_losses must have length {len(target)}, got {losses.shape}."
        )
    return jnp.max(losses) + lipschitz_constant * asymmetric_hausdorff(source, target)
