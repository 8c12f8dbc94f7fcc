"""A teacher with branches of its student, as SFTN trains it."""

import jax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jtransfer.models import layers
from jtransfer.models.vgg import VGG
from jtransfer.models.wide_resnet import WideResNet


class Branched(nnx.Module):
    """A teacher whose middle feature maps also go on through the ends of a student.

    After each stage of the teacher but the last, a 1 x 1 convolution without bias,
    batch normalisation and ReLU lead its feature map to the student's width. The
    student's remaining stages and classifier follow, a copy of them for each branch, so
    that the branches share nothing. They start as the student does. The maps of the
    branches have the teacher's size in pixels.

    The teacher is `model.teacher`, and in a training run ``params["teacher"]`` and
    ``stats["teacher"]`` are its variables, in the form in which the teacher alone has
    them. A WideResNet's map is normalised and activated before it branches off, which
    the next block of a WideResNet student does once more.

    Args:
      teacher: a `VGG` or `WideResNet`.
      student: a `VGG` or `WideResNet` with as many stages and classes; it is copied and
        stays as it is.
      dtype: precision of the 1 x 1 convolutions; that of the maps by default.
      rngs: source of their initial weights.

    Raises:
      TypeError: if a network is no `VGG` or `WideResNet`.
      ValueError: if the networks differ in stages or classes.

    Example:
      >>> import jax.numpy as jnp
      >>> rngs = nnx.Rngs(0)
      >>> teacher = VGG(depth=4, num_classes=3, base_width=2, rngs=rngs)
      >>> student = VGG(depth=4, num_classes=3, base_width=1, rngs=rngs)
      >>> model = Branched(teacher, student, rngs=rngs)
      >>> logits, out = jax.eval_shape(model, jnp.ones((2, 8, 8, 3)))
      >>> logits.shape, [branch.shape for branch in out["branch_logits"]]
      ((2, 3), [(2, 3), (2, 3)])

    References:
      Park et al., "Learning Student-Friendly Teacher Networks for Knowledge
      Distillation", 2021. The layers of the connection are recalled from the paper.
    """

    def __init__(
        self,
        teacher: VGG | WideResNet,
        student: VGG | WideResNet,
        *,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Adds the branches to `teacher`; see the class."""
        for name, network in (("teacher", teacher), ("student", student)):
            if not isinstance(network, VGG | WideResNet):
                raise TypeError(
                    f"{name} must be a VGG or WideResNet, got {type(network).__name__}."
                )
        wide, narrow = teacher.stage_channels, student.stage_channels
        if len(wide) != len(narrow):
            raise ValueError(
                "Teacher and student must have one number of stages, got "
                f"{len(wide)} and {len(narrow)}."
            )
        classes = [network.classifier.out_features for network in (teacher, student)]
        if classes[0] != classes[1]:
            raise ValueError(
                f"Teacher and student must have the same classes, got {classes}."
            )
        self.teacher = teacher
        self.example_shape = teacher.example_shape
        self.connections, self.tails = nnx.List(), nnx.List()
        for stage in range(1, len(wide)):
            channels = wide[stage - 1], narrow[stage - 1]
            self.connections.append(
                layers.ConvNorm(*channels, 1, dtype=dtype, rngs=rngs)
            )
            self.tails.append(student.tail(stage))

    def __call__(
        self, x: ArrayLike, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict]:
        """Returns the teacher's logits and intermediates, and the branches' logits.

        Args:
          x: a batch as the teacher takes it, or one example.
          key: randomness of the dropout, if there is any; the teacher gets it as it is.

        Returns:
          Logits ``[n, C]`` of the teacher and its `out` with `branch_logits` added, a
          tuple of ``[n, C]``, from the branch after the first stage on.
        """
        return layers.over_batch(lambda x: self._forward(x, key), x, self.example_shape)

    def _forward(self, x, key):
        logits, out = self.teacher(x, key=key)
        branches = []
        stages = zip(
            self.connections, self.tails, out["feature_maps"][:-1], strict=True
        )
        for stage, (connection, tail, maps) in enumerate(stages, start=1):
            branch_key = None if key is None else jax.random.fold_in(key, stage)
            entry = nnx.relu(connection(maps))
            branches.append(tail.from_stage(entry, stage, key=branch_key)[0])
        return logits, {**out, "branch_logits": tuple(branches)}
