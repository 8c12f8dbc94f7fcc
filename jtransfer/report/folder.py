"""A folder holds results; its pages are drawn from whatever lies there."""

from pathlib import Path
from typing import NamedTuple

from jtransfer._internal.errors import RequestError
from jtransfer._internal.files import write_atomically
from jtransfer.pairs.results import PairSummary
from jtransfer.ranking import Row
from jtransfer.ranking.tasks import TaskComparison
from jtransfer.report.pages.pair import pair_html
from jtransfer.report.pages.tasks import tasks_html
from jtransfer.report.pair import PAIR_FILE, read_pair
from jtransfer.report.ranking import ROWS_FILE, ranking_page, read_ranking
from jtransfer.report.tasks import TASKS_FILE, read_tasks


class Results(NamedTuple):
    """The results that lie in a folder; None where there are none of a kind."""

    ranking: list[Row] | None
    pair: PairSummary | None
    tasks: TaskComparison | None
    faults: tuple[str, ...] = ()
    """Why further files cannot be shown."""


def read_results(folder: Path) -> Results:
    """Reads all results of a folder that `jtransfer` has filled.

    Args:
      folder: the folder.

    Returns:
      The results, at least one of them.

    Raises:
      RequestError: if there are none that can be shown.
    """
    readers = {
        ROWS_FILE: read_ranking,
        PAIR_FILE: read_pair,
        TASKS_FILE: read_tasks,
    }
    results, faults = dict.fromkeys(readers), []
    for name, reader in readers.items():
        if (folder / name).exists():
            try:
                results[name] = reader(folder)
            except RequestError as error:
                faults.append(str(error))
    if all(result is None for result in results.values()):
        raise RequestError(
            "; ".join(faults)
            or f"{folder} holds none of {', '.join(readers)}; make them with "
            f"`jtransfer rank --out {folder}`."
        )
    return Results(*results.values(), tuple(faults))


def draw_pages(folder: Path) -> list[Path]:
    """Draws the pages of a folder from the results that lie there.

    Args:
      folder: a folder with results.

    Returns:
      The paths of the pages, each written atomically.

    Raises:
      RequestError: as `read_results`.
    """
    results = read_results(folder)
    pages = {}
    if results.ranking is not None:
        pages["report.html"] = ranking_page(results.ranking, results.pair)
    if results.pair is not None:
        pages["pair.html"] = pair_html(results.pair)
    if results.tasks is not None:
        pages["tasks.html"] = tasks_html(results.tasks)
    for name, page in pages.items():
        write_atomically(folder / name, page.encode())
    return [folder / name for name in pages]
