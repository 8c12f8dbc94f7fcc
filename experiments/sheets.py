"""Tables that are being filled: rows beside the paper's values, and their verdicts."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments import harness
from experiments.harness import Value
from jtransfer.ranking import correlations


class Sheet(NamedTuple):
    """A table and those settings of the run that may change a number in it."""

    table: harness.Table
    settings: dict


def write_row(
    sheet: Sheet,
    cell: str,
    compute: Callable[[], Value],
    *,
    seed: int = 0,
    paper_value: float | None = None,
    verdict: str | Callable[[Value], str] | None = None,
) -> Value:
    """Computes one number and writes its row, or reads it from an earlier run.

    Args:
      sheet: the table.
      cell: what the number is.
      compute: returns it.
      seed: of the run.
      paper_value: what the paper prints.
      verdict: a sentence, or a rule that makes one of the value.

    Returns:
      The value.
    """
    line = harness.write_row(
        sheet.table,
        cell,
        compute,
        seed=seed,
        config=sheet.settings,
        paper_value=paper_value,
        verdict=verdict,
    )
    return Value(line["value"], line["low"], line["high"])


def write_known(sheet: Sheet, cell: str, value: Value | float, **options) -> Value:
    """Writes the row of a number that needs no computing; see `write_row`."""
    value = value if isinstance(value, Value) else Value(float(value))
    return write_row(sheet, cell, lambda: value, **options)


def write_not_run(sheet: Sheet, cell: str, reason: str) -> None:
    """Writes that a part of the paper was not run, and why."""
    write_row(sheet, cell, lambda: Value(None), verdict=lambda _: f"Not run: {reason}.")


def write_seed_means(
    sheet: Sheet,
    by_seed: Mapping[int, Mapping[str, Value]],
    *,
    printed: Mapping[str, float],
    signs: Mapping[str, float],
) -> None:
    """Writes the mean over the seeds of each cell as a row of the first seed.

    Args:
      sheet: the table.
      by_seed: values by cell, for each seed.
      printed: what the paper prints of some cells, which are judged by it.
      signs: the signs of what the paper claims without a number.
    """
    if len(by_seed) == 1:
        return
    seeds = ", ".join(str(seed) for seed in by_seed)
    first = min(by_seed)
    for cell in by_seed[first]:
        write_known(
            sheet,
            f"{cell}, mean of the seeds {seeds}",
            over_seeds([cells[cell] for cells in by_seed.values()]),
            seed=first,
            paper_value=printed.get(cell),
            verdict=sign_verdict(printed.get(cell, signs.get(cell)), printed.get(cell)),
        )


def sign_verdict(
    claim: float | None, paper_value: float | None = None
) -> Callable[[Value], str] | None:
    """The rule that judges a value by the sign that the paper claims, None without.

    Args:
      claim: a number with that sign, or None.
      paper_value: what the paper prints, or None.
    """
    if claim is None:
        return None
    return functools.partial(verdict, claim=claim, paper_value=paper_value)


def verdict(value: Value, claim: float, paper_value: float | None = None) -> str:
    """Judges by two things: the sign, and whether the interval excludes zero.

    Example:
      >>> verdict(Value(-0.2, -0.3, -0.1), -1)
      "Reproduced: the sign is the paper's and the 95% interval excludes zero."
    """
    if not np.isfinite(value.value) or value.value * claim <= 0:
        return "Not reproduced: the sign is not the paper's."
    size = "" if paper_value is None else f", {value.value / paper_value:.2f} its size"
    if value.low is None or value.low * value.high <= 0:
        return f"In sign only{size}: the 95% interval does not exclude zero."
    return (
        f"Reproduced{size}: the sign is the paper's and the 95% interval excludes zero."
    )


def gain(value: Value) -> str:
    """Judges a difference of accuracies by its interval.

    Example:
      >>> gain(Value(0.02, 0.01, 0.03))
      'Better: +2.0 points, the interval excludes zero.'
    """
    points = f"{100 * value.value:+.1f} points"
    if value.low is None:
        return f"{points}, one seed: no interval."
    if value.low <= 0 <= value.high:
        return f"Not told apart: {points}, the interval holds zero."
    better = "Better" if value.value > 0 else "Worse"
    return f"{better}: {points}, the interval excludes zero."


def not_worse(value: Value, *, margin: float = 0.01) -> str:
    """Judges by an interval whether a difference of accuracies is never a loss.

    Args:
      value: the difference, with its 95% interval.
      margin: the loss that would still count as none.

    Example:
      >>> not_worse(Value(0.002, -0.004, 0.008))
      'Not worse: the interval ends above a loss of 1 point.'
      >>> not_worse(Value(0.002, -0.02, 0.024))
      'Not decided: the interval goes beyond a loss of 1 point.'
    """
    size = f"{100 * margin:g} point"
    if value.low is None:
        return "Not decided: one seed, no interval."
    if value.low > -margin:
        return f"Not worse: the interval ends above a loss of {size}."
    if value.high < -margin:
        return f"Worse: by more than {size}."
    return f"Not decided: the interval goes beyond a loss of {size}."


def over_seeds(values: Sequence[Value]) -> Value:
    """The mean with the 95% interval of Student's t over the seeds.

    Where all values lie within [-1, 1], as correlations do, the interval does too.
    """
    numbers = np.array([value.value for value in values])
    mean = harness.mean_interval(numbers)
    limit = 1.0 if np.abs(numbers).max() <= 1 else np.inf
    low, high = np.clip([mean.low, mean.high], -limit, limit)
    return Value(mean.value, float(low), float(high))


def over_images(values: np.ndarray, *, seed: int) -> Value:
    """The mean of the finite values with the interval of a bootstrap over images."""
    finite = np.asarray(values, np.float64)
    return harness.bootstrap_interval(
        np.mean, finite[np.isfinite(finite)], seed=seed, draws=1000
    )


def over_models(a: Sequence[float], b: Sequence[float]) -> Value:
    """Pearson over a few models with Fisher's interval; it is wide, and should be."""
    r, n = correlations.pearson(a, b), len(a)
    if n < 4:
        return Value(r, -1.0, 1.0)
    z = np.arctanh(np.clip(r, -1 + 1e-9, 1 - 1e-9))
    spread = 1.96 / np.sqrt(n - 3)
    return Value(r, float(np.tanh(z - spread)), float(np.tanh(z + spread)))


def over_samples(a: np.ndarray, b: np.ndarray, *, seed: int) -> Value:
    """Pearson over single samples, with the interval of a bootstrap over images.

    Args:
      a: numbers of each image, or of each image and model, ``[n]`` or ``[n, models]``.
        The models saw the same images: what is drawn again is an image with all of
        its numbers. A sample that is not finite is left out.
      b: in the shape of `a`.
      seed: of the draws.
    """
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (a, b))
    kept = np.isfinite(a) & np.isfinite(b)
    a, b = (np.where(kept, x - x[kept].mean(), 0) for x in (a, b))
    terms = np.stack([kept, a, b, a * a, b * b, a * b], axis=2).sum(axis=1)

    def correlation(terms):
        n, a, b, aa, bb, ab = terms.sum(axis=0)
        spread = (n * aa - a * a) * (n * bb - b * b)
        r = (n * ab - a * b) / np.sqrt(spread) if spread > 0 else 0.0
        return float(np.clip(r, -1, 1))

    return harness.bootstrap_interval(correlation, terms, seed=seed)


def axes(*shape: int, size: tuple[float, float]):
    """A figure of matplotlib without a screen, and its panels as an array."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(*shape, squeeze=False)
