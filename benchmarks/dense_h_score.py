"""The H-scores of all pixels of a dense task against one score and its class sums.

Run: `python benchmarks/dense_h_score.py`, about a minute on 2 cores. All numbers of one
run share one machine and load: trust the ratio. The reference is what no method can do
without if it sums the features by pixel and level in a matrix product: one H-score, and
the product of the one-hot levels `[h w levels, n]` with the features `[n, d]`.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from timing import best_time

from jtransfer.moments import class_moments
from jtransfer.scores import dense_h_score, h_score


def main() -> None:
    """Prints one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--num-levels", type=int, default=16)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    features = jnp.asarray(rng.normal(size=(args.n, args.d)), jnp.float32)
    shape = (args.n, args.side, args.side)
    maps = jnp.asarray(rng.integers(args.num_levels, size=shape), jnp.int32)

    @jax.jit
    def dense(features, maps):
        return dense_h_score(features, maps, num_levels=args.num_levels)

    @jax.jit
    def single(features, labels):
        return h_score(class_moments(features, labels, num_classes=args.num_levels))

    @jax.jit
    def class_sums(features, maps):
        def row(levels):
            membership = jax.nn.one_hot(levels, args.num_levels, dtype=features.dtype)
            flat = membership.reshape(args.n, -1)
            return jnp.matmul(flat.T, features, precision=jax.lax.Precision.HIGHEST)

        return jax.lax.map(row, jnp.moveaxis(maps, 1, 0))

    ours = best_time(dense, features, maps)
    score = best_time(single, features, maps[:, 0, 0])
    sums = best_time(class_sums, features, maps)
    whole = score.wall + sums.wall
    print(
        f"n = {args.n}, d = {args.d}, {args.side} x {args.side} pixels, "
        f"{args.num_levels} levels, float32: dense {ours.wall:.2f} s; one H-score "
        f"{score.wall:.2f} s + class sums {sums.wall:.2f} s; ratio "
        f"{ours.wall / whole:.2f} (of processor time "
        f"{ours.cpu / (score.cpu + sums.cpu):.2f})"
    )
    expected = single(features, maps[:, 3, 5])
    error = float(jnp.abs(dense(features, maps)[3, 5] / expected - 1))
    print(f"difference from the H-score of one pixel alone: {error:.0e}")


if __name__ == "__main__":
    main()
