"""Ranking from Python in one call."""

import contextlib
import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from jtransfer import ranking, zoo
from jtransfer._internal.errors import FileError, RequestError
from jtransfer._internal.names import repeated_name
from jtransfer._internal.progress import source_progress
from jtransfer._internal.provenance import arrays_fingerprint
from jtransfer.ranking import verification
from jtransfer.report.result import Ranking


def rank(
    sources: Any,
    target: str | ArrayLike | zoo.Target,
    *,
    images: np.ndarray | None = None,
    scores: str | Iterable[str] = (),
    verify: bool = False,
    fine_tune: bool = False,
    layers: bool = False,
    download: bool = False,
    memory: float | None = None,
    source_timeout: float = 600,
    per_class: int | None = None,
    num_test: int | None = None,
    text_column: str | Sequence[str] = "text",
    label_column: str = "label",
    data_dir: str | None = None,
    image_size: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    progress: bool = True,
) -> Ranking:
    """Ranks sources for a target, as `jtransfer rank` does.

    Args:
      sources: a zoo as of the command's `--zoo`, or several of them; an object as
        `zoo.object_source` takes it, a pair of a name and an object, or a name, a
        network of PyTorch and its transform; or a dict of such objects by name.
      target: a file of labels, a data set of images or a table of texts as of
        `--target`, labels `[n]`, or a `zoo.Target`.
      images: the examples of labels, uint8 `[n, h, w, c]`, for sources that are models.
      scores: names of `ranking.SCORES`, the deciding one first.
      verify: whether a head is trained on each source, to compare scores with.
      fine_tune: the same by fine-tuning networks.
      layers: whether each layer of a network is a source of its own.
      download: whether weights may be fetched.
      memory: the most GB that a named model may take.
      source_timeout: seconds without progress after which a named model is given up.
      per_class: labelled examples of each class of a data set or table.
      num_test: test images of a data set, at most.
      text_column: column of the texts of a table, or two of pairs of texts.
      label_column: column of their classes.
      data_dir: where prepared data sets lie.
      image_size: side to which images are resized.
      seed: of all that is drawn.
      out: folder for results, in which a rerun goes on; where it cannot be written a
        warning says so.
      progress: whether progress is shown, on stderr.

    Returns:
      The ranking. A source that fails is a row with its reason.

    Raises:
      RequestError: if the request is wrong.

    Example:
      >>> labels = np.arange(60) % 3
      >>> noise = np.random.default_rng(0).normal(size=(60, 4))
      >>> zoo_of_arrays = {"noise": noise, "useful": noise + 2 * labels[:, None]}
      >>> result = rank(zoo_of_arrays, labels, progress=False)
      >>> result.best, result.group
      ('useful', ('useful',))
    """
    if verify and fine_tune:
        raise RequestError("verify and fine_tune exclude each other; give one.")
    scores = (scores,) if isinstance(scores, str) else tuple(scores)
    for name in scores:
        if name not in ranking.SCORES:
            raise RequestError(ranking.unknown_score(name))
    examples = _target(
        target,
        images,
        per_class=per_class,
        num_test=num_test,
        seed=seed,
        columns=(text_column, label_column),
        data_dir=data_dir,
        image_size=image_size,
    )
    extraction = zoo.DEFAULT_EXTRACTION._replace(
        download=download,
        memory=None if memory is None else int(memory * 1e9),
        silence=source_timeout,
        progress=progress,
    )
    read = functools.partial(zoo.sources, layers=layers, extraction=extraction)
    kept = list(_sources(sources, examples, read))
    if not kept:
        raise RequestError("There is no source.")
    if (repeated := repeated_name(source.name for source in kept)) is not None:
        raise RequestError(f"Two sources are called {repeated!r}.")
    heads = verification.head_accuracy if verify else None
    folder = None if out is None else Path(out)
    shown = source_progress(len(kept)) if progress else contextlib.nullcontext()
    with shown as announce:
        rows = ranking.rank_sources(
            kept,
            examples,
            scores,
            seed=seed,
            verify=verification.fine_tuned_accuracy if fine_tune else heads,
            folder=folder,
            announce=announce or (lambda name, outcome: None),
        )
    result = Ranking(tuple(rows))
    if folder is not None:
        try:
            result.save(folder)
        except FileError as error:  # What was computed is not lost with it.
            warnings.warn(str(error), RuntimeWarning, stacklevel=2)
    return result


def _target(
    target, images, *, per_class, num_test, seed, columns, **reading
) -> zoo.Target:
    if isinstance(target, zoo.Target):
        return target
    if isinstance(target, str | Path) and str(target).endswith(zoo.TABLES):
        texts, labels = columns
        return zoo.text_target(
            Path(target),
            text_columns=(texts,) if isinstance(texts, str) else tuple(texts),
            label_column=labels,
            per_class=per_class,
            seed=seed,
        )
    if isinstance(target, str | Path):
        if str(target).endswith((".npz", ".npy")) and Path(target).is_file():
            return zoo.target(str(target))._replace(images=images)
        return zoo.image_target(
            str(target), per_class=per_class, num_test=num_test, seed=seed, **reading
        )
    labels = np.asarray(target)
    digest = arrays_fingerprint(labels, *(() if images is None else (images,)))
    held = zoo.labelled_target("labels", labels, digest=digest)
    if images is not None and len(images) != len(labels):
        raise RequestError(f"There are {len(images)} images and {len(labels)} labels.")
    return held._replace(images=images)


def _sources(given, examples: zoo.Target, read) -> Iterable[zoo.Source]:
    if isinstance(given, zoo.Source):
        yield given
    elif isinstance(given, str | Path):
        yield from read(str(given), examples)
    elif isinstance(given, Mapping):
        for name, model in given.items():
            yield zoo.object_source(name, model, examples)
    elif isinstance(given, tuple) and given and isinstance(given[0], str):
        if len(given) not in (2, 3):
            raise RequestError(f"{given[0]}: give a name, a model and its transform.")
        name, model, *transform = given
        yield zoo.object_source(name, model, examples, *transform)
    elif isinstance(given, list | tuple):
        for part in given:
            yield from _sources(part, examples, read)
    else:
        yield zoo.object_source(type(given).__name__, given, examples)
