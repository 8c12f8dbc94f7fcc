"""A pair of networks on disk and on the screen: JSON and tables."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from jtransfer._internal.files import json_line, make_folder, write_text_atomically
from jtransfer.pairs.results import (
    AttackedGradient,
    ByDirection,
    ByImitated,
    KnowledgeTransfer,
    Measure,
    Number,
    PairSummary,
    SquaredMeasure,
    pair_from_json,
    pair_json,
)
from jtransfer.report._reading import read_result
from jtransfer.report.pages.pair_text import (
    attack_sentence,
    attack_words,
    transfer_sentence,
)
from jtransfer.report.screen import console, decimal, plain_table, print_notes, text

if TYPE_CHECKING:
    from rich.table import Table

PAIR_FILE = "pair.json"


def write_pair(pair: PairSummary, folder: Path) -> list[Path]:
    """Writes `pair.json` and returns its path.

    Args:
      pair: the pair.
      folder: where to; made if absent.
    """
    make_folder(folder)
    content = json_line(pair_json(pair)) + "\n"
    write_text_atomically(folder / PAIR_FILE, content)
    return [folder / PAIR_FILE]


def read_pair(folder: Path) -> PairSummary:
    """Reads the pair in a folder.

    Raises:
      RequestError: if there is none or it is damaged.
    """
    return read_result(folder / PAIR_FILE, pair_from_json)


def is_finite_pair(pair: PairSummary) -> bool:
    """Tells whether all measures are numbers."""
    measures = pair.measures
    attacked = (measures.alpha1, measures.alpha2, measures.alpha12)
    imitated = (both for _, both in _imitations(pair))
    values = [both.to_source.value for both in attacked]
    values += [both.to_target.value for both in attacked]
    for both in imitated:
        values += [both.of_target.value, both.of_source.value]
    return all(map(math.isfinite, values))


def _imitations(pair: PairSummary) -> list[tuple[str, ByImitated[Measure]]]:
    measures = pair.measures
    return [
        ("gradient matching distance", measures.gradient_matching_distance),
        ("explained share of gradients", measures.explained_gradient),
        ("function matching distance", measures.function_matching_distance),
        ("explained share of outputs", measures.explained_function),
    ]


def show_pair(pair: PairSummary) -> None:
    """Prints a pair as tables, and its warnings on the standard error."""
    screen = console()
    for table in pair_tables(pair):
        screen.print(table)
    print_notes(pair.warnings, ())


def pair_tables(pair: PairSummary) -> list["Table"]:
    """Returns a pair as `rich` tables: attacks, distances, theorems, classes."""
    tables = [_attacks_table(pair), _distances_table(pair), _values_table(pair)]
    if pair.theorems is not None:
        tables += _shares_tables(pair, pair.theorems.attacked_gradients)
        tables.append(_transfers_table(pair, pair.theorems.knowledge_transfer))
    return [*tables, _classes_table(pair)]


def _attacks_table(pair: PairSummary) -> "Table":
    source, target, measures = pair.source.name, pair.target.name, pair.measures
    table = plain_table(
        ("", f"{target} to {source}", f"{source} to {target}"),
        caption=f"Attacks made on the first and fed to the other. {pair.data}: "
        f"{pair.n} {pair.unit}; {attack_words(pair.attack)}, "
        f"{pair.attack.num_steps} steps. 95% intervals. Directions without relation "
        f"give alpha2 about {pair.noise_floor:.3f} = 1/sqrt(n).",
    )
    alpha1, alpha2, alpha12 = measures.alpha1, measures.alpha2, measures.alpha12
    _add_measure(table, "alpha1", alpha1.to_source, alpha1.to_target)
    there, back = alpha2.to_source, alpha2.to_target
    _add_measure(table, "alpha2", there, back)
    _add_numbers(table, "at most, here", there.ceiling, back.ceiling)
    _add_squares(table, there, back)
    there, back = alpha12.to_source, alpha12.to_target
    _add_measure(table, "alpha1 * alpha2", there, back)
    _add_squares(table, there, back)
    return table


def _distances_table(pair: PairSummary) -> "Table":
    source, target = pair.source.name, pair.target.name
    table = plain_table(
        ("", f"{target}, by {source}", f"{source}, by {target}"),
        caption="What the best affine map of the second network leaves of the first, "
        "and the share of the mean square that it explains.",
    )
    for title, both in _imitations(pair):
        _add_measure(table, title, both.of_target, both.of_source)
    return table


def _add_measure(table: "Table", title: str, there: Measure, back: Measure) -> None:
    table.add_row(title, _measure_text(there), _measure_text(back))
    _add_numbers(table, "chance", there.chance, back.chance)


def _add_squares(table: "Table", there: SquaredMeasure, back: SquaredMeasure) -> None:
    _add_numbers(table, "square", there.square, back.square)
    _add_numbers(table, "unbiased square", there.unbiased_square, back.unbiased_square)


def _add_numbers(table: "Table", title: str, *numbers: float) -> None:
    table.add_row(f"  {title}", *map(decimal, numbers), style="dim")


def _measure_text(measure: Number) -> str:
    low, high = decimal(measure.low), decimal(measure.high)
    return f"{decimal(measure.value)}  ({low} to {high})"


def _values_table(pair: PairSummary) -> "Table":
    of_target, of_source = pair.singular_values.target, pair.singular_values.source
    count = min(5, max(len(of_target), len(of_source)))
    table = plain_table(("singular values", *(str(i + 1) for i in range(count))))
    table.add_row(text(pair.target.name), *map(decimal, of_target[:count]))
    table.add_row(text(pair.source.name), *map(decimal, of_source[:count]))
    return table


def _shares_tables(
    pair: PairSummary, gradients: ByDirection[AttackedGradient]
) -> list["Table"]:
    source, target = pair.source.name, pair.target.name
    return [
        _shares_table(gradients.to_source, target, source),
        _shares_table(gradients.to_target, source, target),
    ]


def _shares_table(gradient: AttackedGradient, name: str, other: str) -> "Table":
    table = plain_table(
        ("attacks", "share", "chance", "A1", "chance", "A2", "chance"),
        caption=f"{name} to {other}: share of the explained gradient by attacks 1 to i "
        "(Theorem 3.1), means of A1 and A2 of attack i. "
        f"{attack_sentence(gradient, name, other)}",
    )
    columns = zip(gradient.shares, gradient.alpha1, gradient.alpha2, strict=True)
    for i, (share, alpha1, alpha2) in enumerate(columns, 1):
        numbers = (share.chance, alpha1.value, alpha1.chance)
        numbers += (alpha2.value, alpha2.chance)
        label = f"1 to {i}" if i > 1 else "1"
        table.add_row(label, _measure_text(share), *map(decimal, numbers))
    return table


def _transfers_table(
    pair: PairSummary, transfers: ByImitated[KnowledgeTransfer | None]
) -> "Table":
    source, target = pair.source.name, pair.target.name
    known = [
        one
        for one in (
            (transfers.of_target, target, source),
            (transfers.of_source, source, target),
        )
        if one[0] is not None
    ]
    table = plain_table(
        ("labels", "(17)", "(17) - (16)", "Theorem 3.3", "width / (17)"),
        caption=" ".join(transfer_sentence(*one) for one in known)
        or "Theorem 3.3 is left out: no network knows the classes by name.",
    )
    for transfer, name, _ in known:
        for form, bound in (
            ("softmax", transfer.of_probabilities),
            ("outputs", transfer.of_outputs),
        ):
            table.add_row(
                f"{name}, {form}",
                _measure_text(transfer.loss),
                _measure_text(bound.difference),
                f"{decimal(bound.low)} to {decimal(bound.high)}",
                decimal(transfer.relative_width(bound), 1),
            )
    return table


def _classes_table(pair: PairSummary) -> "Table":
    source, target = pair.source, pair.target
    heads = [f"alpha1 {target.name} to {source.name}"]
    heads.append(f"alpha1 {source.name} to {target.name}")
    known_target, known_source = (
        target.accuracy is not None,
        source.accuracy is not None,
    )
    if known_target:
        heads.append(f"accuracy {target.name}")
    if known_source:
        heads.append(f"accuracy {source.name}")
    table = plain_table(("class", "n", *heads))
    for one in pair.classes:
        numbers = [one.alpha1.to_source.value, one.alpha1.to_target.value]
        if known_target:
            numbers.append(one.accuracy.target)
        if known_source:
            numbers.append(one.accuracy.source)
        table.add_row(text(one.name), str(one.n), *map(decimal, numbers))
    return table
