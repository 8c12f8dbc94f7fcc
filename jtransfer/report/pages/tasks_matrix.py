"""The matrix of H-scores as a picture: a tree of the targets, and a cell a source."""

from collections.abc import Mapping

import numpy as np
import scipy.cluster.hierarchy

from jtransfer.report.pages.charts import escape, number, short

CELL, ROW, TREE, NAMES, TOP = 66, 34, 150, 150, 96
"""Sizes in pixels: a cell, a row, the tree, the names, the heads."""
MAX_MATRIX_COLUMNS = 40
"""Most sources in the matrix; the bars have all of them."""


def matrix(found: Mapping) -> str:
    """Returns the section of the matrix, its rows clustered, the tree beside them."""
    if not found["sources"]:
        return ""
    columns, targets = _columns(found), in_order(found)
    left = (TREE if found["linkage"] else 0) + NAMES
    parts = [_tree(found)] if found["linkage"] else []
    for j, name in enumerate(short(columns, 16)):
        place = f"translate({left + CELL * j + 24} {TOP - 8}) rotate(-35)"
        parts.append(f'<text class="head" transform="{place}">{escape(name)}</text>')
    names = short([target["name"] for target in targets], 20)
    for i, (name, target) in enumerate(zip(names, targets, strict=True)):
        y = TOP + ROW * i
        parts.append(
            f'<text class="name" x="{left - NAMES}" y="{y + 21}">{escape(name)}</text>'
        )
        cells = {row["source"]: row for row in rows_of(found, target["name"])}
        parts += [
            _cell(cells[name], left + CELL * j, y) for j, name in enumerate(columns)
        ]
    width, height = left + CELL * len(columns) + 90, TOP + ROW * len(targets) + 4
    said = " The tree joins targets that the same sources help."
    said = said if found["linkage"] else ""
    said += " The first ones are shown." * (len(columns) < len(found["sources"]))
    return (
        "<section><h2>The matrix</h2><p>A row is a target, a column a source: its "
        "H-score, shaded by its share of the best in the row, with its rank. Orange: "
        f"the first.{said}</p>"
        f'<div class="scroll"><svg class="matrix" role="img" width="{width}" '
        f'height="{height}" aria-label="H-score of each source for each target">'
        f"{''.join(parts)}</svg></div></section>"
    )


def _cell(row: Mapping, x: int, y: int) -> str:
    share = min(max(row["share"], 0), 1)
    title = (
        f"{row['target']} from {row['source']}: {number(row['value'], 3)}, 95% "
        f"{number(row['low'], 3)} to {number(row['high'], 3)}, chance "
        f"{number(row['chance'], 3)}; {number(100 * share, 0)}% of the best"
    )
    style = "strong" * (share**2 > 0.7) + " first" * (row["rank"] == 1)
    return (
        f'<g class="{style}"><title>{escape(title)}</title><rect x="{x + 2}" '
        f'y="{y + 2}" width="{CELL - 4}" height="{ROW - 4}" '
        f'fill-opacity="{share**2:.3f}"/><text class="cell" x="{x + 27}" y="{y + 21}">'
        f'{_short_number(row["value"])}</text><text class="rank" x="{x + 54}" '
        f'y="{y + 21}">{row["rank"]}</text></g>'
    )


def _short_number(value: float) -> str:
    return number(value, 2 if abs(value) < 10 else 1)


def _tree(found: Mapping) -> str:
    """Draws the dendrogram to the left of the rows, its root furthest left."""
    drawn = scipy.cluster.hierarchy.dendrogram(np.array(found["linkage"]), no_plot=True)
    most = max(max(height) for height in drawn["dcoord"]) or 1
    paths = []
    # Leaf i lies at 10 i + 5; each merge is a bracket of four points.
    for places, heights in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        ys = [TOP + ROW * place / 10 for place in places]
        xs = [(TREE - 16) * (1 - height / most) + 8 for height in heights]
        points = [f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True)]
        title = f"distance {number(max(heights), 2)}"
        paths.append(f'<path d="M{"L".join(points)}"><title>{title}</title></path>')
    return f'<g class="tree">{"".join(paths)}</g>'


def in_order(found: Mapping) -> list[Mapping]:
    """Returns the targets in the order of the dendrogram."""
    targets = found["targets"]
    return [targets[i] for i in found["leaves"] or range(len(targets))]


def rows_of(found: Mapping, target: str) -> list[Mapping]:
    """Returns the sources' rows for a target, the best first."""
    return [row for row in found["rows"] if row["target"] == target]


def _columns(found: Mapping) -> list[str]:
    """The sources, those with the name of a target in the order of the targets."""
    order = [t["name"] for t in in_order(found) if t["name"] in found["sources"]]
    order += [name for name in found["sources"] if name not in order]
    return order[:MAX_MATRIX_COLUMNS]
