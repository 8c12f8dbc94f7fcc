"""Memory of ranking a million examples from shards.

Run: `python benchmarks/streaming.py`, about 2 minutes on 2 cores and 2 GB of disk;
`--n 100000` for a quick look.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from jtransfer import ranking, zoo
from jtransfer.ranking.source_rows import source_rows

SCORES = {name: ranking.SCORES[name] for name in ranking.ALWAYS}


def main() -> None:
    """Writes shards, scores them, and prints time and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--num-classes", type=int, default=100)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    labels = rng.integers(args.num_classes, size=args.n)
    means = rng.normal(size=(args.num_classes, args.d)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder) / "zoo" / "source"
        shards.mkdir(parents=True)
        np.savez(Path(folder) / "target.npz", labels=labels)
        for number, part in enumerate(np.array_split(labels, max(args.n // 20_000, 1))):
            noise = rng.standard_normal((len(part), args.d), np.float32)
            np.savez(shards / f"{number}.npz", features=noise + 0.2 * means[part])
        size = sum(path.stat().st_size for path in shards.iterdir())
        print(
            f"{args.n} x {args.d} float32, {size / 2**30:.2f} GiB in shards", flush=True
        )
        # A process of its own: the memory of making the shards is not its own.
        process = multiprocessing.get_context("spawn").Process(
            target=ranked, args=(folder,)
        )
        process.start()
        process.join()


def ranked(folder: str) -> None:
    """Ranks the one source of a folder and prints time and memory."""
    small = zoo.labelled_target("warm", np.arange(200) % 2, digest="")
    features = np.random.default_rng(0).normal(size=(200, 16))
    warm = zoo.Source("warm", {}, lambda: features)
    source_rows(warm, small, SCORES, seed=0)
    before = peak()
    target = zoo.target(f"{folder}/target.npz")
    (source,) = zoo.sources(f"{folder}/zoo")
    start = time.perf_counter()
    rows = source_rows(source, target, SCORES, seed=0)
    seconds = time.perf_counter() - start
    print(f"LogME {rows[0].value:.4f} in {seconds:.0f} s")
    print(f"peak memory {peak():.0f} MiB, {peak() - before:.0f} above start-up")


def peak() -> float:
    """The most memory that this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
