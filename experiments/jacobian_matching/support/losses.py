"""Losses of students that only the experiments need; see `jtransfer.transfer`."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jtransfer import data, distillation, transfer


@functools.cache
def keyed(objective: Callable) -> Callable:
    """Puts the random key of the step into the batch, as `noise_key`."""

    def with_key(params, stats, batch, key):
        """The same objective."""
        return objective(params, stats, {**batch, "noise_key": key}, key)

    return with_key


@functools.cache
def augmenting(objective: Callable) -> Callable:
    """Shifts and mirrors the images of a batch before the objective sees them."""

    def with_augmentation(params, stats, batch, key):
        """The same objective."""
        augment_key, key = jax.random.split(key)
        images = data.augmented(augment_key, batch["images"])
        return objective(params, stats, {**batch, "images": images}, key)

    return with_augmentation


@functools.cache
def under_noise(teacher_fn: Callable, *, sigma: float, num_draws: int) -> Callable:
    """Cross-entropy, and logits matched under noise on the inputs of both networks.

    Args:
      teacher_fn: `apply_fn` of the teacher, whose variables are the batch's entry
        `teacher_variables`.
      sigma: deviation of the noise.
      num_draws: noises an image.
    """

    def loss(student: transfer.Student, batch) -> tuple[jax.Array, dict]:
        """Value and parts."""
        matched = distillation.noise_augmented_matching(
            lambda x: teacher_fn(batch["teacher_variables"], x)[0],
            lambda x: student.held(x)[0],
            student.x,
            batch["noise_key"],
            sigma=sigma,
            num_draws=num_draws,
        )
        own = distillation.cross_entropy(student.logits, batch["labels"])
        return own + matched, {"cross_entropy": own, "activations": matched}

    return loss


@functools.cache
def softened(*, equation_2: bool) -> Callable:
    """Cross-entropy with labels and with soft targets (temperature 1).

    Args:
      equation_2: whether the Jacobian term printed as Eq. (2) is added, weight 1.
    """

    def loss(student: transfer.Student, batch) -> tuple[jax.Array, dict]:
        """Value and parts."""
        own = distillation.cross_entropy(student.logits, batch["labels"])
        soft = distillation.soft_targets(
            batch["teacher_logits"], student.logits, temperature=1.0
        )
        parts = {"cross_entropy": own, "soft_targets": soft}
        if equation_2:
            logits, jacobians = whole_jacobians(student)
            parts["equation_2"] = distillation.printed_cross_entropy_match_jacobians(
                batch["teacher_logits"], logits, batch["teacher_jacobians"], jacobians
            )
        return sum(parts.values()), parts

    return loss


def whole_jacobians(student: transfer.Student) -> tuple[jax.Array, jax.Array]:
    """Logits `[n, k]` of a student and their Jacobians `[n, k, p]`."""
    logits, pull = jax.vjp(lambda x: student.held(x)[0], student.x)
    n, k = logits.shape

    def row(output):
        return pull(jnp.broadcast_to(output[None], (n, k)))[0].reshape(n, -1)

    return logits, jax.vmap(row, out_axes=1)(jnp.eye(k, dtype=logits.dtype))


@functools.cache
def penalized(strength: float) -> Callable:
    """Cross-entropy, and the squared norm of the correct class's Jacobian.

    Args:
      strength: lambda; 0 leaves the penalty and its cost out.
    """

    def loss(student: transfer.Student, batch) -> tuple[jax.Array, dict]:
        """Value and parts."""
        own = distillation.cross_entropy(student.logits, batch["labels"])
        if strength == 0:
            return own, {}
        gradients = gradients_of(
            lambda x: student.held(x)[0], student.x, batch["labels"]
        )
        norm = distillation.jacobian_norm(gradients[:, None])
        return own + strength * norm, {"cross_entropy": own, "norm": norm}

    return loss


WEIGHT = 10.0
"""Of every term in the transfer to scenes (supplement; of attention it is not stated).
"""


@functools.cache
def transferred(
    *,
    activations: bool = False,
    summed: bool = False,
    num_maps: int = 0,
    peak: tuple[int, int] | None = None,
    output: bool = False,
) -> Callable:
    """Cross-entropy of a two-headed student's own head, and what is matched beside it.

    The teacher's maps belong to the student's from its second on. Every term has the
    weight 10.

    Args:
      activations: whether the second head's logits are matched (LwF): the mean of the
        squares over the teacher's classes.
      summed: whether it is their sum instead.
      num_maps: attention maps that are matched by Eq. (9), from the shallowest on.
      peak: map and pooling window of the attention peak whose gradient is matched by
        Eq. (10); None leaves that out.
      output: whether the gradient of the teacher's largest output is matched by the
        squared error of Proposition 1.
    """

    def loss(student: transfer.Student, batch) -> tuple[jax.Array, dict]:
        """Value and parts; what is matched of Jacobians is called `jacobians`."""
        out = student.out
        own = distillation.cross_entropy(student.logits, batch["labels"])
        parts = {"cross_entropy": own}
        if activations:
            error = distillation.match_activations(
                batch["teacher_logits"], out["teacher_logits"]
            )
            count = batch["teacher_logits"].shape[1]
            parts["activations"] = error if summed else error / count
        if num_maps:
            attention = jax.vmap(distillation.attention_map)
            parts["attention"] = sum(
                distillation.match_attention(
                    batch[f"teacher_map_{i}"], attention(out["feature_maps"][i + 1])
                )
                for i in range(num_maps)
            )
        if peak is not None:
            gradients = peak_gradients(student, batch["teacher_peaks"], *peak)
            parts["jacobians"] = distillation.match_normalized_jacobians(
                batch["teacher_gradients"], gradients
            )
        if output:
            gradients = gradients_of(
                lambda x: student.held(x)[1]["teacher_logits"],
                student.x,
                batch["teacher_largest"],
            )
            parts["jacobians"] = distillation.match_jacobians(
                batch["teacher_gradients"][:, None], gradients[:, None]
            )
        return WEIGHT * sum(parts.values()), parts

    return loss


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
