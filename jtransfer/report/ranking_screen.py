"""A ranking as tables on the screen."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from jtransfer.ranking import Row, Scored, agreements
from jtransfer.report.ranking import failure_lines, warning_lines
from jtransfer.report.screen import (
    console,
    decimal,
    line_width,
    plain_table,
    print_notes,
    text,
)

if TYPE_CHECKING:
    from rich.table import Table

_Column = tuple[str, list[str]]  # the heading, and a cell a source


def show_ranking(rows: Sequence[Row]) -> None:
    """Prints a ranking as a table, with its warnings and failures."""
    screen = console()
    screen.print(ranking_table(rows, width=line_width()))
    table = agreement_table(rows)
    if table is not None:
        screen.print(table)
    print_notes(warning_lines(rows), failure_lines(rows))


def ranking_table(rows: Sequence[Row], *, width: int) -> "Table":
    """Returns the ranking as a `rich` table, in the order of the first score.

    Args:
      rows: rows of a ranking.
      width: characters in a line; scores that do not fit are left out.

    Returns:
      The table.
    """
    scored = [row for row in rows if isinstance(row, Scored)]
    by_source: dict[str, dict[str, Scored]] = {}
    for row in scored:
        by_source.setdefault(row.source, {})[row.score] = row
    primary, *others = dict.fromkeys(row.score for row in scored) or ["score"]
    ordered = [scores for scores in by_source.values() if primary in scores]
    columns = _columns(ordered, primary, others)
    shown = _fitting(columns, width)
    heads = [heading.replace(" ", "\n") for heading, _ in shown]
    caption = _caption(scored, len(columns) - len(shown))
    table = plain_table(heads, caption=caption, num_left=0, wrap=False)
    table.columns[1].justify = "left"
    groups = [scores[primary].group for scores in ordered]
    for position in range(len(ordered)):
        ends_group = groups[position : position + 2][-1] != groups[position]
        cells = (text(cells[position]) for _, cells in shown)
        table.add_row(*cells, end_section=ends_group)
    return table


def _columns(
    ordered: Sequence[Mapping[str, Scored]], primary: str, others: list[str]
) -> list[_Column]:
    def column(heading: str, cell: Callable[[Scored], str]) -> _Column:
        cells = [cell(scores[primary]) for scores in ordered]
        return heading.replace("_", " "), cells

    columns = [
        column("", lambda row: str(row.rank)),
        column("source", lambda row: row.source),
        column(primary, _cell_with_error),
        column("chance", lambda row: decimal(row.chance)),
        column("beats next", _odds),
    ]
    if any("accuracy" in scores[primary].facts for scores in ordered):
        columns.append(
            column("accuracy", lambda row: decimal(row.facts.get("accuracy")))
        )
    # The baseline to beat stands next to the deciding score.
    others = sorted(others, key=lambda name: name != "ridge_probe")
    for name in others:
        cells = [_cell(scores.get(name)) for scores in ordered]
        columns.append((name.replace("_", " "), cells))
    return columns


def _fitting(columns: Sequence[_Column], width: int) -> list[_Column]:
    used, shown = 6, []
    for heading, cells in columns:
        used += max(map(len, [*heading.split(), *cells]), default=0) + 3
        # Rank, source and the deciding score are shown however narrow the terminal.
        if len(shown) < 3 or used < width:
            shown.append((heading, cells))
    return shown


def _cell(row: Scored | None) -> str:
    if row is None:
        return "-"
    return f"{row.value:,.0f}" if row.score == "parameters" else decimal(row.value)


def _cell_with_error(row: Scored) -> str:
    if row.standard_error is None:
        return _cell(row)
    return f"{_cell(row)} ±{decimal(row.standard_error)}"


def _odds(row: Scored) -> str:
    return "" if row.beats_next is None else decimal(row.beats_next, 2)


def _caption(scored: Sequence[Scored], num_hidden: int) -> str:
    if not scored:
        return "No source could be scored."
    row = next((row for row in scored if row.n is not None), scored[0])
    target = "target" if row.run is None else row.run.target
    n, num_classes = ("?" if x is None else x for x in (row.n, row.num_classes))
    hidden = f"; {num_hidden} more columns in the report" if num_hidden else ""
    return (
        f"{target}: {n} examples, {num_classes} classes. ± one standard error. A gap "
        f"ends each group of sources that {row.score} cannot tell apart{hidden}."
    )


def agreement_table(rows: Sequence[Row]) -> "Table | None":
    """Returns how well each score predicted the accuracies, or None if none is known.

    Args:
      rows: rows of a ranking.

    Returns:
      A `rich` table.
    """
    by_score = agreements(rows)
    if not by_score:
        return None
    table = plain_table(
        ("score", "Pearson", "Spearman", "weighted Kendall", "regret@1", "regret@3"),
        caption=f"Correlation with the accuracy of {by_score[0].n_sources} sources; "
        "the accuracy lost by choosing the first, or the best of the first three.",
    )
    for row in by_score:
        numbers = (row.pearson, row.spearman, row.weighted_kendall)
        regrets = (row.regret_1, row.regret_3)
        cells = map(decimal, (*numbers, *regrets))
        table.add_row(row.score.replace("_", " "), *cells)
    return table
