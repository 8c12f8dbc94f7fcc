"""Hostile inputs of each kind that the command line reads."""

import copy
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from fuzz.cases import PAYLOAD, Case

SEEDS = Path(__file__).parent / "seeds"
NUMBERS = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([2**31, 2**63, -(2**63), 10**30, 2**64 - 1]),
    st.floats(),
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "",
            "[/b]",
            "[red]",
            "<script>",
            "../x",
            "\x00",
            "\u2028",
            "a" * 300,
            "{{7*7}}",
        ]
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)


class Payload:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        """Returns the call that is made then."""
        return os.mkdir, (PAYLOAD,)


# Arrays and archives.


@st.composite
def arrays(draw, *, of_labels: bool) -> np.ndarray:
    """An array that is wrong in dtype, shape or numbers, or right now and then."""
    shapes = [(60,), (60, 1)] if of_labels else [(60, 4), (60, 4, 1)]
    others = [(), (0,), (0, 4), (59, 4), (60, 0), (61,), (1, 60), (4, 60), (2, 0, 3)]
    shape = draw(st.sampled_from([*shapes, *shapes, *others]))
    others = ["<f2", "<i8", "|u1", "|b1", "<c16", "<U3", "|S2", "<M8[s]", ">f8", "<f4"]
    right = ["<i8", "|u1", "<U3", ">i4"] if of_labels else ["<f4", ">f8"]
    dtype = draw(st.sampled_from([*right, *right, *others]))
    rng = np.random.default_rng(draw(st.integers(0, 3)))
    numbers = rng.integers(0, 3, shape) if of_labels else rng.normal(size=shape)
    array = np.asarray(numbers)
    if array.size and array.dtype.kind == "f":
        odd = draw(st.sampled_from([0, np.nan, np.inf, -np.inf, 1e300, 1e-320, 1e38]))
        array.flat[draw(st.integers(0, array.size - 1))] = odd
        with np.errstate(all="ignore"):
            array = array * draw(st.sampled_from([1, 0, 1e20, 1e-30]))
    if array.size and array.dtype.kind == "i":
        odd = draw(st.sampled_from([0, 1, 2, 0, -1, 7, 2**40, -(2**63)]))
        array.flat[draw(st.integers(0, array.size - 1))] = odd
    with np.errstate(all="ignore"):
        array = array.astype(dtype)
    return np.asfortranarray(array) if draw(st.booleans()) else array


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    """The bytes of an `.npy` file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


HEADERS = st.one_of(
    st.text(max_size=40),
    st.builds(
        "{{'descr': {!r}, 'fortran_order': {!r}, 'shape': {}, }}".format,
        st.sampled_from(["<f4", "|O", "<f8", "", "<U9999999", "V0", [("a", "<f4")], 3]),
        st.sampled_from([True, False, 1, None]),
        st.sampled_from(
            ["(60, 4)", "(-1, 4)", "(10**12,)", "(1, 2**63)", "60", "(60, 4.0)", "()",
             "(60, True)", "(0, 10**30)", "(" * 300, "(60, 4), 'shape': (1,)"]
        ),
    ),
)  # fmt: skip


@st.composite
def raw_npy(draw, *, of_labels: bool) -> bytes:
    """A member: an array, a pickle, a hostile header, or noise."""
    others = ["pickle", "header", "noise", "cut"]
    how = draw(st.sampled_from([*["array"] * 6, *others]))
    if how == "pickle":
        content = np.empty(3, object)
        content[:] = [Payload(), None, 1]
        return npy(content, allow_pickle=True)
    if how == "noise":
        return draw(st.binary(max_size=80))
    if how == "header":
        head = draw(HEADERS).encode("latin1", "replace") + b"\n"
        version = draw(
            st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09"])
        )
        length = draw(st.sampled_from([len(head), 0, 65535, len(head) + 5]))
        packed = struct.pack("<H" if version[:1] == b"\x01" else "<I", length)
        body = draw(st.sampled_from([b"", bytes(960), bytes(480)]))
        return b"\x93NUMPY" + version + packed + head + body
    content = npy(draw(arrays(of_labels=of_labels)))
    if how == "cut":
        return content[: draw(st.integers(0, len(content)))]
    return content


METHODS = [
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
    zipfile.ZIP_LZMA,
]


@st.composite
def archives(draw, *names: str, of_labels: bool) -> bytes:
    """An `.npz` file with some of the arrays, damaged now and then."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", draw(st.sampled_from(METHODS))) as archive:
        for name in draw(st.lists(st.sampled_from(names), unique=True)) or names[:1]:
            archive.writestr(f"{name}.npy", draw(raw_npy(of_labels=of_labels)))
        if draw(st.integers(0, 5)) == 0:
            archive.writestr("bomb.npy", bytes(2**20))
        if draw(st.integers(0, 9)) == 0:
            member = draw(st.text(max_size=9)).partition("\0")[0]  # As zipfile cuts it.
            archive.writestr(member or "x", b"")
    return draw(damaged(stream.getvalue()))


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """Bytes as they are, cut, or with some of them changed."""
    how = draw(st.sampled_from(["whole", "whole", "cut", "changed", "more", "none"]))
    if how == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if how == "changed" and content:
        changed = bytearray(content)
        for _ in range(draw(st.integers(1, 3))):
            changed[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
        return bytes(changed)
    if how == "more":
        return draw(st.binary(max_size=9)) + content + draw(st.binary(max_size=9))
    return b"" if how == "none" else content


RANK = ["rank", "--target", "target.npz", "--scores", "logme", "--zoo"]


@st.composite
def source_cases(draw) -> Case:
    """A source beside a good one."""
    if draw(st.integers(0, 3)) == 0:
        name, content = "zoo/bad.npy", draw(raw_npy(of_labels=False))
    else:
        names = ("features", "logits", "test_features", "classifier")
        name = draw(st.sampled_from(["zoo/bad.npz", "zoo/bad/1.npz"]))
        content = draw(archives(*names, of_labels=False))
    out = draw(st.sampled_from([[], ["--out", "out"], ["--verify"], ["--json"]]))
    return Case("sources", {name: content}, [*RANK, "zoo", *out])


@st.composite
def target_cases(draw) -> Case:
    """A target for a zoo that has no source for it."""
    names = ("labels", "class_names", "test_labels", "values", "label_maps")
    content = draw(archives(*names, of_labels=True))
    arguments = draw(
        st.sampled_from(
            [
                ["rank", "--target", "t.npz", "--zoo", "faulty"],
                ["rank", "--target", "t.npz", "--zoo", "faulty", "--verify"],
                ["rank", "--target", "npz:t.npz", "--zoo", "faulty"],
                ["tasks", "--targets", "t.npz", "--zoo", "faulty"],
                ["tasks", "--targets", "target.npz", "t.npz", "--zoo", "faulty"],
            ]
        )
    )
    return Case("targets", {"t.npz": content}, arguments)


# Texts.


@st.composite
def zoo_cases(draw) -> Case:
    """A zoo as TOML, of tables with odd values."""
    values = st.one_of(
        st.sampled_from(
            ['"zoo/good.npz"', '"."', '"/"', '""', '"~nobody/x"', '"\\u0000"', '"zoo"',
             "1", "nan", "[1, 2]", "{a = 1}", "1979-05-27", "true",
             '"' + "a" * 300 + '"']
        ),
        st.text(max_size=5).map(json.dumps),
        NUMBERS.map(str),
    )  # fmt: skip
    keys = st.sampled_from(
        [
            "name",
            "path",
            "path",
            "parameters",
            "accuracy",
            "source_accuracy",
            "x",
            '"[b]"',
        ]
    )
    lines = draw(
        st.lists(
            st.one_of(
                st.just("[[source]]"),
                st.just('[[source]]\npath = "zoo/good.npz"'),
                st.builds("{} = {}".format, keys, values),
                st.text(max_size=6),
            ),
            max_size=8,
        )
    )
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    return Case("zoos", {"z.toml": draw(damaged(content))}, [*RANK, "z.toml"])


@st.composite
def mutated(draw, value):
    """A JSON value with some of its parts replaced, left out or doubled."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        parent, key = None, None
        inner = value
        while isinstance(inner, dict | list) and inner and draw(st.integers(0, 4)):
            parent = inner
            keys = sorted(inner) if isinstance(inner, dict) else range(len(inner))
            key = draw(st.sampled_from(keys))
            inner = inner[key]
        if parent is None:
            continue
        if draw(st.integers(0, 3)) == 0:
            del parent[key]
        else:
            parent[key] = draw(VALUES)
    return value


@st.composite
def result_cases(draw) -> Case:
    """A folder of results, as `report` reads it."""
    name = draw(st.sampled_from(["ranking.jsonl", "pair.json", "tasks.json"]))
    lines = (SEEDS / name).read_text().splitlines()
    how = draw(st.sampled_from(["mutated", "mutated", "values", "damaged"]))
    if how == "damaged":
        content = draw(damaged("\n".join(lines).encode()))
    else:
        texts = []
        for line in lines[: draw(st.integers(1, len(lines)))]:
            new = draw(VALUES if how == "values" else mutated(json.loads(line)))
            texts.append(json.dumps(new))
        content = "\n".join(texts).encode("utf-8", "surrogatepass")
    return Case("results", {f"r/{name}": content}, ["report", "r"])


@st.composite
def second_cases(draw) -> Case:
    """Another ranking of tasks, as CSV or JSON."""
    if draw(st.booleans()):
        value = draw(
            st.one_of(VALUES, mutated({"target": {"good": 1.0}, "x": {"good": 2}}))
        )
        files = {"s.json": json.dumps(value).encode("utf-8", "surrogatepass")}
    else:
        words = st.sampled_from(
            ["target", "good", "1", "-1", "nan", "", '"', "x", "1e9"]
        )
        rows = draw(st.lists(st.lists(words, max_size=4), max_size=4))
        text = "\n".join(",".join(row) for row in rows)
        files = {"s.csv": draw(damaged(text.encode()))}
    arguments = ["tasks", "--targets", "target.npz", "--zoo", "zoo", "--second"]
    return Case("seconds", files, [*arguments, *files])


# Networks and images.

NETWORK = {
    "architecture": {
        "model": "lenet",
        "num_classes": 2,
        "num_channels": 3,
        "image_size": 32,
        "base_width": None,
    },
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
    "class_names": ["a", "b"],
    "facts": {"source": "x"},
}


@st.composite
def network_cases(draw) -> Case:
    """The folder of a network, without its weights or with wrong ones."""
    described = draw(st.one_of(mutated(NETWORK), VALUES))
    content = draw(damaged(json.dumps(described).encode("utf-8", "surrogatepass")))
    files = {"net/network.json": content}
    if draw(st.booleans()):
        names = ("params/classifier/kernel", "x", "stats")
        files["net/variables.npz"] = draw(archives(*names, of_labels=False))
    arguments = draw(
        st.sampled_from(
            [
                ["extract", "--source", "net", "--data", "npz:none", "--out", "o.npz"],
                ["pair", "net", "net", "--data", "npz:none"],
                ["rank", "--target", "target.npz", "--zoo", "net"],
                ["distill", "lwf", "--teacher", "net", "--student", "lenet", "--data",
                 "npz:none", "--out", "o"],
            ]
        )
    )  # fmt: skip
    return Case("networks", files, arguments)


@st.composite
def pictures(draw) -> bytes:
    """A picture, damaged now and then, or something else with its name."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.one_of(st.binary(max_size=60), st.just(pickle.dumps(Payload()))))
    mode = draw(st.sampled_from(["RGB", "L", "RGBA", "P", "1", "I", "F", "CMYK", "LA"]))
    size = draw(st.sampled_from([(8, 8), (8, 9), (1, 1), (8, 1)]))
    kinds = [kind for kind, modes in _KINDS.items() if mode in modes]
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, draw(st.sampled_from(kinds)))
    return draw(damaged(stream.getvalue()))


_KINDS = {
    "PNG": ("RGB", "L", "RGBA", "P", "1", "LA"),
    "BMP": ("RGB", "L", "P", "1"),
    "GIF": ("RGB", "L", "P", "1", "RGBA", "LA"),
    "TIFF": ("RGB", "L", "RGBA", "P", "1", "I", "F", "CMYK", "LA"),
    "JPEG": ("RGB", "L", "1", "CMYK"),
}


@st.composite
def picture_cases(draw) -> Case:
    """A folder of pictures as the target of an empty zoo."""
    folders = st.sampled_from(["a", "b", "train/a", "train/b", "test/a", "val/b", ".c"])
    names = st.sampled_from(["0.png", "1.PNG", "2.jpg", "3.gif", "4.tif", "5.txt", "6"])
    files = {
        f"set/{folder}/{name}": draw(pictures())
        for folder, name in draw(
            st.lists(st.tuples(folders, names), min_size=1, max_size=5, unique=True)
        )
    }
    if draw(st.booleans()):
        split = draw(st.sampled_from(["", "train/"]))
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, "PNG")
        files |= {f"set/{split}{name}/9.png": stream.getvalue() for name in "ab"}
    size = draw(st.sampled_from([[], ["--image-size", "8"], ["--image-size", "1"]]))
    arguments = ["rank", "--target", "imagefolder:set", "--zoo", "nothing", *size]
    return Case("pictures", files, arguments)


@st.composite
def image_archive_cases(draw) -> Case:
    """An archive of images as the target of an empty zoo."""
    names = ("images", "labels", "test_images", "test_labels", "class_names")
    stream = io.BytesIO()
    members = {"images": np.zeros((6, 8, 8, 3), np.uint8), "labels": np.arange(6) % 2}
    np.savez(stream, **members)
    content = draw(
        st.one_of(archives(*names, of_labels=True), damaged(stream.getvalue()))
    )
    arguments = ["rank", "--target", "npz:i.npz", "--zoo", "nothing"]
    return Case("images", {"i.npz": content}, arguments)


# Options.

FLAGS = [
    *("--target", "--zoo", "--scores", "--verify", "--fine-tune", "--layers", "--out"),
    *("--json", "--seed", "--per-class", "--num-test", "--data", "--data-dir"),
    *("--reference", "--num-examples", "--image-size", "--model", "--classes"),
    *("--epochs", "--batch-size", "--learning-rate", "--width", "--preset"),
    *("--limit", "--num-images", "--levels", "--side", "--second", "--targets"),
    *("--source", "--layer", "--split", "--teacher", "--student", "--help", "--x"),
]
WORDS = st.one_of(
    st.sampled_from(
        ["0", "-1", "1", "7", "1e3", "nan", "inf", "None", "", "target.npz", "faulty",
         "nowhere", "npz:nowhere", "imagefolder:nowhere", "imagefolder:.", "npz:.",
         "~x", "logme", "cifar10:x", "vgg4", "wrn-0-0", "wrn-16-99", "resnet18",
         "mnist", "mobilenet-x", "fully_connected", "0-9", "9-0", "a=b", "--", "-", "*",
         "[", "imagenet:x", "x" * 300, "own", "cpu", "paper", "True", "train"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
            max_size=5),
)  # fmt: skip
STARTS = [
    ["rank", "--target", "target.npz", "--zoo", "faulty"],
    ["train", "--data", "npz:nowhere"],
    ["distill"],
    ["distill", "sinkhorn", "--data", "npz:nowhere"],
    ["distill", "lwf", "--teacher", "nowhere"],
    ["select", "--zoo", "nowhere", "--target", "npz:nowhere"],
    ["extract", "--source", "nowhere"],
    ["pair", "nowhere", "mnist"],
    ["tasks", "--zoo", "faulty", "--targets", "target.npz"],
    ["report"],
    ["nonsense"],
    [],
]


@st.composite
def option_cases(draw) -> Case:
    """A command with options that may fit it, twice, wrongly or not at all."""
    arguments = list(draw(st.sampled_from(STARTS)))
    for _ in range(draw(st.integers(0, 4))):
        flag = draw(st.sampled_from(FLAGS))
        value = draw(WORDS)
        joined = draw(st.integers(0, 4)) == 0
        arguments += [f"{flag}={value}"] if joined else [flag, value]
        if draw(st.integers(0, 3)) == 0:
            arguments.append(draw(WORDS))
    if arguments[:1] == ["rank"]:
        # Last, so that no option leads to the zoo inside the package.
        arguments += ["--target", "target.npz", "--zoo", "faulty"]
    return Case("options", {}, arguments)


KINDS = {
    "sources": (source_cases, 20),
    "targets": (target_cases, 15),
    "zoos": (zoo_cases, 12),
    "results": (result_cases, 15),
    "seconds": (second_cases, 6),
    "networks": (network_cases, 10),
    "pictures": (picture_cases, 8),
    "images": (image_archive_cases, 6),
    "options": (option_cases, 8),
}
"""Strategies, and how many of a hundred inputs are of each kind."""
