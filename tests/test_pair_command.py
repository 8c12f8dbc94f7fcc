"""Tests of `jtransfer pair`: numbers, tables, pages and faults."""

import base64
import io
import json
import re
import sys
import xml.etree.ElementTree as ET

import jax
import numpy as np
import pytest
from flax import nnx
from pages import HOSTILE, make_rows, read
from PIL import Image

from jtransfer import cli, models, networks, pairs, report
from jtransfer._internal.errors import RequestError
from jtransfer.data import ChannelStatistics
from jtransfer.intervals import Interval
from jtransfer.pairs import measures as pair_measures
from jtransfer.pairs import shown_examples
from jtransfer.pairs.results import ByRole, pair_from_json, pair_json
from jtransfer.report.pages import pair, pair_charts

pytestmark = pytest.mark.timeout(240)
NAMES = ("red", "green", "blue")


def write_network(folder, *, seed, image_size=4, class_names=NAMES):
    """A small untrained network on disk."""
    architecture = networks.Architecture(
        model="fully_connected",
        num_classes=3,
        num_channels=1,
        image_size=image_size,
        base_width=4,
    )
    model = networks.model(architecture, rngs=nnx.Rngs(seed))
    statistics = ChannelStatistics(np.full(1, 0.5), np.full(1, 0.25))
    variables = models.functional(model)[1]
    network = networks.Network(architecture, variables, statistics, class_names, {})
    networks.write_network(folder, network)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three networks and 40 images with 15 more as the test part."""
    folder = tmp_path_factory.mktemp("pair")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(55, 4, 4, 1)).astype(np.uint8)
    labels = np.arange(55) % 3
    np.savez(
        folder / "grey.npz",
        images=images[:40],
        labels=labels[:40],
        class_names=NAMES,
        test_images=images[40:],
        test_labels=labels[40:],
    )
    np.savez(folder / "train.npz", images=images[:12], labels=labels[:12])
    write_network(folder / "zoo" / "net", seed=0)
    others = ("blue", "<b>pink</b>", "red")
    write_network(folder / "other" / "net", seed=1, class_names=others)
    write_network(folder / "large", seed=2, image_size=6)
    (folder / "empty").mkdir()
    return folder


def run(monkeypatch, folder, *arguments):
    """Runs the command line in this process; returns the exit code."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["jtransfer", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code


@pytest.fixture(scope="module")
def stored(folder):
    """A pair as in `pair.json`, with names that must be escaped."""
    with pytest.MonkeyPatch.context() as patch:
        command = ("pair", "zoo/net", "other/net", "--data", "npz:grey.npz")
        assert run(patch, folder, *command, "--out", "out") == 0
    return json.loads((folder / "out" / "pair.json").read_text())


def test_the_numbers_are_those_of_the_pair(stored, folder):
    assert (stored["n"], stored["data"], stored["seed"]) == (15, "npz:grey.npz", 0)
    names = [stored[who]["name"] for who in ("source", "target")]
    assert names == ["zoo/net", "other/net"]
    row = stored["measures"]["alpha1"]["to_source"]
    assert 0 < row["low"] < row["value"] < row["high"]
    classes = stored["classes"]
    assert [c["name"] for c in classes] == list(NAMES)
    weighted = sum(c["n"] * c["alpha1"]["to_source"]["value"] for c in classes)
    assert weighted / 15 == pytest.approx(row["value"], rel=1e-6)
    for name in ("alpha2", "alpha12"):
        row = stored["measures"][name]["to_target"]
        assert row["square"] == pytest.approx(row["value"] ** 2)
        assert row["unbiased_square"] < row["square"]
    assert stored["noise_floor"] == pytest.approx(15**-0.5)
    assert len(stored["singular_values"]["target"]) == 3
    assert {"versions", "code_hash", "data_hash", "device"} <= stored.keys()


def test_accuracies_are_of_the_classes_known_by_name(stored, folder):
    """The target has no class green; red is its third output."""
    network = networks.read_network(folder / "other" / "net")
    with np.load(folder / "grey.npz") as arrays:
        images, labels = arrays["test_images"], arrays["test_labels"]
    ((_, logits),) = networks.outputs(network, images)
    by_name = {c["name"]: c["accuracy"]["target"] for c in stored["classes"]}
    assert by_name["green"] is None
    predicted = logits[labels == 0].argmax(axis=1)
    assert by_name["red"] == pytest.approx(np.mean(predicted == 2))
    assert stored["source"]["accuracy"] is not None


def picture(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), int)


def test_the_first_examples_are_shown_with_their_attacks(stored, folder):
    """Pictures are those of the attacks, answers those of the networks under them."""
    with np.load(folder / "grey.npz") as arrays:
        images, labels = arrays["test_images"], arrays["test_labels"]
    functions = [
        networks.function(networks.read_network(folder / name))
        for name in ("zoo/net", "other/net")
    ]
    assert len(stored["examples"]) == 8
    for one in stored["examples"]:
        pictures = {k: picture(text) for k, text in one["pictures"].items()}
        (i,) = np.flatnonzero((images[:, :, :, 0] == pictures["before"]).all((1, 2)))
        assert one["label"] == NAMES[labels[i]]
        x = images[i] / np.float32(255)
        for state in ("before", "on_target", "on_source"):
            delta = 0 if state == "before" else pictures[state][..., None] / 127.5 - 1
            moved = np.clip(x + 0.1 * delta, 0, 1).astype(np.float32)
            for who, function in zip(("source", "target"), functions, strict=True):
                shares = np.asarray(jax.nn.softmax(function(moved)))
                said, names = one[who][state], ("blue", "<b>pink</b>", "red")
                names = NAMES if who == "source" else names
                # A change is shown in 255 steps.
                assert said["probability"] == pytest.approx(shares.max(), abs=0.03)
                if np.sort(shares)[-2] < shares.max() - 0.05:
                    assert said["name"] == names[shares.argmax()]


def test_pictures_that_are_none_come_on_no_page(stored):
    for bad in ('x" onload="alert(1)', "aGVsbG8=", ""):
        spoilt = json.loads(json.dumps(stored))
        spoilt["examples"][0]["pictures"]["on_source"] = bad
        with pytest.raises(ValueError, match="no PNG"):
            pair_from_json(spoilt)
    old = {k: v for k, v in stored.items() if k != "examples"}
    page = pair.pair_html(pair_from_json(old))
    assert "attacked</h2>" not in page
    page = pair.pair_html(pair_from_json(stored))
    assert page.count("<img ") == 24
    assert "8 images, attacked" in page


def test_large_pictures_are_made_small_and_colours_stay():
    image = np.zeros((200, 100, 3), np.uint8)
    image[..., 2] = 250
    shown = picture(shown_examples._png(image))
    assert shown.shape == (96, 48, 3)
    assert (shown[..., 2] == 250).all()


def test_json_is_what_is_written(stored, folder, monkeypatch, capsys):
    command = ("pair", "zoo/net", "other/net", "--data", "npz:grey.npz", "--json")
    assert run(monkeypatch, folder, *command) == 0
    output = capsys.readouterr()
    printed = json.loads(output.out)
    assert printed["measures"] == stored["measures"]
    assert "gradients: 15/15 images" in output.err


def test_tables_and_warnings(stored, capsys):
    report.show_pair(pair_from_json(stored))
    output = capsys.readouterr()
    assert "other/net to zoo/net" in output.out
    assert "gradient matching distance" in output.out
    assert "unbiased square" in output.out
    assert "too few images" in output.err


def test_networks_of_the_package_need_no_data(monkeypatch, folder, capsys):
    command = ("pair", "fashion-tops", "mnist", "--num-examples", 12, "--num-steps", 2)
    assert run(monkeypatch, folder, *command, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["data"], printed["n"]) == ("digits", 12)
    assert printed["source"]["accuracy"] is None
    assert printed["target"]["accuracy"] is not None
    assert printed["source"]["num_outputs"] == 4


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("nowhere zoo/net --data npz:grey.npz", "nowhere is neither a folder"),
        ("empty zoo/net --data npz:grey.npz", "does not exist; make it with"),
        ("zoo/net other/net", "images that fit both networks are missing"),
        ("zoo/net other/net --data npz:none.npz", "no file"),
        ("zoo/net large --data npz:grey.npz", "[6, 6, 1], got [4, 4, 1]"),
        ("zoo/net mnist --data npz:grey.npz", "mnist"),
        ("zoo/net other/net --data npz:grey.npz --num-examples 9", "at least 10"),
        ("zoo/net other/net --data npz:grey.npz --epsilon 0", "positive"),
        ("zoo/net other/net --data npz:grey.npz --out grey.npz/x", "not writable"),
    ],
    ids=lambda value: value.replace(" ", "_")[:30],
)
def test_a_wrong_request_is_one_line_and_exit_2(
    arguments, fault, folder, monkeypatch, capsys
):
    assert run(monkeypatch, folder, "pair", *arguments.split()) == 2
    output = capsys.readouterr()
    assert fault in output.err
    assert output.err.count("\n") == 1
    assert not output.out


def test_images_without_a_test_part_are_those_of_the_training_part(
    folder, monkeypatch, capsys
):
    command = ("pair", "zoo/net", "other/net", "--data", "npz:train.npz", "--json")
    assert run(monkeypatch, folder, *command) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 12


def test_numbers_that_are_not_finite_are_exit_1(folder, monkeypatch, capsys):
    network = networks.read_network(folder / "zoo" / "net")
    broken = jax.tree.map(lambda leaf: leaf * np.nan, network.variables)
    networks.write_network(folder / "broken", network._replace(variables=broken))
    command = ("pair", "broken", "other/net", "--data", "npz:grey.npz")
    assert run(monkeypatch, folder, *command, "--out", "bad") == 1
    assert "not finite" in capsys.readouterr().err
    assert "<html" in (folder / "bad" / "pair.html").read_text()


def test_what_is_stored_is_what_is_read(stored):
    summary = pair_from_json(stored)
    assert json.loads(report.json_line(pair_json(summary))) == stored
    assert list(pair_json(summary)) == list(stored)
    low = json.loads(json.dumps(stored))
    low["measures"]["alpha2"]["to_source"]["ceiling"] = None  # not finite
    low["a field of a later version"] = 1
    bad = pair_from_json(low)
    assert np.isnan(bad.measures.alpha2.to_source.ceiling)
    low.pop("a field of a later version")
    assert json.loads(report.json_line(pair_json(bad))) == low


def test_the_page_draws_all_and_escapes(stored):
    page = pair.pair_html(pair_from_json(stored))
    tags, _, text = read(page)
    assert [tags.count(tag) for tag in ("script", "style", "svg")] == [1, 1, 6]
    assert "zoo/net for other/net" in text
    charts = re.findall(r"<svg class.*?</svg>(?=</figure>)", page, re.DOTALL)
    kinds = [ET.fromstring(chart).get("class") for chart in charts]
    assert kinds == ["ranking", "classes", "spectrum", "classes"]
    hostile = json.loads(json.dumps(stored))
    for i, who in enumerate(("source", "target")):
        hostile[who] |= {"name": HOSTILE[i], "hash": HOSTILE[2]}
    hostile |= {"data": HOSTILE[0], "created": HOSTILE[1], "device": HOSTILE[3]}
    hostile |= {"warnings": list(HOSTILE), "versions": {HOSTILE[0]: HOSTILE[1]}}
    hostile["classes"][0]["name"] = HOSTILE[0]
    hostile["examples"][0]["label"] = HOSTILE[1]
    hostile["examples"][0]["source"]["on_target"]["name"] = HOSTILE[2]
    words = {"before": [HOSTILE[0]], "on_target": [HOSTILE[1]], "on_source": ["a"]}
    hostile["examples"][1] |= {"pictures": None, "words": words}
    page = pair.pair_html(pair_from_json(hostile))
    tags, attributes, text = read(page)
    assert [tags.count(tag) for tag in ("script", "style", "img")] == [1, 1, 21]
    assert not [name for name, _ in attributes if name.startswith("on")]
    assert all(name in text for name in HOSTILE[:4])
    page.encode()  # a lone surrogate could not be written to a file


def test_the_theorems_are_stored_and_shown(stored, capsys):
    numbers = stored["theorems"]
    there = numbers["attacked_gradients"]["to_source"]
    shares = [one["value"] for one in there["shares"]]
    assert len(shares) == there["num_attacks"] == 3
    assert shares[-1] == pytest.approx(1)
    # The target knows two of three classes by name, the source all of them.
    transfer = numbers["knowledge_transfer"]
    assert (transfer["of_target"]["n"], transfer["of_source"]["n"]) == (10, 15)
    report.show_pair(pair_from_json(stored))
    output = capsys.readouterr()
    assert "Theorem 3.3" in output.out
    assert f"1 to 2    {shares[1]:.3f}" in output.out
    assert "has no gradient; A1 and A2" in output.err
    page = pair.pair_html(pair_from_json(stored))
    text = " ".join(read(page)[2].split())
    loss = transfer["of_target"]["loss"]["value"]
    assert f"zoo/net leaves {loss:.2f} of the labels of other/net" in text
    assert f"other/net alone gives {shares[0]:.0%} of what zoo/net explains" in text
    explained = stored["measures"]["explained_gradient"]["of_target"]["value"]
    first = pair.pair_view(pair_from_json(stored)).theorems.table.rows[0]
    assert [cell.text for cell in first[2:4]] == [
        f"{share:.3f}" for share in (shares[0] * explained, shares[0])
    ]
    charts = re.findall(r"<svg class.*?</svg>(?=</figure>)", page, re.DOTALL)
    chart = ET.fromstring(charts[-1])
    names = [label.text for label in chart.findall("g/text[@class='name']")]
    assert names == ["attack 1", "attacks 1 to 2", "attacks 1 to 3"]
    widths = [float(bar.get("width")[:-1]) for bar in chart.findall("g/rect")]
    assert widths[0] / widths[-2] == pytest.approx(shares[0], abs=0.01)


def test_a_pair_of_a_former_version_is_read_and_shown(stored, tmp_path, capsys):
    old = {key: value for key, value in stored.items() if key != "theorems"}
    (tmp_path / report.PAIR_FILE).write_text(json.dumps(old))
    summary = report.read_pair(tmp_path)
    assert summary.theorems is None
    report.show_pair(summary)
    assert "Theorem" not in capsys.readouterr().out
    page = pair.pair_html(summary)
    assert read(page)[0].count("svg") == 5
    assert "Theorem" not in page
    assert pair_json(summary) == {**old, "theorems": None}


def test_theorems_without_numbers_are_shown_as_such(stored):
    empty = json.loads(json.dumps(stored))
    for gradient in empty["theorems"]["attacked_gradients"].values():
        for one in gradient["shares"]:
            one |= dict.fromkeys(one)
    both = empty["theorems"]["knowledge_transfer"]
    both |= {"of_target": None, "of_source": None}
    page = pair.pair_html(pair_from_json(empty))
    text = read(page)[2]
    assert "zoo/net explains nothing of the gradients of other/net." in text
    assert "by attacks 1 to i" not in text
    assert "From the network to the labels" not in text
    assert "Theorem 3.3 is left out" in "".join(
        table.caption.plain
        for table in report.pair_tables(pair_from_json(empty))
        if table.caption
    )
    exact = json.loads(json.dumps(stored))
    exact["theorems"]["knowledge_transfer"]["of_target"]["loss"]["value"] = 0
    transfer = pair_from_json(exact).theorems.knowledge_transfer.of_target
    assert np.isnan(transfer.relative_width(transfer.of_outputs))


def test_only_a_pair_can_be_read(stored, tmp_path):
    def read_as(content):
        (tmp_path / report.PAIR_FILE).write_text(json.dumps(content))
        return report.read_pair(tmp_path)

    with pytest.raises(RequestError, match="pair.json"):
        report.read_pair(tmp_path)
    assert not read_as({**stored, "classes": []}).classes
    # A number that is not finite is null, a measure is not.
    assert np.isnan(read_as({**stored, "noise_floor": None}).noise_floor)
    damaged = [{**stored, key: None} for key in ("measures", "source", "n", "classes")]
    damaged += [{**stored, "noise_floor": "0.1"}, {**stored, "singular_values": {}}]
    damaged += [{**stored, "classes": [{"name": "red"}]}, {**stored, "n": True}]
    damaged += [{k: v for k, v in stored.items() if k != "created"}]
    damaged += [{**stored, "theorems": {}}, {**stored, "theorems": []}]
    uneven = json.loads(json.dumps(stored))
    uneven["theorems"]["attacked_gradients"]["to_target"]["shares"].pop()
    damaged.append(uneven)
    for content in ([], {}, None, *damaged):
        with pytest.raises(RequestError) as fault:
            read_as(content)
        assert "pair.json cannot be read: pair" in str(fault.value)
        assert "\n" not in str(fault.value)


def test_the_report_of_a_ranking_shows_the_pair(stored, tmp_path):
    rows = make_rows(scores=("logme",))[:-1]
    report.write_ranking(rows, tmp_path)
    assert [path.name for path in report.draw_pages(tmp_path)] == ["report.html"]
    assert "Why:" not in (tmp_path / "report.html").read_text()
    report.write_pair(pair_from_json(stored), tmp_path)
    paths = report.draw_pages(tmp_path)
    assert {path.name for path in paths} == {"pair.html", "report.html"}
    page = (tmp_path / "report.html").read_text()
    assert "Why: zoo/net for other/net" in read(page)[2]
    report.write_ranking(rows, tmp_path)  # as a rerun of the ranking does
    report.draw_pages(tmp_path)
    assert "Why:" in (tmp_path / "report.html").read_text()
    (tmp_path / "ranking.jsonl").write_text("damaged")
    assert [path.name for path in report.draw_pages(tmp_path)] == ["pair.html"]
    (fault,) = report.read_results(tmp_path).faults
    assert "ranking.jsonl cannot be read" in fault


def test_report_shows_a_pair_again(stored, folder, monkeypatch, capsys):
    (folder / "out" / "pair.html").unlink()
    assert run(monkeypatch, folder, "report", "out") == 0
    assert "alpha1" in capsys.readouterr().out
    assert (folder / "out" / "pair.html").exists()


def test_warnings_where_the_numbers_mean_little():
    images = np.random.default_rng(0).random((12, 2, 2, 1)).astype(np.float32)
    still = jax.tree_util.Partial(lambda w, x: w @ x.ravel(), np.zeros((2, 4)))
    moved = jax.tree_util.Partial(still.func, np.eye(2, 4, dtype=np.float32))
    blocks = np.arange(12) % 10
    moved_pair = pairs.function_pair(
        still, moved, images, blocks, jax.random.key(0), num_steps=1
    )
    rows = pair_measures.pair_measures(moved_pair, blocks)
    names = ByRole("still", "moved")
    lines = pair_measures.pair_warnings(moved_pair, rows, names)
    assert lines[0].startswith("100% of the images: no attack moves still")
    assert "alpha1 to the source is not above chance." in lines
    assert lines[-1].startswith("n = 12")


def test_charts_of_many_classes_and_unknown_values():
    known = Interval(0.5, None, None)
    bars = [
        pair_charts.Bars(f"class {i}", "", [known, Interval(np.nan, None, None)])
        for i in range(60)
    ]
    chart = ET.fromstring(pair_charts.class_chart(bars, (0.1, np.nan), label=""))
    assert len(chart.findall("g/rect")) == 60
    curves = [pair_charts.Curve("one", []), pair_charts.Curve("other", [0.0, 0.0])]
    curve = ET.fromstring(pair_charts.spectrum_chart(curves, label="x"))
    assert len(curve.findall("circle")) == 2


def test_rank_compares_networks_with_a_reference(folder, monkeypatch, capsys):
    command = ("rank", "--target", "npz:grey.npz", "--zoo", "zoo", "--json")
    asked = ("--scores", "alpha2", "gradient_matching", "--reference", "other/net")
    assert run(monkeypatch, folder, *command, *asked, "--data", "npz:grey.npz") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    by_score = {row["score"]: row for row in rows}
    assert rows[0]["score"] == "alpha2"
    assert (by_score["alpha2"]["n"], by_score["logme"]["n"]) == (15, 40)
    assert by_score["gradient_matching"]["value"] < 0
    assert rows[0]["reference"] == "net"
    wrong = (*command, "--reference", "nowhere")
    assert run(monkeypatch, folder, *wrong) == 2
    assert "neither a folder" in capsys.readouterr().err
