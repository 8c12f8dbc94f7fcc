"""Models of other libraries as sources: features on disk, functions in a process."""

import concurrent.futures
import contextlib
import functools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jtransfer._internal.compiler import compiler_fault
from jtransfer._internal.errors import SourceError
from jtransfer._internal.progress import stage_progress
from jtransfer._internal.provenance import bytes_fingerprint
from jtransfer.zoo._array_sources import npz_rows_of, npz_source
from jtransfer.zoo._source_types import NUMBERS, Source
from jtransfer.zoo._targets import Target
from jtransfer.zoo.extraction.features import (
    Advance,
    Extraction,
    KeptFeatures,
    extracted,
    model_request,
)
from jtransfer.zoo.extraction.function_process import FunctionProcess, image_function
from jtransfer.zoo.extraction.parts import layer_key
from jtransfer.zoo.extraction.process import stop_running
from jtransfer.zoo.specs import ModelSpec, check_licence

_WITHOUT_GRADIENTS = {"onnx": "ONNX files", "py": "functions"}


class _Applied:
    """A model and the examples of a target: each part is computed once, or fails."""

    def __init__(
        self,
        spec: ModelSpec,
        target: Target | None,
        settings: Extraction,
        declared: Mapping[str, Any],
        *,
        layers: bool,
    ):
        self._spec, self._target = spec, target
        self._settings, self._declared, self._layers = settings, declared, layers
        self._lock = threading.Lock()
        self._held: dict[str, KeptFeatures | SourceError] = {}

    def kept(self, part: str = "images", advance: Advance | None = None):
        """Returns features of the target's `images` or `test_images`, or its texts."""
        with self._lock:
            if part not in self._held:
                try:
                    self._held[part] = self._extracted(part, advance)
                except SourceError as error:
                    self._held[part] = error
        held = self._held[part]
        if isinstance(held, SourceError):
            raise held
        return held

    def _extracted(self, part: str, advance) -> KeptFeatures:
        settings = self._settings
        if "licence" in self._declared:  # It counts for more than what is stated.
            check_licence(str(self._declared["licence"]), settings.licences)
            settings = settings._replace(licences=())
        examples = getattr(self._target, part, None)
        if examples is None:
            of_texts = {"images": "texts", "test_images": "test_texts"}[part]
            examples = getattr(self._target, of_texts, None)
        if examples is None:
            raise SourceError(
                "It is a model of images or texts: the target must hold these."
            )
        return extracted(
            self._spec, examples, settings, layers=self._layers, advance=advance
        )


def _has_test(target: Target | None) -> bool:
    if target is None:
        return False
    return not (target.test_images is None and target.test_texts is None)


def model_source(
    spec: ModelSpec,
    target: Target | None,
    settings: Extraction,
    *,
    declared: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Source:
    """Returns a model of another library, applied to the images of a target.

    Args:
      spec: the model.
      target: holds the images or texts.
      settings: how it is applied.
      declared: facts of its owner, which count for more than its own.
      name: of its row, in place of that of the spec.

    Returns:
      The source. Its features are computed when they are first asked for. Its function
      runs in a process that is started when it is asked for.
    """
    declared = declared or {}
    facts: dict[str, Any] = {"spec": spec.text, **declared}
    applied = _Applied(spec, target, settings, declared, layers=False)

    def stored(part: str = "images", advance: Advance | None = None) -> Source:
        kept = applied.kept(part, advance)
        facts.update({**kept.record["facts"], **declared})
        return npz_source(kept.folder)

    def member(field: str, part: str = "images"):
        def rows() -> Iterator[np.ndarray]:
            held = getattr(stored(part), field)
            if held is None:
                raise SourceError(f"It needs {field}, which the model does not give.")
            return held()

        return rows

    has_test = _has_test(target)
    process = functools.cache(lambda: _process(spec, target, settings))

    def prepare_parts(advance: Callable[..., None], *, with_test: bool) -> None:
        stored("images", lambda count: advance("", count, len(target.labels)))
        if with_test and has_test:
            number = len(target.test_labels)
            stored("test_images", lambda count: advance(" test", count, number))

    return Source(
        name=name or spec.name,
        facts=facts,
        features=member("features"),
        logits=member("logits"),
        function=lambda: image_function(process()),
        digest=lambda: stored().digest(),
        test_features=member("features", "test_images") if has_test else None,
        head=member("head"),
        prepare=prepare_parts,
    )


def model_reference(
    spec: ModelSpec, target: Target | None, settings: Extraction
) -> Source:
    """Returns a model of another library whose logits others are compared with.

    It is known by its files and settings, and not by its features.

    Args:
      spec: the model.
      target: holds images such as it will be applied to.
      settings: how it is applied.

    Returns:
      The source; a process of the model has been started.

    Raises:
      SourceError: if it cannot be loaded, or gives no gradients.
    """
    process = _process(spec, target, settings)
    loaded = {k: v for k, v in process.loaded.items() if k != "facts"}
    digest = bytes_fingerprint(json.dumps(loaded, sort_keys=True).encode())
    source = model_source(spec, target, settings)
    source.facts.update(process.loaded["facts"])
    return source._replace(
        digest=lambda: digest, function=lambda: image_function(process)
    )


def _process(spec: ModelSpec, target, settings: Extraction) -> FunctionProcess:
    if spec.library in _WITHOUT_GRADIENTS:
        which = _WITHOUT_GRADIENTS[spec.library]
        raise SourceError(f"It needs gradients, which {which} do not give.")
    if dict(spec.options).get("layer") is not None:
        raise SourceError("It needs logits, which a layer does not give.")
    if (fault := compiler_fault()) is not None:
        raise SourceError(fault)
    if target is None or target.images is None:
        raise SourceError("It needs images to be a function of.")
    return FunctionProcess(
        model_request(spec, settings), target.images, settings.silence
    )


def model_layer_sources(
    spec: ModelSpec,
    target: Target | None,
    settings: Extraction,
    *,
    declared: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> list[Source]:
    """Returns each layer of a model as a source; all are computed in one pass, now.

    Args:
      spec: the model.
      target: holds the images or texts.
      settings: how it is applied.
      declared: facts of its owner; numbers among them are not those of a layer.
      name: of the model, in place of that of the spec.

    Returns:
      The layers; the model itself where it has but one layer, or fails.
    """
    declared = declared or {}
    whole = model_source(spec, target, settings, declared=declared, name=name)
    if "layer" in dict(spec.options):
        return [whole]
    applied = _Applied(spec, target, settings, declared, layers=True)
    try:
        kept = applied.kept()
    except SourceError as error:
        if spec.library in ("py", "onnx"):
            return [whole]
        reason = error  # For the lambda: the name ends with the clause.

        def failing():
            raise reason

        return [whole._replace(features=failing, logits=None, digest=failing)]
    facts = {**kept.record["facts"], **declared}
    facts = {k: v for k, v in facts.items() if k not in NUMBERS}
    has_test = _has_test(target)

    def layer(number: int, of: str) -> Source:
        def rows(part: str) -> Callable:
            key = layer_key(number, of)
            return lambda: npz_rows_of(applied.kept(part).folder, key)

        return Source(
            name=f"{whole.name}:{of}",
            facts={"spec": spec.text, **facts},
            features=rows("images"),
            digest=lambda: f"{npz_source(kept.folder).digest()}:{of}",
            test_features=rows("test_images") if has_test else None,
        )

    return [layer(i, of) for i, of in enumerate(kept.record["layers"])]


def prepare(
    sources: Sequence[Source],
    num_examples: int,
    settings: Extraction,
    *,
    with_test: bool = False,
) -> None:
    """Computes the features of models of other libraries, several at a time.

    A model that fails does so again, at once, when it is asked for its features.

    Args:
      sources: of which those without `prepare` are left alone.
      num_examples: of the target.
      settings: how many at a time, and whether progress is shown.
      with_test: whether those of the test examples as well.

    Raises:
      FileError: if features cannot be kept.
    """
    waiting = [source for source in sources if source.prepare is not None]
    if not waiting:
        return

    def run(number: int, source: Source, advance) -> None:
        stage = f"{source.name} ({number}/{len(waiting)})"
        with contextlib.suppress(SourceError):  # Its row says why.
            source.prepare(
                lambda part, *counts: advance(f"{stage}{part}", *counts),
                with_test=with_test,
            )

    shown = (
        stage_progress(num_examples, "examples")
        if settings.progress
        else contextlib.nullcontext(lambda stage, *counts: None)
    )
    with shown as advance:
        if settings.jobs == 1:  # Here signals come to where the process is waited for.
            for numbered in enumerate(waiting, 1):
                run(*numbered, advance)
            return
        with concurrent.futures.ThreadPoolExecutor(settings.jobs) as pool:
            futures = [pool.submit(run, *n, advance) for n in enumerate(waiting, 1)]
            try:
                for future in concurrent.futures.as_completed(futures):
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                stop_running()
                raise
