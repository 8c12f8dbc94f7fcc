"""How to transfer: train, fine-tune, and distil students of other networks."""

from jtransfer.transfer._optimal_features import OptimalFeatures as OptimalFeatures
from jtransfer.transfer._optimal_features import SymbolTable as SymbolTable
from jtransfer.transfer._optimal_features import features_of as features_of
from jtransfer.transfer._optimal_features import optimal_features as optimal_features
from jtransfer.transfer._optimal_features import (
    soft_hgr_objective as soft_hgr_objective,
)
from jtransfer.transfer.class_costs import class_cost as class_cost
from jtransfer.transfer.distil import STUDENT_PRESETS as STUDENT_PRESETS
from jtransfer.transfer.distil import SharedMap as SharedMap
from jtransfer.transfer.distil import StudentRecipe as StudentRecipe
from jtransfer.transfer.distil import distil_student as distil_student
from jtransfer.transfer.distil import shared_maps as shared_maps
from jtransfer.transfer.fine_tune import fine_tune_head as fine_tune_head
from jtransfer.transfer.fine_tune import fine_tune_network as fine_tune_network
from jtransfer.transfer.fine_tune import (
    is_classified_correctly as is_classified_correctly,
)
from jtransfer.transfer.fine_tune import with_new_head as with_new_head
from jtransfer.transfer.losses import Method as Method
from jtransfer.transfer.losses import Student as Student
from jtransfer.transfer.losses import student_objective as student_objective
from jtransfer.transfer.methods import (
    activations_and_jacobians_method as activations_and_jacobians_method,
)
from jtransfer.transfer.methods import (
    attention_and_jacobians_method as attention_and_jacobians_method,
)
from jtransfer.transfer.methods import lwf_method as lwf_method
from jtransfer.transfer.methods import sinkhorn_method as sinkhorn_method
from jtransfer.transfer.train import TRAINING_PRESETS as TRAINING_PRESETS
from jtransfer.transfer.train import Recipe as Recipe
from jtransfer.transfer.train import train_network as train_network
