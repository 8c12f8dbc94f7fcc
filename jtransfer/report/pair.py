"""A pair of networks on disk and on the screen: JSON and tables."""

import json
import math
from pathlib import Path

from jtransfer._internal.errors import RequestError, one_line
from jtransfer._internal.files import json_line, write_atomically
from jtransfer.report.pages.pair import pair_html
from jtransfer.report.screen import console, decimal, plain_table, print_notes, text

PAIR_FILE = "pair.json"
_ATTACKS = {"alpha1": "alpha1", "alpha2": "alpha2", "alpha12": "alpha1 * alpha2"}
_DISTANCES = {
    "gradient_matching_distance": "gradient matching distance",
    "explained_gradient": "explained share of gradients",
    "function_matching_distance": "function matching distance",
    "explained_function": "explained share of outputs",
}


def write_pair(found: dict, folder: Path) -> list[Path]:
    """Writes `pair.json` and returns its path.

    Args:
      found: what `pairs.summary.pair_summary` has returned.
      folder: where to; made if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PAIR_FILE, (json_line(found) + "\n").encode())
    return [folder / PAIR_FILE]


def read_pair(folder: Path) -> dict:
    """Reads the pair in a folder.

    Raises:
      RequestError: if there is none that can be shown.
    """
    path = folder / PAIR_FILE
    faults = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
    try:
        found = json.loads(path.readtext(encoding="utf-8"))
        pair_html(found)
        pair_tables(found)
    except (OSError, *faults) as error:
        raise RequestError(f"{path} cannot be read: {one_line(error)}") from error
    return found


def is_finite_pair(found: dict) -> bool:
    """Tells whether all measures are numbers."""
    rows = [row for both in found["measures"].values() for row in both.values()]
    return all(math.isfinite(row["value"]) for row in rows)


def show_pair(found: dict) -> None:
    """Prints a pair as tables, and its warnings on the standard error."""
    screen = console()
    for table in pair_tables(found):
        screen.print(table)
    print_notes(found["warnings"], ())


def pair_tables(found: dict) -> list:
    """Returns a pair as `rich` tables: attacks, distances, singular values, classes.

    Args:
      found: what `pairs.summary.pair_summary` has returned.

    Returns:
      The tables.
    """
    source, target = found["source"]["name"], found["target"]["name"]
    attack, rows = found["attack"], found["measures"]
    attacks = plain_table(("", f"{target} to {source}", f"{source} to {target}"))
    ways = ("to_source", "to_target")
    for name, title in _ATTACKS.items():
        attacks.add_row(title, *(_measured(rows[name][way]) for way in ways))
        chances = (f"{decimal(rows[name][way]['chance'])}" for way in ways)
        attacks.add_row("  chance", *chances, style="dim")
        if name == "alpha2":
            limits = (decimal(rows[name][way]["ceiling"]) for way in ways)
            attacks.add_row("  at most, here", *limits, style="dim")
        for key in ("square", "unbiased_square") if name != "alpha1" else ():
            values = (decimal(rows[name][way][key]) for way in ways)
            attacks.add_row(f"  {key.replace('_', ' ')}", *values, style="dim")
    attacks.caption = text(
        f"Attacks made on the first and fed to the other. {found['data']}: "
        f"{found['n']} images; PGD, largest change {attack['epsilon']:g}, "
        f"{attack['num_steps']} steps. 95% intervals. Directions without relation give "
        f"alpha2 about {found['noise_floor']:.3f} = 1/sqrt(n)."
    )
    distances = plain_table(("", f"{target}, by {source}", f"{source}, by {target}"))
    for name, title in _DISTANCES.items():
        ways = ("of_target", "of_source")
        distances.add_row(title, *(_measured(rows[name][way]) for way in ways))
        chances = (decimal(rows[name][way]["chance"]) for way in ways)
        distances.add_row("  chance", *chances, style="dim")
    distances.caption = text(
        "What the best affine map of the second network leaves of the first, and the "
        "share of the mean square that it explains."
    )
    return [attacks, distances, _values_table(found), _classes_table(found)]


def _values_table(found: dict):
    values = found["singular_values"]
    count = min(5, max(map(len, values.values())))
    table = plain_table(("singular values", *(str(i + 1) for i in range(count))))
    for who in ("target", "source"):
        cells = [decimal(value) for value in values[who][:count]]
        table.add_row(found[who]["name"], *cells)
    return table


def _classes_table(found: dict):
    source, target = found["source"]["name"], found["target"]["name"]
    heads = (f"alpha1 {target} to {source}", f"alpha1 {source} to {target}")
    known = [who for who in ("target", "source") if found[who]["accuracy"] is not None]
    accuracies = (f"accuracy {found[who]['name']}" for who in known)
    table = plain_table(("class", "n", *heads, *accuracies))
    for row in found["classes"]:
        ways = ("to_source", "to_target")
        alphas = (decimal(row["alpha1"][way]["value"]) for way in ways)
        shares = (decimal(row["accuracy"][who]) for who in known)
        table.add_row(text(row["name"]), str(row["n"]), *alphas, *shares)
    return table


def _measured(row: dict) -> str:
    value, low, high = (decimal(row[key]) for key in ("value", "low", "high"))
    return f"{value}  ({low} to {high})"
