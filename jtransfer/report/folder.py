"""A folder holds results; its pages are drawn from whatever lies there."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from jtransfer._internal.errors import RequestError
from jtransfer._internal.files import (
    remove_leftovers,
    write_text_atomically,
)
from jtransfer.pairs.results import PairSummary
from jtransfer.ranking import Row
from jtransfer.ranking.chosen import SELECTION_FILE, Selection
from jtransfer.ranking.tasks import TaskComparison
from jtransfer.report.pages.pair import pair_html
from jtransfer.report.pages.tasks import tasks_html
from jtransfer.report.pair import PAIR_FILE, read_pair
from jtransfer.report.ranking import ROWS_FILE, ranking_page, read_ranking
from jtransfer.report.selection import read_selection
from jtransfer.report.tasks import TASKS_FILE, read_tasks

_Result = TypeVar("_Result")


class Results(NamedTuple):
    """The results that lie in a folder; None where there are none of a kind."""

    ranking: list[Row] | None
    pair: PairSummary | None
    tasks: TaskComparison | None
    selection: Selection | None = None
    faults: Sequence[str] = ()
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
    faults: list[str] = []
    results = Results(
        ranking=_read_if_present(folder / ROWS_FILE, read_ranking, faults),
        pair=_read_if_present(folder / PAIR_FILE, read_pair, faults),
        tasks=_read_if_present(folder / TASKS_FILE, read_tasks, faults),
        selection=_read_if_present(folder / SELECTION_FILE, read_selection, faults),
        faults=faults,
    )
    if all(one is None for one in (results.ranking, results.pair, results.tasks)):
        names = ", ".join((ROWS_FILE, PAIR_FILE, TASKS_FILE))
        raise RequestError(
            "; ".join(faults) or f"{folder} holds none of {names}; make them first."
        )
    return results


def _read_if_present(
    path: Path, reader: Callable[[Path], _Result], faults: list[str]
) -> _Result | None:
    """The result in a file; None if it is absent, or damaged, which adds a fault."""
    if not path.exists():
        return None
    try:
        return reader(path.parent)
    except RequestError as error:
        faults.append(str(error))
        return None


def draw_pages(folder: Path) -> list[Path]:
    """Draws the pages of a folder from the results that lie there.

    Args:
      folder: a folder with results.

    Returns:
      The paths of the pages, each written atomically.

    Raises:
      RequestError: as `read_results`.
      FileError: if a page cannot be written.
    """
    results = read_results(folder)
    pages = {}
    if results.ranking is not None:
        pages["report.html"] = ranking_page(
            results.ranking, results.pair, results.selection
        )
    if results.pair is not None:
        pages["pair.html"] = pair_html(results.pair)
    if results.tasks is not None:
        pages["tasks.html"] = tasks_html(results.tasks)
    remove_leftovers(folder)
    for name, page in pages.items():
        write_text_atomically(folder / name, page)
    return [folder / name for name in pages]
