"""A pair of networks -> one self-contained HTML page, or a part of a ranking's."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from jtransfer.pairs.results import ClassMeasures, PairSummary
from jtransfer.report.pages import charts, pair_charts
from jtransfer.report.pages.document import document
from jtransfer.report.pages.formats import finite, number
from jtransfer.report.pages.pair_examples import ExampleView, example_views
from jtransfer.report.pages.pair_text import (
    TO_SOURCE,
    TO_TARGET,
    NamedMeasure,
    all_measures,
    attack_words,
    charted_measures,
    pair_verdict,
    percent,
)
from jtransfer.report.pages.pair_theorems import TheoremView, theorem_view
from jtransfer.report.pages.provenance import pair_provenance
from jtransfer.report.pages.tables import (
    Cell,
    Head,
    TableView,
    number_cell,
)

MAX_CLASSES = 40
"""Classes in the chart, at most; the table has all."""
FIRST_INDEX = 10_000
"""Of a measure: a pointer marks all that has one index, and sources start from 0."""


class AccuracyLine(NamedTuple):
    """The accuracy of a network on the images, in words."""

    name: str
    percent: str


class PairView(NamedTuple):
    """A pair of networks as pages show it."""

    summary: PairSummary
    accuracies: list[AccuracyLine]
    attack: str
    verdict: list[Markup]
    measures_chart: Markup | None
    """None where no measure is a number."""
    num_drawn: int
    """Classes in `class_chart`."""
    class_chart: Markup
    class_table: TableView
    examples: list[ExampleView]
    """Empty of files of versions before this one."""
    curves: list[pair_charts.Curve]
    spectrum_chart: Markup
    theorems: TheoremView | None
    """None in files of versions before this one."""
    table: TableView


def pair_html(pair: PairSummary) -> str:
    """Returns a pair as one HTML page that needs no other file.

    Args:
      pair: the pair.

    Returns:
      The page. The texts in it are escaped: they can bring in no markup.
    """
    return document("pair.html", pair=pair_view(pair), provenance=pair_provenance(pair))


def pair_view(pair: PairSummary) -> PairView:
    """Returns the charts, tables and sentences about a pair."""
    drawn = _drawn_classes(pair)
    curves = [
        pair_charts.Curve(network.name, [finite(value) or 0.0 for value in values])
        for network, values in (
            (pair.target, pair.singular_values.target),
            (pair.source, pair.singular_values.source),
        )
    ]
    return PairView(
        summary=pair,
        accuracies=[
            AccuracyLine(network.name, percent(network.accuracy))
            for network in (pair.target, pair.source)
            if finite(network.accuracy) is not None
        ],
        attack=attack_words(pair.attack),
        verdict=pair_verdict(pair),
        measures_chart=_measures_chart(pair),
        num_drawn=len(drawn),
        class_chart=_class_chart(pair, drawn),
        class_table=_class_table(pair),
        examples=example_views(pair),
        curves=curves,
        spectrum_chart=pair_charts.spectrum_chart(curves, label="Singular values"),
        theorems=theorem_view(pair),
        table=_measures_table(pair),
    )


def _measures_chart(pair: PairSummary) -> Markup | None:
    marks = []
    for group, measures in enumerate(charted_measures(pair)):
        for one in measures:
            if finite(one.measure.value) is not None:
                marks.append(_mark(one, FIRST_INDEX + len(marks), group))
    if not marks:
        return None
    return charts.interval_chart(
        marks, label="Measures of the pair", places=2, ends=(0,)
    )


def _mark(one: NamedMeasure, index: int, group: int) -> charts.Mark:
    measure, name = one.measure, f"{one.title} {one.way}"
    low, high = finite(measure.low), finite(measure.high)
    chance, chance_high = finite(measure.chance), finite(measure.chance_high)
    title = (
        f"{name}: {number(measure.value, 3)}; 95% {number(low, 3)} to "
        f"{number(high, 3)}; chance {number(chance, 3)}"
    )
    return charts.Mark(
        index=index,
        name=name,
        title=title,
        rank=None,
        group=group,
        value=measure.value,
        low=low,
        high=high,
        chance=chance,
        chance_high=chance_high,
    )


def _drawn_classes(pair: PairSummary) -> list[ClassMeasures]:
    """The classes with most images, in the order of the classes."""
    places = range(len(pair.classes))
    largest = sorted(places, key=lambda i: -pair.classes[i].n)[:MAX_CLASSES]
    return [pair.classes[i] for i in sorted(largest)]


def _class_chart(pair: PairSummary, classes: Sequence[ClassMeasures]) -> Markup:
    alpha1 = pair.measures.alpha1
    return pair_charts.class_chart(
        [_bars(one) for one in classes],
        (alpha1.to_source.chance, alpha1.to_target.chance),
        label="Alpha 1 of each class",
    )


def _bars(one: ClassMeasures) -> pair_charts.Bars:
    there, back = one.alpha1.to_source, one.alpha1.to_target
    title = (
        f"{one.name}: {TO_SOURCE} {number(there.value, 3)}, {TO_TARGET} "
        f"{number(back.value, 3)}; n = {number(one.n)}"
    )
    return pair_charts.Bars(one.name, title, (there, back))


def _class_table(pair: PairSummary) -> TableView:
    heads = [
        "Class",
        pair.unit.capitalize(),
        f"Alpha 1, {TO_SOURCE}",
        f"Alpha 1, {TO_TARGET}",
    ]
    rows = [
        [
            _text_head(one.name),
            number_cell(one.n, 0),
            number_cell(one.alpha1.to_source.value, 3),
            number_cell(one.alpha1.to_target.value, 3),
        ]
        for one in pair.classes
    ]
    if pair.target.accuracy is not None:
        heads.append(f"Accuracy, {pair.target.name}")
        for row, one in zip(rows, pair.classes, strict=True):
            row.append(number_cell(one.accuracy.target, 3))
    if pair.source.accuracy is not None:
        heads.append(f"Accuracy, {pair.source.name}")
        for row, one in zip(rows, pair.classes, strict=True):
            row.append(number_cell(one.accuracy.source, 3))
    return TableView("Every class", _heads(heads), rows)


def _measures_table(pair: PairSummary) -> TableView:
    heads = ("Measure", "Which", "Value", "95% from", "to", "Chance", "Most possible")
    rows = []
    for one in all_measures(pair):
        measure = one.measure
        numbers = (measure.value, measure.low, measure.high, measure.chance)
        squares = (one.ceiling, one.square, one.unbiased_square)
        cells = [number_cell(value, 3) for value in (*numbers, *squares)]
        way = Cell(one.way, style="text")
        rows.append([_text_head(one.title), way, *cells])
    heads = _heads((*heads, "Square", "Unbiased square"))
    return TableView("All numbers of the pair", heads, rows)


def _heads(names: Sequence[str]) -> list[Head]:
    return [Head(name, is_text=i == 0) for i, name in enumerate(names)]


def _text_head(name: str) -> Cell:
    return Cell(name, style="text", is_head=True)
