"""Processor time of ranking one source, against the linear algebra that it rests on.

Run: `python benchmarks/ranking.py`, about 2 minutes on 2 cores; `--large` adds 50,000 x
2048 with 100 classes. Every line holds all scores of a source with their ten replicates
and twenty shuffles, in times one `eigh` of min(n, d) in float64, on one BLAS thread;
and in times the one fit of scikit-learn's RidgeClassifierCV. All numbers of one run
share one machine and load: trust the ratios.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import importlib.util
import resource
import time
from collections.abc import Callable

import numpy as np

from jtransfer import ranking, zoo

SIZES = ((300, 1280, 10), (5000, 768, 5), (2000, 2048, 10))
LARGE = (50_000, 2048, 100)
WIDTHS = range(100, 520, 35)


def main() -> None:
    """Prints one line a size, and one for sources of twelve widths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    sizes = (*SIZES, LARGE) if parser.parse_args().large else SIZES
    seconds_of(lambda: ranked(*task(100, 8, 3)))  # Imports.
    for n, d, num_classes in sizes:
        features, labels = task(n, d, num_classes)
        size = min(n, d)
        matrix = np.cov(features[:, :size].astype(float), rowvar=False)
        unit = seconds_of(lambda matrix=matrix: np.linalg.eigh(matrix))
        seconds = seconds_of(lambda data=(features, labels): ranked(*data))
        line = f"{n} x {d}, {num_classes} classes: {seconds:.2f} s, "
        line += f"{seconds / unit:.1f} times eigh of {size}"
        if importlib.util.find_spec("sklearn") and n <= 5000:
            probe = seconds_of(lambda data=(features, labels): ridge(*data))
            line += f", {seconds / probe:.1f} times RidgeClassifierCV"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{line}; peak {peak:.0f} MiB", flush=True)
    zoo_of_widths = [task(200, d, 5) for d in WIDTHS]
    seconds = seconds_of(lambda: [ranked(*data) for data in zoo_of_widths])
    print(f"12 widths at n = 200: {seconds / len(WIDTHS):.2f} s each")


def task(n: int, d: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns features `[n, d]` after a rectifier, and labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % num_classes
    features = rng.normal(size=(n, d)) + 0.5 * rng.normal(size=(num_classes, d))[labels]
    return np.maximum(features, 0).astype(np.float32), labels


def ranked(features: np.ndarray, labels: np.ndarray) -> None:
    """Ranks one source."""
    target = zoo.labelled_target("target", labels, digest="")
    ranking.rank_sources([zoo.Source("s", {}, lambda: features)], target)


def ridge(features: np.ndarray, labels: np.ndarray) -> None:
    """Fits the same probe as scikit-learn does, without intervals and chance."""
    from sklearn.linear_model import RidgeClassifierCV

    RidgeClassifierCV(alphas=np.logspace(-2, 7, 37)).fit(features, labels)


def seconds_of(call: Callable) -> float:
    """Returns the processor time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    main()
