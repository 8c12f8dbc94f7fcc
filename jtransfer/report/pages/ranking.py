"""The rows of a ranking -> one self-contained HTML page."""

import math
from collections.abc import Iterable, Mapping, Sequence

from jtransfer.report.pages import charts, plan_map
from jtransfer.report.pages.charts import escape, finite, number
from jtransfer.report.pages.document import document
from jtransfer.report.pages.pair import pair_panel
from jtransfer.report.pages.ranking_text import (
    METHOD,
    RankingView,
    chance_words,
    concerns,
    note,
    ranking_verdict,
    ranking_view,
)
from jtransfer.report.pages.score_table import places_of, score_table_html

_AGREEMENT = (
    ("pearson", "Pearson", 2),
    ("spearman", "Spearman", 2),
    ("weighted_kendall", "w. Kendall", 2),
    ("regret_1", "regret@1", 3),
    ("regret_3", "regret@3", 3),
)


def ranking_html(
    rows: Iterable[Mapping],
    agreement: Iterable[Mapping] = (),
    rank_correlation: Mapping | None = None,
    pair: Mapping | None = None,
) -> str:
    """Returns a ranking as one HTML page that needs no other file.

    Args:
      rows: one dict per source and score, as in `ranking.jsonl`. The first score
        orders the page. A row without a score is a source that failed.
      agreement: one dict per score, its agreement with the accuracy after transfer:
        `score, pearson, spearman, weighted_kendall, regret_1, regret_3, n_sources`.
      rank_correlation: `scores`, and `matrix` with their Spearman correlations.
      pair: a pair of networks, as in `pair.json`, shown below the ranking; or None.

    Returns:
      The page. The texts in `rows` are escaped: they can bring in no markup.
    """
    ranking = ranking_view(rows)
    sections = [_header(ranking), _panels(ranking), score_table_html(ranking)]
    sections += [_scatters(ranking, agreement), _heat_map(rank_correlation or {})]
    sections += [plan_map.plan_section(ranking), pair_panel(pair) if pair else ""]
    body = f"{''.join(sections)}{_notes(ranking)}"
    return document(f"Transfer to {_target(ranking)}", body)


def _target(ranking: RankingView) -> str:
    targets = (row["target"] for row in ranking.rows if row.get("target"))
    return str(next(targets, "the target"))


def _header(ranking: RankingView) -> str:
    found = [
        (name, max((finite(row.get(key)) or 0 for row in ranking.rows), default=0))
        for key, name in (("n", "labelled examples"), ("num_classes", "classes"))
    ]
    found.append(("sources", len(ranking.sources) + len(ranking.failed)))
    items = [
        f"<li><b>{number(value)}</b> {name}</li>" for name, value in found if value
    ]
    created = max(str(row.get("created") or "") for row in [{}, *ranking.rows])
    items.append(f"<li>{escape(created[:16].replace('T', ' '))}</li>")
    warned = [
        (text, score, source)
        for (source, score), row in ranking.cells.items()
        for text in row.get("warnings") or ()
    ]
    warned = concerns(warned, ranking)
    warned = f"<aside><h2>Warnings</h2>{warned}</aside>" if warned else ""
    said = "".join(f"<p>{sentence}</p>" for sentence in ranking_verdict(ranking))
    return (
        '<header><p class="kicker">Which source to transfer from</p>'
        f'<h1>{escape(_target(ranking))}</h1><ul class="facts">{"".join(items)}</ul>'
        f'<div class="verdict">{said}</div>{warned}</header>'
    )


def _mark(ranking: RankingView, row: Mapping, places: int) -> charts.Mark:
    keys = ("low", "high", "chance", "chance_high", "beats_next")
    low, high, chance, chance_high, odds = (finite(row.get(key)) for key in keys)
    parts = [f"{row['source']}: {number(row['value'], places)}"]
    if low is not None and high is not None:
        parts.append(f"95% {number(low, places)} to {number(high, places)}")
    parts += [f"chance {number(chance, places)}"] * (chance is not None)
    parts += [f"beats the next: {number(odds, 2)}"] * (odds is not None)
    index, title = ranking.sources.index(row["source"]), "; ".join(parts)
    known = (row.get("rank"), row.get("group"), row["value"])
    return charts.Mark(
        index, row["source"], title, *known, low, high, chance, chance_high
    )


def _panels(ranking: RankingView) -> str:
    """Draws a chart for each score; one is shown at a time, without a script."""
    parts = []
    for i, score in enumerate(filter(ranking.ranked, ranking.scores)):
        title, words = map(escape, note(score))
        places = places_of(ranking, score)
        marks = [_mark(ranking, row, places) for row in ranking.ranked(score)]
        label = f"{note(score)[0]} of each source"
        chart = charts.interval_chart(marks, label=label, places=places)
        tab = f'type="radio" name="score" id="score-{i}"{"" if i else " checked"}'
        words += _legend(marks, score)
        parts.append(
            f'<input {tab}><label for="score-{i}">{title}</label><figure><figcaption>'
            f"<b>{title}.</b> {words}</figcaption>{chart}</figure>"
        )
    tabs = f"<fieldset><legend>Score</legend>{''.join(parts)}</fieldset>"
    return f"<section><h2>Ranking</h2>{tabs}</section>" if parts else ""


def _legend(marks: Sequence[charts.Mark], score: str) -> str:
    groups = [mark.group for mark in marks if mark.group is not None]
    keys = [
        (any(m.low is not None for m in marks), "interval", "value and 95% interval"),
        (any(map(charts.at_chance, marks)), "hollow", "not above chance"),
        (any(m.chance_high is not None for m in marks), "shade", chance_words(score)),
        (len(set(groups)) < len(groups), "tie", "cannot be told apart"),
    ]
    items = [f'<li class="{css}">{name}</li>' for shown, css, name in keys if shown]
    return f"<ul>{''.join(items)}</ul>"


def _scatters(ranking: RankingView, agreement: Iterable[Mapping]) -> str:
    """Draws each score against the accuracy after transfer, where that is known."""
    truth, parts, size = ranking.accuracies(), [], 0
    upward = charts.axis(list(truth.values()))
    for found in agreement:
        rows = ranking.ranked(str(found.get("score")))
        rows = [row for row in rows if row["source"] in truth]
        if not rows:
            continue
        title, size = note(str(found["score"]))[0], max(size, len(rows))
        points = []
        for row in rows:
            source, value = row["source"], row["value"]
            text = f"{source}: {number(value)}, accuracy {number(truth[source], 3)}"
            points.append((ranking.sources.index(source), text, value, truth[source]))
        axes = (charts.axis([row["value"] for row in rows]), upward)
        chart = charts.scatter(points, axes, label=f"{title} against accuracy")
        numbers = "".join(
            f"<div><dt>{name}</dt><dd>{number(found.get(key), places)}</dd></div>"
            for key, name, places in _AGREEMENT
        )
        head = f"<h3>{escape(title)}</h3>"
        parts.append(f"<figure>{head}{chart}<dl>{numbers}</dl></figure>")
    if not parts:
        return ""
    least = f"{math.tanh(1.96 / math.sqrt(size - 3)):.2f}" if size > 3 else "1"
    return (
        "<section><h2>Against the accuracy after transfer</h2><p>Each dot is a source: "
        "its score across, its accuracy measured after transfer up. Orange: the first "
        "choice of the score (the worst of equals), and what it loses to the best. "
        "Regret@k: the accuracy lost by trying the first k. Over these "
        f"{size} sources a correlation below about {least} is no evidence.</p>"
        f'<div class="multiples">{"".join(parts)}</div></section>'
    )


def _heat_map(found: Mapping) -> str:
    names = [note(str(score))[0] for score in found.get("scores") or ()]
    if len(names) < 2:
        return ""
    chart = charts.heat_map(names, found["matrix"], label="Agreement between scores")
    return (
        "<section><h2>Do the scores agree?</h2><p>Spearman correlation between the "
        "orders that two scores give to the sources. 1: the same, 0: unrelated, "
        f'\N{MINUS SIGN}1: reversed.</p><div class="scroll">{chart}</div></section>'
    )


def _notes(ranking: RankingView) -> str:
    said = [map(escape, note(score)) for score in ranking.scores]
    said = "".join(f"<dt>{title}</dt><dd>{words}</dd>" for title, words in said)
    facts = {}
    for row in ranking.rows:
        for name in ("created", "device", "seed", "target_hash", "code_hash"):
            if row.get(name) is not None:
                facts.setdefault(name.replace("_", " "), {})[str(row[name])] = None
        for name, version in (row.get("versions") or {}).items():
            facts.setdefault(str(name), {})[str(version)] = None
        if row.get("source_hash"):
            text = f"{row['source']} {row['source_hash']}"
            facts.setdefault("source hashes", {})[text] = None
    parts = []
    for name, values in facts.items():
        text = ", ".join(map(escape, values))
        if len(values) > 3:
            text = f"<details><summary>{len(values)}</summary>{text}</details>"
        parts.append(f"<dt>{escape(name)}</dt><dd>{text}</dd>")
    return (
        f'<footer><h2>Notes</h2><dl class="notes">{said}</dl>'
        f"<h3>Intervals and chance</h3><p>{METHOD}</p><h3>Provenance</h3>"
        f'<dl class="facts">{"".join(parts)}</dl></footer>'
    )
