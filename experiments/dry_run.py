"""A script's run in a minute: are the data there, does a step compile, how long is all?

`python -m experiments.cross_task.table14_figure5_sliding_window paper --dry-run` does
what the preset does, with every training cut to its first steps and all files in a
folder that goes with the run. Trainings of one shape are timed once. After a minute, or
once the first of them is timed, it stops where it is: the hours are then those of the
trainings met so far, at least.
"""

import contextlib
import dataclasses
import functools
import io
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TextIO
from unittest import mock

import jax

from jtransfer import training
from jtransfer.models import Variables

LIMIT = 60
"""Seconds."""
_STEPS, _SLOW = 3, 5.0


class _TimeIsUp(BaseException):
    """Not an error that a script would handle."""


@dataclasses.dataclass
class _Rehearsal:
    """What the trainings of a script would take."""

    fit: Callable
    screen: TextIO
    known: dict = dataclasses.field(default_factory=dict)
    """Steps by the shapes of their arrays."""
    num_trainings: int = 0
    num_steps: int = 0
    seconds: float = 0.0
    is_timing: bool = False
    is_late: bool = False

    def tell(self, text: str) -> None:
        """Prints; the own rows of the script, of untrained networks, are not shown."""
        print(text, file=self.screen, flush=True)

    def stop(self, *_) -> None:
        """Handles the alarm; the first training is timed to its end."""
        self.is_late = True
        if self.known or not self.is_timing:
            raise _TimeIsUp

    def train(
        self, objective, start, arrays, *, num_steps, batch_size, **others
    ) -> training.FitResult:
        """Takes the place of `training.fit`: untrained networks, and a log's rows."""
        others |= {"checkpoints": None, "progress": False}
        if not isinstance(start, training.TrainState):
            optimizer, seed = others["optimizer"], others["seed"]
            start = training.initial_state(start, optimizer, seed=seed)
        shape = (batch_size, *_shapes((start, arrays, others.get("constants"))))
        if shape not in self.known:
            examples = len(next(iter(arrays.values())))
            self.tell(f"{num_steps} steps of {batch_size} of {examples} examples:")
            fit = functools.partial(
                self.fit, objective, start, arrays, batch_size=batch_size, **others
            )
            self.is_timing = True
            self.known[shape] = self._measured(fit, int(start.step), num_steps)
            self.is_timing = False
        step = self.known[shape]
        self.num_trainings += 1
        self.num_steps += num_steps
        self.seconds += num_steps * step.seconds
        if self.is_late:
            raise _TimeIsUp
        variables = Variables(start.params, start.stats)
        return training.FitResult(start, variables, num_steps, step.history)

    def _measured(self, fit: Callable, made: int, num_steps: int) -> "_Step":
        """Times the first steps, with the compiler and without, and says so at once."""

        def timed(count: int, **others):
            begin = time.perf_counter()
            result = fit(num_steps=made + count, **others)
            jax.block_until_ready(result.best)
            return time.perf_counter() - begin, result.history

        first, _ = timed(1, validation=None)
        self.tell(f"  the first in {first:.1f} s with its compilation")
        step, history = timed(1, validation=None)
        if num_steps > 1 and step < _SLOW:
            step = max(timed(1 + _STEPS, validation=None)[0] - step, 0) / _STEPS
        hours = num_steps * step / 3600
        self.tell(f"  then {step:.2g} s each, {hours:.2g} hours; {_memory()}")
        return _Step(step, history if self.is_late else timed(1)[1])


class _Step(NamedTuple):
    seconds: float
    history: list[dict]  # rows of the log


def rehearse(main: Callable, config, preset: str) -> None:
    """Runs the `main` of a script without its trainings, and prints what they take.

    Args:
      main: ``main(config, preset)``.
      config: the settings; its folders are replaced.
      preset: the name of the preset.
    """
    rehearsal, begin = _Rehearsal(training.fit, sys.stdout), time.perf_counter()
    device = jax.devices()[0]
    rehearsal.tell(f"{preset}, {device.platform} ({device.device_kind})")
    with tempfile.TemporaryDirectory() as folder:
        places = {"out": Path(folder) / "runs", "results": Path(folder) / "results"}
        names = {field.name for field in dataclasses.fields(config)} & places.keys()
        config = dataclasses.replace(config, **{name: places[name] for name in names})
        with (
            mock.patch.object(training, "fit", rehearsal.train),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            is_complete = _finishes(lambda: main(config, preset), rehearsal.stop)
    own = time.perf_counter() - begin
    at_least = "" if is_complete else "at least "
    rehearsal.tell(
        f"{rehearsal.num_trainings} trainings, {rehearsal.num_steps} steps: {at_least}"
        f"{rehearsal.seconds / 3600:.2g} hours, and {at_least}{own:.0f} s for all else"
    )


def _finishes(run: Callable[[], None], stop: Callable) -> bool:
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        run()
    except _TimeIsUp:
        return False
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return True


def _shapes(tree) -> tuple:
    leaves, structure = jax.tree.flatten(tree)
    return (structure, *((jax.numpy.shape(x), str(x.dtype)) for x in leaves))


def _memory() -> str:
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return f"device memory {stats['peak_bytes_in_use'] / 1e9:.1f} GB at its peak"
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"memory {kilobytes / 1e6:.1f} GB at its peak"
