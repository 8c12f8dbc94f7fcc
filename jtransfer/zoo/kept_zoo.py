"""Features of sources as a folder that is a zoo, to be ranked where no model is."""

import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import SourceError
from jtransfer._internal.files import (
    file_faults,
    make_folder,
    write_atomically,
    write_text_atomically,
)
from jtransfer.zoo._source_types import Source, pieces
from jtransfer.zoo._targets import Target

SHARD_ROWS = 4096


def write_zoo(
    sources: Iterable[Source],
    target: Target,
    folder: Path,
    *,
    announce: Callable[[str, str], None] = lambda name, outcome: None,
) -> dict[str, str]:
    """Writes features, logits and facts of sources, and the labels they are for.

    Args:
      sources: the zoo.
      target: its labelled examples.
      folder: takes a folder of `.npz` shards a source, `zoo.toml` that names them and
        holds their facts, and `labels.npz`: what `jtransfer rank` is to be given.
      announce: called with each source's name and how it went.

    Returns:
      Why sources failed, by their names; these are not in the zoo.

    Raises:
      FileError: if it cannot be written.

    Example:
      >>> import tempfile
      >>> from jtransfer import zoo
      >>> target = zoo.labelled_target("t", np.array([0, 1, 0, 1]), digest="")
      >>> source = zoo.Source("a", {}, features=lambda: np.ones((4, 2)))
      >>> with tempfile.TemporaryDirectory() as name:
      ...     failed = write_zoo([source], target, Path(name))
      ...     [s.name for s in zoo.sources(f"{name}/zoo.toml")]
      ['a']
    """
    make_folder(folder)
    with file_faults(folder):  # Sources that lie there are for other labels.
        (folder / "zoo.toml").unlink(missing_ok=True)
    _write_arrays(folder / "labels.npz", _labels(target))
    places: dict[str, str] = {}
    failures: dict[str, str] = {}
    tables = []
    for source in sources:
        place = _free_name(source.name, set(places.values()))
        try:
            count = _write_shards(source, folder / place)
        except SourceError as error:
            failures[source.name] = str(error)
            announce(source.name, f"failed: {error}")
            continue
        places[source.name] = place
        announce(source.name, f"{count} examples")
        tables.append(_table(source, place))
        # After each: what is there may be ranked at any time.
        write_text_atomically(folder / "zoo.toml", "\n".join(tables))
    return failures


def _labels(target: Target) -> dict[str, np.ndarray]:
    arrays = {"labels": target.labels, "class_names": np.array(target.class_names)}
    if target.test_labels is not None:
        arrays["test_labels"] = target.test_labels
    if target.groups is not None:
        arrays["groups"] = target.groups
    return arrays


def _write_shards(source: Source, folder: Path) -> int:
    features = _in_shards(source.features)
    first = next(features)
    logits = _optional_shards(source.logits)
    test = _whole(source.test_features)
    matrices = {
        name: matrix
        for name, value in (
            ("classifier", source.head),
            ("class_centers", source.centers),
        )
        if (matrix := _optional(value)) is not None
    }
    taught = _optional_shards(source.student_logits)
    make_folder(folder)
    number = count = 0
    while first is not None:
        arrays = {"features": first, **matrices}
        if logits is not None:
            arrays["logits"] = next(logits)
        if taught is not None:
            arrays["student_logits"] = next(taught)
        if test is not None:  # All in the first shard.
            arrays["test_features"] = test if number == 0 else test[:0]
        _write_arrays(folder / f"part-{number:05d}.npz", arrays)
        number, count = number + 1, count + len(first)
        first = next(features, None)
    for file in folder.glob("part-*.npz"):  # Of a longer zoo that was here before.
        if int(file.stem.removeprefix("part-")) >= number:
            file.unlink()
    return count


def _in_shards(rows: Callable) -> Iterator[np.ndarray]:
    """Rows of a source, so many at a time."""
    held, count = [], 0
    for piece in pieces(rows):
        while len(piece):
            part = piece[: SHARD_ROWS - count]
            held.append(part)
            count, piece = count + len(part), piece[len(part) :]
            if count == SHARD_ROWS:
                yield np.concatenate(held)
                held, count = [], 0
    if held:
        yield np.concatenate(held)


def _optional_shards(rows: Callable | None) -> Iterator[np.ndarray] | None:
    """The same of what a source may lack."""
    if rows is None:
        return None
    shards = _in_shards(rows)
    try:
        first = next(shards)
    except (SourceError, StopIteration):
        return None

    def joined():
        yield first
        yield from shards

    return joined()


def _whole(rows: Callable | None) -> np.ndarray | None:
    if rows is None:
        return None
    return np.concatenate(list(pieces(rows)))


def _optional(value: Callable | None) -> np.ndarray | None:
    try:
        matrix = None if value is None else value()
    except SourceError:
        return None
    return None if matrix is None else np.asarray(matrix)


def _write_arrays(file: Path, arrays: dict[str, np.ndarray]) -> None:
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    write_atomically(file, stored.getvalue())


def _free_name(name: str, taken: set[str]) -> str:
    """A name for a folder, that no other source has."""
    plain = re.sub(r"[^\w.@-]+", "_", name, flags=re.ASCII).lstrip(".")[:80]
    plain = plain or "source"
    number, free = 1, plain
    while free in taken or free in ("labels.npz", "zoo.toml"):
        number += 1
        free = f"{plain}-{number}"
    return free


def _table(source: Source, place: str) -> str:
    """The source in a zoo file, with those of its facts that TOML has."""
    facts = {"name": source.name, "path": place}
    for name, value in source.facts.items():
        name = "model" if name == "spec" else name
        if re.fullmatch(r"[A-Za-z0-9_-]+", name) and _is_plain(value):
            facts.setdefault(name, value)
    return "\n".join(
        ["[[source]]", *(f"{k} = {_toml(v)}" for k, v in facts.items()), ""]
    )


def _is_plain(value) -> bool:
    if isinstance(value, list | tuple):
        return all(
            isinstance(part, str | int | float) and _is_plain(part) for part in value
        )
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str | int) and not (
        isinstance(value, int) and abs(value) >= 2**63
    )


def _toml(value) -> str:
    """A value as TOML has it: as JSON does, but for one control character."""
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
