"""Names of models of other libraries: `timm:resnet18`, `hf:./bert?pool=cls`."""

import difflib
import importlib.util
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jtransfer._internal.errors import RequestError, SourceError


class Library(NamedTuple):
    """A library, as the prefix of a spec names it."""

    packages: tuple[str, ...]
    """Modules that must be there."""
    extra: str | None
    """What installs them: `pip install 'jtransfer[extra]'`."""
    options: tuple[str, ...]
    """Options beside those of all; its loader reads each of them."""


_INPUTS = ("size", "interpolation", "mean", "std")
COMMON_OPTIONS = ("name", "batch")
LIBRARIES: Mapping[str, Library] = {
    "timm": Library(
        ("timm",),
        "timm",
        ("weights", "num_classes", "match", "size", "layer", "device"),
    ),
    "hf": Library(("transformers", "torch"), "hf", ("pool", "layer", "device")),
    "torchvision": Library(("torchvision",), "torch", ("weights", "layer", "device")),
    "torch": Library(
        ("torch",),
        "torch",
        ("weights", "num_classes", "layer", "device", "version", *_INPUTS),
    ),
    "onnx": Library(
        ("onnx", "onnxruntime"), "onnx", ("layer", "scale", "layout", "order", *_INPUTS)
    ),
    "flax": Library(("flax",), None, ("version", *_INPUTS)),
    "py": Library((), None, ("version",)),
}
"""By the prefix of a spec. `weights=none` asks for an untrained network."""


OF_TEXTS = ("hf", "py")
"""Libraries that have models of texts."""
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch", "torchvision", "safetensors"),
    "timm": ("timm",),
    "hf": ("transformers", "pyarrow"),
    "onnx": ("onnx", "onnxruntime"),
}
"""What each extra of this package installs, the first one with those below it."""
SAFE_PICKLES = (2, 10)
"""The first torch whose guard against code in pickles is not known to be broken."""


class ModelSpec(NamedTuple):
    """A model by its name in a library."""

    library: str
    model: str
    """Its name there, a file, or `package.module:function`."""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The name of its row."""
        own = dict(self.options).get("name")
        return own or self.model.rstrip("/").rpartition("/")[2] or self.model

    @property
    def text(self) -> str:
        """The spec as it is written, without the name of the row and the batch."""
        kept = [(k, v) for k, v in self.options if k not in ("name", "batch")]
        query = urllib.parse.urlencode(sorted(kept), safe="/:,.")
        return f"{self.library}:{self.model}" + (f"?{query}" if query else "")


def is_spec(text: str) -> bool:
    """Tells whether a text begins as a spec does."""
    prefix, colon, rest = text.partition(":")
    if not colon or not rest or prefix not in LIBRARIES:
        return False
    try:
        return not Path(text).exists()
    except (OSError, ValueError):  # Too long for a file, or no name of one.
        return True


def unknown_prefix(text: str) -> str | None:
    """Returns a line about a prefix that is nearly one of `LIBRARIES`, or None."""
    prefix, colon, _ = text.partition(":")
    if not colon or prefix in LIBRARIES or not prefix.isidentifier():
        return None
    nearest = difflib.get_close_matches(prefix, LIBRARIES, n=1)
    return f"There is no {prefix}: models; nearest: {nearest[0]}:" if nearest else None


def model_spec(text: str, folder: Path | None = None) -> ModelSpec:
    """Reads a spec.

    Args:
      text: `library:model?option=value&option=value`.
      folder: what relative paths begin at; the working directory if None.

    Returns:
      The spec.

    Raises:
      RequestError: if an option is unknown or given twice, or the library is not
        installed; the line has the nearest name, or the command that installs it.

    Example:
      >>> spec = model_spec("py:numpy:mean?name=mine")
      >>> spec.library, spec.model, spec.name
      ('py', 'numpy:mean', 'mine')
    """
    library, _, rest = text.partition(":")
    model, _, query = rest.partition("?")
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    known = (*COMMON_OPTIONS, *LIBRARIES[library].options)
    for name, value in options.items():
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"nearest: {nearest[0]}; " if nearest else ""
            raise RequestError(
                f"{text}: there is no option {name!r}; {hint}known: {', '.join(known)}."
            )
        if not value:
            raise RequestError(f"{text}: the option {name} is empty.")
    batch = options.get("batch", "1")
    if not batch.isdecimal() or int(batch) < 1:
        raise RequestError(f"{text}: batch must be a positive number, got {batch!r}.")
    for name in ("size", "num_classes"):
        text_of = options.get(name, "1")
        if not text_of.isdecimal() or (name == "size" and int(text_of) < 1):
            raise RequestError(f"{text}: {name} must be a number, got {text_of!r}.")
    if "match" in options and options.get("weights", "none") == "none":
        raise RequestError(f"{text}: match does nothing without a file of weights.")
    if "interpolation" in options and "size" not in options:
        raise RequestError(f"{text}: interpolation does nothing without size.")
    if len(options) < len(pairs):
        raise RequestError(f"{text}: an option is given twice.")
    if not model:
        raise RequestError(f"{text} names no model.")
    check_installed(library)
    if folder is not None:
        model, options = _placed(library, model, options, folder)
    return ModelSpec(library, model, tuple(sorted(options.items())))


def unsafe_torch(version: str | None) -> str | None:
    """Returns a line about a version of torch that may run code in pickles, or None.

    Example:
      >>> unsafe_torch("2.10.0+cpu")
      >>> unsafe_torch("2.5.1").partition(";")[0]
      'torch 2.5.1 may run code that is hidden in weights'
    """
    if version is None:
        return None
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers >= SAFE_PICKLES:
        return None
    return (
        f"torch {version} may run code that is hidden in weights; use safetensors, or "
        "install torch 2.10 or newer."
    )


def check_installed(library: str) -> None:
    """Raises RequestError, with the cure, unless a library can be imported."""
    packages, extra, _ = LIBRARIES[library]
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent and extra:
        raise RequestError(
            f"{library}: models need {' and '.join(absent)}; pip install "
            f"'jtransfer[{extra}]'."
        )


def _placed(library, model, options, folder: Path) -> tuple[str, dict[str, str]]:
    """Paths relative to a folder, where they lie there."""

    def placed(value: str) -> str:
        return str(folder / value) if (folder / value).exists() else value

    if library in ("hf", "onnx"):
        model = placed(model)
    if "weights" in options:
        options = {**options, "weights": placed(options["weights"])}
    return model, options


def check_licence(licence: str | None, allowed: Sequence[str]) -> None:
    """Raises SourceError unless a licence is among those that are allowed, if any."""
    licence = licence or "not stated"
    if allowed and licence.lower() not in allowed:
        raise SourceError(
            f"Its licence ({licence}) is none of those asked for: {', '.join(allowed)}."
        )
