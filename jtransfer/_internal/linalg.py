"""Products in full precision, and lengths with finite gradients at zero."""

import jax
import jax.numpy as jnp


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns `a @ b` in the full precision of the dtype on every backend."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def root(square: jax.Array) -> jax.Array:
    """Returns the square root of what is not negative, with gradient 0 at 0."""
    zero = square <= 0  # NaN is not, and stays.
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))


def scaled(
    vectors: jax.Array, axis: int = -1, *, resolution: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Splits the largest entry off vectors, as a constant for differentiation.

    The squares of what remains neither over- nor underflow.

    Args:
      vectors: the vectors, along `axis`.
      axis: of the entries.
      resolution: a vector none of whose entries is larger keeps its entries.

    Returns:
      The vectors over their largest entry, and that entry, its length on `axis` one.
    """
    peak = jnp.max(jnp.abs(vectors), axis=axis, keepdims=True)
    # Below the smallest normal number backends may flush to zero.
    small = (peak < jnp.finfo(peak.dtype).tiny) | (peak <= resolution)
    peak = jax.lax.stop_gradient(jnp.where(small, 1, peak))
    return vectors / peak, peak


def unit(
    vectors: jax.Array,
    weighted: jax.Array | None = None,
    *,
    resolution: float = 0.0,
) -> jax.Array:
    """Scales vectors `[..., m]` to length one, that of `weighted` where it is given.

    A vector without length becomes zero, with gradient zero.

    Args:
      vectors: the vectors.
      weighted: the vectors whose lengths are meant; `vectors` themselves if None.
      resolution: a vector none of whose entries is larger has no length. The second
        derivative of a direction grows like the inverse square of the length: where it
        is needed, see `shortest`.

    Returns:
      The scaled vectors.
    """
    measured = vectors if weighted is None else weighted
    within, peak = scaled(measured, resolution=resolution)
    length = root(jnp.sum(within**2, axis=-1, keepdims=True))
    zero = (length == 0) | _is_short(measured, resolution)
    return jnp.where(zero, 0, vectors / peak / jnp.where(zero, 1, length))


def lengths(vectors: jax.Array, *, resolution: float = 0.0) -> jax.Array:
    """Returns the lengths `[...]` of vectors `[..., m]`, with gradient 0 at zero.

    Args:
      vectors: the vectors.
      resolution: a vector none of whose entries is larger has the length 0.
    """
    within, peak = scaled(vectors, resolution=resolution)
    length = root(jnp.sum(within**2, axis=-1)) * peak[..., 0]
    return jnp.where(_is_short(vectors, resolution)[..., 0], 0, length)


def shortest(dtype) -> float:
    """Returns the length below which second derivatives of directions overflow."""
    return float(jnp.finfo(dtype).tiny) ** 0.4


def _is_short(vectors: jax.Array, resolution: float) -> jax.Array:
    return jnp.max(jnp.abs(vectors), axis=-1, keepdims=True) <= resolution


def rank_tolerance(num_features: int, dtype) -> float:
    """Returns the share of the largest eigenvalue below which one counts as zero.

    Measured on rank-deficient scatter matrices with a unit diagonal, rounding leaves
    null eigenvalues of up to `0.1 sqrt(d) eps` of the largest; ten times that is
    zero here. The floor is what the rounding of float32 features leaves behind when
    their moments are summed in float64.
    """
    return max(num_features**0.5 * float(jnp.finfo(dtype).eps), 1e-13)
