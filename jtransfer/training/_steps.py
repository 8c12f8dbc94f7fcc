"""One step of training as a pure function, and several steps on devices."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jtransfer.data import batch_indices
from jtransfer.training import devices

if TYPE_CHECKING:
    import optax

    from jtransfer.models import Variables

Objective = Callable[..., tuple[jax.Array, tuple[dict[str, jax.Array], Any]]]

_ROW_NAMES = frozenset(
    {"step", "loss", "gradient_norm", "images_per_second", "seconds", "validation"}
)


class TrainState(NamedTuple):
    """The tree of arrays that one step of training changes.

    Attributes:
      params: what the optimiser updates, nested dicts.
      stats: statistics of batch normalisation, nested dicts.
      opt_state: of the optimiser.
      key: random key of the run; step ``t`` uses it with ``t`` folded in.
      step: number of steps made, int32, shape ``[]``.
    """

    params: Any
    stats: Any
    opt_state: Any
    key: jax.Array
    step: jax.Array


def initial_state(
    variables: "Variables", optimizer: "optax.GradientTransformation", *, seed: int
) -> TrainState:
    """Returns the state before the first step.

    Args:
      variables: `Variables`, or any pair of parameters and statistics.
      optimizer: of optax.
      seed: of the run's random key.

    Returns:
      The state.
    """
    params, stats = jax.tree.map(jnp.asarray, tuple(variables))
    step = jnp.zeros((), jnp.int32)
    return TrainState(params, stats, optimizer.init(params), jax.random.key(seed), step)


def updated(
    state: TrainState,
    batch: Mapping[str, Any],
    constants: Mapping[str, Any],
    *,
    objective: Objective,
    optimizer: "optax.GradientTransformation",
    accumulate: int = 1,
) -> tuple[TrainState, dict[str, jax.Array]]:
    r"""Makes one step of training; a pure function, for `jax.jit`.

    With :math:`k` micro-batches :math:`B_i` of a batch the gradient is
    :math:`\frac1k \sum_i \nabla L(B_i)`, that of the whole batch if the objective is a
    mean over examples. Statistics pass through one micro-batch after another.

    Args:
      state: before the step.
      batch: arrays ``[n, ...]``.
      constants: further entries of the objective's batch, which are not per example.
      objective: maps params, stats, batch and key to ``(value, (parts, new_stats))``.
      optimizer: of optax.
      accumulate: number ``k`` of micro-batches, a divisor of ``n``.

    Returns:
      The state after the step; and `loss`, `gradient_norm` and the parts, each of
      shape ``[]``.

    Raises:
      ValueError: if a part is no scalar or has a name that rows of the log use.

    Example:
      >>> import optax
      >>> def objective(params, stats, batch, key):
      ...     return jnp.mean((batch["x"] - params) ** 2), ({}, stats)
      >>> optimizer = optax.sgd(0.5)
      >>> state = initial_state((jnp.zeros(()), {}), optimizer, seed=0)
      >>> batch = {"x": jnp.array([1.0, 3.0])}
      >>> state, metrics = updated(
      ...     state, batch, {}, objective=objective, optimizer=optimizer
      ... )
      >>> float(state.params), float(metrics["loss"]), int(state.step)
      (2.0, 5.0, 1)
    """
    import optax

    def value(params, stats, batch, key):
        return objective(params, stats, {**batch, **constants}, key)

    key = jax.random.fold_in(state.key, state.step)
    gradient = jax.value_and_grad(value, has_aux=True)
    if accumulate == 1:
        (loss, (parts, stats)), grads = gradient(state.params, state.stats, batch, key)
    else:
        loss, parts, stats, grads = _accumulated(
            gradient, state, batch, key, accumulate
        )
    _check_parts(parts)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    squares = (jnp.sum(jnp.square(grad)) for grad in jax.tree.leaves(grads))
    metrics = {"loss": loss, "gradient_norm": jnp.sqrt(sum(squares)), **parts}
    return TrainState(params, stats, opt_state, state.key, state.step + 1), metrics


def _accumulated(gradient, state, batch, key, count):
    """Means of value, parts and gradient over micro-batches; the last statistics."""

    def micro(carry, inputs):
        stats, total = carry
        (loss, (parts, stats)), grads = gradient(state.params, stats, *inputs)
        return (stats, jax.tree.map(jnp.add, total, grads)), (loss, parts)

    # Every count-th example: each device cuts its own examples and sends none away.
    batches = jax.tree.map(
        lambda x: jnp.moveaxis(x.reshape(-1, count, *x.shape[1:]), 1, 0), batch
    )
    (stats, total), rows = jax.lax.scan(
        micro,
        (state.stats, jax.tree.map(jnp.zeros_like, state.params)),
        (batches, jax.random.split(key, count)),
        unroll=count if devices.has_slow_loops() else 1,
    )
    loss, parts = jax.tree.map(lambda row: jnp.mean(row, axis=0), rows)
    return loss, parts, stats, jax.tree.map(lambda grad: grad / count, total)


def _check_parts(parts) -> None:
    for name, part in parts.items():
        if name in _ROW_NAMES:
            raise ValueError(f"a part must not be called {name!r}; rename it.")
        if jnp.ndim(part):
            raise ValueError(
                f"the part {name!r} must be a scalar, got shape {jnp.shape(part)}."
            )


class Dispatch(NamedTuple):
    """Steps in flight.

    Attributes:
      state: after them.
      step: how many steps have been made in all.
      metrics: of each step of these, arrays of shape ``[]`` or ``[steps]``.
    """

    state: TrainState
    step: int
    metrics: dict[str, jax.Array]


def dispatches(
    state: TrainState,
    arrays: Mapping[str, np.ndarray],
    constants: Mapping[str, Any],
    *,
    updates: tuple[Callable[..., Any], Callable[..., Any]],
    num_steps: int,
    batch_size: int,
    seed: int,
    stops: Sequence[int],
    steps_per_dispatch: int,
    mesh: Mesh,
) -> Iterator[Dispatch]:
    """Yields one dispatch after another, without waiting for its numbers.

    Args:
      state: to start from; its memory is used up.
      arrays: the examples, on the host.
      constants: entries of every batch, on the mesh.
      updates: see `compiled`.
      num_steps: where to end.
      batch_size: examples a step.
      seed: of their order.
      stops: a dispatch ends at every multiple of each of these.
      steps_per_dispatch: steps in one, where they do not pass a stop; else 1.
      mesh: where the examples go.
    """
    update, update_many = updates
    num_examples = len(next(iter(arrays.values())))
    rows = devices.local_rows(batch_size, mesh)

    def indices(step):
        return batch_indices(
            seed, step, num_examples=num_examples, batch_size=batch_size
        )[rows]

    step = int(state.step)
    while step < num_steps:
        limit = min([num_steps, *(step - step % every + every for every in stops)])
        if steps_per_dispatch == 1 or step + steps_per_dispatch > limit:
            count, taken, axis, function = 1, indices(step), 0, update
        else:
            count, axis, function = steps_per_dispatch, 1, update_many
            taken = np.stack([indices(step + i) for i in range(count)])
        batch = {name: array[taken] for name, array in arrays.items()}
        state, metrics = function(
            state, devices.on_mesh(batch, mesh, axis=axis), constants
        )
        step += count
        yield Dispatch(state, step, metrics)


@functools.lru_cache(maxsize=8)
def compiled_step(
    objective: Objective,
    optimizer: "optax.GradientTransformation",
    accumulate: int,
    mesh: Mesh,
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns the jitted step, and the jitted loop over stacked batches.

    Both use up the memory of the state. The cache is small: it keeps compiled programs
    and whatever the objective closes over alive.
    """
    update = functools.partial(
        updated, objective=objective, optimizer=optimizer, accumulate=accumulate
    )

    def update_many(state, batches, constants):
        return jax.lax.scan(
            lambda state, batch: update(state, batch, constants), state, batches
        )

    placed = devices.replication(mesh)
    return (
        jax.jit(update, donate_argnums=0, out_shardings=placed),
        jax.jit(update_many, donate_argnums=0, out_shardings=placed),
    )
