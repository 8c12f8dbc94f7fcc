"""Ranking from Python in one call."""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from jtransfer import ranking, zoo
from jtransfer._internal.errors import ArgumentError, FileError, RequestError
from jtransfer._internal.files import check_folder
from jtransfer._internal.progress import source_progress
from jtransfer.ranking import verification
from jtransfer.report import inputs
from jtransfer.report.result import Ranking
from jtransfer.zoo.specs import is_spec


def rank(
    sources: Any = None,
    target: str | Path | ArrayLike | zoo.Target | None = None,
    *,
    images: np.ndarray | None = None,
    scores: str | Iterable[str] = (),
    verify: bool = False,
    fine_tune: bool = False,
    layers: bool = False,
    reference: str | zoo.Source | None = None,
    data: str | None = None,
    num_examples: int | None = None,
    download: bool = False,
    licence: str | Iterable[str] = (),
    memory: float | None = None,
    jobs: int = 1,
    source_timeout: float = 600,
    cache_limit: float | None = None,
    per_class: int | None = None,
    num_test: int | None = None,
    text_column: str | Sequence[str] | None = None,
    label_column: str | None = None,
    data_dir: str | None = None,
    image_size: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    progress: bool = True,
) -> Ranking:
    """Ranks sources for a target; `jtransfer rank` is a call of it.

    Args:
      sources: a zoo as of the command's `--zoo`, or several of them; an object as
        `zoo.object_source` takes it, a pair of a name and an object or a model's name,
        or a name, a network of PyTorch and its transform; or a dict of objects by name.
        Without sources and target, the networks inside the package on UCI digits.
      target: a file of labels, a data set of images or texts as of `--target`, labels
        `[n]`, or a `zoo.Target`.
      images: the examples of labels, uint8 `[n, h, w, c]`, for sources that are models.
      scores: names of `ranking.SCORES`, the deciding one first.
      verify: whether a head is trained on each source, to compare scores with.
      fine_tune: the same by fine-tuning networks.
      layers: whether each layer of a network is a source of its own.
      reference: the model of the target's task, as of `--reference`, or a source.
      data: a data set of images on which reference and sources meet.
      num_examples: of these images, at most; 500 by default.
      download: whether weights may be fetched.
      licence: those that named models may have; any by default.
      memory: the most GB that a named model may take.
      jobs: named models at a time.
      source_timeout: seconds without progress after which a named model is given up.
      cache_limit: the most GB of features of named models that are kept in the end.
      per_class: labelled examples of each class of a data set or table.
      num_test: test images of a data set, at most.
      text_column: column of the texts of a table, or two of pairs of texts; `text` by
        default.
      label_column: column of their classes; `label` by default.
      data_dir: where prepared data sets lie.
      image_size: side to which images are resized.
      seed: of all that is drawn.
      out: folder for results, in which a rerun goes on; what can no longer be written
        in the end is a warning, and in `Ranking.unkept`.
      progress: whether progress is shown, on stderr.

    Returns:
      The ranking. A source that fails is a row with its reason.

    Raises:
      RequestError: if the request is wrong; an ArgumentError names the argument.

    Example:
      >>> labels = np.arange(60) % 3
      >>> noise = np.random.default_rng(0).normal(size=(60, 4))
      >>> zoo_of_arrays = {"noise": noise, "useful": noise + 2 * labels[:, None]}
      >>> result = rank(zoo_of_arrays, labels, progress=False)
      >>> result.best, result.group
      ('useful', ('useful',))
    """
    if (sources is None) != (target is None):
        lacking, given = (
            ("sources", "target") if sources is None else ("target", "sources")
        )
        raise ArgumentError(lacking, f": it is missing beside {given}.")
    if verify and fine_tune:
        raise RequestError("verify and fine_tune exclude each other; give one.")
    inputs.check_flags(
        verify=verify,
        fine_tune=fine_tune,
        layers=layers,
        download=download,
        progress=progress,
    )
    inputs.check_numbers(memory=memory, source_timeout=source_timeout)
    inputs.check_numbers(cache_limit=cache_limit)
    inputs.check_numbers(
        whole=True,
        jobs=jobs,
        num_examples=num_examples,
        per_class=per_class,
        num_test=num_test,
        image_size=image_size,
        seed=None if seed == 0 else seed,
    )
    scores = inputs.texts("scores", scores)
    for name in scores:
        if name not in ranking.SCORES and name != ranking.ALL:
            raise ArgumentError("scores", f": {ranking.unknown_score(name)}")
    if reference is None:
        inputs.refuse_argument(
            "without a reference", data=data, num_examples=num_examples
        )
    reading = inputs.Reading(
        per_class, num_test, text_column, label_column, data_dir, image_size
    )
    extraction = zoo.DEFAULT_EXTRACTION._replace(
        download=download,
        licences=tuple(map(str.lower, inputs.texts("licence", licence))),
        memory=None if memory is None else int(memory * 1e9),
        silence=source_timeout,
        jobs=jobs,
        progress=progress,
    )
    of_models = {
        "download": download,
        "licence": extraction.licences,
        "memory": memory,
        "jobs": None if jobs == 1 else jobs,
        "source_timeout": None if source_timeout == 600 else source_timeout,
        "cache_limit": cache_limit,
    }
    if target is None:
        inputs.refuse_argument(
            "for networks inside the package", layers=layers, **of_models
        )
    examples = inputs.read_target(
        target, images, reading, seed=seed, reads_data=data is not None
    )
    if layers and not inputs.has_names(sources):
        inputs.refuse_argument("for sources that are no networks by name", layers=True)
    kept = inputs.read_sources(sources, examples, layers=layers, extraction=extraction)
    compared = None
    if reference is not None:
        compared = inputs.read_reference(
            reference, examples, data, num_examples, reading, extraction=extraction
        )
    has_models = any("spec" in source.facts for source in kept)
    if not (has_models or _is_spec(reference)):
        inputs.refuse_argument(
            "for a zoo without models of other libraries", **of_models
        )
    if out is not None:
        if not isinstance(out, str | Path):
            raise ArgumentError("out", f" must be a folder, got {out!r}.")
        try:
            check_folder(Path(out))
        except FileError as error:
            raise ArgumentError("out", f" is not writable: {error}") from error
    result = _ranked(
        kept,
        examples,
        scores,
        seed=seed,
        verify=_verification(verify=verify, fine_tune=fine_tune),
        reference=compared,
        out=None if out is None else Path(out),
        extraction=extraction,
    )
    if cache_limit is not None:
        root = zoo.models_cache(extraction.cache)
        zoo.limit_features(root, int(cache_limit * 1e9))
    return result


def _ranked(
    sources: list[zoo.Source],
    target: zoo.Target,
    scores: tuple[str, ...],
    *,
    reference: zoo.Reference | None,
    out: Path | None,
    extraction: zoo.Extraction,
    **options: Any,
) -> Ranking:
    examples = target.images if target.texts is None else target.texts
    if examples is not None:
        with_test = options["verify"] is verification.head_accuracy
        zoo.prepare(sources, len(examples), extraction, with_test=with_test)
    shown = contextlib.nullcontext(lambda name, outcome: None)
    if extraction.progress:
        shown = source_progress(len(sources))
    faults: list[FileError] = []
    fitting = contextlib.nullcontext()
    if reference is not None:  # Whose images may not fit it.
        fitting = inputs.argument_named("reference")
    with fitting, shown as announce:
        rows = ranking.rank_sources(
            sources,
            target,
            scores,
            reference=reference,
            folder=out,
            announce=announce,
            unkept=faults.append,
            **options,
        )
    result, files = Ranking(tuple(rows)), []
    if out is not None:
        try:
            files = result.save(out)
        except FileError as error:  # What was computed is not lost with it.
            faults.append(error)
    for fault in faults:
        warnings.warn(str(fault), RuntimeWarning, stacklevel=3)
    return dataclasses.replace(result, files=tuple(files), unkept=tuple(faults))


def _verification(*, verify: bool, fine_tune: bool):
    if fine_tune:
        return verification.fine_tuned_accuracy
    return verification.head_accuracy if verify else None


def _is_spec(reference: Any) -> bool:
    return isinstance(reference, str) and is_spec(reference)
