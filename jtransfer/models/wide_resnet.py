"""Wide residual networks."""

import jax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jtransfer.models import layers


class _Block(nnx.Module):
    """Normalisation, ReLU and 3 x 3 convolution, twice, and a shortcut."""

    def __init__(self, in_channels, channels, *, stride, dtype, rngs):
        precision = {"dtype": dtype, "rngs": rngs}
        self.norm1 = layers.batch_norm(in_channels, **precision)
        self.conv1 = layers.convolution(
            in_channels, channels, 3, stride=stride, **precision
        )
        self.norm2 = layers.batch_norm(channels, **precision)
        self.conv2 = layers.convolution(channels, channels, 3, **precision)
        self.shortcut = (
            None
            if stride == 1 and in_channels == channels
            else layers.convolution(
                in_channels, channels, 1, stride=stride, **precision
            )
        )

    def __call__(self, x):
        """Returns the sum and the normalised input, which completes the last block."""
        normalized = self.norm1(x)
        activated = nnx.relu(normalized)
        y = self.conv2(nnx.relu(self.norm2(self.conv1(activated))))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return y + shortcut, normalized


class WideResNet(nnx.Module):
    """Wide residual network WRN-(depth, width), with normalisation before convolution.

    Three groups of (depth - 4) / 6 blocks with 16, 32 and 64 channels times `width`; a
    1 x 1 convolution of the activated input as shortcut where the shape changes; no
    dropout. Convolutions have no bias and start He normal (fan-out), as published;
    the classifier starts LeCun normal, biases zero. WRN-(40, 2) has 2,255,156
    parameters for 100 classes.

    A block ends in a sum that is normalised and activated only at the entry of the
    next block. Its map here is the one *after* that normalisation, so that
    `feature_maps` are activations, as in other networks.

    Args:
      depth: 6 k + 4 with k of one or more: 10, 16, 22, 28, 40.
      width: widening factor.
      num_classes: number of outputs.
      num_channels: channels of the images.
      base_width: channels of the stem; the groups have `width` times 1, 2 and 4 as
        many.
      dtype: precision of the convolutions; that of the input by default. Parameters
        and statistics are float32, embedding and logits float32 or wider.
      rngs: source of the initial weights.

    Raises:
      ValueError: if `depth` is not of this form or a size is not a positive integer.

    Example:
      >>> import jax.numpy as jnp
      >>> model = WideResNet(
      ...     depth=10, width=1, num_classes=5, base_width=1, rngs=nnx.Rngs(0)
      ... )
      >>> logits, out = jax.eval_shape(model, jnp.ones((2, 8, 8, 3)))
      >>> logits.shape, [f.shape for f in out["feature_maps"]]
      ((2, 5), [(2, 8, 8, 1), (2, 4, 4, 2), (2, 2, 2, 4)])

    References:
      Zagoruyko and Komodakis, "Wide Residual Networks", 2016.
    """

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        num_classes: int,
        num_channels: int = 3,
        base_width: int = 16,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network in evaluation mode; see the class."""
        if not isinstance(depth, int) or depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth must be 6 k + 4 with k >= 1, got {depth!r}.")
        layers.check_image_sizes(
            width=width,
            num_classes=num_classes,
            num_channels=num_channels,
            base_width=base_width,
        )
        self.example_shape = (None, None, num_channels)
        precision = {"dtype": dtype, "rngs": rngs}
        self.stem = layers.convolution(num_channels, base_width, 3, **precision)
        self.blocks = nnx.List()
        channels = base_width
        for i in range(3):
            for j in range((depth - 4) // 6):
                stride = 2 if i > 0 and j == 0 else 1
                widened = 2**i * width * base_width
                self.blocks.append(
                    _Block(channels, widened, stride=stride, **precision)
                )
                channels = widened
        self.norm = layers.batch_norm(channels, **precision)
        self.classifier = layers.linear(channels, num_classes, rngs=rngs)

    def __call__(
        self, x: ArrayLike, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits and intermediates.

        Args:
          x: images, shape ``[n, h, w, num_channels]``, or one.
          key: not used; every network takes it.

        Returns:
          Logits ``[n, C]`` and `out`: `embedding` ``[n, 4 width base_width]``,
          `feature_maps` (the end of the three groups, normalised, after the ReLU),
          `pre_activations` (the same before it) and `block_maps` (the end of every
          residual block, normalised, after the ReLU).
        """
        del key
        return layers.over_batch(self._forward, x, self.example_shape)

    def _forward(self, x):
        return self.from_stage(self.stem(x), 0)

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels of the feature maps, one a group."""
        length = len(self.blocks) // 3
        return tuple(
            block.conv2.out_features for block in self.blocks[length - 1 :: length]
        )

    def from_stage(
        self, x: jax.Array, stage: int, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits and intermediates of the groups from one on.

        Args:
          x: the maps that enter that group, shape ``[n, h, w, c]``.
          stage: the first group to run; 0 for what the stem returns.
          key: not used; every network takes it.

        Returns:
          The same as a call of the network, of these groups only.
        """
        del key
        length = len(self.blocks) // 3
        normalized = []
        for block in self.blocks[stage * length :]:
            x, entry = block(x)
            normalized.append(entry)
        normalized = (*normalized[1:], self.norm(x))
        block_maps = tuple(nnx.relu(y) for y in normalized)
        last = slice(length - 1, None, length)
        embedding = layers.spatial_mean(block_maps[-1])
        out = {
            "embedding": embedding,
            "feature_maps": block_maps[last],
            "pre_activations": normalized[last],
            "block_maps": block_maps,
        }
        return self.classifier(embedding), out

    def tail(self, stage: int) -> "WideResNet":
        """Returns a copy without stem and groups before one, for `from_stage` alone."""
        copy = nnx.clone(self)
        copy.stem = None
        for i in range(stage * len(self.blocks) // 3):
            copy.blocks[i] = None
        return copy
