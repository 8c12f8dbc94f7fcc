"""Numbers and times of a machine with a GPU or TPU, in at most five minutes.

Run: `python benchmarks/accelerator.py`; on a CPU it is a smoke test of itself, with
small sizes. Three parts:

- numbers: scores, attacks and distances in float32 on the device against float64 on
  the CPU, each within the tolerance that is printed beside it, and the forms of the
  ranking's kernel against LAPACK; exit code 1 if one is outside;
- times: a ranking, attacks, a batch of transport problems and a training step, in
  milliseconds and as a share of the fastest matrix product measured on the device, at
  least: the compiler counts what stands in a loop once;
- `--presets`: a dry run of every script of `experiments/` at the size of its paper, a
  minute each, for which data sets must be prepared.
"""

import argparse
import functools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jtransfer import (
    adversarial,
    class_moments,
    hgr,
    jacobians,
    matching,
    models,
    networks,
    ranking,
    scores,
    sinkhorn,
    training,
    zoo,
)
from jtransfer.ranking.estimates import kernel, shifted
from jtransfer.scores import probes

ROOT = Path(__file__).parents[1]
OPTIMIZER = optax.adam(1e-3)


class Sizes(NamedTuple):
    """How much work each part is."""

    features: int
    kernel: int
    product: int
    width: int
    batch: int
    ranked: tuple[int, int]


SMALL = Sizes(16, 40, 256, 4, 8, (500, 32))
LARGE = Sizes(256, 1024, 8192, 64, 256, (5000, 768))


def main() -> int:
    """Runs the parts; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", action="store_true", help="dry runs as well")
    args = parser.parse_args()
    device = jax.devices()[0]
    print(f"{device.platform}: {device.device_kind}, jax {jax.__version__}", flush=True)
    sizes = SMALL if device.platform == "cpu" else LARGE
    wrong = [name for name, is_right in numbers(sizes) if not is_right]
    wrong += [name for name, is_right in kernel_forms(sizes.kernel) if not is_right]
    times(sizes)
    if args.presets:
        dry_runs()
    if wrong:
        print(f"WRONG: {', '.join(wrong)}")
    return int(bool(wrong))


def numbers(sizes: Sizes) -> Iterator[tuple[str, bool]]:
    """Prints and yields whether each function agrees with float64 on the CPU."""
    rng = np.random.default_rng(0)
    c, n, d = 5, 8 * sizes.features, sizes.features
    labels = np.arange(n, dtype=np.int32) % c
    x = rng.normal(size=(n, d)) + 0.7 * rng.normal(size=(c, d))[labels]
    other = rng.normal(size=(n, d))
    probs = np.exp(rng.normal(size=(2, n, c)))
    probs /= probs.sum(axis=-1, keepdims=True)
    cost = rng.uniform(0, 2, size=(c, c))
    maps = rng.normal(size=(2, n // 4, 4, d))

    def of_moments(function):
        return lambda x, *_: function(class_moments(x, labels, num_classes=c))

    def transport(x, other, probs, cost, maps):
        result = sinkhorn.sinkhorn_distances(*probs, cost, threshold=1e-4)
        return result.distance

    cases: dict[str, tuple[Callable, float]] = {
        "h_score": (of_moments(scores.h_score), 1e-3),
        "regularized_h_score": (of_moments(scores.regularized_h_score), 1e-3),
        "logme": (of_moments(scores.logme), 1e-3),
        "bhattacharyya": (of_moments(scores.bhattacharyya), 1e-3),
        "ridge classifier": (of_moments(probes.ridge_classifier), 1e-2),
        "leep": (
            lambda x, other, probs, *_: scores.leep(probs[0], labels, num_classes=c),
            1e-5,
        ),
        "soft HGR": (lambda x, other, *_: hgr.soft_hgr(x[:, :3], other[:, :3]), 1e-3),
        "transport": (transport, 1e-3),
        "singular attacks": (
            lambda *given: jax.vmap(jacobians.singular_attacks)(given[-1][0]).values,
            1e-4,
        ),
        "gradient matching": (
            lambda *given: matching.gradient_matching_distance(*given[-1]),
            1e-3,
        ),
        "alpha2": (
            lambda x, other, *_: adversarial.alpha2(x[:, :3], other[:, :3]),
            1e-3,
        ),
    }
    given = (x, other, probs, cost, maps)
    for name, (function, tolerance) in cases.items():
        on_device = jax.jit(function)(*(jnp.asarray(a, jnp.float32) for a in given))
        with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
            exact = jax.jit(function)(*(jnp.asarray(a, jnp.float64) for a in given))
        yield name, agrees(name, on_device, exact, tolerance)


def agrees(name: str, values, exact, tolerance: float) -> bool:
    """Prints the largest error of a tree, over its largest entry, and judges it."""
    errors = []
    for value, right in zip(*map(jax.tree.leaves, (values, exact)), strict=True):
        value, right = np.asarray(value, float), np.asarray(right, float)
        errors.append(np.abs(value - right).max() / max(np.abs(right).max(), 1e-12))
    is_right = bool(max(errors) <= tolerance)
    verdict = "" if is_right else "  WRONG"
    print(f"  {name}: {max(errors):.1e} (at most {tolerance:.0e}){verdict}", flush=True)
    return is_right


def kernel_forms(m: int) -> Iterator[tuple[str, bool]]:
    """Prints and yields whether the kernel gives what LAPACK gives, with both times."""
    rng = np.random.default_rng(0)
    rows, right = rng.normal(size=(2 * m, m)), rng.normal(size=(m, 11))
    matrix, shifts = rows.T @ rows, m * np.logspace(-3, 3, 40)
    start = time.process_time()
    lapack = shifted.Tridiagonal(matrix, right)
    exact = [lapack.forms(shift) for shift in shifts]
    cpu = time.process_time() - start
    exact = [np.array(part) for part in zip(*exact, strict=True)]
    arrays = [jnp.asarray(a, jnp.float32) for a in (matrix, right, shifts)]
    forms = kernel.shifted_forms(*arrays)
    name = f"shifted forms, m = {m}"
    yield name, agrees(name, forms, exact, 1e-2)
    seconds = clock(kernel.shifted_forms, *arrays)
    print(
        f"    {1e3 * seconds:.1f} ms in float32; LAPACK in float64 {1e3 * cpu:.1f} ms"
    )


def times(sizes: Sizes) -> None:
    """Prints milliseconds of each part, and its share of the fastest product."""
    square = jnp.ones((sizes.product, sizes.product), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    peak = 2 * sizes.product**3 / clock(product, square)
    print(f"  a product of {sizes.product}: {peak / 1e12:.2f} Tflop/s, the peak below")

    n, d = sizes.ranked
    labels = np.arange(n, dtype=np.int32) % 10
    features = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    target = zoo.labelled_target("target", labels, digest="")
    source = zoo.Source("source", {}, lambda: features)
    begin = time.perf_counter()
    ranking.rank_sources([source], target)
    seconds = time.perf_counter() - begin
    print(f"  ranking {n} x {d}, on the host: {1e3 * seconds:.0f} ms")

    apply_fn, params = models.functional(models.LeNet(num_classes=10, rngs=nnx.Rngs(0)))
    images = jax.random.uniform(jax.random.key(0), (sizes.batch, 32, 32, 3))

    def attack(params, images):
        f = jacobians.jacobian(lambda x: apply_fn(params, x)[0])
        return jax.vmap(lambda x: jacobians.singular_attacks(f(x)))(images)

    tell(f"attacks on LeNet, {sizes.batch} images", peak, attack, params, images)

    size = 10 if sizes is SMALL else 100
    logits = jax.random.normal(jax.random.key(1), (2, sizes.batch, size))
    cost = jax.random.uniform(jax.random.key(2), (size, size), maxval=2.0)
    tell(
        f"transport, {sizes.batch} problems of {size} x {size}",
        peak,
        lambda logits, cost: (
            sinkhorn.sinkhorn_distances(*jax.nn.softmax(logits), cost).distance
        ),
        logits,
        cost,
    )

    architecture = networks.Architecture(
        model="resnet18", num_classes=10, base_width=sizes.width
    )
    model = networks.model(architecture, rngs=nnx.Rngs(0))
    train_fn, params, stats = models.trainable(model)
    step = functools.partial(
        training.updated, objective=training.supervised(train_fn), optimizer=OPTIMIZER
    )
    batch = {"images": images, "labels": jnp.arange(sizes.batch) % 10}
    state = training.initial_state((params, stats), OPTIMIZER, seed=0)
    name = f"a step of ResNet-18 of width {sizes.width}, {sizes.batch} images"
    tell(name, peak, step, state, batch, {})


def tell(name: str, peak: float, function: Callable, *arrays) -> None:
    """Compiles and times a function, and prints its share of the peak."""
    begin = time.perf_counter()
    compiled = jax.jit(function).lower(*arrays).compile()
    compiling = time.perf_counter() - begin
    seconds = clock(compiled, *arrays)
    flops = (compiled.cost_analysis() or {}).get("flops", 0)
    share = f", {flops / seconds / peak:.1%} of the peak" if flops > 0 else ""
    print(
        f"  {name}: {1e3 * seconds:.1f} ms{share} (compiled in {compiling:.1f} s)",
        flush=True,
    )


def clock(function: Callable, *arrays, repeats: int = 5) -> float:
    """Returns the least seconds on the clock, after a call that may compile."""
    jax.block_until_ready(function(*arrays))
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(function(*arrays))
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def dry_runs() -> None:
    """Runs every script with presets dry, at the size of its paper."""
    for path in sorted((ROOT / "experiments").glob("*/*.py")):
        if '"paper"' not in path.read_text(encoding="utf-8"):
            continue
        name = f"experiments.{path.parent.name}.{path.stem}"
        print(name, flush=True)
        subprocess.run(
            [sys.executable, "-m", name, "paper", "--dry-run"], cwd=ROOT, check=False
        )


if __name__ == "__main__":
    sys.exit(main())
