"""The best features of a target that its training images allow, for Figure 4c.

Soft HGR with a network of all layers memorises: on the images of its training its
H-score is at the maximum, on others far below. So it starts from the ridge solution on
all layers and stops early, and of it, of that ridge solution, and of the ridge solution
on the source's own layer the one with the largest H-score on held-out images is taken.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.h_score.support import imagenet
from experiments.h_score.support.imagenet import Set
from jtransfer import class_moments, data
from jtransfer.models import initializers, layers
from jtransfer.scores import h_score, ridge_classifier
from jtransfer.transfer import SymbolTable, features_of, optimal_features


class Optimum(NamedTuple):
    """Features of test images, and how they were found."""

    features: np.ndarray
    name: str
    """The way that did best on held-out images."""
    held_out: dict[str, float]
    """H-scores on held-out images, by way."""
    fitted: dict[str, float]
    """H-scores on the images of the training, by way."""


class Corrected(nnx.Module):
    """A linear map of features, and what a hidden layer adds, nothing at first."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray, *, hidden: int, rngs):
        """Builds the network around a linear map `[d, k]`."""
        d, k = kernel.shape
        self.example_shape = (None,)
        self.linear = layers.linear(d, k, rngs=rngs)
        self.linear.kernel[...] = jnp.asarray(kernel, jnp.float32)
        self.linear.bias[...] = jnp.asarray(bias, jnp.float32)
        self.hidden = layers.linear(
            d, hidden, kernel_init=initializers.HE_FAN_IN, rngs=rngs
        )
        self.output = layers.linear(
            hidden, k, kernel_init=nnx.initializers.zeros, rngs=rngs
        )

    def __call__(self, x, *, key=None):
        """Returns the features `[n, k]`, and nothing more."""
        del key
        return self.linear(x) + self.output(nnx.relu(self.hidden(x))), {}


def optimum(
    train: Set,
    test: Set,
    count: int,
    *,
    hidden: int,
    num_steps: int,
    learning_rate: float = 1e-4,
    seed: int,
) -> Optimum:
    """Finds the best features of a target, and computes them for test images.

    Args:
      train: the target's training images; a fifth of each class is held out.
      test: other images.
      count: number of classes.
      hidden: units of the hidden layer of soft HGR.
      num_steps: of soft HGR.
      learning_rate: of its first step.
      seed: of the part held out, of weights and order.
    """
    split = data.held_out_split(train.labels, fraction=0.2, seed=seed)
    fitting, held_out = (_rows(train, part) for part in split)
    every = [np.concatenate(s.features, axis=1) for s in (fitting, held_out, test)]
    scaled = imagenet.standardization(every[0])
    every = [scaled(features) for features in every]
    own = [s.features[-1] for s in (fitting, held_out, test)]
    ways = {
        "ridge on the source's layer": _ridge_features(own, fitting.labels, count),
        "ridge on all layers": _ridge_features(every, fitting.labels, count),
        "soft HGR from the ridge": _soft_hgr_features(
            every,
            (fitting.labels, held_out.labels),
            count,
            hidden=hidden,
            num_steps=num_steps,
            learning_rate=learning_rate,
            seed=seed,
        ),
    }
    labels = fitting.labels, held_out.labels
    scores = {
        name: [_h_score(f, y, count) for f, y in zip(parts, labels, strict=False)]
        for name, parts in ways.items()
    }
    best = max(scores, key=lambda name: scores[name][1])
    return Optimum(
        ways[best][2],
        best,
        held_out={name: pair[1] for name, pair in scores.items()},
        fitted={name: pair[0] for name, pair in scores.items()},
    )


def _rows(images: Set, indices: np.ndarray) -> Set:
    return Set(
        tuple(layer[indices] for layer in images.features), images.labels[indices]
    )


def _h_score(features: np.ndarray, labels: np.ndarray, count: int) -> float:
    moments = class_moments(np.asarray(features, np.float32), labels, num_classes=count)
    return float(h_score(moments))


def _ridge_features(parts, labels, count: int) -> list[np.ndarray]:
    weights, _ = _ridge(parts[0], labels, count)
    return [part @ weights for part in parts]


def _ridge(features, labels, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights `[d, k]` and bias of the ridge solution, with one output less."""
    head = ridge_classifier(class_moments(features, labels, num_classes=count))
    # The outputs of all classes add up to 1: a basis of what is left loses nothing.
    contrasts = np.linalg.qr(np.eye(count) - 1 / count)[0][:, : count - 1]
    weights, bias = (np.asarray(part, float) @ contrasts for part in head)
    return weights.astype(np.float32), bias.astype(np.float32)


def _soft_hgr_features(
    parts, labels, count: int, *, hidden, num_steps, learning_rate, seed
) -> list[np.ndarray]:
    kernel, bias = _ridge(parts[0], labels[0], count)
    f = Corrected(kernel, bias, hidden=hidden, rngs=nnx.Rngs(seed))
    g = SymbolTable(num_symbols=count, num_features=count - 1, rngs=nnx.Rngs(seed + 1))
    # For a given f the best g is that of the objective's stationary point.
    features = parts[0] @ kernel + bias
    centred = features - features.mean(axis=0)
    means = [centred[labels[0] == label].mean(axis=0) for label in range(count)]
    inverse = np.linalg.pinv(np.cov(centred.T, bias=True).reshape(2 * [count - 1]))
    g.features[...] = jnp.asarray(np.stack(means) @ inverse, jnp.float32)
    trained = optimal_features(
        f,
        g,
        parts[0],
        labels[0],
        num_steps=num_steps,
        batch_size=min(512, len(labels[0])),
        learning_rate=learning_rate,
        held_out=(parts[1], labels[1]),
        validate_every=max(1, num_steps // 20),
        seed=seed,
    )
    return [features_of(f, trained.f, part) for part in parts]
