"""Tests of `jtransfer.rank` and of the result that a notebook shows."""

import json

import numpy as np
import pytest
from flax import nnx

import jtransfer
from jtransfer import models, ranking, zoo
from jtransfer._internal.errors import FileError, RequestError

LABELS = np.arange(60) % 3
NOISE = np.random.default_rng(0).normal(size=(60, 4))
ARRAYS = {"noise": NOISE, "useful": NOISE + 2 * LABELS[:, None]}


def pixels(x):
    rows = x.reshape(len(x), -1).astype(np.float32)
    return rows, rows[:, :3]


def fails(x):
    raise ValueError("<b>no</b>")


@pytest.fixture(scope="module")
def result():
    return jtransfer.rank({**ARRAYS, "broken": fails}, LABELS, progress=False)


def test_arrays_by_name(result):
    assert isinstance(result, jtransfer.Ranking)
    assert result.best == "useful"
    assert result.group == ("useful",)
    assert "must hold images" in result.failures["broken"]
    assert len(result) == len(list(result)) == len(result.rows)
    target = zoo.labelled_target("labels", LABELS, digest="")
    sources = [
        zoo.Source(name, {}, features=lambda x=x: x) for name, x in ARRAYS.items()
    ]
    rows = ranking.rank_sources(sources, target)
    values = {(r.source, r.score): r.value for r in rows if hasattr(r, "value")}
    own = {(r.source, r.score): r.value for r in result if hasattr(r, "value")}
    assert own == values


def test_what_a_notebook_shows(result):
    html = result._repr_html_()
    assert "<td>useful</td>" in html
    assert "<script" not in html
    assert len(html) < 60_000
    text = str(result)
    assert text.index("useful") < text.index("noise")
    assert "Failed: broken" in text
    named = jtransfer.rank({"<b>": NOISE}, LABELS, progress=False)
    assert "&lt;b&gt;" in named._repr_html_()
    assert isinstance(result.warnings, list)


def test_files_of_a_ranking(result, tmp_path):
    page = result.report(tmp_path / "new" / "page.html")
    assert "useful" in page.read_text()
    paths = result.save(tmp_path / "saved")
    assert {path.name for path in paths} >= {"ranking.jsonl", "report.html"}
    again = jtransfer.rank(ARRAYS, LABELS, out=tmp_path / "out", progress=False)
    lines = (tmp_path / "out" / "ranking.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["source"] == again.best
    kept = jtransfer.rank(ARRAYS, LABELS, out=tmp_path / "out", progress=False)
    assert kept.best == again.best


def test_intervals_are_drawn(result):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    axes = result.plot("ridge_probe")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["noise", "useful"]
    assert axes.get_xlabel() == "ridge probe"
    with pytest.raises(RequestError, match="No source has the score 'alpha1'"):
        result.plot("alpha1")


def test_a_table_of_pandas(result):
    pandas = pytest.importorskip("pandas")
    table = result.to_dataframe()
    assert isinstance(table, pandas.DataFrame)
    assert set(table["source"]) == {"noise", "useful"}


def test_networks_and_functions_at_hand():
    rng = np.random.default_rng(0)
    images = rng.integers(80, size=(60, 32, 32, 3)).astype(np.uint8)
    images[..., 0] += np.uint8(60) * LABELS[:, None, None].astype(np.uint8)
    network = models.LeNet(num_classes=4, rngs=nnx.Rngs(0))
    result = jtransfer.rank(
        [("pixels", pixels), network, {"broken": fails}],
        LABELS,
        images=images,
        scores=["logme", "leep"],
        progress=False,
    )
    scored = {(r.source, r.score) for r in result if hasattr(r, "value")}
    assert {("pixels", "leep"), ("LeNet", "logme"), ("LeNet", "leep")} <= scored
    assert result.failures == {"broken": "ValueError: <b>no</b>"}
    assert "&lt;b&gt;" in result._repr_html_()
    network.eval()
    _, out = network(np.float32(images) / 255)
    kept = jtransfer.rank({"out": np.asarray(out["embedding"])}, LABELS, progress=False)
    own = next(
        row.value
        for row in result
        if row.source == "LeNet" and getattr(row, "score", None) == "logme"
    )
    assert own == pytest.approx(kept[0].value, rel=1e-3)


def test_networks_of_torch_at_hand():
    torch = pytest.importorskip("torch", reason="pip install 'jtransfer[torch]'")
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3))
    images = np.random.default_rng(0).integers(256, size=(60, 4, 4, 3))
    images = images.astype(np.uint8)
    result = jtransfer.rank(
        [("plain", net), ("moved", net, lambda x: torch.ones(3, 4, 4))],
        LABELS,
        images=images,
        progress=False,
    )
    assert not net[1]._forward_pre_hooks
    value = next(row.value for row in result if row.source == "plain")
    rows = np.float32(images.transpose(0, 3, 1, 2).reshape(60, -1)) / 255
    (kept, *_) = jtransfer.rank({"rows": rows}, LABELS, progress=False)
    assert value == pytest.approx(kept.value, rel=1e-4)


def test_outputs_of_a_model_are_computed_once(capsys):
    images = np.zeros((60, 2, 2, 3), np.uint8)
    images[..., 0] += np.arange(60, dtype=np.uint8)[:, None, None]
    seen = []

    def counted(x):
        seen.append(len(x))
        return pixels(x)

    jtransfer.rank(
        {"counted": counted},
        LABELS,
        images=images,
        scores=iter(["leep", "logme"]),
        progress=False,
    )
    assert seen == [60]
    assert capsys.readouterr().err == ""


def test_a_folder_that_cannot_be_written_loses_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="out is not writable"):
        jtransfer.rank(ARRAYS, LABELS, out=tmp_path / "file", progress=False)

    def full(self, folder):
        raise FileError(f"{folder} cannot be written: no space")

    monkeypatch.setattr(jtransfer.Ranking, "save", full)
    with pytest.warns(RuntimeWarning, match="out cannot be written"):
        result = jtransfer.rank(
            ARRAYS, LABELS, scores="h_score", out=tmp_path / "out", progress=False
        )
    assert result.best == "useful"
    assert result[0].score == "h_score"
    assert "no space" in str(result.unkept[0])


@pytest.mark.parametrize(
    ("sources", "options", "words"),
    [
        ({}, {}, "There is no source"),
        ([("a", NOISE), ("a", NOISE)], {}, "Two sources are called 'a'"),
        ({"a": 3}, {}, "a is int; a source is an array"),
        (("a", pixels, pixels), {}, "a transform is for networks of PyTorch"),
        (("a", NOISE, 1, 2), {}, "give a name, a model and its transform"),
        (ARRAYS, {"scores": ["logm"]}, "logm"),
        (ARRAYS, {"verify": True, "fine_tune": True}, "exclude each other"),
        (ARRAYS, {"images": NOISE[:3]}, "images: 3 images and 60 labels"),
        (ARRAYS, {"text_column": "a"}, "text_column does nothing for labels"),
        (ARRAYS, {"num_examples": 20}, "num_examples does nothing without a ref"),
        (ARRAYS, {"jobs": 2}, "jobs does nothing for a zoo without models of other"),
        (ARRAYS, {"data_dir": "d"}, "data_dir does nothing for labels"),
        (None, {}, "sources: it is missing beside target"),
        (ARRAYS, {"scores": 5}, "scores must be a text or several, got 5"),
        (ARRAYS, {"licence": b"mit"}, "licence must be a text or several"),
        (ARRAYS, {"jobs": 0}, "jobs must be a positive whole number, got 0"),
        (ARRAYS, {"jobs": 1.5}, "jobs must be a positive whole number"),
        (ARRAYS, {"memory": float("inf")}, "memory must be a positive number"),
        (ARRAYS, {"cache_limit": -1}, "cache_limit must be a positive number"),
        (ARRAYS, {"seed": -1}, "seed must be"),
        (ARRAYS, {"verify": "no"}, "verify must be True or False, got 'no'"),
        (ARRAYS, {"out": 5}, "out must be a folder, got 5"),
        (ARRAYS, {"layers": True}, "layers does nothing for sources that are no"),
        (ARRAYS, {"images": np.full((60, 4, 4, 3), 9)}, "images must be uint8, or fl"),
        (ARRAYS, {"images": np.full((60, 4, 4, 3), 9.0)}, "images must be uint8, or"),
        (ARRAYS, {"images": np.full((60, 4, 4, 3), np.nan)}, "images must be uint8"),
    ],
)
def test_a_wrong_request_is_one_line(sources, options, words):
    with pytest.raises(RequestError, match=words):
        jtransfer.rank(sources, LABELS, progress=False, **options)


def test_the_old_name_gives_the_rows_of_november():
    target = zoo.labelled_target("labels", LABELS, digest="")
    source = zoo.Source("useful", {}, features=lambda: ARRAYS["useful"])
    rows = ranking.rank([source], target)
    assert rows[0]["source"] == "useful"
    assert isinstance(rows[0], dict)
