"""Losses that make a student do what a teacher does; all are batch means."""

from jtransfer.distillation.activations import cross_entropy as cross_entropy
from jtransfer.distillation.activations import match_activations as match_activations
from jtransfer.distillation.activations import soft_targets as soft_targets
from jtransfer.distillation.afd import AttentionParameters as AttentionParameters
from jtransfer.distillation.afd import NormalizedLayer as NormalizedLayer
from jtransfer.distillation.afd import afd_attention as afd_attention
from jtransfer.distillation.afd import afd_loss as afd_loss
from jtransfer.distillation.aml import aml_loss as aml_loss
from jtransfer.distillation.aml import asymmetric_regression as asymmetric_regression
from jtransfer.distillation.attention import attention_map as attention_map
from jtransfer.distillation.attention import (
    attention_peak_gradient as attention_peak_gradient,
)
from jtransfer.distillation.attention import attention_transfer as attention_transfer
from jtransfer.distillation.attention import match_attention as match_attention
from jtransfer.distillation.attention import (
    match_attention_mean_square as match_attention_mean_square,
)
from jtransfer.distillation.attention import (
    pooled_attention_map as pooled_attention_map,
)
from jtransfer.distillation.channel_matching import MatchingState as MatchingState
from jtransfer.distillation.channel_matching import (
    channel_assignment as channel_assignment,
)
from jtransfer.distillation.channel_matching import channel_costs as channel_costs
from jtransfer.distillation.channel_matching import matching_state as matching_state
from jtransfer.distillation.channel_matching import renewed_matching as renewed_matching
from jtransfer.distillation.fitnet import Regressor as Regressor
from jtransfer.distillation.fitnet import fitnet_loss as fitnet_loss
from jtransfer.distillation.fitnet import fitnet_regressor as fitnet_regressor
from jtransfer.distillation.forgetting import lwf_loss as lwf_loss
from jtransfer.distillation.gradients import SelectedGradient as SelectedGradient
from jtransfer.distillation.gradients import (
    largest_output_gradient as largest_output_gradient,
)
from jtransfer.distillation.gradients import (
    selected_output_gradient as selected_output_gradient,
)
from jtransfer.distillation.gradients import (
    selected_output_gradients as selected_output_gradients,
)
from jtransfer.distillation.gradients import (
    top_output_gradients as top_output_gradients,
)
from jtransfer.distillation.hausdorff import (
    asymmetric_hausdorff as asymmetric_hausdorff,
)
from jtransfer.distillation.hausdorff import source_loss_bound as source_loss_bound
from jtransfer.distillation.jacobians import jacobian_norm as jacobian_norm
from jtransfer.distillation.jacobians import match_jacobians as match_jacobians
from jtransfer.distillation.jacobians import (
    match_normalized_jacobians as match_normalized_jacobians,
)
from jtransfer.distillation.knowledge_distillation import ban_loss as ban_loss
from jtransfer.distillation.knowledge_distillation import kd_loss as kd_loss
from jtransfer.distillation.mgd import ChannelNorm as ChannelNorm
from jtransfer.distillation.mgd import margins as margins
from jtransfer.distillation.mgd import mgd_loss as mgd_loss
from jtransfer.distillation.mgd import mgd_norms as mgd_norms
from jtransfer.distillation.noise import (
    noise_augmented_matching as noise_augmented_matching,
)
from jtransfer.distillation.noise import noisy_matching as noisy_matching
from jtransfer.distillation.pair_memory import LinearHead as LinearHead
from jtransfer.distillation.pair_memory import Memory as Memory
from jtransfer.distillation.pair_memory import Projections as Projections
from jtransfer.distillation.pair_memory import drawn_negatives as drawn_negatives
from jtransfer.distillation.pair_memory import renewed_memory as renewed_memory
from jtransfer.distillation.pair_memory import wcord_memory as wcord_memory
from jtransfer.distillation.pair_memory import wcord_parameters as wcord_parameters
from jtransfer.distillation.probabilities import (
    jacobian_covariance as jacobian_covariance,
)
from jtransfer.distillation.probabilities import (
    printed_cross_entropy_jacobian_norm as printed_cross_entropy_jacobian_norm,
)
from jtransfer.distillation.probabilities import (
    printed_cross_entropy_match_jacobians as printed_cross_entropy_match_jacobians,
)
from jtransfer.distillation.projections import projected_jacobian as projected_jacobian
from jtransfer.distillation.projections import random_projection as random_projection
from jtransfer.distillation.projections import (
    stochastic_jacobian_norm as stochastic_jacobian_norm,
)
from jtransfer.distillation.projections import (
    stochastic_match_jacobians as stochastic_match_jacobians,
)
from jtransfer.distillation.refilled import (
    match_local_classifiers as match_local_classifiers,
)
from jtransfer.distillation.refilled import match_triplets as match_triplets
from jtransfer.distillation.relations import match_angles as match_angles
from jtransfer.distillation.relations import match_distances as match_distances
from jtransfer.distillation.rotations import ProjectionHead as ProjectionHead
from jtransfer.distillation.rotations import contrastive_logits as contrastive_logits
from jtransfer.distillation.rotations import contrastive_loss as contrastive_loss
from jtransfer.distillation.rotations import projected as projected
from jtransfer.distillation.rotations import projection_head as projection_head
from jtransfer.distillation.rotations import rotated_views as rotated_views
from jtransfer.distillation.seed import renewed_queue as renewed_queue
from jtransfer.distillation.seed import seed_loss as seed_loss
from jtransfer.distillation.seed import seed_queue as seed_queue
from jtransfer.distillation.sftn import sftn_loss as sftn_loss
from jtransfer.distillation.sskd import kept_views as kept_views
from jtransfer.distillation.sskd import (
    match_rotated_predictions as match_rotated_predictions,
)
from jtransfer.distillation.sskd import match_similarities as match_similarities
from jtransfer.distillation.transport import sinkhorn_matches as sinkhorn_matches
from jtransfer.distillation.transport import sinkhorn_matching as sinkhorn_matching
from jtransfer.distillation.transport import transported_targets as transported_targets
from jtransfer.distillation.vid import Predictor as Predictor
from jtransfer.distillation.vid import vid_loss as vid_loss
from jtransfer.distillation.vid import vid_predictors as vid_predictors
from jtransfer.distillation.wcord import wcord_global_loss as wcord_global_loss
from jtransfer.distillation.wcord import wcord_local_loss as wcord_local_loss
