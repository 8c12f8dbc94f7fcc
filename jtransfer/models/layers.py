"""Layers that architectures share: pooling, normalised convolutions, examples.

Images are `[n, h, w, c]`. Convolutions pad `size // 2` on every side, as the published
networks do, also at stride 2, where "SAME" would pad one side only.
"""

import functools
import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jtransfer._internal import checks
from jtransfer.models import initializers


def max_pool(
    x: ArrayLike, *, window: int = 2, stride: int | None = None, padding: int = 0
) -> jax.Array:
    r"""Maximum over square windows, with a gradient that is fast on a CPU.

    Equal in value to `flax.nnx.max_pool`, including the dropped last rows and columns
    of odd sizes. It is a maximum of strided slices, first over rows and then over
    columns; their transposes are paddings, where a reduction over windows transposes
    to a select-and-scatter that is tens of times slower on a CPU.

    Args:
      x: images, shape ``[..., h, w, c]``, floating.
      window: edge of the window.
      stride: step between windows; `window` by default.
      padding: rows and columns of :math:`-\infty` added on each side.

    Returns:
      The maxima, shape ``[..., (h + 2 padding - window) // stride + 1, ..., c]``. Equal
      maxima share the gradient.

    Raises:
      ValueError: if `x` has fewer than three axes or is smaller than the window.

    Example:
      >>> x = jnp.arange(16.0).reshape(4, 4, 1)
      >>> max_pool(x)[:, :, 0].tolist()
      [[5.0, 7.0], [13.0, 15.0]]
    """
    x = jnp.asarray(x)
    if x.ndim < 3:
        raise ValueError(f"x must have axes [..., h, w, c], got shape {x.shape}.")
    if padding:
        margins = [(0, 0)] * (x.ndim - 3) + [(padding, padding)] * 2 + [(0, 0)]
        x = jnp.pad(x, margins, constant_values=-jnp.inf)
    if min(x.shape[-3:-1]) < window:
        raise ValueError(f"x must be {window} x {window} or more, got {x.shape}.")
    stride = stride or window
    return _axis_maxima(_axis_maxima(x, -3, window, stride), -2, window, stride)


def _axis_maxima(x, axis, window, stride):
    """Maxima over windows along one axis."""
    span = (x.shape[axis] - window) // stride * stride + 1
    shifted = (
        jax.lax.slice_in_dim(x, start, start + span, stride, axis)
        for start in range(window)
    )
    return functools.reduce(jnp.maximum, shifted)


def convolution(
    in_channels: int,
    out_channels: int,
    size: int,
    *,
    stride: int = 1,
    padding: int | None = None,
    groups: int = 1,
    use_bias: bool = False,
    kernel_init: Callable[..., jax.Array] = initializers.HE_FAN_OUT,
    dtype: DTypeLike | None,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """A square convolution, padded by `size // 2` on every side unless told."""
    padding = size // 2 if padding is None else padding
    return nnx.Conv(
        in_channels,
        out_channels,
        (size, size),
        strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        feature_group_count=groups,
        use_bias=use_bias,
        kernel_init=kernel_init,
        dtype=dtype,
        rngs=rngs,
    )


def linear(
    in_features: int,
    out_features: int,
    *,
    kernel_init: Callable[..., jax.Array] = initializers.LECUN,
    dtype: DTypeLike | None = None,
    rngs: nnx.Rngs,
) -> nnx.Linear:
    """A linear layer: LeCun normal unless told, zero bias."""
    return nnx.Linear(
        in_features, out_features, kernel_init=kernel_init, dtype=dtype, rngs=rngs
    )


def batch_norm(
    num_features: int,
    *,
    epsilon: float = 1e-5,
    dtype: DTypeLike | None,
    rngs: nnx.Rngs,
) -> nnx.BatchNorm:
    """Batch normalisation in evaluation mode: momentum 0.9, epsilon 1e-5 unless told.

    The arithmetic is float32 or wider whatever `dtype`, to which the result is cast;
    the running variance is the biased one.
    """
    return nnx.BatchNorm(
        num_features,
        use_running_average=True,
        momentum=0.9,
        epsilon=epsilon,
        dtype=dtype,
        promote_dtype=_unpromoted,
        rngs=rngs,
    )


def _unpromoted(arrays, **_):
    """Leaves dtypes alone: statistics and scales are not rounded to half precision."""
    return arrays


class ConvNorm(nnx.Module):
    """A convolution without bias, then batch normalisation; no activation."""

    def __init__(self, in_channels, out_channels, size, *, dtype, rngs, **conv):
        """Takes the arguments of `convolution`."""
        self.conv = convolution(
            in_channels, out_channels, size, dtype=dtype, rngs=rngs, **conv
        )
        self.norm = batch_norm(out_channels, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images ``[n, h, w, c]`` to normalised maps."""
        return self.norm(self.conv(x))


def wide(x: jax.Array) -> jax.Array:
    """`x` in its own precision, or in float32 if that is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def spatial_mean(x: jax.Array) -> jax.Array:
    """Mean over the pixels of ``[n, h, w, c]``, summed in float32 or wider."""
    return jnp.mean(wide(x), axis=(1, 2))


def over_batch(
    forward: Callable[[jax.Array], Any],
    x: ArrayLike,
    example_shape: tuple[int | None, ...],
    *,
    smallest: int = 1,
) -> Any:
    """Applies a function of a batch to a batch, or to one example without its axis.

    Args:
      forward: function of a batch whose outputs all have a batch axis.
      x: a batch, shape ``[n, *example_shape]``, or one example.
      example_shape: shape of one example, None where any size will do.
      smallest: least size where `example_shape` says None.

    Returns:
      What `forward` returns; without the batch axis if `x` is one example.

    Raises:
      ValueError: if the shape of `x` does not fit.
      TypeError: if `x` is not floating.
    """
    x = jnp.asarray(x)
    rank = len(example_shape)
    _check_input(x, example_shape, smallest)
    if x.ndim == rank:
        return jax.tree.map(lambda y: jnp.squeeze(y, 0), forward(x[None]))
    return forward(x)


def _check_input(x, example_shape, smallest):
    """Raises ValueError or TypeError unless `x` is an example or a batch of them."""
    rank = len(example_shape)
    shape = ", ".join("any" if size is None else str(size) for size in example_shape)
    if x.ndim not in (rank, rank + 1):
        raise ValueError(
            f"x must be an example of shape [{shape}] or a batch of them,"
            f" got shape {x.shape}."
        )
    for size, expected in zip(x.shape[-rank:], example_shape, strict=True):
        if expected is None and size < smallest:
            raise ValueError(
                f"x must be {smallest} x {smallest} pixels or more, got {x.shape}."
            )
        if expected not in (None, size):
            raise ValueError(
                f"x must hold examples of shape [{shape}], got shape {x.shape}."
            )
    checks.floating("x", x)


def check_image_sizes(**sizes: int) -> None:
    """Raises ValueError unless every size is a positive integer."""
    for name, size in sizes.items():
        if not isinstance(size, numbers.Integral) or size < 1:
            raise ValueError(f"{name} must be a positive integer, got {size!r}.")
