"""A ranking on disk and on the screen: JSON lines, CSV, a table, one HTML page."""

import csv
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path

from jtransfer._files import write_atomically
from jtransfer.zoo import RequestError

ROWS_FILE = "ranking.jsonl"
_COLUMNS = (
    "source",
    "score",
    "value",
    "standard_error",
    "low",
    "high",
    "chance",
    "chance_high",
    "rank",
    "group",
    "beats_next",
    "n",
    "d",
    "num_classes",
    "seconds",
    "warnings",
    "reason",
)


def written(rows: list[dict], folder: Path) -> list[Path]:
    """Writes `ranking.jsonl`, `ranking.csv` and `report.html`, each atomically.

    The page shows the pair that `jtransfer pair --out` has left in the folder.

    Args:
      rows: rows of a ranking.
      folder: where to; made if absent.

    Returns:
      The paths written.
    """
    from jtransfer._pair import report as pair_report

    texts = {
        ROWS_FILE: "".join(json_line(row) + "\n" for row in rows),
        "ranking.csv": _csv(rows),
        "report.html": page(rows, pair_report.read(folder)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in texts]


def read(folder: Path) -> list[dict]:
    """Reads the rows of a ranking.

    Args:
      folder: a folder that `written` has filled.

    Returns:
      The rows.

    Raises:
      RequestError: if there is no ranking or it is damaged.
    """
    path = folder / ROWS_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except FileNotFoundError as error:
        raise RequestError(
            f"{path} does not exist; make it with `jtransfer rank --out {folder}`."
        ) from error
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    if not rows or not all(map(_is_row, rows)):
        raise RequestError(f"{path} holds no ranking; make it again.")
    return rows


def _is_row(row) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("source"), str):
        return False
    if not isinstance(row.get("facts"), dict):
        return False
    if "value" not in row:
        return isinstance(row.get("reason"), str)
    numbers = isinstance(row["value"], int | float) and "rank" in row and "group" in row
    return numbers and isinstance(row.get("score"), str)


def page(rows: list[dict], pair: dict | None = None) -> str:
    """Returns the report, and a pair of networks, as one self-contained HTML page."""
    from jtransfer import ranking
    from jtransfer._pages import ranking_page

    found = ranking.agreement(rows), ranking.rank_correlation(rows)
    return ranking_page.page(rows, *found, pair)


def table(rows: list[dict], *, width: int):
    """Returns the ranking as a `rich` table, in the order of the first score.

    Args:
      rows: rows of a ranking.
      width: characters in a line; scores that do not fit are left out.

    Returns:
      The table.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    by_source: dict[str, dict] = {}
    for row in rows:
        if "value" in row:
            by_source.setdefault(row["source"], {})[row["score"]] = row
    names = list(dict.fromkeys(row["score"] for row in rows if "value" in row))
    primary, *others = names or ["score"]
    ordered = [found for found in by_source.values() if primary in found]
    columns = _columns(ordered, primary, others)
    used, shown = 6, []
    for heading, cells in columns:
        longest = max(map(len, [*heading.split(), *cells]), default=0)
        used += longest + 3
        # Rank, source and the deciding score are shown however narrow the terminal.
        if len(shown) < 3 or used < width:
            shown.append((heading, cells))
    result = Table(box=box.SIMPLE_HEAD, caption_justify="left", pad_edge=False)
    result.caption = Text(_caption(rows, len(columns) - len(shown)))
    for heading, _ in shown:
        justify = "left" if heading == "source" else "right"
        result.add_column(heading.replace(" ", "\n"), justify=justify, no_wrap=True)
    groups = [found[primary]["group"] for found in ordered]
    for position in range(len(ordered)):
        ends_group = groups[position : position + 2][-1] != groups[position]
        cells = (Text(cells[position]) for _, cells in shown)
        result.add_row(*cells, end_section=ends_group)
    return result


def agreement_table(rows: list[dict]):
    """Returns how well each score predicted the accuracies, or None if none is known.

    Args:
      rows: rows of a ranking.

    Returns:
      A `rich` table.
    """
    from rich import box
    from rich.table import Table

    from jtransfer import ranking

    found = ranking.agreement(rows)
    if not found:
        return None
    table = Table(box=box.SIMPLE_HEAD, caption_justify="left", pad_edge=False)
    table.caption = (
        f"Correlation with the accuracy of {found[0]['n_sources']} sources; the "
        "accuracy lost by choosing the first, or the best of the first three."
    )
    headings = ("Pearson", "Spearman", "weighted Kendall", "regret@1", "regret@3")
    for heading in ("score", *headings):
        justify = "left" if heading == "score" else "right"
        table.add_column(heading, justify=justify)
    keys = ("pearson", "spearman", "weighted_kendall", "regret_1", "regret_3")
    for row in found:
        table.add_row(row["score"].replace("_", " "), *(f"{row[k]:.3f}" for k in keys))
    return table


def _columns(ordered, primary, others) -> list[tuple[str, list[str]]]:
    def column(heading, cell):
        return heading.replace("_", " "), [cell(found) for found in ordered]

    def beats_next(found):
        probability = found[primary].get("beats_next")
        return "" if probability is None else f"{probability:.2f}"

    columns = [
        column("", lambda found: str(found[primary]["rank"])),
        column("source", lambda found: found[primary]["source"]),
        column(primary, lambda found: _cell(found[primary], error=True)),
        column("chance", lambda found: _number(found[primary].get("chance"))),
        column("beats next", beats_next),
    ]
    if any("accuracy" in found[primary]["facts"] for found in ordered):
        columns.append(
            column(
                "accuracy",
                lambda found: _number(found[primary]["facts"].get("accuracy")),
            )
        )
    # The baseline to beat stands next to the deciding score.
    others.sort(key=lambda name: name != "ridge_probe")
    return columns + [
        column(name, lambda found, name=name: _cell(found.get(name))) for name in others
    ]


def failures(rows: list[dict]) -> list[str]:
    """Returns a line for each source that failed, as a whole or in verification."""
    return [
        f"{row['source']}: {row['reason']}"
        for row in rows
        if "reason" in row and row.get("score", "accuracy") == "accuracy"
    ]


def warnings(rows: list[dict]) -> list[str]:
    """Returns the warnings, each once, with the score and sources they concern."""
    concerned: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for warning in row.get("warnings", ()):
            concerned.setdefault((row["score"], warning), []).append(row["source"])
    total = len({row["source"] for row in rows})
    lines = []
    for (score, warning), sources in concerned.items():
        lines.append(f"{score} ({_who(sources, total)}): {warning}")
    return lines


def missing(rows: list[dict], names: Iterable[str]) -> list[str]:
    """Returns why some of the named scores have no value, each reason once."""
    concerned: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.get("score") in set(names) and "reason" in row:
            key = row["score"], row["reason"]
            concerned.setdefault(key, []).append(row["source"])
    total = len({row["source"] for row in rows})
    return [
        f"{score} ({_who(sources, total)}): {reason}"
        for (score, reason), sources in concerned.items()
    ]


def _who(sources: list[str], total: int) -> str:
    return "all sources" if len(sources) == total else ", ".join(sources)


def json_line(row: dict) -> str:
    """Returns a row as one line of JSON; numbers that are not finite become null."""
    return json.dumps(_finite(row), ensure_ascii=False, allow_nan=False)


def _finite(value):
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str | int | float | bool | None):
        return value
    return str(value)


def _csv(rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        joined = " ".join(row.get("warnings", ()))
        writer.writerow({**row, "warnings": joined})
    return text.getvalue()


def _cell(row: dict | None, *, error: bool = False) -> str:
    if row is None:
        return "-"
    if row["score"] == "parameters":
        return f"{row['value']:,.0f}"
    text = _number(row["value"])
    return f"{text} ±{row['standard_error']:.3f}" if error and "low" in row else text


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _caption(rows: list[dict], num_hidden: int) -> str:
    scored = [row for row in rows if "value" in row]
    if not scored:
        return "No source could be scored."
    row = next((row for row in scored if "n" in row), scored[0])
    n, num_classes = row.get("n", "?"), row.get("num_classes", "?")
    hidden = f"; {num_hidden} more columns in --out" if num_hidden else ""
    return (
        f"{row.get('target', 'target')}: {n} examples, {num_classes} classes. ± one "
        f"standard error. A gap ends each group of sources that {row['score']} cannot "
        f"tell apart{hidden}."
    )
