"""LeNet-5."""

import jax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jtransfer.models import initializers, layers


class LeNet(nnx.Module):
    """LeNet-5 in today's form: ReLU units and max-pooling.

    Two 5 x 5 convolutions of 6 and 16 channels (no padding, each followed by 2 x 2
    max-pooling), then layers of 120 and 84 units: 62,006 parameters for 10 classes of
    32 x 32 colour images. Hidden kernels start He normal (fan-in), the classifier LeCun
    normal, biases zero.

    Args:
      num_classes: number of outputs.
      num_channels: channels of the images.
      image_size: edge of the square images, 16 or more.
      base_width: channels of the first convolution; the other layers keep their
        proportion to it.
      dtype: precision of the layers before the embedding; that of the input by
        default. Parameters are float32, embedding and logits float32 or wider.
      rngs: source of the initial weights.

    Raises:
      ValueError: if a size is not a positive integer or the images are too small.

    Example:
      >>> import jax.numpy as jnp
      >>> model = LeNet(num_classes=10, base_width=2, image_size=16, rngs=nnx.Rngs(0))
      >>> logits, out = model(jnp.ones((4, 16, 16, 3)))
      >>> logits.shape, [f.shape for f in out["feature_maps"]]
      ((4, 10), [(4, 6, 6, 2), (4, 1, 1, 5)])

    References:
      LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        num_channels: int = 3,
        image_size: int = 32,
        base_width: int = 6,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network; see the class."""
        layers.check_image_sizes(
            num_classes=num_classes,
            num_channels=num_channels,
            image_size=image_size,
            base_width=base_width,
        )
        if image_size < 16:
            raise ValueError(f"image_size must be 16 or more, got {image_size}.")
        self.example_shape = (image_size, image_size, num_channels)
        edge = ((image_size - 4) // 2 - 4) // 2
        second, third, fourth = (
            max(1, round(units * base_width / 6)) for units in (16, 120, 84)
        )
        hidden = {"kernel_init": initializers.HE_FAN_IN, "dtype": dtype, "rngs": rngs}
        conv = {"padding": 0, "use_bias": True, **hidden}
        self.conv1 = layers.convolution(num_channels, base_width, 5, **conv)
        self.conv2 = layers.convolution(base_width, second, 5, **conv)
        self.linear1 = layers.linear(edge * edge * second, third, **hidden)
        self.linear2 = layers.linear(third, fourth, **hidden)
        self.classifier = layers.linear(fourth, num_classes, rngs=rngs)

    def __call__(
        self, x: ArrayLike, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits and intermediates.

        Args:
          x: images, shape ``[n, image_size, image_size, num_channels]``, or one.
          key: not used; every network takes it.

        Returns:
          Logits ``[n, C]`` and `out`: `embedding` (84 units), `feature_maps` (two,
          after ReLU and pooling) and `pre_activations` (the same before the ReLU).
        """
        del key
        return layers.over_batch(self._forward, x, self.example_shape)

    def _forward(self, x):
        # ReLU and maximum commute, so pooling first gives both forms of each stage.
        pre1 = layers.max_pool(self.conv1(x))
        map1 = nnx.relu(pre1)
        pre2 = layers.max_pool(self.conv2(map1))
        map2 = nnx.relu(pre2)
        y = nnx.relu(self.linear1(map2.reshape(len(x), -1)))
        embedding = layers.wide(nnx.relu(self.linear2(y)))
        out = {
            "embedding": embedding,
            "feature_maps": (map1, map2),
            "pre_activations": (pre1, pre2),
        }
        return self.classifier(embedding), out
