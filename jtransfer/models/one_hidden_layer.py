"""One hidden layer with sigmoid units."""

import jax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jtransfer.models import layers


class OneHiddenLayer(nnx.Module):
    """One hidden layer with sigmoid units, for vectors: a smooth network.

    Kernels start LeCun normal, biases zero.

    Args:
      num_features: length of one example.
      num_classes: number of outputs (of targets, in regression).
      width: number of hidden units.
      dtype: precision of the hidden layer; that of the input by default. Parameters
        are float32, embedding and logits float32 or wider.
      rngs: source of the initial weights.

    Raises:
      ValueError: if a size is not a positive integer.

    Example:
      >>> import jax.numpy as jnp
      >>> model = OneHiddenLayer(
      ...     num_features=5, num_classes=2, width=3, rngs=nnx.Rngs(0)
      ... )
      >>> logits, out = model(jnp.ones((4, 5)))
      >>> logits.shape, out["embedding"].shape
      ((4, 2), (4, 3))

    References:
      Liang et al., "Uncovering the Connections Between Adversarial Transferability
      and Knowledge Transferability", 2021, section 4.
    """

    def __init__(
        self,
        *,
        num_features: int,
        num_classes: int,
        width: int = 100,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network; see the class."""
        layers.check_image_sizes(
            num_features=num_features, num_classes=num_classes, width=width
        )
        self.example_shape = (num_features,)
        self.hidden = layers.linear(num_features, width, dtype=dtype, rngs=rngs)
        self.classifier = layers.linear(width, num_classes, rngs=rngs)

    def __call__(
        self, x: ArrayLike, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits and intermediates.

        Args:
          x: vectors, shape ``[n, num_features]``, or one example.
          key: not used; every network takes it.

        Returns:
          Logits ``[n, C]`` and `out`: `embedding` ``[n, width]`` after the sigmoid,
          `hidden` (that layer in a tuple) and no `feature_maps`.
        """
        del key
        return layers.over_batch(self._forward, x, self.example_shape)

    def _forward(self, x):
        embedding = layers.wide(nnx.sigmoid(self.hidden(x)))
        out = {"embedding": embedding, "hidden": (embedding,), "feature_maps": ()}
        return self.classifier(embedding), out
