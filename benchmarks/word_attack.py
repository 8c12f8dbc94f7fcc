"""A step of the attack on words against a pass through the encoder and back.

Run: `python benchmarks/word_attack.py`, a minute or two. The encoder has the sizes of
MiniLM (six layers of 384, 30,522 tokens) and weights as drawn; texts are 32 tokens, all
of which may become any other. The limit is 2: beside the pass a step looks for the
nearest of all tokens at every place, O(n L V d), without the differences [n, L, V, d].
"""

import argparse
import functools
import resource
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from timing import best_time

from jtransfer import models, networks
from jtransfer.attacks import word_attack

LIMIT = 2.0
STEPS = 3, 9


def main() -> None:
    """Prints the ratio and the memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32)
    args = parser.parse_args()
    bert = networks.BertConfig(30522, 6, 12, 384, 1536, 512, 2, 0, 1e-12)
    architecture = networks.TextArchitecture(
        num_classes=2, num_tokens=args.tokens, bert=bert, separator_id=102
    )
    _, variables = models.functional(networks.model(architecture, rngs=nnx.Rngs(0)))
    network = networks.TextNetwork(architecture, variables, Path(), ("a", "b"), {})
    function = networks.text_function(network)
    rng = np.random.default_rng(0)
    ids = jnp.asarray(rng.integers(1000, 30000, (args.texts, args.tokens)), jnp.int32)
    words, allowed = jnp.ones(ids.shape, bool), jnp.ones(bert.vocab_size, bool)

    @jax.jit
    def there_and_back(function):
        vectors = function.vocabulary[ids]
        return jax.grad(lambda v: function.logits(v, ids)[:, 0].sum())(vectors)

    @functools.partial(jax.jit, static_argnums=1)
    def attack(function, num_steps):
        return word_attack(
            lambda vectors: function.logits(vectors, ids),
            function.vocabulary[ids],
            ids,
            words,
            jnp.zeros(len(ids), jnp.int32),
            vocabulary=function.vocabulary,
            allowed=allowed,
            num_steps=num_steps,
        )

    few, many = (best_time(attack, function, steps).cpu for steps in STEPS)
    step = (many - few) / (STEPS[1] - STEPS[0])
    base = best_time(there_and_back, function, repeats=5).cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{args.texts} texts of {args.tokens} tokens: a step {1e3 * step:.0f} ms, the "
        f"encoder there and back {1e3 * base:.0f} ms of processor time: "
        f"{step / base:.2f} times as long (at most {LIMIT:g}); peak {peak:.1f} GB"
    )


if __name__ == "__main__":
    main()
