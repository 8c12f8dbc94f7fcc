"""Tests of data sets as `save_to_disk` of Hugging Face leaves them, without it."""

import builtins
import io
import json

import numpy as np
import pytest
from PIL import Image

from jtransfer import data, zoo
from jtransfer.zoo import RequestError

pyarrow = pytest.importorskip("pyarrow", reason="pip install pyarrow")
ipc = pytest.importorskip("pyarrow.ipc", reason="pip install pyarrow")

SIGNS = {"names": ["neg", "pos"], "_type": "ClassLabel"}
KINDS = {"names": ["dog", "cat", "axolotl"], "_type": "ClassLabel"}
TEXT = {"dtype": "string", "_type": "Value"}
NUMBER = {"dtype": "int64", "_type": "Value"}
PICTURE = {"_type": "Image"}
PICTURES = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
END = b"\xff\xff\xff\xff\0\0\0\0"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save(folder, columns, features, *, num_files=1, **state):
    """Writes what `Dataset.save_to_disk` does, one batch a file."""
    folder.mkdir(parents=True)
    types = {name: PICTURES for name in features if features[name] == PICTURE}
    table = pyarrow.table(
        {k: pyarrow.array(v, types.get(k)) for k, v in columns.items()}
    )
    names = [f"data-{i:05}-of-{num_files:05}.arrow" for i in range(num_files)]
    bounds = np.linspace(0, len(table), num_files + 1).astype(int)
    for name, start, stop in zip(names, bounds, bounds[1:], strict=False):
        with ipc.new_stream(str(folder / name), table.schema) as stream:
            stream.write_table(table.slice(start, stop - start))
    state = {"_data_files": [{"filename": n} for n in names], "_split": None} | state
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


def save_splits(folder, **splits):
    folder.mkdir(parents=True)
    for name, (columns, features) in splits.items():
        save(folder / name, columns, features)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": [*splits]}))
    return folder


def texts(n=30, start=0):
    return {
        "text": [f"text {i // 2}" for i in range(start, start + n)],
        "label": [i % 2 for i in range(n)],
    }, {"text": TEXT, "label": SIGNS}


def png(pixels, form="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return {"bytes": stream.getvalue(), "path": None}


def pixels(seed, n=6, shape=(8, 8, 3)):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def images(seed=0, n=6, shape=(8, 8, 3), label=KINDS):
    columns = {
        "image": [png(p) for p in pixels(seed, n, shape)],
        "label": [i % 3 for i in range(n)],
    }
    return columns, {"image": PICTURE, "label": label}


def fault(call, *arguments, error=data.DataError, **options):
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def text_fault(folder, **options):
    return fault(zoo.text_target, folder, error=RequestError, **options)


# Texts.


def test_texts_of_a_data_set(tmp_path):
    columns, features = texts(300)
    target = zoo.text_target(save(tmp_path / "a.b", columns, features, num_files=4))
    assert target.texts == tuple(columns["text"])
    assert target.name == "a.b"
    assert target.class_names == ("neg", "pos")
    assert target.labels.tolist() == columns["label"]
    # Equal texts are a group: there are two of each.
    assert np.bincount(target.groups).tolist() == [2] * 150
    # As from a table of the same rows.
    lines = (f"{t},{SIGNS['names'][i]}" for t, i in zip(*columns.values(), strict=True))
    (tmp_path / "t.csv").write_text("text,label\n" + "\n".join(lines))
    assert zoo.text_target(tmp_path / "t.csv").digest == target.digest


def test_columns_pairs_and_draws_of_texts(tmp_path):
    columns, _ = texts()
    columns = {"second": columns["text"], "first": columns["text"][::-1]} | {
        "class": [f"c{i}" for i in columns["label"]]
    }
    folder = save(tmp_path / "set", columns, dict.fromkeys(columns, TEXT))
    options = {"label_column": "class"}
    pairs = zoo.text_target(folder, text_columns=("first", "second"), **options)
    assert pairs.texts[0] == ["text 14", "text 0"]
    assert pairs.class_names == ("c0", "c1")
    same = zoo.text_target(folder, text_columns=("first", "first"), **options)
    assert same.texts[0] == ["text 14"] * 2
    few = zoo.text_target(folder, text_columns=("first",), per_class=5, **options)
    assert np.bincount(few.labels).tolist() == [5, 5]
    line = text_fault(folder, text_columns=("first",), per_class=99, **options)
    assert "set: class 0 has 15 examples, per_class asks for 99" in line


def test_splits_of_texts(tmp_path):
    folder = save_splits(tmp_path / "all", test=texts(10), train=texts(20, 10))
    assert data.saved_splits(folder) == ("test", "train")
    assert zoo.text_target(folder).texts[0] == "text 5"
    assert zoo.text_target(folder / "test").texts[0] == "text 0"
    assert data.saved_splits(folder / "test") == ("train",)
    columns, class_names = data.saved_columns(folder, "evaluation", ["label", "text"])
    assert columns == (texts(10)[0]["label"], texts(10)[0]["text"])
    assert class_names == (("neg", "pos"), None)
    only = save_splits(tmp_path / "only", odd=texts(12))
    assert len(zoo.text_target(only).texts) == 12
    line = text_fault(save_splits(tmp_path / "none", a=texts(), b=texts()))
    assert "has no split 'train' (only a and b); " in line
    assert line.endswith(f"such as {tmp_path / 'none' / 'a'}.")
    both = save_splits(tmp_path / "both", dev=texts(), validation=texts(4))
    line = fault(data.saved_columns, both, "val", ["text"])
    assert "two splits val, dev and validation" in line
    assert len(data.saved_columns(both, "validation", ["text"]).columns[0]) == 4
    (only / "odd" / "state.json").unlink()
    assert "odd cannot be read (it lacks" in text_fault(only)
    assert "(only none)" in text_fault(save_splits(tmp_path / "bare"))


def test_targets_of_texts_are_told_from_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = save(tmp_path / "texts", *texts())
    pictures = save_splits(tmp_path / "pictures", train=images(), test=images())
    assert zoo.is_text_table("texts")
    assert zoo.is_text_table(folder)
    assert zoo.is_text_table(save_splits(tmp_path / "splits", train=texts()))
    assert not zoo.is_text_table(pictures)
    assert not zoo.is_text_table(tmp_path)
    for name in ("cifar10", "saved:texts", "a.npz", "~nobody/x", "a\0", "x" * 9999):
        assert not zoo.is_text_table(name)
    # Its description cannot be read, and `text_target` says so.
    (folder / "dataset_info.json").write_text("{")
    assert zoo.is_text_table(folder)
    assert "dataset_info.json cannot be read (" in text_fault(folder)
    with pytest.raises(RequestError, match="cannot be read"):
        zoo.text_target(tmp_path)


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        (
            "label",
            [0, 1, -1, -1],
            "2 of 4 rows have no label (-1 or null, row 2 first)",
        ),
        ("label", [0, None, 1, 1], "1 of 4 rows have no label"),
        ("label", [0, 2, 1, 1], "label of row 1 is none of its 2 classes"),
        ("label", ["0", "1", "0", "1"], "label of row 0 is none of its 2 classes"),
        ("text", ["a", None, "c", "d"], "example 2 has no text"),
        ("text", ["a", "b", " ", "d"], "example 3 has no text"),
        ("text", [1, 2, 3, 4], "example 1 has no text"),
        ("text", [], "holds no examples"),
    ],
)
def test_texts_that_cannot_be_used(tmp_path, column, values, words):
    columns, features = texts(len(values))
    line = text_fault(save(tmp_path / "set", columns | {column: values}, features))
    assert words in line


def test_sets_without_rows_and_columns(tmp_path):
    columns, features = texts()
    folder = save(tmp_path / "set", columns, features, num_files=0, _data_files=[])
    assert "holds no examples" in text_fault(folder)
    line = text_fault(folder, text_columns=("body",))
    assert "has no column 'body'; it has 'text', 'label'; name one" in line
    folder = save(tmp_path / "full", columns, features)
    line = text_fault(folder, label_column="class")
    assert "has no column 'class'; it has 'text', 'label'; name one" in line


# Files that are damaged, or not to be trusted.


def test_damaged_rows(tmp_path):
    folder = save(tmp_path / "set", *texts(), num_files=2)
    file = folder / "data-00001-of-00002.arrow"
    whole = file.read_bytes()
    for part in (b"", whole[:4], whole[: len(whole) // 2], whole[: -len(END)]):
        file.write_bytes(part)
        line = text_fault(folder)
        assert line.startswith(f"{file} cannot be read (it ends early); copy the data")
    file.write_bytes(whole[: len(whole) // 2] + END)
    assert f"{file} cannot be read (" in text_fault(folder)
    file.write_bytes(b"no stream of Arrow" + END)
    assert f"{file} cannot be read (" in text_fault(folder)
    file.unlink()
    assert "there is no such file" in text_fault(folder)
    file.mkdir()
    assert "there is no such file" in text_fault(folder)


def test_offsets_that_lead_out_of_a_file_are_not_followed(tmp_path):
    folder = save(tmp_path / "set", *texts())
    (file,) = folder.glob("*.arrow")
    ends = np.cumsum([0] + [len(t) for t in texts()[0]["text"]]).astype(np.int32)
    content = file.read_bytes()
    assert content.count(ends.tobytes()) == 1
    ends[-1] = 2**30
    place = content.index(ends[:-1].tobytes())
    file.write_bytes(content[:place] + ends.tobytes() + content[place + ends.nbytes :])
    assert f"{file} cannot be read (" in text_fault(folder)


def test_a_byte_that_flips_is_an_error_of_the_data_or_none(tmp_path):
    folder = save(tmp_path / "set", *texts(4))
    (file,) = folder.glob("*.arrow")
    content, refused = file.read_bytes(), 0
    for place in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[place] ^= 0x55
        file.write_bytes(flipped)
        try:
            held, labels = data.saved_columns(
                folder, "train", ["text", "label"]
            ).columns
        except data.DataError:
            refused += 1
        else:  # A letter, what is not read, or how many rows there are.
            assert len(held) == len(labels) <= 4
            assert set(labels) <= {0, 1}
    assert refused > 10


@pytest.mark.parametrize("name", ["../x.arrow", "/etc/passwd", "a\\b", "..", "C:x"])
def test_names_that_lead_elsewhere(tmp_path, name):
    files = {"_data_files": [{"filename": name}]}
    folder = save(tmp_path / "set", *texts(), **files)
    assert f"state.json names {name!r}, which is not in its folder" in text_fault(
        folder
    )
    splits = save_splits(tmp_path / "splits", train=texts())
    (splits / "dataset_dict.json").write_text(json.dumps({"splits": ["train", name]}))
    line = text_fault(splits)
    assert f"dataset_dict.json names {name!r}, which is not in its folder" in line


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("state.json", "{", "state.json cannot be read ("),
        ("state.json", "[" * 10**5, "it is nested too deeply"),
        ("state.json", b"\xff", "state.json cannot be read ("),
        ("state.json", "[]", "it holds no object"),
        ("state.json", "{}", "it lists no files"),
        ("state.json", '{"_data_files": ["a"]}', "it lists no files"),
        ("state.json", '{"_data_files": [{}]}', "None is no name of a file"),
        ("dataset_info.json", '{"features": []}', None),
        ("dataset_info.json", '{"features": [1]}', "its features are no object"),
        (
            "dataset_info.json",
            '{"features": {"label": {"_type": "ClassLabel"}}}',
            "the classes of 'label' have no names",
        ),
        (
            "dataset_info.json",
            '{"features": {"label": {"_type": "ClassLabel", "names": ["a", "a"]}}}',
            "two classes of 'label' have one name",
        ),
        ("dataset_dict.json", "{}", "it lists no splits"),
        ("dataset_dict.json", '{"splits": [1]}', "1 is no name of a file"),
    ],
)
def test_damaged_descriptions(tmp_path, file, content, words):
    folder = save(tmp_path / "set", *texts())
    content = content.encode() if isinstance(content, str) else content
    (folder / file).write_bytes(content)
    if words is None:  # A set that describes no column still has them.
        assert zoo.text_target(folder).class_names == ("0", "1")
    else:
        assert words in text_fault(folder)


def test_rows_to_take_are_refused(tmp_path):
    indices = {"_indices_data_files": [{"filename": "indices.arrow"}]}
    line = text_fault(save(tmp_path / "set", *texts(), **indices))
    assert "save it again after dataset.flatten_indices()" in line
    for i, none in enumerate((None, [])):
        folder = save(tmp_path / str(i), *texts(), _indices_data_files=none)
        assert len(zoo.text_target(folder).texts) == 30


def test_without_pyarrow(tmp_path, monkeypatch):
    folder = save(tmp_path / "set", *texts())
    load = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return load(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert text_fault(folder) == f"{folder} needs pyarrow; pip install pyarrow."
    assert zoo.is_text_table(folder)


# Images.


def by_label(loaded):
    pairs = zip(loaded.labels.tolist(), loaded.images, strict=True)
    return sorted((label, image.tobytes()) for label, image in pairs)


def test_images_of_a_data_set(tmp_path):
    folder = save_splits(tmp_path / "set", train=images(0), test=images(1, 3))
    train = data.load(f"saved:{folder}", "train")
    assert train.class_names == ("dog", "cat", "axolotl")
    assert train.images.dtype == np.uint8
    expected = [(i % 3, p.tobytes()) for i, p in enumerate(pixels(0))]
    assert by_label(train) == sorted(expected)
    assert sorted(train.labels[:3].tolist()) == [0, 1, 2]
    first = data.load(f"saved:{folder}", "train", limit=2)
    np.testing.assert_array_equal(first.images, train.images[:2])
    again = data.load(f"saved:{folder}", "train")  # From the cache.
    np.testing.assert_array_equal(again.images, train.images)
    alone = data.load(f"saved:{folder / 'train'}", "training")
    np.testing.assert_array_equal(alone.images, train.images)
    small = data.load(f"saved:{folder}", "test", image_size=4)
    assert small.images.shape == (3, 4, 4, 3)


def test_images_come_as_from_a_folder_of_them(tmp_path):
    columns, features = images(0, 9, (9, 7, 3))
    save(tmp_path / "set", columns, features | {"label": {**KINDS, "names": [*"abc"]}})
    for i, (picture, label) in enumerate(zip(*columns.values(), strict=True)):
        file = tmp_path / "folder" / "abc"[label] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture["bytes"])
    options = {"image_size": (4, 5), "num_channels": 1}
    saved = data.load(f"saved:{tmp_path}/set", "train", **options)
    folder = data.load(f"imagefolder:{tmp_path}/folder", "train", **options)
    assert by_label(saved) == by_label(folder)
    assert saved.class_names == folder.class_names


def test_a_target_of_saved_images(tmp_path):
    folder = save_splits(tmp_path / "pets", train=images(0, 30), test=images(1, 6))
    options = {"num_test": None, "seed": 0}
    target = zoo.image_target(f"saved:{folder}", per_class=8, **options)
    assert target.name == "pets"
    assert target.class_names == ("dog", "cat", "axolotl")
    assert np.bincount(target.labels).tolist() == [8] * 3
    assert len(target.test_labels) == 6
    alone = zoo.image_target(f"saved:{folder / 'train'}", per_class=None, **options)
    assert alone.test_labels is None
    line = fault(
        zoo.image_target,
        f"saved:{folder}/no",
        per_class=None,
        error=RequestError,
        **options,
    )
    assert "is no data set that save_to_disk has left" in line


@pytest.mark.parametrize("kind", [str, int, None])
def test_labels_of_images_without_a_class_label(tmp_path, kind):
    columns, _ = images()
    features = {"image": PICTURE, "label": TEXT if kind is str else NUMBER}
    numbers = [12, 7, 9, 9, 7, 12]
    train = columns | {"label": [kind(n) for n in numbers] if kind else [None] * 6}
    test = columns | {"label": train["label"][:1] * 6}
    folder = save_splits(
        tmp_path / "set", train=(train, features), test=(test, features)
    )
    if kind is None:
        line = fault(data.load, f"saved:{folder}", "train")
        assert "row 0 of train has the label None, which is no text" in line
        return
    loaded = data.load(f"saved:{folder}", "train")
    assert loaded.class_names == (("12", "7", "9") if kind is str else ("7", "9", "12"))
    names = [loaded.class_names[label] for label in loaded.labels]
    assert sorted(names) == sorted(map(str, numbers))
    assert "one class only" in fault(data.load, f"saved:{folder}", "test")
    few = data.load(f"saved:{folder}", "test", limit=2)
    assert few.class_names == loaded.class_names
    assert few.labels.tolist() == [loaded.class_names.index("12")] * 2


def test_splits_of_images(tmp_path):
    folder = save_splits(tmp_path / "set", train=images(), validation=images(1))
    assert len(data.load(f"saved:{folder}", "dev").labels) == 6
    with pytest.raises(data.MissingSplit, match=r"no split 'test' \(only train and va"):
        data.load(f"saved:{folder}", "test")
    with pytest.raises(
        data.MissingSplit, match=r"no split 'test' \(only train\); take"
    ):
        data.load(f"saved:{folder / 'train'}", "test")
    other = {**KINDS, "names": ["cat", "wolf", "dog"]}
    mixed = save_splits(tmp_path / "mixed", train=images(), test=images(label=other))
    line = fault(data.load, f"saved:{mixed}", "test")
    assert "split test of" in line
    assert "has a class that train lacks: 'wolf'" in line
    # Classes go by their names, whatever their numbers.
    turned = {**KINDS, "names": KINDS["names"][::-1]}
    folder = save_splits(tmp_path / "turned", train=images(), test=images(label=turned))
    test = data.load(f"saved:{folder}", "test")
    assert test.class_names == tuple(KINDS["names"])
    expected = [(2 - i % 3, p.tobytes()) for i, p in enumerate(pixels(0))]
    assert by_label(test) == sorted(expected)


def test_pictures_of_other_modes(tmp_path):
    columns, features = images(0, 6, (8, 8))
    grey = save(tmp_path / "grey", columns, features)
    assert data.load(f"saved:{grey}", "train").images.shape == (6, 8, 8, 1)
    colour = data.load(f"saved:{grey}", "train", num_channels=3)
    assert colour.images.shape == (6, 8, 8, 3)
    see_through = pixels(1, 1, (8, 8, 4))[0]
    columns["image"][4] = png(see_through)
    mixed = data.load(f"saved:{save(tmp_path / 'rgba', columns, features)}", "train")
    assert mixed.images.shape == (6, 8, 8, 3)
    assert any(np.array_equal(x, see_through[..., :3]) for x in mixed.images)


def test_damaged_pictures_are_named_by_their_rows(tmp_path, monkeypatch):
    columns, features = images()
    pictures = columns["image"]
    pictures[1] = {"bytes": pictures[1]["bytes"][:60], "path": "a.png"}
    pictures[3] = {"bytes": None, "path": "/etc/passwd"}
    pictures[4] = None
    folder = save(tmp_path / "set", columns, features)
    line = fault(data.load, f"saved:{folder}", "train")
    assert line.startswith("3 of 6 images cannot be read: ")
    for words in (f"row 1 of {folder} (", "(no picture, only its path '/etc/passwd', "):
        assert words in line
    assert f"row 4 of {folder} (no picture" in line
    pictures[:] = [png(p) for p in pixels(0)]
    # What Pillow would run another program for.
    pictures[2] = png(pixels(0)[0], "EPS")
    line = fault(
        data.load, f"saved:{save(tmp_path / 'eps', columns, features)}", "train"
    )
    assert f"1 of 6 images cannot be read: row 2 of {tmp_path / 'eps'} (" in line
    pictures[2] = png(pixels(0, 1, (64, 64, 3))[0])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    folder = save(tmp_path / "large", columns, features)
    line = fault(data.load, f"saved:{folder}", "train", image_size=8)
    assert f"row 2 of {folder} (" in line
    assert "decompression bomb" in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": [1] * 6}, "the column image holds int64, no pictures"),
        (
            {"label": [0, 1, 2, 0, 1, -1]},
            "1 of 6 rows have no label (-1 or null, row 5",
        ),
        ({"label": [1] * 6}, "hold one class only"),
        ({"image": [], "label": []}, "split 'train' of"),
    ],
)
def test_images_that_cannot_be_used(tmp_path, changes, words):
    columns, features = images()
    if changes.get("image"):
        features = features | {"image": NUMBER}
    folder = save(tmp_path / "set", columns | changes, features)
    assert words in fault(data.load, f"saved:{folder}", "train")


def test_images_that_are_not_there(tmp_path):
    folder = save(tmp_path / "set", *texts())
    line = fault(data.load, f"saved:{folder}", "train")
    assert "has no column 'image'; it has 'text', 'label'; name one" in line
    assert "names nothing; write saved:NAME" in fault(data.load, "saved:", "train")
    assert f"write saved:{folder}" in fault(data.load, str(folder), "train")
    line = fault(data.load, f"saved:{tmp_path}", "train")
    assert "it needs dataset_dict.json, or dataset_info.json and state.json" in line
    with pytest.raises(ValueError, match="label_key is for TensorFlow data sets"):
        data.load(f"saved:{folder}", "train", label_key="label")


def test_the_split_test_of_texts(tmp_path):
    train, (test, features) = texts(30), texts(12, start=100)
    test["text"] = [f"{text} {i}" for i, text in enumerate(test["text"])]
    save_splits(tmp_path / "set", train=train, test=(test, features))
    target = zoo.text_target(tmp_path / "set")
    assert target.test_texts == tuple(test["text"])
    assert target.test_labels.tolist() == test["label"]
    few = zoo.text_target(tmp_path / "set", num_test=5, seed=1)
    assert len(few.test_texts) == len(few.test_labels) == 5
    for text, label in zip(few.test_texts, few.test_labels, strict=True):
        assert test["label"][test["text"].index(text)] == label
    hidden = {**test, "label": [-1] * 12}
    save_splits(tmp_path / "hidden", train=train, test=(hidden, features))
    with pytest.warns(RuntimeWarning, match="The split test is not used"):
        assert zoo.text_target(tmp_path / "hidden").test_texts is None
