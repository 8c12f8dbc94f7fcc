"""Transfer: train, fine-tune, and distil students of other networks."""

from jtransfer._internal.lazy import lazy_attribute

# Resolved on first use: what they import (Flax) takes longer than a small ranking.
_MODULE_OF = {
    "OptimalFeatures": "_optimal_features",
    "SymbolTable": "_optimal_features",
    "features_of": "_optimal_features",
    "optimal_features": "_optimal_features",
    "soft_hgr_objective": "_optimal_features",
    "class_cost": "class_costs",
    "SharedMap": "map_pairs",
    "distil_student": "distil",
    "shared_maps": "map_pairs",
    "fine_tune_head": "fine_tune",
    "fine_tune_network": "fine_tune",
    "is_classified_correctly": "fine_tune",
    "with_new_head": "fine_tune",
    "Method": "losses",
    "Student": "losses",
    "student_objective": "losses",
    "activations_and_jacobians_method": "methods",
    "attention_and_jacobians_method": "methods",
    "lwf_method": "methods",
    "STUDENT_PRESETS": "student_recipes",
    "Adam": "student_recipes",
    "Cosine": "student_recipes",
    "Momentum": "student_recipes",
    "Nesterov": "student_recipes",
    "StudentRecipe": "student_recipes",
    "TRAINING_PRESETS": "train",
    "Recipe": "train",
    "train_network": "train",
    "TEXT_PRESETS": "train_texts",
    "TextRecipe": "train_texts",
    "are_right": "train_texts",
    "fine_tune_text_network": "train_texts",
    "train_text_network": "train_texts",
    "with_enough_steps": "train_texts",
    "with_new_classifier": "train_texts",
    "with_tokens": "train_texts",
    "sinkhorn_method": "transport_methods",
    "transported_targets_method": "transport_methods",
    "teacher_outputs": "teacher_outputs",
}


def __getattr__(name: str):
    return lazy_attribute(__name__, name, _MODULE_OF)


def __dir__():
    return sorted(_MODULE_OF)
