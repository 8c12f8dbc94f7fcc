"""Rules that hold for every script of experiments/, read from their text."""

import ast

import pytest

smoke = pytest.importorskip("experiments.smoke", reason="experiments are not here")
FILES = sorted(smoke.FOLDER.rglob("*.py"))


def test_every_script_is_run_by_the_smoke_run():
    scripts = {
        f"experiments.{path.parent.name}.{path.stem}"
        for path in smoke.FOLDER.glob("*/*.py")
    }
    # It needs Fashion-MNIST, and writes the package's own files.
    assert scripts - set(smoke.script_names()) == {"experiments.zoos.embedded_zoo"}


@pytest.mark.parametrize("name", smoke.script_names())
def test_a_script_names_its_command_first(name):
    path = smoke.FOLDER.parent / f"{name.replace('.', '/')}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert f"Run: `python -m {name}" in docstring


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_paths_are_changed_and_no_lambda_has_defaults(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert (getattr(node.value, "id", None), node.attr) != ("sys", "path")
        if isinstance(node, ast.Lambda):
            assert not node.args.defaults, f"line {node.lineno}"
