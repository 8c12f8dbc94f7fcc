"""A training run in its folder: begin, go on, save."""

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jtransfer._internal import progress
from jtransfer.models import Variables
from jtransfer.training import _checkpoints, _run_log, devices
from jtransfer.training._steps import TrainState
from jtransfer.training._types import NonFiniteLoss, Validation


class Best(NamedTuple):
    """The best variables so far.

    Attributes:
      params: parameters.
      stats: statistics of batch normalisation.
      step: the number of steps after which they were reached.
      score: the criterion there.
    """

    params: Any
    stats: Any
    step: int
    score: float


class TrainingRun(NamedTuple):
    """The state of a run.

    Attributes:
      state: after the last step that was checked.
      step: the number of steps made.
      best: None before the first validation.
      rows: of the log, appended to in place.
      saved: the step of the last checkpoint, None without one.
    """

    state: TrainState
    step: int
    best: Best | None
    rows: list[dict[str, Any]]
    saved: int | None


def begun(
    state: TrainState, folder: Path | None, settings: dict[str, Any], mesh: Mesh
) -> TrainingRun:
    """Begins a run, or goes on after its last checkpoint.

    Args:
      state: of a run that begins; otherwise it gives the structure.
      folder: of the run, None if nothing is saved.
      settings: which a run must not change on its way.
      mesh: where the state goes.

    Returns:
      The run. Log and checkpoints of later steps are gone.

    Raises:
      ValueError: if the checkpoints are of other settings or of another network.
    """
    state = devices.replicated(state, mesh)
    step = int(state.step)
    if folder is None:
        return TrainingRun(state, step, None, [], None)
    folder.mkdir(parents=True, exist_ok=True)
    steps = _checkpoints.steps_in(folder)
    if not steps:
        _checkpoints.prune(folder, set())
        return TrainingRun(state, step, None, _run_log.rows_until(folder, 0), None)
    last = steps[-1]
    facts = _checkpoints.facts_of(folder, last)
    _check_settings(folder, facts["settings"], settings)
    variables, rest = _items(state)
    variables = _checkpoints.restored(folder, last, "variables", variables)
    rest = _checkpoints.restored(folder, last, "rest", rest)
    key = jax.random.wrap_key_data(rest["key"], impl=jax.random.key_impl(state.key))
    state = TrainState(**variables, **{**rest, "key": key})
    best, best_step = None, facts["best_step"]
    if best_step is not None:
        # Read even if it is the last one: training uses up the memory of the state.
        variables = _checkpoints.restored(folder, best_step, "variables", variables)
        best = Best(**variables, step=best_step, score=facts["best_score"])
    _checkpoints.prune(folder, {last, best_step})
    return TrainingRun(state, last, best, _run_log.rows_until(folder, last), last)


def saved(run: TrainingRun, folder: Path, settings: dict[str, Any]) -> TrainingRun:
    """Saves a run and deletes all its checkpoints but this one and the best.

    Args:
      run: to be saved.
      folder: of the run.
      settings: which it must not change on its way.

    Returns:
      The run, which knows that it is saved.
    """
    best_step, score = (None, None) if run.best is None else run.best[2:]
    facts = {"best_step": best_step, "best_score": score, "settings": settings}
    _checkpoints.save(folder, run.step, *_items(run.state), facts=facts)
    _checkpoints.prune(folder, {run.step, best_step})
    return run._replace(saved=run.step)


def validated(
    run: TrainingRun,
    validation: Validation,
    record: Callable[[list[dict[str, Any]]], None],
    display: progress.Display,
) -> TrainingRun:
    """Evaluates a run, records and shows the numbers.

    Args:
      run: to be evaluated.
      validation: how.
      record: appends rows to the log.
      display: shows a line.

    Returns:
      The run, which knows the best variables.
    """
    metrics = validation.evaluate(variables_of(run.state))
    score = float(validation.criterion(metrics))
    # A NaN is not greater than anything.
    improved = score > (-math.inf if run.best is None else run.best.score)
    if improved:
        params, stats = copied((run.state.params, run.state.stats))
        run = run._replace(best=Best(params, stats, run.step, score))
    record([{"step": run.step, "validation": _run_log.plain(metrics)}])
    shown = "  ".join(f"{name} {float(value):.4f}" for name, value in metrics.items())
    mark = "  (best so far)" if improved else ""
    display.note(f"step {run.step}  validation: {shown}{mark}")
    return run


def check_finite(run: TrainingRun) -> None:
    """Raises NonFiniteLoss if the step itself led to a NaN, which no loss has seen."""
    trees = {"params": run.state.params, "stats": run.state.stats}
    finite = jax.device_get(_all_finite(trees))
    parts = {name: float("nan") for name, flag in finite.items() if not flag}
    if parts:
        raise NonFiniteLoss(run.step, parts, run.saved)


@jax.jit
def _all_finite(trees):
    return {
        name: jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(t)]))
        for name, t in trees.items()
    }


def variables_of(state: TrainState | Best) -> Variables:
    """Returns the variables of a network, without the optimiser's."""
    return Variables(state.params, state.stats)


def stored_variables(folder: Path, *, last: bool) -> Variables:
    """Reads the best or the last variables of a run."""
    steps = _checkpoints.steps_in(folder)
    if not steps:
        raise ValueError(f"{folder} holds no checkpoints; give the folder of a run.")
    step = steps[-1]
    if not last:
        best_step = _checkpoints.facts_of(folder, step)["best_step"]
        step = step if best_step is None else best_step
    return Variables(**_checkpoints.plain_variables(folder, step))


def copied(tree: Any) -> Any:
    """Copies arrays: training uses up the memory of its state, but of nothing else."""
    return jax.tree.map(jnp.copy, tree)


def _items(state):
    """The two trees of a checkpoint; keys of random numbers become plain arrays."""
    variables = {"params": state.params, "stats": state.stats}
    key = jax.random.key_data(state.key)
    return variables, {"opt_state": state.opt_state, "key": key, "step": state.step}


def _check_settings(folder, stored, settings) -> None:
    for name, value in settings.items():
        if stored.get(name) != value:
            raise ValueError(
                f"{folder} holds a run with {name} = {stored.get(name)}, now it is "
                f"{value}; give the same or another folder."
            )


@contextlib.contextmanager
def termination(listens: bool) -> Iterator[Callable[[], bool]]:
    """Yields a test of whether SIGTERM has come, which then ends nothing by itself.

    Args:
      listens: whether to listen; otherwise, and outside the main thread, the signal
        does what it did before.
    """
    # Python hands signals to the main thread only.
    if not listens or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append(True))
    try:
        yield lambda: bool(received)
    finally:
        # None is a handler that was not set from Python, and cannot be from here.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
