"""A fully connected network with ReLU units."""

import jax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jtransfer.models import initializers, layers


class FullyConnected(nnx.Module):
    """Hidden layers of equal width with ReLU units, for vectors.

    Images are to be flattened by the caller: `x.reshape(n, -1)`. Hidden kernels start
    He normal (fan-in), the classifier LeCun normal, biases zero. The paper does not
    state its widths; two layers of 512 are this package's choice.

    Args:
      num_features: length of one example.
      num_classes: number of outputs.
      num_hidden: number of hidden layers.
      base_width: units of each.
      dtype: precision of the hidden layers; that of the input by default. Parameters
        are float32, embedding and logits float32 or wider.
      rngs: source of the initial weights.

    Raises:
      ValueError: if a size is not a positive integer.

    Example:
      >>> import jax.numpy as jnp
      >>> model = FullyConnected(
      ...     num_features=12, num_classes=2, base_width=3, rngs=nnx.Rngs(0)
      ... )
      >>> logits, out = model(jnp.ones((4, 12)))
      >>> logits.shape, [h.shape for h in out["hidden"]]
      ((4, 2), [(4, 3), (4, 3)])

    References:
      Liang et al., "Uncovering the Connections Between Adversarial Transferability
      and Knowledge Transferability", 2021, section 5.
    """

    def __init__(
        self,
        *,
        num_features: int,
        num_classes: int,
        num_hidden: int = 2,
        base_width: int = 512,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network; see the class."""
        layers.check_image_sizes(
            num_features=num_features,
            num_classes=num_classes,
            num_hidden=num_hidden,
            base_width=base_width,
        )
        self.example_shape = (num_features,)
        widths = [num_features] + [base_width] * num_hidden
        self.hidden = nnx.List(
            layers.linear(
                a, b, kernel_init=initializers.HE_FAN_IN, dtype=dtype, rngs=rngs
            )
            for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.classifier = layers.linear(base_width, num_classes, rngs=rngs)

    def __call__(
        self, x: ArrayLike, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits and intermediates.

        Args:
          x: vectors, shape ``[n, num_features]``, or one example.
          key: not used; every network takes it.

        Returns:
          Logits ``[n, C]`` and `out`: `embedding` ``[n, base_width]``, `hidden` (every
          hidden layer after its ReLU, shallow to deep) and no `feature_maps`.
        """
        del key
        return layers.over_batch(self._forward, x, self.example_shape)

    def _forward(self, x):
        hidden = []
        for layer in self.hidden:
            x = nnx.relu(layer(x))
            hidden.append(x)
        embedding = layers.wide(x)
        out = {"embedding": embedding, "hidden": tuple(hidden), "feature_maps": ()}
        return self.classifier(embedding), out
