"""The transport plan of the best source on the report page: class to class."""

from collections.abc import Mapping, Sequence

from jtransfer.report.pages.charts import escape, finite, number, short
from jtransfer.report.pages.ranking_text import RankingView, listed

_LEFT, _ANGLE = 156, -55
_FAINTEST = 0.01  # Of the largest mass: less is not drawn, or pages get megabytes.


def plan_section(ranking: RankingView) -> str:
    """Returns the plan of the first source that has one, with its explanation.

    Args:
      ranking: the rows; one with a `plan` holds names of source classes, a list of
        masses for each, and what it leaves out.

    Returns:
      A section as markup, empty without a plan.
    """
    for source in ranking.sources:
        row = ranking.cells.get((source, "sinkhorn"), {})
        if row.get("plan"):
            return _section(source, row)
    return ""


def _section(source: str, row: Mapping) -> str:
    plan, columns = row["plan"], [str(name) for name in row.get("class_names") or ()]
    names, masses = _ordered(plan["source_classes"], plan["masses"])
    if not columns and masses:
        columns = [str(i) for i in range(len(masses[0]))]
    chart = transport_plan_map(
        names, columns, masses, label=f"Transport plan of {source}"
    )
    left_out = finite(plan.get("left_out")) or 0
    partial = "most predicted " * (left_out >= 5e-4)
    rest = f" Classes not shown carry {left_out:.1%} of the mass." * bool(partial)
    return (
        "<section><h2>Which class stands for which</h2><p>How the Sinkhorn score "
        f"carries the predictions of {listed([source])} (rows: its {len(names)} "
        f"{partial}classes) to those of a student of the target (columns): the mean "
        f"plan over {number(row.get('n'))} examples. The darker, the more mass; a row "
        "with one dark cell is a class that stands for one of the target's."
        f'{rest}</p><div class="scroll">{chart}</div></section>'
    )


def _ordered(
    names: Sequence[str], masses: Sequence[Sequence[float]]
) -> tuple[list[str], list[Sequence[float]]]:
    """Puts rows with their largest mass in the same column side by side."""

    def place(i: int) -> tuple[int, float]:
        largest = max(masses[i])
        return list(masses[i]).index(largest), -largest

    order = sorted(range(len(names)), key=place)
    return [str(names[i]) for i in order], [masses[i] for i in order]


def transport_plan_map(
    rows: Sequence[str],
    columns: Sequence[str],
    masses: Sequence[Sequence[float]],
    *,
    label: str,
) -> str:
    """Returns a plan as a table of coloured cells, their masses on hovering.

    Args:
      rows: names of the source's classes.
      columns: names of the target's classes.
      masses: for each row the mass to each column, not negative.
      label: what the map shows, for who cannot see it.

    Returns:
      An SVG image as markup.
    """
    side = 26 if len(columns) <= 25 else 15
    top = 96 if max(map(len, columns), default=0) > 3 else 30
    largest = max((max(row) for row in masses if len(row)), default=0) or 1
    parts = [
        f'<text transform="translate({_LEFT + side * j + side // 2 + 3} {top - 6}) '
        f'rotate({_ANGLE})">{escape(name)}</text>'
        for j, name in enumerate(short(columns, 16))
    ]
    for i, (name, values) in enumerate(zip(short(rows), masses, strict=True)):
        y, total = top + side * i, sum(values) or 1
        parts.append(
            f'<text class="end" x="{_LEFT - 8}" y="{y + side // 2 + 4}">'
            f"{escape(name)}</text>"
            f'<rect class="row" x="{_LEFT}" y="{y}" height="{side - 1}" '
            f'width="{side * len(columns) - 1}"/>'
        )
        for j, mass in enumerate(values):
            if mass >= _FAINTEST * largest:
                said = f"{rows[i]} to {columns[j]}: {mass:.3g}, {mass / total:.0%}"
                parts.append(
                    f'<rect x="{_LEFT + side * j}" y="{y}" width="{side - 1}" '
                    f'height="{side - 1}" fill-opacity="{mass / largest:.2f}">'
                    f"<title>{escape(said)} of the row</title></rect>"
                )
    width, height = _LEFT + side * len(columns) + 70, top + side * len(rows) + 4
    return (
        f'<svg class="plan" role="img" aria-label="{escape(label)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'
    )
