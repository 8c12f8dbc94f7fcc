"""EfficientNet-Lite0, 1 and 2."""

import math

import jax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jtransfer.models import initializers, layers

# Kernel, stride, expansion, channels and number of blocks of each stage; its first
# block has the stride.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)

_SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
"""Factors of width and depth of each variant. Stem, head and the number of blocks of
the first and the last stage are those of all."""


def stage_depths(variant: int) -> list[int]:
    """Returns the number of blocks of each stage.

    Example:
      >>> stage_depths(2)
      [1, 3, 3, 4, 4, 5, 1]
    """
    depth = _SCALES[variant][1]
    counts = [math.ceil(round(depth * stage[-1], 6)) for stage in _STAGES]
    return [_STAGES[0][-1], *counts[1:-1], _STAGES[-1][-1]]


def _stage_channels(published: int, variant: int) -> int:
    """The scaled number of channels, a multiple of 8 and at least nine tenths of it."""
    exact = published * _SCALES[variant][0]
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * exact else rounded + 8


class _ConvNorm(nnx.Module):
    """A convolution padded as TensorFlow pads, then batch normalisation."""

    def __init__(
        self, in_channels, out_channels, size, *, stride=1, groups=1, dtype, rngs
    ):
        self.conv = nnx.Conv(
            in_channels,
            out_channels,
            (size, size),
            strides=(stride, stride),
            padding="SAME",
            feature_group_count=groups,
            use_bias=False,
            kernel_init=initializers.HE_FAN_IN,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = layers.batch_norm(
            out_channels, epsilon=1e-3, dtype=dtype, rngs=rngs
        )

    def __call__(self, x):
        return self.norm(self.conv(x))


class _InvertedResidual(nnx.Module):
    """Expansion, depthwise convolution and projection, which no activation follows."""

    def __init__(
        self, in_channels, out_channels, size, *, stride, expansion, **precision
    ):
        channels = in_channels * expansion
        self.is_residual = stride == 1 and in_channels == out_channels
        expands = expansion > 1
        self.expand = (
            _ConvNorm(in_channels, channels, 1, **precision) if expands else None
        )
        self.depthwise = _ConvNorm(
            channels, channels, size, stride=stride, groups=channels, **precision
        )
        self.project = _ConvNorm(channels, out_channels, 1, **precision)

    def __call__(self, x):
        y = x if self.expand is None else nnx.relu6(self.expand(x))
        y = self.project(nnx.relu6(self.depthwise(y)))
        return x + y if self.is_residual else y


class EfficientNetLite(nnx.Module):
    """EfficientNet-Lite: inverted residual blocks without squeeze and excitation.

    Variant 0 has 16 blocks and 4,652,008 parameters for 1000 classes, 1 has 21 and
    5,416,680, 2 has 21 and 6,092,072. Published for images of 224, 240 and 260 pixels,
    shifted by 127 and divided by 128. Strided convolutions are padded more at the end
    than at the start, as in TensorFlow; batch normalisation has epsilon 1e-3. The
    dropout and the stochastic depth of the published training are left out.
    Convolutions start He normal (fan-in), the classifier LeCun normal, biases zero.

    Args:
      variant: 0, 1 or 2.
      num_classes: number of outputs.
      num_channels: channels of the images.
      base_width: channels of the stem; all others are in proportion, rounded down.
      dtype: precision of the convolutions; that of the input by default. Parameters
        and statistics are float32, embedding and logits float32 or wider.
      rngs: source of the initial weights.

    Raises:
      ValueError: if a size is not a positive integer, or there is no such variant.

    Example:
      >>> import jax.numpy as jnp
      >>> model = EfficientNetLite(
      ...     variant=1, num_classes=10, base_width=2, rngs=nnx.Rngs(0)
      ... )
      >>> logits, out = jax.eval_shape(model, jnp.ones((2, 64, 64, 3)))
      >>> logits.shape, out["embedding"].shape, out["feature_maps"][-2].shape
      ((2, 10), (2, 80), (2, 2, 2, 20))

    References:
      Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
      Networks", 2019, Table 1; Liu, "Higher accuracy on vision models with
      EfficientNet-Lite", TensorFlow blog, 2020.
    """

    def __init__(
        self,
        *,
        variant: int,
        num_classes: int,
        num_channels: int = 3,
        base_width: int = 32,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network in evaluation mode; see the class."""
        layers.check_image_sizes(
            num_classes=num_classes, num_channels=num_channels, base_width=base_width
        )
        if variant not in _SCALES:
            raise ValueError(f"variant must be 0, 1 or 2, got {variant}.")
        self.example_shape = (None, None, num_channels)
        precision = {"dtype": dtype, "rngs": rngs}
        channels = base_width
        self.stem = _ConvNorm(num_channels, channels, 3, stride=2, **precision)
        self.stages = nnx.List()
        stages = zip(_STAGES, stage_depths(variant), strict=True)
        for (size, stride, expansion, published, _), count in stages:
            scaled = _stage_channels(published, variant)
            out_channels = max(1, scaled * base_width // 32)
            stage = nnx.List()
            for j in range(count):
                block = _InvertedResidual(
                    channels,
                    out_channels,
                    size,
                    stride=stride if j == 0 else 1,
                    expansion=expansion,
                    **precision,
                )
                stage.append(block)
                channels = out_channels
            self.stages.append(stage)
        num_features = 40 * base_width
        self.head = _ConvNorm(channels, num_features, 1, **precision)
        self.classifier = layers.linear(num_features, num_classes, rngs=rngs)

    def __call__(
        self, x: ArrayLike, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits and intermediates.

        Args:
          x: images, shape ``[n, h, w, num_channels]``, or one.
          key: not used; every network takes it.

        Returns:
          Logits ``[n, C]`` and `out`: `embedding` ``[n, 40 base_width]`` and
          `feature_maps` (the end of the seven stages, which are linear there, and the
          last convolution after its ReLU6).
        """
        del key
        return layers.over_batch(self._forward, x, self.example_shape)

    def _forward(self, x):
        x = nnx.relu6(self.stem(x))
        feature_maps = []
        for stage in self.stages:
            for block in stage:
                x = block(x)
            feature_maps.append(x)
        feature_maps.append(nnx.relu6(self.head(x)))
        embedding = layers.spatial_mean(feature_maps[-1])
        out = {"embedding": embedding, "feature_maps": tuple(feature_maps)}
        return self.classifier(embedding), out


class EfficientNetLite0(EfficientNetLite):
    """EfficientNet-Lite0, the variant 0 of `EfficientNetLite`.

    Args:
      num_classes: number of outputs.
      num_channels: channels of the images.
      base_width: channels of the stem; all others are in proportion, rounded down.
      dtype: precision of the convolutions; that of the input by default.
      rngs: source of the initial weights.

    Raises:
      ValueError: if a size is not a positive integer.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        num_channels: int = 3,
        base_width: int = 32,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network in evaluation mode; see the class."""
        super().__init__(
            variant=0,
            num_classes=num_classes,
            num_channels=num_channels,
            base_width=base_width,
            dtype=dtype,
            rngs=rngs,
        )
