"""Rank a zoo: scores, intervals, baselines, chance, and what cannot be told apart."""

import datetime
import difflib
import hashlib
import importlib.metadata
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import jax

from jtransfer import assessment, pairs, scores, verification
from jtransfer._version import __version__
from jtransfer.agreement import dcg as dcg
from jtransfer.agreement import pearson as pearson
from jtransfer.agreement import spearman as spearman
from jtransfer.agreement import top_k_regret as top_k_regret
from jtransfer.agreement import weighted_kendall as weighted_kendall
from jtransfer.ranking import _results, pair_estimates
from jtransfer.ranking._ordering import agreement as agreement
from jtransfer.ranking._ordering import rank_correlation as rank_correlation
from jtransfer.ranking._ordering import ranked as ranked
from jtransfer.ranking.scoring import OF_REFERENCE as OF_REFERENCE
from jtransfer.ranking.scoring import ON_REQUEST as ON_REQUEST
from jtransfer.ranking.scoring import Score as Score
from jtransfer.ranking.scoring import source_rows as source_rows
from jtransfer.ranking.scoring import static_rows as static_rows
from jtransfer.zoo import Reference, Source, SourceError, Target, reference_facts

SCORES = {
    "logme": Score(scores.logme, "moments", "You et al., 2021"),
    "regularized_h_score": Score(
        scores.regularized_h_score, "moments", "Ibrahim et al., 2021"
    ),
    "h_score": Score(scores.h_score, "moments", "Bao et al., 2019"),
    "bhattacharyya": Score(scores.bhattacharyya, "moments", "Pándy et al., 2022"),
    "leep": Score(scores.leep, "probabilities", "Nguyen et al., 2020"),
    "nce": Score(scores.nce, "source_labels", "Tran et al., 2019"),
    "ridge_probe": Score(
        scores.ridge_probe_accuracy, "probe", "baseline: accuracy on held-out blocks"
    ),
    "sinkhorn": Score(assessment.sinkhorn_score, "transport", "Lu et al., 2022"),
    "alpha1": Score(pairs.alpha1, "attacks", "Liang et al., 2021"),
    "alpha2": Score(pairs.alpha2, "attacks", "Liang et al., 2021"),
    "alpha12": Score(pairs.alpha12, "attacks", "Liang et al., 2021"),
    "gradient_matching": Score(
        pairs.gradient_matching, "jacobians", "Liang et al., 2021"
    ),
}
ALWAYS = ("logme", "regularized_h_score", "ridge_probe")
"""Computed whatever is asked for: right for n < d, and the baseline to beat."""


def score_names(
    requested: Iterable[str] = (), *, with_reference: bool = False
) -> list[str]:
    """Returns the scores to compute: the requested ones first, then `ALWAYS`.

    Args:
      requested: names of `SCORES`; none stands for all but the slowest, `ON_REQUEST`.
      with_reference: whether that includes those that need a reference; they take
        gradients of every network at every image.

    Returns:
      The names, each once.
    """
    left_out = ON_REQUEST if with_reference else (*ON_REQUEST, *OF_REFERENCE)
    usual = [name for name, score in SCORES.items() if score.needs not in left_out]
    return list(dict.fromkeys([*(requested or usual), *ALWAYS]))


def rank(
    sources: Iterable[Source],
    target: Target,
    requested: Iterable[str] = (),
    *,
    seed: int = 0,
    verify: Callable[..., dict] | None = None,
    reference: Reference | None = None,
    folder: Path | None = None,
    announce: Callable[[str, str], None] = lambda name, outcome: None,
) -> list[dict]:
    """Ranks sources for a target.

    Args:
      sources: the zoo.
      target: the labelled examples.
      requested: names of `SCORES`, the deciding one first; none as in `score_names`.
      seed: decides the blocks, the shuffles and the heads of `verify`.
      verify: what records the accuracy of each source on the target after transfer,
        `verification.head_accuracy` or `fine_tuned_accuracy`, or None. Without test
        examples of the target a fifth of the labelled ones is set aside, and takes part
        in no score.
      reference: the model of the target's task, and images: what scores of functions
        are computed with. The attack on the reference is fed to the source, the
        direction of the paper's Table 1; see `jtransfer.pairs` for it.
      folder: where the results of each source are kept as soon as it is finished, and
        found again if source, target, code and request are the same; or None.
      announce: called with each source's name and how it went.

    Returns:
      Rows as `ranked` returns them, each with the facts of the run. A source that
      fails is one row with `source` and `reason`; results of it are not kept.

    Raises:
      RequestError: if the images do not fit the reference.

    Example:
      >>> from jtransfer import zoo
      >>> labels = np.arange(40) % 2
      >>> noise = np.random.default_rng(0).normal(size=(40, 3))
      >>> useful = noise + 3 * labels[:, None]
      >>> rows = rank(
      ...     [
      ...         zoo.Source("noise", {}, features=lambda: noise),
      ...         zoo.Source("useful", {}, features=lambda: useful),
      ...     ],
      ...     zoo.labelled_target("parity", labels, digest=""),
      ... )
      >>> rows[0]["source"], rows[0]["score"], rows[0]["rank"]
      ('useful', 'logme', 1)
    """
    names = score_names(requested, with_reference=reference is not None)
    run = run_facts(target, seed=seed)
    scored = verification.without_test_part(target, seed=seed) if verify else target
    comparison, of_reference = None, reference_facts(reference)
    if reference is not None:
        run["reference"] = reference.source.name
        run["reference_hash"] = of_reference["reference"]
        comparison = pair_estimates.comparison(reference, scored, seed=seed)
    request = {
        "target": target.digest,
        "test": _digest(target.test_labels) if verify else None,
        "code": run["code_hash"],
        "scores": names,
        "seed": seed,
        "verify": verify and verify.__name__,
        **of_reference,
    }
    rows = []
    for source in sources:
        start = time.perf_counter()
        digest, found, fresh = _found(source, request, folder)
        kept = found is not None and not fresh
        if found is None:
            wanted = {name: SCORES[name] for name in names}
            found = source_rows(
                source, scored, wanted, seed=seed, comparison=comparison
            )
            if verify and "score" in found[0]:
                found += _verified_rows(verify, source, target, seed)
            if fresh and all("score" in row or "verified" in row for row in found):
                key = {**request, "source": digest}
                _results.write(folder, source.name, key, found)
        outcome = f"{time.perf_counter() - start:.1f} s"
        outcome = "found finished" if kept else outcome
        faults = [row["reason"] for row in found if _is_failure(row)]
        announce(source.name, f"failed: {faults[0]}" if faults else outcome)
        verified = {k: v for row in found for k, v in row.get("verified", {}).items()}
        shared = {"facts": {**source.facts, **verified}, "source_hash": digest, **run}
        found = [row for row in found if "verified" not in row] + static_rows(source)
        rows += [{**row, **shared} for row in found]
    return ranked(rows, names)


def _found(source: Source, request: dict, folder: Path | None):
    """The source's digest, its finished rows or None, and whether to keep new ones."""
    try:
        digest = source.digest() if source.digest else None
    except SourceError as error:
        failed = {"source": source.name, "facts": source.facts, "reason": str(error)}
        return None, [failed], True
    if folder is None or digest is None:
        return digest, None, False
    found = _results.read(folder, source.name, {**request, "source": digest})
    return digest, found, found is None


def _is_failure(row: dict) -> bool:
    return "reason" in row and row.get("score", "accuracy") == "accuracy"


def _digest(labels) -> str | None:
    return None if labels is None else hashlib.sha256(labels.tobytes()).hexdigest()


def unknown_score(name: str) -> str:
    """Returns a line about a name that is none of `SCORES`, with the nearest ones."""
    near = difflib.get_close_matches(name, SCORES, n=3, cutoff=0.4) or list(SCORES)
    return f"There is no score {name!r}; did you mean {' or '.join(near)}?"


def run_facts(target: Target, *, seed: int) -> dict:
    """Returns what identifies a run: target, versions, device, seed, time."""
    return {
        "target": target.name,
        "target_hash": target.digest,
        "class_names": list(target.class_names),
        **environment(seed=seed),
    }


def environment(*, seed: int) -> dict:
    """Returns what identifies a computation: code, versions, device, seed, time."""
    packages = ("jax", "jaxlib", "numpy", "scipy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    now = datetime.datetime.now(datetime.UTC)
    return {
        "code_hash": code_digest(),
        "versions": {"jtransfer": __version__, **versions},
        "device": jax.devices()[0].device_kind,
        "seed": seed,
        "created": now.isoformat(timespec="seconds"),
    }


def code_digest() -> str:
    """Returns a hash of the package's code: results of other code are not reused."""
    total = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        total.update(name.encode() + path.read_bytes())
    return total.hexdigest()[:16]


def _verified_rows(verify, source: Source, target: Target, seed: int) -> list[dict]:
    try:
        verified = verify(source, target, seed=seed)
    except SourceError as error:
        return [{"source": source.name, "score": "accuracy", "reason": str(error)}]
    return [{"source": source.name, "verified": verified}]
