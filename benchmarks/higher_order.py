"""All pairs of sources from one joint pass against pair by pair from features.

Run: `python benchmarks/higher_order.py`, about a minute on 2 cores. All numbers of one
run share one machine and load: trust the ratios. LAPACK gets one thread: for matrices
this small more gain nothing, and wait where XLA's would compute. Factorisations of
pairs are what the joint pass saves; the products of features with each other, which it
saves in part, take over as the examples grow, and the ratio falls: with 8 sources it
ends near 28 * 2^2 / 8^2 = 1.75 over the share of the blocks on and above the diagonal.
"""

import argparse
import os
from itertools import combinations

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from timing import best_time  # noqa: E402

from jtransfer.moments import class_moments  # noqa: E402
from jtransfer.scores import h_score  # noqa: E402
from jtransfer.scores.higher_order import source_subsets, subset_h_scores  # noqa: E402


def main() -> None:
    """Prints one line a number of examples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[1000, 2000, 4000])
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--num-sources", type=int, default=8)
    parser.add_argument("--num-classes", type=int, default=10)
    args = parser.parse_args()
    sizes = (args.d,) * args.num_sources
    pairs = source_subsets(args.num_sources, order=2)
    print(f"{len(pairs)} pairs of {args.num_sources} sources, d = {args.d}, float32")

    @jax.jit
    def joint(sources, labels):
        features = jnp.concatenate(sources, axis=1)
        moments = class_moments(features, labels, num_classes=args.num_classes)
        return subset_h_scores(moments, pairs, sizes=sizes)

    @jax.jit
    def pair(a, b, labels):
        features = jnp.concatenate([a, b], axis=1)
        return h_score(class_moments(features, labels, num_classes=args.num_classes))

    def pair_by_pair(sources, labels):
        return [pair(a, b, labels) for a, b in combinations(sources, 2)]

    for n in args.n:
        sources, labels = correlated_sources(n, args.d, args.num_sources)
        labels = labels % args.num_classes
        ours, theirs = joint(sources, labels), jnp.array(pair_by_pair(sources, labels))
        error = float(jnp.abs(ours / theirs - 1).max())
        ours = best_time(joint, sources, labels, repeats=7)
        theirs = best_time(pair_by_pair, sources, labels, repeats=7)
        print(
            f"n = {n}: joint pass {ours.wall:.3f} s, pair by pair {theirs.wall:.3f} s, "
            f"ratio {theirs.wall / ours.wall:.1f} (of processor time "
            f"{theirs.cpu / ours.cpu:.1f}); largest difference {error:.0e}",
            flush=True,
        )


def correlated_sources(n: int, d: int, num_sources: int):
    """Rectified random projections of shared factors, as networks' features are."""
    rng = np.random.default_rng(0)
    labels = rng.integers(1000, size=n).astype(np.int32)
    factors = rng.normal(size=(n, d)) + rng.normal(size=(1000, d))[labels] / 2
    sources = []
    for _ in range(num_sources):
        mixing = rng.normal(size=(d, d)) / np.sqrt(d)
        noisy = factors @ mixing + rng.normal(size=(n, d))
        sources.append(jnp.asarray(np.maximum(noisy, 0), jnp.float32))
    return tuple(sources), jnp.asarray(labels)


if __name__ == "__main__":
    main()
