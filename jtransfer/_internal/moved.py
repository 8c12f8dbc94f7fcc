"""Names of November 2026 that live elsewhere now.

They go with the next release but one.

One table from old to new serves `from jtransfer import recipes`, `import
jtransfer.recipes`, `from jtransfer.recipes import trained` and renamed functions of
rooms that stayed. Each use warns once.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from typing import Any

MODULES = {
    "jtransfer.agreement": "jtransfer.ranking.correlations",
    "jtransfer.clustering": "jtransfer.scores.clustering",
    "jtransfer.cost_matrices": "jtransfer.sinkhorn",
    "jtransfer.dense_targets": "jtransfer.scores.dense_targets",
    "jtransfer.devices": "jtransfer.training.devices",
    "jtransfer.embedded": "jtransfer.zoo.embedded",
    "jtransfer.finetuning": "jtransfer.transfer",
    "jtransfer.heat_maps": "jtransfer.report.pages.heat_maps",
    "jtransfer.higher_order": "jtransfer.scores.higher_order",
    "jtransfer.hilbert": "jtransfer.sinkhorn.convergence",
    "jtransfer.optimal_features": "jtransfer.transfer",
    "jtransfer.pretrained": "jtransfer.networks.pretrained",
    "jtransfer.recipes": "jtransfer.transfer",
    "jtransfer.schedules": "jtransfer.training.schedules",
    "jtransfer.selection": "jtransfer.ranking.selection",
    "jtransfer.students": "jtransfer.transfer",
    "jtransfer.task_structure": "jtransfer.ranking.task_structure",
    "jtransfer.teacher_outputs": "jtransfer.transfer.teacher_outputs",
    "jtransfer.verification": "jtransfer.ranking.verification",
}
"""Modules by their old names."""
NAMES = {
    "jtransfer.embedded.Network": "jtransfer.zoo.embedded.EmbeddedNetwork",
    "jtransfer.embedded.networks": "jtransfer.zoo.embedded.embedded_networks",
    "jtransfer.finetuning.correct": "jtransfer.transfer.is_classified_correctly",
    "jtransfer.finetuning.fully_fine_tuned": "jtransfer.transfer.fine_tune_network",
    "jtransfer.finetuning.head_fine_tuned": "jtransfer.transfer.fine_tune_head",
    "jtransfer.higher_order.Selection": "jtransfer.scores.higher_order.SourceSelection",
    "jtransfer.networks.read": "jtransfer.networks.read_network",
    "jtransfer.networks.write": "jtransfer.networks.write_network",
    "jtransfer.pairs.alpha1": "jtransfer.pairs.alpha1_of_sums",
    "jtransfer.pairs.alpha12": "jtransfer.pairs.alpha12_of_sums",
    "jtransfer.pairs.alpha2": "jtransfer.pairs.alpha2_of_sums",
    "jtransfer.pairs.pair": "jtransfer.pairs.function_pair",
    "jtransfer.ranking.environment": "jtransfer._internal.provenance.environment",
    "jtransfer.recipes.PRESETS": "jtransfer.transfer.TRAINING_PRESETS",
    "jtransfer.recipes.classes_of": "jtransfer.data.named_class_subset",
    "jtransfer.recipes.trained": "jtransfer.transfer.train_network",
    "jtransfer.report.failures": "jtransfer.report.november.failures",
    "jtransfer.report.missing": "jtransfer.report.november.missing",
    "jtransfer.report.page": "jtransfer.report.november.page",
    "jtransfer.report.read": "jtransfer.report.november.read",
    "jtransfer.report.warnings": "jtransfer.report.november.warnings",
    "jtransfer.report.written": "jtransfer.report.november.written",
    "jtransfer.selection.FILE": "jtransfer.ranking.chosen.SELECTION_FILE",
    "jtransfer.selection.check": "jtransfer.ranking.selection.check_student",
    "jtransfer.students.PRESETS": "jtransfer.transfer.STUDENT_PRESETS",
    "jtransfer.students.activations_and_jacobians": (
        "jtransfer.transfer.activations_and_jacobians_method"
    ),
    "jtransfer.students.attention_and_jacobians": (
        "jtransfer.transfer.attention_and_jacobians_method"
    ),
    "jtransfer.students.distilled": "jtransfer.transfer.distil_student",
    "jtransfer.students.lwf": "jtransfer.transfer.lwf_method",
    "jtransfer.students.objective": "jtransfer.transfer.student_objective",
    "jtransfer.students.sinkhorn": "jtransfer.transfer.sinkhorn_method",
    "jtransfer.teacher_outputs.compiled": (
        "jtransfer.transfer.teacher_outputs.compiled_outputs"
    ),
    "jtransfer.teacher_outputs.computed": (
        "jtransfer.transfer.teacher_outputs.compute_teacher_outputs"
    ),
    "jtransfer.training.cross_entropy": "jtransfer.training.classification_loss",
    "jtransfer.zoo.images_digest": "jtransfer._internal.provenance.images_fingerprint",
    "jtransfer.zoo.model": "jtransfer.zoo.named_source",
}
"""Functions and values by their old names."""


def moved_attribute(module: str, name: str) -> Any:
    """Returns the function, value or module behind a name of November, with a warning.

    Args:
      module: the module that is asked, such as `jtransfer.zoo`.
      name: what it is asked for.

    Returns:
      The function, value or module.

    Raises:
      AttributeError: if the table does not have it.
    """
    old = f"{module}.{name}"
    if old in MODULES:
        return importlib.import_module(old)
    if old not in NAMES:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return _resolved(old, NAMES[old])


def _resolved(old: str, new: str) -> Any:
    module, _, name = new.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    _warn(old, new)
    return value


def _warn(old: str, new: str) -> None:
    message = f"{old} is now {new}; the old name goes with the next release but one."
    warnings.warn(message, DeprecationWarning, stacklevel=4)


class _OldModule(types.ModuleType):
    """A module under its old name: asks the table, then its successor."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        old = f"{self.__name__}.{name}"
        new = NAMES.get(old, f"{MODULES[self.__name__]}.{name}")
        return _resolved(old, new)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules under their old names."""

    def find_spec(self, fullname, path=None, target=None):
        """Returns how an old name is loaded, None for any other."""
        if fullname not in MODULES:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def create_module(self, spec):
        """Returns the module of an old name."""
        _warn(spec.name, MODULES[spec.name])
        return _OldModule(spec.name, f"Now `{MODULES[spec.name]}`.")

    def exec_module(self, module):
        """Runs nothing: the successor is loaded when it is asked."""


def install_finder() -> None:
    """Lets `import` find the old names, after all that exist."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
