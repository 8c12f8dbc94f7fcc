"""Attacks on functions at stored images, and their effect on other functions."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer import adversarial, attacks
from jtransfer._internal.batches import equal_batches
from jtransfer.pairs._batches import (
    BATCH_SIZE,
    NUM_PAIRINGS,
    num_outputs,
    pixels,
    pytree,
)
from jtransfer.pairs._settings import DEFAULT_ATTACK, AttackSettings, changed_settings
from jtransfer.pairs._sums import AttackSums, attack_sums, directions


class Attacked(NamedTuple):
    """A function and the attacks on it."""

    function: Callable
    deltas: np.ndarray
    """Changes of the images, float32, in their shape."""
    clean: np.ndarray
    """Outputs at the clean images, `[n, m]`."""
    own: np.ndarray
    """By how much the attacks move them, `[n, m]`."""


class Transfer(NamedTuple):
    """The effect of attacks on one function upon another."""

    blocks: AttackSums
    """By block of examples, a leading axis."""
    mismatched: AttackSums
    """With attacks made for other examples, by pairing, a leading axis: chance."""
    deviations: np.ndarray
    """By how much the attacks move the second function, `[n, k]`."""
    alpha1: np.ndarray
    """Of each example, `[n]`, in [0, 1]."""
    overtaken: float
    """Share of the examples where the transferred attack beat the function's own."""
    still: float
    """Share of the examples where neither attack moves the second function: alpha1 is
    0 there."""
    ceiling: float
    """The most that alpha2 could be, given how each function's own deviations turn:
    `sqrt(|E u u^T| |E v v^T|)` with unit deviations `u` and `v`. It is 1 only where
    those lie on one line, even for a function and itself."""


def attacked(
    function: Callable,
    images: np.ndarray,
    key: jax.Array,
    *,
    settings: AttackSettings = DEFAULT_ATTACK,
    epsilon: float | None = None,
    num_steps: int | None = None,
    batch_size: int = BATCH_SIZE,
    advance: Callable[[int], None] = lambda count: None,
) -> Attacked:
    """Attacks a function at every image, see the head of `pairs`.

    Args:
      function: of one image in [0, 1], with outputs `[m]`.
      images: uint8, or floats in [0, 1], shape `[n, ...]`.
      key: of the random starts; each image has its own, whatever the batches.
      settings: norm, radius, steps, momentum and start of the attack.
      epsilon: a radius in place of that of the settings.
      num_steps: a number of steps in place of that of the settings.
      batch_size: images at a time.
      advance: called with the number of images of each finished batch.

    Returns:
      The attacks, and the outputs of the function.

    Raises:
      ValueError: if there are fewer than `MIN_EXAMPLES` images, the function takes
        images of another shape, or has a single output and no random start: its
        deviation has no slope at the image itself; or a target, which needs two.

    Example:
      >>> from jtransfer import pairs
      >>> images = np.full((10, 2, 2, 1), 128, np.uint8)
      >>> attack = pairs.attacked(lambda x: x.ravel()[:2], images, jax.random.key(0))
      >>> attack.deltas.shape, bool(np.abs(attack.deltas).max() <= 0.1)
      ((10, 2, 2, 1), True)
    """
    settings = changed_settings(settings, epsilon=epsilon, num_steps=num_steps)
    if num_outputs(function, images) == 1:
        if settings.targeted:
            raise ValueError("A targeted attack needs two outputs or more.")
        if not settings.random_start:
            raise ValueError("A function with a single output needs a random start.")
    function, parts = pytree(function), []
    for indices, valid in equal_batches(len(images), min(batch_size, len(images))):
        x = pixels(images[indices])
        clean = _moved(function, x, np.zeros_like(x))
        deltas = momenta = np.zeros_like(x)
        if settings.random_start:
            deltas = _starts(x, indices, key, settings.epsilon, norm=settings.norm)
        numbers = settings.epsilon, settings.length_of_step, settings.decay
        for _ in range(settings.num_steps):
            state = deltas, momenta
            deltas, momenta = _stepped(
                function,
                x,
                clean,
                state,
                numbers,
                norm=settings.norm,
                targeted=settings.targeted,
            )
        part = deltas, clean, _moved(function, x, deltas) - clean
        parts.append([np.asarray(array)[:valid] for array in part])
        advance(valid)
    return Attacked(function, *map(np.concatenate, zip(*parts, strict=True)))


def transfer(
    first: Attacked,
    second: Attacked,
    images: np.ndarray,
    blocks: np.ndarray,
    *,
    batch_size: int = BATCH_SIZE,
    advance: Callable[[int], None] = lambda count: None,
) -> Transfer:
    """Feeds the attacks on one function to another.

    Args:
      first: the attacked function.
      second: the function that the attacks are fed to, and the attacks on it.
      images: those that were attacked.
      blocks: block of each example, integers from 0, shape `[n]`.
      batch_size: images at a time.
      advance: called with the number of images of each finished batch.

    Returns:
      Sums by block, and by wrong pairing: with the attacks made for the example 1 to
      `NUM_PAIRINGS` places further on.

    Example:
      >>> from jtransfer import pairs
      >>> images = np.full((10, 2, 2, 1), 128, np.uint8)
      >>> one, other = (
      ...     pairs.attacked(f, images, jax.random.key(0))
      ...     for f in (lambda x: x.ravel()[:1], lambda x: 3 * x.ravel()[:1])
      ... )
      >>> transferred = pairs.transfer(one, other, images, np.arange(10))
      >>> sums = pairs.merged(transferred.blocks)
      >>> round(pairs.alpha1_of_sums(sums), 4), round(pairs.alpha2_of_sums(sums), 4)
      (1.0, 1.0)
    """
    n, moved = len(images), [[] for _ in range(1 + NUM_PAIRINGS)]
    for indices, valid in equal_batches(n, min(batch_size, n)):
        x = pixels(images[indices])
        for shift, pairing in enumerate(moved):
            deltas = first.deltas[(indices + shift) % n]
            outputs = np.asarray(_moved(second.function, x, deltas))
            pairing.append((outputs - second.clean[indices])[:valid])
        advance(valid)
    deviations = list(map(np.concatenate, moved))
    return transfer_of_deviations(first.own, second.own, deviations, blocks)


def transfer_of_deviations(
    first_own: np.ndarray,
    second_own: np.ndarray,
    deviations: Sequence[np.ndarray],
    blocks: np.ndarray,
) -> Transfer:
    """Sums what attacks on one function do to another.

    Args:
      first_own: deviations of the attacked function by its own attacks, `[n, m]`.
      second_own: those of the other one by its own, `[n, k]`.
      deviations: those of the other one by the attacks on the first: made for the same
        example, and for the example 1, 2, ... places further on, each `[n, k]`.
      blocks: block of each example, integers from 0, `[n]`.
    """
    n, (transferred, *others) = len(blocks), deviations
    white_box = _longer(second_own, transferred)

    def sums(shift, deviations, blocks):
        own, ratio = np.roll(first_own, -shift, axis=0), _ratio(deviations, white_box)
        num_blocks = int(blocks.max()) + 1
        return attack_sums(own, deviations, ratio, blocks=blocks, num_blocks=num_blocks)

    whole = np.zeros(n, int)
    pairings = [
        sums(shift, deviations, whole) for shift, deviations in enumerate(others, 1)
    ]
    turns = [directions(deviations) for deviations in (first_own, transferred)]
    return Transfer(
        blocks=sums(0, transferred, blocks),
        mismatched=jax.tree.map(lambda *leaves: np.concatenate(leaves), *pairings),
        deviations=transferred,
        alpha1=_ratio(transferred, white_box),
        overtaken=float(np.mean((white_box != second_own).any(axis=1))),
        still=float(np.mean(~white_box.any(axis=1))),
        ceiling=float(np.sqrt(np.prod([np.linalg.norm(u.T @ u / n) for u in turns]))),
    )


def _ratio(transferred: np.ndarray, white_box: np.ndarray) -> np.ndarray:
    """Alpha1 of each example, against whichever of the two attacks is the stronger."""
    return np.asarray(adversarial.alpha1(transferred, _longer(white_box, transferred)))


def _longer(deviations: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of two deviations of each example the longer, of equals the first."""
    first, second = (np.linalg.norm(f, axis=1) for f in (deviations, others))
    return np.where((second > first)[:, None], others, deviations)


@functools.partial(jax.jit, static_argnames=("norm",))
def _starts(x, indices, key, epsilon, *, norm):
    def start(x, index):
        return norm.uniform(jax.random.fold_in(key, index), x, epsilon)

    return jax.vmap(start)(x, indices)


@functools.partial(jax.jit, static_argnames=("norm", "targeted"))
def _stepped(function, x, clean, state, numbers, *, norm, targeted):
    """One step of the attacks: a loop over the steps that compiles a single one."""
    epsilon, step_size, decay = numbers

    def step(x, clean, delta, momentum):
        if targeted:
            towards = attacks.cross_entropy_loss(function, jnp.argmin(clean))
            loss = lambda x: -towards(x)  # noqa: E731
        elif clean.size > 1:
            loss = attacks.cross_entropy_loss(function, jnp.argmax(clean))
        else:
            loss = attacks.deviation_loss(function, x)
        return attacks.pgd_step(
            loss,
            x,
            delta,
            momentum,
            norm=norm,
            epsilon=epsilon,
            step_size=step_size,
            decay=decay,
            bounds=(0, 1),
        )

    return jax.vmap(step)(x, clean, *state)


@jax.jit
def _moved(function, x, deltas):
    return jax.vmap(function)(jnp.clip(x + deltas, 0, 1))
