"""The table of commands and the exit codes."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from jtransfer._version import __version__
from jtransfer.commands import distill
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
    "rank": rank_command,
    "train": train_command,
    "distill": distill.distill_command,
    "select": select_command,
    "extract": extract_command,
    "pair": pair_command,
    "tasks": tasks_command,
    "report": report_command,
    "ls": ls_command,
}


def main() -> None:
    """Runs the command line; exits with 0, 1 (a source failed) or 2 (bad request)."""
    # Flax and optax, like us, are written for the usual promotion of dtypes.
    os.environ.pop("JAX_NUMPY_DTYPE_PROMOTION", None)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Names of files need not be text.
            stream.reconfigure(errors="backslashreplace")
    arguments, notes = current_arguments(map(_expanded, sys.argv[1:]))
    if arguments == ["--version"]:
        print(__version__)
        sys.exit(0)
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)
    try:
        if arguments[:1] == ["distill"]:
            description = "Train a student of a network; it may join a zoo."
            code = _run(
                distill.METHODS, arguments[1:], "jtransfer distill", description
            )
        else:
            description = "Which pretrained model should I transfer from?"
            code = _run(COMMANDS, arguments, "jtransfer", description)
    except BrokenPipeError:
        # Whoever read our output has gone; so may we.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except KeyboardInterrupt:
        print("jtransfer: interrupted; a rerun with --out continues.", file=sys.stderr)
        code = 130
    except (ValueError, FloatingPointError) as error:
        from jtransfer._internal.errors import DataError, RequestError
        from jtransfer.training import NonFiniteLoss

        if not isinstance(error, RequestError | DataError | NonFiniteLoss):
            raise
        print(f"jtransfer: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)


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
