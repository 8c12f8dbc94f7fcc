"""Settings of a student's training."""

import dataclasses
import functools
from typing import TYPE_CHECKING

from jtransfer.training import schedules

if TYPE_CHECKING:
    import optax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam:
    """The optimiser Adam, without weight decay."""

    def at_rate(self, rate: schedules.Schedule) -> "optax.GradientTransformation":
        """Returns the optimiser at a learning rate."""
        import optax

        return optax.adam(rate)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Momentum:
    """Stochastic gradient descent with momentum, see `training.schedules.sgd`."""

    momentum: float = 0.9
    weight_decay: float = 5e-4
    """On kernels, not on biases and the scales of normalisation."""

    def at_rate(self, rate: schedules.Schedule) -> "optax.GradientTransformation":
        """Returns the optimiser at a learning rate."""
        return schedules.sgd(
            rate, momentum=self.momentum, weight_decay=self.weight_decay
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nesterov:
    """Stochastic gradient descent with Nesterov's momentum."""

    momentum: float = 0.9
    weight_decay: float = 5e-4
    """On kernels, not on biases and the scales of normalisation."""

    def at_rate(self, rate: schedules.Schedule) -> "optax.GradientTransformation":
        """Returns the optimiser at a learning rate."""
        return schedules.sgd(
            rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=True,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine:
    """A rate that falls along half a cosine, from the first step to the last."""

    last: float = 0.0
    """The last rate, in parts of the first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentRecipe:
    """Settings of a student's training: Adam with one decay, unless others are given.

    The student is the network after the last step: where images are few, none can be
    held out to choose a better one.
    """

    num_epochs: int
    learning_rate: float = 1e-3
    decay_at: float | tuple[float, ...] | Cosine = 0.8
    """After which part of the run, or after which parts, the rate falls, or how."""
    decay_factor: float = 0.1
    """Of each fall."""
    batch_size: int = 128
    optimizer: Adam | Momentum | Nesterov = Adam()
    padding: int = 0
    """Zeros around an image before it is cropped again and flipped; 0 for neither.
    With them the teacher sees the images of each step, and runs in it; without, its
    outputs are computed once."""


STUDENT_PRESETS = {
    "cpu": StudentRecipe(num_epochs=20),
    "paper": StudentRecipe(num_epochs=500),
    "paper-b": StudentRecipe(num_epochs=500),
    "paper-c": StudentRecipe(
        num_epochs=200,
        learning_rate=0.1,
        decay_at=(0.25, 0.5, 0.75),
        decay_factor=0.2,
        batch_size=256,
        optimizer=Momentum(),
    ),
}
"""`cpu`: minutes on two cores with a narrow network; `paper-b`, of old `paper`: the
CIFAR recipe of knowledge transfer with Jacobian matching, supplement, "Optimization";
`paper-c`: that of selective cross-task distillation, section 6.1.2."""


@functools.lru_cache(maxsize=64)
def student_optimizer(
    recipe: StudentRecipe, num_steps: int
) -> "optax.GradientTransformation":
    """Returns the optimiser of a recipe: one object for equal arguments.

    `fit` compiles once for one object, so that students of one recipe share the step.

    Args:
      recipe: the recipe.
      num_steps: of the whole run.
    """
    import optax

    parts = recipe.decay_at
    if isinstance(parts, Cosine):
        rate = optax.cosine_decay_schedule(
            recipe.learning_rate, num_steps, alpha=parts.last
        )
        return recipe.optimizer.at_rate(rate)
    parts = parts if isinstance(parts, tuple) else (parts,)
    falls = {round(part * num_steps): recipe.decay_factor for part in parts}
    rate = optax.piecewise_constant_schedule(recipe.learning_rate, falls)
    return recipe.optimizer.at_rate(rate)
