"""Options that sub-commands share, their checks, and the flags in messages."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jtransfer._internal.errors import FileError
    from jtransfer.data import Images
    from jtransfer.zoo import Extraction, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Options of reading images."""

    data_dir: str | None = None
    """Where prepared TFDS data sets lie; TFDS_DATA_DIR by default."""
    image_size: int | None = None
    """Side to which images of different sizes are resized."""

    def check(self) -> None:
        """Raises RequestError if an option is out of range."""
        check_positive(image_size=self.image_size)

    def is_given(self) -> bool:
        """Tells whether one of the options was given."""
        return self != ReadingOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Options of applying models of other libraries."""

    download: bool = False
    """Fetch weights that are not on this machine; without it the rows of such models
    say how many MB that would be, and the licence."""
    licence: tuple[str, ...] = ()
    """Licences that models may have, such as apache-2.0 mit; any by default."""
    memory: float | None = None
    """The most GB that a model's process may take; no limit by default."""
    jobs: int = 1
    """Models at a time; they share the processors."""
    cache_limit: float | None = None
    """The most GB of features that are kept in the end, those read last."""
    source_timeout: float = 600
    """Seconds without progress after which a model is given up."""

    def check(self) -> None:
        """Raises RequestError if an option is out of range."""
        check_positive(
            memory=self.memory,
            source_timeout=self.source_timeout,
            jobs=self.jobs,
            cache_limit=self.cache_limit,
        )

    def settings(self) -> "Extraction":
        """Returns them as the zoo takes them."""
        from jtransfer.zoo import DEFAULT_EXTRACTION

        limit = None if self.memory is None else int(self.memory * 1e9)
        return DEFAULT_EXTRACTION._replace(
            download=self.download,
            licences=tuple(licence.lower() for licence in self.licence),
            memory=limit,
            silence=self.source_timeout,
            jobs=self.jobs,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """Options of training a network."""

    preset: Literal["cpu", "paper"] = "cpu"
    """Settings that the other options change."""
    width: int | None = None
    """Channels of the first layer; the published number by default."""
    epochs: int | None = None
    """Passes over the training examples."""
    batch_size: int | None = None
    """Examples a step."""
    learning_rate: float | None = None
    """The highest rate."""

    def check(self) -> None:
        """Raises RequestError if an option is out of range."""
        check_positive(
            width=self.width,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )

    def changes(self) -> dict[str, float]:
        """Returns the fields of a recipe that the options change."""
        fields = {
            "num_epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentRecipeOptions(RecipeOptions):
    """Options of training a student."""

    preset: Literal["cpu", "paper", "paper-b", "paper-c"] = "cpu"
    """Settings that the other options change: paper-b is Adam as for Jacobian matching
    (paper is its old name), paper-c SGD as for selective cross-task distillation."""


def check_positive(**options: float | None) -> None:
    """Raises RequestError unless numbers are positive; None stands for not given."""
    for name, value in options.items():
        if value is not None and not 0 < value < float("inf"):
            raise _request_error(f"{_flag(name)} must be positive, got {value}.")


def check_weights(**options: float) -> None:
    """Raises RequestError unless weights are at least 0 and not all of them 0."""
    values = options.values()
    if not (all(value >= 0 for value in values) and any(values)):
        *names, last = map(_flag, options)
        shown = ", ".join(f"{value:g}" for value in values)
        raise _request_error(
            f"{', '.join(names)} and {last} must not be negative and not all zero, got "
            f"{shown}."
        )


def check_seed(seed: int) -> None:
    """Raises RequestError if a seed is negative."""
    if seed < 0:
        raise _request_error(f"--seed must not be negative, got {seed}.")


def refuse(why: str, **options: object) -> None:
    """Raises RequestError if an option was given that would change nothing.

    Args:
      why: what it does nothing for.
      **options: values by name; None, False and defaults of `ReadingOptions` and
        `ModelOptions` are not given.
    """
    for name, value in options.items():
        if isinstance(value, ReadingOptions):
            refuse(why, **dataclasses.asdict(value))
        elif isinstance(value, ModelOptions):
            defaults = dataclasses.asdict(ModelOptions())
            given = dataclasses.asdict(value).items()
            refuse(why, **{k: v for k, v in given if v != defaults[k]})
        elif value is not None and value is not False:
            raise _request_error(f"{_flag(name)} does nothing {why}; leave it out.")


def check_writable(folder: Path) -> None:
    """Makes a folder if it is absent and tries to write in it.

    Args:
      folder: where results are to go.

    Raises:
      RequestError: if that fails.
    """
    from jtransfer._internal.errors import FileError
    from jtransfer._internal.files import check_folder

    try:
        check_folder(folder)
    except FileError as error:
        raise FileError(f"--out is not writable: {error}") from error


@contextlib.contextmanager
def keeping(faults: "list[FileError]") -> Iterator[None]:
    """Notes that a file cannot be written, so that results are shown all the same.

    Args:
      faults: to which the fault is added; `check_kept` raises it in the end.
    """
    from jtransfer._internal.errors import FileError

    try:
        yield
    except FileError as error:
        faults.append(error)


def check_kept(faults: "list[FileError]") -> None:
    """Raises FileError if a file could not be written, in one line for all of them."""
    from jtransfer._internal.errors import FileError

    if len(faults) == 1:
        raise faults[0]
    if faults:
        others = len(faults) - 1
        raise FileError(f"{faults[0]} (And {others} more that could not be written.)")


@contextlib.contextmanager
def naming(flag: str) -> Iterator[None]:
    """Puts a flag before the message of a fault that the library has found."""
    from jtransfer._internal.errors import DataError, RequestError

    try:
        yield
    except (RequestError, DataError) as error:
        raise RequestError(f"{flag}: {error}") from error


@contextlib.contextmanager
def flags(**renamed: str) -> Iterator[None]:
    """Turns the name of an argument of the library into that of a flag.

    Args:
      **renamed: flags, without dashes, of arguments that are called otherwise.
    """
    from jtransfer._internal.errors import ArgumentError, RequestError

    try:
        yield
    except ArgumentError as error:
        flag = _flag(renamed.get(error.argument, error.argument))
        raise RequestError(f"{flag}{error.text}") from error


def split_images(
    data: str,
    split: str,
    reading: ReadingOptions,
    *,
    num_examples: int | None = None,
    classes: tuple[str, ...] = (),
    per_class: int | None = None,
    seed: int = 0,
) -> "Images":
    """Reads the images of a split that the options stand for.

    Args:
      data: of `--data`.
      split: name of the split.
      reading: how they are read.
      num_examples: the first ones only; all if None.
      classes: names or numbers of the classes; all by default.
      per_class: of each class, drawn at random; all if None.
      seed: of the draw.

    Returns:
      The images.

    Raises:
      RequestError: if they cannot be read, or a class has too few.
    """
    from jtransfer import data as library

    with naming("--data"):
        images = library.load(
            data,
            split,
            data_dir=reading.data_dir,
            image_size=reading.image_size,
            limit=num_examples,
        )
    with naming("--classes"):
        images = library.named_class_subset(images, classes)
    if per_class is None:
        return images
    with naming("--per-class"):
        chosen = library.per_class_subset(
            images.labels,
            per_class=per_class,
            num_classes=len(images.class_names),
            seed=seed,
        )
    return library.examples_at(images, chosen)


def target_of_images(
    target: str,
    reading: ReadingOptions,
    *,
    per_class: int | None,
    num_test: int | None,
    seed: int,
) -> "Target":
    """Reads a target of images, see `zoo.image_target`.

    Raises:
      RequestError: if it cannot be read.
    """
    from jtransfer import zoo

    with naming("--target"):
        return zoo.image_target(
            target,
            per_class=per_class,
            num_test=num_test,
            seed=seed,
            data_dir=reading.data_dir,
            image_size=reading.image_size,
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _request_error(message: str) -> ValueError:
    # Imported here: a wrong option is told before anything heavy is loaded.
    from jtransfer._internal.errors import RequestError

    return RequestError(message)
