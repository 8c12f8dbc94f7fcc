"""Rank a zoo: scores, intervals, baselines, chance, and what cannot be told apart."""

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jtransfer._internal.errors import FileError, RequestError, SourceError
from jtransfer._internal.provenance import arrays_fingerprint, environment
from jtransfer.intervals import NUM_BLOCKS
from jtransfer.ranking.estimates import functions
from jtransfer.ranking.finished import (
    SourceResult,
    read_finished,
    remove_unfinished,
    write_finished,
)
from jtransfer.ranking.ordering import ranked
from jtransfer.ranking.rows import (
    ACCURACY,
    Failed,
    NotComputed,
    Row,
    Run,
    Verified,
    is_failure,
    to_json,
)
from jtransfer.ranking.score_table import SCORES, score_names
from jtransfer.ranking.source_rows import LACK, declared_rows, source_rows
from jtransfer.ranking.verification import without_test_part
from jtransfer.zoo import Reference, Source, Target, reference_facts

Verification = Callable[..., Verified]
"""`verification.head_accuracy` or `fine_tuned_accuracy`."""


def _warn(error: FileError) -> None:
    warnings.warn(str(error), RuntimeWarning, stacklevel=2)


def rank_sources(
    sources: Iterable[Source],
    target: Target,
    requested: Iterable[str] = (),
    *,
    seed: int = 0,
    verify: Verification | None = None,
    reference: Reference | None = None,
    folder: Path | None = None,
    announce: Callable[[str, str], None] = lambda name, outcome: None,
    unkept: Callable[[FileError], None] = _warn,
) -> list[Row]:
    """Ranks sources for a target.

    Args:
      sources: the zoo.
      target: the labelled examples.
      requested: names of `SCORES`, the deciding one first; none as in `score_names`.
      seed: decides the blocks, the shuffles and the heads of `verify`.
      verify: finds the accuracy of each source on the target after transfer,
        `verification.head_accuracy` or `fine_tuned_accuracy`, or None. Without test
        examples of the target a fifth of the labelled ones is set aside, and takes part
        in no score.
      reference: the model of the target's task, and images: what scores of functions
        are computed with. The attack on the reference is fed to the source, the
        direction of the paper's Table 1; see `jtransfer.pairs` for it.
      folder: where the results of each source are kept as soon as it is finished, and
        found again if source, target, code and request are the same; or None.
      announce: called with each source's name and how it went.
      unkept: called with the fault where results of a source cannot be kept, which
        ends nothing; it warns by default.

    Returns:
      Rows in the order of `ranked`, each with the facts of the run. A source that fails
      is one `Failed`; results of it are not kept.

    Raises:
      RequestError: if the images do not fit the reference, or fewer groups of the
        target are left beside its test part than blocks.

    Example:
      >>> from jtransfer import zoo
      >>> labels = np.arange(40) % 2
      >>> noise = np.random.default_rng(0).normal(size=(40, 3))
      >>> useful = noise + 3 * labels[:, None]
      >>> rows = rank_sources(
      ...     [
      ...         zoo.Source("noise", {}, features=lambda: noise),
      ...         zoo.Source("useful", {}, features=lambda: useful),
      ...     ],
      ...     zoo.labelled_target("parity", labels, digest=""),
      ... )
      >>> rows[0].source, rows[0].score, rows[0].rank
      ('useful', 'logme', 1)
    """
    names = score_names(requested, with_reference=reference is not None)
    scored = without_test_part(target, seed=seed) if verify else target
    _check_groups(scored)
    of_reference = reference_facts(reference)
    comparison = None
    if reference is not None:
        comparison = functions.comparison(reference, scored, seed=seed)
    run = Run(
        target=target.name,
        target_hash=target.digest,
        class_names=list(target.class_names),
        reference=None if reference is None else reference.source.name,
        reference_hash=of_reference["reference"],
        **environment(seed=seed),
    )
    tested = verify is not None and target.test_labels is not None
    key = {
        "target": target.digest,
        "test": arrays_fingerprint(target.test_labels) if tested else None,
        "code": run.code_hash,
        "scores": names,
        "seed": seed,
        "verify": verify and verify.__name__,
        **of_reference,
    }
    work = _Work(target, scored, names, seed, verify, comparison, folder, key)
    if folder is not None:
        remove_unfinished(folder)
    rows = []
    for source in sources:
        start = time.perf_counter()
        finished = _finished_source(source, work)
        outcome = f"{time.perf_counter() - start:.1f} s"
        outcome = "found finished" if finished.is_kept else outcome
        if finished.fault is not None:
            outcome += ", not kept"
            unkept(finished.fault)
        announce(source.name, _faults(finished.result.rows) or outcome)
        rows += _complete_rows(source, finished, run)
    return ranked(rows, names)


def _check_groups(target: Target) -> None:
    if target.groups is None:
        return
    count = len(np.unique(target.groups[target.labels >= 0]))
    if count < NUM_BLOCKS:
        raise RequestError(
            f"Target {target.name}: {count} groups are left beside the test part, and "
            f"intervals need {NUM_BLOCKS}; give test_labels or more groups."
        )


def json_ranking(*arguments: Any, **keywords: Any) -> list[dict[str, Any]]:
    """Ranks sources as `rank_sources` does, and returns the rows of `ranking.jsonl`.

    Args:
      *arguments: of `rank_sources`.
      **keywords: of `rank_sources`.

    Returns:
      A dict a row.
    """
    return [to_json(row) for row in rank_sources(*arguments, **keywords)]


def _faults(rows: Sequence[Row]) -> str:
    """The first fault, of the source or of a part of it; empty if there is none."""
    failures = [row.reason for row in rows if is_failure(row)]
    if failures:
        return f"failed: {failures[0]}"
    missing = [row for row in rows if isinstance(row, NotComputed)]
    partly = [row.reason for row in missing if not row.reason.startswith(LACK)]
    return f"failed in part: {partly[0]}" if partly else ""


class _Work(NamedTuple):
    """The request that all sources share."""

    target: Target
    scored: Target
    names: list[str]
    seed: int
    verify: Verification | None
    comparison: functions.Comparison | None
    folder: Path | None
    key: dict[str, Any]


class _Finished(NamedTuple):
    result: SourceResult
    digest: str | None
    is_kept: bool = False
    fault: FileError | None = None
    """Why it could not be kept."""


def _finished_source(source: Source, work: _Work) -> _Finished:
    """Finds the results of a source on disk, or computes and keeps them."""
    try:
        digest = source.digest() if source.digest else None
    except SourceError as error:
        failed = Failed(source=source.name, facts=source.facts, reason=str(error))
        return _Finished(SourceResult([failed]), None)
    keeps = work.folder is not None and digest is not None
    key = {**work.key, "source": digest}
    if keeps and (kept := read_finished(work.folder, source.name, key)) is not None:
        return _Finished(kept, digest, is_kept=True)
    scores = {name: SCORES[name] for name in work.names}
    rows = source_rows(
        source, work.scored, scores, seed=work.seed, comparison=work.comparison
    )
    result = _verified(source, SourceResult(rows), work)
    if keeps and not _faults(result.rows):
        try:
            write_finished(work.folder, source.name, key, result)
        except FileError as error:
            return _Finished(result, digest, fault=error)
    return _Finished(result, digest)


def _verified(source: Source, result: SourceResult, work: _Work) -> SourceResult:
    if work.verify is None or any(isinstance(row, Failed) for row in result.rows):
        return result
    try:
        verified = work.verify(source, work.target, seed=work.seed)
    except SourceError as error:
        fault = NotComputed(source=source.name, score=ACCURACY, reason=str(error))
        return SourceResult([*result.rows, fault])
    if isinstance(verified, Mapping):  # What `verify` returned in November.
        verified = Verified(**verified)
    return result._replace(verified=verified)


def _complete_rows(source: Source, finished: _Finished, run: Run) -> list[Row]:
    verified = finished.result.verified
    facts = {**source.facts, **(dataclasses.asdict(verified) if verified else {})}
    return [
        dataclasses.replace(row, facts=facts, source_hash=finished.digest, run=run)
        for row in [*finished.result.rows, *declared_rows(source)]
    ]
