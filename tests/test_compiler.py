"""Programs that a released compiler has computed wrongly."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from jtransfer._internal import compiler

SHAPES = ((4, 1, 197, 192), (4, 10, 197, 192))


def test_a_product_reduced_over_its_last_axis():
    """The backward pass of layer norms; jaxlib 0.10.2 is off by 138% on CPUs."""
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(shape).astype(np.float32) for shape in SHAPES)
    with jax.numpy_rank_promotion("allow"):
        value = jax.jit(lambda x, g: x * (x * g).sum(-1, keepdims=True))(x, g)
    np.testing.assert_allclose(value, x * (x * g).sum(-1, keepdims=True), atol=2e-3)


@pytest.mark.parametrize(("version", "warns"), [("0.10.2", True), ("0.10.1", False)])
def test_a_wrong_compiler_is_told(monkeypatch, version, warns):
    monkeypatch.setattr(compiler, "installed_version", lambda name: version)
    assert bool(compiler.compiler_fault()) == warns


def test_the_fault_is_one_line_on_the_screen():
    code = (
        "import sys, importlib.metadata as metadata\n"
        "metadata.version = lambda name: '0.10.2'\n"
        "sys.argv = ['jtransfer', '--version']\n"
        "from jtransfer import cli; cli.main()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0
    assert run.stderr.count("\n") == 1
    assert "jaxlib 0.10.2" in run.stderr
