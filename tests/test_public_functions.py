"""One table over all public functions of the papers' rooms.

Of each: it works inside jit and vmap and gives there what it gives outside, the dtype
is that of the arrays, a second call with the same shapes compiles nothing, and the
docstring has an example that the doctests run.
"""

import doctest
import functools
import inspect
import sys
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jtransfer import (
    adversarial,
    assessment,
    attacks,
    distillation,
    hgr,
    jacobians,
    matching,
    moments,
    scores,
    sinkhorn,
)
from jtransfer.distillation import batch_jacobians
from jtransfer.scores import clustering, dense_targets, higher_order, probes
from jtransfer.sinkhorn import convergence

PACKAGES = (
    adversarial,
    assessment,
    attacks,
    distillation,
    hgr,
    matching,
    scores,
    sinkhorn,
)
"""Their public functions are those that `__init__` imports."""
MODULES = (
    batch_jacobians,
    clustering,
    convergence,
    dense_targets,
    higher_order,
    jacobians,
    moments,
    probes,
)
"""Their public functions are those defined there."""

N, C = 12, 3
LABELS = np.arange(N, dtype=np.int32) % C
SOURCE_LABELS = np.arange(N, dtype=np.int32) // 4
LEVELS = np.arange(N * 4, dtype=np.int32).reshape(N, 2, 2) % C
TOKENS = np.stack([LABELS, SOURCE_LABELS], axis=1)
KEY = jax.random.key(0)


class Inputs(NamedTuple):
    """Arrays that the calls share, so that few shapes are compiled."""

    features: np.ndarray  # [12, 4]
    others: np.ndarray  # [12, 4]
    logits: np.ndarray  # [12, 3]
    other_logits: np.ndarray  # [12, 3]
    jacobians: np.ndarray  # [12, 3, 4]
    other_jacobians: np.ndarray  # [12, 3, 4]
    maps: np.ndarray  # [12, 4, 4, 2]
    weights: np.ndarray  # [3, 4]
    other_weights: np.ndarray  # [3, 4]
    joint: np.ndarray  # [3, 4], positive
    cost: np.ndarray  # [3, 3], in [0, 1]
    moments: moments.Moments
    other_moments: moments.Moments


def inputs(seed):
    """Well-conditioned inputs, float32."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    features, others = (
        normal(N, 4) + 2 * np.eye(C, 4, dtype=np.float32)[LABELS] for _ in range(2)
    )
    statistics = [
        moments.class_moments(part, LABELS, num_classes=C)
        for part in (features, others)
    ]
    return Inputs(
        features,
        others,
        normal(N, C),
        normal(N, C),
        normal(N, C, 4),
        normal(N, C, 4),
        normal(N, 4, 4, 2),
        normal(C, 4),
        normal(C, 4),
        rng.uniform(0.1, 1, size=(C, 4)).astype(np.float32),
        rng.uniform(size=(C, C)).astype(np.float32),
        *jax.tree.map(np.asarray, statistics),
    )


def teacher(i):
    """A function of one example `[4]` with outputs `[3]`."""
    return lambda x: jnp.tanh(i.weights @ x)


def student(i):
    """Another such function."""
    return lambda x: i.other_weights @ jnp.sin(x)


def feature_map(i):
    """A function of one example `[4]` with a feature map `[2, 2, 3]`."""
    return lambda x: jnp.sin(x.reshape(2, 2, 1) * i.weights[None, None, :, 0])


def labelled(function, **settings):
    return lambda i: function(i.features, LABELS, **settings)


def on_moments(function, **settings):
    return lambda i: function(i.moments, **settings)


def on_logits(function, **settings):
    return lambda i: function(i.logits, i.other_logits, **settings)


def on_features(function, **settings):
    return lambda i: function(i.features, i.others, **settings)


def on_jacobians(function, **settings):
    return lambda i: function(i.jacobians, i.other_jacobians, **settings)


def on_one(function, **settings):
    """Calls with the Jacobians of one example."""
    return lambda i: function(i.jacobians[0], i.other_jacobians[0], **settings)


def on_joint(function, **settings):
    return lambda i: function(i.joint, **settings)


def probs(i):
    return jax.nn.softmax(i.logits), jax.nn.softmax(i.other_logits)


def attention(i):
    maps = jnp.sum(i.maps**2, axis=3)
    return maps, maps[::-1]


def regressor(i):
    return distillation.fitnet_regressor(
        KEY, teacher_shape=(2, 2, 2), student_shape=(2, 2, 2), dtype=i.maps.dtype
    )


def predictors(i):
    return distillation.vid_predictors(
        KEY, teacher_channels=[2], student_channels=[2], dtype=i.maps.dtype
    )


def matching_state(i):
    return distillation.matching_state(
        teacher_channels=[2], student_channels=[2], dtype=i.maps.dtype
    )


def mgd_norms(i):
    return distillation.mgd_norms(student_channels=[2], dtype=i.maps.dtype)


def projection_head(i):
    return distillation.projection_head(KEY, dim=2, dtype=i.maps.dtype)


def views(i):
    """Two different numbers of each of four views, `[12, 4, 2]`."""
    return i.maps[:, :, 0], i.maps[:, :, 1]


def attention_params(i):
    return distillation.afd_attention(
        KEY, teacher_channels=[2], student_channels=[2, 2], dim=3, dtype=i.maps.dtype
    )


def wcord_parameters(i):
    return distillation.wcord_parameters(
        KEY, teacher_dim=4, student_dim=4, dim=3, dtype=i.features.dtype
    )


def wcord_memory(i):
    return distillation.wcord_memory(KEY, num_examples=N, dim=3, dtype=i.features.dtype)


def corners(i):
    """Two different parts of the maps, `[12, 2, 2, 2]`."""
    return i.maps[:, :2, :2], i.maps[:, 2:, 2:]


SINKHORN = {"epsilon": 0.5, "max_iterations": 50}
CALLS = {
    # moments
    moments.empty_moments: lambda i: moments.empty_moments(
        4, num_classes=C, dtype=i.features.dtype
    ),
    moments.class_moments: labelled(moments.class_moments, num_classes=C),
    moments.merge: lambda i: moments.merge(i.moments, i.other_moments),
    # scores
    scores.h_score: on_moments(scores.h_score),
    scores.regularized_h_score: on_moments(scores.regularized_h_score),
    scores.ledoit_wolf_shrinkage: on_moments(scores.ledoit_wolf_shrinkage),
    scores.dense_h_score: lambda i: scores.dense_h_score(
        i.features, LEVELS, num_levels=C
    ),
    scores.logme: on_moments(scores.logme),
    scores.logme_regression: lambda i: scores.logme_regression(
        i.features, i.others[:, :2]
    ),
    scores.leep: lambda i: scores.leep(probs(i)[0], LABELS, num_classes=C),
    scores.knn_probe_accuracy: labelled(scores.knn_probe_accuracy, num_classes=C),
    scores.leave_one_out_leep: lambda i: scores.leave_one_out_leep(
        probs(i)[0], LABELS, num_classes=C
    ),
    scores.probability_table: lambda i: scores.probability_table(
        probs(i)[0], LABELS, num_classes=C
    ),
    scores.log_expected_predictions: lambda i: scores.log_expected_predictions(
        i.joint, jax.nn.softmax(i.features), LABELS
    ),
    scores.nce: lambda i: scores.nce(
        SOURCE_LABELS, LABELS, num_source_classes=C, num_classes=C
    ),
    scores.label_table: lambda i: scores.label_table(
        SOURCE_LABELS, LABELS, num_source_classes=C, num_classes=C
    ),
    scores.negative_conditional_entropy: on_joint(scores.negative_conditional_entropy),
    scores.bhattacharyya: on_moments(scores.bhattacharyya),
    scores.ridge_classifier: on_moments(scores.ridge_classifier),
    scores.ridge_probe_accuracy: lambda i: scores.ridge_probe_accuracy(
        i.features, LABELS, i.others, LABELS, num_classes=C
    ),
    scores.softmax_classifier: labelled(
        scores.softmax_classifier, num_classes=C, weight_decay=1.0
    ),
    probes.is_correct: lambda i: probes.is_correct(
        probes.Linear(i.weights.T, i.logits[0]), i.features, LABELS
    ),
    scores.task_transferability: lambda i: scores.task_transferability(
        i.features[0], i.others[0]
    ),
    scores.transferability_interval: lambda i: scores.transferability_interval(
        i.features[:, :1], i.others, LABELS, KEY, num_classes=C, num_blocks=2
    ),
    clustering.nearest_center_logits: lambda i: clustering.nearest_center_logits(
        i.features, i.weights
    ),
    clustering.k_means_labels: lambda i: clustering.k_means_labels(
        i.features, KEY, num_clusters=2, num_starts=2, max_steps=5
    ),
    clustering.normalized_mutual_information: lambda i: (
        clustering.normalized_mutual_information(
            SOURCE_LABELS, LABELS, num_labels=C, num_others=C
        )
    ),
    dense_targets.palette: lambda i: dense_targets.palette(
        i.maps, KEY, num_levels=2, num_pixels=8
    ),
    dense_targets.palette_levels: lambda i: dense_targets.palette_levels(
        i.maps, i.logits[:, :2]
    ),
    dense_targets.block_middles: lambda i: dense_targets.block_middles(i.maps, block=2),
    dense_targets.quantile_levels: lambda i: dense_targets.quantile_levels(
        i.features[:, 0], num_levels=C
    ),
    higher_order.source_subsets: lambda i: higher_order.source_subsets(3, order=2),
    higher_order.subset_h_scores: lambda i: higher_order.subset_h_scores(
        i.moments, np.array([[0, 1]], np.int32), sizes=(2, 2)
    ),
    higher_order.best_sources: on_moments(
        higher_order.best_sources, sizes=(1, 1, 1, 1), order=1
    ),
    higher_order.greedy_sources: on_moments(
        higher_order.greedy_sources, sizes=(1, 1, 1, 1), order=1
    ),
    # hgr
    hgr.joint_distribution: lambda i: hgr.joint_distribution(
        SOURCE_LABELS, LABELS, num_x=C, num_y=C
    ),
    hgr.divergence_transition_matrix: on_joint(hgr.divergence_transition_matrix),
    hgr.mutual_information: on_joint(hgr.mutual_information),
    hgr.local_mutual_information: on_joint(hgr.local_mutual_information),
    hgr.modes: on_joint(hgr.modes, num_modes=2),
    hgr.h_score_bound: on_joint(hgr.h_score_bound, num_features=2),
    hgr.soft_hgr: on_features(hgr.soft_hgr),
    hgr.ace: lambda i: hgr.ace(
        SOURCE_LABELS, LABELS, KEY, num_x=C, num_y=C, num_modes=1, num_steps=3
    ),
    # jacobians
    jacobians.jacobian: lambda i: jacobians.jacobian(teacher(i))(i.features[0]),
    jacobians.singular_attacks: lambda i: jacobians.singular_attacks(
        i.jacobians[0], hessian=i.cost @ i.cost.T
    ),
    jacobians.deviation_hessian: lambda i: jacobians.deviation_hessian(
        lambda deviation: jnp.sum(deviation**2), 2
    ),
    jacobians.weighted_outputs: lambda i: jacobians.weighted_outputs(
        "hessian", i.logits, i.cost @ i.cost.T, axis=1
    ),
    # attacks
    attacks.cross_entropy_loss: lambda i: attacks.cross_entropy_loss(teacher(i), 1)(
        i.features[0]
    ),
    attacks.prediction_loss: lambda i: attacks.prediction_loss(
        teacher(i), i.features[0]
    )(i.others[0]),
    attacks.deviation_loss: lambda i: attacks.deviation_loss(
        teacher(i), i.features[0], hessian=i.cost
    )(i.others[0]),
    attacks.pgd: lambda i: attacks.pgd(
        attacks.cross_entropy_loss(teacher(i), 1),
        i.features[0],
        0.01 * i.others[0],
        norm=attacks.L2,
        epsilon=0.1,
        step_size=0.1,
        num_steps=2,
        decay=1.0,
        bounds=(-5, 5),
    ),
    attacks.pgd_step: lambda i: attacks.pgd_step(
        attacks.cross_entropy_loss(teacher(i), 1),
        i.features[0],
        0.01 * i.others[0],
        0.1 * i.others[1],
        norm=attacks.LINF,
        epsilon=0.1,
        step_size=0.05,
        decay=1.0,
        bounds=(-5, 5),
    ),
    attacks.fgsm: lambda i: attacks.fgsm(
        attacks.cross_entropy_loss(teacher(i), 1),
        i.features[0],
        0.01 * i.others[0],
        norm=attacks.LINF,
        epsilon=0.1,
    ),
    attacks.best_attack: lambda i: attacks.best_attack(
        attacks.cross_entropy_loss(teacher(i), 1), i.features[0], i.others
    ),
    attacks.word_attack: lambda i: attacks.word_attack(
        lambda vectors: jnp.mean(vectors, axis=1) @ i.weights.T,
        i.features[TOKENS],
        TOKENS,
        TOKENS > 0,
        LABELS,
        vocabulary=i.features,
        allowed=np.arange(N) > 2,
        num_steps=3,
    ),
    # adversarial
    adversarial.alpha1: on_logits(adversarial.alpha1),
    adversarial.alpha2: on_logits(adversarial.alpha2),
    adversarial.alpha2_squared: on_logits(adversarial.alpha2_squared),
    adversarial.alpha12: lambda i: adversarial.alpha12(
        i.features, i.logits, i.other_logits
    ),
    adversarial.alpha12_squared: lambda i: adversarial.alpha12_squared(
        i.features, i.logits, i.other_logits
    ),
    adversarial.unbiased_square: lambda i: adversarial.unbiased_square(i.cost, N),
    adversarial.noise_floor: lambda i: adversarial.noise_floor(N),
    adversarial.generalized_deviations: on_one(adversarial.generalized_deviations),
    adversarial.generalized_alpha1: on_one(adversarial.generalized_alpha1),
    adversarial.generalized_alpha2: lambda i: adversarial.generalized_alpha2(
        i.jacobians[:2], i.other_jacobians[:2], i.cost @ i.cost.T
    ),
    # matching
    matching.gradient_matching_distance: on_jacobians(
        matching.gradient_matching_distance
    ),
    matching.gradient_matching_map: on_jacobians(matching.gradient_matching_map),
    matching.function_matching_distance: on_features(
        matching.function_matching_distance
    ),
    matching.function_matching_map: on_features(matching.function_matching_map),
    matching.knowledge_transfer_bounds: lambda i: matching.knowledge_transfer_bounds(
        i.logits, i.features, i.other_logits
    ),
    matching.reverse_matching_bound: lambda i: matching.reverse_matching_bound(
        i.features, i.logits[:, :2]
    ),
    matching.explained_gradient: lambda i: matching.explained_gradient(
        i.jacobians[:3], i.other_jacobians[:3]
    ),
    matching.attack_shares: lambda i: matching.attack_shares(
        i.jacobians[:3], i.other_jacobians[:3]
    ),
    # sinkhorn
    sinkhorn.class_centers: labelled(sinkhorn.class_centers, num_classes=C),
    sinkhorn.classifier_centers: lambda i: sinkhorn.classifier_centers(i.weights),
    sinkhorn.normalized_centers: lambda i: sinkhorn.normalized_centers(i.weights),
    sinkhorn.centred_centers: lambda i: sinkhorn.centred_centers(i.weights),
    sinkhorn.centred_cost: lambda i: sinkhorn.centred_cost(i.weights, i.other_weights),
    sinkhorn.transported_probs: lambda i: sinkhorn.transported_probs(
        probs(i)[0], i.cost, epsilon=0.1
    ),
    sinkhorn.cost_contrast: lambda i: sinkhorn.cost_contrast(i.cost, epsilon=0.1),
    sinkhorn.cost_matrix: lambda i: sinkhorn.cost_matrix(i.weights, i.other_weights),
    sinkhorn.constant_cost: lambda i: sinkhorn.constant_cost([0, 1], [1, 2]),
    sinkhorn.superclass_cost: lambda i: sinkhorn.superclass_cost([0, 1], [1, 1]),
    sinkhorn.sinkhorn_distance: lambda i: sinkhorn.sinkhorn_distance(
        *(rows[0] for rows in probs(i)), i.cost, **SINKHORN
    ),
    sinkhorn.sinkhorn_distances: lambda i: sinkhorn.sinkhorn_distances(
        *probs(i), i.cost, **SINKHORN
    ),
    convergence.variation_seminorm: lambda i: convergence.variation_seminorm(
        i.logits[0]
    ),
    convergence.contraction_rate: lambda i: convergence.contraction_rate(i.cost),
    convergence.gradient_bound: lambda i: convergence.gradient_bound(
        i.cost[0, 0], i.cost, num_iterations=2
    ),
    convergence.student_gradients: lambda i: convergence.student_gradients(
        *(rows[0] for rows in probs(i)), i.cost, num_iterations=2
    ),
    # assessment
    assessment.sinkhorn_score: lambda i: assessment.sinkhorn_score(
        *probs(i), i.cost, **SINKHORN
    ),
    assessment.sinkhorn_assessment: lambda i: assessment.sinkhorn_assessment(
        *probs(i), i.cost, **SINKHORN
    ),
    assessment.fictitious_assessment: lambda i: assessment.fictitious_assessment(
        i.features, i.logits, i.weights, LABELS, num_classes=C
    ),
    assessment.student_assessment: lambda i: assessment.student_assessment(
        i.features, i.logits, i.weights, LABELS, i.logits
    ),
    assessment.transport_saving: lambda i: assessment.transport_saving(
        i.features, i.logits, i.weights, LABELS, LABELS[None, ::-1], num_classes=C
    ),
    assessment.fictitious_student: labelled(
        assessment.fictitious_student, num_classes=C, weight_decay=1.0
    ),
    # distillation
    distillation.cross_entropy: lambda i: distillation.cross_entropy(i.logits, LABELS),
    distillation.match_activations: on_logits(distillation.match_activations),
    distillation.soft_targets: on_logits(distillation.soft_targets, temperature=3.0),
    distillation.kd_loss: lambda i: distillation.kd_loss(
        i.logits, i.other_logits, LABELS, temperature=3.0
    ),
    distillation.ban_loss: lambda i: distillation.ban_loss(
        i.logits, i.other_logits, LABELS
    ),
    distillation.lwf_loss: lambda i: distillation.lwf_loss(
        i.features, i.others, i.logits, LABELS
    ),
    distillation.attention_map: lambda i: distillation.attention_map(i.maps[0]),
    distillation.pooled_attention_map: lambda i: distillation.pooled_attention_map(
        i.maps[0], window=2
    ),
    distillation.match_attention: lambda i: distillation.match_attention(*attention(i)),
    distillation.match_attention_mean_square: lambda i: (
        distillation.match_attention_mean_square(*attention(i))
    ),
    distillation.attention_peak_gradient: lambda i: (
        distillation.attention_peak_gradient(feature_map(i), i.features[0], window=1)
    ),
    distillation.attention_transfer: lambda i: distillation.attention_transfer(
        [i.maps], [i.maps[:, :2, :2]]
    ),
    distillation.fitnet_regressor: regressor,
    distillation.fitnet_loss: lambda i: distillation.fitnet_loss(
        regressor(i), *corners(i)
    ),
    distillation.vid_predictors: predictors,
    distillation.vid_loss: lambda i: distillation.vid_loss(
        predictors(i), *([part] for part in corners(i))
    ),
    distillation.channel_costs: lambda i: distillation.channel_costs(*corners(i)),
    distillation.channel_assignment: lambda i: distillation.channel_assignment(i.cost),
    distillation.matching_state: matching_state,
    distillation.renewed_matching: lambda i: distillation.renewed_matching(
        matching_state(i), [i.cost[:2, :2]], period=1
    ),
    distillation.margins: lambda i: distillation.margins(i.logits[0], i.joint[0, :3]),
    distillation.mgd_norms: mgd_norms,
    distillation.mgd_loss: lambda i: distillation.mgd_loss(
        mgd_norms(i), *([part] for part in corners(i)), [LABELS[:2]], [-i.joint[0, :2]]
    ),
    distillation.rotated_views: lambda i: distillation.rotated_views(i.maps),
    distillation.projection_head: projection_head,
    distillation.projected: lambda i: distillation.projected(
        projection_head(i), views(i)[0]
    ),
    distillation.contrastive_logits: lambda i: distillation.contrastive_logits(
        views(i)[0]
    ),
    distillation.contrastive_loss: lambda i: distillation.contrastive_loss(views(i)[0]),
    distillation.kept_views: lambda i: distillation.kept_views(
        i.logits, LABELS, fraction=0.5
    ),
    distillation.match_rotated_predictions: lambda i: (
        distillation.match_rotated_predictions(*views(i), LABELS % 2)
    ),
    distillation.match_similarities: lambda i: distillation.match_similarities(
        *views(i)
    ),
    distillation.sftn_loss: lambda i: distillation.sftn_loss(
        i.logits, [i.other_logits], LABELS
    ),
    distillation.afd_attention: attention_params,
    distillation.afd_loss: lambda i: distillation.afd_loss(
        attention_params(i), [i.maps], corners(i)
    ),
    distillation.aml_loss: lambda i: distillation.aml_loss(
        i.features, i.others, LABELS, margin=0.5
    ),
    distillation.asymmetric_regression: on_features(distillation.asymmetric_regression),
    distillation.seed_queue: lambda i: distillation.seed_queue(
        KEY, length=3, dim=4, dtype=i.features.dtype
    ),
    distillation.seed_loss: lambda i: distillation.seed_loss(
        i.features, i.others, i.weights
    ),
    distillation.renewed_queue: lambda i: distillation.renewed_queue(
        i.weights, i.features
    ),
    distillation.wcord_parameters: wcord_parameters,
    distillation.wcord_memory: wcord_memory,
    distillation.renewed_memory: lambda i: distillation.renewed_memory(
        wcord_parameters(i), wcord_memory(i), i.features, i.others, LABELS
    ),
    distillation.drawn_negatives: lambda i: distillation.drawn_negatives(
        KEY, LABELS, num_examples=N, num_negatives=2
    ),
    distillation.wcord_global_loss: lambda i: distillation.wcord_global_loss(
        wcord_parameters(i), wcord_memory(i), i.features, i.others, LABELS[:, None]
    ),
    distillation.wcord_local_loss: lambda i: distillation.wcord_local_loss(
        wcord_parameters(i), i.features, i.others, **SINKHORN
    ),
    distillation.selected_output_gradient: lambda i: (
        distillation.selected_output_gradient(teacher(i), i.features[0], 1)
    ),
    distillation.selected_output_gradients: lambda i: (
        distillation.selected_output_gradients(teacher(i), i.features[0], LABELS[:2])
    ),
    distillation.largest_output_gradient: lambda i: (
        distillation.largest_output_gradient(teacher(i), i.features[0])
    ),
    distillation.top_output_gradients: lambda i: distillation.top_output_gradients(
        teacher(i), i.features[0], num_outputs=2
    ),
    distillation.projected_jacobian: lambda i: distillation.projected_jacobian(
        teacher(i), i.features[0], i.cost
    ),
    distillation.random_projection: lambda i: distillation.random_projection(
        KEY, num_projections=2, num_outputs=C, dtype=i.features.dtype
    ),
    distillation.stochastic_match_jacobians: lambda i: (
        distillation.stochastic_match_jacobians(
            teacher(i), student(i), i.features, KEY, num_projections=2
        )
    ),
    distillation.stochastic_jacobian_norm: lambda i: (
        distillation.stochastic_jacobian_norm(
            student(i), i.features, KEY, num_projections=2
        )
    ),
    distillation.noisy_matching: lambda i: distillation.noisy_matching(
        teacher(i), student(i), i.features, i.others[None]
    ),
    distillation.noise_augmented_matching: lambda i: (
        distillation.noise_augmented_matching(
            teacher(i), student(i), i.features, KEY, sigma=0.1, num_draws=2
        )
    ),
    distillation.match_jacobians: on_jacobians(distillation.match_jacobians),
    distillation.match_normalized_jacobians: on_features(
        distillation.match_normalized_jacobians
    ),
    distillation.jacobian_norm: lambda i: distillation.jacobian_norm(i.jacobians),
    distillation.jacobian_covariance: lambda i: distillation.jacobian_covariance(
        i.logits, i.jacobians
    ),
    distillation.printed_cross_entropy_jacobian_norm: lambda i: (
        distillation.printed_cross_entropy_jacobian_norm(i.logits, i.jacobians, LABELS)
    ),
    distillation.printed_cross_entropy_match_jacobians: lambda i: (
        distillation.printed_cross_entropy_match_jacobians(
            i.logits, i.other_logits, i.jacobians, i.other_jacobians
        )
    ),
    distillation.asymmetric_hausdorff: on_features(distillation.asymmetric_hausdorff),
    distillation.source_loss_bound: lambda i: distillation.source_loss_bound(
        i.logits[:, 0], i.features, i.others, lipschitz_constant=2.0
    ),
    distillation.match_angles: on_features(distillation.match_angles),
    distillation.match_distances: on_features(distillation.match_distances),
    distillation.match_triplets: lambda i: distillation.match_triplets(
        i.features, i.others, LABELS
    ),
    distillation.match_local_classifiers: lambda i: (
        distillation.match_local_classifiers(i.features, i.weights, i.logits, LABELS)
    ),
    distillation.sinkhorn_matching: lambda i: distillation.sinkhorn_matching(
        i.logits, i.other_logits, i.cost, temperature=3.0, **SINKHORN
    ),
    distillation.sinkhorn_matches: lambda i: distillation.sinkhorn_matches(
        i.logits, i.other_logits, i.cost, temperature=3.0, **SINKHORN
    ),
    distillation.transported_targets: lambda i: distillation.transported_targets(
        i.logits, i.other_logits, i.cost, temperature=3.0, epsilon=0.1
    ),
    batch_jacobians.selected_jacobians: lambda i: batch_jacobians.selected_jacobians(
        jax.vmap(teacher(i)), i.features, LABELS[:, None], chunk_size=1
    ),
    batch_jacobians.jacobian_error: lambda i: batch_jacobians.jacobian_error(
        jax.vmap(teacher(i)),
        i.features,
        np.stack([LABELS, SOURCE_LABELS], axis=1),
        i.jacobians[:, :2],
        chunk_size=1,
    ),
    batch_jacobians.peak_gradients: lambda i: batch_jacobians.peak_gradients(
        jax.vmap(feature_map(i)), i.features, window=1, indices=None
    ),
}
"""A public function -> a call of it on the shared inputs."""

DEFAULT_DTYPE = {
    hgr.ace,
    hgr.joint_distribution,
    scores.nce,
    clustering.normalized_mutual_information,
    adversarial.noise_floor,
    jacobians.deviation_hessian,
    sinkhorn.constant_cost,
    sinkhorn.superclass_cost,
}
"""Of integers or of functions alone: numbers of the default floating-point type."""


SLOW_TO_COMPILE = {
    assessment.fictitious_assessment,
    assessment.fictitious_student,
    assessment.student_assessment,
    assessment.transport_saving,
    assessment.sinkhorn_assessment,
    assessment.sinkhorn_score,
    clustering.k_means_labels,
    dense_targets.palette,
    distillation.sinkhorn_matches,
    distillation.sinkhorn_matching,
    distillation.wcord_local_loss,
    hgr.ace,
    higher_order.best_sources,
    higher_order.greedy_sources,
    higher_order.subset_h_scores,
    matching.attack_shares,
    matching.explained_gradient,
    matching.reverse_matching_bound,
    scores.logme,
    scores.logme_regression,
    scores.ridge_probe_accuracy,
    scores.softmax_classifier,
    scores.transferability_interval,
    sinkhorn.sinkhorn_distance,
}
"""Half of the time of this file: only traced here, and compiled in their own tests."""


def public_functions():
    """All public functions of the rooms."""
    functions = set()
    for module in (*PACKAGES, *MODULES):
        for name, member in vars(module).items():
            own = getattr(member, "__module__", "")
            inside = own.startswith("jtransfer.") and (
                module in PACKAGES or own == module.__name__
            )
            if inside and callable(member) and not inspect.isclass(member):
                functions |= set() if name.startswith("_") else {member}
    return functions


def full_name(function):
    return f"{function.__module__.removeprefix('jtransfer.')}.{function.__name__}"


@functools.cache
def two_inputs():
    return inputs(0), inputs(1)


def stacked(*trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def jitted(function):
    """Whether the library compiles it, as it does all functions of arrays."""
    return hasattr(function, "lower")


def assert_finite_and_close(arrays, expected):
    """Compares as NumPy arrays: on a device every shape would compile."""
    arrays, expected = (jax.tree.map(np.asarray, tree) for tree in (arrays, expected))
    chex.assert_trees_all_close(arrays, expected, rtol=2e-4, atol=2e-4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(arrays))


def compiles(call, arrays, caplog):
    """Whether a call compiles anything."""
    caplog.clear()
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        call(arrays)
    return any("Compiling" in line for line in caplog.messages)


def traced(function, arrays):
    """The program of a function of the library that a call of it would compile."""
    # Another function each time, so that only those of the library are cached.
    program = jax.make_jaxpr(lambda arrays: CALLS[function](arrays))(arrays)
    calls = {eqn.params.get("name"): eqn.params for eqn in program.eqns}
    return calls[function.__name__]["jaxpr"]


def results(call, arrays, dtype):
    """Shapes and dtypes of what a call on arrays of that dtype returns."""
    arrays = jax.tree.map(
        lambda leaf: leaf.astype(dtype) if leaf.dtype.kind == "f" else leaf, arrays
    )
    return jax.tree.leaves(jax.eval_shape(call, arrays))


def test_compilations_are_seen(caplog):
    double = jax.jit(lambda x: 2 * x)
    assert compiles(double, np.ones(5, np.float32), caplog)
    assert not compiles(double, np.zeros(5, np.float32), caplog)
    assert compiles(double, np.ones(6, np.float32), caplog)


def test_the_table_holds_every_public_function():
    listed, public = map(set, (CALLS, public_functions()))
    assert not {full_name(function) for function in listed ^ public}


@pytest.mark.parametrize("function", [f for f in CALLS if jitted(f)], ids=full_name)
def test_functions_of_arrays_compile_once(function, caplog):
    """They are the same inside another jit, for the library compiles them already."""
    call = CALLS[function]
    first, second = two_inputs()
    if function in SLOW_TO_COMPILE:
        assert traced(function, first) is traced(function, second)
        return
    value = call(first)
    assert_finite_and_close(value, value)
    assert not compiles(call, second, caplog)


@pytest.mark.parametrize("function", [f for f in CALLS if not jitted(f)], ids=full_name)
def test_functions_of_functions_give_the_same_compiled(function, caplog):
    call = CALLS[function]
    first, second = two_inputs()
    compiled = jax.jit(jax.vmap(call, axis_size=2))
    both = jax.tree.map(np.asarray, compiled(stacked(first, second)))
    assert_finite_and_close(jax.tree.map(lambda leaf: leaf[1], both), call(second))
    assert not compiles(compiled, stacked(second, first), caplog)


@pytest.mark.parametrize("function", CALLS, ids=full_name)
def test_the_dtype_is_that_of_the_arrays_and_vmap_adds_an_axis(function):
    call, (first, second) = CALLS[function], two_inputs()
    default = function in DEFAULT_DTYPE
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        wide = results(call, first, "float64")
        both = results(jax.vmap(call, axis_size=2), stacked(first, second), "float32")
    assert [leaf.shape for leaf in both] == [(2, *leaf.shape) for leaf in wide]
    for leaf, other in zip(wide, both, strict=True):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            assert leaf.dtype == "float64"
            assert other.dtype == ("float64" if default else "float32")


def test_pmap_of_a_score_agrees_with_the_plain_call():
    batches = [inputs(seed).moments for seed in range(8)]
    plain = [scores.h_score(batch) for batch in batches]
    np.testing.assert_allclose(jax.pmap(scores.h_score)(stacked(*batches)), plain, 1e-5)


@pytest.mark.parametrize("module", sorted({f.__module__ for f in CALLS}))
def test_docstrings_have_examples_that_the_doctests_run(module):
    tests = doctest.DocTestFinder().find(sys.modules[module])
    run = {test.name for test in tests if test.examples}
    names = {f"{module}.{f.__name__}" for f in CALLS if f.__module__ == module}
    assert names <= run, names - run
