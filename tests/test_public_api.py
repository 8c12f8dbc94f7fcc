"""Tests of who imports whom, of the public names, and of those that have moved."""

import ast
import collections
import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import jtransfer
from jtransfer._internal import moved

PACKAGE = Path(jtransfer.__file__).parent
CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"
PAPERS = {
    "moments",
    "scores",
    "hgr",
    "jacobians",
    "attacks",
    "adversarial",
    "matching",
    "sinkhorn",
    "assessment",
    "distillation",
}
"""Rooms that take arrays and functions only."""
HEAVY = {
    "PIL",
    "chex",
    "flax",
    "jax",
    "jinja2",
    "numpy",
    "huggingface_hub",
    "pandas",
    "pyarrow",
    "onnx",
    "onnxruntime",
    "optax",
    "orbax",
    "safetensors",
    "timm",
    "tokenizers",
    "torch",
    "torchvision",
    "transformers",
    "ott",
    "rich",
    "scipy",
    "tensorflow_datasets",
    "tyro",
    "array_record",
    "matplotlib",
    "etils",
}
"""Packages of others that may be imported inside functions."""


def _layers():
    """The rooms of each layer, the lowest first, as CONTRIBUTING lists them."""
    if not CONTRIBUTING.exists():
        pytest.skip("CONTRIBUTING.md lies beside the package in a checkout only")
    text = CONTRIBUTING.read_text(encoding="utf-8")
    (block,) = re.findall(r"```layers\n(.*?)```", text, re.DOTALL)
    return [line.split() for line in block.splitlines()][::-1]


def _files():
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        yield path, room, ast.parse(path.read_text(encoding="utf-8"))


def _imported(node):
    """Modules that an import names, `jtransfer` itself left out."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module == "jtransfer":
        return [f"jtransfer.{alias.name}" for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def _edges():
    """The rooms that each room imports, with the places."""
    edges = collections.defaultdict(list)
    for path, room, tree in _files():
        for node in ast.walk(tree):
            for module in _imported(node):
                first, _, rest = module.partition(".")
                other = rest.partition(".")[0]
                if first == "jtransfer" and other and other != room:
                    edges[room, other].append(f"{path}:{node.lineno}")
    return edges


def test_there_are_at_most_nine_layers_and_each_room_has_one():
    layers = _layers()
    assert len(layers) <= 9
    rooms = [room for layer in layers for room in layer]
    assert sorted(rooms) == sorted({room for _, room, _ in _files()})
    assert len(rooms) <= 27


def test_imports_point_downwards_without_a_circle():
    level = {room: i for i, layer in enumerate(_layers()) for room in layer}
    edges = {k: v for k, v in _edges().items() if k[1] in level}
    upwards = {k: v for k, v in edges.items() if level[k[1]] > level[k[0]]}
    assert not upwards
    # Within a layer: what imports nothing that is left can be taken away, to the end.
    for layer in _layers():
        left = set(layer)
        while free := {a for a in left if not any((a, b) in edges for b in left)}:
            left -= free
        assert not left, f"a circle among {left}"


def test_the_rooms_of_the_papers_take_arrays_and_functions():
    for path, room, tree in _files():
        if room in PAPERS:
            for node in ast.walk(tree):
                for module in _imported(node):
                    parts = module.split(".")
                    assert parts[0] not in ("flax", "tensorflow_datasets"), path
                    assert parts[:2] not in (
                        ["jtransfer", "models"],
                        ["jtransfer", "data"],
                    ), path


def test_imports_inside_functions_are_of_heavy_packages_of_others():
    standard = set(sys.stdlib_module_names)
    for path, room, tree in _files():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                for module in _imported(node):
                    first = module.partition(".")[0]
                    own = first == "jtransfer" and room in ("commands", "cli")
                    known = first in HEAVY or (room == "commands" and first in standard)
                    assert own or known, f"{path}:{node.lineno} imports {module}"


def _public_definitions():
    places = collections.defaultdict(list)
    for path, _, tree in _files():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [t.id for t in node.targets if isinstance(t, ast.Name)]
            elif isinstance(node, ast.AnnAssign):
                names = [node.target.id]
            else:
                continue
            for name in names:
                if not name.startswith("_"):
                    places[name].append(path.relative_to(PACKAGE).as_posix())
    return places


def test_a_public_name_is_defined_once():
    doubles = {k: v for k, v in _public_definitions().items() if len(v) > 1}
    assert not doubles


def test_no_module_bears_the_name_of_what_its_package_exports():
    for init in PACKAGE.rglob("__init__.py"):
        exported = set()
        for node in ast.parse(init.read_text(encoding="utf-8")).body:
            package = ".".join(init.parent.relative_to(PACKAGE.parent).parts)
            if isinstance(node, ast.ImportFrom) and node.module != package:
                names = (alias.asname or alias.name for alias in node.names)
                exported |= {name for name in names if not name.startswith("_")}
        modules = {p.stem for p in init.parent.glob("*.py")}
        modules -= {name for name in modules if name.startswith("_")}
        modules |= {p.parent.name for p in init.parent.glob("*/__init__.py")}
        assert not exported & modules, init


WORDS = {"found", "said", "told", "wanted", "everything"}


def test_names_say_what_they_hold():
    places = []
    for path, _, tree in _files():
        for node in ast.walk(tree):
            name = getattr(node, "id", None) or getattr(node, "arg", None)
            if name in WORDS:
                places.append(f"{path}:{node.lineno} {name}")
    assert not places


def test_first_lines_are_for_a_stranger():
    vague = re.compile(r"(Returns what|Yields what|What|How|Both|Those)\b")
    places = []
    for path, _, tree in _files():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                text = ast.get_docstring(node) or ""
                if vague.match(text):
                    places.append(f"{path}:{node.lineno} {text.splitlines()[0]}")
    assert not places


def test_only_commands_know_the_command_line():
    flag = re.compile(r"(^|[\s(`'\"{])--[a-z]")
    places = []
    for path, room, tree in _files():
        if room in ("commands", "cli"):
            continue
        for node in ast.walk(tree):
            texts = ast.walk(node) if isinstance(node, ast.Raise) else ()
            for text in texts:
                value = getattr(text, "value", None)
                if isinstance(value, str) and flag.search(value):
                    places.append(f"{path}:{node.lineno} {value}")
    # The flags of another program, which prepares data sets.
    assert not [place for place in places if "/data/prepared.py" not in place]


def test_import_is_cheap():
    code = (
        "import sys, jtransfer; heavy = {'flax', 'ott', 'optax', 'orbax', 'chex', "
        "'tensorflow_datasets', 'torch', 'jax'}\n"
        "print(sorted(heavy & set(sys.modules)))"
        "\njtransfer.logme; print(sorted((heavy - {'jax'}) & set(sys.modules)))"
        "\nfrom jtransfer import ranking, report, zoo"
        "\nprint(sorted((heavy - {'jax'}) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split("\n")[:3] == ["[]", "[]", "[]"], run.stderr


def test_public_names_exist_and_have_docstrings():
    for name in dir(jtransfer):
        if not name.startswith("_"):
            assert getattr(jtransfer, name).__doc__, name
    with pytest.raises(AttributeError, match="nothing"):
        _ = jtransfer.nothing


CONTRACT = {
    "moments": "Moments class_moments merge empty_moments",
    "scores": "h_score regularized_h_score logme logme_regression leep nce "
    "bhattacharyya ridge_probe_accuracy dense_h_score task_transferability",
    "hgr": "divergence_transition_matrix modes ace soft_hgr mutual_information Modes",
    "jacobians": "jacobian singular_attacks SingularAttacks deviation_hessian",
    "attacks": "Norm LINF L2 pgd fgsm cross_entropy_loss deviation_loss",
    "adversarial": "alpha1 alpha2 alpha12 generalized_alpha1 generalized_alpha2",
    "matching": "gradient_matching_distance function_matching_distance "
    "explained_gradient",
    "sinkhorn": "class_centers classifier_centers cost_matrix sinkhorn_distance "
    "sinkhorn_distances SinkhornResult",
    "assessment": "sinkhorn_score fictitious_student",
    "distillation": "match_activations match_jacobians match_normalized_jacobians "
    "jacobian_norm selected_output_gradient attention_map match_attention "
    "attention_peak_gradient soft_targets sinkhorn_matching",
    "models": "OneHiddenLayer FullyConnected LeNet AlexNet VGG ResNet WideResNet "
    "MobileNet EfficientNetLite0 functional",
    "zoo": "Source labelled_target image_target target held_out_images sources",
    "ranking": "SCORES Score rank agreement pearson spearman weighted_kendall dcg "
    "top_k_regret",
    "ranking.verification": "head_accuracy fine_tuned_accuracy",
    "data": "load DataError Images",
    "report": "json_line",
    "cli": "main",
}
"""Names that scripts outside the repository call."""


@pytest.mark.parametrize("module", CONTRACT)
def test_names_of_the_contract_are_there_without_a_warning(module):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        room = importlib.import_module(f"jtransfer.{module}")
        for name in CONTRACT[module].split():
            assert callable(getattr(room, name)) or name in ("LINF", "L2", "SCORES")


@pytest.mark.parametrize("old", [*moved.MODULES, *moved.NAMES])
def test_names_of_november_lead_to_those_of_today(old):
    sys.modules.pop(old, None)
    module, _, name = old.rpartition(".")
    new = moved.NAMES.get(old, moved.MODULES.get(old))
    if old in moved.MODULES:
        with pytest.warns(DeprecationWarning, match="is now"):
            assert importlib.import_module(old).__name__ == old
        assert importlib.import_module(new)
        return
    place, _, today = new.rpartition(".")
    there = getattr(importlib.import_module(place), today)
    room = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match="is now"):
        assert getattr(room, name) is there


def test_a_script_of_november_runs(tmp_path):
    code = (
        "import numpy as np\n"
        "from jtransfer import verification, report, data, ranking, zoo\n"
        "labels = np.arange(40) % 2\n"
        "features = np.random.default_rng(0).normal(size=(40, 3)) + labels[:, None]\n"
        "source = zoo.Source('a', {}, features=lambda: features)\n"
        "target = zoo.labelled_target('parity', labels, digest='')\n"
        "rows = ranking.rank([source], target, verify=verification.head_accuracy)\n"
        "assert rows[0]['facts']['accuracy'] == "
        "verification.head_accuracy(source, target, seed=0)['accuracy']\n"
        "assert report.json_line(rows[0]).startswith('{')\n"
        "assert ranking.agreement(rows) == []\n"
        f"from pathlib import Path; out = Path({str(tmp_path)!r})\n"
        "print(len(report.written(rows, out)))\n"
        "print(report.read(out)[0]['score'], report.failures(rows))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split("\n")[:2] == ["3", "logme []"], run.stderr
