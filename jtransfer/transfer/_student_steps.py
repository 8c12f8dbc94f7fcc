"""Steps of students: augmented, taught inside, or with parameters beside their own."""

import dataclasses
from collections.abc import Callable

import jax

from jtransfer import data, networks
from jtransfer.networks import Architecture
from jtransfer.transfer.losses import Student, StudentLoss


@dataclasses.dataclass(frozen=True)
class TaughtInside:
    """A loss whose teacher runs in the step, on the images that the student sees."""

    loss: StudentLoss
    outputs: Callable
    """See `teacher_outputs`."""
    teacher: Architecture
    """Its variables are the entry `teacher` of the batch."""

    def __call__(self, student: Student, batch: dict):
        """Returns the value and its parts."""
        apply_fn, flat = networks.apply_fn_of(self.teacher)

        def f(x):
            return apply_fn(batch["teacher"], x.reshape(len(x), -1) if flat else x)

        answers = self.outputs(f, student.x, batch["labels"])
        return self.loss(student, {**batch, **answers})


@dataclasses.dataclass(frozen=True)
class Augmented:
    """An objective on images that are cropped again and flipped."""

    objective: Callable
    padding: int

    def __call__(self, params, stats, batch, key):
        """Returns value, parts and new statistics of a batch."""
        augment_key, key = jax.random.split(key)
        images = data.augmented(augment_key, batch["images"], padding=self.padding)
        return self.objective(params, stats, {**batch, "images": images}, key)


@dataclasses.dataclass(frozen=True)
class BesideExtras:
    """An objective whose parameters are a student's `network` and its `extras`."""

    objective: Callable

    def __call__(self, params, stats, batch, key):
        """Returns value, parts and new statistics of a batch."""
        batch = {**batch, "extras": params["extras"]}
        return self.objective(params["network"], stats, batch, key)
