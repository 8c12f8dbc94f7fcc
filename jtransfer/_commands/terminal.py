"""What a ranking looks like on the terminal; heavy imports inside."""

import sys


def show(rows: list[dict]) -> None:
    """Prints a ranking as a table, with its warnings and failures."""
    import shutil

    from rich.console import Console

    from jtransfer import report

    # Without a terminal, as wide as most files and logs are read.
    width = shutil.get_terminal_size((110, 24)).columns if sys.stdout.isatty() else 110
    console = Console(width=width)
    console.print(report.table(rows, width=width))
    agreement = report.agreement_table(rows)
    if agreement is not None:
        console.print(agreement)
    for line in report.warnings(rows):
        print(f"Warning: {line}", file=sys.stderr)
    for line in report.failures(rows):
        print(f"Failed: {line}", file=sys.stderr)


def progress(total: int):
    """A context that yields what is called with each finished source."""
    import contextlib

    @contextlib.contextmanager
    def plain():
        done = 0

        def announce(name, outcome):
            nonlocal done
            done += 1
            print(f"[{done}/{total}] {name}: {outcome}", file=sys.stderr, flush=True)

        yield announce

    @contextlib.contextmanager
    def rich():
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn())
        console = Console(stderr=True)
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            task = progress.add_task("Ranking", total=total)

            def announce(name, outcome):
                progress.console.print(f"{name}: {outcome}", markup=False)
                progress.advance(task)

            yield announce

    return rich() if sys.stderr.isatty() else plain()
