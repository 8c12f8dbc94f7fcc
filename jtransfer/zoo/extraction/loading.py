"""Loads the model of a request, in its own process."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jtransfer._internal.errors import SourceError
from jtransfer._internal.provenance import files_fingerprint
from jtransfer._internal.versions import installed_version
from jtransfer.zoo.loaders.flax import flax_model
from jtransfer.zoo.loaders.huggingface import hugging_face_model
from jtransfer.zoo.loaders.huggingface_texts import hugging_face_text_model
from jtransfer.zoo.loaders.onnx import onnx_model
from jtransfer.zoo.loaders.python import python_function, torch_model
from jtransfer.zoo.loaders.timm import timm_model
from jtransfer.zoo.loaders.torchvision import torchvision_model
from jtransfer.zoo.loaders.types import Download, LoadedModel
from jtransfer.zoo.specs import ModelSpec, check_licence

LOADERS = {
    "timm": timm_model,
    "hf": hugging_face_model,
    "torchvision": torchvision_model,
    "torch": torch_model,
    "onnx": onnx_model,
    "flax": flax_model,
    "py": python_function,
}
LOADERS_OF_TEXTS = {"hf": hugging_face_text_model, "py": python_function}


def loaded_model(
    request: dict,
    *,
    of_texts: bool = False,
    tell: Callable[[dict], None] = lambda event: None,
) -> LoadedModel:
    """Loads the model of a request.

    Args:
      request: `spec`, `download`, `licences`.
      of_texts: whether it is applied to texts.
      tell: is called with what is fetched.

    Raises:
      SourceError: if it cannot be loaded, or has another licence.
    """
    spec = ModelSpec(*request["spec"][:2], tuple(map(tuple, request["spec"][2])))
    loaders = LOADERS_OF_TEXTS if of_texts else LOADERS
    if spec.library not in loaders:
        raise SourceError("It is a model of images, and the examples are texts.")
    allowed: Sequence[str] = request["licences"]

    def fetching(download: Download) -> None:
        check_licence(download.licence, allowed)
        tell({"fetching": f"{spec.name}: fetching {download}"})

    model = loaders[spec.library](
        spec, fetching=fetching if request["download"] else None
    )
    check_licence(model.facts.get("licence"), allowed)
    return model


def loaded_event(model: LoadedModel) -> dict:
    """Returns facts of a model, its files, settings and versions, for the parent."""
    files = {*model.files, *(module_files(model.module) if model.module else ())}
    return {
        "facts": model.facts,
        "resolved": model.resolved,
        "versions": {name: installed_version(name) for name in model.packages},
        "files": {str(p.resolve()): files_fingerprint([p]) for p in sorted(files)},
    }


def module_files(name: str) -> set[Path]:
    """Returns the files of a user's module, and of what lies beside it and is loaded.

    Of a package these are those of the package; of a module by itself those below its
    folder, unless it is installed.

    Args:
      name: of the module, which is loaded.
    """
    top = sys.modules[name.partition(".")[0]]
    own = Path(getattr(sys.modules[name], "__file__", None) or "")
    root = Path(getattr(top, "__file__", None) or own).resolve().parent
    if not hasattr(top, "__path__") and "site-packages" in root.parts:
        return {own} if own.is_file() else set()
    held = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    files = {Path(file).resolve() for file in held if file}
    return {
        file
        for file in files
        if file.is_relative_to(root)
        and "site-packages" not in file.relative_to(root).parts
        and file.is_file()
    }
