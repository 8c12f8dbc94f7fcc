"""Jacobians of functions of one example, and the attacks that they imply.

The attacks are those of Liang et al., "Uncovering the Connections Between Adversarial
Transferability and Knowledge Transferability", 2021.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul, root, scaled


class SingularAttacks(NamedTuple):
    """Generalised attacks on one example, the strongest first."""

    attacks: jax.Array
    """Directions of unit length in the input, `[r, n]`; zero beyond the rank."""
    values: jax.Array
    """Singular values, by how much each direction moves the outputs, `[r]`."""


def jacobian(
    f: Callable, *, chunk_size: int | None = 10, reverse_only: bool = False
) -> Callable:
    """Makes the function that returns the Jacobian of `f` at one example.

    It is `jax.jacrev`, or `jax.jacfwd` where there are no more inputs than outputs:
    reverse mode costs one pass an output and forward mode one an input, but a dearer
    one. Where the passes are more than `chunk_size`, they are made in turn and give the
    same up to rounding. For a batch write `jax.vmap(jacobian(f))`, and `jax.jit` around
    that.

    Args:
      f: function of one example, of any shape, with outputs `[m]`. A network must be
        in evaluation mode: one that normalises by its batch has no such Jacobian.
      chunk_size: passes that run side by side; the others follow in a loop of equal
        chunks, so that memory does not grow with `m`. None runs all at once.
      reverse_only: whether `f` has no derivatives in forward mode, as functions with a
        `jax.custom_vjp` have none.

    Returns:
      A function of `x` that returns `[m, x.size]`, in the dtype of `x`. It raises
      TypeError if `x` or the outputs are not floating-point and ValueError if the
      outputs are not `[m]`.

    Raises:
      ValueError: if `chunk_size` is less than 1.

    Example:
      >>> jacobian(lambda x: jnp.stack([x[0] * x[1], x[2] ** 2]))(jnp.arange(3.0))
      Array([[1., 0., 0.],
             [0., 0., 4.]], dtype=float32)
    """
    if chunk_size is not None:
        checks.positive("chunk_size", chunk_size)

    def at(x: ArrayLike) -> jax.Array:
        x = jnp.asarray(x)
        checks.floating("x", x)
        outputs = jax.eval_shape(f, x)
        if getattr(outputs, "ndim", None) != 1:
            raise ValueError(
                "f must take one example and return outputs of shape [m], "
                f"got {outputs}; for a batch use jax.vmap(jacobian(f))."
            )
        checks.floating("the outputs of f", outputs)
        forward = x.size <= outputs.size and not reverse_only
        num_passes = x.size if forward else outputs.size
        if chunk_size is None or num_passes <= chunk_size:
            rows = (jax.jacfwd if forward else jax.jacrev)(f)(x)
            rows = rows.reshape(outputs.size, x.size)
        elif forward:
            _, push = jax.linearize(f, x)
            rows = _over_basis(
                lambda t: push(t.reshape(x.shape)), x.size, x.dtype, chunk_size
            ).T
        else:
            _, pull = jax.vjp(f, x)
            rows = _over_basis(
                lambda t: pull(t)[0].ravel(), outputs.size, outputs.dtype, chunk_size
            )
        return rows.astype(x.dtype)

    return at


def _over_basis(linear: Callable, size: int, dtype, chunk_size: int):
    """Applies a linear function to the unit vectors, `[size, ...]`."""
    # Chunks of one length compile once; zero vectors fill up the last.
    num_chunks = -(-size // chunk_size)
    length = -(-size // num_chunks)
    basis = jnp.eye(num_chunks * length, size, dtype=dtype)
    chunks = basis.reshape(num_chunks, length, size)
    rows = jax.lax.map(jax.vmap(linear), chunks)
    return rows.reshape(-1, rows.shape[-1])[:size]


@jax.jit
def singular_attacks(
    jacobian: ArrayLike, *, hessian: ArrayLike | None = None
) -> SingularAttacks:
    r"""Computes all generalised attacks on one example.

    The first attack moves the outputs the most, each later one the most among the
    directions orthogonal to those before it:

    .. math:: \delta^{(i)} = \arg\max_{\|\delta\|_2 \le 1,\, \delta \perp \delta^{(j)},
              j < i} \|J \delta\|_H, \quad
              \sigma^{(i)} = \|J \delta^{(i)}\|_H,

    the right singular vectors and the singular values of :math:`T J` with
    :math:`H = T^T T`. They come from an eigendecomposition of the smaller of the two
    Gram matrices, much cheaper than that of a wide Jacobian itself. Values up to
    ``sqrt(r eps)`` times the largest count as zero.

    A direction beyond the rank is the zero vector, its value 0. The sign of an attack
    is arbitrary, and so is the basis within a repeated singular value. For
    differentiation the attacks and `hessian` are constants; the values have the first
    derivative :math:`d\sigma = u^T T\, dJ\, \delta` with the left singular vector
    :math:`u`, which is finite where values repeat, and 0 at the value 0. Second
    derivatives would lack the motion of the attacks.

    This is one example; for a batch use ``jax.vmap``.

    Args:
      jacobian: derivative of ``m`` outputs by ``n`` inputs, shape ``[m, n]``.
      hessian: positive semi-definite metric ``H`` of the outputs, shape ``[m, m]``, see
        `deviation_hessian`; the identity by default.

    Returns:
      Attacks ``[r, n]`` and values ``[r]`` in descending order, ``r = min(m, n)``.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if an array is not floating-point.

    Example:
      >>> attacks, values = singular_attacks(jnp.array([[0.0, 3.0], [0.0, 0.0]]))
      >>> jnp.abs(attacks).tolist(), values.tolist()
      ([[0.0, 1.0], [0.0, 0.0]], [3.0, 0.0])

    References:
      Liang et al., 2021, Eqs. (5), (8) and (9).
    """
    jacobian = jnp.asarray(jacobian)
    checks.num_axes("jacobian", jacobian, 2)
    checks.floating("jacobian", jacobian)
    weighted = weighted_outputs("hessian", jacobian, hessian, axis=0)
    within, peak = scaled(weighted.ravel())
    within = within.reshape(weighted.shape)
    constant = jax.lax.stop_gradient(within)
    r = min(within.shape)
    wide = len(within) == r
    gram = matmul(constant, constant.T) if wide else matmul(constant.T, constant)
    _, axes = jnp.linalg.eigh(gram, symmetrize_input=False)
    moved = matmul(axes.T, within) if wide else matmul(within, axes).T
    # Of a small value this norm is far more exact than the root of the eigenvalue.
    # With u or v constant its derivative is u^T dA v, without one of eigenvectors.
    squares = jnp.sum(moved**2, axis=1)
    null = squares <= r * jnp.finfo(squares.dtype).eps * jnp.max(squares)
    values = root(jnp.where(null, 0, squares))
    lengths = jnp.where(null, jnp.inf, values if wide else 1)
    attacks = (moved if wide else axes.T) / lengths[:, None]
    order = jnp.argsort(values, descending=True)
    attacks = jax.lax.stop_gradient(attacks[order])
    return SingularAttacks(attacks, values[order] * peak)


def deviation_hessian(squared_loss: Callable, num_outputs: int) -> jax.Array:
    r"""Computes the metric that an adversarial loss induces on the outputs.

    .. math:: H = \tfrac12 \nabla^2 (\ell^2)(0), \quad
              \ell(\Delta) \approx \|\Delta\|_H = \sqrt{\Delta^T H \Delta}
              \text{ for small } \Delta.

    The paper writes the whole Hessian, but only half of it makes the second equation
    true; the identity is then that of the Euclidean loss.

    Args:
      squared_loss: the square of the adversarial loss as a function of the deviation
        ``[m]``, with its minimum 0 at 0. The loss itself has a kink there.
      num_outputs: number ``m`` of outputs.

    Returns:
      The metric, shape ``[m, m]``, in the default dtype.

    Raises:
      ValueError: if `squared_loss` does not return a scalar or there is no output.

    Example:
      >>> deviation_hessian(lambda deviation: jnp.sum(deviation**2), 2).tolist()
      [[1.0, 0.0], [0.0, 1.0]]

    References:
      Liang et al., 2021, section 3, "The Small-epsilon Regime".
    """
    checks.positive("num_outputs", num_outputs)
    zero = jnp.zeros(num_outputs)
    shape = jax.eval_shape(squared_loss, zero).shape
    if shape != ():
        raise ValueError(f"squared_loss must return a scalar, got shape {shape}.")
    return jax.hessian(squared_loss)(zero) / 2


def weighted_outputs(
    name: str, outputs: jax.Array, hessian: ArrayLike | None, *, axis: int
) -> jax.Array:
    """Takes outputs to where the inner product of `hessian` is the plain one.

    Args:
      name: what messages call the metric.
      outputs: deviations or Jacobians with `m` outputs on one axis.
      hessian: metric `H`, shape `[m, m]`, or None for the identity; a constant for
        differentiation.
      axis: which axis of `outputs` that is.

    Returns:
      `T outputs` with `H = T^T T`, in the shape of `outputs`.

    Raises:
      ValueError: if the metric is not `[m, m]`.
      TypeError: if the metric is not floating-point.

    Example:
      >>> deviations, metric = jnp.array([[3.0, 1.0]]), jnp.diag(jnp.array([4.0, 0.0]))
      >>> moved = weighted_outputs("hessian", deviations, metric, axis=1)
      >>> float(jnp.linalg.norm(moved))
      6.0
    """
    if hessian is None:
        return outputs
    hessian = jnp.asarray(hessian)
    m = outputs.shape[axis]
    if hessian.shape != (m, m):
        raise ValueError(f"{name} must have shape {(m, m)}, got {hessian.shape}.")
    checks.floating(name, hessian)
    hessian = jax.lax.stop_gradient(hessian.astype(outputs.dtype))
    # A unit diagonal first, so that outputs of very different weight all count.
    diagonal = jnp.diagonal(hessian)
    spread = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    values, axes = jnp.linalg.eigh(hessian / spread[:, None] / spread[None])
    tolerance = m * jnp.finfo(values.dtype).eps * values[-1]
    values = jnp.where(values <= tolerance, 0, values)
    factor = jnp.sqrt(values)[:, None] * axes.T * spread[None]
    moved = matmul(factor, jnp.moveaxis(outputs, axis, 0).reshape(m, -1))
    shape = (m, *(s for i, s in enumerate(outputs.shape) if i != axis % outputs.ndim))
    return jnp.moveaxis(moved.reshape(shape), 0, axis)
