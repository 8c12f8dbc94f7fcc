"""The comparison of tasks -> one self-contained HTML page."""

from collections.abc import Mapping, Sequence

import numpy as np

from jtransfer.report.pages import charts, document, heat_maps
from jtransfer.report.pages.charts import escape, number, short
from jtransfer.report.pages.tasks_matrix import in_order, matrix, rows_of

_STYLE = """
.matrix { max-width: none; margin-top: 12px; }
.matrix rect { fill: var(--plus); rx: 3px; }
.matrix text { font-size: 13px; fill: var(--text); }
.matrix .cell { font-size: 12.5px; }
.matrix .rank { font-size: 10px; opacity: .7; }
.matrix .strong text { fill: #fff; }
.matrix .first rect { stroke: var(--chosen); stroke-width: 2.5; }
.matrix .head, .matrix .name { text-anchor: start; }
.matrix .tree { fill: none; stroke: var(--soft); stroke-width: 1.5; }
.pixel-maps { display: flex; flex-wrap: wrap; gap: 20px 24px; margin-top: 8px; }
.plain { width: auto; margin-top: 10px; }
"""


def tasks_html(found: Mapping) -> str:
    """Returns a comparison of tasks as one HTML page that needs no other file.

    Args:
      found: what `_tasks.report.structure` returns, or `tasks.json` holds.

    Returns:
      The page. The texts in `found` are escaped: they can bring in no markup.
    """
    parts = [_header(found), matrix(found), _bars(found)]
    parts += [_agreement(found), _pixel_maps(found), _notes(found)]
    style = f"<style>{_STYLE}</style>"
    return document.document("Which tasks help which", style + "".join(parts))


def _header(found: Mapping) -> str:
    counts = (
        (len(found["targets"]), "targets"),
        (len(found["sources"]) + len(found["failed"]), "sources"),
        (found["num_examples"], "examples"),
    )
    items = "".join(f"<li><b>{number(n)}</b> {name}</li>" for n, name in counts)
    created = escape(str(found["created"])[:16].replace("T", " "))
    failed = [f"{name} failed: {why}" for name, why in found["failed"].items()]
    warned = "".join(
        f"<li>{escape(text)}</li>" for text in (*failed, *found["warnings"])
    )
    if warned:
        warned = f"<aside><h2>Warnings</h2><ul>{warned}</ul></aside>"
    said = "".join(f"<p>{sentence}</p>" for sentence in _sentences(found))
    return (
        '<header><p class="kicker">H-scores of sources for targets</p>'
        f'<h1>Which tasks help which</h1><ul class="facts">{items}<li>{created}</li>'
        f'</ul><div class="verdict">{said}</div>{warned}</header>'
    )


def _sentences(found: Mapping) -> list[str]:
    """Says for each target which source it is best served by, and how surely."""
    if not found["sources"]:
        return ["No source could be scored."]
    clear, parts = 0, []
    for target in in_order(found):
        first, *others = rows_of(found, target["name"])
        tied = [row for row in others if row["group"] == first["group"]]
        clear += bool(others) and not tied
        beside = f" or {len(tied)} more" if len(tied) > 1 else ""
        names = [first, *tied[:1]] if len(tied) == 1 else [first]
        best = " or ".join(f"<b>{escape(row['source'])}</b>" for row in names)
        parts.append(f"{escape(target['name'])} from {best}{beside}")
    return [
        f"For <b>{clear} of {len(parts)}</b> targets one source is told apart from all "
        "others as the best, at 95%.",
        f"{'; '.join(parts)}.",
        "Higher is better; each row is read by itself, for H-scores of different "
        "targets have different ranges.",
    ]


def _bars(found: Mapping) -> str:
    """Draws the ranking of the sources for each target; one is shown at a time."""
    parts = []
    for i, target in enumerate(in_order(found)):
        rows = rows_of(found, target["name"])
        if not rows:
            continue
        chart = charts.interval_chart(
            [_mark(found, row) for row in rows],
            label=f"H-score of each source for {target['name']}",
            places=2 if rows[0]["value"] < 10 else 1,
        )
        tab = f'type="radio" name="target" id="target-{i}"{"" if i else " checked"}'
        title = escape(target["name"])
        parts.append(
            f'<input {tab}><label for="target-{i}">{title}</label><figure><figcaption>'
            f"<b>{title}.</b> {escape(_described(target))}{_LEGEND}</figcaption>"
            f"{chart}</figure>"
        )
    if not parts:
        return ""
    tabs = f"<fieldset><legend>Target</legend>{''.join(parts)}</fieldset>"
    return f"<section><h2>Sources for each target</h2>{tabs}</section>"


_LEGEND = (
    '<ul><li class="interval">value and 95% interval</li><li class="shade">what '
    'unrelated features give</li><li class="tie">cannot be told apart</li></ul>'
)


def _described(target: Mapping) -> str:
    pixels = target["shape"][0] * target["shape"][1]
    levels = "classes" if target["what"] == "classes" else "levels"
    text = f"{target['num_levels']} {levels}"
    if pixels > 1:
        height, width = target["shape"]
        return f"{text}, {height} x {width} pixels; the mean over the pixels."
    return f"{text}."


def _mark(found: Mapping, row: Mapping) -> charts.Mark:
    title = f"{row['source']}: {number(row['value'], 3)}"
    known = (row["rank"], row["group"], row["value"], row["low"], row["high"])
    index = found["sources"].index(row["source"])
    return charts.Mark(
        index, row["source"], title, *known, row["chance"], row["chance_high"]
    )


def _agreement(found: Mapping) -> str:
    if not found["agreement"]:
        return ""
    heads = ("Target", "Spearman", "DCG", "DCG of a random order")
    keys = ("spearman", "dcg", "chance_dcg")
    body = "".join(
        f'<tr><th scope="row">{escape(row["target"])}</th>'
        + "".join(f"<td>{number(row[key], 2)}</td>" for key in keys)
        + "</tr>"
        for row in found["agreement"]
    )
    heads = "".join(
        f'<th scope="col"{" class=text" * (head == "Target")}>'
        f'<button title="{head}">{head}</button></th>'
        for head in heads
    )
    return (
        "<section><h2>Against the second ranking</h2><p>Spearman: correlation of the "
        "ranks, from \N{MINUS SIGN}1 to 1. DCG: discounted cumulative gain, where a "
        "source is worth the number of sources that the second ranking puts below it, "
        "over the largest possible; a random order has most of it already.</p>"
        f'<div class="scroll"><table class="plain"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _pixel_maps(found: Mapping) -> str:
    """Draws where in the image each source helps, for each dense target."""
    parts = []
    for target in in_order(found):
        rows = [row for row in rows_of(found, target["name"]) if row["pixels"]][:4]
        if not rows:
            continue
        both = np.array([row["pixels"] for row in rows])
        maps = "".join(_pixel_map(row, both) for row in rows)
        parts.append(
            f'<h3>{escape(target["name"])}</h3><div class="pixel-maps">{maps}</div>'
        )
    if not parts:
        return ""
    return (
        "<section><h2>Where in the image</h2><p>The H-score of each pixel, of the best "
        "sources; lighter is higher, on one scale for each target. Sources that are "
        f"good at different places are worth combining.</p>{''.join(parts)}</section>"
    )


def _pixel_map(row: Mapping, everything: np.ndarray) -> str:
    return heat_maps.heat_map_svg(
        row["pixels"],
        title=short([row["source"]], 22)[0],
        low=float(everything.min()),
        high=float(everything.max()),
        size=180,
    )


def _notes(found: Mapping) -> str:
    facts: Sequence[tuple[str, object]] = (
        ("created", found["created"]),
        ("device", found["device"]),
        ("seed", found["seed"]),
        ("code hash", found["code_hash"]),
        *found["versions"].items(),
    )
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts)
    return (
        "<footer><h2>Notes</h2><p>H-score: the share of a feature's variance, in its "
        "own whitened space, that the classes explain; from 0 to the smaller of its "
        "dimension and the number of classes less one. Numbers and images are "
        "quantised to levels first. Intervals are at 95%: a jackknife over 10 blocks "
        "of examples. Chance is computed: n H has about the chi-squared distribution "
        "where features and labels are unrelated. Clusters: average linkage of the "
        "Euclidean distance between rows, each in units of its best.</p>"
        f'<h3>Provenance</h3><dl class="facts">{items}</dl></footer>'
    )
