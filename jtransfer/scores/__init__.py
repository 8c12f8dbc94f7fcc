"""Scores of how well a source fits a target; all higher = better."""

from jtransfer.scores._bhattacharyya import bhattacharyya as bhattacharyya
from jtransfer.scores._h_score import dense_h_score as dense_h_score
from jtransfer.scores._h_score import h_score as h_score
from jtransfer.scores._h_score import ledoit_wolf_shrinkage as ledoit_wolf_shrinkage
from jtransfer.scores._h_score import regularized_h_score as regularized_h_score
from jtransfer.scores._leave_one_out_leep import (
    leave_one_out_leep as leave_one_out_leep,
)
from jtransfer.scores._leep import label_table as label_table
from jtransfer.scores._leep import leep as leep
from jtransfer.scores._leep import log_expected_predictions as log_expected_predictions
from jtransfer.scores._leep import nce as nce
from jtransfer.scores._leep import (
    negative_conditional_entropy as negative_conditional_entropy,
)
from jtransfer.scores._leep import probability_table as probability_table
from jtransfer.scores._logme import logme as logme
from jtransfer.scores._logme import logme_regression as logme_regression
from jtransfer.scores._neighbours import knn_probe_accuracy as knn_probe_accuracy
from jtransfer.scores.probes import Linear as Linear
from jtransfer.scores.probes import ridge_classifier as ridge_classifier
from jtransfer.scores.probes import ridge_probe_accuracy as ridge_probe_accuracy
from jtransfer.scores.probes import softmax_classifier as softmax_classifier
from jtransfer.scores.transferability import (
    TransferabilityInterval as TransferabilityInterval,
)
from jtransfer.scores.transferability import (
    task_transferability as task_transferability,
)
from jtransfer.scores.transferability import (
    transferability_interval as transferability_interval,
)
