"""Tests of the structure of tasks, of `jtransfer tasks` and its page."""

import csv
import dataclasses
import html.parser
import json
import re

import numpy as np
import pytest
import references

from jtransfer import ranking, report
from jtransfer.commands.tasks import tasks_command
from jtransfer.intervals import dealt_blocks
from jtransfer.ranking import task_scores, task_structure, tasks
from jtransfer.ranking.stored_tasks import comparison_from_json
from jtransfer.report.pages.tasks import tasks_html
from jtransfer.zoo import RequestError, Source, task_targets

RNG = np.random.default_rng(0)
MATRIX = RNG.random((5, 4))
N = 60
CHANNELS = np.array([0, 0.5, 1])


def test_normalisation_is_by_the_best_source():
    shares = task_structure.normalized_h_scores(MATRIX * [1, 10, 0, 3])
    np.testing.assert_allclose(shares[:, :2], (MATRIX / MATRIX.max(axis=0))[:, :2])
    np.testing.assert_array_equal(shares[:, 2], 0)


def test_linkage_is_the_mean_distance_of_normalised_columns():
    """And so it does not change with the units of a target."""
    shares = MATRIX / MATRIX.max(axis=0)
    clusters = {i: [i] for i in range(4)}
    linkage = task_structure.task_linkage(MATRIX)
    for step, (a, b, height, size) in enumerate(linkage):
        members = [clusters.pop(int(i)) for i in (a, b)]
        distances = [
            np.linalg.norm(shares[:, i] - shares[:, j])
            for i in members[0]
            for j in members[1]
        ]
        np.testing.assert_allclose(height, np.mean(distances))
        clusters[4 + step] = sum(members, [])
        assert size == len(clusters[4 + step])
    scaled = task_structure.task_linkage(MATRIX * [1, 10, 100, 0.1])
    np.testing.assert_allclose(scaled, linkage)
    assert sorted(task_structure.leaf_order(linkage)) == [0, 1, 2, 3]


def test_agreement_of_rankings():
    second = RNG.random((5, 4)) ** 9 * 1e-5
    agreement = task_structure.ranking_agreement(MATRIX, second)
    for t in range(4):
        first, other = MATRIX[:, t], second[:, t]
        np.testing.assert_allclose(
            agreement.spearman[t], references.spearman(first, other)
        )
        relevance = np.argsort(np.argsort(other))
        ideal = references.dcg(relevance, relevance)
        np.testing.assert_allclose(
            agreement.dcg[t], references.dcg(first, relevance) / ideal
        )
        random = [references.dcg(RNG.random(5), relevance) for _ in range(4000)]
        np.testing.assert_allclose(
            agreement.chance_dcg[t], np.mean(random) / ideal, rtol=0.01
        )
    same = task_structure.ranking_agreement(MATRIX, MATRIX**3)
    np.testing.assert_allclose(same.spearman, 1)
    np.testing.assert_allclose(same.dcg, 1)
    assert (same.chance_dcg > 0.7).all()
    alone = task_structure.ranking_agreement([[1.0]], [[2.0]])
    assert (alone.spearman, alone.dcg, alone.chance_dcg) == (0, 0, 0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: task_structure.normalized_h_scores([1.0, 2.0]),
        lambda: task_structure.normalized_h_scores([[1.0, np.nan]]),
        lambda: task_structure.task_linkage([[1.0], [2.0]]),
        lambda: task_structure.ranking_agreement(MATRIX, MATRIX[:3]),
    ],
)
def test_rejects(call):
    with pytest.raises(ValueError, match="shape"):
        call()


NAMES = ("class", "number", "map", "<i>image")
SOURCES = ("a", "<b>", "broken")


@pytest.fixture(scope="module")
def arrays():
    """Labels in three classes, maps with them in their upper half, and features."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=N)
    maps = rng.integers(3, size=(N, 4, 4))
    maps[:, :2] = labels[:, None, None]
    features = {
        "a": np.eye(3)[labels] + rng.normal(size=(N, 3)),
        "<b>": 50 + rng.normal(size=(N, 3)),
        "broken": np.full((N, 3), np.nan),
    }
    features = {name: array.astype(np.float32) for name, array in features.items()}
    return labels, maps, features


@pytest.fixture(scope="module")
def folder(arrays, tmp_path_factory):
    """Two sources and a broken one; targets of each form, all of three levels."""
    folder = tmp_path_factory.mktemp("tasks")
    labels, maps, features = arrays
    (folder / "zoo").mkdir()
    for name, array in features.items():
        np.savez(folder / "zoo" / f"{name}.npz", features=array)
    images = np.array([0, 127, 255], np.uint8)[maps.repeat(2, 1).repeat(2, 2)]
    number = labels + 0.1 * np.random.default_rng(1).random(N)
    for name, target in {
        "class": {"labels": 7 * labels},
        "number": {"values": number},
        "map": {"label_maps": maps},
        "<i>image": {"label_images": images[..., None]},
    }.items():
        np.savez(folder / f"{name}.npz", **target)
    second = {t: {"a": 1 + i, "<b>": 2.5, "broken": 0} for i, t in enumerate(NAMES)}
    (folder / "second.json").write_text(json.dumps(second))
    with (folder / "second.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["target", *SOURCES])
        writer.writerows([t, *row.values()] for t, row in second.items())
    return folder


def compared(folder, *, names=NAMES, zoo="zoo", **options):
    files = tuple(folder / f"{name}.npz" for name in names)
    return tasks_command(zoo=str(folder / zoo), targets=files, **options)


@pytest.fixture(scope="module")
def stored(folder):
    options = {"levels": 3, "side": 4, "out": folder / "out"}
    # One source is broken.
    assert compared(folder, second=folder / "second.json", **options) == 1
    return json.loads((folder / "out" / "tasks.json").read_text())


def test_h_scores_and_their_errors_agree_with_the_reference(stored, arrays):
    labels, maps, features = arrays
    rows = {(row["source"], row["target"]): row for row in stored["rows"]}
    assert len(rows) == 8
    usual = [np.bincount(levels.ravel()).argmax() for levels in maps]
    blocks = dealt_blocks(labels, N, seed=0)
    map_blocks = dealt_blocks(np.array(usual), N, seed=0)

    def dense(features, maps):
        values = [
            references.h_score(features, maps[:, i, j]) for i, j in np.ndindex(4, 4)
        ]
        return np.mean(values)

    for name in ("a", "<b>"):
        row = rows[name, "class"]
        expected = references.h_score(features[name], labels)
        np.testing.assert_allclose(row["value"], expected, rtol=1e-4)
        error = references.jackknife(references.h_score, features[name], labels, blocks)
        np.testing.assert_allclose(row["standard_error"], error, rtol=1e-3)
        np.testing.assert_allclose(row["chance"], 3 * 2 / N)
        # The number's quantiles are the classes but for those at their borders.
        assert abs(rows[name, "number"]["value"] - expected) < 0.25
        for target in ("map", "<i>image"):  # Thinned, its blocks are the pixels.
            row = rows[name, target]
            value = dense(features[name], maps)
            np.testing.assert_allclose(row["value"], value, rtol=1e-4)
            assert np.shape(row["pixels"]) == (4, 4)
            np.testing.assert_allclose(np.mean(row["pixels"]), value, rtol=1e-3)
    error = references.jackknife(dense, features["a"], maps, map_blocks)
    np.testing.assert_allclose(rows["a", "map"]["standard_error"], error, rtol=1e-3)
    upper, lower = np.split(np.array(rows["a", "map"]["pixels"]), 2)
    assert upper.min() > 2 * lower.max()
    first = {row["source"]: (row["rank"], row["share"] == 1) for row in stored["rows"]}
    assert first == {"a": (1, True), "<b>": (2, False)}


def test_features_that_are_much_alike_lose_nothing(arrays):
    labels, _, features = arrays
    alike = features["a"] @ (np.eye(3) + 1e4) + 1e6
    levels = labels.astype(np.int32)[:, None, None]
    target = task_targets.TaskTarget("class", "classes", levels, 3)
    source = Source("alike", {}, features=lambda: alike)
    (row,) = task_scores.task_rows(source, [target], seed=0)
    expected = references.h_score(features["a"], labels)
    np.testing.assert_allclose(row.value, expected, rtol=1e-7)


def test_networks_are_told_how_to_become_features():
    target = task_targets.TaskTarget("class", "classes", np.zeros((3, 1, 1), int), 2)
    source = Source("net", {}, features=lambda: None, network=lambda: None)
    (row,) = task_scores.task_rows(source, [target], seed=0)
    assert isinstance(row, ranking.Failed)
    assert "jtransfer extract" in row.reason


def test_a_target_may_have_the_name_of_a_fact():
    rows = [ranking.Scored(source="a", score="parameters", value=1.0)]
    assert len(ranking.ranked(rows, ["parameters"])) == 1


def test_structure_of_the_run(stored, folder):
    assert stored["sources"] == ["<b>", "a"]
    assert list(stored["failed"]) == ["broken"]
    assert [target["num_levels"] for target in stored["targets"]] == [3] * 4
    shapes = [target["shape"] for target in stored["targets"]]
    assert shapes == [[1, 1], [1, 1], [4, 4], [4, 4]]
    linkage = task_structure.task_linkage(stored["h_scores"])
    np.testing.assert_allclose(stored["linkage"], linkage)
    spearman = {row["target"]: row["spearman"] for row in stored["agreement"]}
    assert spearman == {"class": -1, "number": -1, "map": 1, "<i>image": 1}
    with (folder / "out" / "tasks.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["value"]) for line in lines] == [
        row["value"] for row in stored["rows"]
    ]
    assert {line["second"] for line in lines if line["source"] == "<b>"} == {"2.5"}
    names = [["a", "<b>"], list(NAMES)]
    np.testing.assert_array_equal(
        tasks.second_ranking(folder / "second.csv", *names),
        tasks.second_ranking(folder / "second.json", *names),
    )


class Tags(html.parser.HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed."""

    VOID = ("meta", "link", "rect", "image", "line", "path", "circle", "input")

    def __init__(self, page):
        """Reads a page."""
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        """Opens a tag."""
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ("href", "src")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Closes a tag."""
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        """Keeps text."""
        self.text.append(data)


def test_the_page_stands_alone_and_escapes_names(stored, folder):
    page = (folder / "out" / "tasks.html").read_text()
    read = Tags(page)
    assert all(link.startswith("data:") for link in read.links)
    assert "i" not in read.tags
    assert page.count("<b>image") == page.count("<i>") == 0
    assert {"<b>", "a"} <= set(read.text)
    text = re.sub(r"\s+", " ", " ".join(read.text))
    for words in ("4 of 4", "broken failed: features hold NaN", "Where in the image"):
        assert words in text
    assert read.tags.count("image") == 8  # Two dense targets, two maps and two scales.
    matrix = page[page.index('class="matrix"') :]
    assert matrix.count("<path") >= 3


def test_pages_of_little(stored):
    comparison = comparison_from_json(stored)
    rows = [row for row in comparison.rows if row.score == "class"]
    single = dataclasses.replace(
        comparison,
        rows=rows,
        targets=comparison.targets[:1],
        linkage=None,
        leaves=None,
        agreement=None,
    )
    page = tasks_html(single)
    Tags(page)
    assert 'class="tree"' not in page
    assert "<b>1 of 1</b>\ntargets" in page
    alone = dataclasses.replace(
        single,
        sources=["a"],
        rows=[row for row in rows if row.source == "a"],
        normalized=single.normalized[1:],
    )
    assert "<b>0 of 1</b>\ntargets" in tasks_html(alone)
    nothing = dataclasses.replace(single, sources=[], rows=[])
    page = tasks_html(nothing)
    Tags(page)
    assert "No source could be scored" in page


def test_what_is_stored_is_what_is_read(stored):
    comparison = comparison_from_json(stored)
    assert tasks.comparison_json(comparison) == stored
    assert comparison.second == [[2.5] * 4, [1, 2, 3, 4]]


def test_only_a_comparison_can_be_read(stored, tmp_path):
    def read_as(content):
        (tmp_path / report.TASKS_FILE).write_text(json.dumps(content))
        return report.read_tasks(tmp_path)

    assert read_as({**stored, "agreement": None}).agreement is None
    names = ("rows", "sources", "targets", "normalized", "num_examples", "created")
    damaged = [{**stored, name: None} for name in names]
    damaged += [{k: v for k, v in stored.items() if k != name} for name in stored]
    damaged += [{**stored, "rows": stored["rows"][1:]}, {**stored, "rows": [1]}]
    damaged += [{**stored, "leaves": [0, 9, 1, 2]}]
    for content in ([], {}, None, *damaged):
        with pytest.raises(RequestError) as fault:
            read_as(content)
        assert "tasks.json cannot be read: tasks" in str(fault.value)
        assert "\n" not in str(fault.value)


def test_json_and_table(folder, capsys):
    options = {"levels": 3, "names": ("class", "number")}
    assert compared(folder, zoo="zoo/a.npz", json=True, **options) == 0
    assert json.loads(capsys.readouterr().out)["sources"] == ["a"]
    assert compared(folder, second=folder / "second.csv", **options) == 1
    printed = capsys.readouterr()
    assert re.search(r"a +[0-9.]+ ±[0-9.]+ \(1\) +[0-9.]+ ±[0-9.]+ \(1\)", printed.out)
    assert "Spearman" in printed.out
    assert "Failed: broken" in printed.err


def test_negative_labels_are_none(folder, capsys, arrays):
    labels, _, features = arrays
    labels = np.where(np.arange(N) < 50, 4 * labels, -2)
    np.savez(folder / "some.npz", labels=labels)
    assert compared(folder, zoo="zoo/a.npz", names=("some",), json=True) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    expected = references.h_score(features["a"][:50], labels[:50])
    np.testing.assert_allclose(row["value"], expected, rtol=1e-4)
    assert row["n"] == 50
    np.testing.assert_allclose(row["chance"], 3 * 2 / 50)


def test_levels_are_those_that_occur(tmp_path):
    def target(**content):
        np.savez(tmp_path / "target.npz", **content)
        options = {"num_levels": 4, "side": 2, "seed": 0}
        return task_targets.task_target(tmp_path / "target.npz", **options)

    tied = target(values=np.array([0.0, 0, 0, 0, 0, 0, 1, 2]))
    assert tied.num_levels == 2
    assert tied.levels.ravel().tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    # Numbers of 64 bits, as the identities of instances may be.
    maps = np.array([[[1, 2**32 + 1], [2**31, -5]]])
    instances = target(label_maps=maps)
    assert (instances.levels.tolist(), instances.num_levels) == ([[[0, 2], [1, -1]]], 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"labels": np.arange(5) % 2}, "different numbers of examples"),
        ({"labels": np.zeros(N, int)}, "1 levels"),
        ({"labels": np.zeros(N)}, "must be integers"),
        ({"labels": np.zeros((N, 2), int)}, r"must be \[n\]"),
        ({"label_maps": np.zeros((N, 2), int)}, r"label_maps must be \[n, h, w\]"),
        ({"label_images": np.zeros((N, 2, 2))}, "label_images must be"),
        ({"values": np.full(N, np.nan)}, "NaN"),
        ({"values": np.ones(N)}, "1 levels"),
        ({"labels": np.arange(N) % 2, "values": np.ones(N)}, "must hold one of"),
        ({"nothing": np.ones(N)}, "must hold one of"),
    ],
)
def test_targets_that_cannot_be_used(content, words, folder):
    np.savez(folder / "bad.npz", **content)
    with pytest.raises(RequestError, match=words):
        compared(folder, names=("class", "bad"))


def test_requests_that_cannot_be_served(folder):
    with pytest.raises(RequestError, match="'class'.* twice"):
        compared(folder, names=("class", "class"))
    with pytest.raises(RequestError, match="[Nn]o (file|target)"):
        compared(folder, names=())
    with pytest.raises(RequestError, match="--levels must be at least 2"):
        compared(folder, levels=1)
    with pytest.raises(RequestError, match="no file"):
        compared(folder, names=("absent",))
    faults = {"[1]": "indices", '{"class": {"a": 1}}': "no '<b>'", "{": "bad.json"}
    for text, words in faults.items():
        (folder / "bad.json").write_text(text)
        with pytest.raises(RequestError, match=words):
            compared(folder, names=("class",), second=folder / "bad.json")
    (folder / "bad.csv").write_text("target,a\nclass,one\n")
    with pytest.raises(RequestError, match="one"):
        compared(folder, names=("class",), second=folder / "bad.csv")
