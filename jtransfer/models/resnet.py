"""Residual networks of 18, 34 and 50 layers."""

import jax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jtransfer.models import layers


class _BasicBlock(nnx.Module):
    """Two 3 x 3 convolutions and a shortcut; the sum, before its ReLU."""

    expansion = 1

    def __init__(self, in_channels, channels, *, stride, dtype, rngs):
        precision = {"dtype": dtype, "rngs": rngs}
        self.unit1 = layers.ConvNorm(
            in_channels, channels, 3, stride=stride, **precision
        )
        self.unit2 = layers.ConvNorm(channels, channels, 3, **precision)
        self.shortcut = _shortcut(in_channels, channels, stride, precision)

    def __call__(self, x):
        y = self.unit2(nnx.relu(self.unit1(x)))
        return y + (x if self.shortcut is None else self.shortcut(x))


class _Bottleneck(nnx.Module):
    """Convolutions of 1, 3 and 1 pixels and a shortcut; the sum, before its ReLU."""

    expansion = 4

    def __init__(self, in_channels, channels, *, stride, dtype, rngs):
        precision = {"dtype": dtype, "rngs": rngs}
        self.unit1 = layers.ConvNorm(in_channels, channels, 1, **precision)
        self.unit2 = layers.ConvNorm(channels, channels, 3, stride=stride, **precision)
        self.unit3 = layers.ConvNorm(channels, 4 * channels, 1, **precision)
        self.shortcut = _shortcut(in_channels, 4 * channels, stride, precision)

    def __call__(self, x):
        y = nnx.relu(self.unit2(nnx.relu(self.unit1(x))))
        return self.unit3(y) + (x if self.shortcut is None else self.shortcut(x))


def _shortcut(in_channels, out_channels, stride, precision):
    """A projection where the shape changes, else None for the identity."""
    if stride == 1 and in_channels == out_channels:
        return None
    return layers.ConvNorm(in_channels, out_channels, 1, stride=stride, **precision)


_BLOCKS = {
    18: (_BasicBlock, (2, 2, 2, 2)),
    34: (_BasicBlock, (3, 4, 6, 3)),
    50: (_Bottleneck, (3, 4, 6, 3)),
}


class ResNet(nnx.Module):
    """ResNet-18, -34 and -50 with the stem for small images or that of ImageNet.

    The small stem is one 3 x 3 convolution; that of ImageNet is a 7 x 7 convolution of
    stride 2 and 3 x 3 max-pooling of stride 2. Projection shortcuts where the shape
    changes; the stride of a bottleneck is in its 3 x 3 convolution. Convolutions have
    no bias and start He normal (fan-out), as published; the classifier starts LeCun
    normal, biases zero. With the small stem and 10 classes the parameters number
    11,173,962, 21,282,122 and 23,520,842.

    Args:
      depth: 18, 34 or 50.
      num_classes: number of outputs.
      num_channels: channels of the images.
      base_width: channels of the stem; the stages have 1, 2, 4 and 8 times as many
        (and ResNet-50 four times these at the end of its blocks).
      imagenet_stem: whether to use the stem for large images.
      dtype: precision of the convolutions; that of the input by default. Parameters
        and statistics are float32, embedding and logits float32 or wider.
      rngs: source of the initial weights.

    Raises:
      ValueError: if `depth` is unknown or a size is not a positive integer.

    Example:
      >>> import jax.numpy as jnp
      >>> model = ResNet(depth=18, num_classes=10, base_width=1, rngs=nnx.Rngs(0))
      >>> logits, out = jax.eval_shape(model, jnp.ones((2, 8, 8, 3)))
      >>> logits.shape, out["embedding"].shape, out["feature_maps"][0].shape
      ((2, 10), (2, 8), (2, 8, 8, 1))

    References:
      He et al., "Deep Residual Learning for Image Recognition", 2016.
    """

    def __init__(
        self,
        *,
        depth: int,
        num_classes: int,
        num_channels: int = 3,
        base_width: int = 64,
        imagenet_stem: bool = False,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network in evaluation mode; see the class."""
        if depth not in _BLOCKS:
            raise ValueError(f"depth must be 18, 34 or 50, got {depth!r}.")
        layers.check_image_sizes(
            num_classes=num_classes, num_channels=num_channels, base_width=base_width
        )
        self.example_shape = (None, None, num_channels)
        self.imagenet_stem = imagenet_stem
        size, stride = (7, 2) if imagenet_stem else (3, 1)
        precision = {"dtype": dtype, "rngs": rngs}
        self.stem = layers.ConvNorm(
            num_channels, base_width, size, stride=stride, **precision
        )
        block, counts = _BLOCKS[depth]
        self.stages = nnx.List()
        channels = base_width
        for i, count in enumerate(counts):
            stage = nnx.List()
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                stage.append(
                    block(channels, 2**i * base_width, stride=stride, **precision)
                )
                channels = 2**i * base_width * block.expansion
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
          Logits ``[n, C]`` and `out`: `embedding` ``[n, d]``, `feature_maps` (the end
          of the four stages, after the ReLU), `pre_activations` (the same before it)
          and `block_maps` (the end of every residual block, after the ReLU).
        """
        del key
        return layers.over_batch(self._forward, x, self.example_shape)

    def _forward(self, x):
        x = self.stem(x)
        if self.imagenet_stem:
            x = layers.max_pool(x, window=3, stride=2, padding=1)
        x = nnx.relu(x)
        pre_activations, feature_maps, block_maps = [], [], []
        for stage in self.stages:
            for block in stage:
                pre = block(x)
                x = nnx.relu(pre)
                block_maps.append(x)
            pre_activations.append(pre)
            feature_maps.append(x)
        embedding = layers.spatial_mean(x)
        out = {
            "embedding": embedding,
            "feature_maps": tuple(feature_maps),
            "pre_activations": tuple(pre_activations),
            "block_maps": tuple(block_maps),
        }
        return self.classifier(embedding), out
