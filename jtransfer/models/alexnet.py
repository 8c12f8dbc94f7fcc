"""AlexNet for small images."""

import jax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jtransfer.models import initializers, layers

# Size, stride and channels (in units of `base_width`) of the convolutions, and whether
# 2 x 2 max-pooling follows.
_CONVOLUTIONS = (
    (11, 4, 1, True),
    (5, 1, 3, True),
    (3, 1, 6, False),
    (3, 1, 4, False),
    (3, 1, 4, True),
)


class AlexNet(nnx.Module):
    """AlexNet in its common CIFAR form: five convolutions and one linear layer.

    The form of the `pytorch-classification` collection (W. Yang), which lists it with
    2.47 million parameters: convolutions of 64 (11 x 11, stride 4), 192 (5 x 5), 384,
    256 and 256 (3 x 3) channels with bias, padding of half the kernel, 2 x 2
    max-pooling after the first, second and fifth; no large linear layers, no dropout,
    no normalisation. A 32 x 32 image ends as one pixel; the pixels of larger images are
    averaged. 2,472,266 parameters for 10 classes. Convolutions start He normal
    (fan-in), the classifier LeCun normal, biases zero.

    Args:
      num_classes: number of outputs.
      num_channels: channels of the images.
      base_width: channels of the first convolution; the others are multiples of it.
      dtype: precision of the convolutions; that of the input by default. Parameters
        are float32, embedding and logits float32 or wider.
      rngs: source of the initial weights.

    Raises:
      ValueError: if a size is not a positive integer.

    Example:
      >>> import jax.numpy as jnp
      >>> model = AlexNet(num_classes=10, base_width=1, rngs=nnx.Rngs(0))
      >>> logits, out = model(jnp.ones((2, 32, 32, 3)))
      >>> logits.shape, out["feature_maps"][0].shape
      ((2, 10), (2, 4, 4, 1))

    References:
      Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural
      Networks", 2012.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        num_channels: int = 3,
        base_width: int = 64,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network; see the class."""
        layers.check_image_sizes(
            num_classes=num_classes, num_channels=num_channels, base_width=base_width
        )
        self.example_shape = (None, None, num_channels)
        channels = [num_channels] + [m * base_width for _, _, m, _ in _CONVOLUTIONS]
        self.convs = nnx.List(
            layers.convolution(
                channels[i],
                channels[i + 1],
                size,
                stride=stride,
                use_bias=True,
                kernel_init=initializers.HE_FAN_IN,
                dtype=dtype,
                rngs=rngs,
            )
            for i, (size, stride, _, _) in enumerate(_CONVOLUTIONS)
        )
        self.classifier = layers.linear(channels[-1], num_classes, rngs=rngs)

    def __call__(
        self, x: ArrayLike, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits and intermediates.

        Args:
          x: images, shape ``[n, h, w, num_channels]``, 29 x 29 or more, or one.
          key: not used; every network takes it.

        Returns:
          Logits ``[n, C]`` and `out`: `embedding` ``[n, 4 base_width]``, `feature_maps`
          (one a convolution, after ReLU and pooling) and `pre_activations` (the same
          before the ReLU).
        """
        del key
        return layers.over_batch(self._forward, x, self.example_shape, smallest=29)

    def _forward(self, x):
        pre_activations, feature_maps = [], []
        for conv, (_, _, _, pooled) in zip(self.convs, _CONVOLUTIONS, strict=True):
            # ReLU and maximum commute, so pooling first gives both forms of a stage.
            pre = layers.max_pool(conv(x)) if pooled else conv(x)
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
