"""Costs of Jacobians, their attacks and the distances, against the obvious ways.

Run: `python benchmarks/adversarial.py`, about 3 minutes on 2 cores; `--n 1000` for a
quick look. Every line is a ratio of two times of one run on one machine. PGD is
compared with foolbox where that is installed.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from timing import best_time

from jtransfer import attacks, jacobians, matching
from jtransfer.models import LeNet, functional


def main() -> None:
    """Prints one line a ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=5000)
    args = parser.parse_args()
    gradient_matching(args.n)
    singular_attacks()
    lenet_jacobians()
    pgd()


def gradient_matching(n: int, p: int = 50, m: int = 10) -> None:
    """The residual form against A1 and A2 of all pairs, and its growth with n."""
    rng = np.random.default_rng(0)
    reference, source = (
        jnp.asarray(rng.normal(size=(2 * n, m, p)), jnp.float32) for _ in range(2)
    )
    half = reference[:n], source[:n]
    distance = matching.gradient_matching_distance
    once = best_time(distance, *half, repeats=20)
    twice = best_time(distance, reference, source, repeats=20)
    print(f"n = {n}, p = {p}, m = k = {m}, float32")
    print(f"gradient matching distance {float(distance(*half)):.4f}, {once.wall:.3f} s")
    print(f"twice as many examples: {twice.wall / once.wall:.2f} times as long")
    total = jnp.sqrt(jnp.mean(jnp.sum(half[0] ** 2, axis=(1, 2))))

    def through_pairs(share):
        return f"{float(total * jnp.sqrt(1 - share)):.4f}"

    blocks = best_time(matching.explained_gradient, *half, repeats=1)
    value = through_pairs(matching.explained_gradient(*half))
    print(
        f"A1 and A2 of all pairs, the {m} attacks within the rank: {value}, "
        f"{blocks.wall:.1f} s, {blocks.wall / once.wall:.0f} times as long"
    )
    start = time.perf_counter()
    value = through_pairs(jax.block_until_ready(explained_by_all_directions(*half)))
    wall = time.perf_counter() - start
    print(
        f"A1 and A2 of all pairs, all {p} directions: {value}, "
        f"{wall:.1f} s, {wall / once.wall:.0f} times as long"
    )


@jax.jit
def explained_by_all_directions(reference, source):
    """Theorem 3.1 as printed: A1 and A2 with as many entries as there are inputs."""
    _, sigma, attacks = jnp.linalg.svd(reference)
    n, p = attacks.shape[:2]
    sigma = jnp.pad(sigma, ((0, 0), (0, p - sigma.shape[1])))
    own, transferred = (attacks @ jnp.swapaxes(f, 1, 2) for f in (reference, source))
    strongest = jnp.linalg.norm(source, ord=2, axis=(1, 2))
    lengths = jnp.linalg.norm(transferred, axis=2)
    v = strongest[:, None] * sigma * (lengths / strongest[:, None])
    own = own / jnp.where(sigma > 1e-3 * sigma[:, :1], sigma, jnp.inf)[..., None]
    transferred = transferred / lengths[..., None]
    inverse = jnp.linalg.pinv(jnp.mean(source @ jnp.swapaxes(source, 1, 2), axis=0))
    first, second = own.reshape(n * p, -1), transferred.reshape(n * p, -1)

    def row(example):
        own, transferred, v_example = example
        a2 = (own @ first.T) * (transferred @ inverse @ second.T)
        return v_example @ (a2 @ v.ravel())

    share = jnp.sum(jax.lax.map(row, (own, transferred, v))) / n**2
    return share / jnp.mean(jnp.sum(reference**2, axis=(1, 2)))


def singular_attacks(batch: int = 32, m: int = 10, n: int = 3072) -> None:
    """Attacks through the small Gram matrix against the whole decomposition."""
    rng = np.random.default_rng(0)
    stack = jnp.asarray(rng.normal(size=(batch, m, n)), jnp.float32)
    ours = jax.jit(jax.vmap(jacobians.singular_attacks))
    theirs = jax.jit(lambda a: jnp.linalg.svd(a, full_matrices=False))
    ours_time, theirs_time = (best_time(f, stack, repeats=5) for f in (ours, theirs))
    gap = jnp.max(jnp.abs(ours(stack).values / theirs(stack)[1] - 1))
    print(
        f"singular attacks of [{batch}, {m}, {n}]: {1e3 * ours_time.wall:.1f} ms; thin "
        f"jnp.linalg.svd {theirs_time.wall / ours_time.wall:.0f} times as long "
        f"({theirs_time.cpu / ours_time.cpu:.0f} in processor time), "
        f"values equal to {gap:.0e}"
    )
    whole = best_time(jax.jit(jnp.linalg.svd), stack[:1], repeats=1).wall * batch
    print(f"jnp.linalg.svd as it comes: {whole / ours_time.wall:.0f} times as long")


def lenet_jacobians(batch: int = 32) -> None:
    """All outputs' gradients against as many gradients of one output."""
    apply_fn, params = functional(LeNet(num_classes=10, rngs=nnx.Rngs(0)))
    images = jax.random.uniform(jax.random.key(0), (batch, 32, 32, 3))
    logits = lambda params, x: apply_fn(params, x)[0]  # noqa: E731

    @jax.jit
    def full(params, images):
        f = jacobians.jacobian(lambda x: logits(params, x))
        return jax.vmap(f)(images)

    @jax.jit
    def one(params, images):
        return jax.grad(lambda images: jnp.sum(logits(params, images)[:, 0]))(images)

    full_time = best_time(full, params, images, repeats=10)
    one_time = best_time(one, params, images, repeats=10)
    print(
        f"LeNet, {batch} images: the full Jacobians take "
        f"{full_time.wall / one_time.wall / 10:.2f} times 10 input gradients "
        f"({full_time.cpu / one_time.cpu / 10:.2f} in processor time)"
    )


def pgd(batch: int = 64, steps: int = 50) -> None:
    """PGD on LeNet, one compiled program, against foolbox around a compiled network."""
    try:
        import foolbox
    except ImportError:
        print(
            "PGD against foolbox: left out, foolbox is not there (pip install foolbox)"
        )
        return
    apply_fn, params = functional(LeNet(num_classes=10, rngs=nnx.Rngs(0)))
    images = jax.random.uniform(jax.random.key(0), (batch, 32, 32, 3))
    labels = jnp.argmax(apply_fn(params, images)[0], axis=1)
    keys = jax.random.split(jax.random.key(1), batch)

    def ours(unroll):
        def delta(x, label, key):
            f = lambda x: apply_fn(params, x)[0]  # noqa: E731
            return attacks.pgd(
                attacks.cross_entropy_loss(f, label),
                x,
                attacks.LINF.uniform(key, x, 0.1),
                norm=attacks.LINF,
                epsilon=0.1,
                step_size=0.01,
                num_steps=steps,
                bounds=(0, 1),
                unroll=unroll,
            )

        attack = jax.jit(jax.vmap(delta))
        return lambda: images + attack(images, labels, keys)

    network = jax.jit(lambda x: apply_fn(params, x)[0])
    model = foolbox.JAXModel(network, bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(abs_stepsize=0.01, steps=steps)

    def theirs():
        return attack.run(model, images, labels, epsilon=0.1)

    def loss(moved):
        terms = jax.nn.log_softmax(network(moved))
        return -jnp.mean(jnp.take_along_axis(terms, labels[:, None], axis=1))

    unrolled, looped = ours(True), ours(1)
    times = [best_time(f, repeats=5) for f in (theirs, unrolled, looped)]
    print(
        f"PGD, {steps} steps on LeNet, {batch} images: foolbox with a jitted network "
        f"takes {times[0].cpu / times[1].cpu:.2f} times the processor time of "
        f"unroll=True ({times[0].wall / times[1].wall:.2f} on the clock), "
        f"{times[0].cpu / times[2].cpu:.2f} times that of a loop "
        f"({times[0].wall / times[2].wall:.2f}); loss from {loss(images):.2f} to "
        f"{loss(theirs()):.2f} (foolbox) and {loss(unrolled()):.2f}"
    )


if __name__ == "__main__":
    main()
