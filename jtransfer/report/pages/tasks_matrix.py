"""The matrix of H-scores as a picture: a tree of the targets, and a cell a source."""

from collections.abc import Sequence

import numpy as np
import scipy.cluster.hierarchy
from markupsafe import Markup

from jtransfer.ranking.task_scores import TaskScored
from jtransfer.ranking.tasks import TaskComparison, TaskFacts
from jtransfer.report.pages.charts import joined
from jtransfer.report.pages.formats import number, short

_CELL, _ROW, _TREE, _NAMES, _TOP = 66, 34, 150, 150, 96
"""Sizes in pixels: a cell, a row, the tree, the names, the heads."""
MAX_MATRIX_COLUMNS = 40
"""Most sources in the matrix; the bars have all of them."""


def ordered_targets(comparison: TaskComparison) -> list[TaskFacts]:
    """Returns the targets in the order of the dendrogram."""
    if comparison.leaves is None:
        return list(comparison.targets)
    return [comparison.targets[i] for i in comparison.leaves]


def target_rows(comparison: TaskComparison, target: str) -> list[TaskScored]:
    """Returns the sources' rows for a target, the best first."""
    return [row for row in comparison.rows if row.score == target]


def h_score_matrix(comparison: TaskComparison) -> Markup:
    """Returns the H-scores as coloured cells, rows clustered, the tree beside them."""
    columns, targets = _columns(comparison), ordered_targets(comparison)
    left, tree = _NAMES, Markup()
    if comparison.linkage is not None:
        left, tree = _NAMES + _TREE, _tree(comparison.linkage)
    names = short([target.name for target in targets], 20)
    rows = (
        _target_row(comparison, target.name, name, left, _TOP + _ROW * i)
        for i, (name, target) in enumerate(zip(names, targets, strict=True))
    )
    return Markup(
        '<svg class="matrix" role="img" width="{width}" height="{height}" '
        'aria-label="H-score of each source for each target">{tree}{heads}{rows}</svg>'
    ).format(
        width=left + _CELL * len(columns) + 90,
        height=_TOP + _ROW * len(targets) + 4,
        tree=tree,
        heads=_source_heads(columns, left),
        rows=joined(rows),
    )


def _source_heads(names: Sequence[str], left: int) -> Markup:
    head = Markup(
        '<text class="head" transform="translate({} {}) rotate(-35)">{}</text>'
    )
    return joined(
        head.format(left + _CELL * j + 24, _TOP - 8, name)
        for j, name in enumerate(short(names, 16))
    )


def _target_row(
    comparison: TaskComparison, target: str, name: str, left: int, y: int
) -> Markup:
    """The name of a target, cut to its place, and a cell for each source."""
    rows = {row.source: row for row in target_rows(comparison, target)}
    shares = _shares(comparison, target)
    label = Markup('<text class="name" x="{}" y="{}">{}</text>')
    cells = (
        _cell(rows[source], shares[source], left + _CELL * j, y)
        for j, source in enumerate(_columns(comparison))
    )
    return joined([label.format(left - _NAMES, y + 21, name), *cells])


def _shares(comparison: TaskComparison, target: str) -> dict[str, float]:
    """Scores as a share of the best source's, by source, between 0 and 1."""
    column = [facts.name for facts in comparison.targets].index(target)
    rows = zip(comparison.sources, comparison.normalized, strict=True)
    return {source: min(max(row[column], 0), 1) for source, row in rows}


def _cell(row: TaskScored, share: float, x: int, y: int) -> Markup:
    styles = []
    if share**2 > 0.7:
        styles.append("strong")
    if row.rank == 1:
        styles.append("first")
    return _CELL_MARKUP.format(
        style=" ".join(styles),
        title=_cell_title(row, share),
        left=x + 2,
        top=y + 2,
        width=_CELL - 4,
        height=_ROW - 4,
        opacity=share**2,
        middle=x + 27,
        foot=y + 21,
        value=number(row.value, 2 if abs(row.value) < 10 else 1),
        right=x + 54,
        rank=row.rank,
    )


_CELL_MARKUP = Markup(
    '<g class="{style}"><title>{title}</title><rect x="{left}" y="{top}" '
    'width="{width}" height="{height}" fill-opacity="{opacity:.3f}"/>'
    '<text class="cell" x="{middle}" y="{foot}">{value}</text>'
    '<text class="rank" x="{right}" y="{foot}">{rank}</text></g>'
)


def _cell_title(row: TaskScored, share: float) -> str:
    return (
        f"{row.score} from {row.source}: {number(row.value, 3)}, 95% "
        f"{number(row.low, 3)} to {number(row.high, 3)}, chance "
        f"{number(row.chance, 3)}; {number(100 * share, 0)}% of the best"
    )


def _tree(linkage: Sequence[Sequence[float]]) -> Markup:
    """Draws the dendrogram to the left of the rows, its root furthest left."""
    drawn = scipy.cluster.hierarchy.dendrogram(np.array(linkage), no_plot=True)
    most = max(max(height) for height in drawn["dcoord"]) or 1
    path = Markup('<path d="M{}"><title>distance {}</title></path>')
    paths = []
    # Leaf i lies at 10 i + 5; each merge is a bracket of four points.
    for places, heights in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        ys = [_TOP + _ROW * place / 10 for place in places]
        xs = [(_TREE - 16) * (1 - height / most) + 8 for height in heights]
        points = [f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True)]
        paths.append(path.format("L".join(points), number(max(heights), 2)))
    return Markup('<g class="tree">{}</g>').format(joined(paths))


def _columns(comparison: TaskComparison) -> list[str]:
    """The sources, those with the name of a target in the order of the targets."""
    targets = [target.name for target in ordered_targets(comparison)]
    named = [name for name in targets if name in comparison.sources]
    others = [name for name in comparison.sources if name not in named]
    return [*named, *others][:MAX_MATRIX_COLUMNS]
