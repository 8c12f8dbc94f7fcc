"""Theorems 3.1 and 3.3 on a pair of networks: a chart, tables and sentences."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from markupsafe import Markup

from jtransfer.intervals import Interval
from jtransfer.pairs.results import (
    AttackedGradient,
    KnowledgeTransfer,
    Measure,
    Number,
    PairSummary,
    TransferBound,
)
from jtransfer.report.pages import pair_charts
from jtransfer.report.pages.formats import finite, number
from jtransfer.report.pages.pair_text import (
    TO_SOURCE,
    TO_TARGET,
    attack_sentence,
    transfer_sentence,
)
from jtransfer.report.pages.tables import Cell, Head, TableView, number_cell

_UNKNOWN = Measure(
    **dict.fromkeys(("value", "standard_error", "low", "high"), math.nan),
    chance=math.nan,
    chance_high=math.nan,
)


class TheoremView(NamedTuple):
    """Shares, means and bounds of a pair by its theorems, as pages show them."""

    shares: list[str]
    """Sentences about the shares of the attacks."""
    chart: Markup | None
    """None where no share is defined."""
    table: TableView
    transfers: list[str]
    """Sentences about Theorem 3.3."""
    transfer_table: TableView | None
    """None where no label is known by name."""


def theorem_view(pair: PairSummary) -> TheoremView | None:
    """Returns the chart, tables and sentences; None for files without such numbers."""
    if pair.theorems is None:
        return None
    gradients = pair.theorems.attacked_gradients
    names = pair.source.name, pair.target.name
    both = ((gradients.to_source, *names[::-1]), (gradients.to_target, *names))
    transfers = list(_transfers(pair))
    return TheoremView(
        shares=[attack_sentence(*one) for one in both],
        chart=_shares_chart(gradients.to_source, gradients.to_target),
        table=_attacks_table(pair),
        transfers=[transfer_sentence(*one) for one in transfers],
        transfer_table=_transfer_table(transfers) if transfers else None,
    )


def _transfers(pair: PairSummary) -> Iterator[tuple[KnowledgeTransfer, str, str]]:
    """With the name of the network whose task it is, and of that which learns it."""
    both, names = pair.theorems.knowledge_transfer, (pair.source.name, pair.target.name)
    if both.of_target is not None:
        yield both.of_target, *names[::-1]
    if both.of_source is not None:
        yield both.of_source, *names


def _shares_chart(there: AttackedGradient, back: AttackedGradient) -> Markup | None:
    rows = []
    for i in range(max(len(there.shares), len(back.shares))):
        shares = [_at(one.shares, i) for one in (there, back)]
        name = "attack 1" if i == 0 else f"attacks 1 to {i + 1}"
        title = (
            f"{name}: {TO_SOURCE} {number(shares[0].value, 3)} (chance "
            f"{number(shares[0].chance, 3)}), {TO_TARGET} "
            f"{number(shares[1].value, 3)} (chance {number(shares[1].chance, 3)})"
        )
        bars = [
            Interval(one.value, finite(one.low), finite(one.high)) for one in shares
        ]
        rows.append(pair_charts.Bars(name, title, bars))
    if all(finite(bar.value) is None for row in rows for bar in row.intervals):
        return None
    label = "Share of the explained gradient by number of attacks"
    return pair_charts.class_chart(rows, (), label=label)


def _at(measures: list[Measure], i: int) -> Measure:
    return measures[i] if i < len(measures) else _UNKNOWN


def _attacks_table(pair: PairSummary) -> TableView:
    gradients = pair.theorems.attacked_gradients
    explained = pair.measures.explained_gradient
    heads = ("Attacks", "Direction", "Of all gradient")
    for name in ("Share", "Mean A1", "Mean A2"):
        heads += (name, "95% from", "to", "Chance")
    heads += ("Images",)
    rows = [
        *_attack_rows(gradients.to_source, explained.of_target.value, TO_SOURCE),
        *_attack_rows(gradients.to_target, explained.of_source.value, TO_TARGET),
    ]
    return TableView("Attack by attack", _heads(heads), rows)


def _attack_rows(one: AttackedGradient, explained: float, way: str) -> list[list[Cell]]:
    columns = zip(one.shares, one.alpha1, one.alpha2, one.num_images, strict=True)
    return [
        [
            Cell(f"1 to {i}" if i > 1 else "1", style="text", is_head=True),
            Cell(way, style="text"),
            number_cell(share.value * explained, 3),
            *_measure_cells(share),
            *_measure_cells(alpha1),
            *_measure_cells(alpha2),
            number_cell(count, 0),
        ]
        for i, (share, alpha1, alpha2, count) in enumerate(columns, 1)
    ]


def _transfer_table(transfers) -> TableView:
    heads = ("Labels of", "Learnt by", "Form", "(17)", "95% from", "to", "(16)")
    heads += ("(17) \N{MINUS SIGN} (16)", "95% from", "to", "Error")
    heads += ("Theorem 3.3 from", "to", "Width / (17)")
    rows = []
    for transfer, name, other in transfers:
        for form, bound in (
            ("softmax", transfer.of_probabilities),
            ("outputs", transfer.of_outputs),
        ):
            cells = Cell(other, style="text"), Cell(form, style="text")
            head = Cell(name, style="text", is_head=True)
            rows.append([head, *cells, *_bound_cells(transfer, bound)])
    return TableView("Theorem 3.3", _heads(heads), rows)


def _bound_cells(transfer: KnowledgeTransfer, bound: TransferBound) -> list[Cell]:
    numbers = (bound.error, bound.low, bound.high, transfer.relative_width(bound))
    return [
        *_interval_cells(transfer.loss),
        number_cell(bound.surrogate.value, 3),
        *_interval_cells(bound.difference),
        *(number_cell(value, 3) for value in numbers),
    ]


def _measure_cells(one: Measure) -> list[Cell]:
    return [*_interval_cells(one), number_cell(one.chance, 3)]


def _interval_cells(one: Number) -> list[Cell]:
    return [number_cell(value, 3) for value in (one.value, one.low, one.high)]


def _heads(names: tuple[str, ...]) -> list[Head]:
    texts = ("Attacks", "Labels of", "Learnt by", "Form", "Direction")
    return [Head(name, is_text=name in texts) for name in names]
