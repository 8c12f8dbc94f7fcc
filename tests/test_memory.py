"""Memory is known before the work; archives unpack no more than is asked for."""

import io
import os
import resource
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from jtransfer import data, ranking, zoo
from jtransfer._internal import memory
from jtransfer.ranking import task_scores, verification
from jtransfer.ranking.estimates import features as feature_estimates
from jtransfer.zoo import task_targets

METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


def write_system(root, meminfo, cgroup, files):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(meminfo)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, content in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


MEMINFO = "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 5000 kB\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("", {}, 5000 * 1024),
        (
            "0::/a/b\n",
            {
                "a/memory.max": "2000000\n",
                "a/memory.current": "1500000\n",
                "a/memory.stat": "anon 7\ninactive_file 300000\n",
                "a/b/memory.max": "max\n",
                "a/b/memory.current": "5\n",
            },
            800_000,
        ),
        # Inside a container the path is that outside.
        (
            "0::/../elsewhere\n",
            {"memory.max": "1000\n", "memory.current": "400\n"},
            600,
        ),
        (
            "9:cpu:/x\n4:memory:/x\n",
            {
                "memory/x/memory.limit_in_bytes": "1000000\n",
                "memory/x/memory.usage_in_bytes": "900000\n",
                "memory/x/memory.stat": "total_inactive_file 50000\n",
                "memory/memory.limit_in_bytes": f"{2**63 - 4096}\n",
                "memory/memory.usage_in_bytes": "900000\n",
            },
            150_000,
        ),
        ("0::/\n", {"memory.max": "10\n", "memory.current": "400\n"}, 0),
        ("0::/\n", {"memory.max": "none\n", "memory.current": "4\n"}, 5000 * 1024),
    ],
)
def test_the_least_of_machine_and_groups_counts(cgroup, files, expected, tmp_path):
    write_system(tmp_path, MEMINFO, cgroup, files)
    assert memory.available_memory(tmp_path) == expected
    fault = memory.memory_fault(expected + 1, tmp_path)
    assert fault.startswith("needs ")
    assert fault.endswith(" available")
    assert memory.memory_fault(expected, tmp_path) is None


def test_a_system_that_says_nothing_refuses_nothing(tmp_path):
    assert memory.available_memory(tmp_path) is None
    assert memory.memory_fault(10**18, tmp_path) is None


def test_the_limit_of_the_address_space_counts():
    code = (
        "import resource\n"
        "from jtransfer._internal import memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, resource.RLIM_INFINITY))\n"
        "print(memory.available_memory())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 0 < int(run.stdout) < 2**30
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_a_source_that_cannot_fit_is_a_row(monkeypatch):
    labels = np.arange(60) % 3
    target = zoo.labelled_target("t", labels, digest="")
    wide = np.random.default_rng(0).normal(size=(60, 20_000)).astype(np.float32)
    sources = [
        zoo.Source("wide", {}, features=lambda: wide),
        zoo.Source("narrow", {}, features=lambda: wide[:, :4]),
    ]
    free = 10**8
    monkeypatch.setattr(memory, "available_memory", lambda root: free)
    rows = ranking.rank(sources, target, ["logme"])
    (failed,) = [row for row in rows if row["source"] == "wide"]
    assert failed["reason"] == (
        "It needs 0.2 GB, 0.1 GB available: 20000 features and 3 classes; pool or "
        "project the features first."
    )
    assert any("value" in row for row in rows if row["source"] == "narrow")
    free = 10**4
    (failed,) = task_scores.task_rows(sources[0], [_task(labels)], seed=0)
    assert "needs 38.4 MB, 0.0 MB available" in failed.reason


def test_logits_whose_tables_or_plans_cannot_fit_cost_their_scores_only(monkeypatch):
    labels = np.arange(60) % 3
    target = zoo.labelled_target("t", labels, digest="")
    rng = np.random.default_rng(0)
    features, logits = rng.normal(size=(60, 4)), rng.normal(size=(60, 1000))
    source = zoo.Source("s", {}, features=lambda: features, logits=lambda: logits)
    free = 1_500_000
    monkeypatch.setattr(memory, "available_memory", lambda root: free)
    rows = ranking.rank([source], target, ["logme", "leep", "sinkhorn"])
    reasons = {row["score"]: row.get("reason") for row in rows if "score" in row}
    assert reasons["logme"] is None
    for score, what in (
        ("leep", "logits of 1000 classes"),
        ("sinkhorn", "plans of 60"),
    ):
        assert "MB available: " in reasons[score]
        assert what in reasons[score]


def _task(labels):
    return task_targets.TaskTarget("t", "labels", labels[:, None, None], 3)


def test_the_memory_of_statistics_grows_with_what_they_hold():
    few = feature_estimates.statistics_bytes(1000, 10, 2000)
    assert few >= 8 * 20 * 1000**2
    more_classes = feature_estimates.statistics_bytes(1000, 1000, 2000)
    assert more_classes - few >= 8 * 20 * 990 * 1000
    # No more examples than features: their products, in place of the features'.
    assert feature_estimates.statistics_bytes(10**5, 10, 500) < 10**10


# Archives.


def packed(path, method, content, *, declared=None):
    """An archive of one member, whose declared length may be a lie."""
    with zipfile.ZipFile(path, "w", METHODS[method]) as archive:
        archive.writestr("features.npy", content)
    if declared is None:
        return
    raw, length = path.read_bytes(), struct.pack("<I", len(content))
    # In the local header and in the directory, beside the packed length.
    assert raw.count(length) >= 2
    path.write_bytes(raw.replace(length, struct.pack("<I", declared)))


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_method_of_packing_is_read(method, order, tmp_path):
    array = (
        np.random.default_rng(0).normal(size=(500, 30)).astype(order=order, dtype="f4")
    )
    packed(tmp_path / "a.npz", method, npy(array))
    (held,) = data.npz_headers(tmp_path / "a.npz").items()
    assert (held[0], held[1].shape) == ("features", (500, 30))
    whole = data.npz_arrays(tmp_path / "a.npz", required=["features"])["features"]
    np.testing.assert_array_equal(whole, array)
    rows = list(data.npz_rows(tmp_path / "a.npz", "features", num_rows=7))
    np.testing.assert_array_equal(np.concatenate(rows), array)


@pytest.mark.parametrize("method", ["stored", "deflate", "bzip2", "lzma"])
def test_a_changed_byte_is_one_line(method, tmp_path):
    array = np.random.default_rng(0).normal(size=(500, 30))
    packed(tmp_path / "a.npz", method, npy(array))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(data.DataError, match="damaged") as caught:
        data.npz_arrays(tmp_path / "a.npz", required=["features"])
    assert "\n" not in str(caught.value)


BOMB = """
import resource, sys, time
from jtransfer import data
start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    data.npz_headers(sys.argv[1])
except data.DataError as error:
    print(error)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(round(peak / 1024), round(time.perf_counter() - start, 2))
"""


@pytest.mark.parametrize("method", ["deflate", "bzip2", "lzma"])
@pytest.mark.parametrize("lies", [False, True])
def test_a_bomb_costs_neither_memory_nor_time(method, lies, tmp_path):
    shape = (4_000_000 if lies else 40_000_000, 4)
    head = npy(np.zeros((0, 4), np.float32)).replace(
        b"(0, 4), }" + b" " * len(str(shape[0])), f"({shape[0]}, 4), }} ".encode()
    )
    content = bytes(8 * 10**7)
    packed(
        tmp_path / "bomb.npz", method, head + content, declared=200 if lies else None
    )
    command = [sys.executable, "-c", BOMB, tmp_path / "bomb.npz"]
    run = subprocess.run(command, capture_output=True, text=True)
    message, numbers = run.stdout.splitlines()
    assert ("damaged" if lies else "expands") in message
    megabytes, seconds = map(float, numbers.split())
    assert megabytes < 30
    assert seconds < 2


def test_an_array_larger_than_the_memory_is_one_line(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", labels=np.arange(10**5))
    monkeypatch.setattr(memory, "available_memory", lambda root: 1000)
    with pytest.raises(data.DataError, match=r"needs 0\.8 MB, 0\.0 MB available"):
        data.npz_arrays(tmp_path / "a.npz", required=["labels"])
    part = data.npz_arrays(
        tmp_path / "a.npz", required=["labels"], limits={"labels": 9}
    )
    assert len(part["labels"]) == 9


def test_lzma_that_asks_for_a_large_dictionary_is_refused(tmp_path):
    content = npy(np.zeros(10))
    packed(tmp_path / "a.npz", "lzma", content)
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    start = raw.index(b"features.npy") + len("features.npy")
    assert raw[start + 2 : start + 4] == b"\x05\x00"
    raw[start + 5 : start + 9] = struct.pack("<I", 2**32 - 1)
    (tmp_path / "a.npz").write_bytes(raw)
    with pytest.raises(data.DataError, match="bytes to look back"):
        data.npz_headers(tmp_path / "a.npz")


# Entries of a zoo that cannot be read.


def test_an_entry_that_cannot_be_read_is_one_row(tmp_path, monkeypatch):
    labels = np.arange(60) % 3
    features = np.random.default_rng(0).normal(size=(60, 4))
    np.savez(tmp_path / "good.npz", features=features)
    np.savez(tmp_path / "locked.npz", features=features)
    (tmp_path / "shards").mkdir()
    np.savez(tmp_path / "shards" / "0.npz", features=features)
    lock(monkeypatch, tmp_path / "locked.npz", tmp_path / "shards")
    target = zoo.labelled_target("t", labels, digest="")
    rows = ranking.rank(zoo.sources(str(tmp_path), target), target, ["logme"])
    reasons = {row["source"]: row["reason"] for row in rows if row.get("score") is None}
    assert set(reasons) == {"locked", "shards"}
    assert all("Permission denied" in reason for reason in reasons.values())
    assert any("value" in row for row in rows if row["source"] == "good")


def test_a_zoo_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    lock(monkeypatch, tmp_path)
    with pytest.raises(zoo.RequestError, match="cannot be read: Permission denied"):
        zoo.sources(str(tmp_path))


def lock(monkeypatch, *paths):
    """Takes the permissions of paths away, from root as well."""
    names = {os.fspath(path) for path in paths}

    def locked(path):
        path = os.fspath(path) if not isinstance(path, int) else ""
        folders = {name for name in names if path.startswith(f"{name}/")}
        return path in names or bool(folders)

    def guarded(original, itself=True):
        def call(path, *arguments, **keywords):
            own = not isinstance(path, int) and os.fspath(path) in names
            if locked(path) and (itself or not own):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return original(path, *arguments, **keywords)

        return call

    monkeypatch.setattr("io.open", guarded(io.open))
    monkeypatch.setattr("builtins.open", guarded(open))
    monkeypatch.setattr("os.listdir", guarded(os.listdir))
    monkeypatch.setattr("os.scandir", guarded(os.scandir))
    monkeypatch.setattr("os.stat", guarded(os.stat, itself=False))


def test_images_that_cannot_fit_are_one_line(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "0.png")
    monkeypatch.setattr(memory, "available_memory", lambda root: 300)
    options = {"cache_dir": tmp_path / "cache"}
    with pytest.raises(data.DataError, match=r"reading 2 images of 8x8 needs 0\.0 MB"):
        data.load(f"imagefolder:{tmp_path}", "train", **options)
    monkeypatch.setattr(memory, "available_memory", lambda root: 10**9)
    with pytest.raises(data.DataError, match="picture of 99999x99999 needs 90"):
        data.load(f"imagefolder:{tmp_path}", "train", image_size=99999, **options)


def test_a_head_that_cannot_be_trained_costs_the_check_only(monkeypatch):
    labels = np.arange(60) % 3
    rows = np.random.default_rng(0).normal(size=(60, 4))
    target = zoo.labelled_target("t", labels, digest="")
    monkeypatch.setattr(memory, "available_memory", lambda root: 1000)
    with pytest.raises(zoo.SourceError, match="needs .*available: 60 ex"):
        verification.head_accuracy(
            zoo.Source("s", {}, features=lambda: rows), target, seed=0
        )
