"""Rows of a ranking: one result of one source, by kind, and how each is stored.

A row is a `Scored`, a `NotComputed` or a `Failed` source; on disk, in
`ranking.jsonl`, it is one JSON object whose kind shows by its fields.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jtransfer.intervals import Estimate, jackknife_interval, standard_error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """The facts that identify a run; the same in all of its rows."""

    target: str
    target_hash: str
    class_names: Sequence[str]
    code_hash: str
    versions: Mapping[str, str]
    device: str
    seed: int
    created: str
    reference: str | None = None
    reference_hash: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The strongest rows of a transport plan between two sets of classes."""

    source_classes: Sequence[str]
    masses: Sequence[Sequence[float]]
    """`[rows, C]`, parts of a plan of mass one."""
    left_out: float
    """Mass of the rows that are not kept."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """A score of a source, or a number that it declares, ranked as a baseline."""

    source: str
    score: str
    value: float
    standard_error: float | None = None
    low: float | None = None
    """End of the 95% interval."""
    high: float | None = None
    chance: float | None = None
    """Mean of the score under shuffled labels or wrong pairings."""
    chance_high: float | None = None
    ordered_by: float | None = None
    """The number by which the source takes its place; None for the value."""
    replicates: Sequence[float] | None = None
    """The score without each block of examples; None for a declared number."""
    n: int | None = None
    num_classes: int | None = None
    d: int | None = None
    num_source_classes: int | None = None
    plan: Plan | None = None
    warnings: Sequence[str] = ()
    seconds: float | None = None
    rank: int | None = None
    """From 1; None before the sources are ranked."""
    group: int | None = None
    """Sources of one group cannot be told apart."""
    beats_next: float | None = None
    """Probability of being better than the next source."""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Declared by the source, or found by `verify`."""
    source_hash: str | None = None
    run: Run | None = None

    @property
    def order(self) -> float:
        """The number by which the source takes its place; higher is better."""
        return self.value if self.ordered_by is None else self.ordered_by


@dataclasses.dataclass(frozen=True, kw_only=True)
class NotComputed:
    """A score, or the accuracy after transfer, that a source does not have."""

    source: str
    score: str
    reason: str
    seconds: float | None = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    source_hash: str | None = None
    run: Run | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failed:
    """A source of which no score could be computed."""

    source: str
    reason: str
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    source_hash: str | None = None
    run: Run | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verified:
    """The accuracy that a source reached on the target after transfer."""

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    num_test: int
    verified_by: str
    """How it was transferred: by a linear head, or by fine-tuning."""

    def __getitem__(self, name: str) -> float | int | str:
        """Returns a field by its name, as the dict did that this was in November."""
        return getattr(self, name)


Row = Scored | NotComputed | Failed
ACCURACY = "accuracy"
"""What `NotComputed.score` says where a source could not be verified."""
_NULLS = (
    *("standard_error", "low", "high", "chance", "chance_high"),
    *("beats_next", "source_hash"),
)
"""Fields that are written even where they are None."""


def scored(source: str, score: str, estimate: Estimate, **fields: Any) -> Scored:
    """Returns the row of an estimate, with its interval and its chance level."""
    value, low, high = jackknife_interval(estimate)
    return Scored(
        source=source,
        score=score,
        value=value,
        standard_error=standard_error(estimate.replicates),
        low=low,
        high=high,
        chance=float(estimate.shuffled.mean()),
        chance_high=float(estimate.shuffled.max()),
        replicates=[float(replicate) for replicate in estimate.replicates],
        **fields,
    )


def is_failure(row: Row) -> bool:
    """Tells whether a source failed, as a whole or in verification."""
    unverified = isinstance(row, NotComputed) and row.score == ACCURACY
    return isinstance(row, Failed) or unverified


def to_json(row: Row) -> dict[str, Any]:
    """Returns a row as it stands in `ranking.jsonl`, the facts of the run among it."""
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    run, plan = fields.pop("run"), fields.get("plan")
    if plan is not None:
        fields["plan"] = dataclasses.asdict(plan)
    run = {} if run is None else _without_none(dataclasses.asdict(run))
    for name in ("warnings", "replicates"):
        if fields.get(name) is not None:
            fields[name] = list(fields[name])
    return {**_without_none(fields), **run}


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in fields.items() if v is not None or k in _NULLS}


def from_json(fields: Any) -> Row:
    """Returns the row that `to_json` has written; fields of later versions are lost.

    Args:
      fields: what JSON has read.

    Returns:
      The row.

    Raises:
      ValueError: if it is none.
    """
    if not isinstance(fields, dict) or not isinstance(fields.get("source"), str):
        raise ValueError("a row has no source")
    if not isinstance(fields.get("facts"), dict):
        raise ValueError(f"the row of {fields['source']} has no facts")
    kind = _kind(fields)
    run = _picked(Run, fields)
    row = _picked(kind, fields)
    if isinstance(row.get("plan"), dict):
        row["plan"] = Plan(**_picked(Plan, row["plan"]))
    known = {
        f.name for f in dataclasses.fields(Run) if f.default is dataclasses.MISSING
    }
    row["run"] = Run(**run) if known <= set(run) else None
    try:
        return kind(**row)
    except TypeError as error:
        raise ValueError(f"the row of {fields['source']}: {error}") from error


def _kind(fields: Mapping[str, Any]) -> type:
    score, value = fields.get("score"), fields.get("value")
    if "value" in fields:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not isinstance(score, str):
            raise ValueError(f"the row of {fields['source']} has no number")
        return Scored
    if not isinstance(fields.get("reason"), str):
        raise ValueError(f"the row of {fields['source']} has neither value nor reason")
    return NotComputed if isinstance(score, str) else Failed


def _picked(kind: type, fields: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)} - {"run"}
    return {name: fields[name] for name in names & set(fields)}
