"""The numbers of many steps, fetched from the device at a time."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jtransfer.training import _run_log
from jtransfer.training._steps import TrainState

_IN_FLIGHT = 2  # dispatches; more would only fill memory and delay an interruption
_NORM = "gradient_norm"


class Window(NamedTuple):
    """Some steps whose numbers have arrived on the host.

    Attributes:
      state: after them.
      step: how many steps have been made in all.
      rows: of the steps, as far as they are finite.
      fault: the first step that is not, with its parts.
      seconds_per_step: without compilation, None where that is not known yet.
    """

    state: TrainState
    step: int
    rows: list[dict[str, Any]]
    fault: tuple[int, dict[str, float]] | None
    seconds_per_step: float | None


def windows(
    dispatches: Iterable[tuple[TrainState, int, dict[str, jax.Array]]],
    *,
    batch_size: int,
    log_every: int,
    ends: Callable[[int], bool],
    hurried: Callable[[], bool],
) -> Iterator[Window]:
    """Fetches the numbers of many steps at a time.

    Args:
      dispatches: state, number of steps in all, and numbers of each step.
      batch_size: examples a step.
      log_every: steps in a window. The first dispatch, which compiles, is one of its
        own.
      ends: whether a window has to end after a step.
      hurried: whether it has to end now.

    Yields:
      The windows.
    """
    began = clock = time.perf_counter()
    compiled, pending = False, []
    for state, step, metrics in dispatches:
        pending.append(metrics)
        if len(pending) > _IN_FLIGHT:
            jax.block_until_ready(pending[-1 - _IN_FLIGHT])
        count = sum(np.size(metrics["loss"]) for metrics in pending)
        if compiled and count < log_every and not ends(step) and not hurried():
            continue
        columns = _columns(jax.device_get(pending))
        now = time.perf_counter()
        pace = (now - clock) / count if compiled else None
        rows, fault = _rows(columns, step - count + 1)
        if rows:
            rows[-1]["seconds"] = round(now - began, 3)
        if rows and pace is not None:
            rows[-1]["images_per_second"] = round(batch_size / pace, 1)
        yield Window(state, step, rows, fault, pace)
        compiled, pending, clock = True, [], time.perf_counter()


def _columns(fetched):
    """All steps of each number, `[steps]`; jit has sorted the names."""
    names = sorted(fetched[0], key=lambda name: (name != "loss", name == _NORM, name))
    return {
        name: np.concatenate([np.atleast_1d(metrics[name]) for metrics in fetched])
        for name in names
    }


def _rows(columns, first):
    """Rows from step `first` to the first fault, and that fault."""
    finite = np.isfinite(columns["loss"]) & np.isfinite(columns[_NORM])
    good = len(finite) if finite.all() else int(np.argmin(finite))
    steps = [
        {name: column[i] for name, column in columns.items()}
        for i in range(len(finite))
    ]
    rows = [{"step": first + i, **_run_log.plain(steps[i])} for i in range(good)]
    if good == len(finite):
        return rows, None
    return rows, (first + good, {name: float(v) for name, v in steps[good].items()})
