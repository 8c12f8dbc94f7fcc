"""MobileNet, first version."""

import jax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jtransfer.models import initializers, layers

# Channels and number of blocks of each stage; its first block halves the resolution,
# except in the first stage.
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))


class _Separable(nnx.Module):
    """A depthwise and a pointwise convolution; the latter before its ReLU."""

    def __init__(self, in_channels, out_channels, *, stride, **shared):
        self.depthwise = layers.ConvNorm(
            in_channels, in_channels, 3, stride=stride, groups=in_channels, **shared
        )
        self.pointwise = layers.ConvNorm(in_channels, out_channels, 1, **shared)

    def __call__(self, x):
        return self.pointwise(nnx.relu(self.depthwise(x)))


class MobileNet(nnx.Module):
    """MobileNet v1: 13 blocks of depthwise and pointwise convolutions.

    4,231,976 parameters for 1000 classes at width 1. Convolutions have no bias and
    start He normal (fan-in, which keeps the scale through the depthwise ones), the
    classifier LeCun normal, biases zero.

    Args:
      width: multiplier of all channels, rounded down; published: 1, 0.75, 0.5, 0.25.
      num_classes: number of outputs.
      num_channels: channels of the images.
      imagenet_stem: whether the first convolution has stride 2, for large images;
        stride 1 by default, for images of 32 pixels.
      dtype: precision of the convolutions; that of the input by default. Parameters
        and statistics are float32, embedding and logits float32 or wider.
      rngs: source of the initial weights.

    Raises:
      ValueError: if `width` is not positive or a size is not a positive integer.

    Example:
      >>> import jax.numpy as jnp
      >>> model = MobileNet(width=1 / 32, num_classes=10, rngs=nnx.Rngs(0))
      >>> logits, out = jax.eval_shape(model, jnp.ones((2, 32, 32, 3)))
      >>> logits.shape, out["embedding"].shape, out["feature_maps"][-1].shape
      ((2, 10), (2, 32), (2, 2, 2, 32))

    References:
      Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile
      Vision Applications", 2017, Table 1.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        num_classes: int,
        num_channels: int = 3,
        imagenet_stem: bool = False,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network in evaluation mode; see the class."""
        if not width > 0:
            raise ValueError(f"width must be positive, got {width!r}.")
        layers.check_image_sizes(num_classes=num_classes, num_channels=num_channels)
        self.example_shape = (None, None, num_channels)
        shared = {"kernel_init": initializers.HE_FAN_IN, "dtype": dtype, "rngs": rngs}
        channels = _scaled(32, width)
        self.stem = layers.ConvNorm(
            num_channels, channels, 3, stride=2 if imagenet_stem else 1, **shared
        )
        self.stages = nnx.List()
        for i, (published, count) in enumerate(_STAGES):
            stage = nnx.List()
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                out_channels = _scaled(published, width)
                stage.append(
                    _Separable(channels, out_channels, stride=stride, **shared)
                )
                channels = out_channels
            self.stages.append(stage)
        self.classifier = layers.linear(channels, num_classes, rngs=rngs)

    def __call__(
        self, x: ArrayLike, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits and intermediates.

        Args:
          x: images, shape ``[n, h, w, num_channels]``, or one.
          key: not used; every network takes it.

        Returns:
          Logits ``[n, C]`` and `out`: `embedding` ``[n, 1024 width]``, `feature_maps`
          (the last block at each of the five resolutions, after the ReLU) and
          `pre_activations` (the same before it).
        """
        del key
        return layers.over_batch(self._forward, x, self.example_shape)

    def _forward(self, x):
        x = nnx.relu(self.stem(x))
        pre_activations, feature_maps = [], []
        for stage in self.stages:
            for block in stage:
                pre = block(x)
                x = nnx.relu(pre)
            pre_activations.append(pre)
            feature_maps.append(x)
        embedding = layers.spatial_mean(x)
        out = {
            "embedding": embedding,
            "feature_maps": tuple(feature_maps),
            "pre_activations": tuple(pre_activations),
        }
        return self.classifier(embedding), out


def _scaled(channels, width):
    """Channels times the width multiplier, rounded down, at least one."""
    return max(1, int(channels * width))
