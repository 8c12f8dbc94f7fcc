"""Tests of models of other libraries as sources: names, processes, features kept."""

import importlib.metadata
import json
import os
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest

import jtransfer
from jtransfer import ranking, zoo
from jtransfer._internal.errors import FileError, RequestError, SourceError
from jtransfer.commands.cache import cache_command
from jtransfer.commands.doctor import doctor_command
from jtransfer.commands.options import ModelOptions
from jtransfer.commands.rank import rank_command
from jtransfer.zoo import specs
from jtransfer.zoo.extraction import cache, features, process, worker

MODULE = """
import os, signal, sys, time
from pathlib import Path
import numpy as np

def plain(x):
    with open("calls", "a") as calls:
        calls.write(f"{len(x)}\\n")
    return x.reshape(len(x), -1).astype(np.float32) / 255

def with_logits(x):
    rows = plain(x)
    return rows, rows[:, :3] @ np.eye(3, dtype=np.float32)

def crash(x):
    os.kill(os.getpid(), signal.SIGSEGV)

def leave(x):
    print("these are my last words")
    sys.stdout.flush()
    os._exit(3)

def sleep(x):
    time.sleep(60)

def nan(x):
    rows = plain(x).copy()
    rows[:, 2] = np.where(x[:, 0, 0, 0] == 7, np.nan, 0)
    return rows

def dropout(x):
    return plain(x) + np.random.default_rng().normal(size=(len(x), 1))

def batch_norm(x):
    return plain(x) - plain(x).mean(axis=0)

def cube(x):
    return x.astype(np.float32)

def constant(x):
    return np.ones((len(x), 4))

def hungry(x):
    if len(x) > 4:
        raise MemoryError
    return plain(x)

def huge(x):
    return np.ones((len(x), 2**31))

def second_time(x):
    done = Path("done")
    if len(x) > 8 and x.flat[0] == 99 and not done.exists():
        done.touch()
        os._exit(9)
    return plain(x)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    return tmp_path


def images(n=40, side=2):
    rng = np.random.default_rng(0)
    return rng.integers(8, 256, size=(n, side, side, 3)).astype(np.uint8)


def extracted(folder, spec, x, **settings):
    settings = features.Extraction(cache=folder / "cache", **settings)
    kept = features.extracted(specs.model_spec(spec), x, settings).folder
    parts = [np.load(part) for part in sorted(kept.glob("part-*.npz"))]
    return np.concatenate([part["features"] for part in parts])


def calls(folder):
    lines = (folder / "calls").read_text().split()
    return list(map(int, lines))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("py:a:b?vresion=1", "no option 'vresion'; nearest: version"),
        ("py:a:b?version=", "the option version is empty"),
        ("py:a:b?version=1&version=2", "an option is given twice"),
        ("py:?version=1", "names no model"),
        ("py:a:b?layer=1", "no option 'layer'"),
        ("flax:a:b?layer=1", "no option 'layer'"),
        ("py:a:b?batch=0", "batch must be a positive number, got '0'"),
    ],
)
def test_a_spec_that_is_wrong_is_one_line(text, words):
    with pytest.raises(RequestError, match=words):
        specs.model_spec(text)


@pytest.mark.parametrize("library", specs.LIBRARIES)
def test_every_option_of_a_library_is_read_by_its_loaders(library):
    """Each stands where it is read: in a loader, or in what loaders share."""
    folder = Path(specs.__file__).parent / "loaders"
    names = {"hf": "huggingface*", "torch": "python", "flax": "python", "py": "python"}
    files = [*folder.glob(f"{names.get(library, library)}.py"), folder / "images.py"]
    code = "".join(file.read_text() for file in files)
    for option in specs.LIBRARIES[library].options:
        assert f'"{option}"' in code, option


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timm:resnet18?match=order", "match does nothing without a file of weights"),
        ("flax:a:b?interpolation=nearest", "interpolation does nothing without size"),
    ],
)
def test_options_without_what_they_act_on_are_refused(text, words, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    with pytest.raises(RequestError, match=words):
        specs.model_spec(text)


def test_a_library_that_is_absent_is_named_with_its_cure(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'jtransfer\[timm\]'"):
        specs.model_spec("timm:resnet18")


def test_specs_have_names_and_paths_beside_their_file(tmp_path):
    (tmp_path / "w.safetensors").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: True)
        spec = specs.model_spec("timm:c?weights=w.safetensors&name=mine", tmp_path)
    path = str(tmp_path / "w.safetensors")
    assert dict(spec.options) == {"weights": path, "name": "mine"}
    assert spec.name == "mine"
    assert "name=" not in spec.text


def test_a_zoo_of_names(folder):
    (folder / "zoo.txt").write_text(
        "# mine\npy:own_models:plain\n\nsecond = py:own_models:crash  # dies\n"
    )
    (folder / "zoo.toml").write_text(
        '[[source]]\nspec = "py:own_models:plain"\nname = "a"\nparameters = 3\n'
    )
    names = [source.name for source in zoo.sources("zoo.txt")]
    assert names == ["own_models:plain", "second"]
    labels = np.arange(40) % 2
    target = zoo.labelled_target("t", labels, digest="")._replace(images=images())
    settings = zoo.DEFAULT_EXTRACTION._replace(cache=folder / "cache")
    (declared,) = zoo.sources("zoo.toml", target, extraction=settings)
    assert declared.name == "a"
    assert declared.facts["parameters"] == 3
    assert declared.digest()
    assert declared.facts["spec"] == "py:own_models:plain"
    (alone,) = zoo.sources("py:own_models:plain?name=b")
    assert alone.name == "b"
    (folder / "bad.txt").write_text("tim:resnet18\n")
    with pytest.raises(RequestError, match=r"bad.txt, line 1: .*nearest: timm:"):
        zoo.sources("bad.txt")
    with pytest.raises(RequestError, match="nearest: timm:"):
        zoo.sources("tim:resnet18")
    (folder / "bad.toml").write_text('[[source]]\nspec = "a"\npath = "b"\n')
    with pytest.raises(RequestError, match="no path, or no spec"):
        zoo.sources("bad.toml")


def test_features_are_those_of_the_function_and_are_kept(folder, monkeypatch):
    x = images()
    rows = extracted(folder, "py:own_models:plain", x)
    np.testing.assert_array_equal(rows, np.float32(x.reshape(40, -1)) / 255)
    # Eight images twice, one alone, then all of them.
    assert calls(folder) == [8, 8, 1, 40]
    monkeypatch.setattr(features, "run_process", lambda *_, **__: pytest.fail("again"))
    again = extracted(folder, "py:own_models:plain?name=other&batch=3", x)
    np.testing.assert_array_equal(again, rows)
    with pytest.raises(pytest.fail.Exception):
        extracted(folder, "py:own_models:plain", x[:30])
    with pytest.raises(pytest.fail.Exception):
        extracted(folder, "py:own_models:plain?version=2", x)
    with pytest.raises(pytest.fail.Exception):
        extracted(folder, "py:own_models:with_logits", x)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    with pytest.raises(pytest.fail.Exception):
        extracted(folder, "py:own_models:plain", x)
    monkeypatch.chdir(folder)
    (folder / "own_models.py").write_text(MODULE + "\n# changed\n")
    with pytest.raises(pytest.fail.Exception):
        extracted(folder, "py:own_models:plain", x)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("crash", r"crashed by signal 11 \(SIGSEGV\) at row 0"),
        ("leave", "ended with code 3 at row 0; last words: .*my last words"),
        ("dropout", "other features a second time: is dropout on"),
        ("batch_norm", "An example alone has other features"),
        ("cube", r"8 examples give features of shape \[8, 2, 2, 3\]"),
        ("constant", "the same for all examples"),
        ("absent", "own_models has no function 'absent'"),
        ("nan", "1 values are not finite, first in row 30"),
    ],
)
def test_a_fault_of_a_model_is_its_reason(folder, function, words):
    x = images()
    x[30, 0, 0, 0] = 7
    with pytest.raises(SourceError, match=words):
        extracted(folder, f"py:own_models:{function}", x)
    assert not list((folder / "cache").rglob("images.npy"))


def test_a_module_that_cannot_be_imported_is_a_reason(folder):
    (folder / "broken_models.py").write_text("import no_such_package\n")
    with pytest.raises(SourceError, match="ModuleNotFoundError: .*no_such_package"):
        extracted(folder, "py:broken_models:f", images())


def test_silence_ends_a_model(folder):
    with pytest.raises(SourceError, match="no progress for 2 s at row 0"):
        extracted(folder, "py:own_models:sleep", images(), silence=2.0)


def test_batches_that_are_too_large_are_halved(folder):
    x = images(9)
    with pytest.raises(SourceError, match="MemoryError|out of memory"):
        extracted(folder, "py:own_models:hungry", x)
    rows = extracted(folder, "py:own_models:hungry", x[:4])
    assert rows.shape == (4, 12)


def test_the_memory_of_a_model_has_a_limit(folder):
    with pytest.raises(SourceError, match="out of memory|MemoryError|Unable to alloc"):
        extracted(folder, "py:own_models:huge", images(), memory=2 * 2**30)


def test_a_run_goes_on_after_its_last_part(folder):
    x = images(4200, side=1)
    x[4160, 0, 0, 0] = 99  # The first of a batch of the second part.
    with pytest.raises(SourceError, match="code 9 at row 4160"):
        extracted(folder, "py:own_models:second_time?batch=64", x)
    before = sum(calls(folder))
    rows = extracted(folder, "py:own_models:second_time?batch=64", x)
    np.testing.assert_array_equal(rows, np.float32(x.reshape(len(x), -1)) / 255)
    assert sum(calls(folder)) - before == 8 + 8 + 1 + 4200 - 4096


def test_a_run_that_ended_behind_its_last_part_is_found_whole(folder, monkeypatch):
    x, key = images(), features.features_key
    monkeypatch.setattr(features, "features_key", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extracted(folder, "py:own_models:plain", x)
    monkeypatch.setattr(features, "features_key", key)
    before = sum(calls(folder))
    rows = extracted(folder, "py:own_models:plain", x)
    np.testing.assert_array_equal(rows, np.float32(x.reshape(40, -1)) / 255)
    assert sum(calls(folder)) - before == 8 + 8 + 1


def test_files_of_the_working_folder_are_no_libraries(folder):
    code = "from pathlib import Path; Path('ran').touch()"
    for name in ("resource", "safetensors", "timm", "json"):
        (folder / f"{name}.py").write_text(code)
    extracted(folder, "py:own_models:plain", images())
    assert not (folder / "ran").exists()


def test_a_process_that_cannot_begin_is_a_reason(folder, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(SourceError, match="ended with code 1 at row 0"):
        extracted(folder, "py:own_models:plain", images(5000, side=8))


def test_parts_of_other_code_are_not_mixed_in(folder):
    x = images(4200, side=1)
    x[4160, 0, 0, 0] = 99
    with pytest.raises(SourceError, match="code 9 at row 4160"):
        extracted(folder, "py:own_models:second_time?batch=64", x)
    text = MODULE.replace("astype(np.float32) / 255", "astype(np.float32) / 100")
    (folder / "own_models.py").write_text(text)
    rows = extracted(folder, "py:own_models:second_time?batch=64", x)
    np.testing.assert_array_equal(rows, np.float32(x.reshape(len(x), -1)) / 100)


def test_models_are_ranked_and_a_crash_is_a_row(folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    labels = np.arange(60) % 3
    x = images(60)
    x[..., 0] = 80 * labels[:, None, None] + 20
    target = zoo.labelled_target("t", labels, digest="")._replace(images=x)
    names = ("plain", "with_logits", "crash")
    sources = [
        zoo.model_source(
            specs.model_spec(f"py:own_models:{name}"), target, zoo.DEFAULT_EXTRACTION
        )
        for name in names
    ]
    rows = ranking.rank(sources, target, ["logme", "leep"])
    by_name = {
        name: [r for r in rows if r["source"].endswith(f":{name}")] for name in names
    }
    (failed,) = by_name["crash"]
    assert "signal 11" in failed["reason"]
    scored = {r["score"]: r for r in by_name["with_logits"]}
    assert scored["logme"]["value"] > scored["logme"]["chance_high"]
    assert scored["leep"]["value"] < 0
    (lacking,) = [r for r in by_name["plain"] if r["score"] == "leep"]
    assert lacking["reason"].startswith("It needs logits")
    no_images = target._replace(images=None)
    source = zoo.model_source(
        specs.model_spec("py:own_models:plain"), no_images, zoo.DEFAULT_EXTRACTION
    )
    (failed,) = ranking.rank([source], no_images, ["logme"])
    assert "the target must hold these" in failed["reason"]


def test_a_folder_that_cannot_be_written_ends_the_run(folder):
    (folder / "cache").write_text("")
    with pytest.raises(RequestError, match="cache"):
        extracted(folder, "py:own_models:plain", images())


def test_the_process_is_offline_unless_it_may_fetch():
    assert process._environment(False, 1)["HF_HUB_OFFLINE"] == "1"
    if "HF_HUB_OFFLINE" not in os.environ:
        assert "HF_HUB_OFFLINE" not in process._environment(True, 1)


def test_flax_networks(folder):
    (folder / "own_flax.py").write_text(
        textwrap.dedent(
            """
            from flax import nnx
            from jtransfer import models

            def lenet():
                return models.LeNet(num_classes=4, rngs=nnx.Rngs(0))
            """
        )
    )
    x = images(12, side=32)
    rows = extracted(folder, "flax:own_flax:lenet?mean=.5&std=.25", x)
    from flax import nnx

    from jtransfer import models

    model = models.LeNet(num_classes=4, rngs=nnx.Rngs(0))
    model.eval()
    _, out = model((np.float32(x) / 255 - 0.5) / 0.25)
    np.testing.assert_allclose(rows, out["embedding"], rtol=1e-4, atol=1e-5)
    large = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
    spec = "flax:own_flax:lenet?mean=.5&std=.25&size=32&interpolation=nearest"
    smaller = extracted(folder, spec, large)
    np.testing.assert_allclose(smaller, rows, rtol=1e-4, atol=1e-5)
    (file, _) = (folder / "cache" / "features").glob("*/complete.json")
    assert json.loads(file.read_text())["facts"]["parameters"] > 1000


def test_features_that_are_kept_are_listed_and_removed(folder, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "user"))
    root = folder / "user" / "jtransfer" / "models"
    for name in ("plain", "with_logits"):
        spec, settings = f"py:own_models:{name}", features.Extraction(cache=root)
        kept = features.extracted(specs.model_spec(spec), images(), settings).folder
    assert cache_command() == 0
    listed = " ".join(capsys.readouterr().out.split())
    assert "py:own_models:plain" in listed
    assert "2 models, 0.0 MB" in listed
    assert cache_command("clear", older=1) == 0
    assert "0 models" in capsys.readouterr().out
    assert cache_command("clear", "logits") == 0
    assert not kept.exists()
    with pytest.raises(SourceError, match="signal 11"):
        features.extracted(specs.model_spec("py:own_models:crash"), images(), settings)
    (left,) = filter(Path.is_dir, (root / "work").iterdir())
    with cache.held_folder(left):
        assert cache_command("clear") == 0
    assert "1 model," in capsys.readouterr().out
    assert left.exists()
    assert cache_command("clear") == 0
    assert not left.exists()
    assert not list((root / "features").iterdir())
    with pytest.raises(RequestError, match="--older must be positive"):
        cache_command(older=-1)


def test_the_doctor_says_what_is_wrong(monkeypatch, capsys):
    assert doctor_command() == 0
    printed = capsys.readouterr().out
    for word in ("jtransfer", "jaxlib", "devices", "features kept"):
        assert word in printed
    real = importlib.metadata.version
    versions = {"torch": "2.4.1", "jaxlib": "0.10.2"}
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: versions.get(name) or real(name)
    )
    assert doctor_command() == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "torch 2.4.1 may run code" in printed
    assert "Do not trust results with jaxlib 0.10.2" in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memory": -1.0, "target": "t.npz", "zoo": "z"}, "--memory must be positive"),
        (
            {"source_timeout": 0.0, "target": "t", "zoo": "z"},
            "--source-timeout must be",
        ),
        ({"download": True}, "--download does nothing without --target and --zoo"),
        ({"memory": 2.0}, "--memory does nothing without --target and --zoo"),
    ],
)
def test_options_of_models_are_used_or_refused(options, words):
    names = ("download", "memory", "source_timeout")
    own = {name: options[name] for name in names if name in options}
    others = {name: value for name, value in options.items() if name not in own}
    with pytest.raises(RequestError, match=words):
        rank_command(**others, models=ModelOptions(**own))


def table_of_texts(folder, name="t.csv"):
    words = ("good, fine", "bad\nawful", "so\u2028so\x85")
    rows = [(f"{words[i % 3]} {i // 2 * 2}", "pnm"[i % 3]) for i in range(60)]
    file = folder / name
    if name.endswith(".csv"):
        lines = [f'"{text}",{label}' for text, label in rows]
        file.write_text(
            "review,class\n" + "\n".join(lines) + "\n", encoding="utf-8-sig"
        )
    else:
        lines = [json.dumps({"review": text, "class": label}) for text, label in rows]
        file.write_text("\n".join(lines))
    return file, rows


OF_TEXTS = """
import numpy as np

def lengths(texts):
    assert isinstance(texts, list)
    pair = lambda t: t if isinstance(t, str) else "|".join(t)
    rows = [[pair(t).count(c) for c in "adgo |"] for t in texts]
    return np.array(rows, np.float32) + len(rows[0])
"""
COLUMNS = {"text_columns": ("review",), "label_column": "class"}


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_texts_of_a_table(folder, name):
    if name.endswith("parquet"):
        parquet = pytest.importorskip("pyarrow.parquet", reason="pip install pyarrow")
        import pyarrow

        file, rows = table_of_texts(folder, "t.csv")
        texts, labels = map(list, zip(*rows, strict=True))
        file = folder / name
        parquet.write_table(pyarrow.table({"review": texts, "class": labels}), file)
    else:
        file, rows = table_of_texts(folder, name)
    target = zoo.text_target(file, **COLUMNS)
    assert target.texts == tuple(text for text, _ in rows)
    assert target.class_names == ("m", "n", "p")
    names = [target.class_names[label] for label in target.labels]
    assert names == [label for _, label in rows]
    few = zoo.text_target(file, per_class=12, seed=1, **COLUMNS)
    assert len(few.texts) == 36
    assert few.digest != target.digest
    pairs = zoo.text_target(
        file, text_columns=("review", "review"), label_column="class"
    )
    assert pairs.texts[0] == [rows[0][0]] * 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text,class\na,b\n", "no column 'review'; it has text, class"),
        ("review,class\na,\n", "example 1 has no label"),
        ("review,class\n ,b\n", "example 1 has no text"),
        ("review,class\n", "holds no examples"),
        ('review,class\n"a,b\n', "unexpected end of data"),
        ("review,class\na,b\n\u2028c,\n", "example 2 has no label"),
    ],
)
def test_tables_that_cannot_be_used(folder, content, words):
    (folder / "t.csv").write_text(content)
    with pytest.raises(RequestError, match=words):
        zoo.text_target(folder / "t.csv", **COLUMNS)
    with pytest.raises(RequestError, match="cannot be read"):
        zoo.text_target(folder / "absent.csv", **COLUMNS)
    (folder / "t.jsonl").write_text("[1]\n")
    with pytest.raises(RequestError, match="line 1 is no object"):
        zoo.text_target(folder / "t.jsonl", **COLUMNS)


def test_models_of_texts_are_ranked(folder, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    (folder / "of_texts.py").write_text(OF_TEXTS)
    table_of_texts(folder)
    (folder / "zoo.txt").write_text("py:of_texts:lengths\nb = py:of_texts:absent\n")
    columns = {"text_column": ("review",), "label_column": "class"}
    options = {"target": "t.csv", "zoo": "zoo.txt", "scores": ("logme",)}
    assert rank_command(**options, **columns, json=True) == 1
    rows = list(map(json.loads, capsys.readouterr().out.splitlines()))
    (failed,) = (row for row in rows if "value" not in row and "score" not in row)
    assert "no function 'absent'" in failed["reason"]
    scored = next(row for row in rows if row.get("score") == "logme")
    assert scored["value"] > scored["chance_high"]
    with pytest.raises(RequestError, match="--num-test does nothing for t.csv"):
        rank_command(**options, **columns, num_test=3)
    with pytest.raises(RequestError, match="--label-column does nothing for .*digits"):
        rank_command(label_column="class")
    result = jtransfer.rank(
        "py:of_texts:lengths",
        "t.csv",
        text_column="review",
        label_column="class",
        progress=False,
    )
    assert result.best == "of_texts:lengths"


@pytest.mark.parametrize("spec", ["flax:a:b", "flax:a:*"])
def test_models_of_images_are_refused_for_texts(spec):
    target = zoo.labelled_target("t", np.arange(4) % 2, digest="")
    target = target._replace(texts=("a", "b", "c", "d"))
    with pytest.raises(RequestError, match="holds texts; give hf: or py:|\\* is for"):
        zoo.sources(spec, target)


def test_features_that_have_no_room_are_not_begun(tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=1)
    monkeypatch.setattr(worker.shutil, "disk_usage", lambda folder: full)
    with pytest.raises(FileError, match=r"take 2\.00 GB, and 0\.00 GB are free"):
        worker._check_space(tmp_path, 2 * 10**9)
