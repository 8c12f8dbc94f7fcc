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
from jtransfer._internal.errors import one_line
from jtransfer._internal.files import make_folder
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
      needed: the steps whose checkpoints the last one needs, its own and its best.
      notes: lines about checkpoints that could not be read.
    """

    state: TrainState
    step: int
    best: Best | None
    rows: list[dict[str, Any]]
    saved: int | None
    needed: frozenset[int | None] = frozenset()
    notes: tuple[str, ...] = ()


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
      The run. Log and checkpoints of later steps are gone. Where the last checkpoint
      is broken, or the best one that it names, the one before serves; without any the
      run begins anew, since it comes to the same result. The notes say so.

    Raises:
      ValueError: if the checkpoints are of other settings or of another network.
      FileError: if the folder cannot be written.
    """
    state = devices.replicated(state, mesh)
    if folder is None:
        return TrainingRun(state, int(state.step), None, [], None)
    make_folder(folder)
    steps, notes = _checkpoints.steps_in(folder), []
    for last in reversed(steps):
        try:
            run = _restored(state, folder, last, settings)
        except _checkpoints.OtherRunError:
            raise
        except _BROKEN as error:
            notes.append(f"checkpoint {last} is broken: {one_line(error)[:200]}")
            continue
        _checkpoints.prune(folder, {step for step in steps if step <= last})
        if notes:
            notes.append(f"the run goes on from checkpoint {last}")
        rows = _run_log.rows_until(folder, last)
        return run._replace(rows=rows, notes=tuple(notes))
    if notes:
        notes.append("no checkpoint is whole; the run begins anew")
    _checkpoints.prune(folder, set())
    rows = _run_log.rows_until(folder, 0)
    return TrainingRun(state, int(state.step), None, rows, None, notes=tuple(notes))


# Orbax reads files of many kinds, and says of each fault something else.
_BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


def _restored(state, folder, last, settings) -> TrainingRun:
    """A run after one checkpoint, without its log."""
    _check_whole(folder, last)
    facts = _checkpoints.facts_of(folder, last)
    _check_settings(folder, facts["settings"], settings)
    best, best_step = None, facts["best_step"]
    if best_step is not None:
        _check_whole(folder, best_step)
    variables, rest = _items(state)
    variables = _checkpoints.restored(folder, last, "variables", variables)
    rest = _checkpoints.restored(folder, last, "rest", rest)
    key = jax.random.wrap_key_data(rest["key"], impl=jax.random.key_impl(state.key))
    state = TrainState(**variables, **{**rest, "key": key})
    if best_step is not None:
        # Read even if it is the last one: training uses up the memory of the state.
        variables = _checkpoints.restored(folder, best_step, "variables", variables)
        best = Best(**variables, step=best_step, score=facts["best_score"])
    return TrainingRun(state, last, best, [], last, frozenset((last, best_step)))


def _check_whole(folder: Path, step: int) -> None:
    fault = _checkpoints.fault_of(folder, step)
    if fault is not None:
        raise OSError(f"{step}: {fault}")


def saved(run: TrainingRun, folder: Path, settings: dict[str, Any]) -> TrainingRun:
    """Saves a run and deletes all checkpoints but this one, the last and their best.

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
    needed = frozenset((run.step, best_step))
    # What the checkpoint before needs stays: this one may turn out to be broken.
    _checkpoints.prune(folder, needed | run.needed)
    return run._replace(saved=run.step, needed=needed)


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
    whole = [step for step in steps if _checkpoints.fault_of(folder, step) is None]
    if not whole:
        raise ValueError(f"{folder} holds broken checkpoints only; train again.")
    step = whole[-1]
    if not last:
        best_step = _checkpoints.facts_of(folder, step)["best_step"]
        step = step if best_step is None else best_step
        _check_whole(folder, step)
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
            raise _checkpoints.OtherRunError(
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
