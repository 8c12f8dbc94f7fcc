"""Comparison of tasks by H-scores of one zoo for several targets."""

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jtransfer._internal.errors import RequestError
from jtransfer._internal.files import json_value
from jtransfer._internal.names import repeated_name
from jtransfer._internal.provenance import environment
from jtransfer.ranking import task_structure
from jtransfer.ranking.ordering import ranked
from jtransfer.ranking.rows import Failed
from jtransfer.ranking.task_scores import TaskScored
from jtransfer.zoo import is_number
from jtransfer.zoo.task_targets import TaskTarget


def check_targets(targets: list[TaskTarget]) -> None:
    """Raises RequestError unless the targets are several names of as many examples."""
    names = [target.name for target in targets]
    if not names:
        raise RequestError("No target is named.")
    if (repeated := repeated_name(names)) is not None:
        raise RequestError(f"{repeated!r} is named twice.")
    lengths = {target.name: len(target.levels) for target in targets}
    if len(set(lengths.values())) > 1:
        raise RequestError(
            f"The targets have different numbers of examples: {lengths}."
        )


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
            table = json_value(text)
        else:
            head, *lines = csv.reader(io.StringIO(text))
            table = {
                line[0]: dict(zip(head[1:], map(float, line[1:]), strict=True))
                for line in lines
                if line
            }
        values = [[table[target][source] for target in targets] for source in sources]
    except KeyError as error:
        raise RequestError(f"{path} has no {error.args[0]!r}.") from error
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise RequestError(f"{path}: {error}") from error
    if not all(is_number(value) for row in values for value in row):
        raise RequestError(f"{path} must hold finite numbers.")
    return np.array(values, float)


class TaskFacts(NamedTuple):
    """Name and shape of a target."""

    name: str
    what: str
    """See `zoo.task_targets.TASK_ARRAYS`."""
    num_levels: int
    shape: list[int]
    """Of its label maps, `[h, w]`; one pixel unless it is dense."""


class TaskAgreement(NamedTuple):
    """Agreement of a target's H-scores with another score of its sources."""

    target: str
    spearman: float
    dcg: float
    chance_dcg: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskComparison:
    """H-scores and structure of tasks; `S` sources, `T` targets."""

    rows: list[TaskScored]
    """By target and rank."""
    sources: list[str]
    """Those that have scores."""
    targets: list[TaskFacts]
    num_examples: int
    h_scores: list[list[float]]
    """`[S][T]`."""
    normalized: list[list[float]]
    """`[S][T]`, see `task_structure.normalized_h_scores`."""
    second: list[list[float]] | None
    """Another score, `[S][T]`."""
    linkage: list[list[float]] | None
    """Of the targets, as SciPy has it; None for a single one."""
    leaves: list[int] | None
    """The targets in the order of the tree."""
    agreement: list[TaskAgreement] | None
    failed: dict[str, str]
    """Reasons by source."""
    warnings: list[str]
    environment: dict[str, Any]
    """See `provenance.environment`."""


def task_comparison(
    rows: Iterable[TaskScored | Failed],
    targets: list[TaskTarget],
    second: np.ndarray | None,
    *,
    seed: int,
) -> TaskComparison:
    """Compares targets by the H-scores of their sources.

    Args:
      rows: of `task_rows`, of all sources.
      targets: the targets.
      second: see `second_ranking`; of all sources, also those that failed.
      seed: of the run.

    Returns:
      The comparison.
    """
    names, rows = [target.name for target in targets], list(rows)
    all_sources = list(dict.fromkeys(row.source for row in rows))
    failed = {row.source: row.reason for row in rows if isinstance(row, Failed)}
    sources = [name for name in all_sources if name not in failed]
    scored = ranked([row for row in rows if isinstance(row, TaskScored)], names)
    values = {(row.source, row.score): row.value for row in scored}
    matrix = np.array([[values[s, t] for t in names] for s in sources])
    shares = task_structure.normalized_h_scores(matrix) if sources else matrix
    if second is not None:
        second = second[[all_sources.index(name) for name in sources]]
    merges = task_structure.task_linkage(matrix) if sources and len(names) > 1 else None
    warned = {(text, row.source) for row in scored for text in row.warnings}
    return TaskComparison(
        rows=scored,
        sources=sources,
        targets=[
            TaskFacts(t.name, t.what, t.num_levels, list(t.levels.shape[1:]))
            for t in targets
        ],
        num_examples=len(targets[0].levels),
        h_scores=matrix.tolist(),
        normalized=shares.tolist(),
        second=None if second is None else second.tolist(),
        linkage=None if merges is None else merges.tolist(),
        leaves=None if merges is None else task_structure.leaf_order(merges),
        agreement=_agreement(matrix, second, names),
        failed=failed,
        warnings=[f"{source}: {text}" for text, source in sorted(warned)],
        environment=environment(seed=seed),
    )


def comparison_json(comparison: TaskComparison) -> dict[str, Any]:
    """Returns a comparison as it stands in `tasks.json`."""
    fields = {
        field.name: getattr(comparison, field.name)
        for field in dataclasses.fields(comparison)
    }
    facts = fields.pop("environment")
    del fields["second"]
    lists = {"targets": comparison.targets, "agreement": comparison.agreement or []}
    fields |= {name: [row._asdict() for row in rows] for name, rows in lists.items()}
    if comparison.agreement is None:
        fields["agreement"] = None
    rows = [_row_json(row, comparison) for row in comparison.rows]
    return {**fields, "rows": rows, **facts}


_ROW_FIELDS = (
    *("source", "value", "standard_error", "low", "high", "chance", "chance_high"),
    *("replicates", "n", "d", "num_levels", "num_pixels", "pixels", "seconds"),
    *("warnings", "rank", "group", "beats_next"),
)


def _row_json(row: TaskScored, comparison: TaskComparison) -> dict[str, Any]:
    source = comparison.sources.index(row.source)
    target = [facts.name for facts in comparison.targets].index(row.score)
    second = comparison.second
    return {
        **{name: getattr(row, name) for name in _ROW_FIELDS},
        "share": comparison.normalized[source][target],
        "second": None if second is None else second[source][target],
        "target": row.score,
    }


def _agreement(matrix, second, names) -> list[TaskAgreement] | None:
    if second is None or len(matrix) < 2:
        return None
    agreement = task_structure.ranking_agreement(matrix, second)
    columns = (agreement.spearman, agreement.dcg, agreement.chance_dcg)
    return [
        TaskAgreement(name, *map(float, numbers))
        for name, *numbers in zip(names, *columns, strict=True)
    ]
