"""Training: one pure step, and `fit` around it.

An objective is ``objective(params, stats, batch, key) -> (value, (parts, new_stats))``:
a scalar to minimise, a dict of scalars to log, and the statistics of batch
normalisation after the batch. `supervised` makes one from a loss on the outputs of a
network; anything else that JAX can differentiate serves as well.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.sharding import Mesh

from jtransfer._internal.moved import moved_attribute
from jtransfer._internal.progress import step_progress
from jtransfer.training import _run_log, _runs, _steps, _windows, devices
from jtransfer.training._objectives import Preprocess as Preprocess
from jtransfer.training._objectives import classification_loss as classification_loss
from jtransfer.training._objectives import evaluated as evaluated
from jtransfer.training._objectives import preprocessing as preprocessing
from jtransfer.training._objectives import supervised as supervised
from jtransfer.training._steps import TrainState as TrainState
from jtransfer.training._steps import initial_state as initial_state
from jtransfer.training._steps import updated as updated
from jtransfer.training._types import Checkpoints as Checkpoints
from jtransfer.training._types import FitResult as FitResult
from jtransfer.training._types import Interrupted as Interrupted
from jtransfer.training._types import NonFiniteLoss as NonFiniteLoss
from jtransfer.training._types import Validation as Validation
from jtransfer.training._types import accuracy as accuracy

if TYPE_CHECKING:
    import optax

    from jtransfer.models import Variables


def fit(
    objective: _steps.Objective,
    start: "Variables | TrainState",
    arrays: Mapping[str, np.ndarray],
    *,
    optimizer: "optax.GradientTransformation",
    num_steps: int,
    batch_size: int,
    seed: int,
    constants: Mapping[str, Any] | None = None,
    accumulate: int = 1,
    steps_per_dispatch: int = 1,
    mesh: Mesh | None = None,
    validation: Validation | None = None,
    checkpoints: Checkpoints | None = None,
    log_every: int = 50,
    progress: bool = True,
) -> FitResult:
    """Trains, saves, logs, and finds the best variables on a validation split.

    Equal arguments give equal numbers, bit for bit where the device computes so,
    whether the run was killed on its way or not. One objective and optimiser (the very
    objects) are compiled once, however often they are fitted.

    Args:
      objective: see `supervised` and the module.
      start: `Variables` (or any pair of parameters and statistics) to start from, or
        the `TrainState` of an earlier run to go on with. It stays intact.
      arrays: the training examples by name, on the host, each ``[n, ...]``; a batch
        is a dict of some rows of each.
      optimizer: of optax, see also `jtransfer.training.schedules`.
      num_steps: number of steps in all; a run that has made them already is only read.
      batch_size: examples a step, see `jtransfer.data.batch_indices`.
      seed: of the order of the examples and of the run's random key.
      constants: further entries of every batch that are not per example, such as the
        variables of a teacher. (Arrays that the objective closes over would be
        compiled into it.)
      accumulate: micro-batches into which a batch is cut, to save memory.
      steps_per_dispatch: steps that a device makes in one go. 1 is best on a CPU; tens
        keep an accelerator busy with small networks.
      mesh: devices that share each batch, see `training.devices`; one device if
        None.
      validation: how to find the best variables.
      checkpoints: where and how often to save.
      log_every: steps after which their numbers are fetched from the device; the rows
        of all steps are logged.
      progress: whether to show progress, on stderr.

    Returns:
      The last state, the best variables, the history.

    Raises:
      NonFiniteLoss: if the loss or its gradient is NaN or infinite. The last
        checkpoint is from before.
      Interrupted: if SIGTERM came and there are `checkpoints`; the state is saved
        first. Only in the main thread.
      ValueError: if arguments do not fit each other or the checkpoints found.
      FileError: if a checkpoint or the log cannot be written.

    Example:
      >>> from jtransfer.training.schedules import sgd
      >>> x = np.array([[-1.0], [1.0]], np.float32)
      >>> train_fn = lambda params, stats, x, key: ((x @ params, {}), stats)
      >>> result = fit(
      ...     supervised(train_fn),
      ...     (np.zeros((1, 2), np.float32), {}),
      ...     {"images": x, "labels": np.array([0, 1])},
      ...     optimizer=sgd(0.1),
      ...     num_steps=10,
      ...     batch_size=2,
      ...     seed=0,
      ...     progress=False,
      ... )
      >>> result.best_step, result.history[-1]["accuracy"]
      (10, 1.0)
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    settings = {
        "seed": seed,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "num_examples": _num_examples(arrays),
    }
    cadences = [part.every for part in (validation, checkpoints) if part is not None]
    _check_positive(num_steps, batch_size, steps_per_dispatch, log_every, *cadences)
    mesh = devices.data_mesh(1) if mesh is None else mesh
    _check_batch(batch_size, accumulate, mesh)
    folder = None if checkpoints is None else Path(checkpoints.folder).expanduser()
    if not isinstance(start, TrainState):
        start = initial_state(start, optimizer, seed=seed)
    run = _runs.begun(_runs.copied(start), folder, settings, mesh)
    dispatches = _steps.dispatches(
        run.state,
        arrays,
        devices.replicated(dict(constants or {}), mesh),
        updates=_steps.compiled_step(objective, optimizer, accumulate, mesh),
        num_steps=num_steps,
        batch_size=batch_size,
        seed=seed,
        stops=cadences,
        steps_per_dispatch=steps_per_dispatch,
        mesh=mesh,
    )
    shown = progress and devices.is_first_process()
    with (
        _runs.termination(folder is not None) as terminated,
        step_progress(num_steps, start=run.step, enabled=shown) as display,
        _run_log.recorder(folder, run.rows) as record,
    ):
        for note in run.notes:
            display.note(note)
        for window in _windows.windows(
            dispatches,
            batch_size=batch_size,
            log_every=log_every,
            ends=lambda step: step == num_steps or _is_due(step, *cadences),
            hurried=terminated if devices.is_on_one_host(mesh) else lambda: False,
        ):
            record(window.rows)
            display.row(window.rows, window.seconds_per_step)
            if window.fault is not None:
                raise NonFiniteLoss(*window.fault, run.saved)
            run = run._replace(state=window.state, step=window.step)
            last = run.step == num_steps
            stopping = devices.in_any_process(terminated(), mesh)
            if not (last or stopping or _is_due(run.step, *cadences)):
                continue
            _runs.check_finite(run)
            if validation is not None and (last or _is_due(run.step, validation.every)):
                run = _runs.validated(run, validation, record, display)
            if folder is not None:
                run = _runs.saved(run, folder, settings)
            if stopping:
                break
        # The signal may also have come while the last state was being saved.
        if devices.in_any_process(terminated(), mesh):
            display.note(f"stopped by SIGTERM; step {run.step} is saved.")
            raise Interrupted(run.step)
    best = run.best if validation is not None else None
    if best is None:
        return FitResult(run.state, _runs.variables_of(run.state), run.step, run.rows)
    return FitResult(run.state, _runs.variables_of(best), best.step, run.rows)


def saved_variables(folder: str | Path, *, last: bool = False) -> "Variables":
    """Reads the variables of a run from its checkpoints.

    Args:
      folder: of the run, see `Checkpoints`.
      last: whether to take those of the last checkpoint and not the best ones on the
        validation split. A run without validation has the last ones only.

    Returns:
      The variables, for the `apply_fn` of a network of the same architecture.

    Raises:
      ValueError: if there is no checkpoint.
    """
    return _runs.stored_variables(Path(folder).expanduser(), last=last)


def _is_due(step, *cadences) -> bool:
    return any(step % every == 0 for every in cadences)


def _num_examples(arrays) -> int:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"arrays must have one length, at least 1, got {lengths}.")
    return next(iter(lengths.values()))


def _check_positive(*numbers) -> None:
    if min(numbers) < 1:
        raise ValueError(
            "num_steps, batch_size, steps_per_dispatch, log_every and every `every` "
            f"must be at least 1, got {min(numbers)}."
        )


def _check_batch(batch_size, accumulate, mesh) -> None:
    if accumulate < 1 or batch_size % (accumulate * mesh.size):
        raise ValueError(
            f"batch_size {batch_size} must be a multiple of accumulate {accumulate} "
            f"times {mesh.size} devices."
        )


def __getattr__(name: str):
    return moved_attribute(__name__, name)
