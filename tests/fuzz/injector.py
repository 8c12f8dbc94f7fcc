"""Faults of the file system, at the k-th call that changes a folder."""

import builtins
import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

FAULTS = {
    name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EACCES", "EROFS", "EFBIG")
}


def raising(number: int) -> Callable[[str, str], None]:
    """Returns an act that raises an error of the system."""

    def act(call: str, path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    return act


def kill(call: str, path: str) -> None:
    """Ends the process as a SIGKILL does: nothing is tidied up."""
    os._exit(137)


class Injector:
    """Counts the calls that change a folder, and acts at some of them.

    Attributes:
      calls: names of the calls, with the path of each.
    """

    def __init__(
        self,
        folder: Path,
        act: Callable[[str, str], None] = lambda call, path: None,
        *,
        at: int | None = None,
        lasting: bool = False,
    ):
        """Takes the folder, what to do, at which call, and whether from there on."""
        self.calls: list[tuple[str, str]] = []
        self._folder = str(Path(folder).resolve())
        self._act, self._at, self._lasting = act, at, lasting

    def met(self, call: str, path) -> None:
        """Notes a call and acts if it is its turn."""
        if isinstance(path, int):
            with contextlib.suppress(OSError):
                path = os.readlink(f"/proc/self/fd/{path}")
        path = os.path.abspath(os.fsdecode(str(path)))
        inside = path == self._folder or path.startswith(self._folder + os.sep)
        if not inside:
            return
        self.calls.append((call, path))
        number = len(self.calls)
        if number == self._at or (self._lasting and self._at and number > self._at):
            self._act(call, path)

    @contextlib.contextmanager
    def installed(self) -> Iterator["Injector"]:
        """Puts the injector between the library and the system."""
        with contextlib.ExitStack() as stack:
            for name in ("mkdir", "replace", "rename", "fsync", "chmod"):
                stack.enter_context(mock.patch.object(os, name, self._before(name)))
            stack.enter_context(mock.patch.object(os, "open", self._opening(os.open)))
            opened = self._file(io.open)
            stack.enter_context(mock.patch.object(io, "open", opened))
            stack.enter_context(mock.patch.object(builtins, "open", opened))
            yield self

    def _before(self, name: str) -> Callable:
        original = getattr(os, name)

        def call(path, *arguments, **keywords):
            # A rename changes the folder that it goes to.
            named = arguments[0] if name in ("replace", "rename") else path
            self.met(name, named)
            return original(path, *arguments, **keywords)

        return call

    def _opening(self, original: Callable) -> Callable:
        def call(path, flags, *arguments, **keywords):
            if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                self.met("open", path)
            return original(path, flags, *arguments, **keywords)

        return call

    def _file(self, original: Callable) -> Callable:
        def call(path, mode="r", *arguments, **keywords):
            if not set(mode) & set("wax+"):
                return original(path, mode, *arguments, **keywords)
            if not isinstance(path, int):
                self.met("open", path)
            return _Written(self, path, original(path, mode, *arguments, **keywords))

        return call


class _Written:
    """A file whose writes are calls."""

    def __init__(self, injector: Injector, path, file):
        self._injector, self._path, self._file = injector, path, file

    def write(self, content):
        half = content[: len(content) // 2]
        with contextlib.suppress(TypeError, ValueError):
            # As on a full disk: a part of it is there.
            self._file.write(half)
            self._file.flush()
        self._injector.met("write", self._path)
        self._file.write(content[len(half) :])
        return len(content)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *arguments):
        return self._file.__exit__(*arguments)

    def __iter__(self):
        return iter(self._file)
