"""Sources: pretrained models as files of features, shards, or trained networks."""

import glob
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import DataError, RequestError
from jtransfer._internal.errors import SourceError as SourceError
from jtransfer._internal.errors import one_line as one_line
from jtransfer._internal.files import printable_name
from jtransfer.data import npy_array, npz_arrays, npz_headers, npz_rows
from jtransfer.zoo._network_sources import is_network, layer_sources, network_source
from jtransfer.zoo._source_types import NUMBERS, files_digest
from jtransfer.zoo._source_types import Source as Source
from jtransfer.zoo._source_types import is_number as is_number
from jtransfer.zoo._targets import Target

PIECE_BYTES = 2**23
"""Bytes read from a file at a time."""
MAX_COLUMNS = 2**15
"""Most features or logits; the scatter of more would not fit in most memories."""


def sources(
    spec: str, target: Target | None = None, *, layers: bool = False
) -> list[Source]:
    """Returns the sources that a zoo's name stands for.

    Args:
      spec: a folder of `.npz` files, of folders of `.npz` shards and of networks that
        `jtransfer train` has made; a glob of these; one of them;
        `imagenet:efficientnet_lite0`; or a `.toml` file with a table `[[source]]` each,
        holding `name`, `path` (relative to the file) and any facts.
      target: holds the images that networks are applied to.
      layers: whether each layer of a network is a source of its own.

    Returns:
      The sources, in natural order of their names; of a TOML file in its own order.

    Raises:
      RequestError: if there is no such zoo, or it is empty or names a source twice.
    """
    path = Path(spec).expanduser()
    if path.suffix == ".toml":
        sources = _declared(path, target)
    elif path.is_dir() and not is_network(path):
        sources = [_source(entry, target) for entry in _entries(path, target)]
    elif path.exists() or is_network(path):
        sources = [_source(path, target)]
    else:
        matches = map(Path, glob.glob(str(path)))
        sources = [_source(match, target) for match in _kept(matches, target)]
    if not sources:
        raise RequestError(
            f"No source in {spec}; give a folder or glob of .npz or .npy files, of "
            "folders of .npz shards or of networks, or a .toml file."
        )
    if layers:
        by_source = (layer_sources(source, target) for source in sources)
        sources = [layer for layers_of in by_source for layer in layers_of]
    names = [source.name for source in sources]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RequestError(f"{spec} names {repeated[0]!r} twice.")
    return sources


def _declared(path: Path, target: Target | None) -> list[Source]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("source", [])
        if not isinstance(tables, list):
            raise RequestError(f"{path}: sources are tables, [[source]].")
    except RecursionError as error:
        raise RequestError(f"{path} is nested too deeply.") from error
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: {error}") from error
    sources = []
    for number, table in enumerate(tables, 1):
        if not isinstance(table, dict) or not isinstance(table.get("path"), str):
            raise RequestError(f"{path}: source {number} has no path.")
        facts = {k: v for k, v in table.items() if k not in ("name", "path")}
        for fact in NUMBERS.intersection(facts):
            if not is_number(facts[fact]):
                raise RequestError(
                    f"{path}: {fact} of source {number} must be a number, got "
                    f"{facts[fact]!r}."
                )
        place = Path(table["path"]).expanduser()
        source = _source(place if is_network(place) else path.parent / place, target)
        name = str(table.get("name", source.name))
        sources.append(source._replace(name=name, facts={**source.facts, **facts}))
    return sources


def _entries(folder: Path, target: Target | None) -> list[Path]:
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        raise RequestError(
            f"{folder} cannot be read: {error.strerror}; change its permissions."
        ) from error
    return _kept(paths, target)


def _kept(paths: Iterable[Path], target: Target | None) -> list[Path]:
    """The sources among paths: no hidden files, nor the target's own labels."""
    entries = (p for p in paths if _is_entry(p) and not _holds_labels_of(p, target))
    return sorted(entries, key=_natural)


def _is_entry(path: Path) -> bool:
    if path.name.startswith("."):  # ._resnet.npz of another system, for example.
        return False
    if path.suffix in (".npz", ".npy"):
        return True
    try:
        return path.is_dir() and bool(_shards(path))
    except SourceError:
        return True  # Its row says why, when it is read.


def _holds_labels_of(path: Path, target: Target | None) -> bool:
    if target is None or target.path is None or not path.is_file():
        return False
    try:
        if not path.samefile(target.path):
            return False
        return path.suffix == ".npy" or "features" not in npz_headers(path)
    except OSError:
        return False


def _natural(path: Path) -> list:
    """Sorts shard-2 before shard-10."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if part.isdigit() else part for part in parts]


def _source(path: Path, target: Target | None) -> Source:
    if is_network(path):
        return network_source(path, target)
    return _npy_source(path) if path.suffix == ".npy" else _npz_source(path)


def _npy_source(path: Path) -> Source:
    def features() -> Iterator[np.ndarray]:
        try:
            rows = npy_array(path)
        except DataError as error:
            raise SourceError(str(error)) from error
        _check_rows(path.name, "features", rows.shape, rows.dtype)
        num_rows = max(1, PIECE_BYTES // (rows.shape[1] * rows.dtype.itemsize))
        for start in range(0, max(1, len(rows)), num_rows):
            yield rows[start : start + num_rows]

    return Source(
        name=printable_name(path.stem),
        facts={},
        features=features,
        digest=lambda: files_digest([path]),
    )


def _npz_source(path: Path) -> Source:
    def member(name: str) -> Callable:
        return lambda: _rows(_shards(path), name)

    try:
        held = npz_headers(_shards(path)[0])
    except (DataError, SourceError, IndexError):
        held = {}  # Its row says why, when it is read.
    return Source(
        name=printable_name(path.name if path.is_dir() else path.stem),
        facts={},
        features=member("features"),
        logits=member("logits") if "logits" in held else None,
        digest=lambda: files_digest(_shards(path)),
        test_features=member("test_features") if "test_features" in held else None,
        head=(lambda: _head(path)) if "classifier" in held else None,
    )


def _cure(dtype: np.dtype) -> str:
    if dtype.kind == "V" and dtype.itemsize == 2:  # NumPy has no name for it.
        return ", which is bfloat16 perhaps; save it as float32, x.astype('float32')"
    return ""


def _head(path: Path) -> np.ndarray:
    try:
        return npz_arrays(_shards(path)[0], required=["classifier"])["classifier"]
    except DataError as error:
        raise SourceError(str(error)) from error


def _shards(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        # Not by glob, for which a folder that cannot be read is an empty one.
        shards = [shard for shard in path.iterdir() if shard.suffix == ".npz"]
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror}; change its permissions."
        ) from error
    return sorted((s for s in shards if s.name[0] != "."), key=_natural)


def _check_rows(
    file: str, name: str, shape: tuple, dtype: np.dtype, *, some: bool = False
) -> None:
    """Raises SourceError unless an array holds rows of numbers, none if `some`."""
    if len(shape) != 2 or not shape[1] or not (shape[0] or some):
        raise SourceError(f"{name} in {file} must be [n, d], got shape {list(shape)}.")
    if not np.issubdtype(dtype, np.floating):
        raise SourceError(
            f"{name} in {file} must be floating-point, got {dtype}{_cure(dtype)}."
        )
    if shape[1] > MAX_COLUMNS:
        raise SourceError(
            f"{name} has {shape[1]} columns, more than {MAX_COLUMNS}: pool or project "
            "them first."
        )


def _rows(shards: list[Path], name: str) -> Iterator[np.ndarray]:
    """Checks the headers of all shards, then yields their rows in order."""
    if not shards:
        raise SourceError("It holds no .npz file.")
    try:
        width = None
        for shard in shards:
            held = npz_headers(shard)
            if name not in held:
                known = ", ".join(held) or "none"
                raise SourceError(
                    f"{shard.name} holds no array {name!r} (but {known})."
                )
            shape, dtype = held[name].shape, held[name].dtype
            # A host may have had no example left for its shard: [0, d].
            _check_rows(shard.name, name, shape, dtype, some=len(shards) > 1)
            if width not in (None, shape[1]):
                raise SourceError(
                    f"{shard.name} has {shape[1]} columns of {name}, others {width}."
                )
            width = shape[1]
        num_rows = max(1, PIECE_BYTES // (width * dtype.itemsize))
        for shard in shards:
            yield from npz_rows(shard, name, num_rows=num_rows)
    except DataError as error:
        raise SourceError(str(error)) from error
