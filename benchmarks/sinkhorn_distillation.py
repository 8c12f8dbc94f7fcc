"""What the Sinkhorn term costs a step of distillation.

Run: `python benchmarks/sinkhorn_distillation.py`, about 3 minutes on 2 cores. A step is
that of a WideResNet-(16, 1) on CIFAR-100's shapes with the teacher's logits at hand:
forward pass, gradient, SGD with momentum. The plain step has soft targets in place of
the Sinkhorn distance. The steps that are compared take turns; ratios are of medians.
Predictions of teacher and student are sharp, as after training: flat ones need fewer
iterations.
"""

import argparse
import functools
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jtransfer import distillation, models
from jtransfer.sinkhorn import cost_matrix

PAPER = {"temperature": 3.0, "epsilon": 0.1}
WEIGHT = 10.0
COSTS = (2.0, 5.0, 20.0)


def main() -> None:
    """Prints one line a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--num-classes", type=int, default=100)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--max-iterations", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=9)
    args = parser.parse_args()
    limited = {**PAPER, "max_iterations": args.max_iterations}
    step, state = training_step(args.num_classes, args.width)
    batch = random_batch(args.batch_size, args.num_classes)
    print(
        f"WideResNet-(16, {args.width}), {args.batch_size} images of 32 x 32, "
        f"{args.num_classes} x {args.num_classes} classes, {jax.devices()[0]}"
    )

    def soft(logits, batch):
        temperature = PAPER["temperature"]
        return distillation.soft_targets(
            batch["teacher_logits"], logits, temperature=temperature
        )

    def carried(logits, batch):
        return distillation.sinkhorn_matching(
            batch["teacher_logits"], logits, batch["cost"], **limited
        )

    calls = {"soft targets": functools.partial(step, soft, state, batch)}
    for largest in COSTS:
        scaled = {**batch, "cost": batch["cost"] * (largest / batch["cost"].max())}
        calls[largest] = functools.partial(step, carried, state, scaled)
    times = taking_turns(calls, args.turns)
    plain = times.pop("soft targets")
    print(f"soft targets: {1e3 * plain:.0f} ms a step")
    for largest, seconds in times.items():
        cost = batch["cost"] * (largest / batch["cost"].max())
        matches = distillation.sinkhorn_matches(
            batch["teacher_logits"], batch["sharpness"], cost, **limited
        )
        steps, converged = np.asarray(matches.num_iterations), matches.converged.mean()
        print(
            f"Sinkhorn, cost at most {largest:.0f}: {1e3 * seconds:.0f} ms a step, "
            f"{seconds / plain:.2f} times as long; {steps.mean():.0f} iterations, "
            f"{steps.max()} at most, {converged:.0%} converged"
        )


def taking_turns(calls, turns):
    """Returns the median time of each call, after one that compiles."""
    times = {name: [] for name in calls}
    for turn in range(turns + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured) for name, measured in times.items()}


def training_step(num_classes, width):
    """Returns a jitted step, with the loss as its first argument, and a first state."""
    network = models.WideResNet(
        depth=16, width=width, num_classes=num_classes, rngs=nnx.Rngs(0)
    )
    _, variables = models.functional(network)
    train_fn, _, _ = models.trainable(network)
    optimizer = optax.sgd(0.1, momentum=0.9)

    @functools.partial(jax.jit, static_argnames=("match",))
    def step(match, state, batch):
        params, stats, momentum = state

        def loss(params):
            (logits, _), new_stats = train_fn(params, stats, batch["images"], None)
            logits = logits + batch["sharpness"]
            hard = distillation.cross_entropy(logits, batch["labels"])
            return hard + WEIGHT * match(logits, batch), new_stats

        gradient, new_stats = jax.grad(loss, has_aux=True)(params)
        updates, momentum = optimizer.update(gradient, momentum, params)
        return optax.apply_updates(params, updates), new_stats, momentum

    return step, (*variables, optimizer.init(variables.params))


def random_batch(n, num_classes):
    """Images of noise, sharp predictions, and distances of centres as the cost."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.standard_normal(shape, np.float32))

    return {
        "images": normal(n, 32, 32, 3),
        "labels": jnp.asarray(rng.integers(num_classes, size=n).astype(np.int32)),
        "teacher_logits": 9 * normal(n, num_classes),
        "sharpness": 9 * normal(n, num_classes),
        "cost": cost_matrix(normal(num_classes, 8), normal(num_classes, 8)),
    }


if __name__ == "__main__":
    main()
