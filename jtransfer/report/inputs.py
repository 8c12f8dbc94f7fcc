"""What a call of `jtransfer.rank` names: target, sources and reference."""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jtransfer import zoo
from jtransfer._internal.errors import ArgumentError, DataError, FileError, RequestError
from jtransfer._internal.names import repeated_name
from jtransfer._internal.provenance import arrays_fingerprint


class Reading(NamedTuple):
    """Options of reading a target; None is not given."""

    per_class: int | None = None
    num_test: int | None = None
    text_column: str | Sequence[str] | None = None
    label_column: str | None = None
    data_dir: str | None = None
    image_size: int | None = None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns of the texts."""
        columns = self.text_column or "text"
        return (columns,) if isinstance(columns, str) else tuple(columns)

    def texts(self) -> zoo.TextReading:
        """Returns the options of reading texts."""
        return zoo.TextReading(self.text_columns, self.label_column, self.data_dir)

    def images(self) -> dict[str, Any]:
        """Returns the options of reading images."""
        return {"data_dir": self.data_dir, "image_size": self.image_size}


@contextlib.contextmanager
def argument_named(argument: str) -> Iterator[None]:
    """Names the argument that is at fault."""
    try:
        yield
    except (ArgumentError, FileError):
        raise
    except (RequestError, DataError) as error:
        raise ArgumentError(argument, f": {error}") from error


def refuse_argument(why: str, **arguments: Any) -> None:
    """Raises ArgumentError if an argument was given that would change nothing.

    Args:
      why: what it does nothing for.
      **arguments: by name; None, False and what is empty are not given.
    """
    for name, value in arguments.items():
        if value is not None and value is not False and value != ():
            raise ArgumentError(name, f" does nothing {why}; leave it out.")


def check_flags(**arguments: Any) -> None:
    """Raises ArgumentError unless arguments are true or false."""
    for name, value in arguments.items():
        if not isinstance(value, bool):
            raise ArgumentError(name, f" must be True or False, got {value!r}.")


def check_numbers(*, whole: bool = False, **arguments: Any) -> None:
    """Raises ArgumentError unless arguments are positive numbers, or None.

    Args:
      whole: whether they must be whole.
      **arguments: by name.
    """
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    for name, value in arguments.items():
        if value is None:
            continue
        is_number = isinstance(value, kinds) and not isinstance(value, bool)
        if not is_number or not 0 < value < float("inf"):
            what = "positive whole number" if whole else "positive number"
            raise ArgumentError(name, f" must be a {what}, got {value!r}.")


def texts(argument: str, value: Any) -> tuple[str, ...]:
    """Returns a text, or several, as a tuple.

    Raises:
      ArgumentError: if it is something else.
    """
    if isinstance(value, str):
        return (value,)
    kept = tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(text, str) for text in kept):
        raise ArgumentError(argument, f" must be a text or several, got {value!r}.")
    return kept


def has_names(sources: Any) -> bool:
    """Tells whether some sources are given by names."""
    if isinstance(sources, Mapping):
        return any(map(has_names, sources.values()))
    if isinstance(sources, list | tuple):
        is_pair = isinstance(sources, tuple) and sources and isinstance(sources[0], str)
        return any(map(has_names, sources[1:] if is_pair else sources))
    return isinstance(sources, str | Path | zoo.Source)


def read_target(
    target: Any,
    images: np.ndarray | None,
    reading: Reading,
    *,
    seed: int,
    reads_data: bool,
) -> zoo.Target:
    """Returns the target that a caller has named, or given.

    Args:
      target: as `jtransfer.rank` takes it; None stands for the digits inside.
      images: the examples of labels.
      reading: how it is read.
      seed: of the draw.
      reads_data: whether other images are read beside it.

    Raises:
      ArgumentError: if it cannot be read, or an argument is of no use for it.
    """
    is_name = isinstance(target, str | Path)
    text = str(target) if is_name else "labels"
    if target is None:
        text = "the digits inside the package"
    of_images = {} if reads_data else reading.images()
    of_texts = {
        "text_column": reading.text_column or None,
        "label_column": reading.label_column,
    }
    if is_name and zoo.is_text_table(target, data_dir=reading.data_dir):
        if text.endswith(zoo.TABLES):
            why = f"for {text}, which holds texts without a split of tests"
            refuse_argument(why, num_test=reading.num_test)
        is_file = zoo.is_file_of_texts(target)
        if not is_file:
            of_images.pop("data_dir", None)
        refuse_argument(f"for {text}, which holds texts", images=images, **of_images)
        with argument_named("target"):
            return zoo.text_target(
                Path(target).expanduser() if is_file else text,
                text_columns=reading.text_columns,
                label_column=reading.label_column,
                data_dir=reading.data_dir,
                per_class=reading.per_class,
                num_test=reading.num_test,
                seed=seed,
            )
    if not reads_data:
        refuse_argument(f"for {text}, which is no file of texts", **of_texts)
    if is_name and not _is_file_of_labels(text):
        refuse_argument(f"for {text}, which has images of its own", images=images)
        with argument_named("target"):
            return zoo.image_target(
                text,
                per_class=reading.per_class,
                num_test=reading.num_test,
                seed=seed,
                **reading.images(),
            )
    refuse_argument(
        f"for {text}, which is no data set of images",
        per_class=reading.per_class,
        num_test=reading.num_test,
        **of_images,
    )
    if target is None:
        return zoo.embedded_target()
    with argument_named("target"):
        return _with_images(_labels(target, images), images)


def _labels(target: Any, images: np.ndarray | None) -> zoo.Target:
    if isinstance(target, zoo.Target):
        return target
    if isinstance(target, str | Path):
        return zoo.target(str(target))
    labels = np.asarray(target)
    digest = arrays_fingerprint(labels, *(() if images is None else (images,)))
    return zoo.labelled_target("labels", labels, digest=digest)


def _with_images(target: zoo.Target, images: np.ndarray | None) -> zoo.Target:
    if images is None:
        return target
    if len(images) != len(target.labels):
        raise ArgumentError(
            "images", f": {len(images)} images and {len(target.labels)} labels."
        )
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
        raise ArgumentError(
            "images", f" must be [n, h, w, c] of 1 or 3 channels, got {images.shape}."
        )
    if images.dtype != np.uint8:
        floats = np.issubdtype(images.dtype, np.floating)
        if not (floats and images.min() >= 0 and images.max() <= 1):
            raise ArgumentError(
                "images", f" must be uint8, or floats in [0, 1], got {images.dtype}."
            )
    return target._replace(images=images)


def _is_file_of_labels(target: str) -> bool:
    if not target.endswith((".npz", ".npy")):
        return False
    return ":" not in target or Path(target).is_file()


def read_sources(
    given: Any, target: zoo.Target, *, layers: bool, extraction: zoo.Extraction
) -> list[zoo.Source]:
    """Returns the sources that a caller has named, or given.

    Args:
      given: as `jtransfer.rank` takes them; None stands for the networks inside.
      target: of the request.
      layers: whether each layer of a network is a source of its own.
      extraction: how models of other libraries are applied.

    Raises:
      ArgumentError: if there is none, or two have one name.
    """
    if given is None:
        return zoo.embedded_sources()
    read = functools.partial(zoo.sources, layers=layers, extraction=extraction)
    with argument_named("sources"):
        kept = list(_sources(given, target, read))
        if not kept:
            raise RequestError("There is no source.")
        if (repeated := repeated_name(source.name for source in kept)) is not None:
            raise RequestError(f"Two sources are called {repeated!r}.")
    return kept


def _sources(given, target: zoo.Target, read) -> Iterable[zoo.Source]:
    if isinstance(given, zoo.Source):
        yield given
    elif isinstance(given, str | Path):
        yield from read(str(given), target)
    elif isinstance(given, Mapping):
        for name, model in given.items():
            yield _named(name, (model,), target, read)
    elif isinstance(given, tuple) and given and isinstance(given[0], str):
        if len(given) not in (2, 3):
            raise RequestError(f"{given[0]}: give a name, a model and its transform.")
        yield _named(given[0], given[1:], target, read)
    elif isinstance(given, list | tuple):
        for part in given:
            yield from _sources(part, target, read)
    else:
        yield zoo.object_source(type(given).__name__, given, target)


def _named(name: str, model: tuple, target: zoo.Target, read) -> zoo.Source:
    """An object, and perhaps its transform, or the name of a model, under a name."""
    if not isinstance(model[0], str | Path):
        return zoo.object_source(name, model[0], target, *model[1:])
    sources = read(str(model[0]), target)
    if len(sources) != 1:
        raise RequestError(f"{name}: {model[0]} stands for {len(sources)} sources.")
    return sources[0]._replace(name=name)


def read_reference(
    reference: str | zoo.Source,
    target: zoo.Target,
    data: str | None,
    num_examples: int | None,
    reading: Reading,
    *,
    extraction: zoo.Extraction,
) -> zoo.Reference:
    """Returns the model of the target's task, and examples where sources meet it.

    Args:
      reference: as `zoo.named_source` takes it, or a source.
      target: of the request.
      data: a data set of images or texts; the target's examples if None.
      num_examples: of these, at most.
      reading: how they are read.
      extraction: how models of other libraries are applied.

    Raises:
      ArgumentError: if there is no such model, or there are no images.
    """
    images = texts = None
    examples = target
    if num_examples is not None and num_examples < 10:
        raise ArgumentError("num_examples", f" must be 10 or more, got {num_examples}.")
    if data is not None:
        is_text = zoo.is_text_table(data, data_dir=reading.data_dir)
        if is_text:
            refuse_argument(
                f"for {data}, which holds texts", image_size=reading.image_size
            )
        elif target.texts is None:
            refuse_argument(
                f"for {data}, which is no file of texts",
                text_column=reading.text_column or None,
                label_column=reading.label_column,
            )
        with argument_named("data"):
            if is_text:
                texts = zoo.held_out_texts(data, reading.texts())
            else:
                images = zoo.held_out_images(data, **reading.images())
                examples = target._replace(images=images.images)
    with argument_named("reference"):
        if isinstance(reference, str):
            reference = zoo.named_source(reference, examples, extraction=extraction)
        usual = zoo.NUM_IMAGES if reference.text_network is None else zoo.NUM_TEXTS
        number = usual if num_examples is None else num_examples
        return zoo.reference(
            reference, target, images=images, texts=texts, num_images=number
        )
