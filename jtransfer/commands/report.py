"""`jtransfer report`: show what lies in a folder again."""

import sys
from pathlib import Path


def report_command(folder: Path, /) -> int:
    """Show the results in a folder again, and draw their pages anew.

    Try these:
      jtransfer report demo

    Args:
      folder: A folder that jtransfer rank, pair, select or tasks has filled.

    Returns:
      0.
    """
    from jtransfer import report

    results = report.read_results(folder)
    if results.ranking is not None:
        report.show_ranking(results.ranking)
    if results.pair is not None:
        report.show_pair(results.pair)
    if results.tasks is not None:
        report.show_tasks(results.tasks)
    for fault in results.faults:
        print(f"Not shown: {fault}", file=sys.stderr)
    for path in report.draw_pages(folder):
        print(f"Wrote {path}", file=sys.stderr)
    return 0
