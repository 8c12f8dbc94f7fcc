"""Which pretrained model should I transfer from, how sure is that, and why?

The public names are resolved on first use, so that `import jtransfer` stays cheap.
"""

from jtransfer._internal import signals as _signals

if _signals.is_program("jtransfer"):
    # Before the other imports, which a signal would end with a traceback.
    _signals.end_at_signals()

import importlib
import warnings as _warnings

from jtransfer._internal import moved as _moved
from jtransfer._internal.compiler import compiler_fault as _compiler_fault
from jtransfer._version import __version__ as __version__

_MODULE_OF = {
    "Moments": "moments",
    "class_moments": "moments",
    "empty_moments": "moments",
    "merge": "moments",
    "bhattacharyya": "scores",
    "dense_h_score": "scores",
    "h_score": "scores",
    "knn_probe_accuracy": "scores",
    "leave_one_out_leep": "scores",
    "leep": "scores",
    "logme": "scores",
    "logme_regression": "scores",
    "nce": "scores",
    "rank": "report",
    "Ranking": "report",
    "regularized_h_score": "scores",
    "ridge_probe_accuracy": "scores",
    "task_transferability": "scores",
    "transferability_interval": "scores",
}
_ROOMS = (
    "adversarial",
    "assessment",
    "attacks",
    "data",
    "distillation",
    "hgr",
    "intervals",
    "jacobians",
    "matching",
    "models",
    "moments",
    "networks",
    "pairs",
    "ranking",
    "report",
    "scores",
    "sinkhorn",
    "training",
    "transfer",
    "zoo",
)
_moved.install_finder()
if (_fault := _compiler_fault()) is not None:
    # Without a place in the code: one line, whoever imports us.
    _warnings.warn_explicit(_fault, RuntimeWarning, "jtransfer", 0)


def __getattr__(name: str):
    if name in _MODULE_OF:
        module = importlib.import_module(f"jtransfer.{_MODULE_OF[name]}")
        return getattr(module, name)
    if name in _ROOMS:
        return importlib.import_module(f"jtransfer.{name}")
    return _moved.moved_attribute("jtransfer", name)


def __dir__():
    return sorted([*_MODULE_OF, *_ROOMS, "__version__"])
