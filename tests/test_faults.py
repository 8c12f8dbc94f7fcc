"""Disks that are full, folders that cannot be written, signals, broken checkpoints."""

import errno
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import chex
import numpy as np
import pytest
import test_training
from commands import CACHE
from fuzz.calls import called, drafts, stored_rows, write_zoo
from fuzz.injector import Injector, raising

from jtransfer import training
from jtransfer._internal.errors import FileError
from jtransfer._internal.files import remove_leftovers, write_atomically
from jtransfer.data import cache
from jtransfer.training import _run_log
from jtransfer.transfer import _stored_rows

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """The arguments of a small ranking, whose programs are compiled."""
    return write_zoo(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def undisturbed(arguments, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    assert called(*arguments, "--out", out).code == 0
    return stored_rows(out)


def fault_lines(outcome):
    return [line for line in outcome.stderr.splitlines() if "jtransfer: " in line]


def number_of_call(arguments, out, name, word):
    """The number of the first call of a name whose path holds a word."""
    with Injector(out).installed() as injector:
        called(*arguments, "--out", out)
    numbered = enumerate(injector.calls, 1)
    return next(k for k, (call, path) in numbered if call == name and word in path)


# Files.


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EROFS, "file system that can be written"),
        (errno.EACCES, "change the permissions"),
    ],
)
@pytest.mark.parametrize("at", range(1, 6))
def test_a_failed_write_is_one_line_and_leaves_the_old_file(number, cure, at, tmp_path):
    file = tmp_path / "file"
    write_atomically(file, b"old")
    injector = Injector(tmp_path, raising(number), at=at)
    with injector.installed(), pytest.raises(FileError) as caught:
        write_atomically(file, b"new")
    message = str(caught.value)
    assert message.startswith(f"{file} cannot be written: ")
    assert os.strerror(number) in message
    assert cure in message
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_limit_of_sizes_of_files_is_one_line(tmp_path):
    code = (
        "import resource; from pathlib import Path\n"
        "from jtransfer._internal.files import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomically(Path('big'), bytes(5000))\n"
        "except ValueError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout == (
        "big cannot be written: File too large; raise the limit of a file's size "
        "(ulimit -f).\n"
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["ENOSPC", "EROFS", "EFBIG"])
def test_a_ranking_on_a_full_disk_shows_its_table(
    name, arguments, undisturbed, tmp_path
):
    out = tmp_path / "out"
    number = getattr(errno, name)
    first = number_of_call(arguments, tmp_path / "counted", "mkdir", "sources")
    injector = Injector(out, raising(number), at=first, lasting=True)
    with injector.installed():
        outcome = called(*arguments, "--out", out)
    assert outcome.code == 2
    assert outcome.stdout.index("strong") < outcome.stdout.index("weak")
    assert outcome.stderr.count("not kept") == 2
    (line,) = fault_lines(outcome)
    assert os.strerror(number) in line
    assert str(out) in line
    assert "2 more" in line
    assert not drafts(out)
    again = called(*arguments, "--out", out)
    assert again.code == 0
    assert stored_rows(out) == undisturbed


def test_a_disk_that_fills_up_half_way_keeps_what_was_finished(
    arguments, undisturbed, tmp_path
):
    out = tmp_path / "out"
    first = number_of_call(arguments, tmp_path / "counted", "replace", "sources")
    injector = Injector(out, raising(errno.ENOSPC), at=first + 1, lasting=True)
    with injector.installed():
        outcome = called(*arguments, "--out", out)
    assert outcome.code == 2
    assert outcome.stderr.count("not kept") == 1
    again = called(*arguments, "--out", out)
    assert (again.code, again.stderr.count("found finished")) == (0, 1)
    assert stored_rows(out) == undisturbed


@pytest.mark.parametrize("name", ["sources", "ranking.jsonl", "report.html"])
def test_an_entry_of_the_other_kind_costs_no_table(name, arguments, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    if name == "sources":
        (out / name).write_text("a file")
    else:
        (out / name).mkdir()
    outcome = called(*arguments, "--out", out)
    assert outcome.code == 2
    assert "strong" in outcome.stdout
    (line,) = fault_lines(outcome)
    assert f"{out / name} cannot be written" in line
    assert "move it away" in line
    assert not drafts(out)


@pytest.mark.parametrize("name", ["EACCES", "EROFS"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    name, arguments, tmp_path
):
    out = tmp_path / "out"
    injector = Injector(out, raising(getattr(errno, name)), at=1)
    with injector.installed():
        outcome = called(*arguments, "--out", out)
    assert outcome.code == 2
    assert outcome.stderr.count("\n") == 1
    assert f"--out is not writable: {out} cannot be written" in outcome.stderr


def test_report_shows_what_it_cannot_draw(arguments, tmp_path):
    called(*arguments, "--out", tmp_path)
    injector = Injector(tmp_path, raising(errno.EROFS), at=1, lasting=True)
    with injector.installed():
        outcome = called("report", tmp_path)
    assert outcome.code == 2
    assert "strong" in outcome.stdout
    (line,) = fault_lines(outcome)
    assert f"{tmp_path / 'report.html'} cannot be written" in line


def test_a_standard_output_that_is_full_is_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("This system has no /dev/full.")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "jtransfer", "--version"]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 2
    assert run.stderr == (
        "jtransfer: the standard output or a file cannot be read or written: No space "
        "left on device; free some space, or give another folder.\n"
    )


def test_a_long_name_in_letters_of_many_bytes_is_kept(tmp_path):
    from jtransfer.ranking import finished

    file = finished.finished_path(tmp_path, "\U0001d51e" * 100)
    assert len(file.name.encode()) <= 150
    finished.write_finished(tmp_path, "\U0001d51e" * 100, {}, finished.SourceResult([]))
    assert file.exists()


# Drafts of killed runs.


def ended_process():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_only_our_drafts_without_a_process_are_removed(tmp_path):
    here = f"{zlib.crc32(platform.node().encode()):08x}"
    gone, alive = ended_process(), os.getppid()
    removed = [
        f".ranking.jsonl.{here}-{gone}-abc_1234.part",
        f".x.{here}-{gone}-a.part",
    ]
    old = [f".a.00000000-{alive}-abc.part", f".b.{here}-{alive}-abc.part"]
    kept = [
        f".ranking.jsonl.{here}-{alive}-abcd1234.part",
        f".ranking.jsonl.{here}-{os.getpid()}-abcd1234.part",
        f".ranking.jsonl.00000000-{gone}-abcd1234.part",
        ".bashrc.original",
        ".hidden.part",
        "ranking.jsonl",
        f"ranking.jsonl.{here}-{gone}-abcd1234.part",
    ]
    for name in (*removed, *old, *kept):
        (tmp_path / name).write_text("x")
    (tmp_path / removed[1]).unlink()
    (tmp_path / removed[1]).mkdir()
    (tmp_path / removed[1] / "inside").write_text("x")
    for name in old:
        os.utime(tmp_path / name, (time.time() - 2e5,) * 2)
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
    remove_leftovers(tmp_path / "nowhere")


def test_a_rerun_removes_the_drafts_of_a_killed_ranking(arguments, tmp_path):
    called(*arguments, "--out", tmp_path)
    here, gone = f"{zlib.crc32(platform.node().encode()):08x}", ended_process()
    for folder in (tmp_path, tmp_path / "sources"):
        (folder / f".ranking.jsonl.{here}-{gone}-abcd1234.part").write_text("half")
    assert len(drafts(tmp_path)) == 2
    assert called(*arguments, "--out", tmp_path).code == 0
    assert not drafts(tmp_path)


# Signals.

WAITING = """
import signal, sys, time, threading
# Whoever runs tests in the background may have them ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from jtransfer import cli
def busy(*arguments):
    print("ready", flush=True)
    {busy}
cli._code_of_command = busy
sys.argv = ["jtransfer"]
cli.program()
"""
PLACES = {
    "work": "time.sleep(30)",
    "a finaliser": (
        "class A:\n"
        "        def __del__(self): print('ready', flush=True); time.sleep(30)\n"
        "    A(); time.sleep(30)"
    ),
    "an error of its own making": (
        "try: time.sleep(30)\n    except BaseException: raise ImportError('numpy')"
    ),
    "the end": "import atexit; atexit.register(time.sleep, 30); return 0",
    "a thread that is waited for": (
        "threading.Thread(target=time.sleep, args=(30,)).start(); return 0"
    ),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", PLACES)
def test_a_signal_is_one_line(number, place):
    command = [sys.executable, "-c", WAITING.format(busy=PLACES[place])]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped by SIGTERM"}[number]
    assert errors == f"jtransfer: {word}; a rerun with the same folder continues.\n"
    assert process.returncode == 128 + number


@pytest.mark.parametrize("delay", [0.1, 0.7, 1.5])
def test_a_signal_during_imports_and_work(delay, tmp_path):
    # Many seconds of work, of which the signal leaves little.
    (tmp_path / "zoo").mkdir()
    features = np.random.default_rng(0).normal(size=(1500, 1500))
    np.savez(tmp_path / "zoo" / "wide.npz", features=features)
    np.savez(tmp_path / "target.npz", labels=np.arange(1500) % 3)
    request = ("rank", "--target", "target.npz", "--zoo", "zoo")
    command = [sys.executable, "-m", "jtransfer", *request]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(CACHE)}
    with subprocess.Popen(
        [*command, "--out", "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    ) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in (143, -signal.SIGTERM)
    assert "Traceback" not in errors
    assert not re.search("Error|Exception", errors)
    assert not drafts(tmp_path / "out")


def test_main_gives_the_handlers_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    hooks = sys.unraisablehook
    assert called("--version").code == 0
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert (after, sys.unraisablehook) == (before, hooks)


# Checkpoints.


def steps_in(folder):
    return sorted(int(place.name) for place in (folder / "checkpoints").iterdir())


def broken(file, how):
    content = bytearray(file.read_bytes())
    if how == "gone":
        file.unlink()
    elif how == "short":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)


@pytest.fixture(scope="module")
def cut_run(tmp_path_factory):
    """A run of 7 steps with checkpoints at 6 and 7, and the end of one of 8."""
    folder = tmp_path_factory.mktemp("run")
    test_training.resumable(folder / "cut", 7)
    return folder / "cut", test_training.resumable(folder / "whole", 8)


@pytest.mark.parametrize("how", ["gone", "short", "changed"])
@pytest.mark.parametrize("part", ["variables/d/*", "facts/metadata", "checksums.json"])
def test_a_broken_checkpoint_falls_back_to_the_one_before(
    how, part, cut_run, tmp_path, capfd
):
    cut, whole = cut_run
    shutil.copytree(cut, tmp_path / "run")
    assert steps_in(tmp_path / "run") == [6, 7]
    for file in (tmp_path / "run" / "checkpoints" / "7").glob(part):
        broken(file, how)
    resumed = test_training.resumable(tmp_path / "run", 8, progress=True)
    chex.assert_trees_all_equal(resumed.state, whole.state)
    assert test_training.logged(tmp_path / "run") == resumed.history
    errors = capfd.readouterr().err
    assert "Traceback" not in errors
    if (part, how) != ("checksums.json", "gone"):  # Then it is taken for whole.
        assert "checkpoint 7 is broken" in errors
        assert "goes on from checkpoint 6" in errors


def test_a_run_without_a_whole_checkpoint_begins_anew(cut_run, tmp_path, capfd):
    cut, whole = cut_run
    shutil.copytree(cut, tmp_path / "run")
    for place in (tmp_path / "run" / "checkpoints").iterdir():
        (place / "facts" / "metadata").write_text("{")
    with pytest.raises(ValueError, match="holds broken checkpoints only"):
        training.saved_variables(tmp_path / "run")
    resumed = test_training.resumable(tmp_path / "run", 8, progress=True)
    chex.assert_trees_all_equal(resumed.state, whole.state)
    assert test_training.steps_of(resumed.history) == list(range(1, 9))
    assert "no checkpoint is whole; the run begins anew" in capfd.readouterr().err


def test_the_best_checkpoint_of_the_one_before_stays(tmp_path):
    scores = iter([0.5, 0.1, 0.9, 0.2])
    validation = training.Validation(
        evaluate=lambda variables: {"accuracy": next(scores)}, every=2
    )
    test_training.resumable(tmp_path, 6, validation=validation)
    # 6 is the last and the best; 4 is the one before, whose best is 2.
    assert {2, 6} <= set(steps_in(tmp_path))
    (tmp_path / "checkpoints" / "6" / "facts" / "metadata").write_text("{")
    resumed = test_training.resumable(tmp_path, 6, validation=validation)
    assert resumed.best_step == 2
    chex.assert_trees_all_equal(
        training.saved_variables(tmp_path).params, resumed.best.params
    )


def test_a_log_on_a_full_disk_is_one_line(tmp_path):
    file = tmp_path / "log.jsonl"
    injector = Injector(tmp_path, raising(errno.ENOSPC), at=3)
    with injector.installed(), _run_log.recorder(tmp_path, []) as record:
        record([{"step": 1}])
        with pytest.raises(FileError, match=r"log\.jsonl cannot be written: No sp"):
            record([{"step": 2, "loss": 0.25}])
    assert _run_log.rows_until(tmp_path, 9) == [{"step": 1}]
    assert file.read_text() == '{"step": 1}\n'


def test_a_full_disk_ends_training_in_one_line_before_orbax_meets_it(
    tmp_path, monkeypatch
):
    def full(handle, start, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    test_training.resumable(tmp_path / "cut", 6)
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(FileError, match="checkpoints cannot be written: No space"):
            test_training.resumable(tmp_path / "cut", 8)
    assert steps_in(tmp_path / "cut") == [3, 6]
    resumed = test_training.resumable(tmp_path / "cut", 8)
    whole = test_training.resumable(tmp_path / "whole", 8)
    chex.assert_trees_all_equal(resumed.state, whole.state)


def test_stored_rows_go_on_after_any_failed_write(tmp_path):
    def stored(folder):
        return _stored_rows.store_rows(
            lambda start, stop: {"x": np.arange(start, stop)},
            folder,
            key={"a": 1},
            num_rows=10,
            batch_size=4,
            progress=False,
        )["x"]

    with Injector(tmp_path / "counted").installed() as counted:
        stored(tmp_path / "counted")
    assert len(counted.calls) > 10
    for k in range(1, len(counted.calls) + 1):
        folder = tmp_path / str(k)
        injector = Injector(folder, raising(errno.ENOSPC), at=k)
        with injector.installed(), pytest.raises(FileError, match="cannot be written"):
            stored(folder)
        np.testing.assert_array_equal(stored(folder), np.arange(10))
        assert not drafts(folder)


def test_a_cache_of_images_that_cannot_be_kept_leaves_nothing(tmp_path):
    decoded = cache.Decoded(
        np.zeros((2, 1, 1, 3), np.uint8),
        {"label": np.zeros(2, np.int32)},
        {"label": ("a",)},
    )
    options = {"name": "set", "key": 1, "limit": None, "cache_dir": tmp_path}
    here, gone = f"{zlib.crc32(platform.node().encode()):08x}", ended_process()
    (tmp_path / f".set.{here}-{gone}-abc.part").mkdir()
    injector = Injector(tmp_path, raising(errno.ENOSPC), at=4)
    with injector.installed(), pytest.warns(UserWarning, match="cannot keep decoded"):
        cache.cached(lambda limit: decoded, **options)
    assert os.listdir(tmp_path) == []
    cache.cached(lambda limit: decoded, **options)
    assert len(os.listdir(tmp_path)) == 1


def test_tasks_are_shown_where_they_cannot_be_kept(arguments, tmp_path):
    _, _, target, _, zoo = arguments
    command = ["tasks", "--targets", target, "--zoo", zoo, "--out", tmp_path / "out"]
    assert called(*command).code == 0
    for name in ("tasks.json", "tasks.csv", "tasks.html"):
        (tmp_path / "out" / name).unlink()
        (tmp_path / "out" / name).mkdir()
        outcome = called(*command)
        assert outcome.code == 2
        assert "strong" in outcome.stdout
        (line,) = fault_lines(outcome)
        assert f"{tmp_path / 'out' / name} cannot be written" in line
        (tmp_path / "out" / name).rmdir()
        assert called(*command).code == 0
