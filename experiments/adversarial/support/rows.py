"""From measurements to rows: intervals, verdicts, the paper's numbers beside ours."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments import harness
from experiments.harness import Value
from jtransfer.ranking import correlations


class Sheet(NamedTuple):
    """A table that is being filled."""

    table: harness.Table
    settings: dict


def row(
    found: Sheet,
    cell: str,
    compute: Callable[[], Value],
    *,
    seed: int,
    paper_value: float | None = None,
    claim: float | None = None,
) -> Value:
    """Writes one row and prints it beside the paper's value.

    Args:
      found: the table.
      cell: what the number is.
      compute: returns it.
      seed: of the run.
      paper_value: the number that the paper prints.
      claim: a number with the sign that the paper claims; with it the row is judged.

    Returns:
      The value.
    """
    line = harness.stored_row(found.table, cell, seed=seed, config=found.settings)
    value = compute() if line is None else Value(*(line[k] for k in Value._fields))
    judged = None if claim is None else verdict(value, claim, paper_value)
    harness.write_row(
        found.table,
        cell,
        lambda: value,
        seed=seed,
        config=found.settings,
        paper_value=paper_value,
        verdict=judged,
    )
    printed = "" if paper_value is None else f", paper {paper_value:+.3f}"
    print(f"  {cell}: {shown(value)}{printed}  {judged or ''}", flush=True)
    return value


def shown(value: Value) -> str:
    """A value with its interval."""
    if value.low is None:
        return f"{value.value:+.3f}"
    return f"{value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


def verdict(value: Value, claim: float, paper_value: float | None = None) -> str:
    """Judges by two things: the sign, and whether the interval excludes zero.

    Example:
      >>> verdict(Value(-0.2, -0.3, -0.1), -1)
      'Reproduced: the sign is the paper's and the 95% interval excludes zero.'
    """
    if not np.isfinite(value.value) or value.value * claim <= 0:
        return "Not reproduced: the sign is not the paper's."
    size = "" if paper_value is None else f", {value.value / paper_value:.2f} its size"
    if value.low is None or value.low * value.high <= 0:
        return f"In sign only{size}: the 95% interval does not exclude zero."
    return (
        f"Reproduced{size}: the sign is the paper's and the 95% interval excludes zero."
    )


def over_seeds(values: Sequence[Value]) -> Value:
    """The mean with the 95% interval of Student's t over the seeds.

    Where all values lie within [-1, 1], as correlations do, the interval does too.
    """
    numbers = np.array([value.value for value in values])
    found = harness.mean_interval(numbers)
    limit = 1.0 if np.abs(numbers).max() <= 1 else np.inf
    low, high = np.clip([found.low, found.high], -limit, limit)
    return Value(found.value, float(low), float(high))


def summaries(
    found: Sheet,
    by_seed: Mapping[int, Mapping[str, Value]],
    *,
    printed: Mapping[str, float],
    signs: Mapping[str, float],
) -> None:
    """Writes the mean over the seeds of each cell as a row of the first seed.

    Args:
      found: the table.
      by_seed: values by cell, for each seed.
      printed: what the paper prints of some cells, which are judged by it.
      signs: what the paper only claims.
    """
    if len(by_seed) == 1:
        return
    named = ", ".join(str(seed) for seed in by_seed)
    first = min(by_seed)
    for cell in by_seed[first]:
        values = [cells[cell] for cells in by_seed.values()]
        row(
            found,
            f"{cell}, mean of the seeds {named}",
            lambda values=values: over_seeds(values),
            seed=first,
            paper_value=printed.get(cell),
            claim=printed.get(cell, signs.get(cell)),
        )


def mean(values: np.ndarray, *, seed: int) -> Value:
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
        return (n * ab - a * b) / np.sqrt(spread) if spread > 0 else 0.0

    return harness.bootstrap_interval(correlation, terms, seed=seed)
