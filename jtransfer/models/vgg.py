"""VGG networks of 4 and 9 layers."""

import jax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jtransfer.models import layers

# Channels of the convolutions in units of `base_width`; a max-pooling ends each stage.
_STAGES = {
    4: ((1,), (2,), (8,)),
    9: ((1,), (2,), (4, 4), (8, 8), (8, 8)),
}


class VGG(nnx.Module):
    """VGG-4 and VGG-9 with batch normalisation and global average pooling.

    With M for 2 x 2 max-pooling, VGG-4 is [64 M 128 M 512 M] and VGG-9 is [64 M 128 M
    256 256 M 512 512 M 512 512 M]; each number is a 3 x 3 convolution without bias,
    batch normalisation and ReLU. One linear layer follows the average. Convolutions
    start He normal (fan-out), the classifier LeCun normal, biases zero.

    Args:
      depth: 4 or 9.
      num_classes: number of outputs.
      num_channels: channels of the images.
      base_width: channels of the first convolution; the others are multiples of it.
      dropout_rate: fraction of the averaged features dropped in training, before the
        classifier (the paper does not state the place).
      dtype: precision of the convolutions; that of the input by default. Parameters
        and statistics are float32, embedding and logits float32 or wider.
      rngs: source of the initial weights.

    Raises:
      ValueError: if `depth` is unknown, a size is not a positive integer or
        `dropout_rate` is not in [0, 1).

    Example:
      >>> import jax.numpy as jnp
      >>> model = VGG(depth=4, num_classes=10, base_width=1, rngs=nnx.Rngs(0))
      >>> logits, out = model(jnp.ones((2, 8, 8, 3)))
      >>> logits.shape, [f.shape for f in out["feature_maps"]]
      ((2, 10), [(2, 4, 4, 1), (2, 2, 2, 2), (2, 1, 1, 8)])

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018,
      supplement, section 4.1.
    """

    def __init__(
        self,
        *,
        depth: int,
        num_classes: int,
        num_channels: int = 3,
        base_width: int = 64,
        dropout_rate: float = 0.0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network in evaluation mode; see the class."""
        if depth not in _STAGES:
            raise ValueError(f"depth must be 4 or 9, got {depth!r}.")
        layers.check_image_sizes(
            num_classes=num_classes, num_channels=num_channels, base_width=base_width
        )
        if not 0 <= dropout_rate < 1:
            raise ValueError(f"dropout_rate must be in [0, 1), got {dropout_rate!r}.")
        self.example_shape = (None, None, num_channels)
        self.stages = nnx.List()
        channels = num_channels
        for multiples in _STAGES[depth]:
            stage = nnx.List()
            for multiple in multiples:
                width = multiple * base_width
                stage.append(
                    layers.ConvNorm(channels, width, 3, dtype=dtype, rngs=rngs)
                )
                channels = width
            self.stages.append(stage)
        self.dropout = nnx.Dropout(dropout_rate, deterministic=True)
        self.classifier = layers.linear(channels, num_classes, rngs=rngs)

    def __call__(
        self, x: ArrayLike, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits and intermediates.

        Args:
          x: images, shape ``[n, h, w, num_channels]``, or one; 8 x 8 or more for
            VGG-4, 32 x 32 or more for VGG-9.
          key: randomness of the dropout; needed in training mode only.

        Returns:
          Logits ``[n, C]`` and `out`: `embedding` ``[n, 8 base_width]`` (after the
          dropout), `feature_maps` (one a max-pooling, after ReLU and pooling) and
          `pre_activations` (the same before the ReLU).
        """
        return layers.over_batch(
            lambda x: self.from_stage(x, 0, key=key),
            x,
            self.example_shape,
            smallest=2 ** len(self.stages),
        )

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels of the feature maps, one a stage."""
        return tuple(stage[-1].norm.num_features for stage in self.stages)

    def from_stage(
        self, x: jax.Array, stage: int, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits and intermediates of the stages from one on.

        Args:
          x: the feature maps before that stage, shape ``[n, h, w, c]``.
          stage: the first stage to run; 0 for images.
          key: randomness of the dropout; needed in training mode only.

        Returns:
          The same as a call of the network, of these stages only.
        """
        dropping = self.dropout.rate > 0 and not self.dropout.deterministic
        if dropping and key is None:
            raise ValueError("key must be given to train with dropout.")
        pre_activations, feature_maps = [], []
        for *inner, last in self.stages[stage:]:
            for unit in inner:
                x = nnx.relu(unit(x))
            # ReLU and maximum commute, so pooling first gives both forms of a stage.
            pre_activations.append(layers.max_pool(last(x)))
            x = nnx.relu(pre_activations[-1])
            feature_maps.append(x)
        embedding = self.dropout(layers.spatial_mean(x), rngs=key)
        out = {
            "embedding": embedding,
            "feature_maps": tuple(feature_maps),
            "pre_activations": tuple(pre_activations),
        }
        return self.classifier(embedding), out

    def tail(self, stage: int) -> "VGG":
        """Returns a copy without the stages before one, for `from_stage` alone."""
        copy = nnx.clone(self)
        for i in range(stage):
            copy.stages[i] = nnx.List()
        return copy
