"""SIGTERM as a question that can be asked."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def termination(wanted: bool) -> Iterator[Callable[[], bool]]:
    """Yields what tells whether SIGTERM has come, which then ends nothing by itself.

    Args:
      wanted: whether to listen; otherwise, and outside the main thread, the signal
        does what it did before.
    """
    # Python hands signals to the main thread only.
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append(True))
    try:
        yield lambda: bool(received)
    finally:
        # None is a handler that was not set from Python, and cannot be from here.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
