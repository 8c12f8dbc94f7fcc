"""Progress on stderr: a bar on a terminal, lines now and then elsewhere."""

import contextlib
import datetime
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_INTERVAL = 10.0  # seconds between two lines


class Display(NamedTuple):
    """Two functions that show the steps of long work.

    Attributes:
      row: ``row(rows, seconds_per_step)`` shows the last row of some steps, if any.
      note: ``note(text)`` shows a line that stays.
    """

    row: Callable[[Sequence[Mapping[str, Any]], float | None], None]
    note: Callable[[str], None]


@contextlib.contextmanager
def step_progress(
    num_steps: int, *, start: int, enabled: bool, unit: str = "step"
) -> Iterator[Display]:
    """Yields a display for steps `start` to `num_steps`, which are called `unit`."""
    if not enabled:
        yield Display(lambda rows, pace: None, lambda text: None)
    elif sys.stderr.isatty():
        with _bar(num_steps, start, unit) as shown:
            yield shown
    else:
        yield _lines(num_steps, unit)


def _lines(num_steps, unit):
    last = -_INTERVAL

    def note(text):
        print(text, file=sys.stderr, flush=True)

    def row(rows, seconds_per_step):
        nonlocal last
        now = time.monotonic()
        if rows and (now - last >= _INTERVAL or rows[-1]["step"] == num_steps):
            last = now
            summary = _summary(rows[-1], num_steps, seconds_per_step)
            note(f"{unit} {rows[-1]['step']}/{num_steps}  {summary}")

    return Display(row, note)


@contextlib.contextmanager
def _bar(num_steps, start, unit):
    with _rich_progress(summary=True) as progress:
        task = progress.add_task(unit, total=num_steps, completed=start, summary="")

        def row(rows, seconds_per_step):
            if rows:
                summary = _summary(rows[-1], num_steps, seconds_per_step)
                progress.update(task, completed=rows[-1]["step"], summary=summary)

        def note(text):
            progress.console.print(text, markup=False, highlight=False)

        yield Display(row, note)


def _rich_progress(*, summary: bool = False):
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    last = TimeRemainingColumn()
    if summary:
        last = TextColumn("{task.fields[summary]}", markup=False)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        last,
        console=Console(stderr=True),
    )


def _summary(row, num_steps, seconds_per_step):
    known = [name for name in ("loss", "accuracy") if row.get(name) is not None]
    shown = [f"{name} {row[name]:.4f}" for name in known]
    if seconds_per_step is not None:
        left = (num_steps - row["step"]) * seconds_per_step
        shown.append(f"{row['images_per_second']:,.0f} examples/s")
        shown.append(f"{datetime.timedelta(seconds=round(left))} left")
    return "  ".join(shown)


@contextlib.contextmanager
def source_progress(total: int) -> Iterator[Callable[[str, str], None]]:
    """Yields `announce(name, outcome)`, to be called with each finished source."""
    if sys.stderr.isatty():
        with _rich_progress() as progress:
            task = progress.add_task("Sources", total=total)

            def announce(name, outcome):
                progress.console.print(f"{name}: {outcome}", markup=False)
                progress.advance(task)

            yield announce
        return
    done = 0

    def announce(name, outcome):
        nonlocal done
        done += 1
        print(f"[{done}/{total}] {name}: {outcome}", file=sys.stderr, flush=True)

    yield announce


@contextlib.contextmanager
def stage_progress(total: int, unit: str) -> Iterator[Callable[..., None]]:
    """Yields `advance(stage, count)`, to be called with how many more are done.

    Args:
      total: how many a stage has; `advance(stage, count, other)` says otherwise.
      unit: what they are, in the plural.
    """
    if sys.stderr.isatty():
        with _rich_progress() as progress:
            tasks = {}

            def advance(stage, count, total=total):
                if stage not in tasks:
                    tasks[stage] = progress.add_task(stage.capitalize(), total=total)
                progress.advance(tasks[stage], count)

            yield advance
        return
    done, last = {}, time.monotonic()

    def advance(stage, count, total=total):
        nonlocal last
        done[stage] = done.get(stage, 0) + count
        # A line a stage, and now and then one of a long stage.
        if done[stage] == total or time.monotonic() - last > _INTERVAL:
            last = time.monotonic()
            line = f"{stage}: {done[stage]}/{total} {unit}"
            print(line, file=sys.stderr, flush=True)

    yield advance
