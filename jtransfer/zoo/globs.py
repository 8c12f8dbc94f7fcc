"""Patterns of models, `timm:vit_*`: those whose weights are on this machine."""

import contextlib
import glob
import json
import tempfile
import threading
from pathlib import Path
from typing import Any

from jtransfer._internal.errors import RequestError
from jtransfer.zoo.extraction.frames import read_frame
from jtransfer.zoo.extraction.process import end_reason, started_process, stop_process
from jtransfer.zoo.specs import ModelSpec

LISTED = ("timm", "torchvision", "hf")
"""Libraries that can list their models."""
_PATIENCE = 300


def expanded_spec(spec: ModelSpec) -> list[ModelSpec]:
    """Returns the models that a spec with `*` stands for, and any other as it is.

    Args:
      spec: of timm, torchvision and hf: models whose weights are on this machine; of
        onnx and hf: files and folders.

    Returns:
      Specs with the same options.

    Raises:
      RequestError: if there are none, or the library cannot list its models.
    """
    if "*" not in spec.model:
        return [spec]
    if "name" in dict(spec.options):
        raise RequestError(f"{spec.text}: several models cannot have one name.")
    if spec.library in ("hf", "onnx"):
        places = sorted(glob.glob(str(Path(spec.model).expanduser())))
        if spec.library == "hf":
            places = [p for p in places if (Path(p) / "config.json").is_file()]
        if spec.library == "onnx" and not places:
            raise RequestError(f"{spec.text}: no file matches.")
        if places:
            return [spec._replace(model=place) for place in places]
    if spec.library not in LISTED:
        raise RequestError(
            f"{spec.text}: * is for models of timm, torchvision, hf and for ONNX files."
        )
    models = model_listing(spec)
    here = [spec._replace(model=m["model"]) for m in models if m["here"]]
    if not here:
        others = f"; {len(models)} others match" if models else ""
        raise RequestError(
            f"{spec.text}: the weights of no such model are on this machine{others}."
        )
    return here


def model_listing(spec: ModelSpec) -> list[dict[str, Any]]:
    """Returns `model`, `here`, `megabytes` and `licence` of models that match a spec.

    Args:
      spec: of timm, torchvision or hf; its model may be a pattern.

    Raises:
      RequestError: if the library cannot be asked, or they are too many.
    """
    request = {"lists": [spec.library, spec.model], "download": False, "memory": None}
    with tempfile.TemporaryDirectory(prefix="jtransfer-") as folder:
        log = Path(folder) / "log.txt"
        process = started_process(request, log)
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.close()
        timer = threading.Timer(_PATIENCE, process.kill)
        timer.start()
        try:
            with process.stdout:
                frame = read_frame(process.stdout)
        except BaseException:
            stop_process(process)
            raise
        finally:
            timer.cancel()
        code = process.wait()
        if frame is None:
            raise RequestError(f"{spec.text}: {end_reason(code, 'at once', log)}")
    if "failed" in frame[0]:
        raise RequestError(f"{spec.text}: {frame[0]['failed']}")
    return frame[0]["models"]
