"""Tests of jtransfer.zoo: targets, sources, and what is wrong with their files."""

import os

import numpy as np
import pytest

from jtransfer import zoo

LABELS = np.arange(12) % 3
FEATURES = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """A zoo of one file, one folder of shards, and a target beside them."""
    np.savez(tmp_path / "target.npz", labels=LABELS, class_names=["a", "b", "c"])
    shards = tmp_path / "zoo" / "sharded"
    shards.mkdir(parents=True)
    for number in range(12):
        np.savez(shards / f"part-{number}.npz", features=FEATURES[number : number + 1])
    np.savez(tmp_path / "zoo" / "single.npz", features=FEATURES, logits=FEATURES[:, :2])
    return tmp_path


def rows(source):
    return np.concatenate(list(source.features()))


def test_sources_of_a_folder(folder):
    sharded, single = zoo.sources(str(folder / "zoo"))
    assert (sharded.name, single.name) == ("sharded", "single")
    np.testing.assert_array_equal(rows(single), FEATURES)
    np.testing.assert_array_equal(rows(sharded), FEATURES)  # 2 before 10
    assert sharded.logits is None
    assert np.concatenate(list(single.logits())).shape == (12, 2)


def test_sources_of_a_glob_and_of_one_file(folder):
    (single,) = zoo.sources(str(folder / "zoo" / "*.npz"))
    assert single.name == "single"
    assert len(zoo.sources(str(folder / "zoo" / "*"))) == 2
    (again,) = zoo.sources(str(folder / "zoo" / "single.npz"))
    assert again.digest() == single.digest()


def test_sources_that_a_toml_file_declares(folder):
    (folder / "zoo.toml").write_text(
        '[[source]]\nname = "one"\npath = "zoo/single.npz"\nparameters = 7\n'
        '[[source]]\npath = "zoo/sharded"\nsource_accuracy = 0.5\n'
    )
    one, sharded = zoo.sources(str(folder / "zoo.toml"))
    assert (one.name, one.facts) == ("one", {"parameters": 7})
    assert (sharded.name, sharded.facts) == ("sharded", {"source_accuracy": 0.5})


def test_the_digest_follows_the_content(folder):
    (before,) = zoo.sources(str(folder / "zoo" / "sharded" / ".." / "sharded*"))
    first = before.digest()
    np.savez(folder / "zoo" / "sharded" / "part-3.npz", features=FEATURES[:1])
    assert before.digest() != first


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[source]]\nname = 'x'\n", "has no path"),
        ("[[source]\n", "zoo.toml"),
        ("", "No source"),
        ("source = 3\n", r"\[\[source\]\]"),
        ("[[source]]\npath = 'a.npz'\naccuracy = 'good'\n", "must be a number"),
        ("[[source]]\npath = 'a.npz'\nparameters = nan\n", "must be a number"),
        ("[[source]]\npath = 'a.npz'\n[[source]]\npath = 'b/a.npz'\n", "twice"),
    ],
    ids=["no path", "syntax", "empty", "no tables", "text", "nan", "twice"],
)
def test_rejects_a_faulty_toml_file(text, fault, tmp_path):
    (tmp_path / "zoo.toml").write_text(text)
    with pytest.raises(zoo.RequestError, match=fault):
        zoo.sources(str(tmp_path / "zoo.toml"))


def test_target_with_gaps_is_renumbered(tmp_path):
    np.savez(tmp_path / "t.npz", labels=[50, 2, 10, 2], test_labels=[10, 3, 50])
    target = zoo.target(str(tmp_path / "t.npz"))
    assert target.num_classes == 3
    assert target.class_names == ("2", "10", "50")
    np.testing.assert_array_equal(target.labels, [2, 0, 1, 0])
    np.testing.assert_array_equal(target.test_labels, [1, -1, 2])


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"labels": np.zeros(5, int)}, "one class"),
        ({"labels": [0, -1, 1]}, "outside"),
        ({"labels": [0.0, 1.0]}, "integers"),
        ({"labels": np.zeros((0,), int)}, "empty"),
        ({"labels": [[0, 1]]}, r"shape \[n\]"),
        ({"labels": [0, 5], "class_names": ["a", "b"]}, "outside"),
        ({"label": [0, 1]}, "labels"),
        ({"labels": [0, 1], "class_names": "ab"}, "list of names"),
        ({"labels": np.array([0, "x"], object)}, "Python objects"),
    ],
    ids=[
        "one class",
        "negative",
        "float",
        "empty",
        "rank",
        "names",
        "name",
        "text",
        "object",
    ],
)
def test_rejects_a_faulty_target(arrays, fault, tmp_path):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(zoo.RequestError, match=fault) as error:
        zoo.target(str(tmp_path / "t.npz"))
    assert "\n" not in str(error.value)


class Trap:
    """Whoever unpickles this makes the folder of that name."""

    path = ""

    def __reduce__(self):
        """Tells a pickle to make a folder when it is loaded."""
        return os.mkdir, (self.path,)


def write_faulty(path, fault):
    """Writes one faulty source and returns what its reason must hold."""
    good = FEATURES.copy()
    if fault == "empty":
        path.write_bytes(b"")
        return "complete"
    if fault == "truncated":
        np.savez(path, features=good)
        path.write_bytes(path.read_bytes()[:-40])
        return "complete"
    if fault == "damaged":
        np.savez(path, features=good)
        content = bytearray(path.read_bytes())
        content[200] ^= 255
        path.write_bytes(bytes(content))
        return "damaged"
    if fault == "pickle":
        Trap.path = str(path.parent / "sprung")
        trap = np.empty(12, object)
        trap[:] = [Trap()] * 12
        np.savez(path, features=trap)
        return "Python objects"
    arrays = {
        "name": ({"feature": good}, "no array 'features'"),
        "integers": ({"features": good.astype(int)}, "floating-point"),
        "rank": ({"features": good[:, 0]}, "n, d"),
        "no columns": ({"features": good[:, :0]}, "n, d"),
    }
    np.savez(path, **arrays[fault][0])
    return arrays[fault][1]


@pytest.mark.parametrize(
    "fault",
    [
        "empty",
        "truncated",
        "damaged",
        "pickle",
        "name",
        "integers",
        "rank",
        "no columns",
    ],
)
def test_a_faulty_file_is_a_reason_and_runs_nothing(fault, tmp_path):
    reason = write_faulty(tmp_path / "bad.npz", fault)
    (source,) = zoo.sources(str(tmp_path))
    with pytest.raises(zoo.SourceError, match=reason) as error:
        rows(source)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sprung").exists()


def test_shards_of_different_widths(folder):
    np.savez(folder / "zoo" / "sharded" / "part-5.npz", features=FEATURES[:1, :2])
    sharded, _ = zoo.sources(str(folder / "zoo"))
    with pytest.raises(zoo.SourceError, match="part-5.npz has 2 columns"):
        rows(sharded)


def test_embedded_zoo_and_target():
    target = zoo.embedded_target()
    sources = zoo.embedded_sources()
    assert len(sources) >= 8
    assert len(target.labels) == 20 * target.num_classes
    features = sources[0].features()
    assert features.shape[0] == len(target.labels)
    assert sources[0].logits().shape[0] == len(target.labels)
    assert sources[0].test_features().shape[0] == len(target.test_labels)
    assert len({source.digest() for source in sources}) == len(sources)


def test_a_kept_zoo_has_what_the_sinkhorn_scores_read(tmp_path):
    head, student = np.ones((4, 2)), np.eye(3)[LABELS]
    source = zoo.Source(
        "net",
        {},
        features=lambda: FEATURES,
        logits=lambda: FEATURES[:, :2],
        head=lambda: head,
        centers=lambda: 2 * head.T,
        student_logits=lambda: student,
    )
    bare = source._replace(name="bare", centers=lambda: None, student_logits=None)
    target = zoo.labelled_target("target", LABELS, digest="")
    assert zoo.write_zoo([source, bare], target, tmp_path) == {}
    first, second = zoo.sources(str(tmp_path / "zoo.toml"), target)
    np.testing.assert_array_equal(first.head(), head)
    np.testing.assert_array_equal(first.centers(), 2 * head.T)
    np.testing.assert_array_equal(np.concatenate(list(first.student_logits())), student)
    assert second.centers is None
    assert second.student_logits is None
