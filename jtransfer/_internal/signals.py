"""SIGINT and SIGTERM end the command line in one line, whenever they come.

The first signal raises `Stopped` in the main thread, so that files are put in order.
Where Python cannot hand the exception on, in a finaliser or a callback, and at a second
signal, the process ends at once.
"""

import contextlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

AT_END: list[Callable[[], None]] = []
"""What is done, quickly, before a process ends at once."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TEXTS = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped by SIGTERM"}


def is_program(name: str) -> bool:
    """Tells whether Python was started for a command: `python -m NAME`, or a script."""
    started = sys.argv[0] if sys.argv else ""
    if started == "-m":  # While Python looks for the module.
        return ["-m", name] in map(list, itertools.pairwise(sys.orig_argv))
    return os.path.basename(started) in (name, f"{name}.exe")


def end_at_signals() -> None:
    """Lets signals end the process at once from now on."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: end_process(number))


class Stopped(BaseException):
    """A signal that ends the process came.

    Attributes:
      signal_number: which.
    """

    def __init__(self, signal_number: int):
        """Takes the number of the signal."""
        super().__init__(signal_number)
        self.signal_number = signal_number


class Stops:
    """The signals that came since the handlers were set.

    Attributes:
      last: the signal that came, None without one.
      at_once: whether the next one is to end the process without an exception.
    """

    last: int | None = None
    at_once: bool = False

    def take(self, number: int, frame: FrameType | None) -> None:
        """Raises `Stopped` at the first signal, and ends the process at the second."""
        if self.at_once or self.last is not None:
            end_process(number)
        self.last = number
        raise Stopped(number)


@contextlib.contextmanager
def stopping_signals(*, to_the_end: bool = False) -> Iterator[Stops]:
    """Raises `Stopped` at signals while the block runs.

    Args:
      to_the_end: whether signals after the block, while the interpreter ends, end the
        process at once; otherwise they do again what they did before.

    Yields:
      The signals that came. Outside the main thread, to which Python hands no signals,
      there are none.
    """
    stops = Stops()
    if threading.current_thread() is not threading.main_thread():
        yield stops
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    hooks = sys.unraisablehook, threading.excepthook
    try:
        for number in SIGNALS:
            # Who starts us in the background with nohup or & ignores them for us.
            if before[number] is not signal.SIG_IGN:
                signal.signal(number, stops.take)
        sys.unraisablehook = _ending_hook(stops, hooks[0])
        threading.excepthook = _ending_hook(stops, hooks[1])
        yield stops
    finally:
        if to_the_end:
            end_at_signals()
        else:
            sys.unraisablehook, threading.excepthook = hooks
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _ending_hook(stops: Stops, usual):
    """A hook for exceptions that nobody can catch, which ends a process that stops."""

    def hook(arguments: Any) -> None:
        if stops.last is None:
            usual(arguments)
        else:
            end_process(stops.last)

    return hook


def exit_code(number: int) -> int:
    """Returns the exit code of a process that a signal has ended, 130 or 143."""
    return 128 + number


def stop_text(number: int) -> str:
    """Returns a line about a signal that ends the process."""
    return f"jtransfer: {_TEXTS[number]}; a rerun with the same folder continues."


def end_process(number: int) -> NoReturn:
    """Ends the process at once, in one line on the standard error.

    Nothing that waits for threads or compilers runs any more.
    """
    for clear in AT_END:
        with contextlib.suppress(Exception):
            clear()
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, f"{stop_text(number)}\n".encode())
    os._exit(exit_code(number))
