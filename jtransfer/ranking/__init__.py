"""Rankings of sources: scores, intervals, baselines, chance and groups."""

from jtransfer._internal.moved import moved_attribute
from jtransfer.ranking.correlations import dcg as dcg
from jtransfer.ranking.correlations import pearson as pearson
from jtransfer.ranking.correlations import spearman as spearman
from jtransfer.ranking.correlations import top_k_regret as top_k_regret
from jtransfer.ranking.correlations import weighted_kendall as weighted_kendall
from jtransfer.ranking.ordering import Agreement as Agreement
from jtransfer.ranking.ordering import RankCorrelation as RankCorrelation
from jtransfer.ranking.ordering import agreement as agreement
from jtransfer.ranking.ordering import agreements as agreements
from jtransfer.ranking.ordering import rank_correlation as rank_correlation
from jtransfer.ranking.ordering import ranked as ranked
from jtransfer.ranking.rows import Failed as Failed
from jtransfer.ranking.rows import NotComputed as NotComputed
from jtransfer.ranking.rows import Plan as Plan
from jtransfer.ranking.rows import Row as Row
from jtransfer.ranking.rows import Run as Run
from jtransfer.ranking.rows import Scored as Scored
from jtransfer.ranking.rows import Verified as Verified
from jtransfer.ranking.rows import from_json as from_json
from jtransfer.ranking.rows import to_json as to_json
from jtransfer.ranking.run import json_ranking as rank  # noqa: F401
from jtransfer.ranking.run import rank_sources as rank_sources
from jtransfer.ranking.score_table import ALL as ALL
from jtransfer.ranking.score_table import ALWAYS as ALWAYS
from jtransfer.ranking.score_table import DECLARED as DECLARED
from jtransfer.ranking.score_table import NEEDS_REFERENCE as NEEDS_REFERENCE
from jtransfer.ranking.score_table import OF_REFERENCE as OF_REFERENCE
from jtransfer.ranking.score_table import ON_REQUEST as ON_REQUEST
from jtransfer.ranking.score_table import SCORES as SCORES
from jtransfer.ranking.score_table import Declared as Declared
from jtransfer.ranking.score_table import Score as Score
from jtransfer.ranking.score_table import score_names as score_names
from jtransfer.ranking.score_table import unknown_score as unknown_score


def __getattr__(name: str):
    return moved_attribute(__name__, name)
