"""A pair of networks -> one self-contained HTML page, or a panel of a ranking's."""

from collections.abc import Mapping, Sequence

from jtransfer.report.pages import charts, pair_charts
from jtransfer.report.pages.charts import escape, finite, number
from jtransfer.report.pages.document import document
from jtransfer.report.pages.pair_text import PAIR_NOTES, WAYS, pair_verdict

MAX_CLASSES = 40
"""Classes in the chart, at most; the table has all."""
FIRST_INDEX = 10_000
"""Of a measure: a pointer marks all that has one index, and sources start from 0."""
_MEASURES = (
    ("alpha1", "Alpha 1", tuple(WAYS)),
    ("alpha2", "Alpha 2", tuple(WAYS)),
    ("alpha12", "Alpha 1 \N{ASTERISK OPERATOR} 2", tuple(WAYS)),
    ("explained_gradient", "Gradients", ("of_target", "of_source")),
    ("explained_function", "Outputs", ("of_target", "of_source")),
)
_SHORT = {
    "to_source": "\N{RIGHTWARDS ARROW} source",
    "to_target": "\N{RIGHTWARDS ARROW} target",
    "of_target": "of target",
    "of_source": "of source",
}


def pair_html(found: Mapping) -> str:
    """Returns a pair as one HTML page that needs no other file.

    Args:
      found: as in `pair.json`.

    Returns:
      The page. The texts in it are escaped: they can bring in no markup.
    """
    source, target = (str(found[who]["name"]) for who in ("source", "target"))
    attack = found["attack"]
    facts = [
        f"<b>{number(found['n'])}</b> images of {escape(found['data'])}",
        f"PGD, largest change {number(attack['epsilon'])}",
        f"{number(attack['num_steps'])} steps",
        escape(str(found.get("created", ""))[:16].replace("T", " ")),
    ]
    for one in (found["target"], found["source"]):
        if finite(one["accuracy"]) is not None:
            right = f"{100 * one['accuracy']:.0f}%"
            facts.append(f"{escape(one['name'])} is right on {right}")
    items = "".join(f"<li>{fact}</li>" for fact in facts)
    header = (
        '<header><p class="kicker">Why one network serves to learn the task of another'
        f"</p><h1>{escape(source)} for {escape(target)}</h1>"
        f'<ul class="facts">{items}</ul>{_verdict(found)}</header>'
    )
    body = f"{header}{_sections(found)}{_notes(found)}"
    return document(f"{source} for {target}", body)


def pair_panel(found: Mapping) -> str:
    """Returns a pair as a part of the page of a ranking.

    Args:
      found: as in `pair.json`.

    Returns:
      Sections of markup.
    """
    source, target = (escape(found[who]["name"]) for who in ("source", "target"))
    shown = f"{number(found['n'])} images of {escape(found['data'])}"
    return (
        f'<section class="why"><h2>Why: {source} for {target}</h2><p>Attacks and '
        f"gradients of the two networks on {shown}.</p>{_verdict(found)}</section>"
        f"{_sections(found)}<details><summary>What these numbers say</summary>"
        f"{_meanings()}</details>"
    )


def _verdict(found: Mapping) -> str:
    said = "".join(f"<p>{sentence}</p>" for sentence in pair_verdict(found))
    warned = "".join(f"<li>{escape(text)}</li>" for text in found["warnings"])
    warned = f"<aside><h2>Warnings</h2><ul>{warned}</ul></aside>" if warned else ""
    return f'<div class="verdict">{said}</div>{warned}'


def _sections(found: Mapping) -> str:
    return f"{_measures(found)}{_classes(found)}{_spectra(found)}{_table(found)}"


def _measures(found: Mapping) -> str:
    marks = []
    for group, (key, title, ways) in enumerate(_MEASURES):
        for way in ways:
            row = found["measures"][key][way]
            keys = ("value", "low", "high", "chance", "chance_high")
            value, *others = (finite(row[key]) for key in keys)
            if value is None:
                continue
            name = f"{title} {_SHORT[way]}"
            ends = f"95% {number(others[0], 3)} to {number(others[1], 3)}"
            text = f"{name}: {number(value, 3)}; {ends}; chance {number(others[2], 3)}"
            index = FIRST_INDEX + len(marks)
            marks.append(charts.Mark(index, name, text, None, group, value, *others))
    if not marks:
        return ""
    chart = charts.interval_chart(
        marks, label="Measures of the pair", places=2, ends=(0,)
    )
    legend = (
        '<ul><li class="interval">value and 95% interval</li>'
        '<li class="hollow">not above chance</li>'
        '<li class="shade">examples paired wrongly</li></ul>'
    )
    return (
        "<section><h2>Attacks and gradients</h2><p>All between 0 and 1; higher is more "
        "alike. \N{RIGHTWARDS ARROW} source: attacks made on the target, fed to the "
        "source. Gradients, outputs of the target: the share of them that the best "
        "affine map of the source explains.</p>"
        f'<figure class="pair"><figcaption>{legend}</figcaption>{chart}</figure>'
        "</section>"
    )


def _classes(found: Mapping) -> str:
    rows = sorted(found["classes"], key=lambda row: -row["n"])[:MAX_CLASSES]
    kept = {id(row) for row in rows}
    bars = []
    for row in (row for row in found["classes"] if id(row) in kept):
        values = [
            tuple(finite(row["alpha1"][way][key]) for key in ("value", "low", "high"))
            for way in WAYS
        ]
        said = ", ".join(
            f"{WAYS[way]} {number(value[0], 3)}"
            for way, value in zip(WAYS, values, strict=True)
        )
        title = f"{row['name']}: {said}; {number(row['n'])} images"
        bars.append(pair_charts.Bars(str(row["name"]), title, values))
    if not bars:
        return ""
    chances = [found["measures"]["alpha1"][way]["chance"] for way in WAYS]
    chart = pair_charts.class_chart(bars, chances, label="Alpha 1 of each class")
    more = len(found["classes"]) - len(bars)
    more = f" The {len(bars)} classes with most images; all are below." if more else ""
    legend = "".join(
        f'<li class="swatch-{i}">{escape(name)}</li>'
        for i, name in enumerate(WAYS.values())
    )
    legend = f"<ul>{legend}<li class='swatch-chance'>chance, all classes</li></ul>"
    return (
        "<section><h2>Alpha 1, class by class</h2><p>Lines: 95% intervals of the mean."
        f"{more}</p><figure><figcaption>{legend}</figcaption>{chart}</figure>"
        f"{_class_table(found)}</section>"
    )


def _class_table(found: Mapping) -> str:
    known = [who for who in ("target", "source") if found[who]["accuracy"] is not None]
    heads = ["Class", "Images", *(f"Alpha 1, {name}" for name in WAYS.values())]
    heads += [f"Accuracy, {found[who]['name']}" for who in known]
    rows = [
        [
            str(row["name"]),
            (row["n"], 0),
            *((row["alpha1"][way]["value"], 3) for way in WAYS),
            *((row["accuracy"][who], 3) for who in known),
        ]
        for row in found["classes"]
    ]
    table = measures_table(heads, rows, label="Every class")
    return f"<details><summary>All classes as a table</summary>{table}</details>"


def _spectra(found: Mapping) -> str:
    series, items = [], []
    for i, who in enumerate(("target", "source")):
        values = [finite(value) or 0.0 for value in found["singular_values"][who]]
        name = str(found[who]["name"])
        series.append((name, values))
        first = number(values[0]) if values else "\N{EN DASH}"
        items.append(
            f'<li class="swatch-{i}">{escape(name)}: the first is {first}</li>'
        )
    chart = pair_charts.spectrum_chart(series, label="Singular values")
    return (
        "<section><h2>Singular values of the Jacobians</h2><p>By how much the outputs "
        "move for each direction of the input, from the strongest on: mean over the "
        "images, as a share of the first. A steep curve: one direction of attack is "
        "nearly all there is.</p><figure><figcaption><ul>"
        f"{''.join(items)}</ul></figcaption>{chart}</figure></section>"
    )


def _table(found: Mapping) -> str:
    titles = {key: title for key, title, _ in _MEASURES[:3]}
    titles["explained_function"] = "Explained outputs"
    heads = ("Measure", "Which", "Value", "95% from", "to", "Chance", "Most possible")
    rows = []
    for key, ways in found["measures"].items():
        for way, row in ways.items():
            numbers = [row[name] for name in ("value", "low", "high", "chance")]
            cells = [(value, 3) for value in [*numbers, row.get("ceiling")]]
            squares = [(row.get(name), 3) for name in ("square", "unbiased_square")]
            title = titles.get(key, str(key).replace("_", " ").capitalize())
            named = [title, WAYS.get(way, _SHORT[way])]
            rows.append([*named, *cells, *squares])
    heads = (*heads, "Square", "Unbiased square")
    table = measures_table(heads, rows, label="All numbers of the pair")
    return f"<section><h2>All numbers of the pair</h2>{table}</section>"


def measures_table(
    heads: Sequence[str], rows: Sequence[Sequence], *, label: str
) -> str:
    """Returns a table; a cell is a text, or a number and its decimals."""
    top = "".join(
        f'<th scope="col"{_text_style(i)}><button>{escape(head)}</button></th>'
        for i, head in enumerate(heads)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row, range(99)))}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _text_style(column: int) -> str:
    return "" if column else ' class="text"'


def _cell(cell: object, column: int) -> str:
    if isinstance(cell, str):
        tag = "td" if column else 'th scope="row"'
        return f'<{tag} class="text">{escape(cell)}</{tag.split()[0]}>'
    value, places = cell
    if finite(value) is None:
        return "<td>\N{EN DASH}</td>"
    return f'<td data-v="{value:.7g}">{number(value, places)}</td>'


def _notes(found: Mapping) -> str:
    facts = {
        name: found.get(name) for name in ("device", "seed", "seconds", "data_hash")
    }
    facts["code hash"] = found.get("code_hash")
    for who in ("target", "source"):
        one = found[who]
        facts[who] = (
            f"{one['name']}, {number(one['num_outputs'])} outputs, {one['hash']}"
        )
        facts[f"{who}, accuracy here"] = number(one["accuracy"], 3)
    facts |= found.get("versions") or {}
    facts = "".join(
        f"<dt>{escape(str(name).replace('_', ' '))}</dt><dd>{escape(value)}</dd>"
        for name, value in facts.items()
    )
    return (
        f"<footer><h2>Notes</h2>{_meanings()}<h3>Provenance</h3>"
        f'<dl class="facts">{facts}</dl></footer>'
    )


def _meanings() -> str:
    said = "".join(
        f"<dt>{name}</dt><dd>{text}</dd>" for name, text in PAIR_NOTES.items()
    )
    return f'<dl class="notes">{said}</dl>'
