"""Losses of students that only the experiments need; see `jtransfer.transfer`."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jtransfer import data, distillation, transfer


@dataclasses.dataclass(frozen=True)
class Keyed:
    """An objective whose batch holds the random key of the step, as `noise_key`."""

    objective: Callable

    def __call__(self, params, stats, batch, key):
        """Returns value, parts and new statistics of a batch."""
        return self.objective(params, stats, {**batch, "noise_key": key}, key)


@dataclasses.dataclass(frozen=True)
class Augmented:
    """An objective on shifted and mirrored images."""

    objective: Callable

    def __call__(self, params, stats, batch, key):
        """Returns value, parts and new statistics of a batch."""
        augment_key, key = jax.random.split(key)
        images = data.augmented(augment_key, batch["images"])
        return self.objective(params, stats, {**batch, "images": images}, key)


@dataclasses.dataclass(frozen=True)
class NoiseLoss:
    """Cross-entropy, and logits matched under noise on the inputs of both networks."""

    teacher_fn: Callable
    """`apply_fn` of the teacher, whose variables are the batch's `teacher_variables`.
    """
    sigma: float
    """Deviation of the noise."""
    num_draws: int
    """Noises an image."""

    def __call__(self, student: transfer.Student, batch) -> tuple[jax.Array, dict]:
        """Returns the value and its parts."""
        matched = distillation.noise_augmented_matching(
            lambda x: self.teacher_fn(batch["teacher_variables"], x)[0],
            lambda x: student.held(x)[0],
            student.x,
            batch["noise_key"],
            sigma=self.sigma,
            num_draws=self.num_draws,
        )
        own = distillation.cross_entropy(student.logits, batch["labels"])
        return own + matched, {"cross_entropy": own, "activations": matched}


@dataclasses.dataclass(frozen=True)
class ProjectionLoss:
    """Cross-entropy, logits, and whole Jacobians by one random projection a step.

    In expectation the last is the squared error over all outputs, at the price of one.
    """

    teacher_fn: Callable
    """`apply_fn` of the teacher, whose variables are the batch's `teacher_variables`.
    """

    def __call__(self, student: transfer.Student, batch) -> tuple[jax.Array, dict]:
        """Returns the value and its parts."""
        own = distillation.cross_entropy(student.logits, batch["labels"])
        matched = distillation.match_activations(
            batch["teacher_logits"], student.logits
        )
        keys = jax.random.split(batch["noise_key"], len(student.x))
        signs = jax.vmap(
            lambda key: distillation.random_projection(
                key, num_projections=1, num_outputs=student.logits.shape[1]
            )[0]
        )(keys)

        def projected(f):
            # Each example for itself: one backward pass of the batch gives all rows.
            _, pull = jax.vjp(f, student.x)
            return pull(signs.astype(student.logits.dtype))[0].reshape(
                len(signs), 1, -1
            )

        jacobians = distillation.match_jacobians(
            projected(lambda x: self.teacher_fn(batch["teacher_variables"], x)[0]),
            projected(lambda x: student.held(x)[0]),
        )
        parts = {"cross_entropy": own, "activations": matched, "jacobians": jacobians}
        return sum(parts.values()), parts


@dataclasses.dataclass(frozen=True)
class SoftTargetLoss:
    """Cross-entropy with labels and with soft targets (temperature 1)."""

    equation_2: bool
    """Whether the Jacobian term printed as Eq. (2) is added, weight 1."""

    def __call__(self, student: transfer.Student, batch) -> tuple[jax.Array, dict]:
        """Returns the value and its parts."""
        own = distillation.cross_entropy(student.logits, batch["labels"])
        soft = distillation.soft_targets(
            batch["teacher_logits"], student.logits, temperature=1.0
        )
        parts = {"cross_entropy": own, "soft_targets": soft}
        if self.equation_2:
            logits, jacobians = whole_jacobians(student)
            parts["equation_2"] = distillation.printed_cross_entropy_match_jacobians(
                batch["teacher_logits"], logits, batch["teacher_jacobians"], jacobians
            )
        return sum(parts.values()), parts


def whole_jacobians(student: transfer.Student) -> tuple[jax.Array, jax.Array]:
    """Logits `[n, k]` of a student and their Jacobians `[n, k, p]`."""
    logits, pull = jax.vjp(lambda x: student.held(x)[0], student.x)
    n, k = logits.shape

    def row(output):
        return pull(jnp.broadcast_to(output[None], (n, k)))[0].reshape(n, -1)

    return logits, jax.vmap(row, out_axes=1)(jnp.eye(k, dtype=logits.dtype))


@dataclasses.dataclass(frozen=True)
class PenaltyLoss:
    """Cross-entropy, and the squared norm of the correct class's Jacobian."""

    strength: float
    """Lambda; 0 leaves the penalty and its cost out."""
    of_probability: bool = False
    """Whether it is the Jacobian of the log-probability in place of the logit's."""

    def __call__(self, student: transfer.Student, batch) -> tuple[jax.Array, dict]:
        """Returns the value and its parts."""
        own = distillation.cross_entropy(student.logits, batch["labels"])
        if self.strength == 0:
            return own, {}

        def outputs(x):
            logits = student.held(x)[0]
            return jax.nn.log_softmax(logits) if self.of_probability else logits

        gradients = gradients_of(outputs, student.x, batch["labels"])
        norm = distillation.jacobian_norm(gradients[:, None])
        return own + self.strength * norm, {"cross_entropy": own, "norm": norm}


WEIGHT = 10.0
"""Of every term in the transfer to scenes (supplement; of attention it is not stated).
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferLoss:
    """Cross-entropy of a two-headed student's own head, and what is matched beside it.

    The teacher's maps belong to the student's from its second on. Every term has the
    weight 10. `jtransfer.transfer.attention_and_jacobians_method` matches one map, and
    the Jacobians of the same one; the paper matches all maps.
    """

    activations: bool = False
    """Whether the second head's logits are matched (LwF): the mean of the squares over
    the teacher's classes."""
    summed: bool = False
    """Whether it is their sum instead."""
    num_maps: int = 0
    """Attention maps that are matched by Eq. (9), from the shallowest on."""
    peak: tuple[int, int] | None = None
    """Map and pooling window of the attention peak whose gradient is matched by
    Eq. (10); None leaves that out."""
    output: bool = False
    """Whether the gradient of the teacher's largest output is matched by the squared
    error of Proposition 1."""

    def __call__(self, student: transfer.Student, batch) -> tuple[jax.Array, dict]:
        """Returns the value and its parts, those of Jacobians as `jacobians`."""
        own = distillation.cross_entropy(student.logits, batch["labels"])
        parts = {"cross_entropy": own}
        if self.activations:
            error = distillation.match_activations(
                batch["teacher_logits"], student.out["teacher_logits"]
            )
            count = batch["teacher_logits"].shape[1]
            parts["activations"] = error if self.summed else error / count
        if self.num_maps:
            parts["attention"] = self._attention(student, batch)
        if self.peak is not None:
            gradients = peak_gradients(student, batch["teacher_peaks"], *self.peak)
            parts["jacobians"] = distillation.match_normalized_jacobians(
                batch["teacher_gradients"], gradients
            )
        if self.output:
            gradients = gradients_of(
                lambda x: student.held(x)[1]["teacher_logits"],
                student.x,
                batch["teacher_largest"],
            )
            parts["jacobians"] = distillation.match_jacobians(
                batch["teacher_gradients"][:, None], gradients[:, None]
            )
        return WEIGHT * sum(parts.values()), parts

    def _attention(self, student: transfer.Student, batch) -> jax.Array:
        maps = student.out["feature_maps"]
        attention = jax.vmap(distillation.attention_map)
        return sum(
            distillation.match_attention(
                batch[f"teacher_map_{i}"], attention(maps[i + 1])
            )
            for i in range(self.num_maps)
        )


def peak_gradients(student: transfer.Student, index, level: int, window: int):
    """Gradients `[n, p]` of the pixels `index` `[n]` of pooled attention maps."""
    pooled = functools.partial(distillation.pooled_attention_map, window=window)

    def values(x):
        maps = jax.vmap(pooled)(student.held(x)[1]["feature_maps"][level + 1])
        return maps.reshape(len(x), -1)

    return gradients_of(values, student.x, index)


def gradients_of(f: Callable, x: jax.Array, index: jax.Array) -> jax.Array:
    """Gradients `[n, p]` of one output of each example, from one backward pass.

    `f` maps a batch to outputs `[n, k]`, each example for itself.
    """
    outputs, pull = jax.vjp(f, x)
    chosen = jax.nn.one_hot(index, outputs.shape[1], dtype=outputs.dtype)
    return pull(chosen)[0].reshape(len(x), -1)
