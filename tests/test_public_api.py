"""Tests of the public names and of who imports whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jtransfer

PACKAGE = Path(jtransfer.__file__).parent


def test_import_is_cheap():
    code = (
        "import sys, jtransfer; heavy = {'flax', 'ott', 'optax', 'orbax', 'chex', "
        "'tensorflow_datasets', 'jax'}; print(sorted(heavy & set(sys.modules)))\n"
        "jtransfer.logme; print(sorted((heavy - {'jax'}) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split("\n")[:2] == ["[]", "[]"], run.stderr


def test_public_names_exist_and_have_docstrings():
    for name in dir(jtransfer):
        if not name.startswith("_"):
            assert getattr(jtransfer, name).__doc__, name
    with pytest.raises(AttributeError, match="nothing"):
        _ = jtransfer.nothing


# A module may import those of lower layers (and of its own package) only.
LAYERS = [
    {"_version", "_checks", "_files", "_progress", "_charts"},
    {"moments", "devices"},
    {"jacobians", "_log_kernel"},
    {"_sinkhorn_solvers", "attacks", "cost_matrices", "hilbert"},
    {"scores", "sinkhorn"},
    {
        "adversarial",
        "hgr",
        "higher_order",
        "assessment",
        "clustering",
        "distillation",
    },
    {"dense_targets", "heat_maps", "_batch_jacobians"},
    {"matching"},
    {"pairs"},
    {"agreement", "data", "models", "embedded", "schedules"},
    {"task_structure", "_torch_files"},
    {"_pages"},
    {"training", "zoo"},
    {"networks"},
    {"recipes", "finetuning", "pretrained", "optimal_features"},
    {"teacher_outputs"},
    {"students"},
    {"verification"},
    {"report"},  # asks ranking and _pair for their numbers, inside its functions
    {"ranking"},
    {"selection"},
    {"_pair", "_tasks"},
    {"_commands"},
    {"cli"},
    {"__main__", "__init__"},
]
PURE = (
    "moments",
    "scores",
    "hgr",
    "higher_order",
    "dense_targets",
    "task_structure",
    "jacobians",
    "attacks",
    "adversarial",
    "matching",
    "pairs",
    "sinkhorn",
    "cost_matrices",
    "assessment",
    "distillation",
)
"""What takes arrays and functions only."""
HEAVY = {"flax", "tensorflow_datasets", "optax", "ott", "orbax", "chex", "PIL", "rich"}


def _imports(path):
    """Modules imported when a file is imported, not inside its functions."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_dependencies_point_downwards():
    level = {name: i for i, names in enumerate(LAYERS) for name in names}
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        assert own in level, f"{own} has no layer"
        for imported in _imports(path):
            parts = imported.split(".")
            if parts[0] == "jtransfer" and len(parts) > 1 and parts[1] in level:
                assert parts[1] == own or level[parts[1]] < level[own], (path, imported)
            if own in PURE:
                assert parts[0] not in HEAVY, (path, imported)
                assert parts[1:2] not in (["models"], ["data"]), (path, imported)
