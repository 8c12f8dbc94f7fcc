"""Which pretrained model should I transfer from, how sure is that, and why?

The public names are resolved on first use, so that `import jtransfer` stays cheap.
"""

import importlib

from jtransfer._version import __version__ as __version__

_MODULE_OF = {
    "Moments": "moments",
    "class_moments": "moments",
    "empty_moments": "moments",
    "merge": "moments",
    "bhattacharyya": "scores",
    "dense_h_score": "scores",
    "h_score": "scores",
    "leep": "scores",
    "logme": "scores",
    "logme_regression": "scores",
    "nce": "scores",
    "regularized_h_score": "scores",
    "ridge_probe_accuracy": "scores",
    "task_transferability": "scores",
    "transferability_interval": "scores",
}
_MODULES = (
    "adversarial",
    "agreement",
    "assessment",
    "attacks",
    "clustering",
    "data",
    "dense_targets",
    "devices",
    "distillation",
    "embedded",
    "finetuning",
    "heat_maps",
    "hgr",
    "higher_order",
    "jacobians",
    "matching",
    "models",
    "moments",
    "networks",
    "optimal_features",
    "pairs",
    "pretrained",
    "ranking",
    "recipes",
    "report",
    "schedules",
    "scores",
    "selection",
    "sinkhorn",
    "students",
    "task_structure",
    "teacher_outputs",
    "training",
    "verification",
    "zoo",
)


def __getattr__(name: str):
    if name in _MODULE_OF:
        module = importlib.import_module(f"jtransfer.{_MODULE_OF[name]}")
        return getattr(module, name)
    if name in _MODULES:
        return importlib.import_module(f"jtransfer.{name}")
    raise AttributeError(f"module 'jtransfer' has no attribute {name!r}")


def __dir__():
    return sorted([*_MODULE_OF, *_MODULES, "__version__"])
