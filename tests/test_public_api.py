"""Tests over all public functions and of who imports whom."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tasks import NUM_CLASSES, gaussian_task

import jtransfer
from jtransfer import scores
from jtransfer.moments import class_moments, merge

PACKAGE = Path(jtransfer.__file__).parent
LABELS = np.arange(60, dtype=np.int32) % NUM_CLASSES


def _moments(features):
    return class_moments(features, LABELS, num_classes=NUM_CLASSES)


def _of_moments(score):
    return lambda features: score(_moments(features))


MAPS = np.arange(60 * 4, dtype=np.int32).reshape(60, 2, 2) % 3
CALLS = {
    "class_moments": _moments,
    "merge": lambda x: merge(_moments(x), _moments(2 * x)),
    "h_score": _of_moments(scores.h_score),
    "regularized_h_score": _of_moments(scores.regularized_h_score),
    "logme": _of_moments(scores.logme),
    "bhattacharyya": _of_moments(scores.bhattacharyya),
    "logme_regression": lambda x: scores.logme_regression(x, x[:, :2] ** 2),
    "leep": lambda x: scores.leep(jax.nn.softmax(x), LABELS, num_classes=NUM_CLASSES),
    "dense_h_score": lambda x: scores.dense_h_score(x, MAPS, num_levels=3),
    "ridge_probe_accuracy": lambda x: scores.ridge_probe_accuracy(
        x[:40], LABELS[:40], x[40:], LABELS[40:], num_classes=NUM_CLASSES
    ),
    "task_transferability": lambda x: scores.task_transferability(x[0], x[1]),
}


@pytest.mark.parametrize("name", CALLS)
def test_jit_eager_and_vmap_agree_and_the_dtype_is_kept(name):
    call = CALLS[name]
    features, _ = gaussian_task(0, 60, 8)
    expected = call(jnp.asarray(features))
    close = functools.partial(chex.assert_trees_all_close, rtol=2e-4, atol=2e-4)
    close(jax.jit(call)(features), expected)
    mapped = jax.vmap(call)(jnp.stack([features, features]))
    close(jax.tree.map(lambda leaf: leaf[1], mapped), expected)
    with jax.enable_x64(True):
        wide = call(jnp.asarray(features, jnp.float64))
        narrow = call(jnp.asarray(features, jnp.float32))
    for a, b in zip(jax.tree.leaves(wide), jax.tree.leaves(narrow), strict=True):
        if jnp.issubdtype(a.dtype, jnp.floating):
            assert (a.dtype, b.dtype) == (jnp.float64, jnp.float32)


@pytest.mark.parametrize("name", CALLS)
def test_a_second_call_does_not_compile(name):
    features, _ = gaussian_task(0, 60, 8)
    CALLS[name](jnp.asarray(features))
    with jax.log_compiles(), _recorded() as messages:
        CALLS[name](jnp.asarray(features) + 1)
    assert not [m for m in messages if "Compiling" in m and name in m]


class _recorded:
    """Collects what jax logs."""

    def __enter__(self):
        import logging

        self.handler = logging.Handler()
        messages = []
        self.handler.emit = lambda record: messages.append(record.getMessage())
        logging.getLogger("jax").addHandler(self.handler)
        return messages

    def __exit__(self, *_):
        import logging

        logging.getLogger("jax").removeHandler(self.handler)


def test_pmap_of_a_score_agrees_with_the_plain_call():
    features = np.stack([gaussian_task(seed, 60, 8)[0] for seed in range(8)])
    mapped = jax.pmap(CALLS["h_score"])(features)
    plain = [CALLS["h_score"](x) for x in features]
    np.testing.assert_allclose(mapped, plain, rtol=1e-5)


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
