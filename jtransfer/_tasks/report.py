"""The comparison of tasks: as data, on the screen, and on disk."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np

from jtransfer import ranking, task_structure
from jtransfer._files import write_atomically
from jtransfer._pages import tasks_page
from jtransfer._tasks.targets import TaskTarget
from jtransfer.report import json_line
from jtransfer.zoo import RequestError, is_number

_COLUMNS = (
    *("target", "source", "value", "standard_error", "low", "high", "chance"),
    *("chance_high", "share", "rank", "group", "beats_next", "second", "n", "d"),
    *("num_levels", "num_pixels", "seconds"),
)


def check_targets(targets: list[TaskTarget]) -> None:
    """Raises RequestError unless the targets are several names of as many examples."""
    names = [target.name for target in targets]
    if not names:
        raise RequestError("--targets names no file.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RequestError(f"--targets names {repeated[0]!r} twice.")
    lengths = {target.name: len(target.levels) for target in targets}
    if len(set(lengths.values())) > 1:
        raise RequestError(f"--targets have different numbers of examples: {lengths}.")


def second_ranking(path: Path, sources: list[str], targets: list[str]) -> np.ndarray:
    """Reads another score of all sources for all targets.

    Args:
      path: a `.csv` or `.json` file, see `jtransfer tasks`.
      sources: names of the sources.
      targets: names of the targets.

    Returns:
      The scores, shape ``[S, T]``.

    Raises:
      RequestError: if the file cannot be read or a number is missing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            table = json.loads(text)
        else:
            head, *lines = csv.reader(io.StringIO(text))
            table = {
                line[0]: dict(zip(head[1:], map(float, line[1:]), strict=True))
                for line in lines
                if line
            }
        values = [[table[target][source] for target in targets] for source in sources]
    except KeyError as error:
        raise RequestError(f"--second {path} has no {error.args[0]!r}.") from error
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise RequestError(f"--second {path}: {error}") from error
    if not all(is_number(value) for row in values for value in row):
        raise RequestError(f"--second {path} must hold finite numbers.")
    return np.array(values, float)


def structure(
    rows: list[dict],
    targets: list[TaskTarget],
    second: np.ndarray | None,
    *,
    seed: int,
) -> dict:
    """Returns all that is known of the tasks, as plain data.

    Args:
      rows: of `_tasks.scores.source_rows`, of all sources.
      targets: the targets.
      second: see `second_ranking`; of all sources, also those that failed.
      seed: of the run.

    Returns:
      `rows` (a dict a source and target, by target and rank), `sources` and `targets`
      by name, `h_scores` and `normalized` ``[S][T]``, `linkage` and `leaves` of the
      targets (None for a single one), `agreement` (a dict a target, or None),
      `failed` (source to reason), `warnings`, and the facts of the run.
    """
    names = [target.name for target in targets]
    everything = list(dict.fromkeys(row["source"] for row in rows))
    failed = {row["source"]: row["reason"] for row in rows if "reason" in row}
    sources = [name for name in everything if name not in failed]
    ranked = ranking.ranked([row for row in rows if "value" in row], names)
    values = {(row["source"], row["score"]): row["value"] for row in ranked}
    matrix = np.array([[values[s, t] for t in names] for s in sources])
    shares = task_structure.normalized_h_scores(matrix) if sources else matrix
    if second is not None:
        second = second[[everything.index(name) for name in sources]]
    merges = task_structure.task_linkage(matrix) if sources and len(names) > 1 else None
    for row in ranked:
        place = sources.index(row["source"]), names.index(row["score"])
        row["share"] = float(shares[place])
        row["second"] = None if second is None else float(second[place])
        row["target"] = row.pop("score")
    warned = {(w, row["source"]) for row in ranked for w in row["warnings"]}
    return {
        "rows": ranked,
        "sources": sources,
        "targets": [
            {
                "name": target.name,
                "what": target.what,
                "num_levels": target.num_levels,
                "shape": list(target.levels.shape[1:]),
            }
            for target in targets
        ],
        "num_examples": len(targets[0].levels),
        "h_scores": matrix.tolist(),
        "normalized": shares.tolist(),
        "linkage": None if merges is None else merges.tolist(),
        "leaves": None if merges is None else task_structure.leaf_order(merges),
        "agreement": _agreement(matrix, second, names),
        "failed": failed,
        "warnings": [f"{source}: {text}" for text, source in sorted(warned)],
        **ranking.environment(seed=seed),
    }


def _agreement(matrix, second, names) -> list[dict] | None:
    if second is None or len(matrix) < 2:
        return None
    found = task_structure.ranking_agreement(matrix, second)
    return [
        {"target": name, **dict(zip(found._fields, map(float, numbers), strict=True))}
        for name, *numbers in zip(names, *found, strict=True)
    ]


def written(structure: dict, folder: Path) -> list[Path]:
    """Writes `tasks.json`, `tasks.csv` and `tasks.html`, and returns their paths."""
    texts = {
        "tasks.json": json_text(structure),
        "tasks.csv": _csv(structure["rows"]),
        "tasks.html": tasks_page.page(structure),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in texts]


def json_text(structure: dict) -> str:
    """Returns the comparison as one line of JSON."""
    return json_line(structure)


def _csv(rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def show(structure: dict) -> None:
    """Prints a row a source and a column a target, and the agreement."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = [target["name"] for target in structure["targets"]]
    order = structure["leaves"] or range(len(names))
    cells = {(row["source"], row["target"]): row for row in structure["rows"]}
    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(
        "source",
        box=box.SIMPLE_HEAD,
        header_style="bold",
        caption="H-score ± one standard error, and the rank of the source for the "
        "target. Targets beside each other are alike.",
        caption_justify="left",
    )
    for i in order:
        table.add_column(Text(names[i]), justify="right")
    for source in structure["sources"]:
        found = [cells[source, names[i]] for i in order]
        table.add_row(Text(source), *map(_cell, found))
    console.print(table)
    if structure["agreement"]:
        heads = ("target", "Spearman", "DCG", "DCG by chance")
        table = Table(*heads, box=box.SIMPLE_HEAD, header_style="bold")
        for row in structure["agreement"]:
            numbers = (row[key] for key in ("spearman", "dcg", "chance_dcg"))
            table.add_row(Text(row["target"]), *(f"{value:.3f}" for value in numbers))
        console.print(table)
    for line in structure["warnings"]:
        print(f"Warning: {line}", file=sys.stderr)
    for name, reason in structure["failed"].items():
        print(f"Failed: {name}: {reason}", file=sys.stderr)


def _cell(row: dict):
    from rich.text import Text

    text = f"{row['value']:.3f} ±{row['standard_error']:.3f} ({row['rank']})"
    return Text(text, style="bold" if row["rank"] == 1 else "")
