"""A student with a second head in the teacher's label space."""

import jax
from flax import nnx
from jax.typing import ArrayLike

from jtransfer.models import layers


class TwoHeaded(nnx.Module):
    """A network with a second head for the teacher's classes on the same embedding.

    The student of learning without forgetting: its own classes are learnt from labels
    through the body's classifier, and the second head is matched to the teacher's
    outputs on the same images. The second head starts LeCun normal, its bias zero.

    Args:
      body: any other network of this package, built with the student's own
        `num_classes`.
      num_teacher_classes: number of outputs of the second head.
      rngs: source of the second head's initial weights.

    Raises:
      ValueError: if `num_teacher_classes` is not a positive integer.

    Example:
      >>> import jax.numpy as jnp
      >>> from jtransfer.models import LeNet
      >>> rngs = nnx.Rngs(0)
      >>> body = LeNet(num_classes=3, base_width=1, image_size=16, rngs=rngs)
      >>> student = TwoHeaded(body, num_teacher_classes=7, rngs=rngs)
      >>> logits, out = student(jnp.ones((2, 16, 16, 3)))
      >>> logits.shape, out["teacher_logits"].shape
      ((2, 3), (2, 7))

    References:
      Li and Hoiem, "Learning without Forgetting", 2016.
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, 6.3.
    """

    def __init__(self, body: nnx.Module, *, num_teacher_classes: int, rngs: nnx.Rngs):
        """Adds a head to `body`; see the class."""
        layers.check_image_sizes(num_teacher_classes=num_teacher_classes)
        self.body = body
        self.example_shape = body.example_shape
        self.teacher_classifier = layers.linear(
            body.classifier.in_features, num_teacher_classes, rngs=rngs
        )

    def __call__(
        self, x: ArrayLike, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns logits of the student's own classes and intermediates.

        Args:
          x: a batch as the body takes it, or one example.
          key: randomness of the body's dropout, if it has any.

        Returns:
          Logits ``[n, C]`` of the own classes and the body's `out` with
          `teacher_logits` ``[n, num_teacher_classes]`` added.
        """
        logits, out = self.body(x, key=key)
        teacher_logits = self.teacher_classifier(out["embedding"])
        return logits, {**out, "teacher_logits": teacher_logits}
