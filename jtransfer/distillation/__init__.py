"""Losses that make a student do what a teacher does; all are batch means."""

from jtransfer.distillation.activations import cross_entropy as cross_entropy
from jtransfer.distillation.activations import match_activations as match_activations
from jtransfer.distillation.activations import soft_targets as soft_targets
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
from jtransfer.distillation.noise import (
    noise_augmented_matching as noise_augmented_matching,
)
from jtransfer.distillation.noise import noisy_matching as noisy_matching
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
from jtransfer.distillation.transport import sinkhorn_matches as sinkhorn_matches
from jtransfer.distillation.transport import sinkhorn_matching as sinkhorn_matching
from jtransfer.distillation.transport import transported_targets as transported_targets
from jtransfer.distillation.vid import Predictor as Predictor
from jtransfer.distillation.vid import vid_loss as vid_loss
from jtransfer.distillation.vid import vid_predictors as vid_predictors
