"""The command line: one function a sub-command, heavy imports inside it."""

import os
import sys

from jtransfer._version import __version__
from jtransfer.commands.distill import distill_command
from jtransfer.commands.extract import extract_command
from jtransfer.commands.ls import ls_command
from jtransfer.commands.pair import pair_command
from jtransfer.commands.rank import rank_command
from jtransfer.commands.report import report_command
from jtransfer.commands.select import select_command
from jtransfer.commands.tasks import tasks_command
from jtransfer.commands.train import train_command


def main() -> None:
    """Runs the command line; exits with 0, 1 (a source failed) or 2 (bad request)."""
    import tyro

    if sys.argv[1:] == ["--version"]:
        print(__version__)
        sys.exit(0)
    commands = {
        "rank": rank_command,
        "train": train_command,
        "distill": distill_command,
        "select": select_command,
        "extract": extract_command,
        "pair": pair_command,
        "tasks": tasks_command,
        "report": report_command,
        "ls": ls_command,
    }
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="jtransfer",
            description="Which pretrained model should I transfer from?",
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except BrokenPipeError:
        # Whoever read our output has gone; so may we.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except KeyboardInterrupt:
        print("jtransfer: interrupted; a rerun with --out continues.", file=sys.stderr)
        code = 130
    except ValueError as error:
        from jtransfer._internal.errors import DataError, RequestError

        if not isinstance(error, RequestError | DataError):
            raise
        print(f"jtransfer: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)
