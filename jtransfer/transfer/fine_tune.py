"""Transfer a trained network to new classes: its head alone, or all of it."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jtransfer import data, models, networks, training
from jtransfer._internal.linalg import matmul
from jtransfer.networks import Network
from jtransfer.training import schedules


def with_new_head(network: Network, class_names: tuple[str, ...], *, seed: int):
    """Returns a network with the same body and a fresh last layer for other classes.

    Args:
      network: a trained network.
      class_names: the new classes.
      seed: of the new weights.

    Returns:
      The network.
    """
    architecture = dataclasses.replace(
        network.architecture, num_classes=len(class_names)
    )
    fresh = networks.model(architecture, rngs=nnx.Rngs(seed))
    _, variables = models.functional(fresh)
    params = {**network.variables.params, "classifier": variables.params["classifier"]}
    return network._replace(
        architecture=architecture,
        variables=models.Variables(params, network.variables.stats),
        class_names=tuple(class_names),
        facts={},
    )


def fine_tune_head(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    *,
    num_epochs: int = 10,
    learning_rate: float = 0.1,
    batch_size: int = 128,
    seed: int,
) -> Network:
    """Re-initialises the last layer and trains it alone, the body frozen as it is.

    The embeddings are computed once, in evaluation mode, without augmentation.

    Args:
      network: a trained network.
      images: uint8 images, shape ``[n, h, w, c]``.
      labels: their classes, shape ``[n]``.
      class_names: the new classes.
      num_epochs: epochs of training; the last one counts.
      learning_rate: of SGD with momentum .9, falling to zero along a cosine.
      batch_size: examples a step, at most.
      seed: of weights and order.

    Returns:
      The network with its new head.

    References:
      Liang et al., "Uncovering the Connections Between Adversarial Transferability and
      Knowledge Transferability", 2021, section 5.
    """
    start = with_new_head(network, class_names, seed=seed)
    embeddings = [embedding for embedding, _ in networks.outputs(start, images)]
    features = np.concatenate(embeddings)
    result = _fitted(
        training.supervised(_linear, inputs="features"),
        models.Variables(start.variables.params["classifier"], {}),
        {"features": features, "labels": labels},
        num_epochs=num_epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
    )
    params = {**start.variables.params, "classifier": result.state.params}
    return start._replace(variables=models.Variables(params, start.variables.stats))


def fine_tune_network(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    *,
    num_epochs: int = 30,
    learning_rate: float = 0.01,
    batch_size: int = 64,
    seed: int,
) -> Network:
    """Re-initialises the last layer and trains the whole network.

    Args:
      network: a trained network.
      images: uint8 images of the size that the network takes, ``[n, h, w, c]``.
      labels: their classes, shape ``[n]``.
      class_names: the new classes.
      num_epochs: epochs of training; the last one counts.
      learning_rate: of SGD with momentum .9, falling to zero along a cosine.
      batch_size: examples a step, at most.
      seed: of weights and order.

    Returns:
      The fine-tuned network.
    """
    start = with_new_head(network, class_names, seed=seed)
    model = networks.model(start.architecture, rngs=nnx.Rngs(seed))
    train_fn, _, _ = models.trainable(model)
    # Normalised here and not inside the step: the statistics of each source would
    # compile the step again.
    x = data.normalized(images, mean=start.statistics.mean, std=start.statistics.std)
    if networks.takes_vectors(model):
        x = x.reshape(len(x), -1)
    result = _fitted(
        training.supervised(train_fn),
        start.variables,
        {"images": np.asarray(x), "labels": labels},
        num_epochs=num_epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
    )
    variables = models.Variables(result.state.params, result.state.stats)
    return start._replace(variables=variables)


def is_classified_correctly(
    network: Network, images: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Tells which images a network classifies rightly, booleans ``[n]``."""
    logits = np.concatenate([logits for _, logits in networks.outputs(network, images)])
    return logits.argmax(axis=1) == labels


def _fitted(objective, start, arrays, *, num_epochs, learning_rate, batch_size, seed):
    num_examples = len(arrays["labels"])
    batch_size = min(batch_size, num_examples)
    num_steps = num_epochs * max(1, num_examples // batch_size)
    return training.fit(
        objective,
        start,
        arrays,
        optimizer=_optimizer(learning_rate, num_steps),
        num_steps=num_steps,
        batch_size=batch_size,
        seed=seed,
        progress=False,
    )


@functools.lru_cache(maxsize=16)
def _optimizer(learning_rate: float, num_steps: int):
    # One object for equal arguments, so that `fit` compiles once for all sources.
    import optax

    rate = optax.cosine_decay_schedule(learning_rate, num_steps)
    return schedules.sgd(rate, momentum=0.9)


def _linear(params, stats, x, key):
    del key
    bias = jnp.broadcast_to(params["bias"], (len(x), len(params["bias"])))
    logits = matmul(x, params["kernel"])
    return (logits + bias, {}), stats
