"""Facts that identify the computations behind a page."""

from collections.abc import Mapping
from typing import NamedTuple

from jtransfer.pairs.results import PairedNetwork, PairSummary
from jtransfer.ranking.tasks import TaskComparison
from jtransfer.report.pages.formats import number
from jtransfer.report.pages.ranking_view import RankingView


class ProvenanceFact(NamedTuple):
    """A fact about a computation, with all values that it has among the rows."""

    name: str
    values: list[str]


def ranking_provenance(ranking: RankingView) -> list[ProvenanceFact]:
    """Returns the facts of all runs of a ranking, each value once."""
    facts: dict[str, dict[str, None]] = {}

    def add(name: str, value: object) -> None:
        if value is not None:
            facts.setdefault(name, {})[str(value)] = None

    for row in ranking.rows:
        if row.run is not None:
            add("created", row.run.created)
            add("device", row.run.device)
            add("seed", row.run.seed)
            add("target hash", row.run.target_hash)
            add("code hash", row.run.code_hash)
            for package, version in row.run.versions.items():
                add(package, version)
        if row.source_hash:
            add("source hashes", f"{row.source} {row.source_hash}")
    return [ProvenanceFact(name, list(values)) for name, values in facts.items()]


def pair_provenance(pair: PairSummary) -> list[ProvenanceFact]:
    """Returns the facts of the comparison of a pair of networks."""
    facts = {
        "device": pair.device,
        "seed": pair.seed,
        "seconds": pair.seconds,
        "data hash": pair.data_hash,
        "code hash": pair.code_hash,
        "target": _network_words(pair.target),
        "target, accuracy here": number(pair.target.accuracy, 3),
        "source": _network_words(pair.source),
        "source, accuracy here": number(pair.source.accuracy, 3),
        **pair.versions,
    }
    return _facts(facts)


def _network_words(network: PairedNetwork) -> str:
    return f"{network.name}, {number(network.num_outputs)} outputs, {network.hash}"


def task_provenance(comparison: TaskComparison) -> list[ProvenanceFact]:
    """Returns the facts of a comparison of tasks."""
    environment = comparison.environment
    names = ("created", "device", "seed", "code_hash")
    facts = {name.replace("_", " "): environment[name] for name in names}
    return _facts(facts | environment["versions"])


def _facts(values: Mapping[str, object]) -> list[ProvenanceFact]:
    return [ProvenanceFact(name, [str(value)]) for name, value in values.items()]
