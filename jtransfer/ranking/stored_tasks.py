"""The comparison of tasks as it is read from `tasks.json`."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import scipy.cluster.hierarchy

from jtransfer._internal.typed_json import typed_value
from jtransfer.ranking.tasks import TaskComparison


def comparison_from_json(content: Any) -> TaskComparison:
    """Returns the comparison that `comparison_json` has written.

    Args:
      content: what JSON has read.

    Returns:
      The comparison.

    Raises:
      ValueError: if it is none.
    """
    content = typed_value(dict[str, Any], content, "tasks")
    keys = typed_value(list[_RowKey], content.get("rows"), "tasks.rows")
    second = {(key.source, key.target): key.second for key in keys}
    rows = zip(content["rows"], keys, strict=True)
    comparison = typed_value(
        TaskComparison,
        {
            **content,
            "rows": [{**row, "score": key.target} for row, key in rows],
            "second": None,
            "environment": typed_value(_Environment, content, "tasks")._asdict(),
        },
        "tasks",
    )
    _check_shapes(comparison)
    targets = comparison.targets
    if set(second) != {(a, b.name) for a in comparison.sources for b in targets}:
        raise ValueError("tasks.rows are not one a source and target")
    if None in second.values():
        return comparison
    matrix = [[second[a, b.name] for b in targets] for a in comparison.sources]
    return dataclasses.replace(comparison, second=matrix)


def _check_shapes(comparison: TaskComparison) -> None:
    """Raises ValueError unless all parts are about the same sources and targets."""
    num_sources, num_targets = len(comparison.sources), len(comparison.targets)
    if any(len(target.shape) != 2 for target in comparison.targets):
        raise ValueError("tasks.targets have shapes that are not [h, w]")
    if num_sources and np.shape(comparison.normalized) != (num_sources, num_targets):
        raise ValueError("tasks.normalized is not one a source and target")
    leaves = range(num_targets) if comparison.leaves is None else comparison.leaves
    if sorted(leaves) != list(range(num_targets)):
        raise ValueError("tasks.leaves are not the targets")
    if comparison.linkage is not None:
        linkage = np.array(comparison.linkage, float)
        valid = scipy.cluster.hierarchy.is_valid_linkage(linkage)
        if not valid or len(linkage) != num_targets - 1:
            raise ValueError("tasks.linkage is no tree of the targets")


class _RowKey(NamedTuple):
    """The parts of a row in `tasks.json` that are no part of `TaskScored`."""

    source: str
    target: str
    second: float | None


class _Environment(NamedTuple):
    """See `provenance.environment`."""

    code_hash: str
    versions: dict[str, str]
    device: str
    seed: int
    created: str
