"""Ranking from Python: one call, and a result that a notebook shows."""

import dataclasses
import functools
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from jtransfer import ranking, zoo
from jtransfer._internal.errors import RequestError
from jtransfer._internal.files import make_folder, write_text_atomically
from jtransfer._internal.progress import source_progress
from jtransfer._internal.provenance import arrays_fingerprint
from jtransfer.ranking import Failed, Row, Scored, verification
from jtransfer.report.folder import draw_pages
from jtransfer.report.pages.document import fragment
from jtransfer.report.ranking import ranking_page, warning_lines, write_ranking
from jtransfer.report.ranking_screen import agreement_table, ranking_table
from jtransfer.report.screen import decimal


@dataclasses.dataclass(frozen=True)
class Ranking(Sequence):
    """The sources of a zoo in order for a target, and all that is known of each."""

    rows: tuple[Row, ...]
    """A row a source and score, in the order of the first score."""

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def __getitem__(self, index):
        """A row, or some of them."""
        return self.rows[index]

    @property
    def best(self) -> str | None:
        """The name of the first source by the first score; None if all failed."""
        return next((row.source for row in self._first()), None)

    @property
    def group(self) -> tuple[str, ...]:
        """The sources that cannot be told from the best."""
        first = self._first()
        return tuple(row.source for row in first if row.group == first[0].group)

    @property
    def failures(self) -> dict[str, str]:
        """Why sources failed, by their names."""
        return {r.source: r.reason for r in self.rows if isinstance(r, Failed)}

    @property
    def warnings(self) -> list[str]:
        """Where a score means little."""
        return warning_lines(self.rows)

    def _first(self) -> list[Scored]:
        scored = [row for row in self.rows if isinstance(row, Scored)]
        return [row for row in scored if row.score == scored[0].score]

    def to_dataframe(self):
        """Returns the scores as a table of pandas, one row a source and score."""
        import pandas

        kept = (ranking.to_json(row) for row in self.rows if isinstance(row, Scored))
        return pandas.DataFrame(list(kept))

    def plot(self, score: str | None = None):
        """Draws the values of a score with their 95% intervals, the best on top.

        Args:
          score: its name; the first one by default.

        Returns:
          The axes of Matplotlib.

        Raises:
          RequestError: if no source has that score.
        """
        first = self._first()
        name = score or (first[0].score if first else "")
        scored = [r for r in self.rows if isinstance(r, Scored) and r.score == name]
        if not scored:
            raise RequestError(f"No source has the score {name!r}.")
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(figsize=(6, 0.8 + 0.3 * len(scored)))
        scored = sorted(scored, key=lambda row: row.value)
        for place, row in enumerate(scored):
            ends = (row.low, row.high) if row.low is not None else (row.value,) * 2
            axes.plot(ends, (place, place), color="gray")
            axes.plot(row.value, place, "o", color="#26547c")
        axes.set_yticks(range(len(scored)), [row.source for row in scored])
        axes.set_xlabel(name.replace("_", " "))
        axes.figure.tight_layout()
        return axes

    def report(self, path: str | Path) -> Path:
        """Writes the page of the ranking, one file without external resources.

        Raises:
          FileError: if it cannot be written.
        """
        path = Path(path)
        make_folder(path.parent)
        write_text_atomically(path, ranking_page(self.rows))
        return path

    def save(self, folder: str | Path) -> list[Path]:
        """Writes `ranking.jsonl`, `ranking.csv` and `report.html` into a folder.

        Raises:
          FileError: if they cannot be written.
        """
        folder = Path(folder)
        make_folder(folder)
        return [*write_ranking(self.rows, folder), *draw_pages(folder)]

    def __str__(self) -> str:
        """The table that the command prints."""
        from rich.console import Console

        screen = Console(file=io.StringIO(), width=100)
        screen.print(ranking_table(self.rows, width=100))
        if (table := agreement_table(self.rows)) is not None:
            screen.print(table)
        for name, reason in self.failures.items():
            screen.print(f"Failed: {name}: {reason}", markup=False)
        return screen.file.getvalue()

    def _repr_html_(self) -> str:
        """A small table for notebooks, without scripts."""
        first = self._first()
        cells = [
            (r.rank, r.source, decimal(r.value), decimal(r.standard_error), r.group)
            for r in first
        ]
        title = first[0].score.replace("_", " ") if first else "no score"
        return fragment(
            "notebook.html", title=title, cells=cells, failures=self.failures.items()
        )


def rank(
    sources: Any,
    target: str | ArrayLike | zoo.Target,
    *,
    images: np.ndarray | None = None,
    scores: Iterable[str] = (),
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
      out: folder for results, in which a rerun goes on.
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
    )
    read = functools.partial(zoo.sources, layers=layers, extraction=extraction)
    kept = list(_sources(sources, examples, read))
    _check_names(kept)
    heads = verification.head_accuracy if verify else None
    folder = None if out is None else Path(out)
    with source_progress(len(kept)) as announce:
        rows = ranking.rank_sources(
            kept,
            examples,
            tuple(scores),
            seed=seed,
            verify=verification.fine_tuned_accuracy if fine_tune else heads,
            folder=folder,
            **({"announce": announce} if progress else {}),
        )
    result = Ranking(tuple(rows))
    if folder is not None:
        result.save(folder)
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


def _check_names(sources: list[zoo.Source]) -> None:
    names = [source.name for source in sources]
    if not names:
        raise RequestError("There is no source.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RequestError(f"Two sources are called {repeated[0]!r}.")
