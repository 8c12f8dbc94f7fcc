"""Settings of the attacks on stored images."""

import dataclasses

from jtransfer.attacks import LINF, Norm

EPSILON = 0.1
NUM_STEPS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackSettings:
    """Settings of an attack on stored images: its ball, its steps and its start.

    The loss is that of the head of `pairs`, the limits of a pixel are 0 and 1.

    Raises:
      ValueError: if `num_steps` is negative.

    Example:
      >>> AttackSettings(epsilon=0.2, num_steps=20).length_of_step
      0.05
    """

    norm: Norm = LINF
    """Of the ball: `attacks.LINF` is the largest change of a pixel, `attacks.L2` the
    Euclidean length of the change of an image."""
    epsilon: float = EPSILON
    """Radius of the ball."""
    num_steps: int = NUM_STEPS
    """Number of gradients."""
    step_size: float | None = None
    """Length of a step; None for five radii in all, `5 epsilon / num_steps`."""
    decay: float = 0.0
    """Weight of the momentum: that of the last step, 0 for none, 1 for MI-FGSM."""
    random_start: bool = True
    """Whether it starts at a random point of the ball and not at the image itself."""
    targeted: bool = False
    """Whether it leads to the class that the function holds for the least likely, in
    place of leading away from its prediction."""

    def __post_init__(self):
        """Refuses what is no number of steps."""
        if self.num_steps < 0:
            raise ValueError(f"num_steps must not be negative, got {self.num_steps}.")

    @property
    def length_of_step(self) -> float:
        """The length of a step, whether given or by the rule."""
        if self.step_size is not None:
            return self.step_size
        return 5 * self.epsilon / max(self.num_steps, 1)


DEFAULT_ATTACK = AttackSettings()
"""The attack of `jtransfer pair` and of the scores that need attacks."""


def changed_settings(
    settings: AttackSettings, *, epsilon: float | None, num_steps: int | None
) -> AttackSettings:
    """Returns settings with another radius or number of steps, where one is given."""
    numbers = {"epsilon": epsilon, "num_steps": num_steps}
    given = {name: value for name, value in numbers.items() if value is not None}
    return dataclasses.replace(settings, **given)
