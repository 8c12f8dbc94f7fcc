"""Tests of jtransfer.data."""

import io
import json
import os
import pathlib
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from PIL import Image

from jtransfer import data
from jtransfer.data import cache, decoding, image_folder, npz, prepared_folders

SHARED = pathlib.Path(__file__).resolve().parents[1].parent / "shared" / "data"

seeds = st.integers(0, 2**16)


def fault(call, *arguments, **options):
    """The one line of the DataError that a call raises."""
    with pytest.raises(data.DataError) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def pictures(seed, n, size=8, channels=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, size, size, channels), np.uint8)


def save_png(file, pixels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


# Checked values.


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([[0], [1]], {}, r"shape \[n\], got \[2, 1\]; use labels.ravel"),
        ([0, 1], {"num_examples": 3}, "2 of them for 3 examples"),
        ([], {}, "empty"),
        ([0.0, 1.0], {}, "integers, got float64; convert"),
        ([True, False], {}, "integers, got bool"),
        ([0, 3], {"num_classes": 3}, r"from 0 to 3, outside \[0, 3\); number"),
        ([-1, 2], {}, "from -1 to 2"),
        ([0, 2**40], {}, "outside"),
        ([4, 4], {}, r"one class only \(label 4\), at least 2 are needed; add"),
        ([0, 1], {"min_classes": 3}, "2 classes, at least 3"),
    ],
)
def test_checked_labels_rejects(labels, options, message):
    with pytest.raises(ValueError, match=message):
        data.checked_labels(labels, **options)
    fault(data.checked_labels, labels, **options)


# NumPy archives.


def test_npz_round_trip(tmp_path):
    images, labels = pictures(0, 4), np.array([0, 2, 1, 0], np.uint8)
    file = tmp_path / "set.npz"
    np.savez_compressed(
        file,
        images=images,
        labels=labels,
        class_names=["ape", "bee", "cow"],
        test_images=np.asfortranarray(images[:2]),
        test_labels=labels[:2].astype(">i8"),
    )
    train = data.load(f"npz:{file}", "train")
    np.testing.assert_array_equal(train.images, images)
    np.testing.assert_array_equal(train.labels, labels)
    assert train.labels.dtype == np.int32
    assert train.class_names == ("ape", "bee", "cow")
    test = data.load(f"npz:{file}", "test")
    np.testing.assert_array_equal(test.images, images[:2])
    np.testing.assert_array_equal(test.labels, [0, 2])
    for split in ("train", "test"):
        first = data.load(f"npz:{file}", split, limit=1)
        np.testing.assert_array_equal(first.images, images[:1])
        np.testing.assert_array_equal(first.labels, labels[:1])


def test_npz_names_classes_by_number_over_both_splits(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        images=pictures(0, 2),
        labels=[0, 1],
        test_images=pictures(1, 2),
        test_labels=[3, 1],
    )
    assert data.load(f"npz:{tmp_path}/a.npz", "train").class_names == tuple("0123")
    first = {"images": pictures(0, 2), "labels": [0, 1], "test_labels": ["a"]}
    np.savez(tmp_path / "a.npz", **first)
    assert data.load(f"npz:{tmp_path}/a.npz", "train").class_names == ("0", "1")


def test_npz_resizes_by_averaging_and_converts(tmp_path):
    images = pictures(0, 2)
    np.savez(tmp_path / "a.npz", images=images, labels=[0, 1])
    half = data.load(f"npz:{tmp_path}/a.npz", "train", image_size=4).images
    means = images.reshape(2, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(half, means, atol=1)
    grey = data.load(f"npz:{tmp_path}/a.npz", "train", num_channels=1).images
    assert grey.shape == (2, 8, 8, 1)
    wide = data.load(f"npz:{tmp_path}/a.npz", "train", image_size=(4, 8)).images
    np.testing.assert_array_equal(wide, images[:, 2:6])  # the centre, not squeezed


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": pictures(0, 2)}, r"no array labels \(it holds images\); save"),
        ({"images": pictures(0, 2) / 255, "labels": [0, 1]}, "must be uint8 .*float64"),
        ({"images": pictures(0, 2)[..., 0], "labels": [0, 1]}, "last axis of 1"),
        ({"images": pictures(0, 0), "labels": []}, "empty"),
        ({"images": pictures(0, 2), "labels": [0, 1, 1]}, "3 of them for 2 examples"),
        ({"images": pictures(0, 2), "labels": [0, 0]}, "one class only"),
        (
            {"images": pictures(0, 2), "labels": [0, 2], "class_names": ["a", "b"]},
            r"from 0 to 2, outside \[0, 2\)",
        ),
        (
            {"images": pictures(0, 2), "labels": [0, 1], "class_names": [1, 2]},
            "class_names of .* must be texts",
        ),
    ],
)
def test_npz_rejects(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(data.DataError, match=message):
        data.load(f"npz:{tmp_path}/bad.npz", "train")
    fault(data.load, f"npz:{tmp_path}/bad.npz", "train")


def test_npz_splits(tmp_path):
    np.savez(tmp_path / "a.npz", images=pictures(0, 2), labels=[0, 1])
    assert "no split 'test' (test_images, test_labels)" in fault(
        data.load, f"npz:{tmp_path}/a.npz", "test"
    )
    line = fault(data.load, f"npz:{tmp_path}/a.npz", "validation")
    assert "has no split 'validation'" in line


class Malice(str):
    """The path of a folder that comes into being when this is unpickled."""

    def __reduce__(self):  # noqa: D105
        return os.mkdir, (str(self),)


@pytest.mark.parametrize("name", ["images", "labels", "class_names"])
def test_npz_never_unpickles(tmp_path, name):
    trace = tmp_path / "trace"
    objects = np.array([Malice(str(trace)), None], dtype=object)
    arrays = {"images": pictures(0, 2), "labels": [0, 1], name: objects}
    np.savez(tmp_path / "bad.npz", **arrays)
    line = fault(data.load, f"npz:{tmp_path}/bad.npz", "train")
    assert f"array {name} of" in line
    assert "Python objects, which are never unpickled" in line
    assert not trace.exists()


def archive_of(file, header, body, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(file, "w", compression) as archive:
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, header)
        archive.writestr("labels.npy", stream.getvalue() + body)


def test_npz_refuses_bombs_and_false_headers(tmp_path):
    file = tmp_path / "bad.npz"
    size = npz._HARMLESS_BYTES + 1024
    header = {"descr": "|u1", "fortran_order": False, "shape": (size,)}
    archive_of(file, header, bytes(size), zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < size / 500
    line = fault(data.npz_arrays, file, required=["labels"])
    assert "expands" in line
    assert "numpy.savez (uncompressed)" in line

    archive_of(file, header | {"shape": (10**12,)}, bytes(8))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("more", b"")
        (info, _) = archive.infolist()
        info.file_size += 10**12 - 8  # a false directory, in line with the header
        info.compress_size = info.file_size
    assert "expands" in fault(data.npz_arrays, file, required=["labels"])

    for shape in [(10**12,), (-2, -4), (7,)]:
        archive_of(file, header | {"shape": shape}, bytes(8))
        assert "is damaged" in fault(data.npz_arrays, file, required=["labels"])


def test_npz_refuses_damaged_files(tmp_path):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    np.savez(good, images=pictures(0, 64, size=32), labels=np.arange(64) % 2)
    content = good.read_bytes()
    for broken in [b"", b"no archive", content[:-100], content[: len(content) // 2]]:
        bad.write_bytes(broken)
        line = fault(data.load, f"npz:{bad}", "train")
        assert "is not a complete .npz file" in line
    flipped = bytearray(content)
    flipped[5000] ^= 255
    bad.write_bytes(flipped)
    assert "array images of" in fault(data.load, f"npz:{bad}", "train")
    assert "there is no file" in fault(data.load, f"npz:{tmp_path}/none.npz", "train")


# Folders of pictures.


@pytest.fixture
def folder(tmp_path):
    """Three classes of 2, 3 and 4 pictures, and a test split without the last."""
    for split, counts in (("train", (2, 3, 4)), ("test", (1, 2, 0))):
        for label, (name, count) in enumerate(zip("abc", counts, strict=True)):
            for i, pixels in enumerate(pictures(label, count)):
                save_png(tmp_path / "set" / split / name / f"{split}{i}.png", pixels)
    return tmp_path / "set"


def same_sets(images, expected):
    assert sorted(i.tobytes() for i in images) == sorted(i.tobytes() for i in expected)


def test_imagefolder_round_trip(folder):
    train = data.load(f"imagefolder:{folder}", "train")
    assert train.class_names == ("a", "b", "c")
    assert train.images.dtype == np.uint8
    for label, count in enumerate((2, 3, 4)):
        same_sets(train.images[train.labels == label], pictures(label, count))
    test = data.load(f"imagefolder:{folder}", "test")
    assert test.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(np.bincount(test.labels, minlength=3), [1, 2, 0])
    plain = data.load(f"imagefolder:{folder / 'train'}", "train")
    np.testing.assert_array_equal(plain.images, train.images)


def test_imagefolder_prefix_is_balanced_and_not_kept(folder, tmp_path):
    first = data.load(f"imagefolder:{folder}", "train", limit=3)
    assert sorted(first.labels.tolist()) == [0, 1, 2]
    assert not (tmp_path / "cache").exists()
    whole = data.load(f"imagefolder:{folder}", "train")
    np.testing.assert_array_equal(first.images, whole.images[:3])


def test_imagefolder_channels_and_sizes(tmp_path):
    for i, name in enumerate("ab"):
        save_png(tmp_path / "grey" / name / "0.png", pictures(i, 1, 8, 1)[0])
        save_png(tmp_path / "mixed" / name / "0.png", pictures(i, 1, 8, 1 + 2 * i)[0])
        save_png(tmp_path / "sizes" / name / "0.png", pictures(i, 1, 8 + i)[0])
    grey = data.load(f"imagefolder:{tmp_path}/grey", "train")
    assert grey.images.shape == (2, 8, 8, 1)
    colour = data.load(f"imagefolder:{tmp_path}/grey", "train", num_channels=3)
    np.testing.assert_array_equal(colour.images, np.repeat(grey.images, 3, axis=-1))
    mixed = data.load(f"imagefolder:{tmp_path}/mixed", "train")
    assert mixed.images.shape == (2, 8, 8, 3)
    line = fault(data.load, f"imagefolder:{tmp_path}/sizes", "train")
    assert "differ in size" in line
    assert "9x9" in line
    assert "give image_size" in line
    resized = data.load(f"imagefolder:{tmp_path}/sizes", "train", image_size=5)
    assert resized.images.shape == (2, 5, 5, 3)


def test_imagefolder_turns_pictures_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rows are columns
    pixels = np.zeros((4, 8, 3), np.uint8)
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "0.jpg", exif=exif)
    assert data.load(f"imagefolder:{tmp_path}", "train").images.shape == (2, 8, 4, 3)


def test_imagefolder_names_corrupt_files(folder):
    broken = folder / "train" / "b" / "train1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    (folder / "train" / "c" / "text.jpg").write_text("no picture")
    deep = np.zeros((8, 8), np.uint16)
    Image.fromarray(deep).save(folder / "train" / "a" / "deep.png")
    line = fault(data.load, f"imagefolder:{folder}", "train")
    assert line.startswith("3 of 11 images cannot be read: ")
    for name in ("b/train1.png", "c/text.jpg", "a/deep.png", "not eight bits"):
        assert name in line
    assert line.endswith("replace or remove them.")


def test_imagefolder_rejects(folder, tmp_path):
    load = data.load
    assert "there is no folder" in fault(load, f"imagefolder:{tmp_path}/no", "train")
    line = fault(load, f"imagefolder:{folder}", "valid")
    assert "no split 'valid' (only test and train); make" in line
    line = fault(load, f"imagefolder:{folder / 'train'}", "test")
    assert "(only train, its own classes)" in line
    (folder / "train" / "empty").mkdir()
    assert "empty holds no picture" in fault(load, f"imagefolder:{folder}", "train")
    (folder / "train" / "empty").rmdir()
    (folder / "test" / "new").mkdir()
    line = fault(load, f"imagefolder:{folder}", "test")
    assert "classes that train lacks: new" in line
    (tmp_path / "bare").mkdir()
    line = fault(load, f"imagefolder:{tmp_path}/bare", "train")
    assert "no class folders" in line
    save_png(tmp_path / "one" / "cat" / "0.png", pictures(0, 1)[0])
    line = fault(load, f"imagefolder:{tmp_path}/one", "train")
    assert "one class only (cat)" in line


def test_imagefolder_may_have_a_class_called_train(tmp_path):
    for i, name in enumerate(("train", "plane")):
        save_png(tmp_path / name / "0.png", pictures(i, 1)[0])
    result = data.load(f"imagefolder:{tmp_path}", "train")
    assert result.class_names == ("plane", "train")


# The cache of decoded images.


@pytest.fixture
def decodings(monkeypatch):
    """A list that grows by one with each picture of a folder that is decoded."""
    calls, decoded = [], decoding.decoded

    def counted(picture, **options):
        calls.append(picture)
        return decoded(picture, **options)

    monkeypatch.setattr(image_folder, "decoded", counted)
    return calls


def test_cache_decodes_once_and_again_after_a_change(folder, tmp_path, decodings):
    whole = data.load(f"imagefolder:{folder}", "train")
    assert len(decodings) == 9
    again = data.load(f"imagefolder:{folder}", "train")
    first = data.load(f"imagefolder:{folder}", "train", limit=4)
    assert len(decodings) == 9
    assert isinstance(again.images, np.ndarray)
    assert again.images.flags.writeable
    np.testing.assert_array_equal(again.images, whole.images)
    np.testing.assert_array_equal(again.labels, whole.labels)
    np.testing.assert_array_equal(first.labels, whole.labels[:4])

    data.load(f"imagefolder:{folder}", "train", image_size=4)
    assert len(decodings) == 18
    save_png(folder / "train" / "a" / "train0.png", pictures(9, 1)[0])
    changed = data.load(f"imagefolder:{folder}", "train")
    assert len(decodings) == 27
    assert (changed.images != whole.images).any()
    data.load(f"imagefolder:{folder}", "train", cache_dir=tmp_path / "other")
    assert len(decodings) == 36
    assert len(list((tmp_path / "other").iterdir())) == 1  # no half-written entry


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "class_names.json"])
def test_cache_survives_damage(folder, tmp_path, decodings, name):
    expected = data.load(f"imagefolder:{folder}", "train", cache_dir=tmp_path / "own")
    (entry,) = (tmp_path / "own").iterdir()
    content = (entry / name).read_bytes()
    for broken in (b"", content[: len(content) // 2]):
        (entry / name).write_bytes(broken)
        result = data.load(f"imagefolder:{folder}", "train", cache_dir=tmp_path / "own")
        np.testing.assert_array_equal(result.images, expected.images)
    assert len(decodings) == 27


def test_cache_that_cannot_be_written_is_only_a_warning(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="cannot keep decoded images"):
        result = data.load(
            f"imagefolder:{folder}", "train", cache_dir=tmp_path / "file" / "x"
        )
    assert len(result.images) == 9


def test_cache_lies_in_the_users_cache_folder(monkeypatch, tmp_path):
    assert cache.cache_root(None) == tmp_path / "cache" / "jtransfer" / "images"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_root(None) == pathlib.Path.home() / ".cache/jtransfer/images"


# TensorFlow Datasets.


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def prepare(tfds, data_dir, name, features, examples, supervised=("image", "label")):
    """Writes the data set `name` as array_record, without TensorFlow."""

    def info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=supervised,
        )

    body = {
        "name": name,
        "VERSION": tfds.core.Version("1.2.0"),
        "__module__": __name__,
        "_info": info,
        "_split_generators": lambda self, _: {s: enumerate(e) for s, e in examples},
        "_generate_examples": lambda self: iter(()),
    }
    with tfds.core.registered.skip_registration():
        kind = type("Written", (tfds.core.GeneratorBasedBuilder,), body)
    builder = kind(data_dir=data_dir, file_format="array_record")
    config = tfds.download.DownloadConfig(
        try_download_gcs=False, compute_stats="skip", verify_ssl=False
    )
    builder.download_and_prepare(download_config=config)
    return pathlib.Path(builder.data_dir)


@pytest.fixture(scope="session")
def prepared_dir(tmp_path_factory):
    """A folder with two small data sets: images of two label sets, and texts."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")
    root = tmp_path_factory.mktemp("tensorflow_datasets")
    fine, coarse = ["oak", "elm", "cod"], ["tree", "fish"]
    features = {
        "id": tfds.features.Text(),
        "coarse": tfds.features.ClassLabel(names=coarse),
        "image": tfds.features.Image(shape=(8, 8, 3)),
        "label": tfds.features.ClassLabel(names=fine),
    }

    def examples(seed, n):
        return [
            {"id": str(i), "coarse": i % 3 // 2, "image": png(pixels), "label": i % 3}
            for i, pixels in enumerate(pictures(seed, n))
        ]

    splits = [("train", examples(0, 9)), ("test", examples(1, 3))]
    prepare(tfds, root, "little", features, splits)
    texts = {"text": tfds.features.Text(), "label": features["label"]}
    prepare(
        tfds,
        root,
        "words",
        texts,
        [("train", [{"text": "a", "label": 0}])],
        supervised=("text", "label"),
    )
    return root


def test_tfds_round_trip(prepared_dir):
    train = data.load("tfds:little", "train", data_dir=prepared_dir)
    assert train.class_names == ("oak", "elm", "cod")
    assert train.labels.dtype == np.int32
    expected = pictures(0, 9)
    for label in range(3):
        same_sets(train.images[train.labels == label], expected[label::3])
    coarse = data.load(
        "little:1.2.0", "train", data_dir=prepared_dir, label_key="coarse"
    )
    np.testing.assert_array_equal(coarse.labels, train.labels // 2)
    assert coarse.class_names == ("tree", "fish")
    first = data.load("little", "train", data_dir=prepared_dir, limit=2)
    np.testing.assert_array_equal(first.images, train.images[:2])
    sliced = data.load("little", "train[2:]", data_dir=prepared_dir)
    np.testing.assert_array_equal(sliced.images, train.images[2:])
    assert "tensorflow" not in sys.modules


def test_tfds_reads_its_folder_from_the_environment(prepared_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared_dir))
    assert data.prepared_names() == ("little", "words")
    assert len(data.load("little", "test", num_channels=1, image_size=4).images) == 3
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert prepared_folders.data_root() == pathlib.Path.home() / "tensorflow_datasets"


def test_tfds_takes_the_newest_version_and_asks_for_a_configuration(tmp_path):
    for path in (
        "one/9.0.0",
        "one/10.0.0",
        "two/a/1.0.0",
        "two/b/1.0.0",
        "three/c/1.0.0",
    ):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "dataset_info.json").write_text("{}")
    folder = prepared_folders.version_folder
    assert folder("one", tmp_path).name == "10.0.0"
    assert folder("one:9.0.0", tmp_path).name == "9.0.0"
    assert folder("two/b", tmp_path) == tmp_path / "two/b/1.0.0"
    assert folder("three", tmp_path) == tmp_path / "three/c/1.0.0"
    assert folder("three:1.0.0", tmp_path) == tmp_path / "three/c/1.0.0"
    assert "10.0.0, not 2.0.0" in fault(folder, "one:2.0.0", tmp_path)
    assert "configurations a, b" in fault(folder, "two", tmp_path)


@pytest.mark.parametrize(
    ("spec", "split", "message"),
    [
        ("cifar10", "train", "cifar10 is not prepared in .*: run `tfds build cifar10 "),
        ("tfds:stl10", "test", "--file_format array_record` once, .*TFDS_DATA_DIR"),
        ("nosuch", "train", r"knows no 'nosuch', .*\(there: little, words\); correct"),
        ("little", "valid", "little has no split 'valid'; it has train, test"),
        ("little", "train[:", "has no split"),
        ("little", "train[5:5]", "is empty"),
        ("little", "train[:1]", "one class only"),
        ("words", "train", r"words holds no images \(but .*text.*\)"),
        ("../up", "train", "is no name of a data set; write"),
        ("tfds:", "train", "names nothing; write tfds:NAME"),
        ("some/file.npz", "train", "looks like a file; write npz:some/file.npz"),
    ],
)
def test_tfds_rejects(prepared_dir, spec, split, message):
    with pytest.raises(data.DataError, match=message):
        data.load(spec, split, data_dir=prepared_dir)
    fault(data.load, spec, split, data_dir=prepared_dir)


def test_tfds_rejects_other_faults(prepared_dir, tmp_path):
    line = fault(data.load, str(tmp_path), "train")
    assert f"write imagefolder:{tmp_path}" in line
    line = fault(
        data.load, "little", "train", data_dir=prepared_dir, label_key="colour"
    )
    assert "has no labels 'colour'; it has label, coarse" in line


def copied(folder, target, change):
    """Copies a prepared data set, its description changed."""
    target.mkdir(parents=True)
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    info = json.loads((target / "dataset_info.json").read_text())
    (target / "dataset_info.json").write_text(json.dumps(info | change))
    return target


def test_tfds_tells_of_damage_and_of_other_formats(prepared_dir, tmp_path):
    original = prepared_dir / "little" / "1.2.0"
    folder = copied(original, tmp_path / "little" / "1.2.0", {})
    (records,) = folder.glob("*train*")
    content = records.read_bytes()
    records.write_bytes(content[: len(content) // 2])
    line = fault(data.load, "little", "train", data_dir=tmp_path)
    assert "little" in line
    records.unlink()
    line = fault(data.load, "little", "train", data_dir=tmp_path)
    assert "little" in line
    change = {"fileFormat": "tfrecord"}
    copied(original, tmp_path / "other" / "little" / "1.2.0", change)
    line = fault(data.load, "little", "train", data_dir=tmp_path / "other")
    assert "as tfrecord, which needs TensorFlow" in line
    assert "--out_file_format array_record" in line


@pytest.fixture(scope="session")
def real_dir(tmp_path_factory):
    """The real data set tindogs, prepared."""
    script = SHARED / "prepare_tfds.py"
    if not (script.exists() and (SHARED / "tindogs_train.npz").exists()):
        pytest.skip("the packed real images are not beside the repository")
    root = tmp_path_factory.mktemp("real")
    subprocess.run(
        [sys.executable, str(script), "--data-dir", str(root), "tindogs"],
        check=True,
        capture_output=True,
        timeout=100,
    )
    return root


def test_tfds_reads_a_real_data_set_that_it_does_not_know(real_dir):
    train = data.load("tindogs", "train", data_dir=real_dir, image_size=32)
    assert train.images.shape == (2400, 32, 32, 3)
    np.testing.assert_array_equal(np.bincount(train.labels), [400] * 6)
    assert train.class_names[0] == "Chihuahua"
    # The known statistics of the 64 x 64 images. Averaging keeps the mean, but
    # Pillow rounds halves up, once along each axis: 0.5 / 255 in all.
    mean, std = data.channel_statistics(train.images)
    np.testing.assert_allclose(mean, [0.5023, 0.463, 0.4001], atol=2.5e-3)
    assert (std < [0.2658, 0.2588, 0.263]).all()
    first = data.load("tindogs", "train", data_dir=real_dir, limit=5)
    assert first.images.shape == (5, 64, 64, 3)
    np.testing.assert_array_equal(first.labels, train.labels[:5])


# Arguments of load, and what importing costs.


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"image_size": 0},
        {"image_size": (3, 4, 5)},
        {"image_size": 2.5},
        {"num_channels": 2},
        {"label_key": "coarse_label"},
    ],
)
def test_load_rejects_arguments(tmp_path, options):
    np.savez(tmp_path / "a.npz", images=pictures(0, 2), labels=[0, 1])
    with pytest.raises(ValueError, match=next(iter(options))):
        data.load(f"npz:{tmp_path}/a.npz", "train", **options)


def test_import_is_light():
    program = (
        "import sys, jtransfer.data; "
        "print({'tensorflow_datasets', 'PIL', 'flax', 'ott'} & set(sys.modules))"
    )
    run = [sys.executable, "-c", program]
    output = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert output.strip() == "set()"


def test_selections_keep_images_and_labels_together():
    images = pictures(0, 6)
    whole = data.Images(images, np.array([0, 1, 2, 0, 1, 2]), ("a", "b", "c"))
    some = data.examples_at(whole, [4, 0])
    np.testing.assert_array_equal(some.images, images[[4, 0]])
    np.testing.assert_array_equal(some.labels, [1, 0])
    two = data.examples_of(whole, [2, 0])
    np.testing.assert_array_equal(two.images, images[[0, 2, 3, 5]])
    np.testing.assert_array_equal(two.labels, [1, 0, 1, 0])
    assert two.class_names == ("c", "a")


# Batches.

sizes = st.sampled_from([(1, 4), (7, 3), (10, 5), (5, 16), (12, 1), (8, 8)])


@given(seeds, sizes, st.integers(0, 3))
def test_every_epoch_visits_each_example_once(seed, size, epoch):
    n, batch = size
    first, last = epoch * n, (epoch + 1) * n
    steps = range(first // batch, -(-last // batch))
    indices = np.concatenate(
        [data.batch_indices(seed, t, num_examples=n, batch_size=batch) for t in steps]
    )
    start = first - steps[0] * batch
    np.testing.assert_array_equal(np.sort(indices[start : start + n]), np.arange(n))


@given(seeds, sizes, st.integers(0, 40))
def test_batches_resume_at_any_step(seed, size, step):
    n, batch = size
    x = np.arange(n)
    iterated = list(
        data.batches((x, 2 * x), seed=seed, batch_size=batch, stop=step + 1)
    )
    assert len(iterated) == step + 1
    indices = data.batch_indices(seed, step, num_examples=n, batch_size=batch)
    assert indices.shape == (batch,)
    resumed = next(data.batches((x, 2 * x), seed=seed, batch_size=batch, start=step))
    for result in (iterated[-1], resumed):
        np.testing.assert_array_equal(result[0], indices)
        np.testing.assert_array_equal(result[1], 2 * indices)


def test_seeds_and_epochs_differ():
    orders = [
        data.batch_indices(seed, step, num_examples=50, batch_size=50).tolist()
        for seed in (0, 1)
        for step in (0, 1)
    ]
    assert len(set(map(tuple, orders))) == 4


@pytest.mark.parametrize(
    ("seed", "step", "num_examples", "batch_size"),
    [(0, 0, 0, 4), (0, 0, 4, 0), (0, -1, 4, 2), (-1, 0, 4, 2)],
)
def test_batch_indices_rejects(seed, step, num_examples, batch_size):
    with pytest.raises(ValueError, match="at least"):
        data.batch_indices(seed, step, num_examples=num_examples, batch_size=batch_size)


def test_batches_rejects_before_the_first_batch():
    with pytest.raises(ValueError, match="one length"):
        data.batches((np.ones(3), np.ones(4)), seed=0, batch_size=2)
    with pytest.raises(ValueError, match="at least"):
        data.batches((np.ones(3),), seed=0, batch_size=0)


@given(seeds, st.sampled_from([0.1, 0.25, 0.5, 0.9]))
def test_held_out_split_is_stratified(seed, fraction):
    labels = np.repeat([0, 1, 2, 3], [40, 20, 2, 1])
    labels = np.random.default_rng(seed).permutation(labels)
    train, held_out = data.held_out_split(labels, fraction=fraction, seed=seed)
    np.testing.assert_array_equal(np.sort(np.r_[train, held_out]), np.arange(63))
    counts = np.bincount(labels[held_out], minlength=4)
    np.testing.assert_array_equal(counts, [40 * fraction, 20 * fraction, 1, 0])
    again = data.held_out_split(labels, fraction=fraction, seed=seed)
    np.testing.assert_array_equal(again.held_out, held_out)


def test_held_out_split_rejects():
    with pytest.raises(ValueError, match="between 0 and 1"):
        data.held_out_split([0, 1], fraction=1, seed=0)
    assert "no class has two" in fault(
        data.held_out_split, [0, 1], fraction=0.5, seed=0
    )


# Normalisation and augmentation.


def test_normalized_against_the_definition():
    images = pictures(0, 5)
    scaled = images.astype(np.float64) / 255
    mean, std = data.channel_statistics(images)
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, scaled.std(axis=(0, 1, 2)), rtol=1e-6)
    result = data.normalized(images, mean=mean, std=std)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, (scaled - mean) / std, atol=1e-5)
    with jax.enable_x64(True):
        wide = mean.astype(np.float64), std.astype(np.float64)
        result = data.normalized(images, mean=wide[0], std=wide[1])
        assert result.dtype == jnp.float64
    np.testing.assert_allclose(result, (scaled - mean) / std, rtol=1e-12)


def test_a_constant_channel_is_only_centred():
    images = np.full((2, 3, 3, 2), 51, np.uint8)
    statistics = data.channel_statistics(images)
    np.testing.assert_array_equal(statistics.std, 0)
    result = data.normalized(images, **statistics._asdict())
    np.testing.assert_allclose(result, np.zeros(images.shape), atol=1e-7)


def shifted(image, row, column, mirrored, padding):
    """The definition, one image at a time."""
    height, width, channels = image.shape
    canvas = np.zeros((height + 2 * padding, width + 2 * padding, channels), int)
    canvas[padding : padding + height, padding : padding + width] = image
    window = canvas[row : row + height, column : column + width]
    return window[:, ::-1] if mirrored else window


def test_augmented_shifts_and_mirrors():
    padding = 2
    images = np.arange(1, 64 * 5 * 6 * 2 + 1, dtype=np.int32).reshape(64, 5, 6, 2)
    choices = [(r, c, m) for r in range(5) for c in range(5) for m in (False, True)]
    seen = set()
    for seed in range(8):
        result = data.augmented(jax.random.key(seed), images, padding=padding)
        assert result.dtype == images.dtype
        for before, after in zip(images, np.asarray(result), strict=True):
            fits = [
                choice
                for choice in choices
                if (shifted(before, *choice, padding) == after).all()
            ]
            assert len(fits) == 1
            seen.update(fits)
    assert seen == set(choices)


def test_augmented_depends_on_the_key_alone_and_compiles_once():
    images = pictures(0, 16)
    first = data.augmented(jax.random.key(0), images)
    traces = data.augmented._cache_size(), data.normalized._cache_size()
    np.testing.assert_array_equal(data.augmented(jax.random.key(0), images), first)
    assert (data.augmented(jax.random.key(1), images) != first).any()
    assert first.dtype == jnp.uint8
    for seed in range(2):
        mean, std = data.channel_statistics(pictures(seed, 16))
        data.normalized(images, mean=mean, std=std)
    assert data.augmented._cache_size() == traces[0]
    assert data.normalized._cache_size() <= traces[1] + 1
    mirrored = data.augmented(jax.random.key(0), images, padding=0)
    assert all(
        (new == old).all() or (new == old[:, ::-1]).all()
        for old, new in zip(images, np.asarray(mirrored), strict=True)
    )


def test_augmented_does_not_depend_on_sharding():
    if len(jax.devices()) < 8:
        pytest.skip("needs eight devices")
    images = pictures(0, 16)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("batch"))
    result = data.augmented(jax.random.key(0), jax.device_put(images, sharding))
    expected = data.augmented(jax.random.key(0), images)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: data.augmented(jax.random.key(0), np.ones((4, 4, 3))), ValueError),
        (
            lambda: data.augmented(jax.random.key(0), pictures(0, 1), padding=-1),
            ValueError,
        ),
        (
            lambda: data.normalized(pictures(0, 1), mean=np.ones(1), std=np.ones(3)),
            ValueError,
        ),
        (
            lambda: data.normalized(
                np.ones((1, 2, 2, 3)), mean=np.ones(3), std=np.ones(3)
            ),
            TypeError,
        ),
        (
            lambda: data.normalized(
                pictures(0, 1), mean=np.ones(3, int), std=np.ones(3)
            ),
            TypeError,
        ),
        (lambda: data.channel_statistics(np.ones((1, 2, 2, 3))), TypeError),
        (lambda: data.channel_statistics(pictures(0, 0)), ValueError),
    ],
    ids=["rank", "padding", "mean", "float", "integer mean", "float set", "empty"],
)
def test_preprocessing_rejects(call, error):
    with pytest.raises(error):
        call()


# Protocols.


@given(seeds)
def test_block_balanced_order(seed):
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1, 4], [3, 5, 4]))
    order = data.block_balanced_order(labels, seed=seed)
    np.testing.assert_array_equal(np.sort(order), np.arange(12))
    runs = np.sort(labels[order][:9].reshape(3, 3), axis=1)
    np.testing.assert_array_equal(runs, [[0, 1, 4]] * 3)
    np.testing.assert_array_equal(np.sort(labels[order][9:11]), [1, 4])
    again = data.block_balanced_order(labels, seed=seed)
    np.testing.assert_array_equal(again, order)


def test_block_balanced_order_is_random_inside_a_run():
    labels = np.arange(200) % 2
    order = data.block_balanced_order(labels, seed=0)
    starts = labels[order].reshape(-1, 2)[:, 0]
    assert 30 < starts.sum() < 70


def test_per_class_subsets_are_balanced_and_nested():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [9, 5, 7]))
    large, small = (
        data.per_class_subset(labels, per_class=k, num_classes=3, seed=3)
        for k in (5, 2)
    )
    np.testing.assert_array_equal(np.bincount(labels[large]), [5, 5, 5])
    np.testing.assert_array_equal(small, large[:6])
    assert len(set(large.tolist())) == 15
    other = data.per_class_subset(labels, per_class=2, num_classes=3, seed=4)
    assert set(other.tolist()) != set(small.tolist())


def test_per_class_subset_rejects():
    subset, labels = data.per_class_subset, [0, 0, 1]
    line = fault(subset, labels, per_class=2, num_classes=2, seed=0)
    assert "class 1 has 1 examples, per_class asks for 2" in line
    line = fault(subset, labels, per_class=1, num_classes=3, seed=0)
    assert "class 2 has 0 examples" in line
    with pytest.raises(ValueError, match="at least 1"):
        subset(labels, per_class=0, num_classes=2, seed=0)


def test_class_subset_by_hand():
    result = data.class_subset([3, 0, 1, 3, 2], [3, 1], num_classes=4)
    np.testing.assert_array_equal(result.indices, [0, 2, 3])
    np.testing.assert_array_equal(result.labels, [0, 1, 0])
    assert result.labels.dtype == np.int32


@pytest.mark.parametrize("classes", [[], [1, 1], [4], [-1], [0.5], [[1]]])
def test_class_subset_rejects(classes):
    with pytest.raises(ValueError, match="classes must"):
        data.class_subset([0, 1, 2, 3], classes, num_classes=4)


@pytest.mark.parametrize(
    ("num_classes", "size", "step", "overlaps"),
    [
        (100, 50, 10, [1, 0.8, 0.6, 0.4, 0.2, 0]),
        (200, 100, 25, [1, 0.75, 0.5, 0.25, 0]),
        (6, 4, 1, [1, 0.75, 0.5]),
        (5, 5, 1, [1]),
    ],
)
def test_sliding_windows_of_the_paper(num_classes, size, step, overlaps):
    windows = data.sliding_windows(num_classes, size=size, step=step, seed=1)
    assert windows.shape == (len(overlaps), size)
    result = [data.class_overlap(windows[0], window) for window in windows]
    np.testing.assert_allclose(result, overlaps)
    for before, after in zip(windows, windows[1:], strict=False):
        np.testing.assert_array_equal(before[step:], after[:-step])
    assert set(windows.ravel().tolist()) == set(range(num_classes))
    np.testing.assert_array_equal(
        windows, data.sliding_windows(num_classes, size=size, step=step, seed=1)
    )


@pytest.mark.parametrize(("size", "step"), [(0, 1), (11, 1), (4, 0), (4, 5)], ids=str)
def test_sliding_windows_rejects(size, step):
    with pytest.raises(ValueError, match="size must"):
        data.sliding_windows(10, size=size, step=step, seed=0)


def test_class_mixtures_by_hand():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(5), 12))
    animals, vehicles = [0, 1, 2], [3, 4]
    subsets = data.class_mixtures(labels, animals, vehicles, num_classes=5, seed=0)
    counts = [np.bincount(labels[s], minlength=5).tolist() for s in subsets]
    # 2 classes of 12 bound the subset of vehicles alone, and so all of them.
    assert counts == [
        [8, 8, 8, 0, 0],
        [6, 6, 6, 3, 3],
        [4, 4, 4, 6, 6],
        [2, 2, 2, 9, 9],
        [0, 0, 0, 12, 12],
    ]
    for small, large in zip(subsets, subsets[1:], strict=False):
        held = set(large.tolist())
        assert {i for i in small.tolist() if labels[i] >= 3} <= held
    smaller = data.class_mixtures(
        labels, animals, vehicles, num_classes=5, seed=0, num_examples=7
    )
    assert [len(set(s.tolist())) for s in smaller] == [7] * 5


@given(
    seeds,
    st.sampled_from([(1, 1), (2, 3), (3, 1)]),
    st.sampled_from([(0.0, 1.0), (0.1,), (0.3, 0.5), (0.02, 0.9)]),
)
def test_class_mixtures_are_the_largest(seed, groups, shares):
    a, b = groups
    counts = np.random.default_rng(seed).integers(1, 9, a + b)
    labels = np.repeat(np.arange(a + b), counts)
    first, second = np.arange(a + b)[:a], np.arange(a + b)[a:]
    room = a * counts[:a].min(), b * counts[a:].min()

    def fits(size):
        parts = [int(share * size + 0.5) for share in shares]
        return all(p <= room[1] and size - p <= room[0] for p in parts)

    largest = max((size for size in range(1, 2000) if fits(size)), default=0)
    arguments = {"second_shares": shares, "num_classes": a + b, "seed": seed}
    if largest == 0:
        fault(data.class_mixtures, labels, first, second, **arguments)
        return
    subsets = data.class_mixtures(labels, first, second, **arguments)
    assert [len(np.unique(subset)) for subset in subsets] == [largest] * len(shares)
    more = arguments | {"num_examples": largest + 1}
    assert "the largest have" in fault(
        data.class_mixtures, labels, first, second, **more
    )


@pytest.mark.parametrize(
    ("first", "second", "shares"),
    [([0], [0], (0, 1)), ([], [1], (0, 1)), ([0], [1], ()), ([0], [1], (1.5,))],
)
def test_class_mixtures_rejects(first, second, shares):
    with pytest.raises(ValueError, match="must"):
        data.class_mixtures(
            [0, 1], first, second, second_shares=shares, num_classes=2, seed=0
        )


# Synthetic tasks.


def test_rbf_task_is_the_one_of_the_paper():
    task = data.rbf_task(jax.random.key(0), num_examples=2000)
    assert task.inputs.shape == (2000, 50)
    assert task.targets.shape == (2000, 10)
    assert np.isfinite(task.targets).all()
    # Unit covariance plus that of ten centres, each entry of variance 1/12.
    variance = np.var(np.asarray(task.inputs), axis=0).mean()
    assert 1.0 < variance < 1 + 2 / 12
    # phi <= 1, so no target leaves 0.5 + 0.5 * 100.
    assert np.abs(task.targets).max() < 50.5
    again = data.rbf_task(jax.random.key(0), num_examples=2000)
    np.testing.assert_array_equal(again.targets, task.targets)


def test_rbf_task_is_a_sum_of_basis_functions():
    """Targets of n examples span at most num_centers + 1 dimensions."""
    with jax.enable_x64(True):
        task = data.rbf_task(
            jax.random.key(1), num_examples=40, num_outputs=30, num_centers=3
        )
        assert task.targets.dtype == jnp.float64
        assert np.linalg.matrix_rank(np.asarray(task.targets)) == 4


def test_rbf_task_rejects():
    with pytest.raises(ValueError, match="at least 1"):
        data.rbf_task(jax.random.key(0), num_examples=0)
