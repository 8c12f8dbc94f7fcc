"""Outside models as JAX functions with derivatives, and all their layers."""

import json
import os
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest

from jtransfer import jacobians, ranking, zoo
from jtransfer._internal.errors import RequestError, SourceError
from jtransfer.pairs import summary
from jtransfer.zoo import specs
from jtransfer.zoo.extraction import features, function_process, sources

N, SIDE, CLASSES = 12, 6, 3

OWN = """
import os
import time

import jax.numpy as jnp
from flax import nnx


class Net(nnx.Module):
    def __init__(self, seed=0):
        rngs = nnx.Rngs(seed)
        self.first = nnx.Linear(SIDE * SIDE * 3, 5, rngs=rngs)
        self.last = nnx.Linear(5, CLASSES, rngs=rngs)

    def __call__(self, x):
        maps = jnp.tanh(x[:, :2, :2])
        hidden = jnp.tanh(self.first(x.reshape(len(x), -1)))
        out = {"maps": maps, "hidden": [hidden, 2 * hidden], "embedding": hidden}
        return self.last(hidden), out


def other():
    return Net(1)


def third():
    return Net(2)


def features(images):
    return images.reshape(len(images), -1)[:, :5] / 255.0


def dies(images):
    os._exit(3)


def waits(images):
    time.sleep(0.3)
    return features(images)
"""


@pytest.fixture
def images():
    x = np.random.default_rng(0).integers(0, 255, (N, SIDE, SIDE, 3))
    return x.astype(np.uint8)


@pytest.fixture
def target(images):
    labels = np.arange(N) % CLASSES
    return zoo.labelled_target("t", labels, digest="")._replace(images=images)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    code = OWN.replace("SIDE", str(SIDE)).replace("CLASSES", str(CLASSES))
    (tmp_path / "own_gradients.py").write_text(textwrap.dedent(code))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    function_process._close_all()


def settings(folder, **changes):
    return features.Extraction(cache=folder / "cache", progress=False, **changes)


def named(folder, spec, target, **changes):
    return zoo.named_source(spec, target, extraction=settings(folder, **changes))


SPEC = "flax:own_gradients:Net?mean=.4,.5,.6&std=.2"


def own_function(seed=0):
    import own_gradients

    net = own_gradients.Net(seed)
    mean = np.float32([0.4, 0.5, 0.6])
    return lambda x: net(((x - mean[None, None]) / np.float32(0.2))[None])[0][0]


def test_values_and_derivatives_are_those_of_the_model(folder, images, target):
    function, own = named(folder, SPEC, target).function(), own_function()
    x = images.astype(np.float32) / 255
    close = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(jax.vmap(function)(x), jax.vmap(own)(x), **close)
    expected = jax.vmap(jax.jacrev(own))(x)
    jacobian = jax.jit(jax.vmap(jax.jacrev(function)))(x)
    np.testing.assert_allclose(jacobian, expected, **close)
    rows = jax.vmap(jacobians.jacobian(function, reverse_only=True))(x)
    np.testing.assert_allclose(rows, expected.reshape(N, CLASSES, -1), **close)
    slopes = jax.lax.map(jax.grad(lambda x: function(x)[1]), x)
    np.testing.assert_allclose(slopes, expected[:, 1], **close)
    nested = jax.vmap(jax.vmap(jax.grad(lambda x: function(x).sum())))(
        x.reshape(3, 4, *x.shape[1:])
    )
    np.testing.assert_allclose(
        nested.reshape(x.shape), expected.sum(axis=1), rtol=1e-4, atol=1e-5
    )
    with jax.enable_x64(True):
        wide = jax.grad(lambda x: function(x)[0])(x[0].astype(np.float64))
        assert wide.dtype == np.float64
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(function, (x[0],), (x[0],))


def test_a_jacobian_of_a_batch_is_one_call(folder, images, target, monkeypatch):
    function = named(folder, SPEC, target).function()
    calls = []
    real = function_process.FunctionProcess._answer

    def counted(self, *arrays):
        calls.append([array.shape for array in arrays])
        return real(self, *arrays)

    monkeypatch.setattr(function_process.FunctionProcess, "_answer", counted)
    x = images.astype(np.float32) / 255
    jax.block_until_ready(jax.jit(jax.vmap(jax.jacrev(function)))(x))
    image = (SIDE, SIDE, 3)
    pulls = [shapes for shapes in calls if len(shapes) == 2]
    assert pulls == [[(N, *image), (N, CLASSES, CLASSES)]]


def test_more_models_than_processes(folder, images, target):
    x = images.astype(np.float32) / 255
    functions = [
        named(folder, f"flax:own_gradients:{name}", target).function()
        for name in ("Net", "other", "third")
    ]
    assert len(function_process.FunctionProcess._running) == 2
    first = [np.asarray(jax.vmap(f)(x)) for f in functions]
    again = [np.asarray(jax.vmap(f)(x)) for f in functions]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(first[0], first[1])
    function_process._close_all()
    assert not function_process.FunctionProcess._running


def test_the_scores_of_functions(folder, target):
    extraction = settings(folder)
    kept = [
        zoo.model_source(specs.model_spec(text), target, extraction)
        for text in (f"{SPEC}&name=same", "py:own_gradients:features")
    ]
    reference = zoo.reference(named(folder, SPEC, target), target)
    names = ["alpha1", "alpha2", "gradient_matching"]
    rows = ranking.rank(kept, target, names, reference=reference)
    same = {r["score"]: r for r in rows if r["source"] == "same"}
    assert same["alpha1"]["value"] == pytest.approx(1, abs=1e-4)
    assert same["gradient_matching"]["value"] == pytest.approx(0, abs=1e-3)
    (lacking,) = [
        r for r in rows if r["source"].endswith("features") and r["score"] == "alpha1"
    ]
    assert lacking["reason"] == "It needs gradients, which functions do not give."


def test_a_pair(folder, images):
    from jtransfer.data import Images

    held = Images(images, np.arange(N) % CLASSES, tuple("abc"))
    pair = summary.pair_networks(
        SPEC, "flax:own_gradients:other", held, extraction=settings(folder)
    )
    shown = summary.pair_summary(
        pair,
        held,
        name="t",
        num_examples=N,
        epsilon=0.1,
        num_steps=2,
        seed=0,
        advance=lambda stage, count: None,
    )
    assert shown.source.num_outputs == shown.target.num_outputs == CLASSES
    assert len({shown.source.hash, shown.target.hash}) == 2


def test_what_has_no_gradients_says_so(folder, target, monkeypatch):
    for spec, words in [
        ("py:own_gradients:features", "It needs gradients, which functions do not"),
        ("flax:own_gradients:absent", "no function 'absent'"),
        (f"{SPEC}&size=4&interpolation=box", "box resampling does not give"),
    ]:
        with pytest.raises(RequestError, match=words):
            named(folder, spec, target)
    with pytest.raises(RequestError, match="images"):
        named(folder, SPEC, None)
    monkeypatch.setattr(sources, "compiler_fault", lambda: "Do not trust jaxlib.")
    with pytest.raises(RequestError, match="Do not trust jaxlib"):
        named(folder, SPEC, target)


def test_a_process_that_ends_costs_a_row(folder, images, target):
    function = named(folder, SPEC, target).function()
    (process,) = function_process.FunctionProcess._running.values()
    process._process.kill()
    process._process.wait()
    with pytest.raises(SourceError, match="most likely out of memory"):
        process.logits(images.astype(np.float32))
    assert np.isfinite(function(images[0].astype(np.float32) / 255)).all()


def test_resizing_in_floats_is_that_of_pictures(folder, target):
    smooth = np.linspace(0, 255, 64)[None, :, None, None] * np.ones((N, 1, 64, 3))
    smooth[:, :, :, 1] = smooth[:, :, :, 1].transpose(0, 2, 1)
    large = target._replace(images=smooth.astype(np.uint8))
    for how in ("bilinear", "bicubic"):
        spec = f"{SPEC}&size={SIDE}&interpolation={how}"
        function = named(folder, spec, large).function()
        source = zoo.model_source(specs.model_spec(spec), large, settings(folder))
        own = np.concatenate(list(source.logits()))
        logits = jax.vmap(function)(large.images.astype(np.float32) / 255)
        np.testing.assert_allclose(logits, own, atol=0.02 * np.abs(own).max())


def test_layers_in_one_pass(folder, images, target):
    extraction = settings(folder)
    kept = zoo.sources(SPEC, target, layers=True, extraction=extraction)
    names = ["embedding", "hidden.0", "hidden.1", "maps"]
    assert sorted(s.name.rpartition(":")[2] for s in kept) == names
    by_name = {
        s.name.rpartition(":")[2]: np.concatenate(list(s.features())) for s in kept
    }
    (whole,) = zoo.sources(SPEC, target, extraction=extraction)
    own = np.concatenate(list(whole.features()))
    np.testing.assert_allclose(by_name["embedding"], own, rtol=1e-5)
    np.testing.assert_allclose(by_name["hidden.1"], 2 * own, rtol=1e-5)
    x = (images / 255.0 - [0.4, 0.5, 0.6]) / 0.2
    maps = np.tanh(x[:, :2, :2]).mean(axis=(1, 2))
    np.testing.assert_allclose(by_name["maps"], maps, rtol=1e-4)
    assert len({source.digest() for source in kept}) == 4
    records = (folder / "cache" / "features").glob("*/complete.json")
    assert len([r for r in records if "layers" in json.loads(r.read_text())]) == 1
    (plain,) = zoo.sources(
        "py:own_gradients:features", target, layers=True, extraction=extraction
    )
    assert plain.name == "own_gradients:features"
    (failed,) = zoo.sources(
        "flax:own_gradients:absent", target, layers=True, extraction=extraction
    )
    (row, *_) = ranking.rank([failed], target, ["logme"])
    assert "no function 'absent'" in row["reason"]


@pytest.mark.parametrize("jobs", [1, 3])
def test_several_models_at_a_time(folder, target, capfd, jobs):
    extraction = settings(folder, jobs=jobs)._replace(progress=True)
    kept = [
        zoo.model_source(specs.model_spec(f"py:own_gradients:{f}"), target, extraction)
        for f in ("features", "dies", "waits")
    ]
    zoo.prepare(kept, N, extraction)
    shown = capfd.readouterr().err
    for line in ("features (1/3): 12/12 examples", "waits (3/3): 12/12 examples"):
        assert line in shown
    first, failed, last = kept
    np.testing.assert_array_equal(
        *(np.concatenate(list(s.features())) for s in (first, last))
    )
    with pytest.raises(SourceError, match="ended with code 3"):
        failed.digest()


def test_an_error_ends_all_models(folder, target):
    extraction = settings(folder, jobs=2)
    (folder / "cache").write_text("")
    source = zoo.model_source(
        specs.model_spec("py:own_gradients:features"), target, extraction
    )
    with pytest.raises(RequestError, match="cache"):
        zoo.prepare([source], N, extraction)


def test_licences(folder, target):
    spec = specs.model_spec("py:own_gradients:features")
    for wanted, words in [
        (("mit",), "Its licence \\(not stated\\) is none of"),
        ((), ""),
    ]:
        source = zoo.model_source(spec, target, settings(folder, licences=wanted))
        if words:
            with pytest.raises(SourceError, match=words):
                source.digest()
        else:
            source.digest()
    source = zoo.model_source(spec, target, settings(folder, licences=("mit",)))
    with pytest.raises(SourceError, match="none of those asked for"):
        source.digest()  # Found in the cache, and refused all the same.


def test_the_cache_has_a_limit(folder, target):
    root = folder / "cache"
    for name in ("features", "waits"):
        spec = specs.model_spec(f"py:own_gradients:{name}?version={name}")
        zoo.model_source(spec, target, settings(folder)).digest()
    sizes = [entry.size for entry in zoo.extraction.cached_features(root)]
    assert len(sizes) == 2
    assert zoo.limit_features(root, sum(sizes)) == 0
    assert zoo.limit_features(root, sizes[0]) == sizes[1]
    (left,) = zoo.extraction.cached_features(root)
    assert "waits" in left.spec
    assert zoo.limit_features(root, 0) == sizes[0]


def test_a_zoo_of_kept_features(folder, images, target, capsys):
    from jtransfer.commands.extract import extract_command
    from jtransfer.commands.options import ModelOptions

    labels = np.arange(60) % CLASSES
    many = np.concatenate([images] * 5)
    many[:, 0, 0, 0] = np.arange(60)
    np.savez(
        folder / "t.npz",
        images=many,
        labels=labels,
        test_images=images,
        test_labels=labels[:N],
    )
    (folder / "z.txt").write_text(
        f"a/b = {SPEC}\nplain = py:own_gradients:features\ndead = py:own_gradients:dies"
    )
    options = {"zoo": "z.txt", "target": "npz:t.npz", "out": folder / "kept"}
    assert extract_command(**options) == 1
    printed = capsys.readouterr().out
    assert "2 sources" in printed
    assert "Failed: dead: It ended with code 3" in printed
    kept = zoo.target(str(folder / "kept" / "labels.npz"))
    first, second = zoo.sources(str(folder / "kept" / "zoo.toml"), kept)
    assert (first.name, second.name) == ("a/b", "plain")
    assert first.facts["parameters"] > 500
    assert first.facts["model"] == SPEC
    assert first.head().shape == (5, CLASSES) if first.head else True
    assert np.concatenate(list(first.test_features())).shape == (N, 5)
    assert np.concatenate(list(first.logits())).shape == (60, CLASSES)
    assert second.logits is None
    rows = ranking.rank([first, second], kept, ["logme"])
    direct = zoo.image_target("npz:t.npz", per_class=None, num_test=None, seed=0)
    (own,) = zoo.sources(SPEC, direct, extraction=settings(folder))
    (expected, *_) = ranking.rank([own], direct, ["logme"])
    (value,) = [
        r["value"] for r in rows if r["source"] == "a/b" and r["score"] == "logme"
    ]
    assert value == pytest.approx(expected["value"], rel=1e-6)
    for wrong, words in [
        ({"source": folder}, "Give --source and --data"),
        ({"layer": "x"}, "--layer does nothing with --zoo"),
        ({"label_column": "x"}, "--label-column does nothing for npz:t.npz"),
    ]:
        with pytest.raises(RequestError, match=words):
            extract_command(**{**options, **wrong})
    with pytest.raises(RequestError, match="--memory must be positive"):
        extract_command(**options, models=ModelOptions(memory=-1.0))


def test_one_model_under_two_names_at_once(folder, target):
    extraction = settings(folder, jobs=2)
    kept = [
        zoo.model_source(specs.model_spec(text), target, extraction)
        for text in ("py:own_gradients:waits", "py:own_gradients:waits?batch=1")
    ]
    zoo.prepare(kept, N, extraction)
    first, second = (np.concatenate(list(source.features())) for source in kept)
    np.testing.assert_array_equal(first, second)


def test_code_beside_the_users_module_counts(folder, images):
    package = folder / "own_package"
    package.mkdir()
    (package / "__init__.py").write_text("from own_package.inner import f\n")
    code = "def f(x):\n    return x.reshape(len(x), -1)[:, :3] * {} / 255\n"
    rows = []
    for factor in (1, 2):
        (package / "inner.py").write_text(code.format(float(factor)))
        kept = features.extracted(
            specs.model_spec("py:own_package:f"), images, settings(folder)
        )
        (part,) = kept.folder.glob("part-*.npz")
        rows.append(np.load(part)["features"])
    np.testing.assert_allclose(rows[1], 2 * rows[0])


def test_outputs_that_change_from_batch_to_batch_are_refused(folder, images):
    (folder / "own_odd.py").write_text(
        "def f(x):\n    rows = x.reshape(len(x), -1)[:, :4] / 255.0\n"
        "    return (rows, rows[:, :2]) if len(x) != 8 else rows\n"
    )
    many = np.concatenate([images] * 2)
    spec = specs.model_spec("py:own_odd:f?batch=10")
    with pytest.raises(SourceError, match="other layers or logits"):
        features.extracted(spec, many, settings(folder))


def test_padding_that_leaks_is_noticed(folder):
    (folder / "own_leak.py").write_text(
        "import numpy as np\n"
        "def f(texts):\n    longest = max(map(len, texts))\n"
        "    return np.array([[len(t), longest - len(t)] for t in texts], float)\n"
    )
    texts = ["the longest of all texts", "a", "bb", "ccc"] * 5
    with pytest.raises(SourceError, match="alone has other features"):
        features.extracted(specs.model_spec("py:own_leak:f"), texts, settings(folder))


def test_facts_are_those_of_the_name(folder, target):
    """Also where another name has the same content; a declared licence counts."""
    spec = specs.model_spec("py:own_gradients:features")
    wanted = settings(folder, licences=("mit",))
    source = zoo.model_source(spec, target, wanted, declared={"licence": "MIT"})
    source.digest()
    other = zoo.model_source(spec, target, wanted, declared={"licence": "gpl-3.0"})
    with pytest.raises(SourceError, match="gpl-3.0"):
        other.digest()
    (folder / "zoo.toml").write_text(f'[[source]]\nspec = "{SPEC}"\nlicence = "mit"\n')
    layers = zoo.sources("zoo.toml", target, layers=True, extraction=wanted)
    assert len(layers) == 4


def test_a_kept_zoo_is_never_of_other_labels(folder, target):
    out = folder / "kept"
    held = zoo.Source(
        "a \U0001f600",
        {"spec": "py:a:b", "model": "x", "licence": "\x7f", "odd": float("nan")},
        features=lambda: np.ones((N, 2)),
    )
    assert zoo.write_zoo([held], target, out) == {}
    (again,) = zoo.sources(str(out / "zoo.toml"), target)
    assert again.name == "a \U0001f600"
    assert again.facts["model"] == "py:a:b"

    def failing():
        raise SourceError("no")

    broken = zoo.Source("labels.npz", {}, features=failing)
    assert zoo.write_zoo([broken], target, out) == {"labels.npz": "no"}
    assert not (out / "zoo.toml").exists()
    fine = broken._replace(features=lambda: np.ones((N, 2)))
    long = fine._replace(name="a" * 300)
    assert zoo.write_zoo([fine, long], target, out) == {}
    assert len(zoo.sources(str(out / "zoo.toml"), target)) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_gradients_on_one_processor(folder):
    """XLA's only thread runs the callback: what waits for another thread hangs."""
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, numpy as np
from jtransfer import zoo
from jtransfer.zoo.extraction import features
x = np.random.default_rng(0).integers(0, 255, (8, 6, 6, 3)).astype(np.uint8)
x = x.repeat(20, axis=1).repeat(20, axis=2)
target = zoo.labelled_target("t", np.arange(8) % 2, digest="")._replace(images=x)
settings = features.Extraction(progress=False)
spec = "flax:own_gradients:Net?size=6"
function = zoo.named_source(spec, target, extraction=settings).function()
x = x.astype(np.float32) / 255
jax.vmap(jax.grad(lambda x: function(x)[0]))(x).block_until_ready()
function(x[0]).block_until_ready()
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.endswith("done\n"), done.stderr


def test_a_pair_whose_model_dies_is_one_line(folder, images, capsys):
    from jtransfer.commands.pair import pair_command

    (folder / "own_dying.py").write_text(
        "import os\nimport own_gradients\n"
        "class Dying(own_gradients.Net):\n    calls = 0\n"
        "    def __call__(self, x):\n        if x.shape[0] == 12:\n"
        "            import jax\n"
        "            jax.debug.callback(lambda: os._exit(9))\n"
        "        return super().__call__(x)\n"
    )
    np.savez(folder / "p.npz", images=images, labels=np.arange(N) % CLASSES)
    code = pair_command(
        "flax:own_dying:Dying",
        "flax:own_gradients:other",
        data="npz:p.npz",
        num_examples=12,
        num_steps=1,
    )
    assert code == 1
    printed = capsys.readouterr().err
    assert "Failed: flax:own_dying:Dying: It ended with code 9" in printed
    assert "Traceback" not in printed
