"""The measures of a pair of models, and how they go along with the transfer."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import scipy.stats

from experiments.harness import Value
from experiments.sheets import (
    Sheet,
    over_images,
    over_models,
    over_samples,
    sign_verdict,
    write_row,
)
from jtransfer import adversarial

ALPHA1, ALPHA2, ALPHA12 = PRINTED = (
    "alpha1",
    "alpha2 squared",
    "alpha1 * alpha2, squared",
)
"""The measures whose means Tables 1, 3, 5 and 6 of the paper print."""


POOLED = "Pearson over samples, pooled"
"""The cell of alpha1 against the loss after the transfer, all models together."""


class Printed(NamedTuple):
    """Numbers that the paper prints in a table, model by model."""

    accuracies: tuple[float, ...]
    columns: dict[str, tuple[float, ...]]
    """By the name of the measure."""
    pearson: float | None = None
    """Over samples, pooled."""


class Pair(NamedTuple):
    """Deviations of two models over the same images, see `jtransfer.adversarial`."""

    own: np.ndarray
    transferred: np.ndarray
    white_box: np.ndarray


def alphas(pairs: Iterable[Pair]) -> np.ndarray:
    """alpha1 of each image and pair, `[n, pairs]`.

    It is infinite where the own attack moves nothing and the transferred one does, as
    happens with dead units. Means and correlations leave such a sample out.
    """
    columns = [adversarial.alpha1(pair.transferred, pair.white_box) for pair in pairs]
    return np.stack(columns, axis=1)


def write_models(
    sheet: Sheet,
    pairs: Mapping[str, Pair],
    accuracies: Mapping[str, float],
    losses: np.ndarray,
    paper: Printed,
    *,
    seed: int,
    suffix: str = "",
    signs: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, Value]:
    """Writes the rows of the paper's tables and figures for several models.

    Args:
      sheet: the table.
      pairs: deviations, by model.
      accuracies: after the transfer, by model.
      losses: after the transfer, ``[n, models]``.
      paper: what the paper prints, its models in the order of `accuracies`.
      seed: of the run.
      suffix: end of the names of the rows that depend on `pairs`.
      signs: of some correlations that the paper claims without a number.

    Returns:
      The correlations by the names of their rows.
    """
    columns = {"accuracy after transfer": paper.accuracies, **paper.columns}
    numbers: dict[str, list[float]] = {}
    for i, (model, pair) in enumerate(pairs.items()):
        accuracy = functools.partial(Value, accuracies[model])
        computed = {f"{k}{suffix}": compute for k, compute in measures(pair).items()}
        computed = {"accuracy after transfer": accuracy, **computed}
        for cell, compute in computed.items():
            value = write_row(
                sheet,
                f"{cell}, {model}",
                compute,
                seed=seed,
                paper_value=columns[cell][i] if cell in columns else None,
            )
            numbers.setdefault(cell, []).append(value.value)
    computed = per_sample(alphas(pairs.values()), losses, list(pairs), seed=seed)
    for cell in PRINTED:
        pair = numbers["accuracy after transfer"], numbers[f"{cell}{suffix}"]
        computed[over_models_cell(cell)] = functools.partial(over_models, *pair)
    printed = correlations(paper)
    return {
        cell: write_judged(sheet, cell, compute, printed, signs, seed=seed)
        for cell, compute in ((k + suffix, v) for k, v in computed.items())
    }


def write_judged(
    sheet: Sheet,
    cell: str,
    compute: Callable[[], Value],
    printed: Mapping[str, float],
    signs: Mapping[str, float],
    *,
    seed: int,
) -> Value:
    """Writes a row that is judged by what the paper prints, or else by its claim.

    Args:
      sheet: the table.
      cell: name of the row.
      compute: returns its value.
      printed: the paper's numbers by cell.
      signs: the signs that the paper claims of cells without a number.
      seed: of the run.
    """
    value = printed.get(cell)
    rule = sign_verdict(printed.get(cell, signs.get(cell)), value)
    return write_row(sheet, cell, compute, seed=seed, paper_value=value, verdict=rule)


def means(alphas: np.ndarray) -> np.ndarray:
    """The mean alpha1 of each model over the images where it is finite."""
    return np.nanmean(np.where(np.isfinite(alphas), alphas, np.nan), axis=0)


def correlations(paper: Printed) -> dict[str, float]:
    """The correlations of the paper; those over models follow from its columns."""
    values = {} if paper.pearson is None else {POOLED: paper.pearson}
    for measure in PRINTED:
        if measure in paper.columns:
            value = over_models(paper.accuracies, paper.columns[measure])
            values[over_models_cell(measure)] = value.value
    return values


def over_models_cell(measure: str) -> str:
    """The name of a correlation over the models."""
    return f"Pearson over models, accuracy and {measure}"


def measures(pair: Pair) -> dict[str, Callable[[], Value]]:
    """Functions that compute the measures of one pair of models, by name."""
    own, transferred, white_box = pair
    ratios = np.asarray(adversarial.alpha1(transferred, white_box), np.float64)
    kept = np.isfinite(ratios)
    plain = float(adversarial.alpha2(own, transferred))
    combined = float(adversarial.alpha12(own[kept], transferred[kept], white_box[kept]))
    unbiased = float(adversarial.unbiased_square(plain, len(own)))
    return {
        ALPHA1: functools.partial(over_images, ratios, seed=0),
        "alpha2": functools.partial(Value, plain),
        ALPHA2: functools.partial(Value, plain**2),
        "alpha2 squared, unbiased": functools.partial(Value, unbiased),
        "alpha1 * alpha2": functools.partial(Value, combined),
        ALPHA12: functools.partial(Value, combined**2),
    }


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each number among all, in the same shape; ties are averaged."""
    return scipy.stats.rankdata(values).reshape(values.shape)


def per_sample(
    alphas: np.ndarray, losses: np.ndarray, models: Sequence[str], *, seed: int
) -> dict[str, Callable[[], Value]]:
    """Correlations of alpha1 and loss over single samples, by name."""

    def pearson(a: np.ndarray, b: np.ndarray) -> Callable[[], Value]:
        return functools.partial(over_samples, a, b, seed=seed)

    def share(hits: np.ndarray) -> Callable[[], Value]:
        return functools.partial(Value, float(np.mean(hits)))

    computed = {
        POOLED: pearson(alphas, losses),
        # A few images that hardly move by the own attack do not decide this one.
        "Spearman over samples, pooled": pearson(ranks(alphas), ranks(losses)),
        # The better of the own attack and the transferred one makes alpha1 at most 1.
        f"{POOLED}, alpha1 at most 1": pearson(np.minimum(alphas, 1), losses),
        "share of samples with alpha1 above 1": share(alphas > 1),
        "share of samples with infinite alpha1": share(np.isinf(alphas)),
    }
    for i, model in enumerate(models):
        cell = f"Pearson over samples, {model}"
        computed[cell] = pearson(alphas[:, i], losses[:, i])
    return computed
