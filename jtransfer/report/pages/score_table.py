"""The sortable table of the report page."""

from collections.abc import Iterable, Mapping

from jtransfer.report.pages.charts import decimals, escape, finite, number
from jtransfer.report.pages.ranking_text import RankingView, concerns, note


def _decimals(values: Iterable[object], errors: Iterable[object] = ()) -> int:
    """Returns how many decimals of a column are worth printing."""
    values = [value for value in map(finite, values) if value is not None]
    errors = sorted(error for error in map(finite, errors) if error and error > 0)
    if errors:
        return decimals(errors[len(errors) // 2] / 5)
    span = max(values, default=0) - min(values, default=0)
    return decimals(span / 100 or 0.01) if any(value % 1 for value in values) else 0


def places_of(ranking: RankingView, score: str) -> int:
    """Returns how many decimals of a score's values are worth printing."""
    rows = ranking.ranked(score)
    errors = [row.get("standard_error") for row in rows]
    return _decimals([row["value"] for row in rows], errors)


def score_table_html(ranking: RankingView) -> str:
    """Returns every number of every source; a click on a head sorts."""
    columns = _columns(ranking)
    places = {score: places_of(ranking, score) for score in ranking.scores}
    rows = []
    for i, source in enumerate(ranking.sources):
        found = {s: ranking.cells.get((source, s), {}) for s in ranking.scores}
        cells = [_cell(found[ranking.scores[0]].get("rank")), _source_cell(source)]
        cells += [_score_cell(row, places[score]) for score, row in found.items()]
        cells += [column[i] for column in columns.values()]
        rows.append(f'<tr data-s="{i}">{"".join(cells)}</tr>')
    failed, span = [], max(len(ranking.scores) + len(columns), 1)
    for name, why in ranking.failed.items():
        why = f'<td class="text" colspan="{span}">failed: {escape(why)}</td>'
        failed.append(f"<tr>{_cell(None)}{_source_cell(name)}{why}</tr>")
    heads = ["#", "Source", *ranking.scores, *columns]
    styles = ["", "text"] + [""] * len(ranking.scores)
    styles += ["text" * ('class="text"' in "".join(c)) for c in columns.values()]
    heads = "".join(
        f'<th scope="col" class="{style}"><button title="{escape(name)}">'
        f"{escape(note(name)[0].replace('_', ' '))}</button></th>"
        for style, name in zip(styles, heads, strict=True)
    )
    missing = [(row.get("reason"), *key[::-1]) for key, row in ranking.cells.items()]
    missing = concerns(missing, ranking)
    missing = f"<h3>Not computed</h3>{missing}" if missing else ""
    return (
        "<section><h2>All numbers</h2><p>Value \N{PLUS-MINUS SIGN} standard error. "
        "Bold: cannot be told from the best of the column. A click on a head sorts.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="All numbers">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
        f"<tbody>{''.join(failed)}</tbody></table></div>{missing}</section>"
    )


def _columns(ranking: RankingView) -> dict[str, list[str]]:
    """Returns the cells beside the scores: facts of the run, and declared, no lists."""
    named = dict.fromkeys(k for row in ranking.rows for k in row.get("facts") or ())
    truth, runs = ranking.accuracies(), {"n": [], "d": [], "Seconds": []}
    for source in ranking.sources:
        rows = [ranking.cells.get((source, score), {}) for score in ranking.scores]
        for name in ("n", "d"):
            runs[name].append(max(finite(row.get(name)) or 0 for row in rows))
        # Scores that share a run repeat its time, which then counts once.
        runs["Seconds"].append(sum({finite(row.get("seconds")) or 0 for row in rows}))
    columns = {"Accuracy after transfer": list(map(truth.get, ranking.sources))}
    columns = {**(columns if truth else {}), **runs}
    for name in named:
        values = [ranking.fact(source, name) for source in ranking.sources]
        plain = not any(isinstance(value, list | dict) for value in values)
        if plain and name != "accuracy" and name not in ranking.scores:
            columns[str(name)] = values
    return {
        name: [_cell(value, _decimals(values)) for value in values]
        for name, values in columns.items()
    }


def _source_cell(name: str) -> str:
    title = f' title="{escape(name)}"' if len(name) > 20 else ""
    return f'<th scope="row"{title}>{escape(name)}</th>'


def _cell(value: object, places: int | None = None) -> str:
    if finite(value) is not None:
        return f'<td data-v="{value:.7g}">{number(value, places)}</td>'
    if value is None or value != value:
        return "<td>\N{EN DASH}</td>"
    text = str(value)
    text = escape(text if len(text) < 90 else f"{text[:89]}\N{HORIZONTAL ELLIPSIS}")
    title = f' title="{text}"' if len(text) > 20 else ""
    return f'<td class="text"{title}>{text}</td>'


def _score_cell(row: Mapping, places: int) -> str:
    value, error = finite(row.get("value")), finite(row.get("standard_error"))
    if value is None:
        why = row.get("reason") or "the value is not finite"
        return f'<td title="{escape(why)}">\N{EN DASH}</td>'
    style = ' class="best"' if row.get("group") == 1 else ""
    text = number(value, places)
    if error is not None:
        text += f"<small>\N{PLUS-MINUS SIGN}{number(error, places)}</small>"
    return f'<td data-v="{value:.7g}"{style}>{text}</td>'
