"""Inputs of users that once went wrong: read rightly, or refused in one line."""

import functools
import json
import os
import warnings

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from commands import exit_code
from PIL import Image
from tasks import NUM_CLASSES, gaussian_task

from jtransfer import attacks, data, distillation, ranking, zoo
from jtransfer._internal.files import json_line
from jtransfer.report import inputs, read_pair, read_ranking, read_tasks, write_ranking
from jtransfer.transfer._run_folder import run_folder

FEATURES, LABELS = gaussian_task(0, 60, 8)
NAMES = np.array(["ant", "bee", "cat", "dog", "eel"])


def target(**fields):
    return zoo.labelled_target("target", LABELS, digest="", **fields)


def source(**fields):
    return zoo.Source("source", {}, **{"features": lambda: FEATURES, **fields})


def by_score(*sources, scores=("logme", "leep")):
    rows = ranking.rank(sources, target(), scores)
    return {(row["source"], row.get("score")): row for row in rows}


def pixels(n, *shape):
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)


# Files of labels and features.


@pytest.mark.parametrize("names", [NAMES, NAMES.astype("S"), NAMES.astype(object)])
def test_texts_are_names_of_classes(names, tmp_path):
    if names.dtype != object:
        np.savez(tmp_path / "t.npz", labels=names[LABELS], test_labels=names[:2])
        read = zoo.target(str(tmp_path / "t.npz"))
    else:
        read = zoo.labelled_target("t", names[LABELS], digest="", test_labels=names[:2])
    assert read.class_names == tuple(NAMES)
    np.testing.assert_array_equal(read.labels, LABELS)
    np.testing.assert_array_equal(read.test_labels, [0, 1])


def test_texts_that_are_no_names():
    with pytest.raises(zoo.RequestError, match="test_labels name .*'fox'"):
        zoo.labelled_target("t", NAMES, digest="", test_labels=np.array(["fox"]))
    with pytest.raises(zoo.RequestError, match="both alike"):
        zoo.labelled_target("t", NAMES, digest="", test_labels=np.array([0]))
    with pytest.raises(zoo.RequestError, match="not UTF-8"):
        zoo.labelled_target("t", LABELS, digest="", class_names=[b"\xff"] * 5)


def test_bytes_of_class_names_are_read(tmp_path):
    names = [name.encode() for name in ("café", "b", "c", "d", "e")]
    assert target(class_names=np.array(names)).class_names[0] == "café"
    images = pixels(4, 8, 8, 3)
    np.savez(tmp_path / "i.npz", images=images, labels=[0, 1, 0, 1], class_names=names)
    assert data.load(f"npz:{tmp_path / 'i.npz'}", "train").class_names[0] == "café"


def test_arrays_beside_archives(tmp_path):
    np.save(tmp_path / "labels.npy", LABELS)
    np.save(tmp_path / "b.npy", FEATURES)
    np.savez(tmp_path / "a.npz", features=FEATURES)
    (tmp_path / "._a.npz").write_bytes(b"\x00\x05\x16\x07")
    labels = zoo.target(str(tmp_path / "labels.npy"))
    first, second = zoo.sources(str(tmp_path), labels)
    assert (first.name, second.name) == ("a", "b")
    (rows,) = second.features()
    np.testing.assert_array_equal(rows, FEATURES)
    (tmp_path / "c.npy").write_bytes(b"no array")
    (faulty,) = zoo.sources(str(tmp_path / "c.npy"))
    with pytest.raises(zoo.SourceError, match=r"c\.npy is no array"):
        list(faulty.features())


def test_the_target_is_no_source_unless_it_has_features(tmp_path):
    np.savez(tmp_path / "t.npz", labels=LABELS)
    np.savez(tmp_path / "both.npz", labels=LABELS, features=FEATURES)
    for name, expected in (("t", ["both"]), ("both", ["both", "t"])):
        read = zoo.target(str(tmp_path / f"{name}.npz"))
        assert [s.name for s in zoo.sources(str(tmp_path), read)] == expected


def test_an_empty_shard_adds_nothing(tmp_path):
    for i, rows in enumerate((FEATURES[:50], FEATURES[50:], FEATURES[:0])):
        (tmp_path / "net").mkdir(exist_ok=True)
        np.savez(tmp_path / "net" / f"{i}.npz", features=rows)
    (shards,) = zoo.sources(str(tmp_path))
    assert np.concatenate(list(shards.features())).shape == (60, 8)
    (single,) = zoo.sources(str(tmp_path / "net" / "2.npz"))
    with pytest.raises(zoo.SourceError, match=r"must be \[n, d\]"):
        list(single.features())


def test_bfloat16_is_named(tmp_path):
    np.savez(tmp_path / "s.npz", features=FEATURES.astype(ml_dtypes.bfloat16))
    (half,) = zoo.sources(str(tmp_path / "s.npz"))
    with pytest.raises(zoo.SourceError, match="bfloat16"):
        list(half.features())


def test_odd_paths(tmp_path, monkeypatch):
    folder = tmp_path / "2026-11-21T10:00:00 [a]*"
    folder.mkdir()
    np.savez(folder / "labels.npz", labels=LABELS)
    np.savez(folder / "s.npz", features=FEATURES)
    assert inputs._is_file_of_labels(str(folder / "labels.npz"))
    assert not inputs._is_file_of_labels("npz:images.npz")
    assert len(zoo.sources(str(folder / "s.npz"))) == 1
    monkeypatch.setenv("HOME", str(folder))
    assert zoo.target("~/labels.npz").num_classes == NUM_CLASSES
    toml = '[[source]]\npath = "~/s.npz"\n'
    (folder / "zoo.toml").write_text(toml, encoding="utf-8-sig")
    (declared,) = zoo.sources("~/zoo.toml")
    assert declared.name == "s"


# Facts and names in results.


def test_numbers_of_numpy_and_jax_are_numbers():
    numbers = (1, 0.5, np.float32(0.5), np.int64(3), np.array(2.0), jnp.float32(0.5))
    others = (
        True,
        np.True_,
        float("nan"),
        np.float32("inf"),
        "1",
        None,
        [1],
        1j,
        [[1], 2],
    )
    assert all(map(zoo.is_number, numbers))
    assert not any(map(zoo.is_number, (*others, np.array([1.0]))))
    facts = {"a": np.float32(0.5), "b": np.arange(2), "c": jnp.float32("nan")}
    assert json.loads(json_line(facts)) == {"a": 0.5, "b": [0, 1], "c": None}


def test_line_separators_inside_names_are_kept(tmp_path):
    names = ["a\u2028b", "c\x85d", "e\x0bf"]
    rows = [ranking.Failed(source=name, reason="none") for name in names]
    write_ranking(rows, tmp_path)
    assert [row.source for row in read_ranking(tmp_path)] == names


@pytest.mark.parametrize("name", ["ranking.jsonl", "pair.json", "tasks.json"])
def test_results_nested_too_deeply_are_one_line(name, tmp_path):
    (tmp_path / name).write_text("[" * 100_000 + "]" * 100_000)
    read = {
        "ranking.jsonl": read_ranking,
        "pair.json": read_pair,
        "tasks.json": read_tasks,
    }
    with pytest.raises(zoo.RequestError, match="nested too deeply"):
        read[name](tmp_path)


def test_a_zoo_nested_too_deeply_is_one_line(tmp_path):
    (tmp_path / "zoo.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(zoo.RequestError, match="nested too deeply"):
        zoo.sources(str(tmp_path / "zoo.toml"))


# One fault costs one row.


def broken():
    raise FileNotFoundError("resnet50.npy")


def test_a_callable_that_raises_is_a_failed_row():
    rows = by_score(source(features=broken), source()._replace(name="good"))
    assert rows["source", None]["reason"] == "FileNotFoundError: resnet50.npy"
    assert "value" in rows["good", "logme"]


@pytest.mark.parametrize(
    "array",
    [
        FEATURES.astype("U8"),
        FEATURES.astype("S8"),
        np.full(FEATURES.shape, np.datetime64(0, "s")),
        FEATURES.astype(complex),
        np.full(FEATURES.shape, {}, object),
    ],
    ids=lambda array: array.dtype.kind,
)
def test_arrays_that_are_no_numbers_are_a_row(array, tmp_path):
    rows = by_score(source(features=lambda: array))
    assert rows["source", None]["reason"]
    if array.dtype.kind != "O":
        assert "in place of real numbers" in rows["source", None]["reason"]
        np.save(tmp_path / "a.npy", array)
        (faulty,) = zoo.sources(str(tmp_path / "a.npy"))
        with pytest.raises(zoo.SourceError, match="must be floating-point"):
            list(faulty.features())


@pytest.mark.parametrize(
    ("logits", "reason"),
    [
        (lambda: FEATURES[:59], "59 rows"),
        (broken, "resnet50"),
        (lambda: FEATURES * np.nan, "NaN"),
        (lambda: np.full((60, 3), -np.inf), "first in row 0"),
    ],
    ids=["short", "raises", "nan", "all masked"],
)
def test_bad_logits_cost_the_scores_of_logits(logits, reason):
    rows = by_score(source(logits=logits))
    assert "value" in rows["source", "logme"]
    assert reason in rows["source", "leep"]["reason"]


def test_bad_features_cost_the_scores_of_features():
    rows = by_score(source(features=lambda: FEATURES[:59], logits=lambda: FEATURES))
    assert "59 rows" in rows["source", "logme"]["reason"]
    assert "value" in rows["source", "leep"]


def test_masked_classes_have_no_probability():
    masked = np.concatenate([FEATURES, np.full((60, 1), -np.inf)], axis=1)
    rows = by_score(source(logits=lambda: masked), scores=("leep", "sinkhorn"))
    plain = by_score(source(logits=lambda: FEATURES), scores=("leep", "sinkhorn"))
    for score in ("leep", "sinkhorn"):
        value = rows["source", score]["value"]
        assert value == pytest.approx(plain["source", score]["value"], abs=1e-4)


def test_probabilities_in_place_of_logits_are_taken_as_such():
    probs = np.exp(FEATURES) / np.exp(FEATURES).sum(axis=1, keepdims=True)
    plain = by_score(source(logits=lambda: FEATURES))["source", "leep"]
    for scale, word in ((1, "probabilities"), (100, "percentages")):
        given = functools.partial(np.multiply, scale, probs)
        row = by_score(source(logits=given))["source", "leep"]
        assert row["value"] == pytest.approx(plain["value"], abs=1e-6)
        assert any(word in text for text in row["warnings"])
    logs = by_score(source(logits=lambda: np.log(probs)))["source", "leep"]
    assert logs["value"] == pytest.approx(plain["value"], abs=1e-6)


def test_few_examples_a_class_do_not_sink_the_probe():
    """Against fresh examples of the same classes, held out with their shares."""
    rng = np.random.default_rng(0)
    means = 1.5 * rng.normal(size=(30, 16))
    labels = np.arange(60) % 30
    features = means[labels] + rng.normal(size=(60, 16))
    fresh = means[labels] + rng.normal(size=(60, 16))
    score = ranking.SCORES["ridge_probe"].function
    numbers = labels.astype(np.int32)
    reached = float(score(features, numbers, fresh, numbers, num_classes=30))
    few = zoo.labelled_target("few", labels, digest="")
    rows = ranking.rank([source(features=lambda: features)], few, ["ridge_probe"])
    assert reached > 0.8
    assert rows[0]["value"] > reached - 0.2


@pytest.mark.parametrize("of_student", [0.3, -np.inf])
def test_losses_with_masked_classes_are_finite(of_student):
    teacher, student = FEATURES[:4, :6], FEATURES[4:8, :6]
    masked = np.full((4, 1), -np.inf, np.float32)
    teacher = np.concatenate([teacher, masked], axis=1)
    student = np.concatenate([student, np.full_like(masked, of_student)], axis=1)
    log_probs = jax.nn.log_softmax(student / 2)[:, :6]
    probs = jax.nn.softmax(teacher / 2)[:, :6]
    expected = np.mean(np.sum(probs * (np.log(probs) - log_probs), axis=1))
    value, gradient = jax.value_and_grad(
        lambda x: distillation.kd_loss(teacher, x, LABELS[:4], temperature=2.0)
    )(student)
    hard = distillation.cross_entropy(student, LABELS[:4])
    np.testing.assert_allclose(value - hard, expected, atol=1e-5)
    assert np.isfinite(gradient).all()


def test_copies_of_examples_are_told_of():
    rng = np.random.default_rng(0)
    for copied, warned in ((0, False), (1, False), (20, True)):
        features = rng.normal(size=(60, 8)).astype(np.float32)
        features[:copied] = features[-copied or 60 :][:copied]
        rows = by_score(source(features=functools.partial(np.copy, features)))
        warnings_of_copies = [
            w for w in rows["source", "logme"]["warnings"] if "repeat" in w
        ]
        assert bool(warnings_of_copies) == warned
        assert not warned or warnings_of_copies[0].startswith("20 of 60")


# Images.


def write_pictures(folder, *names):
    for i, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(1, 8, 8, 3)[0] + np.uint8(i)).save(file)


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("training", "testing"), ("TRAIN", "eval"), ("train", "test")],
)
def test_split_folders_in_their_usual_spellings(train, test, tmp_path):
    write_pictures(tmp_path, *(f"{s}/{c}/0.png" for s in (train, test) for c in "ab"))
    for split in ("train", "test"):
        images = data.load(f"imagefolder:{tmp_path}", split, cache_dir=tmp_path / "c")
        assert images.class_names == ("a", "b")
        assert len(images.labels) == 2


def test_split_folders_that_are_missing_or_doubled(tmp_path):
    write_pictures(
        tmp_path, *(f"{s}/{c}/0.png" for s in ("train", "val") for c in "ab")
    )
    with pytest.raises(data.MissingSplit, match="only train and val"):
        data.load(f"imagefolder:{tmp_path}", "test")
    assert len(data.load(f"imagefolder:{tmp_path}", "validation").labels) == 2
    write_pictures(tmp_path, *(f"Valid/{c}/0.png" for c in "ab"))
    with pytest.raises(data.DataError, match="two folders of the split val"):
        data.load(f"imagefolder:{tmp_path}", "train")


def test_suffixes_links_and_files_that_are_no_pictures(tmp_path):
    folder, linked = tmp_path / "set", tmp_path / "elsewhere"
    write_pictures(folder, "a/0.TIFF", "a/1.tif", "a/2.jfif", "b/0.PNG")
    write_pictures(linked, "1.webp")
    (folder / "b" / "link").symlink_to(linked)
    (folder / "b" / "link" / "up").symlink_to(folder / "b")
    for name in ("notes.txt", ".hidden.png", "Thumbs.db"):
        (folder / "a" / name).write_text("no picture")
    with pytest.warns(UserWarning, match=r"1 files .* left out \(\.txt\)"):
        images = data.load(f"imagefolder:{folder}", "train", cache_dir=tmp_path / "c")
    assert np.bincount(images.labels).tolist() == [3, 2]


def test_the_cache_knows_pictures_by_their_content(tmp_path):
    values = []
    for root in (tmp_path / "1" / "set", tmp_path / "2" / "set"):
        for name in ("a/0.bmp", "b/0.bmp"):
            write_pictures(root, name)
            if root.parent.name == "2":
                Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(root / name)
            os.utime(root / name, (315532800, 315532800))
        images = data.load(f"imagefolder:{root}", "train", cache_dir=tmp_path / "c")
        values.append(images.images.mean())
    assert values[1] == 200 != values[0]


def test_a_broken_test_split_is_an_error(tmp_path):
    names = [f"{s}/{c}/{i}.png" for s in ("train", "test") for c in "ab" for i in "01"]
    write_pictures(tmp_path / "set", *names)
    options = {"per_class": None, "num_test": None, "seed": 0}
    spec = f"imagefolder:{tmp_path / 'set'}"
    (tmp_path / "set" / "test" / "a" / "0.png").write_bytes(b"broken")
    with pytest.raises(zoo.RequestError, match=r"0\.png"):
        zoo.image_target(spec, **options)
    images, labels = pixels(8, 8, 8, 3), np.arange(8) % 2
    for more, fault in (
        ({"test_images": images[:4] / 255, "test_labels": labels[:4]}, "uint8"),
        ({"test_images": images[:4], "test_labels": labels[:3]}, "3 of them"),
        ({"test_images": images[:4]}, "test_labels"),
    ):
        np.savez(tmp_path / "f.npz", images=images, labels=labels, **more)
        with pytest.raises(zoo.RequestError, match=fault):
            zoo.image_target(f"npz:{tmp_path / 'f.npz'}", **options)
    np.savez(tmp_path / "f.npz", images=images, labels=labels)
    read = zoo.image_target(f"npz:{tmp_path / 'f.npz'}", **options)
    assert read.test_labels is None


@pytest.mark.parametrize("channels", [1, 3])
def test_images_in_the_order_of_pytorch_are_refused(channels, tmp_path):
    images = pixels(4, channels, 8, 8)
    np.savez(tmp_path / "f.npz", images=images, labels=[0, 1, 0, 1])
    with pytest.raises(data.DataError, match=r"transpose\(0, 2, 3, 1\)"):
        data.load(f"npz:{tmp_path / 'f.npz'}", "train")


# Folders of runs.


def test_a_folder_is_of_one_run(tmp_path):
    with (
        run_folder(tmp_path, "run.json", {"seed": 0, "images": "a"}),
        pytest.raises(data.DataError, match="another run is at work"),
        run_folder(tmp_path, "run.json", {"seed": 0, "images": "a"}),
    ):
        pass
    with run_folder(tmp_path, "run.json", {"seed": 0, "images": "a"}):
        pass
    with (
        pytest.raises(data.DataError, match="images = a, now it is b"),
        run_folder(tmp_path, "run.json", {"seed": 0, "images": "b"}),
    ):
        pass
    (tmp_path / "run.json").unlink()
    (tmp_path / "network.json").write_text("{}")
    with (
        pytest.raises(data.DataError, match="does not say of what it is"),
        run_folder(tmp_path, "run.json", {"seed": 0}),
    ):
        pass


# Attacks.


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_attacks_move_networks_that_are_very_sure(scale):
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(size=(3, 8)), jnp.float32)
    x = jnp.asarray(rng.uniform(0.2, 0.8, size=8), jnp.float32)
    loss = attacks.prediction_loss(lambda x: scale * (weights @ x), x)
    options = {"norm": attacks.LINF, "epsilon": 0.1, "step_size": 0.02}
    delta = attacks.pgd(loss, x, jnp.zeros(8), **options, num_steps=10)
    plain = attacks.prediction_loss(lambda x: weights @ x, x)
    expected = attacks.pgd(plain, x, jnp.zeros(8), **options, num_steps=10)
    assert float(jnp.abs(delta).max()) == pytest.approx(0.1, rel=1e-5)
    # At any scale the log-odds of the others are what grows.
    assert float(plain(x + delta)) > 0.8 * float(plain(x + expected))


def test_the_loss_of_a_label_outside_the_classes_is_no_number():
    for label in (-1, 4):
        loss = attacks.cross_entropy_loss(lambda x: x, label)
        assert np.isnan(loss(jnp.zeros(4)))
    single = attacks.cross_entropy_loss(lambda x: x, 0)
    assert float(single(jnp.ones(1))) == 0


@pytest.mark.parametrize("norm", [attacks.LINF, attacks.L2])
def test_entries_outside_the_bounds_stay_in_the_ball(norm):
    x = jnp.array([-2.0, 0.5, 3.0, 0.95])
    delta = attacks.pgd(
        jnp.sum, x, jnp.zeros(4), norm=norm, epsilon=0.1, step_size=0.1, num_steps=5,
        bounds=(0, 1),
    )  # fmt: skip
    length = jnp.abs(delta).max() if norm is attacks.LINF else jnp.linalg.norm(delta)
    assert float(length) <= 0.1 + 1e-6
    assert float(delta[0]) > 0
    assert float(delta[2]) == 0
    assert float(delta[3]) <= 0.05 + 1e-6


def test_pictures_in_their_place_bring_no_warning(tmp_path):
    write_pictures(tmp_path / "set", "a/0.png", "b/0.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = data.load(
            f"imagefolder:{tmp_path / 'set'}", "train", cache_dir=tmp_path / "c"
        )
    assert images.class_names == ("a", "b")


def test_names_that_are_no_text(tmp_path, capsys):
    """Bytes that are not UTF-8 in names of files, folders and classes are escaped."""
    odd = os.fsdecode(b"caf\xe9")
    folder, out = tmp_path / odd, tmp_path / f"{odd} out"
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.savez(tmp_path / f"{odd}.npz", labels=LABELS)
    features = rng.normal(size=(len(LABELS), 3))
    with (folder / f"{odd}.npz").open("wb") as file:
        np.savez(file, features=features)
    request = ("rank", "--target", f"{odd}.npz", "--zoo", odd, "--out", out)
    request += ("--scores", "logme", "--json")
    assert exit_code(*request, folder=tmp_path) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[0])["source"] == r"caf\xe9"
    assert exit_code("report", out, folder=tmp_path) == 0
    assert r"caf\xe9" in capsys.readouterr().out
    assert exit_code("report", "\udcff", folder=tmp_path) == 2
    assert capsys.readouterr().err.count("\n") == 1
    pictures = tmp_path / "pictures"
    write_pictures(pictures / odd, "a.png", "b.png")
    write_pictures(pictures / "other", "a.png", "b.png")
    images = data.load(f"imagefolder:{pictures}", "train", cache_dir=tmp_path)
    assert images.class_names == (r"caf\xe9", "other")
