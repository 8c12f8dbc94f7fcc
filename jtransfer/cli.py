"""The table of commands and the exit codes."""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from jtransfer._internal.files import file_error
from jtransfer._internal.signals import (
    Stops,
    end_process,
    exit_code,
    stop_text,
    stopping_signals,
)
from jtransfer._version import __version__
from jtransfer.commands import distill
from jtransfer.commands.cache import cache_command
from jtransfer.commands.demo import demo_command
from jtransfer.commands.doctor import doctor_command
from jtransfer.commands.extract import extract_command
from jtransfer.commands.ls import ls_command
from jtransfer.commands.pair import pair_command
from jtransfer.commands.rank import rank_command
from jtransfer.commands.renamed import current_arguments
from jtransfer.commands.report import report_command
from jtransfer.commands.select import select_command
from jtransfer.commands.tasks import tasks_command
from jtransfer.commands.train import train_command

COMMANDS = {
    "demo": demo_command,
    "rank": rank_command,
    "train": train_command,
    "distill": distill.distill_command,
    "select": select_command,
    "extract": extract_command,
    "pair": pair_command,
    "tasks": tasks_command,
    "report": report_command,
    "ls": ls_command,
    "cache": cache_command,
    "doctor": doctor_command,
}

_THREADS = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"}


def main() -> None:
    """Runs the command line.

    Exits with 0, 1 (a source failed), 2 (a bad request, or files, memory or the system
    at fault), 130 or 143 (SIGINT or SIGTERM came), each with a line that says why.
    """
    with stopping_signals() as stops:
        code = _exit_code(stops)
    if stops.last is not None:
        _tell(stop_text(stops.last))
    sys.exit(code)


def program() -> None:
    """Runs `main` as a process of its own, which no signal ends with a traceback."""
    with stopping_signals(to_the_end=True) as stops:
        code = _exit_code(stops)
        if stops.last is not None:
            end_process(stops.last)
    sys.exit(code)


def _exit_code(stops: Stops) -> int:
    """Runs the command line; a signal counts for more than what it has caused."""
    try:
        code = _code_of_faults()
        stops.at_once = True
    except BaseException:
        if stops.last is None:
            raise
    return code if stops.last is None else exit_code(stops.last)


def _code_of_faults() -> int:
    """Runs the command line and tells a fault in one line."""
    try:
        code = _code_of_command()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has gone; so may we.
        _close_output()
        return 141
    except KeyboardInterrupt:
        _tell("jtransfer: interrupted; a rerun with --out continues.")
        return 130
    except OSError as error:
        _tell(f"jtransfer: {_system_fault(error)}")
        return 2
    except (ValueError, FloatingPointError) as error:
        from jtransfer._internal.errors import DataError, RequestError
        from jtransfer.training import NonFiniteLoss

        if not isinstance(error, RequestError | DataError | NonFiniteLoss):
            raise
        _tell(f"jtransfer: {error}")
        return 2
    except (MemoryError, RuntimeError) as error:
        # XLA's own error, whose class would have to be imported.
        if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        text = " ".join(str(error).split())[:200]
        _tell(f"jtransfer: not enough memory ({text}); take fewer examples.")
        return 2


def _code_of_command() -> int:
    # Flax and optax, like us, are written for the usual promotion of dtypes.
    os.environ.pop("JAX_NUMPY_DTYPE_PROMOTION", None)
    # Several threads spin over many small products: two take twice the processor's
    # time, and longer, unless a source has thousands of features.
    if not _THREADS & os.environ.keys():
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Names of files need not be text.
            stream.reconfigure(errors="backslashreplace")
    arguments, notes = current_arguments(map(_expanded, sys.argv[1:]))
    if arguments == ["--version"]:
        print(__version__)
        return 0
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)
    if arguments[:1] == ["distill"]:
        description = "Train a student of a network; it may join a zoo."
        return _run(distill.METHODS, arguments[1:], "jtransfer distill", description)
    description = "Which pretrained model should I transfer from?"
    return _run(COMMANDS, arguments, "jtransfer", description)


def _system_fault(error: OSError) -> str:
    """A fault of the system in one line."""
    name = error.filename
    if name is None:
        # Nothing that we open lacks a name; what is still to be printed is given up.
        name = "the standard output or a file"
        _close_output()
    return str(file_error(name, error, use="read or written"))


def _close_output() -> None:
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # Then there is nobody to tell.
        print(line, file=sys.stderr, flush=True)


def _expanded(argument: str) -> str:
    """Expands a ~ that the shell has left: quoted, or behind an equals sign."""
    option, equals, value = argument.partition("=")
    if equals and option.startswith("--"):
        return f"{option}={os.path.expanduser(value)}"
    return os.path.expanduser(argument)


def _run(
    commands: Mapping[str, Callable[..., int]],
    arguments: Sequence[str],
    program: str,
    description: str,
) -> int:
    import tyro

    return tyro.extras.subcommand_cli_from_dict(
        dict(commands),
        args=arguments,
        prog=program,
        description=description,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )
