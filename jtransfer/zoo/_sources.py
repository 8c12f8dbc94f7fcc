"""Sources: pretrained models as files of features, shards, or trained networks."""

import functools
import glob
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

from jtransfer._internal.errors import RequestError
from jtransfer._internal.errors import SourceError as SourceError
from jtransfer._internal.errors import one_line as one_line
from jtransfer._internal.names import repeated_name
from jtransfer.data import npz_headers
from jtransfer.zoo._array_sources import (
    natural_order,
    npy_source,
    npz_source,
    shards_of,
)
from jtransfer.zoo._network_sources import (
    is_network,
    layers_of_network,
    source_of_network,
)
from jtransfer.zoo._source_types import NUMBERS
from jtransfer.zoo._source_types import Source as Source
from jtransfer.zoo._source_types import is_number as is_number
from jtransfer.zoo._targets import Target
from jtransfer.zoo.extraction import (
    DEFAULT_EXTRACTION,
    Extraction,
    model_layer_sources,
    model_source,
)
from jtransfer.zoo.globs import expanded_spec
from jtransfer.zoo.specs import OF_TEXTS, ModelSpec, is_spec, model_spec, unknown_prefix


def sources(
    spec: str,
    target: Target | None = None,
    *,
    layers: bool = False,
    extraction: Extraction = DEFAULT_EXTRACTION,
) -> list[Source]:
    """Returns the sources that a zoo's name stands for.

    Args:
      spec: a folder of `.npz` files, of folders of `.npz` shards and of networks that
        `jtransfer train` has made; a glob of these; one of them;
        `imagenet:efficientnet_lite0` (or 1, 2); the name of a model of another library,
        see `specs.LIBRARIES`; a `.txt` file of such names, one a line; or a `.toml`
        file with a table `[[source]]` each, holding `name`, `path` (relative to the
        file) or `spec`, and any facts.
      target: holds the images that networks are applied to.
      layers: whether each layer of a network is a source of its own.
      extraction: how models of other libraries are applied.

    Returns:
      The sources, in natural order of their names; of a TOML file in its own order.

    Raises:
      RequestError: if there is no such zoo, or it is empty or names a source twice.
    """
    path = Path(spec).expanduser()
    model = functools.partial(
        _model_sources, target=target, extraction=extraction, layers=layers
    )
    if is_spec(spec):
        sources = model(model_spec(spec))
    elif (fault := unknown_prefix(spec)) and not path.exists():
        raise RequestError(fault)
    elif path.suffix == ".toml":
        sources = _declared(path, target, model)
    elif path.suffix == ".txt":
        sources = _listed(path, model)
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
        by_source = (layers_of_network(source, target) for source in sources)
        sources = [layer for layers_of in by_source for layer in layers_of]
    if (repeated := repeated_name(source.name for source in sources)) is not None:
        raise RequestError(f"{spec} names {repeated!r} twice.")
    return sources


def _listed(path: Path, model: Callable[..., list[Source]]) -> list[Source]:
    """The models of a text file: a spec a line, or `name = spec`; # begins a remark."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: {error}") from error
    sources = []
    for number, line in enumerate(lines, 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        name, equals, spec = line.partition(" = ")
        spec = (spec if equals else line).strip()
        if not is_spec(spec):
            fault = unknown_prefix(spec) or f"{spec!r} names no model."
            raise RequestError(f"{path}, line {number}: {fault}")
        own = name.strip() if equals else None
        sources += model(model_spec(spec, path.parent), name=own)
    return sources


def _model_sources(
    spec: ModelSpec, *, target, extraction, layers: bool, declared=None, name=None
) -> list[Source]:
    specs = expanded_spec(spec)
    if target is not None and target.texts is not None and spec.library not in OF_TEXTS:
        raise RequestError(
            f"{spec.text} is a model of images, and {target.name} holds texts; give "
            f"{' or '.join(f'{library}:' for library in OF_TEXTS)} for these."
        )
    if name is not None and len(specs) > 1:
        raise RequestError(f"{spec.text} stands for {len(specs)} models, not {name!r}.")
    options = {"declared": declared, "name": name}
    if not layers:
        return [model_source(one, target, extraction, **options) for one in specs]
    by_model = (
        model_layer_sources(one, target, extraction, **options) for one in specs
    )
    return [layer for layers_of in by_model for layer in layers_of]


def _declared(
    path: Path, target: Target | None, model: Callable[..., list[Source]]
) -> list[Source]:
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
        place = table.get("path", table.get("spec")) if isinstance(table, dict) else 0
        if not isinstance(place, str) or {"path", "spec"} <= table.keys():
            raise RequestError(f"{path}: source {number} has no path, or no spec.")
        facts = {k: v for k, v in table.items() if k not in ("name", "path", "spec")}
        for fact in NUMBERS.intersection(facts):
            if not is_number(facts[fact]):
                raise RequestError(
                    f"{path}: {fact} of source {number} must be a number, got "
                    f"{facts[fact]!r}."
                )
        if "spec" in table:
            if not is_spec(place):
                fault = unknown_prefix(place) or f"{place!r} names no model."
                raise RequestError(f"{path}: source {number}: {fault}")
            own = str(table["name"]) if "name" in table else None
            spec = model_spec(place, path.parent)
            sources += model(spec, declared=facts, name=own)
            continue
        place = Path(place).expanduser()
        inside = place if is_network(place) else path.parent / place
        source = _source(inside, target)
        source = source._replace(facts={**source.facts, **facts})
        sources.append(source._replace(name=str(table.get("name", source.name))))
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
    return sorted(entries, key=natural_order)


def _is_entry(path: Path) -> bool:
    if path.name.startswith("."):  # ._resnet.npz of another system, for example.
        return False
    if path.suffix in (".npz", ".npy"):
        return True
    try:
        return path.is_dir() and bool(shards_of(path))
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


def _source(path: Path, target: Target | None) -> Source:
    if is_network(path):
        return source_of_network(path, target)
    return npy_source(path) if path.suffix == ".npy" else npz_source(path)
