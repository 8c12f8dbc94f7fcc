"""Losses of students of other networks.

A *loss* is ``loss(student, batch) -> (value, parts)``: `student` is a `Student`, and
`batch` holds `labels`, `indices` (the places of the examples among all), what the
teacher says about each example (`teacher_outputs`), and constants; the parts are
scalars to log. A loss of a method with a `memory` finds it in the batch, and returns
``(value, parts, memory)`` with that after the step. `student_objective` makes of a loss
what `fit` takes.
"""

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jtransfer import distillation, models, networks
from jtransfer.distillation import batch_jacobians
from jtransfer.training import Preprocess
from jtransfer.training._objectives import Batch, Parts

StudentLoss = Callable[["Student", Batch], tuple]


class Student(NamedTuple):
    """A student at one step of its training."""

    logits: jax.Array
    """Outputs for the batch in training mode, ``[n, C]``."""
    out: dict
    """Its other outputs, see `jtransfer.models`."""
    x: jax.Array
    """The batch as it goes in, normalised images ``[n, h, w, c]``."""
    held: Callable[[jax.Array], tuple[jax.Array, dict]]
    """Maps such a batch to logits and `out`, each example for itself: see
    `objective`."""


class Method(NamedTuple):
    """A way to learn from a teacher."""

    outputs: Callable[..., dict[str, jax.Array]]
    """What the teacher is asked, see `jtransfer.transfer.teacher_outputs`."""
    loss: StudentLoss
    """What the student minimises, see the module."""
    second_head: bool = False
    """Whether the student has a second head for the teacher's classes."""
    same_classes: bool = False
    """Whether the student's classes must be the teacher's."""
    constants: Mapping[str, jax.Array] = types.MappingProxyType({})
    """Further entries of every batch, such as a matrix of costs."""
    arrays: Mapping[str, np.ndarray] = types.MappingProxyType({})
    """Further entries with a row an image, such as what a second teacher says."""
    extras: Callable[..., Any] | None = None
    """``extras(key, teacher, student)`` returns parameters that are trained beside the
    student and thrown away: from what `outputs` gives for both and a few images. The
    loss finds them in the batch, as `extras`."""
    memory: Callable[..., Any] | None = None
    """``memory(key, teacher, student, num_examples)`` returns arrays that each step
    changes and hands to the next, such as a queue: from the outputs that `extras` gets,
    and the number of all training images. See the module."""


def student_objective(
    model: nnx.Module,
    loss: StudentLoss,
    *,
    preprocess: Preprocess | None = None,
    remembers: bool = False,
) -> Callable[..., Any]:
    r"""Returns the objective of a student, for `training.fit`.

    The outputs that a loss sees are those of training mode: batch normalisation by the
    statistics of the batch, so that an output depends on all images of the batch. A
    Jacobian is about one image. `Student.held` is therefore the same network with the
    statistics of this batch held fixed while the image moves (and without dropout):
    its outputs are the same numbers, its Jacobian is that of one example, and a student
    equal to its teacher has the teacher's Jacobians, up to the difference between batch
    and running statistics. The papers do not say what they do. Of the other two ways,
    to differentiate through the batch's statistics takes out of each gradient what the
    examples have in common, and running statistics lag behind the student and make the
    loss depend on the scale of kernels that the network itself does not depend on.
    Derivatives by the *parameters* are complete: they pass through the statistics.

    Args:
      model: the student; only its structure counts.
      loss: see the module.
      preprocess: from stored images to inputs, see `training.preprocessing`; it gets
        no key, since the teacher's outputs belong to the images as they are.
      remembers: whether the loss has a memory; the statistics are then a dict of the
        student's own, `network`, and the `memory`.

    Returns:
      ``objective(params, stats, batch, key) -> (value, (parts, new_stats))``. Equal
      architectures, losses and preprocessing give the same function, which `fit`
      compiles once.

    Example:
      >>> model = models.VGG(depth=4, num_classes=2, base_width=1, rngs=nnx.Rngs(0))
      >>> loss = lambda student, batch: (jnp.mean(student.logits**2), {})
      >>> variables = models.functional(model)[1]
      >>> batch = {"images": jnp.ones((3, 8, 8, 3))}
      >>> objective = student_objective(model, loss)
      >>> value, (parts, stats) = objective(*variables, batch, None)
      >>> value.shape
      ()
    """
    return _Objective(
        models.self_normalized(model),
        models.functional(model)[0],
        networks.takes_vectors(model),
        loss,
        preprocess,
        remembers,
    )


@dataclasses.dataclass(frozen=True)
class _Objective:
    """The objective of a student; equal parts make equal objectives."""

    normalized_fn: Callable
    apply_fn: Callable
    flat: bool
    loss: StudentLoss
    preprocess: Preprocess | None
    remembers: bool

    def __call__(self, params, stats, batch, key):
        """Returns value, parts and new statistics of a batch."""
        if self.remembers:
            batch = {**batch, "memory": stats["memory"]}
            stats = stats["network"]
        x = batch["images"]
        if self.preprocess is not None:
            x = self.preprocess(x, None)
        (logits, out), batch_stats = self.normalized_fn(
            params, stats, self._shaped(x), key
        )

        def held(x):
            # Of the same `x` a compiler finds the same forward pass, and makes one.
            return self.apply_fn((params, batch_stats), self._shaped(x))

        value, parts, *memory = self.loss(Student(logits, out, x, held), batch)
        stats = models.moved_statistics(stats, batch_stats)
        if self.remembers:
            stats = {"network": stats, "memory": jax.lax.stop_gradient(memory[0])}
        return value, (parts, stats)

    def _shaped(self, x):
        return x.reshape(len(x), -1) if self.flat else x


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActivationsAndJacobiansLoss:
    """The loss of `methods.activations_and_jacobians_method`."""

    label_weight: float
    logits_weight: float
    jacobian_weight: float
    chunk_size: int

    def __call__(self, student: Student, batch: Batch) -> tuple[jax.Array, Parts]:
        """Returns the value and its parts."""

        def activations():
            return distillation.match_activations(
                batch["teacher_logits"], student.logits
            )

        def jacobians():
            return batch_jacobians.jacobian_error(
                lambda x: student.held(x)[0],
                student.x,
                batch["teacher_indices"],
                batch["teacher_jacobians"],
                chunk_size=self.chunk_size,
            )

        terms = {
            "activations": (self.logits_weight, activations),
            "jacobians": (self.jacobian_weight, jacobians),
        }
        return weighted_loss(student, batch, self.label_weight, terms)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionAndJacobiansLoss:
    """The loss of `methods.attention_and_jacobians_method`."""

    label_weight: float
    logits_weight: float
    attention_weight: float
    jacobian_weight: float
    layer: int
    window: int

    def __call__(self, student: Student, batch: Batch) -> tuple[jax.Array, Parts]:
        """Returns the value and its parts."""

        def attention():
            maps = student.out["feature_maps"][self.layer]
            maps = jax.vmap(distillation.attention_map)(maps)
            return distillation.match_attention(batch["teacher_attention"], maps)

        def jacobians():
            _, gradients, _ = batch_jacobians.peak_gradients(
                lambda x: student.held(x)[1]["feature_maps"][self.layer],
                student.x,
                window=self.window,
                indices=batch["teacher_peaks"],
            )
            return distillation.match_normalized_jacobians(
                batch["teacher_peak_gradients"], gradients
            )

        terms = {
            "activations": (self.logits_weight, lambda: _recall(student, batch)),
            "attention": (self.attention_weight, attention),
            "jacobians": (self.jacobian_weight, jacobians),
        }
        return weighted_loss(student, batch, self.label_weight, terms)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecondHeadLoss:
    """The loss of `methods.lwf_method`."""

    label_weight: float
    logits_weight: float

    def __call__(self, student: Student, batch: Batch) -> tuple[jax.Array, Parts]:
        """Returns the value and its parts."""
        terms = {"activations": (self.logits_weight, lambda: _recall(student, batch))}
        return weighted_loss(student, batch, self.label_weight, terms)


def _recall(student: Student, batch: Batch) -> jax.Array:
    """Distance of the second head from the teacher, a mean over the teacher's classes.

    Where these are many, their sum would leave nothing of the labels' gradient.
    """
    error = distillation.match_activations(
        batch["teacher_logits"], student.out["teacher_logits"]
    )
    return error / batch["teacher_logits"].shape[1]


def weighted_loss(
    student: Student,
    batch: Batch,
    label_weight: float,
    terms: Mapping[str, tuple[float, Callable[[], jax.Array]]],
) -> tuple[jax.Array, Parts]:
    """Returns the weighted sum of the cross-entropy and further terms, and the parts.

    Args:
      student: the student.
      batch: with labels.
      label_weight: weight of the cross-entropy.
      terms: weight and function of each further term by its name; a term of weight 0
        is neither made nor logged.
    """

    def cross_entropy():
        return distillation.cross_entropy(student.logits, batch["labels"])

    terms = {"cross_entropy": (label_weight, cross_entropy), **terms}
    parts = {name: term() for name, (weight, term) in terms.items() if weight}
    value = sum(terms[name][0] * part for name, part in parts.items())
    hits = jnp.argmax(student.logits, axis=1) == batch["labels"]
    return value, {**parts, "accuracy": jnp.mean(hits.astype(student.logits.dtype))}


def check_term_weights(**weights: float) -> None:
    """Raises ValueError unless weights are at least 0 and not all of them 0."""
    if min(weights.values()) < 0 or not any(weights.values()):
        raise ValueError(
            f"{', '.join(weights)} must not be negative and not all zero, got "
            f"{', '.join(f'{weight:g}' for weight in weights.values())}."
        )
