"""A pair of networks on disk and on the screen: JSON, tables, one HTML page."""

import contextlib
import json
import math
from pathlib import Path

from jtransfer._files import write_atomically
from jtransfer.zoo import RequestError

FILE = "pair.json"
_ATTACKS = {"alpha1": "alpha1", "alpha2": "alpha2", "alpha12": "alpha1 * alpha2"}
_DISTANCES = {
    "gradient_matching_distance": "gradient matching distance",
    "explained_gradient": "explained share of gradients",
    "function_matching_distance": "function matching distance",
    "explained_function": "explained share of outputs",
}


def written(found: dict, folder: Path) -> list[Path]:
    """Writes `pair.json` and `pair.html`, and the report of a ranking beside them.

    Args:
      found: what `_pair.summary.summary` has returned.
      folder: where to; made if absent.

    Returns:
      The paths written.
    """
    from jtransfer import report
    from jtransfer._pages import pair_page

    folder.mkdir(parents=True, exist_ok=True)
    texts = {FILE: report.json_line(found) + "\n", "pair.html": pair_page.page(found)}
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    paths = [folder / name for name in texts]
    with contextlib.suppress(RequestError):  # There is no ranking to show it with.
        paths += report.written(report.read(folder), folder)[-1:]
    return paths


def read(folder: Path) -> dict | None:
    """Returns the pair in a folder; None if there is none that can be shown."""
    from jtransfer._pages import pair_page

    faults = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        pair_page.page(found)
        tables(found)
    except (OSError, *faults):
        return None
    return found


def is_finite(found: dict) -> bool:
    """Tells whether all measures are numbers."""
    rows = [row for both in found["measures"].values() for row in both.values()]
    return all(math.isfinite(row["value"]) for row in rows)


def show(found: dict) -> None:
    """Prints a pair as tables, and its warnings on the standard error."""
    import shutil
    import sys

    from rich.console import Console

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((110, 24)).columns if terminal else 110
    console = Console(width=width)
    for table in tables(found):
        console.print(table)
    for line in found["warnings"]:
        print(f"Warning: {line}", file=sys.stderr)


def tables(found: dict) -> list:
    """Returns a pair as `rich` tables: attacks, distances, singular values, classes.

    Args:
      found: what `_pair.summary.summary` has returned.

    Returns:
      The tables.
    """
    source, target = found["source"]["name"], found["target"]["name"]
    attack, rows = found["attack"], found["measures"]
    attacks = _table("", f"{target} to {source}", f"{source} to {target}")
    ways = ("to_source", "to_target")
    for name, title in _ATTACKS.items():
        attacks.add_row(title, *(_measured(rows[name][way]) for way in ways))
        chances = (f"{_number(rows[name][way]['chance'])}" for way in ways)
        attacks.add_row("  chance", *chances, style="dim")
        if name == "alpha2":
            limits = (_number(rows[name][way]["ceiling"]) for way in ways)
            attacks.add_row("  at most, here", *limits, style="dim")
        for key in ("square", "unbiased_square") if name != "alpha1" else ():
            values = (_number(rows[name][way][key]) for way in ways)
            attacks.add_row(f"  {key.replace('_', ' ')}", *values, style="dim")
    attacks.caption = _text(
        f"Attacks made on the first and fed to the other. {found['data']}: "
        f"{found['n']} images; PGD, largest change {attack['epsilon']:g}, "
        f"{attack['num_steps']} steps. 95% intervals. Directions without relation give "
        f"alpha2 about {found['noise_floor']:.3f} = 1/sqrt(n)."
    )
    distances = _table("", f"{target}, by {source}", f"{source}, by {target}")
    for name, title in _DISTANCES.items():
        ways = ("of_target", "of_source")
        distances.add_row(title, *(_measured(rows[name][way]) for way in ways))
        chances = (_number(rows[name][way]["chance"]) for way in ways)
        distances.add_row("  chance", *chances, style="dim")
    distances.caption = _text(
        "What the best affine map of the second network leaves of the first, and the "
        "share of the mean square that it explains."
    )
    return [attacks, distances, _values_table(found), _classes_table(found)]


def _values_table(found: dict):
    values = found["singular_values"]
    count = min(5, max(map(len, values.values())))
    table = _table("singular values", *(str(i + 1) for i in range(count)))
    for who in ("target", "source"):
        cells = [_number(value) for value in values[who][:count]]
        table.add_row(found[who]["name"], *cells)
    return table


def _classes_table(found: dict):
    source, target = found["source"]["name"], found["target"]["name"]
    heads = (f"alpha1 {target} to {source}", f"alpha1 {source} to {target}")
    known = [who for who in ("target", "source") if found[who]["accuracy"] is not None]
    accuracies = (f"accuracy {found[who]['name']}" for who in known)
    table = _table("class", "n", *heads, *accuracies)
    for row in found["classes"]:
        ways = ("to_source", "to_target")
        alphas = (_number(row["alpha1"][way]["value"]) for way in ways)
        shares = (_number(row["accuracy"][who]) for who in known)
        table.add_row(_text(row["name"]), str(row["n"]), *alphas, *shares)
    return table


def _table(*heads: str):
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, caption_justify="left", pad_edge=False)
    for i, head in enumerate(heads):
        table.add_column(_text(head), justify="right" if i else "left")
    return table


def _text(text: str):
    """Text in which brackets are no markup."""
    from rich.text import Text

    return Text(text)


def _measured(row: dict) -> str:
    value, low, high = (_number(row[key]) for key in ("value", "low", "high"))
    return f"{value}  ({low} to {high})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
