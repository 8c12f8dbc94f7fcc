"""Processor time of `jtransfer rank`, against its linear algebra and against peers.

Run: `python benchmarks/ranking.py`, about 2 minutes on 2 cores; `--large` adds 50,000 x
2048 with 100 classes. A row is a whole command, from its first import on: all scores of
a source with their ten replicates and twenty shuffles, on one BLAS thread. Its unit is
`jtransfer ls`, one Gram matrix of the features and one `eigh` of min(n, d) in float64:
all numbers of one run share one machine and load, so that ratios travel and seconds do
not. Peers, where they are
installed, give a single value each: scikit-learn's RidgeClassifierCV, and LogME and the
H-score of transformer-ranker (`pip install transformer-ranker`).

`--check` ends with exit code 1 if a ratio is above 1.5 times that in `ratios.json`, and
`--record` writes that file anew.
"""

import os

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import argparse
import functools
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

RATIOS = Path(__file__).with_name("ratios.json")
WORSE = 1.5


class Size(NamedTuple):
    """A source, and the seconds that its ranking is meant to take at most."""

    n: int
    d: int
    num_classes: int
    limit: float

    @property
    def name(self) -> str:
        """As rows are called."""
        return f"{self.n} x {self.d}, {self.num_classes} classes"


SIZES = (Size(300, 1280, 10, 3.0), Size(5000, 768, 5, 3.0), Size(2000, 2048, 10, 12.0))
LARGE = Size(50_000, 2048, 100, 30.0)
WIDTHS = range(100, 520, 35)
WIDTH_LIMIT = 0.5


def main() -> int:
    """Prints a row a size; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="50,000 examples as well")
    parser.add_argument("--check", action="store_true", help="exit code 1 if slower")
    parser.add_argument("--record", action="store_true", help="write ratios.json")
    args = parser.parse_args()
    start = min(command_seconds("ls") for _ in range(3))
    print(f"jtransfer ls: {start:.1f} s", flush=True)
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (*SIZES, LARGE) if args.large else SIZES:
            features, labels = task(*size[:3])
            seconds = rank_seconds(Path(folder), [features], labels)
            unit = algebra_seconds(features)
            ratios[size.name] = seconds / (start + unit)
            print(
                f"{size.name}: {seconds:.1f} s (limit {size.limit:.0f}), "
                f"{ratios[size.name]:.2f} units"
                + peers(features, labels, seconds - start),
                flush=True,
            )
        zoo, labels = [task(200, d, 5)[0] for d in WIDTHS], task(200, 1, 5)[1]
        one, all_of_them = (
            rank_seconds(Path(folder), part, labels) for part in (zoo[:1], zoo)
        )
        each = (all_of_them - one) / (len(WIDTHS) - 1)
        ratios["a further width"] = each / start
        print(f"a further width at n = 200: {each:.2f} s (limit {WIDTH_LIMIT})")
    if args.record:
        RATIOS.write_text(json.dumps(ratios, indent=2) + "\n")
    return any(list(slower(ratios))) if args.check else 0


def slower(ratios: dict[str, float]) -> Iterator[str]:
    """Prints and yields the rows that are slower than those recorded."""
    recorded = json.loads(RATIOS.read_text())
    for name, ratio in ratios.items():
        if ratio > WORSE * recorded.get(name, np.inf):
            print(f"SLOWER: {name}: ratio {ratio:.2f}, recorded {recorded[name]:.2f}")
            yield name


def task(n: int, d: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns features `[n, d]` after a rectifier, and labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % num_classes
    features = rng.normal(size=(n, d)) + 0.5 * rng.normal(size=(num_classes, d))[labels]
    return np.maximum(features, 0).astype(np.float32), labels


def rank_seconds(folder: Path, zoo: list[np.ndarray], labels: np.ndarray) -> float:
    """Returns the processor time of ranking some sources from files."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name)
        (path / "zoo").mkdir()
        for index, features in enumerate(zoo):
            np.savez(path / "zoo" / f"source{index}.npz", features=features)
        np.savez(path / "target.npz", labels=labels)
        inputs = ("--target", path / "target.npz", "--zoo", path / "zoo")
        return command_seconds("rank", *inputs, "--out", path / "out")


def command_seconds(*arguments) -> float:
    """Returns the processor time of a command with its start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "jtransfer", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def algebra_seconds(features: np.ndarray) -> float:
    """Returns the processor time of one Gram matrix and its decomposition."""

    def algebra():
        rows = features.astype(float)
        rows -= rows.mean(axis=0)
        wide = len(rows) <= rows.shape[1]
        np.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)

    return min(seconds_of(algebra) for _ in range(1 if features.size > 1e7 else 3))


def peers(features: np.ndarray, labels: np.ndarray, own: float) -> str:
    """Returns our time above the start in times that of each peer installed."""
    parts = [""]
    if importlib.util.find_spec("sklearn") and len(features) <= 5000:
        probe = seconds_of(functools.partial(ridge, features, labels))
        parts.append(f"{own / probe:.1f} times RidgeClassifierCV")
    if importlib.util.find_spec("transformer_ranker"):
        import torch
        from transformer_ranker.estimators import HScore, LogME

        torch.set_num_threads(1)
        arrays = torch.tensor(features), torch.tensor(labels)
        for name, peer in (("LogME", LogME(regression=False)), ("H-score", HScore())):
            seconds = seconds_of(functools.partial(peer.fit, *arrays))
            parts.append(f"{own / seconds:.1f} times transformer-ranker's {name}")
    return "; ".join(parts)


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
    sys.exit(main())
