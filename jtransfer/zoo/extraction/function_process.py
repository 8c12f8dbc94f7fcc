"""The logits of a model in a process of its own, as a JAX function of one image."""

import atexit
import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jtransfer._internal.errors import SourceError
from jtransfer._internal.signals import AT_END
from jtransfer.zoo.extraction.frames import read_frame, write_frame
from jtransfer.zoo.extraction.process import end_reason, started_process, stop_process
from jtransfer.zoo.loaders.images import byte_images

if TYPE_CHECKING:
    import jax

MOST_PROCESSES = 2
"""Models in memory at a time: a reference and a source."""
_CHECKED = 4


class FunctionProcess:
    """A model's process, which is started again where it has made room for others."""

    _running: "OrderedDict[int, FunctionProcess]" = OrderedDict()

    def __init__(self, request: dict[str, Any], images: np.ndarray, silence: float):
        """Starts it.

        Args:
          request: see `function_server.serve_function`.
          images: some of those that it will be applied to.
          silence: seconds without an answer after which it is stopped.

        Raises:
          SourceError: if the model cannot be loaded or has no gradients.
        """
        self._request, self._silence = request, silence
        self._few = byte_images(images[:_CHECKED])
        self._process: subprocess.Popen | None = None
        self._folder: tempfile.TemporaryDirectory | None = None
        self._lock = threading.Lock()
        self.loaded: dict[str, Any] | None = None
        with self._lock:
            self.loaded = self._start()

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Returns logits `[n, Z]` of images `[n, h, w, c]`."""
        return self._answer(x)

    def pullback(self, x: np.ndarray, cotangents: np.ndarray) -> np.ndarray:
        """Returns cotangents `[n, k, h, w, c]` of images for those of logits."""
        return self._answer(x, cotangents)

    def close(self) -> None:
        """Ends the process; the next call starts another."""
        self._running.pop(id(self), None)
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            stop_process(self._process)
            self._process.stdout.close()
            self._process = None
            self._folder.cleanup()

    def _answer(self, *arrays: np.ndarray) -> np.ndarray:
        # Callbacks may come from several threads of XLA.
        with self._lock:
            if self._process is None:
                self._start()
            self._running.move_to_end(id(self))
            _, (answer,) = self._exchanged(*arrays)
            return answer

    def _start(self) -> dict[str, Any]:
        while len(self._running) >= MOST_PROCESSES:
            next(iter(self._running.values())).close()
        self._folder = tempfile.TemporaryDirectory(prefix="jtransfer-")
        examples = Path(self._folder.name) / "images.npy"
        np.save(examples, self._few)
        self._process = started_process(self._request, self._log)
        self._running[id(self)] = self
        request = {**self._request, "examples": str(examples), "serves": True}
        with contextlib.suppress(OSError):  # Its end says why it has ended.
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        event, _ = self._exchanged()
        return event["loaded"]

    @property
    def _log(self) -> Path:
        return Path(self._folder.name) / "log.txt"

    def _exchanged(self, *arrays: np.ndarray) -> tuple[dict, list[np.ndarray]]:
        """Sends arrays, if any, and waits for the answer."""
        process, silent = self._process, threading.Event()

        def end():
            silent.set()
            process.kill()

        timer = threading.Timer(self._silence, end)
        timer.start()
        try:
            frame = None
            with contextlib.suppress(OSError):
                if arrays:
                    write_frame(process.stdin, {}, *arrays)
                frame = read_frame(process.stdout)
        finally:
            timer.cancel()
        if frame is not None and "failed" not in frame[0]:
            return frame
        if frame is not None:
            reason = frame[0]["failed"]
        elif silent.is_set():
            reason = f"It gave no gradients for {self._silence:.0f} s."
        else:
            reason = end_reason(process.wait(), "at its gradients", self._log)
        self.close()
        if self.loaded is not None:  # Else it is the reason of the row.
            reason = f"{self._request['spec'][0]}:{self._request['spec'][1]}: {reason}"
        raise SourceError(reason)


@atexit.register
def _close_all() -> None:
    for process in list(FunctionProcess._running.values()):
        process.close()


def _kill_all() -> None:
    """Ends all at once, where a signal ends the parent."""
    for process in list(FunctionProcess._running.values()):
        with contextlib.suppress(OSError):
            os.killpg(process._process.pid, signal.SIGKILL)
        shutil.rmtree(process._folder.name, ignore_errors=True)


AT_END.append(_kill_all)


def image_function(process: FunctionProcess) -> "Callable[[jax.Array], jax.Array]":
    """Returns the function from one image `[h, w, c]` in [0, 1] to logits `[Z]`.

    It goes through `jit`, `vmap`, `grad`, `vjp`, `jacrev` and `scan`; not through
    forward differentiation. The Jacobians of a batch, `vmap(jacrev(f))`, are one call
    of the process. Numbers are float32.

    Args:
      process: the model's.
    """
    import jax
    import jax.numpy as jnp

    num_outputs = process.loaded["num_outputs"]

    @jax.custom_vjp
    def logits(x):
        return _called(_logits, jax.ShapeDtypeStruct((num_outputs,), jnp.float32), x)

    def _logits(x):
        lead = x.shape[:-3]
        return process.logits(x.reshape(-1, *x.shape[-3:])).reshape(*lead, num_outputs)

    def pull(x, g):
        return (_called(_pullback, jax.ShapeDtypeStruct(x.shape, jnp.float32), x, g),)

    def _pullback(x, g):
        return batched_pullback(process.pullback, x, g)

    logits.defvjp(lambda x: (logits(x), x), pull)
    # Casts of what XLA hands over would be silent.
    return lambda x: logits(x.astype(jnp.float32))


def _called(function: Callable, shape: "jax.ShapeDtypeStruct", *arrays):
    """Calls a function of NumPy arrays from within a compiled one.

    On processors it is handed the buffers themselves: a copy would wait for the only
    thread of a machine with one processor, on which the callback runs.
    """
    import jax
    from jax.experimental.buffer_callback import buffer_callback

    options = {"vmap_method": "expand_dims"}
    if jax.default_backend() != "cpu":
        return jax.pure_callback(
            lambda *x: function(*map(np.asarray, x)), shape, *arrays, **options
        )

    def into(context, out, *x):
        np.asarray(out)[...] = function(*map(np.asarray, x))

    return buffer_callback(into, shape, **options)(*arrays)


def batched_pullback(
    pullback: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    g: np.ndarray,
) -> np.ndarray:
    """Applies a pullback where leading axes of images and cotangents differ.

    Axes of length one in `x` that are longer in `g` are those of several cotangents of
    an image; so a Jacobian takes one pass forward, and not one an output.

    Args:
      pullback: from `[n, h, w, c]` and `[n, k, Z]` to `[n, k, h, w, c]`.
      x: images `[..., h, w, c]`.
      g: cotangents `[..., Z]`, with as many leading axes.

    Returns:
      The cotangents of the images `[..., h, w, c]`, all leading axes in full.

    Example:
      >>> def pullback(x, g):  # Of the sum over an image.
      ...     return np.broadcast_to(g[..., None, None], (*g.shape, 1, 1))
      >>> x, g = np.zeros((4, 1, 1, 1, 1)), np.arange(3.0).reshape(1, 3, 1)
      >>> batched_pullback(pullback, x, g).shape
      (4, 3, 1, 1, 1)
    """
    image, before = x.shape[-3:], x.shape[:-3]
    lead = np.broadcast_shapes(before, g.shape[:-1])
    inner = [i for i, n in enumerate(lead) if before[i] == 1 and n > 1]
    outer = [i for i in range(len(lead)) if i not in inner]
    of_images, of_cotangents = ([lead[i] for i in axes] for axes in (outer, inner))
    n, k = math.prod(of_images), math.prod(of_cotangents)
    once = (1 if i in inner else size for i, size in enumerate(lead))
    rows = np.broadcast_to(x, (*once, *image)).reshape(n, *image)
    g = np.broadcast_to(g, (*lead, g.shape[-1]))
    g = g.transpose(*outer, *inner, len(lead)).reshape(n, k, g.shape[-1])
    pulled = pullback(rows, g)
    pulled = pulled.reshape(*of_images, *of_cotangents, *image)
    order = np.argsort([*outer, *inner])
    return pulled.transpose(*order, *range(len(lead), len(lead) + 3))
